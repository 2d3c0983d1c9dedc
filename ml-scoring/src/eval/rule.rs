//! Rules to stand beside a model: the clock, a single vital sign, bedside scores.

use std::str::FromStr;

use super::cohort::{Prediction, Predictor};
use crate::Features;
use crate::dataset::Row;
use crate::features::{self, Other};

/// Reported beside every model, as `--rule` takes them.
pub const BASELINES: [&str; 4] = ["ICULOS>=53", "NEWS2>=5", "SIRS>=2", "qSOFA>=2"];

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    Always,
    Never,
    /// Hours in intensive care alone: what a model must beat before it knows anything of the patient.
    IculosAtLeast(f64),
    /// Heart rate measured in this very hour.
    HrNowAtLeast(f64),
    /// The parts of NEWS2, SIRS and qSOFA that the set's columns allow, on newest values.
    News2AtLeast(f64),
    SirsAtLeast(f64),
    QsofaAtLeast(f64),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown rule; write always, never, or one of ICULOS, HR_now, NEWS2, SIRS, qSOFA with >= and a number"
)]
pub struct RuleError;

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Rule, RuleError> {
        match text.trim() {
            "always" => return Ok(Rule::Always),
            "never" => return Ok(Rule::Never),
            _ => {}
        }
        let (name, number) = text.split_once(">=").ok_or(RuleError)?;
        let number: f64 = number.trim().parse().map_err(|_| RuleError)?;
        match name.trim() {
            "ICULOS" => Ok(Rule::IculosAtLeast(number)),
            "HR_now" => Ok(Rule::HrNowAtLeast(number)),
            "NEWS2" => Ok(Rule::News2AtLeast(number)),
            "SIRS" => Ok(Rule::SirsAtLeast(number)),
            "qSOFA" => Ok(Rule::QsofaAtLeast(number)),
            _ => Err(RuleError),
        }
    }
}

impl Predictor for Rule {
    fn predict(&self, row: &Row, features: &Features) -> Prediction {
        let other = |other: Other| {
            f64::from(features.values.get(features::index_of_other(other)).copied().unwrap_or(f32::NAN))
        };
        let at_least = |value: f64, limit: f64, scale: f64| match value.is_nan() {
            true => Prediction { p: 0.0, alarm: false },
            false => Prediction { p: (value / scale).min(1.0), alarm: value >= limit },
        };
        // No points, or nothing measured, is a low probability and not 0, which the ranking would leave out.
        let points = |value: f64, limit: f64, max: f64| {
            let value = if value.is_nan() { 0.0 } else { value };
            at_least(value + 1.0, limit + 1.0, max + 1.0)
        };
        match *self {
            Rule::Always => Prediction { p: 1.0, alarm: true },
            Rule::Never => Prediction { p: 0.0, alarm: false },
            Rule::IculosAtLeast(limit) => at_least(f64::from(row.iculos), limit, 500.0),
            Rule::HrNowAtLeast(limit) => at_least(row.values[0], limit, 300.0),
            Rule::News2AtLeast(limit) => points(other(Other::NewsParts), limit, 20.0),
            Rule::SirsAtLeast(limit) => points(other(Other::Sirs), limit, 4.0),
            Rule::QsofaAtLeast(limit) => points(other(Other::QsofaParts), limit, 3.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_written_or_refused() {
        assert_eq!("ICULOS>=53".parse(), Ok(Rule::IculosAtLeast(53.0)));
        assert_eq!("HR_now >= 110".parse(), Ok(Rule::HrNowAtLeast(110.0)));
        assert!(BASELINES.iter().all(|text| text.parse::<Rule>().is_ok()));
        assert_eq!("HR>110".parse::<Rule>(), Err(RuleError));
        assert_eq!("Lactate>=x".parse::<Rule>(), Err(RuleError));
    }
}
