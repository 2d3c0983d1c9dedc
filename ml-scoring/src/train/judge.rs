//! Figures over patients, by the code that `medulla model eval` uses.

use super::table::Table;
use crate::Figures;
use crate::eval::{Alerting, Person, Prediction, Utility, alerting, auprc, auroc, brier, ece, utility};
use crate::policy::AlertPolicy;

/// The clock rule of the 2019 set: hours in intensive care alone.
const CLOCK_HOURS: u32 = 53;

/// What a predictor says of every row of a table.
pub(super) struct Said(pub Vec<Prediction>);

impl Said {
    pub fn model(risks: &[f64], threshold: f64) -> Said {
        Said(risks.iter().map(|p| Prediction { p: *p, alarm: *p >= threshold }).collect())
    }

    pub fn clock(table: &Table) -> Said {
        let said =
            |hour: &u32| Prediction { p: (f64::from(*hour) / 500.0).min(1.0), alarm: *hour >= CLOCK_HOURS };
        Said(table.iculos.iter().map(said).collect())
    }

    /// Over the patients that `belongs` picks. `probabilities`: whether Brier and ECE mean anything.
    pub fn figures(&self, table: &Table, probabilities: bool, belongs: impl Fn(&Person) -> bool) -> Figures {
        let policy = AlertPolicy::default();
        let mut figures = Figures::default();
        let (mut sum, mut alerts) = (Utility::default(), Alerting::default());
        let (mut risks, mut labels) = (Vec::new(), Vec::new());
        for person in table.people.iter().filter(|person| belongs(person)) {
            let said = &self.0[person.rows.clone()];
            figures.patients += 1;
            figures.septic_patients += u64::from(person.first_label.is_some());
            figures.rows += said.len() as u64;
            figures.alarm_rows += said.iter().filter(|said| said.alarm).count() as u64;
            sum.add(&utility(person, said), 1.0);
            alerting(&mut alerts, &policy, person, &table.iculos[person.rows.clone()], said);
            risks.extend(said.iter().map(|said| said.p));
            labels.extend_from_slice(&table.labels[person.rows.clone()]);
        }
        figures.auroc = auroc(&risks, &labels);
        figures.auprc = auprc(&risks, &labels);
        figures.utility = sum.normalised();
        figures.brier = brier(&risks, &labels).filter(|_| probabilities);
        figures.ece = ece(&risks, &labels).filter(|_| probabilities);
        figures.alerts_per_100_patient_days = alerts.alerts_per_100_patient_days();
        figures.ppv = alerts.ppv();
        figures.sensitivity = alerts.sensitivity();
        figures
    }

    pub fn alerts_per_100_patient_days(&self, table: &Table) -> f64 {
        let (policy, mut alerts) = (AlertPolicy::default(), Alerting::default());
        for person in &table.people {
            let rows = person.rows.clone();
            alerting(&mut alerts, &policy, person, &table.iculos[rows.clone()], &self.0[rows]);
        }
        alerts.alerts_per_100_patient_days().unwrap_or(0.0)
    }
}
