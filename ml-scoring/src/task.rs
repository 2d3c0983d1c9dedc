//! What can be predicted of an hour: when the event came, and which hours can be judged.

use std::str::FromStr;

use clinical::Column;

use crate::dataset::{Patient, Row};
use crate::{features, stays};

/// Decimals such as 0.7 − 0.4 are no sums of binary digits: a limit counts as reached from this little below it.
const ROUNDING: f64 = 1e-9;
/// Rows before it have too short a history to be at risk.
const FIRST_ROW: usize = 3;
/// A row without an event is a quiet one only if so many follow it.
const FOLLOW_UP: usize = 8;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// The 2019 challenge: label and utility are its own.
    #[default]
    Sepsis,
    /// Acute kidney injury by creatinine within 24 h (KDIGO 2012, stage 1).
    Aki,
    /// Mean arterial pressure below 65 mm[Hg] in two rows running, within 8 h.
    Hypotension,
    /// Death in hospital, judged once: when 48 hours of the stay have closed (the 2012 set, [`crate::stays`]).
    Mortality,
}

/// One patient's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// Row (from 0) of the event, which may lie behind the last one; `None` = it did not come.
    pub onset: Option<usize>,
    /// For each row whether the event comes within the horizon; `None` = the row cannot be judged.
    pub rows: Vec<Option<bool>>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown task {0:?}; write sepsis, aki, hypotension or mortality")]
pub struct TaskError(String);

impl FromStr for Task {
    type Err = TaskError;

    fn from_str(text: &str) -> Result<Task, TaskError> {
        Task::ALL.into_iter().find(|task| task.name() == text).ok_or_else(|| TaskError(text.to_owned()))
    }
}

impl Task {
    pub const ALL: [Task; 4] = [Task::Sepsis, Task::Aki, Task::Hypotension, Task::Mortality];

    /// What a model of the task may look at, in the order of a row.
    pub fn feature_names(self) -> Vec<&'static str> {
        match self {
            Task::Mortality => stays::names().collect(),
            _ => features::NAMES.to_vec(),
        }
    }

    /// How long a patient is watched between two judgements.
    pub fn hours_per_row(self) -> u64 {
        match self {
            Task::Mortality => stays::HOURS as u64,
            _ => 1,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Task::Sepsis => "sepsis",
            Task::Aki => "aki",
            Task::Hypotension => "hypotension",
            Task::Mortality => "mortality",
        }
    }

    /// Of a patient of the 2019 set, which does not say who died: no row can be judged by that.
    pub fn truth(self, patient: &Patient) -> Truth {
        match self {
            Task::Sepsis => Truth {
                // The label leads the onset by 6 h.
                onset: patient.first_label().map(|first| first + 6),
                rows: patient.rows.iter().map(|row| Some(row.label)).collect(),
            },
            Task::Aki => ahead(aki_onset(&patient.rows), patient.rows.len(), 24),
            Task::Hypotension => ahead(hypotension_onset(&patient.rows), patient.rows.len(), 8),
            Task::Mortality => Truth { onset: None, rows: vec![None; patient.rows.len()] },
        }
    }
}

/// Rows from the fourth on and before the event are at risk, positive when it comes within the horizon.
fn ahead(onset: Option<usize>, rows: usize, horizon: usize) -> Truth {
    let judged = |row: usize| {
        if row < FIRST_ROW || onset.is_some_and(|onset| row >= onset) {
            return None;
        }
        let comes = onset.is_some_and(|onset| onset - row <= horizon);
        (comes || row + FOLLOW_UP < rows).then_some(comes)
    };
    Truth { onset, rows: (0..rows).map(judged).collect() }
}

/// First row whose creatinine is at least 1.5 times the lowest before it, or at least 0.3 mg/dL above the lowest of the
/// 48 rows before.
fn aki_onset(rows: &[Row]) -> Option<usize> {
    let creatinine = |row: &Row| row.values[Column::Creatinine as usize];
    let lowest = |rows: &[Row]| rows.iter().map(creatinine).fold(f64::NAN, f64::min);
    let mut lowest_before = f64::NAN;
    rows.iter().enumerate().position(|(i, row)| {
        let value = creatinine(row);
        let lowest_48h = lowest(&rows[i.saturating_sub(48)..i]);
        let reached = value >= 1.5 * lowest_before - ROUNDING || value >= lowest_48h + 0.3 - ROUNDING;
        lowest_before = lowest_before.min(value);
        reached
    })
}

/// First row with a mean arterial pressure below 65 mm[Hg] in it and in the row before.
fn hypotension_onset(rows: &[Row]) -> Option<usize> {
    let low = |row: &Row| row.values[Column::Map as usize] < 65.0;
    rows.windows(2).position(|pair| pair.iter().all(low)).map(|first| first + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patient(column: Column, values: &[f64]) -> Patient {
        let row = |(i, value): (usize, &f64)| {
            let mut row = Row { values: Row::EMPTY, iculos: i as u32 + 1, label: false, line: 0 };
            row.values[column as usize] = *value;
            row
        };
        Patient { rows: values.iter().enumerate().map(row).collect(), ..Patient::default() }
    }

    const NONE: f64 = f64::NAN;

    #[test]
    fn kidney_injury_begins_where_creatinine_has_risen_enough() {
        let onset = |values: &[f64]| Task::Aki.truth(&patient(Column::Creatinine, values)).onset;
        assert_eq!(onset(&[0.4, NONE, 0.5, 0.7]), Some(3), "0.3 above, although 0.7 - 0.4 is a little less");
        assert_eq!(onset(&[0.5, 0.6, 0.74]), None);
        assert_eq!(onset(&[0.4, 0.6]), Some(1), "1.5 times");
        assert_eq!(onset(&[2.0, 1.0, 1.2]), None);
        let mut slow = vec![2.0];
        slow.extend([NONE; 48]);
        slow.push(2.4);
        assert_eq!(onset(&slow), None, "the lowest of the 48 rows before is not known");
        slow.remove(5);
        assert_eq!(onset(&slow), Some(48));
    }

    #[test]
    fn low_pressure_counts_when_it_lasts() {
        let onset = |values: &[f64]| Task::Hypotension.truth(&patient(Column::Map, values)).onset;
        assert_eq!(onset(&[64.0, 65.0, 64.0, NONE, 60.0, 64.9, 80.0]), Some(5));
        assert_eq!(onset(&[64.0, NONE, 64.0]), None);
    }

    #[test]
    fn rows_at_risk_are_before_the_event_and_quiet_ones_are_followed() {
        let mut values = vec![80.0; 20];
        values.extend([60.0, 60.0, 60.0]);
        let rows = Task::Hypotension.truth(&patient(Column::Map, &values)).rows;
        let expected = |i: usize| match i {
            0..=2 => None,
            3..=12 => Some(false),
            13..=20 => Some(true),
            _ => None,
        };
        assert_eq!(rows, (0..23).map(expected).collect::<Vec<_>>());
        let quiet = Task::Hypotension.truth(&patient(Column::Map, &[80.0; 13])).rows;
        assert_eq!(quiet.iter().filter(|row| **row == Some(false)).count(), 2, "rows 3 and 4 of 13");
        assert_eq!(quiet[4..6], [Some(false), None]);
    }

    #[test]
    fn a_task_is_named_as_commands_take_it() {
        let refusal = "AKI in 24 h".parse::<Task>().unwrap_err().to_string();
        for task in Task::ALL {
            assert!(task.name().parse() == Ok(task) && refusal.contains(task.name()), "{refusal}");
        }
    }
}
