//! What scores are made of.

use clinical::{Acvpu, Column, PatientState, Time};

/// One parameter's part of a total.
#[derive(Clone, PartialEq)]
pub struct Part {
    pub name: &'static str,
    pub value: f32,
    pub points: u8,
    pub words: String,
}

#[derive(Clone, PartialEq)]
pub struct Score {
    pub total: u8,
    /// The total that asks for the same response; above `total` where a single parameter asks for more (NEWS2).
    pub level: u8,
    /// Known parameters, in the source's order.
    pub parts: Vec<Part>,
}

impl std::fmt::Debug for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Score(redacted)")
    }
}

impl Score {
    /// Parts that add up.
    pub(super) fn sum(parts: Vec<Part>) -> Score {
        let total = parts.iter().map(|part| part.points).sum();
        Score { total, level: total, parts }
    }

    /// Parts that add up, where enough are known, or where those known reach `watch`: the missing could only add.
    pub(super) fn sum_if(enough: bool, parts: Vec<Part>, watch: u8) -> Option<Score> {
        let score = Score::sum(parts);
        (enough || score.total >= watch).then_some(score)
    }
}

impl Part {
    pub(super) fn new(name: &'static str, value: f32, points: u8, words: &str) -> Part {
        let words = match points {
            1 => format!("{words} (1 point)"),
            n => format!("{words} ({n} points)"),
        };
        Part { name, value, points, words }
    }

    pub(super) fn of(column: Column, value: f32, points: u8) -> Part {
        Part::new(column.name(), value, points, &crate::features::words_of_value(column, value))
    }
}

/// What still describes the patient at a time.
pub(super) struct Known<'a> {
    pub state: &'a PatientState,
    pub at: Time,
}

impl Known<'_> {
    /// NEWS2 charts at least every 12 h (chart 4); this holds twice that.
    pub const VITALS_MS: i64 = 24 * Time::HOUR_MS;
    /// Blood is drawn daily; this holds twice that.
    pub const LABS_MS: i64 = 48 * Time::HOUR_MS;

    /// Vital signs and blood gases.
    pub fn vital(&self, column: Column) -> Option<f32> {
        self.newest(column, Self::VITALS_MS).map(|(_, value)| value)
    }

    /// What a laboratory measures once a day.
    pub fn lab(&self, column: Column) -> Option<f32> {
        self.newest(column, Self::LABS_MS).map(|(_, value)| value)
    }

    /// The part of a vital sign or blood gas in a total.
    pub fn vital_part(&self, column: Column, points: fn(f32) -> u8) -> Option<Part> {
        self.vital(column).map(|value| Part::of(column, value, points(value)))
    }

    /// The part of what a laboratory measures.
    pub fn lab_part(&self, column: Column, points: fn(f32) -> u8) -> Option<Part> {
        self.lab(column).map(|value| Part::of(column, value, points(value)))
    }

    pub fn newest(&self, column: Column, valid_ms: i64) -> Option<(Time, f32)> {
        let newest = self.state.last(column, self.at)?;
        (self.at.0.saturating_sub(newest.0.0) <= valid_ms).then_some(newest)
    }

    /// Whether the patient is fully alert, and by which of the two was charted last; `None`: not charted.
    pub fn alert(&self) -> Option<(&'static str, f32, bool)> {
        let charted = |column| self.newest(column, Self::VITALS_MS).map(|(charted, _)| charted);
        let gcs_is_newer = charted(Column::Gcs) > charted(Column::Consciousness);
        if gcs_is_newer { self.alert_by_gcs() } else { self.alert_by_acvpu() }
    }

    fn alert_by_acvpu(&self) -> Option<(&'static str, f32, bool)> {
        let level = self.vital(Column::Consciousness)?;
        Some(("ACVPU", level, level == f32::from(Acvpu::Alert as u8)))
    }

    fn alert_by_gcs(&self) -> Option<(&'static str, f32, bool)> {
        let gcs = self.vital(Column::Gcs)?;
        Some(("GCS", gcs, gcs >= 15.0))
    }
}

/// Part of a score by consciousness, with `points` if the patient is not fully alert.
pub(super) fn consciousness(known: &Known<'_>, points: u8) -> Option<Part> {
    known.alert().map(|charted| consciousness_part(charted, points))
}

/// The same of NEWS2 version 1, which asks for the score only where there is no word.
pub(super) fn consciousness_by_acvpu(known: &Known<'_>, points: u8) -> Option<Part> {
    let charted = known.alert_by_acvpu().or_else(|| known.alert_by_gcs());
    charted.map(|charted| consciousness_part(charted, points))
}

fn consciousness_part((name, value, alert): (&'static str, f32, bool), points: u8) -> Part {
    let (points, words) = if alert { (0, "alert") } else { (points, "not alert") };
    Part::new(name, value, points, words)
}

pub(crate) fn points_or_nan(value: f32, points: impl Fn(f32) -> u8) -> f32 {
    if value.is_nan() { f32::NAN } else { f32::from(points(value)) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use clinical::ObservationStatus::Final;

    /// A patient of whom all this was measured at hour 0.
    pub fn patient(values: &[(Column, f64)]) -> PatientState {
        let mut state = PatientState::default();
        for (column, value) in values {
            observe(&mut state, 0, *column, *value);
        }
        state
    }

    pub fn observe(state: &mut PatientState, hour: i64, column: Column, value: f64) {
        state.observe(column, hours(hour), "", Final, value);
    }

    pub fn hours(hour: i64) -> Time {
        Time(hour * Time::HOUR_MS)
    }

    #[test]
    fn consciousness_is_by_what_was_charted_last() {
        let by = |acvpu: (i64, f64), gcs: (i64, f64)| {
            let mut state = PatientState::default();
            observe(&mut state, acvpu.0, Column::Consciousness, acvpu.1);
            observe(&mut state, gcs.0, Column::Gcs, gcs.1);
            let known = Known { state: &state, at: hours(24) };
            known.alert().map(|(name, _, alert)| (name, alert))
        };
        let alert = f64::from(Acvpu::Alert as u8);
        assert_eq!(by((1, alert), (24, 9.0)), Some(("GCS", false)), "an old word does not hide a new score");
        assert_eq!(by((24, alert), (1, 9.0)), Some(("ACVPU", true)));
        assert_eq!(by((24, alert), (24, 9.0)), Some(("ACVPU", true)), "NEWS2 names ACVPU");
        assert_eq!(by((-1, alert), (1, 15.0)), Some(("GCS", true)));
        assert_eq!(by((-1, alert), (-1, 15.0)), None);
    }

    #[test]
    fn vital_signs_hold_a_day_and_the_laboratory_two() {
        let state = patient(&[(Column::Hr, 80.0), (Column::Wbc, 9.0)]);
        let known = |hour| {
            let known = Known { state: &state, at: hours(hour) };
            (known.vital(Column::Hr).is_some(), known.lab(Column::Wbc).is_some())
        };
        assert_eq!([24, 25, 48, 49].map(known), [(true, true), (false, true), (false, true), (false, false)]);
    }
}
