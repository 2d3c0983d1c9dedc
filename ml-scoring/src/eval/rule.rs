//! Rules to stand beside a model: the clock, a single vital sign, bedside scores.

use std::str::FromStr;

use super::cohort::{Hour, Prediction, Predictor};
use crate::Thresholds;
use crate::bedside::Bedside;

/// Reported beside every model, as `--rule` takes them.
pub const BASELINES: [&str; 4] = ["ICULOS>=53", "NEWS2>=5", "SIRS>=2", "qSOFA>=2"];

/// Hours, and beats per minute, that a limit may be.
const ICULOS_MAX: u16 = 10_000;
const HR_MAX: u16 = 400;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    Always,
    Never,
    /// Hours in intensive care alone: what a model must beat before it knows anything of the patient.
    IculosAtLeast(f64),
    /// Heart rate measured in this very hour.
    HrNowAtLeast(f64),
    /// A bedside score's total of what the stream would know. The stream also alerts at NEWS2's single parameter in the
    /// red, whatever the total. `insufficient data` raises no alarm.
    TotalAtLeast(Bedside, f64),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error(
        "unknown rule; write always, never, or one of ICULOS, HR_now, NEWS2, SIRS, qSOFA, SOFA, KDIGO with >= and a number"
    )]
    Unknown,
    #[error("{name} goes from 0 to {highest}: write a number among these behind >=")]
    Limit { name: &'static str, highest: u16 },
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Rule, RuleError> {
        match text.trim() {
            "always" => return Ok(Rule::Always),
            "never" => return Ok(Rule::Never),
            _ => {}
        }
        let (name, number) = text.split_once(">=").ok_or(RuleError::Unknown)?;
        let number: f64 = number.trim().parse().map_err(|_| RuleError::Unknown)?;
        let within = |name, highest: u16| match (0.0..=f64::from(highest)).contains(&number) {
            true => Ok(()),
            false => Err(RuleError::Limit { name, highest }),
        };
        match name.trim() {
            "ICULOS" => within("ICULOS", ICULOS_MAX).map(|()| Rule::IculosAtLeast(number)),
            "HR_now" => within("HR_now", HR_MAX).map(|()| Rule::HrNowAtLeast(number)),
            title => {
                let score = Bedside::from_title(title).ok_or(RuleError::Unknown)?;
                within(score.title(), score.max().into()).map(|()| Rule::TotalAtLeast(score, number))
            }
        }
    }
}

impl Predictor for Rule {
    fn predict(&self, hour: &Hour<'_>) -> Prediction {
        let at_least = |value: f64, limit: f64, scale: f64| match value.is_nan() {
            true => Prediction::yes_or_no(0.0, false),
            false => Prediction::yes_or_no((value / scale).min(1.0), value >= limit),
        };
        match *self {
            Rule::Always => Prediction::yes_or_no(1.0, true),
            Rule::Never => Prediction::yes_or_no(0.0, false),
            Rule::IculosAtLeast(limit) => at_least(f64::from(hour.row.iculos), limit, 500.0),
            Rule::HrNowAtLeast(limit) => at_least(hour.row.values[0], limit, 300.0),
            Rule::TotalAtLeast(score, limit) => {
                let total = score.score(hour.state, hour.at()).map(|score| score.total);
                Prediction::of_bedside(score, total, limit)
            }
        }
    }

    fn thresholds(&self) -> Thresholds {
        match *self {
            Rule::TotalAtLeast(score, limit) => Thresholds::only(score.share(limit)),
            Rule::Always | Rule::Never | Rule::IculosAtLeast(_) | Rule::HrNowAtLeast(_) => Thresholds::YES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinical::{Column, ObservationStatus, PatientState};

    use crate::dataset::{Patient, Row};
    use crate::{Features, Scorer};

    #[test]
    fn rules_are_read_as_written_or_refused() {
        assert_eq!("ICULOS>=53".parse(), Ok(Rule::IculosAtLeast(53.0)));
        assert_eq!("HR_now >= 110".parse(), Ok(Rule::HrNowAtLeast(110.0)));
        assert_eq!("SOFA>=2".parse(), Ok(Rule::TotalAtLeast(Bedside::Sofa, 2.0)));
        assert!(BASELINES.iter().all(|text| text.parse::<Rule>().is_ok()));
        let named = RuleError::Unknown.to_string();
        assert!(Bedside::ALL.iter().all(|score| named.contains(score.title())), "{named}");
        assert_eq!("HR>110".parse::<Rule>(), Err(RuleError::Unknown));
        assert_eq!("Lactate>=x".parse::<Rule>(), Err(RuleError::Unknown));
        for (text, name) in [
            ("HR_now>=nan", "HR_now goes from 0 to 400"),
            ("ICULOS>=inf", "ICULOS goes from 0 to 10000"),
            ("NEWS2>=-5", "NEWS2 goes from 0 to 20"),
            ("qSOFA>=4", "qSOFA goes from 0 to 3"),
        ] {
            let refusal = text.parse::<Rule>().unwrap_err().to_string();
            assert!(refusal.starts_with(name), "{text}: {refusal}");
        }
    }

    #[test]
    fn a_bedside_total_is_the_total_where_the_stream_alerts_at_one_parameter_in_the_red() {
        let row = Row { values: Row::EMPTY, iculos: 1, label: false, line: 0 };
        let at = Patient::time_of(&row);
        let alarms = |pulse| {
            let mut state = PatientState::default();
            let calm = [(Column::Resp, 14.0), (Column::Sbp, 120.0), (Column::O2Sat, 97.0)];
            for (column, value) in calm.into_iter().chain([(Column::Hr, pulse)]) {
                state.observe(column, at, "", ObservationStatus::Final, value);
            }
            let features = Features::from_state(&state, at);
            let hour = Hour { row: &row, state: &state, features: &features };
            let of = |total: f64| Rule::TotalAtLeast(Bedside::News2, total).predict(&hour).alarm;
            (of(3.0), of(5.0), Scorer::news2().predict(&hour).alarm)
        };
        assert_eq!(alarms(120.0), (false, false, false), "2 points");
        assert_eq!(alarms(135.0), (true, false, true), "3 points");
    }
}
