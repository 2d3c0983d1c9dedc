//! What the card says of a model, by the code that runs it and by the code that `medulla model eval` uses.

use anyhow::Result;

use super::Progress;
use super::table::Table;
use crate::dataset::Patient;
use crate::eval::{
    Alerting, BASELINES, Cohort, Person, Prediction, Predictor, Rule, alerting, figures, judge,
};
use crate::features::Features;
use crate::policy::AlertPolicy;
use crate::{Card, Figures, Scorer, Subgroup};

/// The clock rule, as evaluation has it.
const CLOCK: &str = BASELINES[0];
/// Places in the judged cohort.
const MODEL: usize = 0;
const INTERRUPTIVE: usize = 1;
const CLOCK_RULE: usize = 2;

/// Fills in the card's figures: `scorer` is the model as it was written and read again, `test` the patients who took no
/// part in its making.
pub(super) fn held_out(
    card: &mut Card,
    scorer: &Scorer,
    test: Vec<Patient>,
    progress: &dyn Progress,
) -> Result<()> {
    let clock: Rule = CLOCK.parse()?;
    let threshold = card.interruptive_threshold.value;
    let interruptive = |row: &_, features: &Features| {
        Prediction::of_model(scorer.predict(row, features).p, threshold, features.sufficient())
    };
    let cohort = judge(test.into_iter().map(Ok), &[scorer, &interruptive, &clock], |done| {
        progress.at(done as u64, "");
    })?;
    card.held_out = figures(&cohort, MODEL, everybody);
    card.held_out_interruptive = Some(figures(&cohort, INTERRUPTIVE, everybody));
    card.clock_rule = of_clock(&cohort, everybody);
    card.subgroups = subgroups(&cohort);
    Ok(())
}

/// Out-of-fold risks of the table's rows under `threshold`.
pub(super) fn cross_validated(table: &mut Table, risks: &[f64], threshold: f64) -> Figures {
    table.cohort.judged = vec![said(table, risks, threshold)];
    figures(&table.cohort, MODEL, everybody)
}

pub(super) fn alerts_per_100_patient_days(table: &Table, risks: &[f64], threshold: f64) -> f64 {
    let (said, policy) = (said(table, risks, threshold), AlertPolicy::default());
    let mut alerts = Alerting::default();
    for person in &table.cohort.people {
        let rows = person.rows.clone();
        alerting(&mut alerts, &policy, person, &table.cohort.iculos[rows.clone()], &said[rows]);
    }
    alerts.alerts_per_100_patient_days().unwrap_or(0.0)
}

fn said(table: &Table, risks: &[f64], threshold: f64) -> Vec<Prediction> {
    let rows = risks.iter().zip(&table.sufficient);
    rows.map(|(risk, sufficient)| Prediction::of_model(*risk, threshold, *sufficient)).collect()
}

fn everybody(_: &Person) -> bool {
    true
}

/// The clock's "probability" ranks and no more: Brier and ECE would mean nothing.
fn of_clock(cohort: &Cohort, belongs: impl Fn(&Person) -> bool) -> Figures {
    Figures { brier: None, ece: None, ..figures(cohort, CLOCK_RULE, belongs) }
}

fn subgroups(cohort: &Cohort) -> Vec<Subgroup> {
    type Picks = fn(&Person) -> bool;
    let groups: [(&str, Picks); 11] = [
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
        ("unit unknown", |person| person.unit == "unknown"),
    ];
    let subgroup = |(name, picks): (&str, Picks)| Subgroup {
        group: name.into(),
        model: figures(cohort, MODEL, picks),
        clock_rule: of_clock(cohort, picks),
    };
    groups.into_iter().map(subgroup).collect()
}
