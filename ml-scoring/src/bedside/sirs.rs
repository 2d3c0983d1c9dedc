//! SIRS (Bone et al., ACCP/SCCM Consensus Conference, Chest 1992;101:1644-1655, "Systemic Inflammatory Response
//! Syndrome"): criteria met, 0 to 4. Band forms are not known here.

use clinical::{Column, PatientState, Time};

use super::Spec;
use super::score::{Known, Part, Score};

/// Partial data: three of the four criteria, vital signs of 24 h and white cells of 48 h. Fewer: `insufficient data`,
/// unless those known reach the watch list.
const CRITERIA_NEEDED: usize = 3;

/// "Two or more" criteria.
const WATCH: u8 = 2;

pub(super) const SPEC: Spec = Spec {
    name: "sirs",
    title: "SIRS",
    task: "inflammation",
    version: "SIRS 1992, version 2",
    age_min: 0,
    max: 4,
    watch: WATCH,
    interruptive: None,
    of,
};

fn of(state: &PatientState, at: Time) -> Option<Score> {
    let known = Known { state, at };
    // One criterion, by whichever meets it.
    let breathing =
        [known.vital_part(Column::PaCo2, carbon_dioxide), known.vital_part(Column::Resp, breaths)];
    let criteria = [
        known.vital_part(Column::Temp, temperature),
        known.vital_part(Column::Hr, pulse),
        breathing.into_iter().flatten().max_by_key(|part| part.points),
        known.lab_part(Column::Wbc, white_cells),
    ];
    let parts: Vec<Part> = criteria.into_iter().flatten().collect();
    Score::sum_if(parts.len() >= CRITERIA_NEEDED, parts, WATCH)
}

/// °C.
pub fn temperature(temp: f32) -> u8 {
    u8::from(!(36.0..=38.0).contains(&temp))
}

/// Beats per minute.
pub fn pulse(hr: f32) -> u8 {
    u8::from(hr > 90.0)
}

/// Breaths per minute.
pub fn breaths(resp: f32) -> u8 {
    u8::from(resp > 20.0)
}

/// Arterial CO2 pressure in mm[Hg].
pub fn carbon_dioxide(pa_co2: f32) -> u8 {
    u8::from(pa_co2 < 32.0)
}

/// 10*3/uL.
pub fn white_cells(wbc: f32) -> u8 {
    u8::from(!(4.0..=12.0).contains(&wbc))
}

#[cfg(test)]
mod tests {
    use super::super::score::tests::{hours, patient};
    use super::*;

    #[test]
    fn every_boundary_of_the_four_criteria() {
        assert_eq!([35.9, 36.0, 38.0, 38.1].map(temperature), [1, 0, 0, 1]);
        assert_eq!([90.0, 91.0].map(pulse), [0, 1]);
        assert_eq!([20.0, 21.0].map(breaths), [0, 1]);
        assert_eq!([31.9, 32.0].map(carbon_dioxide), [1, 0]);
        assert_eq!([3.9, 4.0, 12.0, 12.1].map(white_cells), [1, 0, 0, 1]);
    }

    #[test]
    fn breathing_is_one_criterion_and_three_known_or_two_met_are_needed() {
        let all = [
            (Column::Temp, 38.6),
            (Column::Hr, 112.0),
            (Column::Resp, 26.0),
            (Column::PaCo2, 28.0),
            (Column::Wbc, 14.0),
        ];
        let score = of(&patient(&all), Time(1)).unwrap();
        assert_eq!((score.total, score.parts.len()), (4, 4));
        assert_eq!(score.parts[2].words, "respiratory rate 26 /min (1 point)");
        let by_gas = [(Column::Temp, 37.0), (Column::Hr, 80.0), (Column::Resp, 16.0), (Column::PaCo2, 31.0)];
        assert_eq!(of(&patient(&by_gas), Time(1)).map(|score| score.total), Some(1));
        assert_eq!(
            of(&patient(&all[..2]), Time(1)).map(|score| score.total),
            Some(2),
            "the rest could only add"
        );
        assert_eq!(of(&patient(&all[..1]), Time(1)), None);
        assert_eq!(of(&patient(&by_gas[1..]), Time(1)), None, "two known, of which one is met");
        assert_eq!(of(&patient(&all), hours(25)), None, "the white cells alone are still known");
    }
}
