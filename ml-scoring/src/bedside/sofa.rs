//! SOFA (Vincent et al., Intensive Care Med 1996;22:707-710, table 3): the organ systems that are known, 0 to 24, by
//! the table's column of mg/dL.
//!
//! Respiration is by PaO2/FiO2 or, if newer, by SpO2/FiO2 (Rice et al., Chest 2007;132:410-417: 235 is 200, 315 is 300,
//! and by their regression S/F = 64 + 0.84 P/F about 150 is 100, and 400 is 400), which says nothing above a saturation
//! of 97 %. Whether a patient is ventilated, or given vasopressors, is not known here: the table asks for the former
//! from 3 points on, and gives 2 to 4 for the latter.

use clinical::{Column, PatientState, Time};

use super::score::{Known, Part, Score};
use super::{Spec, urine};

/// Partial data: half of the six systems. Fewer: `insufficient data`, unless those known reach the watch list.
const SYSTEMS_NEEDED: usize = 3;
/// Above it SpO2 no longer follows PaO2 (Rice et al.).
const SATURATION_MAX: f32 = 97.0;
/// Oxygen is turned up and down within a shift: what was given long before says nothing of the blood that was measured.
const FIO2_MS: i64 = 4 * Time::HOUR_MS;

/// Sepsis-3 (Singer et al., JAMA 2016;315:801-810, box 3): an acute change of 2 points, from 0 where nothing is known
/// of the time before.
const WATCH: u8 = 2;

pub(super) const SPEC: Spec = Spec {
    name: "sofa",
    title: "SOFA",
    task: "organ-failure",
    version: "SOFA 1996, PaO2 or SpO2 by Rice 2007, the newer, on the FiO2 of 4 h before it, version 2",
    age_min: 0,
    max: 24,
    watch: WATCH,
    interruptive: None,
    of,
};

fn of(state: &PatientState, at: Time) -> Option<Score> {
    let known = Known { state, at };
    let systems = [
        lungs(&known),
        known.lab_part(Column::Platelets, coagulation),
        known.lab_part(Column::BilirubinTotal, liver),
        known.vital_part(Column::Map, circulation),
        known.vital_part(Column::Gcs, brain),
        kidneys(&known),
    ];
    let parts: Vec<Part> = systems.into_iter().flatten().collect();
    Score::sum_if(parts.len() >= SYSTEMS_NEEDED, parts, WATCH)
}

/// By whichever was measured last, the gas where both were.
fn lungs(known: &Known<'_>) -> Option<Part> {
    let gas = on_oxygen(known, Column::PaO2);
    let saturation = on_oxygen(known, Column::O2Sat).filter(|on| on.value <= SATURATION_MAX);
    match (gas, saturation) {
        (Some(gas), saturation) if saturation.is_none_or(|on| on.at <= gas.at) => {
            let ratio = gas.value / gas.fio2;
            let words = format!("PaO2/FiO2 {ratio:.0} mmHg");
            Some(Part::new("PaO2/FiO2", ratio, respiration(ratio), &words))
        }
        (_, saturation) => saturation.map(|on| {
            let ratio = on.value / on.fio2;
            let words = format!("SpO2/FiO2 {ratio:.0}");
            Part::new("SpO2/FiO2", ratio, respiration_by_saturation(ratio), &words)
        }),
    }
}

/// A measurement and the oxygen on which it was made.
#[derive(Clone, Copy)]
struct OnOxygen {
    at: Time,
    value: f32,
    fio2: f32,
}

fn on_oxygen(known: &Known<'_>, column: Column) -> Option<OnOxygen> {
    let (at, value) = known.newest(column, Known::VITALS_MS)?;
    let (_, fio2) = Known { at, ..*known }.newest(Column::FiO2, FIO2_MS)?;
    Some(OnOxygen { at, value, fio2 })
}

/// By creatinine or the urine of a day, whichever is worse.
fn kidneys(known: &Known<'_>) -> Option<Part> {
    let creatinine = known.lab_part(Column::Creatinine, renal);
    let urine = urine::charted(known, 24).map(|output| {
        let ml_a_day = output.ml * 24.0 / output.hours;
        Part::new("Urine", ml_a_day, renal_by_urine(ml_a_day), &format!("urine {ml_a_day:.0} mL a day"))
    });
    [urine, creatinine].into_iter().flatten().max_by_key(|part| part.points)
}

