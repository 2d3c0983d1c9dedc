//! What `medulla model eval --json` and `medulla model score` print.

use std::fmt::Write;

use ml_scoring::Task;
use ml_scoring::dataset;
use ml_scoring::eval::{self, Cohort, Options, Predictor, Rule};

/// 40 patients of 48 hours: every fourth is septic, label from hour 30, heart rate high from hour 26.
fn csv() -> String {
    let mut text = format!("{}\n", dataset::HEADER);
    for patient in 0..40 {
        let septic = patient % 4 == 0;
        for hour in 1..=48 {
            let heart_rate = if septic && hour >= 26 { 120 } else { 70 + hour % 10 };
            let label = u8::from(septic && hour >= 30);
            let (pid, age) = (format!("p{}{patient:05}", patient % 2), 40 + patient);
            let _ = writeln!(
                text,
                "{pid},{heart_rate}{}{age},{},,,-3,{hour},{label}",
                ",".repeat(34),
                patient % 2
            );
        }
    }
    text
}

fn cohort(rules: &[&str]) -> Cohort {
    let rules: Vec<Rule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    let predictors: Vec<&dyn Predictor> = rules.iter().map(|rule| rule as &dyn Predictor).collect();
    let mut heard = 0;
    let cohort =
        eval::judge(dataset::read(csv().as_bytes()), Task::Sepsis, &predictors, |done| heard = done).unwrap();
    assert_eq!(heard, 40);
    cohort
}

#[test]
fn the_report_has_the_documented_keys_and_true_figures() {
    let options =
        Options { baselines: vec!["ICULOS>=53".into()], bootstrap_samples: 50, ..Options::default() };
    let report = eval::report(&cohort(&["HR_now>=110", "ICULOS>=53"]), &options, |_, _| {});
    let json = serde_json::to_value(&report).unwrap();
    let mut keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut documented = [
        "task",
        "patients",
        "rows",
        "utility",
        "auroc",
        "auprc",
        "brier",
        "ece",
        "ece_equal_mass",
        "threshold",
        "alerts_per_100_patient_days",
        "alerts",
        "alerts_judged",
        "ppv",
        "sensitivity",
        "sensitivity_in_window",
        "median_lead_h",
        "ci95",
        "baselines",
        "groups",
        "policy",
        "interruptive",
    ];
    keys.sort_unstable();
    documented.sort_unstable();
    assert_eq!(keys, documented);

    assert_eq!((report.patients, report.rows), (40, 40 * 48));
    // One alert for each of the 10 septic patients, from hour 26: 10 h before onset at hour 36, nobody else.
    assert_eq!(
        (report.ppv, report.sensitivity, report.sensitivity_in_window),
        (Some(1.0), Some(1.0), Some(1.0))
    );
    assert_eq!(report.median_lead_h, Some(10.0));
    assert_eq!(report.alerts_per_100_patient_days, Some(10.0 * 2400.0 / (40.0 * 48.0)));
    // Each septic patient: alarms from d = -10 on miss only d = -12 (worth 0) and d = -11 (worth 1/6).
    let best: f64 = (-12..=-6).map(|d| d as f64 / 6.0 + 2.0).sum::<f64>()
        + (-5..=3).map(|d| -d as f64 / 9.0 + 1.0 / 3.0).sum::<f64>();
    let silent: f64 = (-5..=3).map(|d| -2.0 * d as f64 / 9.0 - 4.0 / 3.0).sum();
    let expected = (best - 1.0 / 6.0 - silent) / (best - silent);
    assert!((report.utility.unwrap() - expected).abs() < 1e-12);
    let clock = &report.baselines["ICULOS>=53"];
    assert_eq!((clock.utility, clock.alerts_per_100_patient_days, clock.ppv), (Some(0.0), Some(0.0), None));
    let [low, high] = report.ci95["auroc"];
    assert!(low <= report.auroc.unwrap() && report.auroc.unwrap() <= high && high - low < 0.1);
    let figures =
        ["utility", "auroc", "auprc", "brier", "ece", "ece_equal_mass", "alerts_per_100_patient_days", "ppv"];
    let figures = figures.into_iter().chain(["sensitivity", "sensitivity_in_window", "median_lead_h"]);
    assert_eq!(report.ci95.len(), figures.clone().count(), "every figure has its interval");
    for name in figures {
        let ([low, high], value) = (report.ci95[name], json[name].as_f64().unwrap());
        assert!(low <= value && value <= high, "{name}: {low} {value} {high}");
    }
    // 10 of 40 patients have an alert: 12.5 ± 1.96 · sqrt(40 · 0.25 · 0.75) · 2400 / 1920 = 12.5 ± 6.7.
    let [low, high] = report.ci95["alerts_per_100_patient_days"];
    assert!(low > 4.0 && low < 9.5 && high > 15.5 && high < 22.0, "{low} {high}");
    let by: Vec<_> = report.groups.iter().map(|g| (g.by.as_str(), g.patients)).collect();
    assert_eq!(by.iter().filter(|(by, _)| *by == "hospital").map(|(_, n)| n).sum::<usize>(), 40);
    assert!(["age", "sex", "unit"].iter().all(|name| by.iter().any(|(by, _)| by == name)));
}

#[test]
fn two_predictors_are_compared_on_the_same_patients() {
    let options = Options { bootstrap_samples: 50, ..Options::default() };
    let (good, silent) = (cohort(&["HR_now>=110"]), cohort(&["never"]));
    let difference = eval::against(&good, &silent, &options).unwrap();
    let alone = eval::report(&good, &options, |_, _| {});
    assert_eq!(difference.utility, alone.utility);
    assert!(difference.ci95["utility"][0] > 0.9);
    let same = eval::against(&good, &good, &options).unwrap();
    assert_eq!((same.utility, same.ci95["utility"]), (Some(0.0), [0.0, 0.0]));
    let mut fewer = good.clone();
    fewer.people.pop();
    assert_eq!(eval::against(&good, &fewer, &options), None);
    let mut other_task = good.clone();
    other_task.task = Task::Aki;
    assert_eq!(eval::against(&good, &other_task, &options), None, "another question, another answer");
}

#[test]
fn the_csv_holds_every_row_in_order() {
    let mut out = Vec::new();
    eval::write_csv(&cohort(&["never", "HR_now>=110"]), 1, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (1 + 40 * 48, "pid,ICULOS,p,alarm"));
    assert_eq!(lines[26], "p000000,26,0.4,1");
    assert_eq!(lines[49], "p100001,1,0.23666666666666666,0");
}
