//! NEWS2 (Royal College of Physicians, National Early Warning Score 2, 2017): chart 1, SpO2 scale 1.

use clinical::{Column, PatientState, Time};

use super::Spec;
use super::score::{Known, Part, Score, consciousness, consciousness_by_acvpu};

/// Total at or above it asks for an urgent response (chart 2: "medium").
const URGENT: u8 = 5;
/// Total at or above it asks for an emergency response (chart 2: "high").
const EMERGENCY: u8 = 7;
/// A single parameter with so many points asks for an urgent ward-based response (chart 2).
const SINGLE_RED: u8 = 3;
/// Its report means it for 16 years and older.
const AGE_MIN: u8 = 16;

/// Partial data: the total needs at least four of the five measured parameters (respiration, SpO2, pulse, systolic
/// pressure, temperature) within 24 h. Consciousness not charted counts as alert, oxygen not charted as room air,
/// as they do on paper; a missing parameter adds nothing. Fewer than four: `insufficient data`.
const MEASURED_NEEDED: usize = 4;

pub(super) const SPEC: Spec = Spec {
    name: "news2",
    title: "NEWS2",
    task: "deterioration",
    version: "NEWS2 2017, SpO2 scale 1, version 3",
    age_min: AGE_MIN,
    max: 20,
    watch: URGENT,
    interruptive: Some(EMERGENCY),
    of,
};

/// It judged children as adults.
pub(super) const VERSION_2: Spec =
    Spec { version: "NEWS2 2017, SpO2 scale 1, version 2", age_min: 0, ..SPEC };

/// Before 27 November 2026: a word of consciousness hid every score of it, also a newer one.
pub(super) const VERSION_1: Spec = Spec {
    version: "NEWS2 2017, SpO2 scale 1, version 1",
    of: |state, at| sum(state, at, consciousness_by_acvpu),
    ..VERSION_2
};

fn of(state: &PatientState, at: Time) -> Option<Score> {
    sum(state, at, consciousness)
}

