//! `medulla model drift`: whether data still look like those that a model was trained on.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use ml_scoring::Setting;
use ml_scoring::drift::{ALARM, Drift, Measure, Status, WARN};

use super::data::{self, Patients};
use crate::cli::{Verdict, out, progress};
use crate::models;

/// Compare data with a model's training data: values, and how often they are measured
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  medulla model drift --model models/sepsis --data cinc2019_B_dev.csv.zst --json\n\n\
    Population stability index a column, of its values and of its measurement rate: 0.1 warns, 0.25 alarms.\n\
    Exits 1 if anything alarms."
)]
pub struct Args {
    /// Folder with model.ubj or model.json, card.json and golden.json
    #[arg(long, value_name = "M")]
    model: PathBuf,
    /// PhysioNet/CinC 2019 files, .csv or .csv.zst
    #[arg(long, value_name = "F", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// Only patients that `model train -- --hold-out` leaves out
    #[arg(long)]
    held_out: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let model = models::load(&args.model)?;
    if model.card().setting == Some(Setting::EndOfHour48) {
        bail!(
            "{}: the model ({}) judges whole stays and has no baseline of hours to compare with",
            args.model.display(),
            model.card().task
        );
    }
    let baseline = model.card().drift.as_ref().with_context(|| {
        format!(
            "{}: the card has no baseline of its training data; train it with this release",
            args.model.display()
        )
    })?;
    let mut drift = Drift::new(baseline);
    let bar = progress::counter("patients compared");
    let patients = if args.held_out { Patients::HeldOut } else { Patients::All };
    data::for_each(&args.data, patients, |patient| {
        patient.for_each_hour(|_, _, features| drift.observe(&features.values));
        bar.inc(1);
    })?;
    bar.finish_and_clear();
    let findings = drift.findings();
    let mut out = out::stdout();
    for finding in &findings {
        if args.json {
            out::json_line(&mut out, finding)?;
        } else if finding.psi >= WARN {
            let loud = if finding.psi >= ALARM { "alarm" } else { "warn" };
            let measure = if finding.measure == Measure::Rate { "measurement rate" } else { "values" };
            writeln!(out, "{loud:<6}{:<18}{measure:<18}{:.3}", finding.column, finding.psi)?;
        }
    }
    out.flush()?;
    let alarms = findings.iter().any(|finding| finding.status == Status::Alarm);
    Ok(if alarms { Verdict::Wrong } else { Verdict::Fine })
}
