//! qSOFA (Singer et al., Sepsis-3, JAMA 2016;315:801-810, box 4): 0 to 3.

use clinical::{Column, PatientState, Time};

use super::Spec;
use super::score::{Known, Score, consciousness};

/// "At least 2 of the following clinical criteria" (abstract).
const WATCH: u8 = 2;

pub(super) const SPEC: Spec = Spec {
    name: "qsofa",
    title: "qSOFA",
    task: "poor-outcome",
    version: "qSOFA 2016, version 2",
    age_min: 0,
    max: 3,
    watch: WATCH,
    interruptive: None,
    of,
};

/// Partial data: respiratory rate and systolic pressure of 24 h; mentation not charted counts as not altered. Without
/// one of the two: `insufficient data`, unless the other and mentation reach the watch list.
fn of(state: &PatientState, at: Time) -> Option<Score> {
    let known = Known { state, at };
    let measured = [known.vital_part(Column::Resp, respiration), known.vital_part(Column::Sbp, systolic)];
    let both = measured.iter().all(Option::is_some);
    let parts = measured.into_iter().flatten().chain(consciousness(&known, 1)).collect();
    Score::sum_if(both, parts, WATCH)
}

/// Breaths per minute.
pub fn respiration(resp: f32) -> u8 {
    u8::from(resp >= 22.0)
}

/// Systolic pressure in mm[Hg].
pub fn systolic(sbp: f32) -> u8 {
    u8::from(sbp <= 100.0)
}

#[cfg(test)]
mod tests {
    use super::super::score::tests::{hours, patient};
    use super::*;

    #[test]
    fn every_boundary_of_box_4() {
        assert_eq!([21.0, 22.0].map(respiration), [0, 1]);
        assert_eq!([100.0, 101.0].map(systolic), [1, 0]);
        let mentation = |column, value| {
            let values = [(Column::Resp, 16.0), (Column::Sbp, 120.0), (column, value)];
            of(&patient(&values), Time(1)).unwrap().total
        };
        assert_eq!([14.0, 15.0].map(|gcs| mentation(Column::Gcs, gcs)), [1, 0]);
        assert_eq!([0.0, 1.0].map(|level| mentation(Column::Consciousness, level)), [0, 1]);
    }

    #[test]
    fn both_measured_parts_are_needed_unless_one_and_mentation_reach_the_limit() {
        let values = [(Column::Resp, 24.0), (Column::Sbp, 90.0)];
        let score = of(&patient(&values), Time(1)).unwrap();
        assert_eq!((score.total, score.parts.len()), (2, 2));
        assert_eq!(score.parts[1].words, "systolic blood pressure 90 mmHg (1 point)");
        assert_eq!(of(&patient(&values[..1]), Time(1)), None);
        assert_eq!(of(&patient(&values[1..]), Time(1)), None);
        assert_eq!(of(&patient(&values), hours(25)), None);
        let drowsy = |measured, value| {
            let values = [(measured, value), (Column::Gcs, 13.0)];
            of(&patient(&values), Time(1)).map(|score| score.total)
        };
        assert_eq!([21.0, 22.0].map(|resp| drowsy(Column::Resp, resp)), [None, Some(2)]);
        assert_eq!([101.0, 100.0].map(|sbp| drowsy(Column::Sbp, sbp)), [None, Some(2)]);
    }
}