/// PaO2/FiO2 in mm[Hg].
pub fn respiration(ratio: f32) -> u8 {
    match ratio {
        r if r < 100.0 => 4,
        r if r < 200.0 => 3,
        r if r < 300.0 => 2,
        r if r < 400.0 => 1,
        _ => 0,
    }
}

/// SpO2/FiO2 in %.
pub fn respiration_by_saturation(ratio: f32) -> u8 {
    match ratio {
        r if r < 150.0 => 4,
        r if r < 235.0 => 3,
        r if r < 315.0 => 2,
        r if r < 400.0 => 1,
        _ => 0,
    }
}

/// Platelets in 10*3/uL.
pub fn coagulation(platelets: f32) -> u8 {
    match platelets {
        p if p < 20.0 => 4,
        p if p < 50.0 => 3,
        p if p < 100.0 => 2,
        p if p < 150.0 => 1,
        _ => 0,
    }
}

/// Total bilirubin in mg/dL.
pub fn liver(bilirubin: f32) -> u8 {
    match bilirubin {
        b if b >= 12.0 => 4,
        b if b >= 6.0 => 3,
        b if b >= 2.0 => 2,
        b if b >= 1.2 => 1,
        _ => 0,
    }
}

/// Mean arterial pressure in mm[Hg].
pub fn circulation(map: f32) -> u8 {
    u8::from(map < 70.0)
}

/// Glasgow coma score.
pub fn brain(gcs: f32) -> u8 {
    match gcs {
        g if g < 6.0 => 4,
        g if g < 10.0 => 3,
        g if g < 13.0 => 2,
        g if g < 15.0 => 1,
        _ => 0,
    }
}

/// Creatinine in mg/dL.
pub fn renal(creatinine: f32) -> u8 {
    match creatinine {
        c if c >= 5.0 => 4,
        c if c >= 3.5 => 3,
        c if c >= 2.0 => 2,
        c if c >= 1.2 => 1,
        _ => 0,
    }
}

