//! One patient's hours, each handed over once.

use clinical::{PatientState, Time};
use ml_scoring::Features;
use serde::{Deserialize, Serialize};

/// Of one patient who was silent for longer the last hours count.
const AT_ONCE_MAX: i64 = 72;

/// How far a patient's hours were handed over.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Counted {
    /// End of the last one, in event time.
    through: Option<Time>,
    /// An earlier release knew the patient up to here, in event time, and counted nothing: of a stay that began by then
    /// the hours count from the next one on, and it is no new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    known_until: Option<Time>,
}

/// A patient's hour that has closed.
pub(crate) struct ClosedHour {
    /// Ledger index of what closed it, and when that came.
    pub trigger: u64,
    pub at: Time,
    /// The first one of a stay.
    pub is_first: bool,
    pub in_icu: bool,
    /// Completed ones at the stay's beginning, if they are known.
    pub age_years: Option<u8>,
    /// [`Features::values`], as training has the row.
    pub row: Vec<f32>,
}

impl Counted {
    /// What a checkpoint says in which nothing stands of it; how far it knew the patient, [`Counted::read_with`] says.
    pub fn of_an_earlier_release() -> Counted {
        Counted { through: None, known_until: Some(Time(i64::MAX)) }
    }

    /// `latest`: the patient's newest event in the same checkpoint.
    pub fn read_with(&mut self, latest: Option<Time>) {
        self.known_until = self.known_until.min(latest);
    }

    /// The hours that have closed since the last call, once it is `now`, while the patient was there: training has no
    /// others.
    pub fn close(&mut self, state: &PatientState, now: Time, trigger: (u64, Time)) -> Vec<ClosedHour> {
        let Some((start, open)) = state.start().zip(state.hour(now)) else { return Vec::new() };
        let open = left_at(state).map_or(open, |left| open.min(hours_down(start, left)));
        // A stay that is corrected to have begun earlier or later is no other one.
        let is_new = self.through.is_none_or(|through| through <= start);
        let counted = self.through.filter(|_| !is_new).map_or(0, |through| hours_up(start, through));
        let from = counted.max(open - AT_ONCE_MAX);
        if from >= open {
            return Vec::new();
        }
        let end =
            |hour: i64| Time(start.0.saturating_add(hour.saturating_add(1).saturating_mul(Time::HOUR_MS)));
        self.through = Some(end(open - 1));
        let began_before = self.known_until.take().is_some_and(|until| start <= until);
        if is_new && began_before {
            return Vec::new();
        }
        let closed = |hour: i64| ClosedHour {
            trigger: trigger.0,
            at: trigger.1,
            is_first: is_new && hour == from,
            in_icu: state.stay().in_icu(Time(end(hour).0 - 1)),
            age_years: state.age_years(),
            row: Features::from_state_closed(state, hour).values,
        };
        (from..open).map(closed).collect()
    }

    /// Of two records of one patient.
    pub fn absorb(&mut self, other: &Counted) {
        self.through = self.through.max(other.through);
        self.known_until = match self.through {
            // One of this release says by itself how far it came.
            Some(_) => self.known_until,
            None => self.known_until.max(other.known_until),
        };
    }
}

fn left_at(state: &PatientState) -> Option<Time> {
    let discharged_at = state.stay().discharged_at;
    discharged_at.into_iter().chain(state.died_at()).min()
}

/// Whole hours from `start` to `end`.
fn hours_down(start: Time, end: Time) -> i64 {
    end.0.saturating_sub(start.0).div_euclid(Time::HOUR_MS)
}

/// Whole hours from `start` to `end`, a part of one counted as one.
fn hours_up(start: Time, end: Time) -> i64 {
    let ms = end.0.saturating_sub(start.0);
    ms.div_euclid(Time::HOUR_MS) + i64::from(ms.rem_euclid(Time::HOUR_MS) > 0)
}

#[cfg(test)]
mod tests {
    use clinical::{EncounterChange, EventKind};
    use ml_scoring::dataset::{Patient, Row};

    use super::*;

    fn patient(hours: u32) -> Patient {
        let row = |iculos: u32| {
            let mut values = Row::EMPTY;
            values[0] = f64::from(60 + iculos);
            Row { values, iculos, label: false, line: 0 }
        };
        Patient { pid: "p1".into(), age: 50.0, rows: (1..=hours).map(row).collect(), ..Patient::default() }
    }

