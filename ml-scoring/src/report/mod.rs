//! A model in pictures: one HTML file with nothing from outside.

mod chart;
mod curves;

use std::fmt::Write;

use chart::{Chart, Line, bars, escape, short};
use curves::{Points, Ranked, Run, leads, runs};

use crate::eval::{Alerting, Cohort};
use crate::{Card, Figures, Task};

const STYLE: &str = "body{font:15px/1.4 system-ui,sans-serif;max-width:1180px;margin:2em auto;padding:0 1em;color:#1b2530}\
main{display:flex;flex-wrap:wrap;gap:1.5em}figure{margin:0;width:360px}figcaption{font-weight:600}svg text{font-size:11px;\
fill:#46525e}.middle{text-anchor:middle}.end{text-anchor:end}path{fill:none}.axis{stroke:#46525e}.even{stroke:#9aa5b0;\
stroke-dasharray:4 3}.line0{stroke:#0b6bcb;stroke-width:2}.line1{stroke:#c2410c;stroke-width:1.5}table{border-collapse:\
collapse}td,th{padding:.15em .6em;text-align:right;border-bottom:1px solid #dde3e9}td:first-child,th:first-child{text-align:\
left}.bars{width:100%;font-size:12px}.bars td:nth-child(2){width:40%}.bars div{background:#0b6bcb;height:.8em}";

/// `cohort` is judged by the model first; `contributions` are words and mean weight, strongest first.
pub fn html(card: &Card, cohort: &Cohort, contributions: &[(String, f64)]) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{0}</title><style>{STYLE}</style><h1>{0}</h1>\
         <p>{1}</p><p>{2}</p>",
        escape(&card.name),
        escape(&card.predicts),
        escape(&card.training_data.split)
    );
    summary(&mut html, card);
    html.push_str("<main>");
    for chart in charts(card, cohort) {
        html.push_str(&chart);
    }
    html.push_str(&bars("what moves the score (mean of |contribution|, log-odds)", contributions));
    html.push_str("</main>");
    subgroups(&mut html, card);
    html.push_str("<h2>What nobody may claim</h2><ul>");
    for claim in card.must_not_claim.iter().chain(&card.limits) {
        let _ = write!(html, "<li>{}</li>", escape(claim));
    }
    html + "</ul></html>\n"
}

fn charts(card: &Card, cohort: &Cohort) -> Vec<String> {
    let ranked = Ranked::new(cohort);
    let (roc, pr) = ranked.curves();
    let chart = |title, x, y, points, square| Chart {
        title,
        x,
        y,
        lines: vec![Line { name: "model", points }],
        marks: Vec::new(),
        square,
    };
    let rows = if cohort.task == Task::Mortality { "stays" } else { "hours" };
    let [false_alarms, sensitivity, recall, tenths, positive] = [
        "false alarms, share of quiet",
        "sensitivity,",
        "recall,",
        "calibration, tenths of the",
        "share of positive",
    ]
    .map(|words| format!("{words} {rows}"));
    let mut all = vec![
        chart("ROC", &false_alarms, &sensitivity, roc, true),
        chart("precision by recall", &recall, "precision", pr, false),
        chart(&tenths, "mean risk", &positive, ranked.calibration(), false),
    ];
    let runs = runs(cohort, &ranked.thresholds());
    let marks = vec![(card.threshold.value, "watch"), (card.interruptive_threshold.value, "interrupt")];
    if cohort.task == Task::Mortality {
        all.push(by_threshold(&runs, marks));
        return all.iter().map(Chart::svg).collect();
    }
    if cohort.task == Task::Sepsis {
        let points = runs.iter().filter_map(|run| Some((run.threshold, run.utility?))).collect();
        let by_threshold =
            chart("utility by threshold", "threshold of the risk", "official utility", points, false);
        all.push(Chart { marks, ..by_threshold });
    }
    let by_alerts = |of: fn(&Alerting) -> Option<f64>| {
        runs.iter()
            .filter_map(|run| Some((run.alerts.alerts_per_100_patient_days()?, of(&run.alerts)?)))
            .collect()
    };
    let mut alerts = chart(
        "alerts: PPV (blue), patients found in time (red)",
        "alerts per 100 patient-days",
        "share",
        by_alerts(Alerting::ppv),
        false,
    );
    let found = by_alerts(Alerting::sensitivity);
    alerts.lines.push(Line { name: "patients found in time", points: found });
    all.push(alerts);
    all.push(chart(
        "lead",
        "hours before the event, at least",
        "share of those found",
        lead_curve(cohort),
        false,
    ));
    all.iter().map(Chart::svg).collect()
}

