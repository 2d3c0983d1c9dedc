//! Movements of a patient, folded in event time into where he lies and since when.

use serde::{Deserialize, Serialize};

use crate::{Encounter, EncounterChange, Location, Time};

/// Movements kept of one patient; beyond it the oldest go, the first into an ICU excepted.
const KEPT: usize = 256;

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Movement {
    at: Time,
    visit: Option<String>,
    encounter: Encounter,
}

/// The current visit.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stay {
    pub visit: Option<String>,
    pub location: Option<Location>,
    /// PV1-44, else the time of the admission event.
    pub admitted_at: Option<Time>,
    /// First location of this visit that is an intensive care unit.
    pub icu_admitted_at: Option<Time>,
    pub discharged_at: Option<Time>,
}

impl Stay {
    /// Whether the patient lies in an intensive care unit at `at`, as far as is known. False where no location was told.
    pub fn in_icu(&self, at: Time) -> bool {
        self.location.as_ref().is_some_and(|location| location.icu)
            && self.icu_admitted_at.is_some_and(|since| since <= at)
            && self.discharged_at.is_none_or(|until| at < until)
    }
}

impl std::fmt::Debug for Stay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stay(redacted)")
    }
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Movements {
    /// Sorted by time, then by what changed, then by content: arrival decides nothing.
    all: Vec<Movement>,
    /// The fold of `all`, kept because every score asks for it.
    stay: Stay,
}

impl Movements {
    pub fn apply(&mut self, at: Time, visit: Option<&str>, encounter: &Encounter) {
        self.insert(Movement { at, visit: visit.map(Into::into), encounter: encounter.clone() });
        self.stay = fold(&self.all);
    }

    pub fn absorb(&mut self, other: &Movements) {
        other.all.iter().for_each(|movement| self.insert(movement.clone()));
        self.stay = fold(&self.all);
    }

    pub fn stay(&self) -> &Stay {
        &self.stay
    }

    fn insert(&mut self, movement: Movement) {
        if let Err(i) = self.all.binary_search_by(|known| key(known).cmp(&key(&movement))) {
            self.all.insert(i, movement);
        }
        if self.all.len() > KEPT {
            let first_icu = self.all.iter().position(|m| is_icu(&m.encounter));
            self.all.remove(usize::from(first_icu == Some(0)));
        }
    }
}

fn is_icu(encounter: &Encounter) -> bool {
    encounter.location.as_ref().is_some_and(|l| l.icu)
}

type Key<'a> =
    (Time, u8, Option<&'a str>, Option<(&'a str, &'a str, &'a str, bool)>, Option<Time>, Option<Time>, u8);

fn key(m: &Movement) -> Key<'_> {
    let e = &m.encounter;
    let location = e.location.as_ref().map(|l| (l.ward.as_str(), l.room.as_str(), l.bed.as_str(), l.icu));
    let class = e.class.map_or(0, |c| c as u8 + 1);
    (m.at, order(e.change), m.visit.as_deref(), location, e.admitted_at, e.discharged_at, class)
}

/// Of changes at one time: first what opens, last what takes back.
fn order(change: EncounterChange) -> u8 {
    match change {
        EncounterChange::Admitted => 0,
        EncounterChange::Transferred => 1,
        EncounterChange::Updated => 2,
        EncounterChange::Discharged => 3,
        EncounterChange::AdmitCancelled => 4,
        EncounterChange::TransferCancelled => 5,
        EncounterChange::DischargeCancelled => 6,
    }
}

fn fold(movements: &[Movement]) -> Stay {
    let mut stay = Stay::default();
    // What stood before each movement that can be cancelled.
    let mut before: Vec<(EncounterChange, Stay)> = Vec::new();
    for movement in movements {
        match movement.encounter.change {
            EncounterChange::AdmitCancelled => undo(&mut stay, &mut before, EncounterChange::Admitted),
            EncounterChange::TransferCancelled => undo(&mut stay, &mut before, EncounterChange::Transferred),
            EncounterChange::DischargeCancelled => undo(&mut stay, &mut before, EncounterChange::Discharged),
            EncounterChange::Updated => advance(&mut stay, movement),
            change => {
                before.push((change, stay.clone()));
                advance(&mut stay, movement);
            }
        }
    }
    stay
}

fn undo(stay: &mut Stay, before: &mut Vec<(EncounterChange, Stay)>, cancelled: EncounterChange) {
    if let Some(i) = before.iter().rposition(|(change, _)| *change == cancelled) {
        *stay = before.remove(i).1;
        before.truncate(i);
    }
}

