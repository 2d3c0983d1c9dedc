//! Urine as it is charted: each volume is what came since the one before it.

use clinical::{Column, Time};

use super::score::Known;

/// At least once a shift; with a longer gap nobody knows whether volumes are missing.
const GAP_MS: i64 = 8 * Time::HOUR_MS;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Output {
    pub ml: f32,
    /// In which it came.
    pub hours: f32,
}

/// What came in the last `hours` or the little more that the chart's steps make of them; `None`: not charted all along.
pub fn charted(known: &Known<'_>, hours: i64) -> Option<Output> {
    let (newest, _) = known.newest(Column::Urine, GAP_MS)?;
    let mut output = Output { ml: 0.0, hours: 0.0 };
    let mut since = newest;
    for (at, ml) in known.state.newest_first(Column::Urine).filter(|(at, _)| *at <= newest) {
        if since.0 - at.0 > GAP_MS {
            return None;
        }
        since = at;
        output.hours = (newest.0 - at.0) as f32 / Time::HOUR_MS as f32;
        if newest.0 - at.0 >= hours * Time::HOUR_MS {
            return Some(output);
        }
        output.ml += ml;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::score::tests::{hours, observe};
    use super::*;
    use clinical::PatientState;

    fn of(volumes: &[(i64, f64)], at: i64, hours_needed: i64) -> Option<(f32, f32)> {
        let mut state = PatientState::default();
        volumes.iter().for_each(|(hour, ml)| observe(&mut state, *hour, Column::Urine, *ml));
        charted(&Known { state: &state, at: hours(at) }, hours_needed).map(|output| (output.ml, output.hours))
    }

    #[test]
    fn the_volumes_after_the_beginning_count() {
        let hourly: Vec<(i64, f64)> = (0..=6).map(|hour| (hour, 50.0)).collect();
        assert_eq!(of(&hourly, 6, 6), Some((300.0, 6.0)));
        assert_eq!(of(&hourly, 5, 6), None, "not yet six hours");
        assert_eq!(of(&[(0, 400.0), (4, 200.0), (8, 100.0)], 9, 6), Some((300.0, 8.0)));
    }

    #[test]
    fn a_gap_longer_than_a_shift_is_unknown_and_not_nothing() {
        assert_eq!(of(&[(0, 100.0), (8, 100.0)], 16, 6), Some((100.0, 8.0)));
        assert_eq!(of(&[(0, 100.0), (8, 100.0)], 17, 6), None, "the newest is too old");
        assert_eq!(of(&[(0, 100.0), (9, 100.0)], 9, 6), None);
    }
}
