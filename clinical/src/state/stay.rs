//! Movements of a patient, folded in event time into where he lies and since when.

use serde::{Deserialize, Serialize};

use crate::{Encounter, EncounterChange, Location, Time};

/// Movements kept of one patient; beyond it the oldest go, the first into an ICU excepted.
const KEPT: usize = 256;

/// What happened to which visit and when is one movement, however often and however otherwise it is told.
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
#[serde(from = "Written")]
pub(super) struct Movements {
    /// Sorted by time, then by what changed, then by visit: arrival decides nothing.
    all: Vec<Movement>,
    /// The fold of `all`, kept because every score asks for it.
    stay: Stay,
}

/// As a checkpoint has it. Earlier builds kept each reading of a movement beside the others.
#[derive(Deserialize)]
struct Written {
    all: Vec<Movement>,
}

impl From<Written> for Movements {
    fn from(written: Written) -> Movements {
        let mut movements = Movements::default();
        written.all.into_iter().for_each(|movement| movements.insert(movement));
        movements.stay = fold(&movements.all);
        movements
    }
}

impl Movements {
    /// Of a movement that is known, another reading: what it says stands in the place of what was said before.
    pub fn apply(&mut self, at: Time, visit: Option<&str>, encounter: &Encounter) {
        self.insert(Movement { at, visit: visit.map(Into::into), encounter: encounter.clone() });
        self.stay = fold(&self.all);
    }

    /// Of a movement that both know, this one's reading stands.
    pub fn absorb(&mut self, other: &Movements) {
        let own = std::mem::replace(&mut self.all, other.all.clone());
        own.into_iter().for_each(|movement| self.insert(movement));
        self.stay = fold(&self.all);
    }

    pub fn stay(&self) -> &Stay {
        &self.stay
    }

    fn insert(&mut self, movement: Movement) {
        match self.all.binary_search_by(|known| key(known).cmp(&key(&movement))) {
            Ok(i) => self.all[i].read_again(movement.encounter),
            Err(i) => self.all.insert(i, movement),
        }
        if self.all.len() > KEPT {
            let first_icu = self.all.iter().position(|m| is_icu(&m.encounter));
            self.all.remove(usize::from(first_icu == Some(0)));
        }
    }
}

impl Movement {
    /// What it does not say erases nothing: several messages of one second may be about one movement.
    fn read_again(&mut self, later: Encounter) {
        let known = &mut self.encounter;
        known.class = later.class.or(known.class);
        if later.location.is_some() || later.location_deleted {
            (known.location, known.location_deleted) = (later.location, later.location_deleted);
        }
        known.admitted_at = later.admitted_at.or(known.admitted_at);
        known.discharged_at = later.discharged_at.or(known.discharged_at);
    }
}

fn is_icu(encounter: &Encounter) -> bool {
    encounter.location.as_ref().is_some_and(|l| l.icu)
}

fn key(m: &Movement) -> (Time, u8, Option<&str>) {
    (m.at, order(m.encounter.change), m.visit.as_deref())
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

/// What stood before a movement that can be cancelled.
struct Before<'m> {
    movement: &'m Movement,
    stay: Stay,
}

fn fold(movements: &[Movement]) -> Stay {
    let mut stay = Stay::default();
    let mut before = Vec::new();
    for movement in movements {
        match movement.encounter.change {
            EncounterChange::AdmitCancelled => {
                undo(&mut stay, &mut before, movement, EncounterChange::Admitted)
            }
            EncounterChange::TransferCancelled => {
                undo(&mut stay, &mut before, movement, EncounterChange::Transferred);
            }
            EncounterChange::DischargeCancelled => {
                undo(&mut stay, &mut before, movement, EncounterChange::Discharged);
            }
            EncounterChange::Updated => advance(&mut stay, movement),
            // Who is out cannot leave: it is told again, and one cancel takes all of it back.
            EncounterChange::Discharged if stay.discharged_at.is_some() => advance(&mut stay, movement),
            _ => {
                before.push(Before { movement, stay: stay.clone() });
                advance(&mut stay, movement);
            }
        }
    }
    stay
}

/// Takes back the last movement of that kind of the same visit. What was not seen is believed all the same: a
/// cancelled admission ends the stay, a cancelled discharge leaves the patient in, and where the patient lies now is
/// what the cancel says (v2.9 ch. 3 §3.3.12 A12, §3.3.13 A13).
fn undo<'m>(stay: &mut Stay, before: &mut Vec<Before<'m>>, cancel: &'m Movement, cancelled: EncounterChange) {
    if is_other(&stay.visit, &cancel.visit) {
        return;
    }
    let known = before.iter().rposition(|b| {
        b.movement.encounter.change == cancelled && !is_other(&b.movement.visit, &cancel.visit)
    });
    match known {
        Some(at) => {
            *stay = before.swap_remove(at).stay;
            before.truncate(at);
        }
        None if cancelled == EncounterChange::Admitted => *stay = Stay::default(),
        None if cancelled == EncounterChange::Discharged => stay.discharged_at = None,
        None => {}
    }
    if cancelled != EncounterChange::Admitted {
        lie(stay, cancel);
    }
}