/// mL a day.
fn renal_by_urine(urine: f32) -> u8 {
    match urine {
        u if u < 200.0 => 4,
        u if u < 500.0 => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::score::tests::{hours, observe, patient};
    use super::*;

    #[test]
    fn every_boundary_of_table_3() {
        let all =
            |points: fn(f32) -> u8, values: &[f32]| values.iter().map(|v| points(*v)).collect::<Vec<_>>();
        assert_eq!(
            all(respiration, &[99., 100., 199., 200., 299., 300., 399., 400.]),
            [4, 3, 3, 2, 2, 1, 1, 0]
        );
        assert_eq!(
            all(respiration_by_saturation, &[149., 150., 234., 235., 314., 315., 399., 400.]),
            [4, 3, 3, 2, 2, 1, 1, 0]
        );
        assert_eq!(all(coagulation, &[19., 20., 49., 50., 99., 100., 149., 150.]), [4, 3, 3, 2, 2, 1, 1, 0]);
        assert_eq!(all(liver, &[1.1, 1.2, 1.9, 2.0, 5.9, 6.0, 11.9, 12.0]), [0, 1, 1, 2, 2, 3, 3, 4]);
        assert_eq!(all(circulation, &[69., 70.]), [1, 0]);
        assert_eq!(all(brain, &[5., 6., 9., 10., 12., 13., 14., 15.]), [4, 3, 3, 2, 2, 1, 1, 0]);
        assert_eq!(all(renal, &[1.1, 1.2, 1.9, 2.0, 3.4, 3.5, 4.9, 5.0]), [0, 1, 1, 2, 2, 3, 3, 4]);
        assert_eq!(all(renal_by_urine, &[199., 200., 499., 500.]), [4, 3, 3, 0]);
    }

    const BLOOD: [(Column, f64); 3] =
        [(Column::Platelets, 90.0), (Column::BilirubinTotal, 2.5), (Column::Creatinine, 1.3)];

    #[test]
    fn half_of_the_systems_are_needed_and_the_parts_say_which() {
        let score = of(&patient(&BLOOD), hours(48)).unwrap();
        assert_eq!((score.total, score.parts.len()), (5, 3));
        assert_eq!(score.parts[0].words, "platelets 90 10³/µL (2 points)");
        assert_eq!(of(&patient(&BLOOD), hours(49)), None);
        let few = |platelets| {
            let values = [(Column::Platelets, platelets), (Column::Map, 80.0)];
            of(&patient(&values), hours(1)).map(|score| score.total)
        };
        assert_eq!([100.0, 99.0].map(few), [None, Some(2)], "what reaches the limit needs no more");
    }

    #[test]
    fn the_glasgow_coma_score_is_said_without_a_unit() {
        let score = of(&patient(&[(Column::Gcs, 11.0)]), hours(1)).unwrap();
        assert_eq!(score.parts[0].words, "Glasgow coma score 11 (2 points)");
    }

    #[test]
    fn respiration_is_by_the_gas_or_by_a_saturation_that_tells() {
        let with = |more: &[(Column, f64)]| {
            let values: Vec<_> = BLOOD.iter().chain(more).copied().collect();
            let score = of(&patient(&values), hours(1)).unwrap();
            score.parts.first().map(|part| (part.name, part.points)).unwrap()
        };
        let (oxygen, gas) = ((Column::FiO2, 0.5), (Column::PaO2, 90.0));
        assert_eq!(with(&[oxygen, gas, (Column::O2Sat, 97.0)]), ("PaO2/FiO2", 3));
        assert_eq!(with(&[oxygen, (Column::O2Sat, 97.0)]), ("SpO2/FiO2", 3));
        assert_eq!(with(&[oxygen, (Column::O2Sat, 98.0)]), ("Platelets", 2));
        assert_eq!(with(&[gas, (Column::O2Sat, 90.0)]), ("Platelets", 2), "without FiO2 there is no ratio");
    }

    #[test]
    fn respiration_is_by_the_newest_on_the_oxygen_given_then() {
        let lungs = |values: &[(i64, Column, f64)], at| {
            let mut state = PatientState::default();
            values.iter().for_each(|(hour, column, value)| observe(&mut state, *hour, *column, *value));
            lungs(&Known { state: &state, at: hours(at) }).map(|part| part.words)
        };
        let gas = [(0, Column::FiO2, 0.5), (1, Column::PaO2, 100.0)];
        let words = |words: &str| Some(words.to_owned());
        let by_gas = words("PaO2/FiO2 200 mmHg (2 points)");
        assert_eq!(lungs(&gas, 25), by_gas);
        assert_eq!(lungs(&gas, 26), None);
        assert_eq!(lungs(&[&gas[..], &[(2, Column::FiO2, 1.0)]].concat(), 3), by_gas, "oxygen given later");
        let late = |hour| [(0, Column::FiO2, 0.5), (hour, Column::PaO2, 100.0)];
        assert_eq!([4, 5].map(|hour| lungs(&late(hour), hour).is_some()), [true, false]);

        let with = |more: &[(i64, Column, f64)]| lungs(&[&gas[..], more].concat(), 24);
        let now = [(23, Column::FiO2, 0.25), (24, Column::O2Sat, 90.0)];
        assert_eq!(with(&now), words("SpO2/FiO2 360 (1 point)"), "the gas is a day old");
        assert_eq!(with(&now[1..]), by_gas, "a saturation on oxygen that nobody knows");
        assert_eq!(with(&[now[0], (24, Column::O2Sat, 98.0)]), by_gas, "a saturation that does not tell");
        assert_eq!(with(&[(1, Column::O2Sat, 90.0)]), by_gas, "both at once");
    }

    #[test]
    fn the_kidneys_are_by_whichever_is_worse() {
        let mut state = patient(&BLOOD);
        for hour in 0..=24 {
            observe(&mut state, hour, Column::Urine, 20.0);
        }
        let score = of(&state, hours(24)).unwrap();
        let part = score.parts.last().unwrap();
        assert_eq!(
            (part.name, part.points, part.words.as_str()),
            ("Urine", 3, "urine 480 mL a day (3 points)")
        );
        assert_eq!(of(&state, hours(23)).unwrap().parts.last().unwrap().name, "Creatinine");
    }
}
