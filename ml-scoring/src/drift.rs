//! Drift: whether a site's values, and how often it measures them, are still those that a model was trained on.
//!
//! Population stability index over ten bins of the training values and nine of the measurement rate: below 0.1 the
//! same, from 0.25 on another population (the usual reading of the PSI).

use std::sync::LazyLock;

use clinical::{COLUMNS, COLUMNS_2019};
use serde::{Deserialize, Serialize};

use crate::features::{Kind, N, Other, index_of_column, index_of_other};

pub const WARN: f64 = 0.1;
pub const ALARM: f64 = 0.25;

/// Fewer values than this say nothing about a distribution.
const VALUES_MIN: u64 = 200;
const DECILES: usize = 10;
/// A bin is never emptier than this, so that the logarithm stays finite.
const SHARE_MIN: f64 = 1e-4;
/// Upper edges of the share of the stay's hours in which a column was measured; the first bin holds 0 alone.
const RATE_EDGES: [f64; 8] = [0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 0.95];

/// What the training data looked like, in the order of [`clinical::COLUMNS`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    pub columns: Vec<ColumnBaseline>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnBaseline {
    pub column: String,
    /// Rising; a value at or above an edge belongs to the bin behind it. Empty where there were too few values.
    pub edges: Vec<f32>,
    /// Shares of the bins, one more than `edges`.
    pub values: Vec<f64>,
    /// Shares of the hours by measurement rate.
    pub rate: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Quiet,
    Warn,
    Alarm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Of the values as they were measured.
    Values,
    /// Of how often they were.
    Rate,
}

/// One line of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub column: String,
    pub measure: Measure,
    pub psi: f64,
    pub status: Status,
}

/// Counts hours as they come and compares them with a baseline.
#[derive(Clone, Debug)]
pub struct Drift<'a> {
    baseline: &'a Baseline,
    counts: Counts,
}

/// Hours by the bins of one baseline, which every call must name again. Bounded: a few hundred counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub hours: u64,
    columns: Vec<Tally>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Tally {
    values: Vec<u64>,
    rate: Vec<u64>,
}

/// Where a column's features stand in a full row.
#[derive(Clone, Debug)]
struct Places {
    last: usize,
    age_h: usize,
    count: usize,
}

/// In the order of [`clinical::COLUMNS`].
static PLACES: LazyLock<Vec<Places>> = LazyLock::new(Places::all);

impl Places {
    fn all() -> Vec<Places> {
        let of = |column: &clinical::Column| {
            let place = |kind| index_of_column(*column, kind).unwrap_or(N);
            Places { last: place(Kind::Last), age_h: place(Kind::AgeH), count: place(Kind::Count) }
        };
        COLUMNS[..COLUMNS_2019].iter().map(of).collect()
    }

    /// The value if it was measured in this very hour.
    fn measured(&self, row: &[f32]) -> Option<f32> {
        (row.get(self.age_h) == Some(&0.0)).then(|| row.get(self.last).copied()).flatten()
    }

    fn rate(&self, row: &[f32]) -> f64 {
        let hours = row.get(index_of_other(Other::Iculos)).copied().unwrap_or(f32::NAN);
        f64::from(row.get(self.count).copied().unwrap_or(0.0)) / f64::from(hours)
    }
}

impl Baseline {
    /// `rows` are full rows of features; they are gone through twice.
    pub fn of<'a, I: Iterator<Item = &'a [f32]>>(rows: impl Fn() -> I) -> Baseline {
        let mut values: Vec<Vec<f32>> = vec![Vec::new(); PLACES.len()];
        for row in rows() {
            for (values, place) in values.iter_mut().zip(PLACES.iter()) {
                values.extend(place.measured(row));
            }
        }
        let column = |(column, mut values): (&clinical::Column, Vec<f32>)| ColumnBaseline {
            column: column.name().to_owned(),
            edges: edges(&mut values),
            values: Vec::new(),
            rate: Vec::new(),
        };
        let mut baseline = Baseline { columns: COLUMNS.iter().zip(values).map(column).collect() };
        let mut drift = Drift::new(&baseline);
        rows().for_each(|row| drift.observe(row));
        let tallies = drift.counts.columns;
        for (column, tally) in baseline.columns.iter_mut().zip(tallies) {
            (column.values, column.rate) = (shares(&tally.values), shares(&tally.rate));
        }
        baseline
    }
}

