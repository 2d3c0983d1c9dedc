//! KDIGO stage of acute kidney injury (KDIGO Clinical Practice Guideline for Acute Kidney Injury, Kidney Int Suppl
//! 2012;2:1-138, section 2.1: definition 2.1.1, stages 2.1.2 and table 2): 0 to 3, by creatinine, and by urine output
//! where it is charted and the weight is known.
//!
//! The baseline is the lowest creatinine of the 7 days before the newest. 4.0 mg/dL is stage 3 only with a rise that is
//! kidney injury at all. Renal replacement, and the filtration rate of children, are not known here.

use clinical::{Column, PatientState, Time};

use super::score::{Known, Part, Score};
use super::{Spec, urine};

const HOURS_48_MS: i64 = 48 * Time::HOUR_MS;
const DAYS_7_MS: i64 = 7 * 24 * Time::HOUR_MS;
/// A weight changes slowly.
const WEIGHT_MS: i64 = 30 * 24 * Time::HOUR_MS;
/// In mg/dL, finer than any laboratory reports: the guideline's 26.5 umol/L are 0.2998 mg/dL, and decimals such as
/// 0.7 - 0.4 are no sums of binary digits.
const ROUNDING: f64 = 5e-4;

pub(super) const SPEC: Spec = Spec {
    name: "kdigo",
    title: "KDIGO",
    task: "kidney-injury",
    version: "KDIGO 2012, version 1",
    max: 3,
    watch: 1,
    // Figure 4: from stage 2 on renal replacement and intensive care are to be considered.
    interruptive: Some(2),
    of,
};

/// Partial data: a creatinine of 48 h with one before it, or urine charted for 6 h with a weight. Neither:
/// `insufficient data`.
fn of(state: &PatientState, at: Time) -> Option<Score> {
    let known = Known { state, at };
    let parts: Vec<Part> = [by_creatinine(&known), by_urine(&known)].into_iter().flatten().collect();
    // The worse of the two is the stage.
    let total = parts.iter().map(|part| part.points).max()?;
    Some(Score { total, level: total, parts })
}

fn by_creatinine(known: &Known<'_>) -> Option<Part> {
    let (newest, value) = known.newest(Column::Creatinine, Known::LABS_MS)?;
    let lowest = |within_ms: i64| {
        let before = known.state.newest_first(Column::Creatinine).filter(|(at, _)| *at < newest);
        let recent = before.take_while(|(at, _)| newest.0.saturating_sub(at.0) <= within_ms);
        recent.map(|(_, value)| f64::from(value)).reduce(f64::min)
    };
    let baseline = lowest(DAYS_7_MS)?;
    let stage = creatinine_stage(f64::from(value), baseline, lowest(HOURS_48_MS));
    let words =
        format!("creatinine {value:.2} mg/dL, {:.1} times its lowest in 7 days", f64::from(value) / baseline);
    Some(staged("Creatinine", value, stage, &words))
}

/// mg/dL.
fn creatinine_stage(value: f64, lowest_7_days: f64, lowest_48_h: Option<f64>) -> u8 {
    let times = |factor: f64| value >= factor * lowest_7_days - ROUNDING;
    let rose = lowest_48_h.is_some_and(|lowest| value >= lowest + 0.3 - ROUNDING);
    let injured = rose || times(1.5);
    match () {
        _ if times(3.0) || (injured && value >= 4.0 - ROUNDING) => 3,
        _ if times(2.0) => 2,
        _ => u8::from(injured),
    }
}

fn by_urine(known: &Known<'_>) -> Option<Part> {
    let (_, weight_kg) = known.newest(Column::Weight, WEIGHT_MS)?;
    let rate = |hours: i64| urine::charted(known, hours).map(|output| output.ml / output.hours / weight_kg);
    let of_6_h = rate(6)?;
    let stage = urine_stage(of_6_h, rate(12), rate(24));
    Some(staged("Urine", of_6_h, stage, &format!("urine {of_6_h:.2} mL/kg/h over 6 h")))
}

/// mL/kg/h over the last 6, 12 and 24 hours.
fn urine_stage(of_6_h: f32, of_12_h: Option<f32>, of_24_h: Option<f32>) -> u8 {
    let below = |rate: Option<f32>, limit: f32| rate.is_some_and(|rate| rate < limit);
    match () {
        // Anuria: nothing at all.
        _ if below(of_24_h, 0.3) || of_12_h == Some(0.0) => 3,
        _ if below(of_12_h, 0.5) => 2,
        _ => u8::from(of_6_h < 0.5),
    }
}