fn sum(state: &PatientState, at: Time, consciousness: fn(&Known<'_>, u8) -> Option<Part>) -> Option<Score> {
    let known = Known { state, at };
    let mut parts = Vec::with_capacity(7);
    for (column, points) in MEASURED {
        parts.extend(known.vital_part(*column, *points));
    }
    if parts.len() < MEASURED_NEEDED {
        return None;
    }
    parts.extend(oxygen(known.vital(Column::OxygenFlow), known.vital(Column::FiO2)));
    parts.extend(consciousness(&known, 3));
    let red = parts.iter().any(|part| part.points >= SINGLE_RED);
    let score = Score::sum(parts);
    Some(Score { level: if red { score.total.max(URGENT) } else { score.total }, ..score })
}

type Points = fn(f32) -> u8;

const MEASURED: &[(Column, Points)] = &[
    (Column::Resp, respiration_points),
    (Column::O2Sat, saturation_points),
    (Column::Sbp, systolic_points),
    (Column::Hr, pulse_points),
    (Column::Temp, temperature_points),
];

fn oxygen(flow: Option<f32>, fio2: Option<f32>) -> Option<Part> {
    let (name, value, on_oxygen) = match (flow, fio2) {
        (Some(flow), _) if flow > 0.0 => ("O2Flow", flow, true),
        // Room air is 0.21; charts round it.
        (_, Some(fio2)) => ("FiO2", fio2, fio2 > 0.22),
        (Some(flow), None) => ("O2Flow", flow, false),
        (None, None) => return None,
    };
    let points = if on_oxygen { 2 } else { 0 };
    let words = if on_oxygen { "on supplemental oxygen" } else { "on room air" };
    Some(Part::new(name, value, points, words))
}

/// Breaths per minute.
pub fn respiration_points(resp: f32) -> u8 {
    match resp {
        r if r < 9.0 => 3,
        r if r < 12.0 => 1,
        r if r < 21.0 => 0,
        r if r < 25.0 => 2,
        _ => 3,
    }
}

/// SpO2 in %, scale 1.
pub fn saturation_points(spo2: f32) -> u8 {
    match spo2 {
        s if s < 92.0 => 3,
        s if s < 94.0 => 2,
        s if s < 96.0 => 1,
        _ => 0,
    }
}

/// Systolic pressure in mm[Hg].
pub fn systolic_points(sbp: f32) -> u8 {
    match sbp {
        s if s < 91.0 => 3,
        s if s < 101.0 => 2,
        s if s < 111.0 => 1,
        s if s < 220.0 => 0,
        _ => 3,
    }
}

/// Beats per minute.
pub fn pulse_points(hr: f32) -> u8 {
    match hr {
        h if h < 41.0 => 3,
        h if h < 51.0 => 1,
        h if h < 91.0 => 0,
        h if h < 111.0 => 1,
        h if h < 131.0 => 2,
        _ => 3,
    }
}

/// °C, charted in tenths: 35.05 and above is "35.1".
pub fn temperature_points(temp: f32) -> u8 {
    match temp {
        t if t < 35.05 => 3,
        t if t < 36.05 => 1,
        t if t < 38.05 => 0,
        t if t < 39.05 => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::super::score::tests::{hours, observe, patient};
    use super::*;
    use crate::Bedside;

    #[test]
    fn every_boundary_of_chart_1() {
        let all =
            |points: fn(f32) -> u8, values: &[f32]| values.iter().map(|v| points(*v)).collect::<Vec<_>>();
        assert_eq!(
            all(respiration_points, &[8., 9., 11., 12., 20., 21., 24., 25.]),
            [3, 1, 1, 0, 0, 2, 2, 3]
        );
        assert_eq!(all(saturation_points, &[91., 92., 93., 94., 95., 96.]), [3, 2, 2, 1, 1, 0]);
        assert_eq!(
            all(systolic_points, &[90., 91., 100., 101., 110., 111., 219., 220.]),
            [3, 2, 2, 1, 1, 0, 0, 3]
        );
        assert_eq!(
            all(pulse_points, &[40., 41., 50., 51., 90., 91., 110., 111., 130., 131.]),
            [3, 1, 1, 0, 0, 1, 1, 2, 2, 3]
        );
        assert_eq!(
            all(temperature_points, &[35.0, 35.1, 36.0, 36.1, 38.0, 38.1, 39.0, 39.1]),
            [3, 1, 1, 0, 0, 1, 1, 2]
        );
    }

    #[test]
    fn a_sick_patient_adds_up_and_the_parts_say_why() {
        let mut values =
            vec![(Column::Resp, 26.0), (Column::O2Sat, 93.0), (Column::Sbp, 95.0), (Column::Hr, 112.0)];
        let news = of(&patient(&values), Time(1)).unwrap();
        assert_eq!((news.total, news.level >= URGENT), (3 + 2 + 2 + 2, true));
        assert_eq!(news.parts[0].words, "respiratory rate 26 /min (3 points)");
        values.extend([(Column::Temp, 39.2), (Column::OxygenFlow, 4.0), (Column::Consciousness, 1.0)]);
        assert_eq!(of(&patient(&values), Time(1)).unwrap().total, 9 + 2 + 2 + 3);
        let mut woken = patient(&values);
        observe(&mut woken, 1, Column::Gcs, 15.0);
        assert_eq!(of(&woken, hours(1)).unwrap().total, 9 + 2 + 2);
    }

    /// A healthy infant's pulse and breaths would ask for an emergency team.
    #[test]
    fn children_are_no_adults() {
        let calm = [(Column::Resp, 34.0), (Column::O2Sat, 98.0), (Column::Sbp, 90.0), (Column::Hr, 132.0)];
        let score = |born: &str, by: Bedside| {
            let mut state = patient(&calm);
            let person = clinical::Person { birth_date: Some(born.into()), ..Default::default() };
            state.apply(&clinical::Event {
                patient: clinical::PatientId { authority: "".into(), id: "1".into() },
                visit: None,
                at: Time(0),
                precision: clinical::Precision::Second,
                kind: clinical::EventKind::Person(person),
            });
            by.score(&state, Time(1)).map(|score| score.total)
        };
        // The patient was measured on 1 January 1970.
        assert_eq!([score("1969-08-01", Bedside::News2), score("1954-06-01", Bedside::News2)], [None, None]);
        assert!(score("1953-12-31", Bedside::News2) > Some(7), "16 years");
        assert!(
            score("1969-08-01", Bedside::News2Version2) > Some(7),
            "an alert of then is explained as then"
        );
    }

    #[test]
    fn one_red_parameter_is_urgent_and_too_little_is_no_score() {
        let calm = [(Column::Resp, 14.0), (Column::O2Sat, 97.0), (Column::Sbp, 120.0), (Column::Hr, 70.0)];
        let news = of(&patient(&calm), Time(1)).unwrap();
        assert_eq!((news.total, news.level >= URGENT), (0, false));
        let mut red = calm;
        red[3].1 = 135.0;
        let news = of(&patient(&red), Time(1)).unwrap();
        assert_eq!((news.total, news.level >= URGENT), (3, true));
        assert_eq!(of(&patient(&calm[..3]), Time(1)), None);
        assert_eq!(of(&patient(&calm), hours(25)), None);
    }
}
