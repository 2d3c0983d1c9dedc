//! `medulla model score`: every row's probability, so that anybody's own script can judge the model.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use ml_scoring::eval::{StayModel, write_csv};
use ml_scoring::{Scorer, Task};

use super::data::{self, Asked, Patients};
use super::stays::{self, Stays};
use crate::cli::{Verdict, out, progress};
use crate::models;

/// Print pid,ICULOS,p,alarm for every row of the data (CSV)
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  medulla model score --model models/sepsis --data cinc2019_A_dev.csv.zst > scores.csv\n\n\
    p is the model's word on every row, so that rows can be ranked. A site does not speak where too little was measured \
    lately (insufficient data) or the patient is too young for the model: there alarm is 0, although p may be above the \
    threshold."
)]
pub struct Args {
    /// Folder with model.ubj or model.json, card.json and golden.json
    #[arg(long, value_name = "M")]
    model: PathBuf,
    /// PhysioNet/CinC 2019 files, .csv or .csv.zst; of a model of mortality the 2012 set's long file, a row a stay
    #[arg(long, value_name = "F", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let model = models::load(&args.model)?;
    let named = || args.model.display().to_string();
    let bar = progress::counter("patients scored");
    // Rows are written whatever the task can judge of them, so that a task of somebody's own is no obstacle.
    let cohort = match model.card().task.parse::<Task>().unwrap_or_default() {
        Task::Mortality => {
            let model = StayModel::new(model).with_context(named)?;
            stays::judge_files(&args.data, Stays::All, &[&model], &bar)?
        }
        task => {
            let scorer = Scorer::model(model).with_context(named)?;
            data::judge_files(&args.data, task, Patients::All, &[&scorer], Asked::Rows, &bar)?.cohort
        }
    };
    bar.finish_and_clear();
    let mut out = out::stdout();
    write_csv(&cohort, 0, &mut out)?;
    out.flush()?;
    Ok(Verdict::Fine)
}
