//! `medulla model train`: hands over to the sibling program that links libxgboost.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::anyhow;

use crate::cli::Verdict;

const PROGRAM: &str = "medulla-train";

/// Train a model: model, card and golden rows in a folder
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  medulla model train --task sepsis --data cinc2019_A_dev.csv.zst \
    cinc2019_B_dev.csv.zst --out models/sepsis\n  \
    medulla model train --task mortality --data cinc2012_ab_long.csv.zst cinc2012_outcomes_a.csv --out models/mortality\n\n\
    Stays without an outcome in the files given are left out of training.\n\
    Runs the program medulla-train, found beside medulla or in PATH: training alone needs libxgboost.")]
pub struct Args {
    /// What to predict: sepsis, aki, hypotension, mortality
    #[arg(long, value_name = "T")]
    task: String,
    /// PhysioNet/CinC 2019 files, .csv or .csv.zst; for mortality the 2012 set's long file and its outcome files
    #[arg(long, value_name = "F", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// The model's folder, made if missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Further options of medulla-train, after --
    #[arg(last = true)]
    more: Vec<String>,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    hand_over(|command| {
        command.arg("--task").arg(&args.task).arg("--data").args(&args.data).arg("--out").arg(&args.out);
        command.args(&args.more);
    })
}

/// Becomes medulla-train with the arguments that `fill` adds.
pub(in crate::cli) fn hand_over(fill: impl FnOnce(&mut Command)) -> anyhow::Result<Verdict> {
    let program = find().ok_or_else(|| {
        anyhow!(
            "{PROGRAM} is neither beside medulla nor in PATH; build it with \
             `cargo build -p ml-scoring --features train --bin {PROGRAM}`"
        )
    })?;
    let mut command = Command::new(&program);
    fill(&mut command);
    // Only comes back when it could not start.
    let error = command.exec();
    Err(anyhow!("cannot start {}: {error}", program.display()))
}

fn find() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(PROGRAM)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join(PROGRAM));
    beside.into_iter().chain(in_path).find(|candidate| candidate.is_file())
}
