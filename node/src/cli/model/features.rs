//! `medulla model features`: what a model sees of each hour, for those who train elsewhere.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use ml_scoring::dataset::Patient;
use ml_scoring::features;

use super::data::{self, Patients};
use crate::cli::{Verdict, progress};

/// Write the features of every hour (CSV), for a model that is trained elsewhere
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  medulla model features --data cinc2019_A_dev.csv.zst --out features.csv\n\n\
    Columns: pid, hour, then one for each feature by its name. hour is the row's ICULOS (which is a feature, too), so rows \
    join with those of the data. A field is empty where the feature is missing. Numbers are 32-bit floats, written so that \
    they read back to the last bit. The code is the one that trains, and that scores at a site.\n\
    How a model becomes a folder that a site loads stands in README, \"A model from Python\"."
)]
pub struct Args {
    /// Files in the columns of the PhysioNet/CinC 2019 set, .csv or .csv.zst
    #[arg(long, value_name = "F", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// Where to; it appears when all rows are written
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let part = part_of(&args.out);
    let written = write(args, &part).and_then(|rows| {
        std::fs::rename(&part, &args.out).with_context(|| format!("cannot write {}", args.out.display()))?;
        Ok(rows)
    });
    if written.is_err() {
        // It may not exist; the error above is the one to tell.
        let _ = std::fs::remove_file(&part);
    }
    let rows = written?;
    eprintln!("{}: {rows} rows of {} features", args.out.display(), features::N);
    Ok(Verdict::Fine)
}

fn part_of(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    out.with_file_name(name)
}

fn write(args: &Args, part: &Path) -> anyhow::Result<u64> {
    let unwritable = || format!("cannot write {}", part.display());
    let file = File::create(part).with_context(unwritable)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    writeln!(out, "pid,hour,{}", features::NAMES.join(",")).with_context(unwritable)?;
    let (mut rows, bar) = (0, progress::counter("patients written"));
    data::for_each(&args.data, Patients::All, |patient| {
        rows += patient.rows.len() as u64;
        bar.inc(1);
        write_patient(&mut out, patient).with_context(unwritable)
    })?;
    out.flush().with_context(unwritable)?;
    bar.finish_and_clear();
    Ok(rows)
}

fn write_patient(out: &mut impl Write, patient: &Patient) -> std::io::Result<()> {
    for (row, features) in patient.rows.iter().zip(patient.features()) {
        write!(out, "{},{}", patient.pid, row.iculos)?;
        for value in features.values {
            match value.is_nan() {
                true => out.write_all(b",")?,
                false => write!(out, ",{value}")?,
            }
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ml_scoring::dataset::Row;

    #[test]
    fn a_row_reads_back_to_what_a_model_is_given() {
        let row = |iculos, pulse| {
            let mut row = Row { values: Row::EMPTY, iculos, label: false, line: 0 };
            row.values[0] = pulse;
            row
        };
        let patient = Patient {
            pid: "p1".into(),
            age: 50.0,
            hosp_adm_time: -1.0 / 3.0,
            rows: vec![row(3, 90.1), row(4, f64::NAN), row(6, 101.7)],
            ..Patient::default()
        };
        let mut out = Vec::new();
        write_patient(&mut out, &patient).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(
            lines.iter().map(|line| line[..2].join(",")).collect::<Vec<_>>(),
            ["p1,3", "p1,4", "p1,6"]
        );
        for (line, features) in lines.iter().zip(patient.features()) {
            assert_eq!(line.len(), 2 + features::N);
            for (text, value) in line[2..].iter().zip(features.values) {
                let read = if text.is_empty() { f32::NAN } else { text.parse::<f32>().unwrap() };
                assert!(
                    read.to_bits() == value.to_bits() || (read.is_nan() && value.is_nan()),
                    "{text} {value}"
                );
            }
        }
    }
}