fn staged(name: &'static str, value: f32, stage: u8, words: &str) -> Part {
    Part { name, value, points: stage, words: format!("{words} (stage {stage})") }
}

#[cfg(test)]
mod tests {
    use super::super::score::tests::{hours, observe};
    use super::*;

    #[test]
    fn every_boundary_of_creatinine_in_table_2() {
        // The lowest of 7 days is 1.0; nothing is known of 48 h.
        let by_ratio = [1.49, 1.5, 1.99, 2.0, 2.99, 3.0].map(|value| creatinine_stage(value, 1.0, None));
        assert_eq!(by_ratio, [0, 1, 1, 2, 2, 3]);
        let by_rise = [1.29, 1.3].map(|value| creatinine_stage(value, 1.0, Some(1.0)));
        assert_eq!(by_rise, [0, 1]);
        assert_eq!(creatinine_stage(0.7, 0.4, Some(0.4)), 1, "0.7 - 0.4 is a little less than 0.3 in binary");
        // 353.6 umol/L are 3.9999 mg/dL.
        let injured = [3.99, 3.9999, 4.0].map(|value| creatinine_stage(value, 3.0, Some(3.6)));
        assert_eq!(injured, [1, 3, 3]);
        assert_eq!(creatinine_stage(4.2, 4.0, Some(4.0)), 0, "high, and not risen");
    }

    #[test]
    fn every_boundary_of_urine_in_table_2() {
        assert_eq!([0.49, 0.5].map(|rate| urine_stage(rate, None, None)), [1, 0]);
        assert_eq!([0.49, 0.5].map(|rate| urine_stage(0.4, Some(rate), None)), [2, 1]);
        assert_eq!([0.29, 0.3].map(|rate| urine_stage(0.4, Some(0.4), Some(rate))), [3, 2]);
        assert_eq!([0.0, 0.01].map(|rate| urine_stage(0.0, Some(rate), None)), [3, 2]);
    }

    fn with(column: Column, values: &[(i64, f64)]) -> PatientState {
        let mut state = PatientState::default();
        values.iter().for_each(|(hour, value)| observe(&mut state, *hour, column, *value));
        state
    }

    #[test]
    fn one_creatinine_alone_has_no_stage_and_old_ones_do_not_count() {
        let total =
            |values: &[(i64, f64)], at| of(&with(Column::Creatinine, values), hours(at)).map(|s| s.total);
        assert_eq!(total(&[(0, 5.0)], 1), None);
        assert_eq!(total(&[(0, 1.0), (24, 1.6)], 24), Some(1));
        assert_eq!(total(&[(0, 1.0), (24, 1.6)], 23), None, "what comes later is not seen");
        assert_eq!([72, 73].map(|at| total(&[(0, 1.0), (24, 1.6)], at)), [Some(1), None]);
        // The rise of 0.3 within 48 h, and not within 49.
        assert_eq!([48, 49].map(|at| total(&[(0, 1.0), (at, 1.3)], at)), [Some(1), Some(0)]);
        // The lowest of 7 days, and not of more.
        assert_eq!([168, 169].map(|at| total(&[(0, 1.0), (50, 1.5), (at, 1.7)], at)), [Some(1), Some(0)]);
    }

    #[test]
    fn the_worse_part_is_the_stage_and_says_so() {
        let mut state = with(Column::Creatinine, &[(0, 1.0), (12, 1.5)]);
        assert_eq!(of(&state, hours(12)).unwrap().parts.len(), 1);
        for hour in 0..=12 {
            observe(&mut state, hour, Column::Urine, 32.0);
        }
        assert_eq!(of(&state, hours(12)).unwrap().total, 1, "without a weight urine says nothing");
        observe(&mut state, 0, Column::Weight, 80.0);
        let score = of(&state, hours(12)).unwrap();
        assert_eq!((score.total, score.level), (2, 2));
        let words: Vec<_> = score.parts.iter().map(|part| part.words.as_str()).collect();
        assert_eq!(
            words,
            [
                "creatinine 1.50 mg/dL, 1.5 times its lowest in 7 days (stage 1)",
                "urine 0.40 mL/kg/h over 6 h (stage 2)"
            ]
        );
    }
}
