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
}

/// A patient's hour that has closed.
pub(crate) struct ClosedHour {
    /// Ledger index of what closed it, and when that came.
    pub trigger: u64,
    pub at: Time,
    /// The first one of a stay.
    pub is_first: bool,
    pub in_icu: bool,
    /// [`Features::values`], as training has the row.
    pub row: Vec<f32>,
}

impl Counted {
    /// The hours that have closed since the last call, once it is `now`.
    pub fn close(&mut self, state: &PatientState, now: Time, trigger: (u64, Time)) -> Vec<ClosedHour> {
        let Some((start, open)) = state.start().zip(state.hour(now)) else { return Vec::new() };
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
        let closed = |hour: i64| ClosedHour {
            trigger: trigger.0,
            at: trigger.1,
            is_first: is_new && hour == from,
            in_icu: state.stay().in_icu(Time(end(hour).0 - 1)),
            row: Features::from_state_closed(state, hour).values,
        };
        (from..open).map(closed).collect()
    }

    /// Of two records of one patient.
    pub fn absorb(&mut self, other: &Counted) {
        self.through = self.through.max(other.through);
    }
}

/// Whole hours from `start` to `end`, a part of one counted as one.
fn hours_up(start: Time, end: Time) -> i64 {
    let ms = end.0.saturating_sub(start.0);
    ms.div_euclid(Time::HOUR_MS) + i64::from(ms.rem_euclid(Time::HOUR_MS) > 0)
}

#[cfg(test)]
mod tests {
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
}