fn is_other(one: &Option<String>, other: &Option<String>) -> bool {
    one.is_some() && other.is_some() && one != other
}

/// Where the patient lies after the movement.
fn lie(stay: &mut Stay, Movement { at, encounter, .. }: &Movement) {
    if let Some(location) = &encounter.location {
        if location.icu && stay.icu_admitted_at.is_none() {
            stay.icu_admitted_at = Some(*at);
        }
        stay.location = Some(location.clone());
    } else if encounter.location_deleted {
        stay.location = None;
    }
}

fn advance(stay: &mut Stay, movement: &Movement) {
    let Movement { at, visit, encounter } = movement;
    let admitted = encounter.change == EncounterChange::Admitted;
    let other_visit = is_other(visit, &stay.visit);
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
    lie(stay, movement);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use EncounterChange::*;

    fn moved(movements: &[(i64, EncounterChange, &str)]) -> Stay {
        let of_no_visit = movements.iter().map(|(at, change, ward)| (*at, *change, *ward, None));
        visited(&of_no_visit.collect::<Vec<_>>())
    }

    fn visited(movements: &[(i64, EncounterChange, &str, Option<&str>)]) -> Stay {
        let mut all = Movements::default();
        for (at, change, ward, visit) in movements {
            all.apply(Time(*at), *visit, &encounter(*change, ward, ward.contains("ICU")));
        }
        all.stay().clone()
    }

    fn encounter(change: EncounterChange, ward: &str, icu: bool) -> Encounter {
        let lies = || Location { ward: ward.into(), icu, ..Location::default() };
        let location = (!ward.is_empty()).then(lies);
        Encounter { location, ..Encounter::of(change) }
    }

    fn ward(stay: &Stay) -> Option<&str> {
        stay.location.as_ref().map(|location| location.ward.as_str())
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
    fn a_location_that_is_taken_back_is_none_until_the_next() {
        let taken_back = Encounter { location_deleted: true, ..Encounter::of(Updated) };
        let of = |change, ward: &str| {
            let location = Location { ward: ward.into(), icu: ward == "MICU", ..Location::default() };
            Encounter { location: Some(location), ..Encounter::of(change) }
        };
        let mut movements = vec![(1, of(Admitted, "MICU")), (5, taken_back)];
        let stay = |movements: &[(i64, Encounter)]| {
            let mut all = Movements::default();
            movements.iter().for_each(|(at, encounter)| all.apply(Time(*at), None, encounter));
            all.stay().clone()
        };
        assert!(stay(&movements).location.is_none() && !stay(&movements).in_icu(Time(6)));
        movements.reverse();
        assert!(stay(&movements).location.is_none(), "whichever comes first");
        movements.push((9, of(Transferred, "W3")));
        assert_eq!(stay(&movements).location.map(|l| l.ward), Some("W3".into()));
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
    fn a_cancel_says_where_the_patient_lies_now() {
        let stay = moved(&[(1, Admitted, "ED"), (5, Transferred, "MICU"), (6, TransferCancelled, "W3")]);
        assert_eq!((stay.icu_admitted_at, stay.location.map(|l| l.ward)), (None, Some("W3".into())));
        let stay = moved(&[(1, Admitted, "ED"), (5, Discharged, ""), (6, DischargeCancelled, "MICU")]);
        assert_eq!((stay.icu_admitted_at, stay.discharged_at), (Some(Time(6)), None));
    }

    #[test]
    fn what_is_cancelled_need_not_have_been_seen() {
        let stay = moved(&[(1, Updated, "MICU"), (6, AdmitCancelled, "")]);
        assert_eq!((stay.icu_admitted_at, stay.location), (None, None));
        let stay = moved(&[(1, Admitted, "W1"), (6, TransferCancelled, "W3")]);
        assert_eq!(stay.location.map(|l| l.ward), Some("W3".into()));
    }

    #[test]
    fn a_cancel_concerns_its_own_visit() {
        let (old, new) = (Some("V1"), Some("V2"));
        let both = [(1, Admitted, "W1", old), (5, Discharged, "", old), (9, Admitted, "MICU", new)];
        let stay = visited(&[&both[..], &[(10, AdmitCancelled, "", old)]].concat());
        assert_eq!((stay.visit.as_deref(), stay.icu_admitted_at), (new, Some(Time(9))));
        let stay = visited(&[&both[..], &[(10, AdmitCancelled, "", new)]].concat());
        assert_eq!((stay.visit.as_deref(), stay.discharged_at), (old, Some(Time(5))));
        let stay = visited(&[&both[..], &[(10, DischargeCancelled, "", old)]].concat());
        assert_eq!((stay.visit.as_deref(), stay.icu_admitted_at), (new, Some(Time(9))));
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

    #[test]
    fn another_reading_of_a_movement_stands_in_its_place() {
        let mut all = Movements::default();
        let admitted = |icu| encounter(Admitted, "WX1", icu);
        all.apply(Time(1), Some("V1"), &admitted(true));
        all.apply(Time(3), Some("V1"), &encounter(Updated, "WX1", false));
        assert_eq!(all.stay().icu_admitted_at, Some(Time(1)));
        all.apply(Time(1), Some("V1"), &admitted(false));
        assert_eq!((all.stay().icu_admitted_at, all.stay().in_icu(Time(9))), (None, false));
        all.apply(Time(1), Some("V1"), &admitted(true));
        assert_eq!(all.stay().icu_admitted_at, Some(Time(1)));
        all.apply(Time(1), Some("V1"), &encounter(Admitted, "", false));
        assert_eq!(all.stay().icu_admitted_at, Some(Time(1)), "what is not said erases nothing");
        assert_eq!(all.all.len(), 2);
    }

    #[test]
    fn what_was_cancelled_stays_so_when_it_is_read_again() {
        let (admission, mended) = ((1, Admitted, "MICU"), (1, Admitted, "W1"));
        let stay = moved(&[admission, (5, AdmitCancelled, ""), mended]);
        assert!(stay == Stay::default());
        let (discharge, mended) = ((5, Discharged, "MICU"), (5, Discharged, "W1"));
        let stay = moved(&[(1, Admitted, "W1"), discharge, (6, DischargeCancelled, ""), mended]);
        assert_eq!((stay.discharged_at, ward(&stay)), (None, Some("W1")));
        let (transfer, mended) = ((5, Transferred, "MICU"), (5, Transferred, "W9"));
        let stay = moved(&[(1, Admitted, "W1"), transfer, (6, TransferCancelled, ""), mended]);
        assert_eq!((stay.icu_admitted_at, ward(&stay)), (None, Some("W1")));
    }

    #[test]
    fn one_cancel_takes_back_a_discharge_that_was_told_twice() {
        for second in [5, 6] {
            let twice = [(1, Admitted, "MICU"), (5, Discharged, "MICU"), (second, Discharged, "W1")];
            assert_eq!(moved(&twice).discharged_at, Some(Time(second)));
            let stay = moved(&[&twice[..], &[(7, DischargeCancelled, "")]].concat());
            assert_eq!((stay.discharged_at, ward(&stay)), (None, Some("MICU")), "{second}");
            let again = [(7, DischargeCancelled, ""), (8, Discharged, "")];
            assert_eq!(moved(&[&twice[..], &again].concat()).discharged_at, Some(Time(8)));
        }
    }

    #[test]
    fn a_checkpoint_of_an_earlier_build_holds_each_reading_and_still_takes_another() {
        let written = |icu: bool| {
            format!(
                r#"{{"at":5,"visit":"V1","encounter":{{"change":"discharged","location":{{"ward":"W1","icu":{icu}}}}}}}"#
            )
        };
        let (wrong, right) = (written(false), written(true));
        let admitted =
            r#"{"at":1,"visit":"V1","encounter":{"change":"admitted","location":{"ward":"W1","icu":true}}}"#;
        let stay = r#"{"visit":"V1","location":null,"admitted_at":1,"icu_admitted_at":1,"discharged_at":5}"#;
        let json = format!(r#"{{"all":[{admitted},{wrong},{right}],"stay":{stay}}}"#);
        let mut read: Movements = serde_json::from_str(&json).unwrap();
        assert_eq!((read.all.len(), read.stay().discharged_at), (2, Some(Time(5))));
        read.apply(Time(6), Some("V1"), &encounter(DischargeCancelled, "", false));
        assert_eq!((read.stay().discharged_at, ward(read.stay())), (None, Some("W1")));
        let again: Movements = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
        assert!(again == read);
    }

    const CHANGES: [EncounterChange; 7] =
        [Admitted, Transferred, Updated, Discharged, AdmitCancelled, TransferCancelled, DischargeCancelled];

    proptest! {
        /// Of each movement as many readings as it occurs in `order`; the last of them says what is so.
        #[test]
        fn neither_the_order_nor_former_readings_of_a_movement_matter(
            (movements, order) in prop::collection::btree_map(
                (0..6_i64, 0..7_usize, 0..3_usize), "|W1|W2|MICU", 1..12,
            ).prop_flat_map(|movements| {
                let known: Vec<_> = movements.keys().copied().collect();
                let again = prop::collection::vec(prop::sample::select(known.clone()), 0..8);
                let order = again.prop_map(move |again| [known.clone(), again].concat()).prop_shuffle();
                (Just(movements), order)
            })
        ) {
            let movements: BTreeMap<(i64, usize, usize), String> = movements;
            let told = |(at, change, visit): (i64, usize, usize), ward| {
                (at, CHANGES[change], ward, [None, Some("V1"), Some("V2")][visit])
            };
            let plain: Vec<_> = movements.iter().map(|(what, ward)| told(*what, ward.as_str())).collect();
            let arrived: Vec<_> = order.iter().enumerate().map(|(i, what)| {
                let ward = match (movements[what].as_str(), order[i + 1..].contains(what)) {
                    ("MICU", true) => "W2",
                    (ward, true) if !ward.is_empty() => "MICU",
                    (ward, _) => ward,
                };
                told(*what, ward)
            }).collect();
            prop_assert!(visited(&arrived) == visited(&plain));
        }
    }
}
