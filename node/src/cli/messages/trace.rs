//! What followed from a message, for a person to read.

use std::io::{self, Write};

use clinical::Time;
use serde::Deserialize;

#[derive(Deserialize)]
pub struct Trace {
    index: u64,
    as_of: u64,
    first: Option<u64>,
    became: Vec<u64>,
    acts: Vec<u64>,
    scores: Vec<Scored>,
    alerts: Vec<Alerted>,
    left_out: usize,
}

#[derive(Deserialize)]
struct Scored {
    patient: clinical::PatientId,
    at: Time,
    model: String,
    task: String,
    risk: Option<f64>,
    threshold: f64,
}

#[derive(Deserialize)]
struct Alerted {
    index: u64,
    id: String,
    task: String,
    model: String,
    tier: String,
    at: Time,
    is_trigger: bool,
    deliveries: Vec<Delivery>,
    acknowledged: Vec<Answered>,
}

#[derive(Deserialize)]
struct Delivery {
    index: u64,
    sink: String,
    at: Time,
    refused: Option<String>,
}

#[derive(Deserialize)]
struct Answered {
    index: u64,
    by: String,
    at: Time,
}

pub fn show(out: &mut impl Write, trace: &Trace) -> io::Result<()> {
    writeln!(out, "entry {}, traced as of size {}", trace.index, trace.as_of)?;
    if let Some(first) = trace.first {
        writeln!(out, "a later reading of entry {first}")?;
    }
    for (what, indices) in [("read again as", &trace.became), ("what was done with it", &trace.acts)] {
        if !indices.is_empty() {
            let indices: Vec<String> = indices.iter().map(u64::to_string).collect();
            writeln!(out, "{what}: {}", indices.join(", "))?;
        }
    }
    for Scored { patient, at, model, task, risk, threshold } in &trace.scores {
        let risk = risk.map_or("insufficient data".to_owned(), |risk| format!("{risk:.4}"));
        let (at, id) = (at.to_rfc3339(), format!("{}|{}", patient.authority, patient.id));
        writeln!(out, "score   {id} {at}  {model} ({task}) {risk}, threshold {threshold}")?;
    }
    for alert in &trace.alerts {
        let Alerted { index, id, task, model, tier, .. } = alert;
        let how = if alert.is_trigger { "raised by it" } else { "rests on it, too" };
        writeln!(
            out,
            "alert   entry {index}, {}: {task} by {model}, {tier}, {how}; {id}",
            alert.at.to_rfc3339()
        )?;
        for Delivery { index, sink, at, refused } in &alert.deliveries {
            let how = refused.as_ref().map_or("delivered".to_owned(), |why| format!("refused ({why})"));
            writeln!(out, "  to {sink}: {how}, {}, entry {index}", at.to_rfc3339())?;
        }
        for Answered { index, by, at } in &alert.acknowledged {
            writeln!(out, "  acknowledged by {by}, {}, entry {index}", at.to_rfc3339())?;
        }
    }
    if trace.alerts.is_empty() {
        writeln!(out, "no alert rests on it")?;
    }
    if trace.left_out > 0 {
        writeln!(out, "{} patients or later alerts were too many to look into", trace.left_out)?;
    }
    Ok(())
}