fn advance(stay: &mut Stay, Movement { at, visit, encounter }: &Movement) {
    let admitted = encounter.change == EncounterChange::Admitted;
    let other_visit = visit.is_some() && stay.visit.is_some() && *visit != stay.visit;
    // A late update of an old visit must not reopen it.
    if other_visit && !admitted && encounter.change != EncounterChange::Transferred {
        return;
    }
    if other_visit || (admitted && stay.discharged_at.is_some()) {
        *stay = Stay::default();
    }
    if visit.is_some() {
        stay.visit.clone_from(visit);
    }
    if encounter.admitted_at.is_some() {
        stay.admitted_at = encounter.admitted_at;
    } else if admitted {
        stay.admitted_at = stay.admitted_at.or(Some(*at));
    }
    if encounter.change == EncounterChange::Discharged {
        stay.discharged_at = encounter.discharged_at.or(Some(*at));
        return;
    }
    if let Some(location) = &encounter.location {
        if location.icu && stay.icu_admitted_at.is_none() {
            stay.icu_admitted_at = Some(*at);
        }
        stay.location = Some(location.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EncounterChange::*;

    fn moved(movements: &[(i64, EncounterChange, &str)]) -> Stay {
        let mut all = Movements::default();
        for (at, change, ward) in movements {
            let location = (!ward.is_empty()).then(|| Location {
                ward: (*ward).into(),
                icu: ward.contains("ICU"),
                ..Location::default()
            });
            let encounter =
                Encounter { change: *change, class: None, location, admitted_at: None, discharged_at: None };
            all.apply(Time(*at), None, &encounter);
        }
        all.stay().clone()
    }

    #[test]
    fn the_first_icu_location_counts_and_going_out_does_not_end_it() {
        let stay = moved(&[(1, Admitted, "ED"), (5, Transferred, "MICU"), (9, Transferred, "W3")]);
        assert_eq!((stay.admitted_at, stay.icu_admitted_at), (Some(Time(1)), Some(Time(5))));
        assert_eq!(stay.location.map(|l| l.ward), Some("W3".into()));
    }

    #[test]
    fn in_intensive_care_is_where_he_lies_and_not_where_he_once_was() {
        let in_icu = |movements: &[_], at| moved(movements).in_icu(Time(at));
        let mut movements = vec![(1, Admitted, "ED"), (5, Transferred, "MICU")];
        assert_eq!([4, 5, 9].map(|at| in_icu(&movements, at)), [false, true, true]);
        movements.push((9, Transferred, "W3"));
        assert!(!in_icu(&movements, 9));
        movements.push((20, Transferred, "MICU"));
        assert!(in_icu(&movements, 20));
        movements.push((30, Discharged, "MICU"));
        assert_eq!([29, 30].map(|at| in_icu(&movements, at)), [true, false]);
        movements.extend([(40, Admitted, "MICU"), (40, Updated, "")]);
        assert!(in_icu(&movements, 40));
        assert!(!in_icu(&[], 0) && !in_icu(&[(1, Admitted, "")], 1), "nobody told where he lies");
    }

    #[test]
    fn a_cancelled_transfer_never_was() {
        let stay = moved(&[(1, Admitted, "ED"), (5, Transferred, "MICU"), (6, TransferCancelled, "ED")]);
        assert_eq!(stay.icu_admitted_at, None);
        assert_eq!(stay.location.map(|l| l.ward), Some("ED".into()));
    }

    #[test]
    fn a_cancelled_discharge_leaves_the_patient_in() {
        let stay = moved(&[(1, Admitted, "MICU"), (5, Discharged, ""), (6, DischargeCancelled, "")]);
        assert_eq!((stay.discharged_at, stay.icu_admitted_at), (None, Some(Time(1))));
    }

    #[test]
    fn a_new_admission_after_discharge_is_a_new_stay_whatever_the_order_of_arrival() {
        let mut movements =
            vec![(1, Admitted, "MICU"), (5, Discharged, ""), (90, Admitted, "ED"), (91, Transferred, "MICU")];
        let forwards = moved(&movements);
        movements.reverse();
        assert_eq!(forwards, moved(&movements));
        assert_eq!((forwards.admitted_at, forwards.icu_admitted_at), (Some(Time(90)), Some(Time(91))));
    }

    #[test]
    fn a_flood_of_updates_is_bounded_and_the_icu_admission_survives_it() {
        let mut movements = vec![(1, Admitted, "ED"), (2, Transferred, "MICU")];
        movements.extend((3..2000).map(|at| (at, Updated, "MICU")));
        let stay = moved(&movements);
        assert_eq!(stay.icu_admitted_at, Some(Time(2)));
    }
}
