//! `medulla model replay`: patients of the 2019 set as messages, and whether a site knows of them what training did.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ml_scoring::dataset::{self, Known, Patient};
use serde::Serialize;

use super::data;
use crate::cli::{Usage, Verdict, out, progress};
use crate::models;
use crate::replay::{Check, Compared, Disturbances, Disturber, Standard, Telling, Unequal, plan};

/// Print patients of the data as HL7 v2 or FHIR messages with their times, or check that a site that reads them knows
/// at each hour's close what training knew
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    medulla model replay --data cinc2019_A_dev.csv.zst --patients 20 --out replayed\n  \
    medulla model replay --data cinc2019_A_dev.csv.zst --as fhir --patients 200 --check --model models/sepsis\n  \
    medulla model replay --data cinc2019_A_dev.csv.zst --disturb --seed 7 --check --model models/sepsis --json\n\n\
    Every patient comes to intensive care at 2019-01-01T00:00:00Z, hour 0. A row's values lie in its hour, [ICULOS-1, \
    ICULOS): vital signs (HR to EtCO2) at 15 minutes past, laboratory values (BaseExcess to Platelets) at 40 minutes \
    past. All 34 of them have LOINC codes. Age becomes a birth date of whole years, Gender PID-8, Unit1 and Unit2 the \
    ward (MICU, SICU, else ICU), HospAdmTime PV1-44. SepsisLabel is in no message. A site that reads them needs \
    icu_wards = [\"ICU\", \"MICU\", \"SICU\"].\n\n\
    --check reads the messages by the functions that a site reads them with (message, events, ledger entry, patient \
    state, features, scorer) and looks at each row twice: when the last message of it and of the rows before it has \
    come, and after the patient's last. Features must be equal bit for bit, probabilities within 1e-6. Exits with 1 \
    when they are not.\n\n\
    --disturb sends 10 % of the messages twice, delays 30 % by up to 3 h, and sends 20 % with wrong values first, which \
    a later message corrects (OBX-11 C, or corrected) or takes back (D, or entered-in-error).")]
pub struct Args {
    /// PhysioNet/CinC 2019 files, .csv or .csv.zst
    #[arg(long, value_name = "F", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// The messages' standard
    #[arg(long = "as", value_enum, default_value_t = Standard::Hl7)]
    standard: Standard,
    /// A folder for a file a patient (.hl7, or .ndjson with a Bundle a line), or - for standard output, which it is
    /// without --check
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Only the first so many patients of all files
    #[arg(long, value_name = "N")]
    patients: Option<u64>,
    /// Read the messages as a site does and compare with batch
    #[arg(long)]
    check: bool,
    /// With --check: compare this model's probabilities too
    #[arg(long, value_name = "M", requires = "check")]
    model: Option<PathBuf>,
    /// Send some messages twice, late and wrong at first
    #[arg(long)]
    disturb: bool,
    /// With --disturb: the same seed gives the same messages
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// One JSON object a difference, then one of the sums
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Difference<'a> {
    file: String,
    #[serde(flatten)]
    unequal: &'a Unequal,
}

