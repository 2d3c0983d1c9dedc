//! What the card says of a model, by the code that `medulla model eval` uses.

use anyhow::{Context, Result};
use clinical::PatientState;

use super::choose::{self, Platt};
use super::table::Table;
use super::{Progress, words};
use crate::dataset::{Patient, Row};
use crate::eval::{
    Alerting, At, BASELINES, Cohort, Hour, Person, Prediction, Predictor, Rule, Said, StayRule, alerting,
    alerts, figures, judge_as_stream,
};
use crate::features::Features;
use crate::policy::AlertPolicy;
use crate::task::Task;
use crate::{Beside, Card, Figures, Scorer, Subgroup, Thresholds};

/// Alerts that a ward can bear; the interruptive threshold keeps to it.
pub(super) const ALERTS_PER_100_PATIENT_DAYS_MAX: f64 = 10.0;
/// With fewer patients of the event a threshold by the highest utility follows chance.
const FEW_ILL: usize = 1000;
/// The clock rule, as evaluation has it.
const CLOCK: &str = BASELINES[0];
/// Places in the judged cohort.
const MODEL: usize = 0;
const INTERRUPTIVE: usize = 1;
const CLOCK_RULE: usize = 2;

/// From margins to what is said aloud.
#[derive(Clone, Copy)]
pub(super) struct Choice {
    pub calibration: Platt,
    /// Of the risk.
    pub threshold: f64,
    /// What that one goes by, in words.
    pub metric: &'static str,
    pub interruptive: f64,
}

/// Every patient judged by members that did not see him, with a choice made on the other folds.
pub(super) struct OutOfFold {
    /// Made on all folds: the model's own.
    pub choice: Choice,
    watch: Vec<Prediction>,
    interruptive: Vec<Prediction>,
    /// Of each person, by his fold.
    thresholds: Vec<Thresholds>,
}

pub(super) fn out_of_fold(table: &Table, margins: &[f32], folds: &[u32], count: u32) -> Result<OutOfFold> {
    let choice = choose_on(table, margins, |_| true)?;
    let silent = vec![Prediction::yes_or_no(0.0, false); folds.len()];
    let people = &table.cohort.people;
    let thresholds = vec![Thresholds::YES; people.len()];
    let mut judged = OutOfFold { choice, watch: silent.clone(), interruptive: silent, thresholds };
    for fold in 0..count {
        let others = choose_on(table, margins, |row| folds[row] != fold)?;
        for row in (0..folds.len()).filter(|row| folds[*row] == fold) {
            let (risk, sufficient) = (others.calibration.risk(margins[row]), table.sufficient[row]);
            judged.watch[row] = Prediction::of_model(risk, others.threshold, sufficient);
            judged.interruptive[row] = Prediction::of_model(risk, others.interruptive, sufficient);
        }
        let of_fold = people.iter().zip(&mut judged.thresholds);
        for (_, own) in of_fold.filter(|(person, _)| folds.get(person.rows.start) == Some(&fold)) {
            *own = Thresholds { watch: others.threshold, interruptive: others.interruptive };
        }
    }
    Ok(judged)
}