/// Where a stay is judged once there are no alerts to count by the day, and no lead.
fn by_threshold<'a>(runs: &[Run], marks: Vec<(f64, &'a str)>) -> Chart<'a> {
    let by = |of: fn(&Alerting) -> Option<f64>| {
        runs.iter().filter_map(|run| Some((run.threshold, of(&run.alerts)?))).collect()
    };
    let lines = vec![
        Line { name: "PPV", points: by(Alerting::ppv) },
        Line { name: "sensitivity", points: by(Alerting::sensitivity) },
    ];
    let title = "PPV (blue) and sensitivity (red); event 1 is the lower one";
    Chart { title, x: "threshold of the risk", y: "share", lines, marks, square: false }
}

fn lead_curve(cohort: &Cohort) -> Points {
    let leads = leads(cohort);
    let share =
        |hours: i64| leads.iter().filter(|lead| **lead >= hours).count() as f64 / leads.len().max(1) as f64;
    (0..=48).map(|hours| (hours as f64, share(hours))).collect()
}

const COLUMNS: [&str; 9] = [
    "patients",
    "with the event",
    "utility",
    "AUROC",
    "AUPRC",
    "ECE",
    "alerts / 100 patient-days",
    "PPV",
    "sensitivity",
];

fn row(html: &mut String, name: &str, figures: &Figures) {
    let _ = write!(
        html,
        "<tr><td>{}</td><td>{}</td><td>{}</td>",
        escape(name),
        figures.patients,
        figures.septic_patients
    );
    for figure in [
        figures.utility,
        figures.auroc,
        figures.auprc,
        figures.ece,
        figures.alerts_per_100_patient_days,
        figures.ppv,
        figures.sensitivity,
    ] {
        let _ = write!(html, "<td>{}</td>", figure.map_or("–".into(), short));
    }
    html.push_str("</tr>");
}

fn heading(html: &mut String) {
    html.push_str("<table><tr><th></th>");
    COLUMNS.iter().for_each(|column| {
        let _ = write!(html, "<th>{column}</th>");
    });
    html.push_str("</tr>");
}

fn summary(html: &mut String, card: &Card) {
    heading(html);
    row(html, &format!("watch list, risk from {}", short(card.threshold.value)), &card.held_out);
    if let Some(interruptive) = &card.held_out_interruptive {
        row(
            html,
            &format!("interrupting, risk from {}", short(card.interruptive_threshold.value)),
            interruptive,
        );
    }
    match card.beside.is_empty() {
        true => row(html, "clock rule: hour 53 or later", &card.clock_rule),
        // All are judged at the same hour: the clock says nothing.
        false => card.beside.iter().for_each(|beside| row(html, &beside.name, &beside.figures)),
    }
    html.push_str("</table>");
    if card.beside.is_empty() {
        let _ = write!(html, "<p>Alerts and PPV: the model is asked {}.", asked(&card.held_out));
        if let Some((alerts, judged)) = card.held_out.alerts.zip(card.held_out.alerts_judged) {
            let _ = write!(
                html,
                " Of {alerts} alerts of the watch list {judged} come in hours that the task can judge; PPV is of these, alerts \
                 per 100 patient-days are all."
            );
        }
        html.push_str("</p>");
    }
}

/// When the alert policy was.
fn asked(figures: &Figures) -> &'static str {
    if figures.as_stream {
        "with every message and at each full hour, as at a site"
    } else {
        "at each hour's close"
    }
}

fn subgroups(html: &mut String, card: &Card) {
    html.push_str("<h2>Subgroups</h2>");
    heading(html);
    for subgroup in &card.subgroups {
        row(html, &subgroup.group, &subgroup.model);
    }
    html.push_str("</table>");
}
