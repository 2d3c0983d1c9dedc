//! What a card says in words, by task.

use super::boost::{LABELLED, Lesson};
use crate::Setting;
use crate::task::Task;

pub(super) fn predicts(task: Task) -> &'static str {
    match task {
        Task::Sepsis => {
            "Risk that clinical onset of sepsis (Sepsis-3, as the 2019 challenge dated it) comes within 6 hours or has come \
             already, for one hour of an intensive-care stay."
        }
        Task::Aki => {
            "Risk that acute kidney injury by creatinine (KDIGO stage 1: 1.5 times the lowest so far, or 0.3 mg/dL above \
             the lowest of 48 hours) comes within 24 hours, for one hour of an intensive-care stay."
        }
        Task::Hypotension => {
            "Risk that the mean arterial pressure falls below 65 mmHg in two hours running within 8 hours, for one hour of \
             an intensive-care stay."
        }
        Task::Mortality => {
            "Risk that the patient dies in hospital, whenever that is, judged once: when 48 hours in intensive care have \
             closed, from these 48 hours."
        }
    }
}

pub(super) fn setting(task: Task) -> Setting {
    match task {
        Task::Mortality => Setting::EndOfHour48,
        _ => Setting::IntensiveCare,
    }
}

pub(super) fn intended_use(task: Task) -> &'static str {
    if task == Task::Mortality {
        return "Research and audit: compares how ill groups of adults were after 48 hours in intensive care. It is not for \
                the stream: a feed does not bring ventilation and the kind of unit as the 2012 set has them, and a site \
                refuses to score with it. No treatment may be begun, limited or ended by it.";
    }
    "Draws the attention of an intensive-care team to a patient who is worth a second look. Adults in intensive care, \
     hourly. A person decides; the threshold has to be set on local data, in shadow, before anything interrupts anybody."
}

pub(super) fn must_not_claim(task: Task) -> Vec<String> {
    let diagnosis = match task {
        Task::Sepsis => "that it diagnoses sepsis or rules it out",
        Task::Aki => "that it diagnoses kidney injury or rules it out",
        Task::Mortality => "that it knows whether a patient will die, or what would keep him alive",
        Task::Hypotension => "that it foresees every fall of the blood pressure or explains any",
    };
    let all = [
        diagnosis,
        "that using it improves outcomes: nobody has tested that",
        "anything outside intensive care, in children, or at a hospital where it was not checked on local data",
        "that its figures are those of the challenge's hidden test: they come from patients of the same hospitals",
    ];
    all.map(str::to_owned).to_vec()
}

pub(super) fn limits(task: Task) -> Vec<String> {
    let labels = match task {
        Task::Sepsis => "labels derived from records by Sepsis-3 criteria.",
        Task::Aki => {
            "labels from creatinine alone, without urine output; what was not measured cannot be seen."
        }
        Task::Mortality => {
            "all stays of at least 48 hours, of one hospital, from 2001 to 2008: who died or left before is not in it, and \
             treatment was withdrawn from some who died."
        }
        Task::Hypotension => "labels from charted pressures, whatever vasopressors hold them up.",
    };
    if task == Task::Mortality {
        return vec![
            format!("Data of the United States of America, {labels}"),
            "How often and when things were measured speaks for much of the risk; it is the habit of one hospital.".into(),
            "Values of magnesium are taken for mg/dL, by their size, although the set publishes mmol/L.".into(),
            "Whether several stays are of one patient is not known, so folds are by stay.".into(),
        ];
    }
    let mut limits = vec![format!("Hospitals in the United States of America, one data set, {labels}")];
    limits.push(
        "Much of what such models learn is how long a patient has been there and how often things are measured; compare \
         with clock_rule before believing in physiology."
            .into(),
    );
    if task == Task::Sepsis {
        limits.push(
            "Records of the data set end soon after onset, so hours late in a long stay are over-represented among the \
             positive ones."
                .into(),
        );
    }
    limits.push(
        "Lactate's unit is published as mg/dL although the values look like mmol/L; the model takes them as they are.".into(),
    );
    limits
}

/// What the watch threshold goes by where few patients have the event.
pub(super) const LINE: &str =
    "where an alarm begins to gain official 2019 utility, by a logistic line through the gains";

/// What the watch threshold maximises.
pub(super) fn metric(task: Task) -> &'static str {
    match task {
        Task::Sepsis => "highest official 2019 utility",
        Task::Mortality => "highest lesser of sensitivity and PPV (event 1 of the 2012 challenge)",
        _ => "highest F1 over the hours that can be judged",
    }
}

pub(super) fn objective(task: Task, lesson: Lesson) -> String {
    if lesson == Lesson::Label {
        return format!(
            "binary:logistic; label = the row's label, rows labelled 1 weigh {LABELLED} times as much as the others"
        );
    }
    let objective = match task {
        Task::Sepsis => {
            "binary:logistic; label = sign, weight = size of what an alarm in this row gains over silence in the official \
             2019 utility"
        }
        Task::Mortality => "binary:logistic over stays",
        _ => "binary:logistic over the hours that can be judged",
    };
    objective.into()
}