/// Deciles; values that many rows share make fewer of them.
fn edges(values: &mut [f32]) -> Vec<f32> {
    if (values.len() as u64) < VALUES_MIN {
        return Vec::new();
    }
    values.sort_unstable_by(f32::total_cmp);
    let mut edges: Vec<f32> =
        (1..DECILES).filter_map(|i| values.get(values.len() * i / DECILES).copied()).collect();
    edges.dedup();
    edges
}

fn shares(counts: &[u64]) -> Vec<f64> {
    let all = counts.iter().sum::<u64>().max(1) as f64;
    // Five digits: a card is read by people too.
    counts.iter().map(|count| (*count as f64 / all * 1e5).round() / 1e5).collect()
}

impl<'a> Drift<'a> {
    pub fn new(baseline: &'a Baseline) -> Drift<'a> {
        Drift { baseline, counts: Counts::new(baseline) }
    }

    /// Counts one closed hour; `row` is [`crate::Features::values`].
    pub fn observe(&mut self, row: &[f32]) {
        self.counts.observe(self.baseline, row);
    }

    /// The greatest first. A measure with too few observations is left out.
    pub fn findings(&self) -> Vec<Finding> {
        self.counts.findings(self.baseline)
    }
}

impl Counts {
    pub fn new(baseline: &Baseline) -> Counts {
        let tally = |column: &ColumnBaseline| Tally {
            values: vec![0; column.edges.len() + 1],
            rate: vec![0; RATE_EDGES.len() + 1],
        };
        Counts { hours: 0, columns: baseline.columns.iter().map(tally).collect() }
    }

    /// Whether these were counted by the bins of this baseline.
    pub fn are_of(&self, baseline: &Baseline) -> bool {
        let same = |(tally, column): (&Tally, &ColumnBaseline)| {
            tally.values.len() == column.edges.len() + 1 && tally.rate.len() == RATE_EDGES.len() + 1
        };
        self.columns.len() == baseline.columns.len() && self.columns.iter().zip(&baseline.columns).all(same)
    }

    pub fn observe(&mut self, baseline: &Baseline, row: &[f32]) {
        self.hours += 1;
        let columns = baseline.columns.iter().zip(&mut self.columns);
        for ((column, tally), place) in columns.zip(PLACES.iter()) {
            if let Some(value) = place.measured(row) {
                let bin = column.edges.partition_point(|edge| *edge <= value);
                tally.values.get_mut(bin).into_iter().for_each(|count| *count += 1);
            }
            let rate = place.rate(row);
            if rate.is_finite() {
                let bin = RATE_EDGES.partition_point(|edge| *edge < rate);
                tally.rate.get_mut(bin).into_iter().for_each(|count| *count += 1);
            }
        }
    }

    /// Both together; of the same baseline.
    pub fn add(&mut self, other: &Counts) {
        self.hours += other.hours;
        for (tally, more) in self.columns.iter_mut().zip(&other.columns) {
            tally.values.iter_mut().zip(&more.values).for_each(|(count, more)| *count += more);
            tally.rate.iter_mut().zip(&more.rate).for_each(|(count, more)| *count += more);
        }
    }

