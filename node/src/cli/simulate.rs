//! `medulla simulate`: a hospital that does not exist, for trying a site and for testing one.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Usage, Verdict, out};
use crate::simulate::{CODES, Hospital, Options, Pace, Target, Truth, deliver};

/// Make the traffic of a simulated hospital: seeded, reproducible, with the truth beside it
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  medulla simulate --patients 50 --hours 24 --to mllp://127.0.0.1:2575 --truth truth.jsonl\n  \
    medulla simulate --to out.hl7 --seed 3\n  medulla simulate --to kafka://127.0.0.1:9092/adt --rate 200\n  \
    medulla simulate --to http://127.0.0.1:8080/fhir\n\nThe feed needs the simulator's code table: --codes writes it."
)]
pub struct Args {
    /// mllp://HOST:PORT, kafka://BROKERS/TOPIC, amqp://…#QUEUE, http://…/fhir, or a file
    #[arg(long, value_name = "TARGET", required_unless_present = "codes")]
    to: Option<Target>,
    /// The same seed (and end) makes the same bytes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 40)]
    patients: u32,
    /// Number of the first patient: several simulators can share a city
    #[arg(long, default_value_t = 1)]
    first_patient: u32,
    /// Simulated time before the end
    #[arg(long, default_value_t = 24)]
    hours: u32,
    /// When simulated time ends, RFC 3339; default: now
    #[arg(long, value_name = "TIME")]
    ends_at: Option<String>,
    /// Assigning authority of the patient numbers (PID-3.4)
    #[arg(long, default_value = "SIMHOSP")]
    facility: String,
    /// Share of patients that turn septic
    #[arg(long, default_value_t = 0.15)]
    septic: f64,
    /// Share of result messages that are broken
    #[arg(long, default_value_t = 0.01)]
    broken: f64,
    /// Share of messages that are sent twice
    #[arg(long, default_value_t = 0.02)]
    duplicates: f64,
    /// Share of results that are corrected
    #[arg(long, default_value_t = 0.01)]
    amendments: f64,
    /// Share of vital signs taken under a number that is merged later
    #[arg(long, default_value_t = 0.002)]
    merges: f64,
    /// Messages a second; default: as fast as they are taken
    #[arg(long, conflicts_with = "speed")]
    rate: Option<f64>,
    /// Simulated seconds in a real one
    #[arg(long)]
    speed: Option<f64>,
    /// Write what truly happened: a JSON line a patient and a message
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Write the code table that a feed needs to read the simulated devices' own codes
    #[arg(long, value_name = "FILE")]
    codes: Option<PathBuf>,
    /// Seconds to go on trying when the receiver is away
    #[arg(long, default_value_t = 120)]
    patience_s: u64,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    if let Some(path) = &args.codes {
        std::fs::write(path, CODES)?;
    }
    let Some(target) = &args.to else { return Ok(Verdict::Fine) };
    let hospital = Hospital::new(args.options()?);
    let mut truth = match &args.truth {
        Some(path) => Some(Truth::new(std::io::BufWriter::new(std::fs::File::create(path)?), &hospital)?),
        None => None,
    };
    let mut truth_error = None;
    let messages = hospital.inspect(|message| {
        if let Some(truth) = &mut truth
            && let Err(error) = truth.note(message)
        {
            truth_error.get_or_insert(error);
        }
    });
    let bar =
        ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {elapsed} {msg}")?);
    let patience = Duration::from_secs(args.patience_s);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let tally = runtime.block_on(deliver(messages, target, args.pace()?, patience, |tally| {
        bar.tick();
        bar.set_message(format!(
            "{} sent, {} accepted, {} refused",
            tally.sent, tally.accepted, tally.refused
        ));
    }))?;
    bar.finish();
    if let Some(error) = truth_error {
        return Err(error.context("the truth could not be written"));
    }
    if let Some(truth) = truth {
        truth.finish()?;
    }
    let mut out = out::stdout();
    if args.json {
        out::json_line(&mut out, &tally)?;
    } else {
        writeln!(
            out,
            "{} sent, {} accepted, {} refused, {} sent again after {} lost connections",
            tally.sent, tally.accepted, tally.refused, tally.resent, tally.reconnects
        )?;
    }
    out.flush()?;
    Ok(Verdict::Fine)
}

impl Args {
    fn options(&self) -> anyhow::Result<Options> {
        for (name, share) in [
            ("--septic", self.septic),
            ("--broken", self.broken),
            ("--duplicates", self.duplicates),
            ("--amendments", self.amendments),
            ("--merges", self.merges),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(Usage(format!("{name} is a share: give 0 to 1")).into());
            }
        }
        let ends_at = match &self.ends_at {
            Some(text) => {
                let at: jiff::Timestamp = text
                    .parse()
                    .map_err(|_| Usage("--ends-at: give a time such as 2026-01-31T12:00:00Z".into()))?;
                at.as_millisecond()
            }
            None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64,
        };
        Ok(Options {
            seed: self.seed,
            patients: self.patients,
            first_patient: self.first_patient,
            hours: self.hours.max(1),
            ends_at: clinical::Time(ends_at),
            facility: self.facility.clone(),
            septic: self.septic,
            broken: self.broken,
            duplicates: self.duplicates,
            amendments: self.amendments,
            merges: self.merges,
        })
    }

    fn pace(&self) -> anyhow::Result<Pace> {
        let positive = |number: f64| number > 0.0 && number.is_finite();
        Ok(match (self.rate, self.speed) {
            (Some(rate), _) if positive(rate) => Pace::Rate(rate),
            (None, Some(speed)) if positive(speed) => Pace::Speed(speed),
            (None, None) => Pace::AsFastAsTaken,
            _ => return Err(Usage("--rate and --speed must be greater than 0".into()).into()),
        })
    }
}
