//! What followed from a message, for a person to read.

use std::io::{self, Write};

use actors::Trace;

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
    for score in &trace.scores {
        let risk = score.risk.map_or("insufficient data".to_owned(), |risk| format!("{risk:.4}"));
        let (at, id) = (score.at.to_rfc3339(), format!("{}|{}", score.patient.authority, score.patient.id));
        let (model, task, threshold) = (&score.model, &score.task, score.threshold);
        writeln!(out, "score   {id} {at}  {model} ({task}) {risk}, threshold {threshold}")?;
    }
    for alert in &trace.alerts {
        let (index, id, task, model, tier) = (alert.index, &alert.id, &alert.task, &alert.model, &alert.tier);
        let how = if alert.is_trigger { "raised by it" } else { "rests on it, too" };
        writeln!(
            out,
            "alert   entry {index}, {}: {task} by {model}, {tier}, {how}; {id}",
            alert.at.to_rfc3339()
        )?;
        for done in &alert.deliveries {
            let how = done.refused.as_ref().map_or("delivered".to_owned(), |why| format!("refused ({why})"));
            writeln!(out, "  to {}: {how}, {}, entry {}", done.sink, done.at.to_rfc3339(), done.index)?;
        }
        for done in &alert.acknowledged {
            writeln!(out, "  acknowledged by {}, {}, entry {}", done.by, done.at.to_rfc3339(), done.index)?;
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
