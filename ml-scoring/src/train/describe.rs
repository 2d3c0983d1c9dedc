//! The card of a trained model.

use serde_json::json;

use super::adapt::KEPT;
use super::boost::{Lesson, Members};
use super::judge::{ALERTS_PER_100_PATIENT_DAYS_MAX, OutOfFold};
use super::table::Data;
use super::{Options, words};
use crate::features::{self, Meaning, Other};
use crate::stays;
use crate::task::Task;
use crate::{
    CARD_FORMAT, Calibration, Card, CardFeature, Figures, Model, Population, Threshold, TrainingData,
};

pub(super) const POPULATION: Population = Population::Adults;
const OUT_OF_FOLD: &str = "out-of-fold predictions of all patients that trained";

/// The card but for its figures, which [`super::judge`] fills in.
pub(super) fn card(data: &Data, options: &Options, members: &Members, judged: &OutOfFold) -> Card {
    let (task, choice) = (options.task, &judged.choice);
    Card {
        format: CARD_FORMAT,
        name: task.name().into(),
        task: task.name().into(),
        predicts: words::predicts(task).into(),
        intended_use: words::intended_use(task).into(),
        setting: Some(words::setting(task)),
        population: Some(POPULATION),
        must_not_claim: words::must_not_claim(task),
        limits: words::limits(task),
        features: data
            .develop
            .features
            .iter()
            .zip(data.develop.names())
            .map(|(feature, name)| CardFeature { name: name.into(), unit: unit(*feature) })
            .collect(),
        threshold: Threshold {
            value: choice.threshold,
            metric: choice.metric.into(),
            chosen_on: OUT_OF_FOLD.into(),
        },
        interruptive_threshold: Threshold {
            value: choice.interruptive,
            metric: match task {
                Task::Mortality => "none: the model interrupts nobody; the watch threshold again".into(),
                _ => format!(
                    "lowest with at most {ALERTS_PER_100_PATIENT_DAYS_MAX} alerts per 100 patient-days over all hours, at their closes, \
                     after rising edge, hysteresis and 12 h refractory time; asked with every message, as at a site, the \
                     model may alert more often"
                ),
            },
            chosen_on: OUT_OF_FOLD.into(),
        },
        calibration: Calibration::Platt {
            slope: choice.calibration.slope,
            intercept: choice.calibration.intercept,
            fitted_on: OUT_OF_FOLD.into(),
        },
        training_data: training_data(data, options),
        training: training(data, options, members),
        held_out: Figures::default(),
        held_out_interruptive: None,
        clock_rule: Figures::default(),
        beside: Vec::new(),
        subgroups: Vec::new(),
        drift: None,
    }
}

/// What an adapted card says of the model that it began from.
pub(super) fn adapted(card: &mut Card, from: &Model) {
    let hash = hex::encode(from.hash());
    card.training["model"] = json!(format!(
        "the trees of the model {hash} at {KEPT} of their weight, and the mean of boosters that begin from their margins, one for \
         each fold and repeat, each trained without its fold's patients"
    ));
    card.training["adapted_from"] =
        json!({ "model": hash, "kept": KEPT, "training_data": from.card().training_data });
    card.training_data.description = format!(
        "local patients, to whom the model {hash} was fitted: {KEPT} of its trees' weight, added trees, \
         calibration and thresholds; its own training data stand under training.adapted_from"
    );
    card.limits.clone_from(&from.card().limits);
}

fn training_data(data: &Data, options: &Options) -> TrainingData {
    let cross = format!(
        "figures are cross-validated: {} folds by patient (the same hash), each judged by the boosters that did not see it, \
         with calibration and thresholds from the other folds",
        options.folds
    );
    if options.task == Task::Mortality {
        return stays_data(data, cross);
    }
    let buckets = "bucket = first 8 hex digits of sha256(\"cinc2019:\" + pid), mod 100";
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
        split: match options.hold_out {
            true => format!("{buckets}: 0 to 69 train and choose, 70 to 79 are held out and judge, 80 to 99 take no part"),
            false => format!("{buckets}: 0 to 79 train and choose, 80 to 99 take no part; {cross}"),
        },
        held_out: options.hold_out,
    }
}

fn stays_data(data: &Data, cross: String) -> TrainingData {
    TrainingData {
        description: "PhysioNet/Computing in Cardiology Challenge 2012 v1.0.0, Predicting Mortality of ICU Patients: the \
                      first 48 hours of stays"
            .into(),
        licence: "ODC-BY 1.0".into(),
        citation: "Silva I et al., Comput Cardiol 39:245-248 (2012); Goldberger AL et al., Circulation 101(23):e215-e220 \
                   (2000)"
            .into(),
        files: data.files.clone(),
        patients: data.develop.cohort.people.len() as u64,
        rows: data.develop.cohort.labels.len() as u64,
        split: format!("all stays with an outcome train and choose; {cross}"),
        held_out: false,
    }
}

fn training(data: &Data, options: &Options, members: &Members) -> serde_json::Value {
    let parameters: serde_json::Map<_, _> =
        options.settings.parameters.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let lesson = |lesson: &Lesson| {
        json!({
            "objective": words::objective(options.task, *lesson),
            "rounds": members.rounds(*lesson),
            "rounds_by_member": members.rounds_by_member(*lesson),
        })
    };
    let mut training = json!({
        "library": "XGBoost 3.4.0",
        "model": "mean of boosters, one for each objective, fold and repeat, each trained without its fold's patients",
        "objectives": members.lessons.iter().map(lesson).collect::<Vec<_>>(),
        "parameters": parameters,
        "folds": options.folds,
        "repeats": options.repeats,
        "early_stopping": "weighted logistic loss on the fold's own patients; the rounds used are the mean of an objective's, and of \
                           the other folds where a fold's own patients are judged",
    });
    if options.task == Task::Mortality {
        training["set_aside_as_implausible"] = json!(data.set_aside);
        training["stays_without_outcome"] = json!(data.left_out);
    }
    training
}

fn unit(index: usize) -> String {
    match features::meaning(index) {
        Some(Meaning::Of(column, kind)) => kind.unit(column.unit()),
        Some(Meaning::Other(other)) => unit_of(other).into(),
        None => stays::unit(index).unwrap_or("1").into(),
    }
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
        | Other::HoursInHospital
        | Other::HypotensionHours12h
        | Other::FeverHours12h
        | Other::TachycardiaHours12h
        | Other::TachypnoeaHours12h
        | Other::LabRows24h => "h",
        other if features::beyond(other).is_some() => "h",
        Other::ChlorideBicarbonate => "mmol/L",
        Other::Rox => "min",
        Other::LabsRate | Other::VitalsRate => "/h",
        _ => "1",
    }
}
