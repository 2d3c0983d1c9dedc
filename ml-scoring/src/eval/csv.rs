//! Every row's judgement as text, so that anybody's own script can judge the model.

use std::io::{self, Write};

use super::cohort::Cohort;

/// `pid,ICULOS,p,alarm`, every row of the input in its order, as predictor `judge` said it.
pub fn write_csv(cohort: &Cohort, judge: usize, mut out: impl Write) -> io::Result<()> {
    writeln!(out, "pid,ICULOS,p,alarm")?;
    let Some(predictions) = cohort.judged.get(judge) else { return Ok(()) };
    for person in &cohort.people {
        let rows = cohort.iculos.iter().zip(predictions);
        for (iculos, prediction) in rows.skip(person.rows.start).take(person.rows.len()) {
            writeln!(out, "{},{iculos},{},{}", person.pid, prediction.p, u8::from(prediction.alarm))?;
        }
    }
    Ok(())
}