/// Of the rows that `belongs` picks, whole patients.
fn choose_on(table: &Table, margins: &[f32], belongs: impl Fn(usize) -> bool) -> Result<Choice> {
    let judgeable = |row: &usize| belongs(*row) && table.cohort.judgeable[*row];
    let rows: Vec<usize> = (0..margins.len()).filter(judgeable).collect();
    let of = |rows: &[usize]| rows.iter().map(|row| margins[*row]).collect::<Vec<_>>();
    let labels: Vec<bool> = rows.iter().map(|row| table.cohort.labels[*row]).collect();
    let calibration = choose::platt(&of(&rows), &labels);
    let may_alarm: Vec<usize> = rows.iter().copied().filter(|row| table.sufficient[*row]).collect();
    let gains: Vec<f64> = may_alarm.iter().map(|row| table.gains[*row]).collect();
    let task = table.cohort.task;
    let ill = table.cohort.people.iter().filter(|person| person.onset.is_some()).count();
    let line =
        (task == Task::Sepsis && ill < FEW_ILL).then(|| choose::by_line(&of(&may_alarm), &gains)).flatten();
    let metric = if line.is_some() { words::LINE } else { words::metric(task) };
    let margin = line.or_else(|| match task {
        Task::Sepsis => choose::by_gain(&of(&may_alarm), &gains),
        Task::Mortality => choose::by_event_1(&of(&may_alarm), &gains),
        _ => choose::by_f1(&of(&may_alarm), &gains),
    });
    let margin = margin
        .context("no alarm would gain anything, so there is no threshold to choose: give more patients")?;
    let threshold = calibration.risk(margin);
    if task == Task::Mortality {
        // It speaks once and interrupts nobody.
        return Ok(Choice { calibration, threshold, metric, interruptive: threshold });
    }
    let people: Vec<&Person> =
        table.cohort.people.iter().filter(|person| belongs(person.rows.start)).collect();
    let risks: Vec<f64> = margins.iter().map(|margin| calibration.risk(*margin)).collect();
    // A ward bears the alerts of all hours, also of those that the task cannot judge.
    let heard = (0..risks.len()).filter(|row| belongs(*row) && table.sufficient[*row]);
    let chosen_from: Vec<f64> = heard.map(|row| risks[row]).collect();
    let interruptive = choose::interruptive(&chosen_from, threshold, |threshold| {
        alerts_per_100_patient_days(table, &people, &risks, threshold) <= ALERTS_PER_100_PATIENT_DAYS_MAX
    });
    Ok(Choice { calibration, threshold, metric, interruptive })
}

fn alerts_per_100_patient_days(table: &Table, people: &[&Person], risks: &[f64], threshold: f64) -> f64 {
    let policy = AlertPolicy::default();
    let mut sum = Alerting::default();
    for person in people {
        let said = |row| Prediction::of_model(risks[row], threshold, table.sufficient[row]);
        let predictions: Vec<Prediction> = person.rows.clone().map(said).collect();
        let thresholds = Thresholds::only(threshold);
        let said = Said { person, predictions: &predictions, thresholds, heard: &[] };
        alerting(&mut sum, &table.cohort, &said, &alerts(&policy, &table.cohort, &said));
    }
    sum.alerts_per_100_patient_days().unwrap_or(0.0)
}

/// Fills in the card's figures from predictions out of fold.
pub(super) fn cross_validated(card: &mut Card, table: &mut Table, judged: OutOfFold) -> Result<()> {
    let clock: Rule = CLOCK.parse()?;
    let (state, features) = (PatientState::default(), Features { values: Vec::new() });
    let of_clock = |iculos: &u32| {
        let row = Row { values: Row::EMPTY, iculos: *iculos, label: false, line: 0 };
        clock.predict(&Hour { row: &row, state: &state, features: &features })
    };
    let clock = table.cohort.iculos.iter().map(of_clock).collect();
    table.cohort.judged = vec![judged.watch, judged.interruptive, clock];
    let only = |thresholds: &Thresholds| Thresholds::only(thresholds.interruptive);
    let interruptive = judged.thresholds.iter().map(only).collect();
    table.cohort.thresholds = vec![judged.thresholds, interruptive];
    let stays = table.cohort.task == Task::Mortality;
    if stays {
        table.cohort.judged.extend(std::mem::take(&mut table.beside));
    }
    fill_in(card, &table.cohort);
    if stays {
        card.held_out_interruptive = None;
        card.beside =
            StayRule::ALL.iter().enumerate().map(|(i, rule)| beside(&table.cohort, *rule, i)).collect();
    }
    Ok(())
}

/// They rank and have no limit, so nothing that follows from one.
fn beside(cohort: &Cohort, rule: StayRule, place: usize) -> Beside {
    let Figures { patients, septic_patients, rows, auroc, auprc, .. } =
        figures(cohort, CLOCK_RULE + 1 + place, everybody);
    let figures = Figures { patients, septic_patients, rows, auroc, auprc, ..Figures::default() };
    Beside { name: rule.name().into(), figures }
}

