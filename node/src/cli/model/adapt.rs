//! `medulla model adapt`: fits a model to a new site from little local data.

use std::path::PathBuf;

use crate::cli::Verdict;

/// Fit a model to a new site from local data: added trees, calibration and thresholds
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  medulla model adapt --model models/sepsis --data local.csv.zst --out models/sepsis-here\n\n\
    The model's trees stay, with half of their weight, and others are added. Its card's figures are those of local\n\
    patients whom the added trees and the choice of the thresholds did not see. Runs the program medulla-train, as\n\
    `medulla model train` does."
)]
pub struct Args {
    /// Folder with model.ubj or model.json, card.json and golden.json
    #[arg(long, value_name = "M")]
    model: PathBuf,
    /// Files in the columns of the 2019 set, .csv or .csv.zst
    #[arg(long, value_name = "LOCAL", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// The adapted model's folder, made if missing; without it the model's own with -adapted behind its name
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Further options of medulla-train, after --
    #[arg(last = true)]
    more: Vec<String>,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let out = args.out.clone().unwrap_or_else(|| {
        let mut name = args.model.file_name().unwrap_or_default().to_owned();
        name.push("-adapted");
        args.model.with_file_name(name)
    });
    super::train::hand_over(|command| {
        command.arg("--adapt").arg(&args.model).arg("--data").args(&args.data).arg("--out").arg(&out);
        command.args(&args.more);
    })
}