#[derive(Serialize)]
struct Sums {
    standard: Standard,
    #[serde(flatten)]
    compared: Compared,
    /// Columns of the files that no message carries.
    not_carried: [&'static str; 1],
    disturbed: Option<Disturbances>,
}

/// Where messages go to.
enum Target {
    Nowhere,
    Stdout(out::Out),
    Folder(PathBuf),
}

type Messages = [(Telling, Vec<u8>)];

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let mut target = target(args)?;
    let scorer = args.model.as_deref().map(models::scorer).transpose()?;
    let check = args.check.then(|| Check::new(args.standard, scorer));
    let mut disturber = args.disturb.then(|| Disturber::new(args.seed));
    let mut compared = Compared::default();
    let mut known = Known::default();
    let bar = progress::counter("patients replayed");
    'files: for file in &args.data {
        let named = || file.display().to_string();
        for patient in dataset::read(data::open(file)?) {
            let patient = patient.with_context(named)?;
            known.admit(&named(), &patient).with_context(named)?;
            if args.patients.is_some_and(|most| bar.position() >= most) {
                break 'files;
            }
            let mut tellings = plan(&patient).with_context(named)?;
            if let Some(disturber) = &mut disturber {
                tellings = disturber.disturb(tellings);
            }
            let messages = args.standard.write_all(&patient, tellings);
            target.take(args.standard, &patient, &messages)?;
            if let Some(check) = &check {
                let line = patient.rows.first().map_or(0, |row| row.line);
                let found = check
                    .patient(&patient, &messages, &mut compared)
                    .with_context(|| format!("{}: the patient from line {line} on", file.display()))?;
                bar.suspend(|| tell(args.json, file, &found))?;
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    target.finish()?;
    if !args.check {
        return Ok(Verdict::Fine);
    }
    let sums = Sums {
        standard: args.standard,
        compared,
        not_carried: ["SepsisLabel"],
        disturbed: disturber.map(|disturber| disturber.done),
    };
    conclude(args.json, &sums)?;
    Ok(if compared.rows_unequal == 0 { Verdict::Fine } else { Verdict::Wrong })
}

fn target(args: &Args) -> anyhow::Result<Target> {
    let is_stdout = |path: &Path| path == Path::new("-");
    match &args.out {
        None if args.check => Ok(Target::Nowhere),
        Some(path) if is_stdout(path) && args.check => {
            let text = "--check prints to standard output what it found: give --out a folder";
            Err(Usage(text.into()).into())
        }
        None => Ok(Target::Stdout(out::stdout())),
        Some(path) if is_stdout(path) => Ok(Target::Stdout(out::stdout())),
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            Ok(Target::Folder(folder.clone()))
        }
    }
}

impl Target {
    fn take(&mut self, standard: Standard, patient: &Patient, messages: &Messages) -> anyhow::Result<()> {
        let write = |out: &mut dyn Write| -> std::io::Result<()> {
            for (_, bytes) in messages {
                out.write_all(bytes)?;
                if standard == Standard::Fhir {
                    out.write_all(b"\n")?;
                }
            }
            out.flush()
        };
        match self {
            Target::Nowhere => Ok(()),
            Target::Stdout(out) => Ok(write(out)?),
            Target::Folder(folder) => {
                let path = folder.join(format!("{}.{}", patient.pid, standard.extension()));
                let unwritable = || format!("cannot write {}: give a folder without it", path.display());
                // A patient whose rows do not stand together would else lose the first of them.
                let file = File::create_new(&path).with_context(unwritable)?;
                write(&mut std::io::BufWriter::new(file)).with_context(unwritable)
            }
        }
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Target::Stdout(mut out) => Ok(out.flush()?),
            Target::Nowhere | Target::Folder(_) => Ok(()),
        }
    }
}

fn tell(json: bool, file: &Path, found: &[Unequal]) -> anyhow::Result<()> {
    let mut out = out::stdout();
    for unequal in found {
        match json {
            true => out::json_line(&mut out, &Difference { file: file.display().to_string(), unequal })?,
            false => writeln!(out, "{}:{unequal}", file.display())?,
        }
    }
    Ok(out.flush()?)
}

fn conclude(json: bool, sums: &Sums) -> anyhow::Result<()> {
    let mut out = out::stdout();
    if json {
        out::json_line(&mut out, sums)?;
        return Ok(out.flush()?);
    }
    let Compared { patients, rows, messages, rows_unequal, rows_scored, largest_difference } = sums.compared;
    writeln!(out, "patients {patients}, rows {rows}, messages {messages}")?;
    if let Some(Disturbances { delayed, duplicated, corrected, withdrawn }) = sums.disturbed {
        writeln!(
            out,
            "disturbed: {delayed} delayed, {duplicated} sent twice, {corrected} wrong at first, {withdrawn} values \
             taken back"
        )?;
    }
    writeln!(out, "not carried by messages: {}", sums.not_carried.join(", "))?;
    writeln!(out, "rows with unequal features or probabilities: {rows_unequal}")?;
    match (rows_scored, largest_difference) {
        (Some(scored), Some(largest)) => {
            writeln!(out, "largest difference of probabilities: {largest:e}, of {scored} rows with one")?;
        }
        _ => writeln!(out, "probabilities were not compared: no --model")?,
    }
    Ok(out.flush()?)
}
