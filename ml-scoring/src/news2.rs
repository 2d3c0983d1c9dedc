//! NEWS2 (Royal College of Physicians, National Early Warning Score 2, 2017): chart 1, SpO2 scale 1.

use clinical::{Acvpu, Column, PatientState, Time};

/// Total at or above it asks for an urgent response (chart 2: "medium").
pub const URGENT: u8 = 5;
/// Total at or above it asks for an emergency response (chart 2: "high").
pub const EMERGENCY: u8 = 7;
/// A single parameter with so many points asks for an urgent ward-based response (chart 2).
pub const SINGLE_RED: u8 = 3;

/// Values older than this no longer describe the patient: NEWS2 charts at least every 12 h (chart 4), ours hold
/// twice that.
const VALID_MS: i64 = 24 * Time::HOUR_MS;

/// Partial data: the total needs at least four of the five measured parameters (respiration, SpO2, pulse, systolic
/// pressure, temperature) within 24 h. Consciousness not charted counts as alert, oxygen not charted as room air,
/// as they do on paper; a missing parameter adds nothing. Fewer than four: `insufficient data`.
const MEASURED_NEEDED: usize = 4;

/// One parameter's part of the total.
#[derive(Clone, PartialEq)]
pub struct Part {
    pub name: &'static str,
    pub value: f32,
    pub points: u8,
    pub words: String,
}

#[derive(Clone, PartialEq)]
pub struct News2 {
    /// 0 to 20.
    pub total: u8,
    /// Known parameters, in the chart's order.
    pub parts: Vec<Part>,
}

impl std::fmt::Debug for News2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("News2(redacted)")
    }
}

impl News2 {
    /// The score at `at`; `None` is `insufficient data`.
    pub fn of(state: &PatientState, at: Time) -> Option<News2> {
        let recent = |column| {
            state.last(column, at).filter(|(seen, _)| at.0.saturating_sub(seen.0) <= VALID_MS).map(|(_, v)| v)
        };
        let mut parts = Vec::with_capacity(7);
        let mut measured = 0;
        for (column, points) in MEASURED {
            if let Some(value) = recent(*column) {
                measured += 1;
                parts.push(part(*column, value, points(value)));
            }
        }
        if measured < MEASURED_NEEDED {
            return None;
        }
        parts.extend(oxygen(recent(Column::OxygenFlow), recent(Column::FiO2)));
        parts.extend(consciousness(recent(Column::Consciousness), recent(Column::Gcs)));
        Some(News2 { total: parts.iter().map(|p| p.points).sum(), parts })
    }

    /// Urgent or worse: the total, or one parameter in the red.
    pub fn is_urgent(&self) -> bool {
        self.total >= URGENT || self.parts.iter().any(|p| p.points >= SINGLE_RED)
    }
}

type Points = fn(f32) -> u8;

const MEASURED: &[(Column, Points)] = &[
    (Column::Resp, respiration_points),
    (Column::O2Sat, saturation_points),
    (Column::Sbp, systolic_points),
    (Column::Hr, pulse_points),
    (Column::Temp, temperature_points),
];

fn part(column: Column, value: f32, points: u8) -> Part {
    let words = crate::features::words_of_value(column, value);
    Part { name: column.name(), value, points, words: with_points(&words, points) }
}

fn with_points(words: &str, points: u8) -> String {
    match points {
        1 => format!("{words} (1 point)"),
        n => format!("{words} ({n} points)"),
    }
}

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
    Some(Part { name, value, points, words: with_points(words, points) })
}

fn consciousness(acvpu: Option<f32>, gcs: Option<f32>) -> Option<Part> {
    let (name, value, alert) = match (acvpu, gcs) {
        (Some(level), _) => ("ACVPU", level, level == f32::from(Acvpu::Alert as u8)),
        (None, Some(gcs)) => ("GCS", gcs, gcs >= 15.0),
        (None, None) => return None,
    };
    let points = if alert { 0 } else { 3 };
    Some(Part { name, value, points, words: with_points(if alert { "alert" } else { "not alert" }, points) })
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

pub(crate) fn points_or_nan(value: f32, points: impl Fn(f32) -> u8) -> f32 {
    if value.is_nan() { f32::NAN } else { f32::from(points(value)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinical::ObservationStatus::Final;

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

    fn patient(values: &[(Column, f64)]) -> PatientState {
        let mut state = PatientState::default();
        for (column, value) in values {
            state.observe(*column, Time(0), "", Final, *value);
        }
        state
    }

    #[test]
    fn a_sick_patient_adds_up_and_the_parts_say_why() {
        let mut values =
            vec![(Column::Resp, 26.0), (Column::O2Sat, 93.0), (Column::Sbp, 95.0), (Column::Hr, 112.0)];
        let news = News2::of(&patient(&values), Time(1)).unwrap();
        assert_eq!((news.total, news.is_urgent()), (3 + 2 + 2 + 2, true));
        assert_eq!(news.parts[0].words, "respiratory rate 26 /min (3 points)");
        values.extend([(Column::Temp, 39.2), (Column::OxygenFlow, 4.0), (Column::Consciousness, 1.0)]);
        assert_eq!(News2::of(&patient(&values), Time(1)).unwrap().total, 9 + 2 + 2 + 3);
    }

    #[test]
    fn one_red_parameter_is_urgent_and_too_little_is_no_score() {
        let calm = [(Column::Resp, 14.0), (Column::O2Sat, 97.0), (Column::Sbp, 120.0), (Column::Hr, 70.0)];
        let news = News2::of(&patient(&calm), Time(1)).unwrap();
        assert_eq!((news.total, news.is_urgent()), (0, false));
        let mut red = calm;
        red[3].1 = 135.0;
        let news = News2::of(&patient(&red), Time(1)).unwrap();
        assert_eq!((news.total, news.is_urgent()), (3, true));
        assert_eq!(News2::of(&patient(&calm[..3]), Time(1)), None);
        assert_eq!(News2::of(&patient(&calm), Time(25 * Time::HOUR_MS)), None);
    }
}
