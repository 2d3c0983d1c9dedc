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
    age_min: 0,
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
    let lowest_48_h = lowest(HOURS_48_MS);
    let (stage, by) = creatinine_stage(f64::from(value), baseline, lowest_48_h);
    let why = match by {
        Criterion::Ratio => format!("{:.2} times its lowest in 7 days", f64::from(value) / baseline),
        Criterion::Rise(rise) => format!("{rise:.2} above its lowest in 48 h"),
        Criterion::Height => "at least 4.0 and risen".to_owned(),
    };
    Some(staged("Creatinine", value, stage, &format!("creatinine {value:.2} mg/dL, {why}")))
}

/// What gives creatinine its stage.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Criterion {
    /// To the lowest of 7 days.
    Ratio,
    /// mg/dL in 48 h.
    Rise(f64),
    /// 4.0 mg/dL.
    Height,
}

/// mg/dL.
fn creatinine_stage(value: f64, lowest_7_days: f64, lowest_48_h: Option<f64>) -> (u8, Criterion) {
    let times = |factor: f64| value >= factor * lowest_7_days - ROUNDING;
    let rise = lowest_48_h.map(|lowest| value - lowest).filter(|rise| *rise >= 0.3 - ROUNDING);
    match rise {
        _ if times(3.0) => (3, Criterion::Ratio),
        _ if (rise.is_some() || times(1.5)) && value >= 4.0 - ROUNDING => (3, Criterion::Height),
        _ if times(2.0) => (2, Criterion::Ratio),
        _ if times(1.5) => (1, Criterion::Ratio),
        Some(rise) => (1, Criterion::Rise(rise)),
        None => (0, Criterion::Ratio),
    }
}

fn by_urine(known: &Known<'_>) -> Option<Part> {
    let (_, weight_kg) = known.newest(Column::Weight, WEIGHT_MS)?;
    let rate = |hours: i64| urine::charted(known, hours).map(|output| output.ml / output.hours / weight_kg);
    let (stage, rate, hours) = urine_stage(rate(6)?, rate(12), rate(24));
    Some(staged("Urine", rate, stage, &format!("urine {rate:.2} mL/kg/h over {hours} h")))
}

/// By mL/kg/h over the last 6, 12 and 24 hours; with the rate that gives the stage, and its hours.
fn urine_stage(of_6_h: f32, of_12_h: Option<f32>, of_24_h: Option<f32>) -> (u8, f32, u8) {
    match (of_12_h, of_24_h) {
        (_, Some(rate)) if rate < 0.3 => (3, rate, 24),
        // Anuria: nothing at all.
        (Some(0.0), _) => (3, 0.0, 12),
        (Some(rate), _) if rate < 0.5 => (2, rate, 12),
        _ => (u8::from(of_6_h < 0.5), of_6_h, 6),
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
        let stage = |value, of_7_days, of_48_h| creatinine_stage(value, of_7_days, of_48_h).0;
        // The lowest of 7 days is 1.0; nothing is known of 48 h.
        let by_ratio = [1.49, 1.5, 1.99, 2.0, 2.99, 3.0].map(|value| stage(value, 1.0, None));
        assert_eq!(by_ratio, [0, 1, 1, 2, 2, 3]);
        let by_rise = [1.29, 1.3].map(|value| stage(value, 1.0, Some(1.0)));
        assert_eq!(by_rise, [0, 1]);
        assert_eq!(stage(0.7, 0.4, Some(0.4)), 1, "0.7 - 0.4 is a little less than 0.3 in binary");
        // 353.6 umol/L are 3.9999 mg/dL.
        let injured = [3.99, 3.9999, 4.0].map(|value| stage(value, 3.0, Some(3.6)));
        assert_eq!(injured, [1, 3, 3]);
        assert_eq!(stage(4.2, 4.0, Some(4.0)), 0, "high, and not risen");
    }

    #[test]
    fn every_boundary_of_urine_in_table_2() {
        assert_eq!([0.49, 0.5].map(|rate| urine_stage(rate, None, None).0), [1, 0]);
        assert_eq!([0.49, 0.5].map(|rate| urine_stage(0.4, Some(rate), None).0), [2, 1]);
        assert_eq!([0.29, 0.3].map(|rate| urine_stage(0.4, Some(0.4), Some(rate)).0), [3, 2]);
        assert_eq!([0.0, 0.01].map(|rate| urine_stage(0.0, Some(rate), None).0), [3, 2]);
    }

    #[test]
    fn a_stage_cites_the_figure_that_gives_it() {
        let creatinine = |values: &[(i64, f64)]| {
            let (at, _) = *values.last().unwrap();
            let score = of(&with(Column::Creatinine, values), hours(at)).unwrap();
            score.parts[0].words.clone()
        };
        let ratio = "creatinine 2.10 mg/dL, 2.10 times its lowest in 7 days (stage 2)";
        assert_eq!(creatinine(&[(0, 1.0), (24, 2.1)]), ratio);
        let rise = "creatinine 1.85 mg/dL, 0.35 above its lowest in 48 h (stage 1)";
        assert_eq!(creatinine(&[(0, 1.5), (24, 1.85)]), rise);
        let height = "creatinine 4.10 mg/dL, at least 4.0 and risen (stage 3)";
        assert_eq!(creatinine(&[(0, 3.5), (24, 4.1)]), height);
        assert_eq!(creatinine(&[(0, 2.0), (72, 4.1)]), height, "its ratio alone is stage 2");
        let none = "creatinine 1.20 mg/dL, 1.20 times its lowest in 7 days (stage 0)";
        assert_eq!(creatinine(&[(0, 1.0), (24, 1.2)]), none);

        let urine = [
            (urine_stage(0.4, None, None), (1, 0.4, 6)),
            (urine_stage(0.6, Some(0.45), Some(0.5)), (2, 0.45, 12)),
            (urine_stage(0.4, Some(0.4), Some(0.2)), (3, 0.2, 24)),
            (urine_stage(0.0, Some(0.0), Some(0.4)), (3, 0.0, 12)),
            (urine_stage(0.8, Some(0.7), Some(0.6)), (0, 0.8, 6)),
        ];
        urine.into_iter().for_each(|(given, due)| assert_eq!(given, due));
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
                "creatinine 1.50 mg/dL, 1.50 times its lowest in 7 days (stage 1)",
                "urine 0.40 mL/kg/h over 12 h (stage 2)"
            ]
        );
    }
}