    #[test]
    fn each_hour_is_handed_over_once_as_training_has_it() {
        let patient = patient(5);
        let (mut state, mut counted, mut rows) = (patient.admitted(), Counted::default(), Vec::new());
        for (row, index) in patient.rows.iter().zip(1..) {
            Patient::observe(&mut state, row);
            // As a message does, and as a tick later in the same hour.
            for _ in 0..2 {
                rows.extend(counted.close(&state, Patient::time_of(row), (index, Time(9))));
            }
        }
        rows.extend(counted.close(&state, Time(Patient::ADMITTED.0 + 5 * Time::HOUR_MS), (9, Time(9))));
        let expected: Vec<Vec<f32>> =
            patient.features().into_iter().map(|features| features.values).collect();
        let bits = |rows: &[f32]| rows.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(rows.len(), expected.len());
        assert!(rows.iter().zip(&expected).all(|(hour, row)| bits(&hour.row) == bits(row)));
        assert_eq!(
            rows.iter().map(|hour| hour.is_first).collect::<Vec<_>>(),
            [true, false, false, false, false]
        );
        assert!(rows.iter().all(|hour| hour.in_icu) && rows[2].trigger == 4);
    }

    #[test]
    fn a_long_silence_is_bounded_and_nothing_is_said_of_nobody() {
        let mut counted = Counted::default();
        assert!(counted.close(&PatientState::default(), Time(1), (1, Time(1))).is_empty());
        let state = patient(1).admitted();
        let late = Time(Patient::ADMITTED.0 + 1_000 * Time::HOUR_MS);
        let hours = counted.close(&state, late, (1, late));
        assert_eq!((hours.len(), hours[0].is_first), (AT_ONCE_MAX as usize, true));
        assert!(counted.close(&state, late, (2, late)).is_empty());
        assert!(counted.close(&state, Patient::ADMITTED, (3, late)).is_empty(), "the past is over");
    }

    #[test]
    fn hours_after_a_discharge_are_nobody_s() {
        let (mut state, mut counted) = (patient(1).admitted(), Counted::default());
        let after = |minutes: i64| Time(Patient::ADMITTED.0 + minutes * 60_000);
        let move_at = |state: &mut PatientState, at: Time, change| {
            let mut movement = patient(1).admission().remove(1);
            let EventKind::Encounter(encounter) = &mut movement.kind else { panic!("an admission") };
            (movement.at, encounter.change, encounter.admitted_at) = (at, change, None);
            state.apply(&movement);
        };
        move_at(&mut state, after(150), EncounterChange::Discharged);
        let late = after(30 * 60);
        assert_eq!(counted.close(&state, late, (1, late)).len(), 2, "of 2 h 30 min");
        move_at(&mut state, after(200), EncounterChange::DischargeCancelled);
        assert_eq!(counted.close(&state, after(240), (2, late)).len(), 2, "he was there all the same");
        move_at(&mut state, after(250), EncounterChange::Discharged);
        move_at(&mut state, late, EncounterChange::Admitted);
        let again = Time(late.0 + 60 * 60_000);
        let hours = counted.close(&state, again, (3, again));
        assert_eq!(hours.iter().map(|hour| hour.is_first).collect::<Vec<_>>(), [true], "another stay");
    }

    /// Of a patient whose newest event was `minutes` after the admission when this release read of him first.
    fn known_before(minutes: i64) -> Counted {
        let mut counted = Counted::of_an_earlier_release();
        counted.read_with(Some(Time(Patient::ADMITTED.0 + minutes * 60_000)));
        counted
    }

    #[test]
    fn of_a_stay_that_an_earlier_release_knew_the_hours_from_now_on_count() {
        let state = patient(1).admitted();
        let at = |hours: i64| Time(Patient::ADMITTED.0 + hours * Time::HOUR_MS);
        let firsts = |counted: &mut Counted, now: Time| -> Vec<bool> {
            counted.close(&state, now, (1, now)).iter().map(|hour| hour.is_first).collect()
        };
        let mut counted = known_before(90);
        let kept = rmp_serde::to_vec_named(&counted).unwrap();
        assert!(firsts(&mut counted, at(2)).is_empty());
        assert_eq!(firsts(&mut counted, at(3)), [false]);
        let mut again: Counted = rmp_serde::from_slice(&kept).unwrap();
        again.read_with(Some(at(9)));
        assert_eq!(again.known_until, Some(Time(at(1).0 + 30 * 60_000)), "a second start changes nothing");

        let mut merged = Counted::default();
        merged.absorb(&known_before(90));
        assert!(firsts(&mut merged, at(50)).is_empty(), "nor are they counted by way of a merge");
        assert_eq!(firsts(&mut merged, at(51)), [false]);
    }

    #[test]
    fn a_stay_that_began_since_is_new() {
        let state = patient(1).admitted();
        let now = Time(Patient::ADMITTED.0 + 2 * Time::HOUR_MS);
        // He had left before.
        let hours = known_before(-600).close(&state, now, (1, now));
        assert_eq!(hours.iter().map(|hour| hour.is_first).collect::<Vec<_>>(), [true, false]);
    }
}
