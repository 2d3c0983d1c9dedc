//! The card of a trained sepsis model.

use serde_json::json;

use super::Options;
use super::boost::Cross;
use super::choose::{self, Platt};
use super::judge;
use super::table::Data;
use crate::features::{self, Kind, Meaning, NAMES, Other};
use crate::{CARD_FORMAT, Calibration, Card, CardFeature, Figures, Setting, Threshold, TrainingData};

/// Alerts that a ward can bear; the interruptive threshold keeps to it.
const ALERTS_PER_100_PATIENT_DAYS_MAX: f64 = 10.0;
const OUT_OF_FOLD: &str = "out-of-fold predictions of the patients of buckets 0 to 69";

pub(super) struct Chosen<'a> {
    pub cross: &'a Cross,
    pub threshold_margin: f32,
    pub calibration: Platt,
}

/// The card but for the figures on held-out patients, which [`judge::held_out`] fills in.
pub(super) fn card(data: &mut Data, options: &Options, chosen: &Chosen) -> Card {
    let risks: Vec<f64> = chosen.cross.margins.iter().map(|m| chosen.calibration.risk(*m)).collect();
    let threshold = chosen.calibration.risk(chosen.threshold_margin);
    let interruptive = choose::interruptive(&risks, threshold, |threshold| {
        judge::alerts_per_100_patient_days(&data.develop, &risks, threshold)
            <= ALERTS_PER_100_PATIENT_DAYS_MAX
    });
    let cross_validated = judge::cross_validated(&mut data.develop, &risks, threshold);
    Card {
        format: CARD_FORMAT,
        name: "sepsis".into(),
        task: "sepsis".into(),
        predicts: "Risk that clinical onset of sepsis (Sepsis-3, as the 2019 challenge dated it) comes within 6 hours or \
                   has come already, for one hour of an intensive-care stay."
            .into(),
        intended_use: "Draws the attention of an intensive-care team to a patient who is worth a second look. Adults in \
                       intensive care, hourly. A person decides; the threshold has to be set on local data, in shadow, \
                       before anything interrupts anybody."
            .into(),
        setting: Some(Setting::IntensiveCare),
        must_not_claim: strings(&MUST_NOT_CLAIM),
        limits: strings(&LIMITS),
        features: (0..NAMES.len()).map(card_feature).collect(),
        threshold: Threshold {
            value: threshold,
            metric: "highest official 2019 utility".into(),
            chosen_on: OUT_OF_FOLD.into(),
        },
        interruptive_threshold: Threshold {
            value: interruptive,
            metric: format!(
                "lowest with at most {ALERTS_PER_100_PATIENT_DAYS_MAX} alerts per 100 patient-days, after rising edge \
                 and 12 h refractory time"
            ),
            chosen_on: OUT_OF_FOLD.into(),
        },
        calibration: Calibration::Platt {
            slope: chosen.calibration.slope,
            intercept: chosen.calibration.intercept,
            fitted_on: OUT_OF_FOLD.into(),
        },
        training_data: training_data(data),
        training: training(options, chosen, &cross_validated),
        held_out: Figures::default(),
        held_out_interruptive: None,
        clock_rule: Figures::default(),
        subgroups: Vec::new(),
    }
}

const MUST_NOT_CLAIM: [&str; 4] = [
    "that it diagnoses sepsis or rules it out",
    "that using it improves outcomes: nobody has tested that",
    "anything outside intensive care, in children, or at a hospital where it was not checked on local data",
    "that its figures are those of the challenge's hidden test: they come from patients of the same two hospitals",
];

const LIMITS: [&str; 4] = [
    "Two hospitals in the United States of America, one data set, labels derived from records by Sepsis-3 criteria.",
    "Much of what such models learn is how long a patient has been there and how often things are measured; compare \
     with clock_rule before believing in physiology.",
    "Records of the data set end soon after onset, so hours late in a long stay are over-represented among the positive \
     ones.",
    "Lactate's unit is published as mg/dL although the values look like mmol/L; the model takes them as they are.",
];

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn training_data(data: &Data) -> TrainingData {
    TrainingData {
        description: "PhysioNet/Computing in Cardiology Challenge 2019 v1.0.0, Early Prediction of Sepsis from Clinical \
                      Data, development part"
            .into(),
        licence: "CC BY 4.0".into(),
        citation: "Reyna MA et al., Crit Care Med 48(2):210-217 (2020), doi:10.1097/CCM.0000000000004145; data \
                   doi:10.13026/v64v-d857; Goldberger AL et al., Circulation 101(23):e215-e220 (2000)"
            .into(),
        files: data.files.clone(),
        patients: data.develop.cohort.people.len() as u64,
        rows: data.develop.cohort.labels.len() as u64,
        split: "bucket = first 8 hex digits of sha256(\"cinc2019:\" + pid), mod 100: 0 to 69 train and choose (patient-level \
                cross-validation), 70 to 79 are held out and judge, 80 to 99 are in no file"
            .into(),
    }
}

fn training(options: &Options, chosen: &Chosen, cross_validated: &Figures) -> serde_json::Value {
    let parameters: serde_json::Map<_, _> =
        options.settings.parameters.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "library": "XGBoost 3.4.0",
        "objective": "binary:logistic; label = sign, weight = size of what an alarm in this row gains over silence in the \
                      official 2019 utility",
        "parameters": parameters,
        "rounds": chosen.cross.rounds,
        "rounds_by_fold": chosen.cross.rounds_by_fold,
        "folds": options.folds,
        "early_stopping": "utility-weighted logistic loss on the fold's own patients",
        "cross_validated": cross_validated,
    })
}

fn card_feature(index: usize) -> CardFeature {
    let unit = match features::meaning(index) {
        Some(Meaning::Of(_, Kind::AgeH)) => "h".into(),
        Some(Meaning::Of(_, Kind::Count)) | None => "1".into(),
        Some(Meaning::Of(column, Kind::Slope6h)) => format!("{} per h", column.unit()),
        Some(Meaning::Of(column, _)) => column.unit().into(),
        Some(Meaning::Other(other)) => unit_of(other).into(),
    };
    CardFeature { name: NAMES[index].into(), unit }
}

fn unit_of(other: Other) -> &'static str {
    match other {
        Other::AgeYears | Other::AgeShockIndex => "a",
        Other::PulsePressure | Other::MapOverStayMean => "mm[Hg]",
        Other::HrOverStayMean | Other::RespOverStayMean => "/min",
        Other::TempOverStayMean => "Cel",
        Other::Iculos
        | Other::HospAdmTime
        | Other::LabAgeH
        | Other::HypotensionHours12h
        | Other::FeverHours12h
        | Other::TachycardiaHours12h
        | Other::TachypnoeaHours12h => "h",
        _ => "1",
    }
}