/// Fills in the card's figures: `scorer` is the model as it was written and read again, `test` the patients who took no
/// part in its making.
pub(super) fn held_out(
    card: &mut Card,
    scorer: &Scorer,
    task: Task,
    test: Vec<Patient>,
    progress: &dyn Progress,
) -> Result<Cohort> {
    let clock: Rule = CLOCK.parse()?;
    let interruptive = At { scorer, threshold: card.interruptive_threshold.value };
    let cohort = judge_as_stream(test.into_iter().map(Ok), task, &[scorer, &interruptive, &clock], |done| {
        progress.at(done as u64, "");
    })?;
    fill_in(card, &cohort);
    Ok(cohort)
}

fn fill_in(card: &mut Card, cohort: &Cohort) {
    card.held_out = figures(cohort, MODEL, everybody);
    card.held_out_interruptive = Some(figures(cohort, INTERRUPTIVE, everybody));
    card.clock_rule = of_clock(cohort, everybody);
    card.subgroups = subgroups(cohort);
}

fn everybody(_: &Person) -> bool {
    true
}

/// The clock's "probability" ranks and no more: Brier and ECE would mean nothing.
fn of_clock(cohort: &Cohort, belongs: impl Fn(&Person) -> bool) -> Figures {
    Figures { brier: None, ece: None, ece_equal_mass: None, ..figures(cohort, CLOCK_RULE, belongs) }
}

fn subgroups(cohort: &Cohort) -> Vec<Subgroup> {
    type Picks = fn(&Person) -> bool;
    let groups: [(&str, Picks); 13] = [
        ("hospital A", |person| person.hospital == 'A'),
        ("hospital B", |person| person.hospital == 'B'),
        ("female", |person| person.sex == "female"),
        ("male", |person| person.sex == "male"),
        ("age below 45", |person| person.age < 45.0),
        ("age 45 to 64", |person| (45.0..65.0).contains(&person.age)),
        ("age 65 to 79", |person| (65.0..80.0).contains(&person.age)),
        ("age 80 and above", |person| person.age >= 80.0),
        ("medical unit", |person| person.unit == "medical"),
        ("surgical unit", |person| person.unit == "surgical"),
        ("coronary care unit", |person| person.unit == "coronary care"),
        ("cardiac surgery unit", |person| person.unit == "cardiac surgery"),
        ("unit unknown", |person| person.unit == "unknown"),
    ];
    let subgroup = |(name, picks): (&str, Picks)| Subgroup {
        group: name.into(),
        model: figures(cohort, MODEL, picks),
        clock_rule: of_clock(cohort, picks),
    };
    let known = |group: &Subgroup| group.model.patients > 0;
    groups.into_iter().map(subgroup).filter(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One pressure of forty falls in row 30; in row 45, which nobody can judge, the model is sure of all of them.
    #[test]
    fn what_a_ward_can_bear_is_counted_over_all_hours() {
        let mut table = Table::new(Task::Hypotension, Vec::new());
        let mut margins = Vec::new();
        for i in 0..40 {
            let event = i == 0;
            let start = i * 50;
            table.cohort.people.push(Person {
                pid: format!("p{i:06}"),
                hospital: 'A',
                age: 50.0,
                sex: "male",
                unit: "unknown",
                rows: start..start + 50,
                onset: event.then_some(30),
            });
            for row in 0..50 {
                let positive = event && (22..30).contains(&row);
                let judged = (3..if event { 30 } else { 42 }).contains(&row);
                table.cohort.iculos.push(row as u32 + 1);
                table.cohort.labels.push(positive);
                table.cohort.judgeable.push(judged);
                table.sufficient.push(true);
                table.gains.push(if positive { 1.0 } else { -f64::from(u8::from(judged)) });
                // Not quite right, or no line would part the two.
                let high = (positive && row > 22) || (row == 10 && i < 3);
                margins.push(if row == 45 { 3.0 } else { f32::from(u8::from(high)) });
            }
        }
        let choice = choose_on(&table, &margins, |_| true).unwrap();
        assert!(
            choice.calibration.risk(0.0) < choice.threshold
                && choice.threshold < choice.calibration.risk(3.0)
        );
        assert_eq!(
            choice.interruptive, 1.0,
            "48 alerts per 100 patient-days at any risk that the model names"
        );
    }
}