    /// See [`Drift::findings`].
    pub fn findings(&self, baseline: &Baseline) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (column, tally) in baseline.columns.iter().zip(&self.columns) {
            let measures = [
                (Measure::Values, &column.values, &tally.values),
                (Measure::Rate, &column.rate, &tally.rate),
            ];
            for (measure, expected, counts) in measures {
                let is_enough = counts.iter().sum::<u64>() >= VALUES_MIN;
                if expected.len() == counts.len() && counts.len() > 1 && is_enough {
                    let psi = psi(expected, &shares(counts));
                    let column = column.column.clone();
                    findings.push(Finding { column, measure, psi, status: status(psi) });
                }
            }
        }
        findings.sort_by(|a, b| b.psi.total_cmp(&a.psi));
        findings
    }
}

fn status(psi: f64) -> Status {
    match psi {
        psi if psi >= ALARM => Status::Alarm,
        psi if psi >= WARN => Status::Warn,
        _ => Status::Quiet,
    }
}

/// Σ (actual − expected) × ln(actual / expected).
fn psi(expected: &[f64], actual: &[f64]) -> f64 {
    let part = |(expected, actual): (&f64, &f64)| {
        let (expected, actual) = (expected.max(SHARE_MIN), actual.max(SHARE_MIN));
        (actual - expected) * (actual / expected).ln()
    };
    expected.iter().zip(actual).map(part).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::index_of;

    /// Hours in which the heart rate is `pulse` and lactate was measured in every `every`th.
    fn rows(count: usize, every: usize, pulse: impl Fn(usize) -> f32) -> Vec<Vec<f32>> {
        let place = |name: &str| index_of(name).unwrap();
        let row = |i: usize| {
            let mut row = vec![f32::NAN; N];
            row[place("ICULOS")] = 20.0;
            (row[place("HR")], row[place("HR_age_h")], row[place("HR_count")]) = (pulse(i), 0.0, 20.0);
            row[place("Lactate_count")] = if i.is_multiple_of(every) { 2.0 } else { 0.0 };
            row
        };
        (0..count).map(row).collect()
    }

    fn found(
        baseline: &Baseline,
        rows: &[Vec<f32>],
        column: &str,
        measure: Measure,
    ) -> Option<(f64, Status)> {
        let mut drift = Drift::new(baseline);
        rows.iter().for_each(|row| drift.observe(row));
        let of = |f: &Finding| f.column == column && f.measure == measure;
        drift.findings().into_iter().find(of).map(|f| (f.psi, f.status))
    }

    #[test]
    fn the_same_is_quiet_another_population_is_not() {
        let trained = rows(2000, 10, |i| 60.0 + (i % 50) as f32);
        let baseline = Baseline::of(|| trained.iter().map(Vec::as_slice));
        let again: Baseline = serde_json::from_str(&serde_json::to_string(&baseline).unwrap()).unwrap();
        assert_eq!(again, baseline);
        let same = rows(1000, 10, |i| 60.0 + ((i * 7) % 50) as f32);
        let (psi, status) = found(&baseline, &same, "HR", Measure::Values).unwrap();
        assert!(psi < 0.01 && status == Status::Quiet, "{psi}");
        let faster = rows(1000, 2, |i| 85.0 + (i % 50) as f32);
        assert_eq!(found(&baseline, &faster, "HR", Measure::Values).unwrap().1, Status::Alarm);
        assert_eq!(found(&baseline, &faster, "Lactate", Measure::Rate).unwrap().1, Status::Alarm);
        assert_eq!(found(&baseline, &same, "Lactate", Measure::Rate).unwrap().1, Status::Quiet);
        assert_eq!(found(&baseline, &same, "Lactate", Measure::Values), None, "never measured");
        assert_eq!(found(&baseline, &same[..100], "HR", Measure::Values), None, "too few to say");
    }

    #[test]
    fn the_index_is_the_published_one() {
        let (expected, actual) = ([0.5, 0.5], [0.6, 0.4]);
        assert!((psi(&expected, &actual) - (0.1 * 1.2_f64.ln() - 0.1 * 0.8_f64.ln())).abs() < 1e-12);
        assert_eq!(
            [0.05, 0.1, 0.2, 0.25].map(status),
            [Status::Quiet, Status::Warn, Status::Warn, Status::Alarm]
        );
    }
}
