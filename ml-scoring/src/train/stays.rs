//! Stays of the 2012 set as rows to train on.

use std::cell::Cell;
use std::io::BufReader;

use anyhow::{Context, Result, ensure};

use super::table::{Data, Table, opened};
use super::{Options, Progress};
use crate::stays;
use crate::task::Task;

/// Stays without an outcome teach nothing and are left out, so the outcome files say who trains.
pub(super) fn read(options: &Options, features: Vec<usize>, progress: &dyn Progress) -> Result<Data> {
    ensure!(
        !options.hold_out,
        "--hold-out is of the 2019 set; give the outcomes of some stays here, those of others to `medulla model eval`"
    );
    let mut data = Data::new(Table::new(Task::Mortality, features));
    let sizes = options.files.iter().map(|path| Ok(path.metadata()?.len()));
    let total = sizes.sum::<std::io::Result<u64>>().context("a file of --data cannot be read")?;
    progress.stage("reading stays", total);
    let bytes = Cell::new(0);
    let mut files = Vec::new();
    for path in &options.files {
        data.add_file(path)?;
        let reader = opened(path, &bytes, progress).with_context(|| path.display().to_string())?;
        files.push((path.display().to_string(), BufReader::with_capacity(1 << 20, reader)));
    }
    let set = stays::open(files)?;
    ensure!(
        set.has_outcomes(),
        "no outcome file among --data: without it nobody knows who died; give cinc2012_outcomes_a.csv or its like too"
    );
    for stay in set {
        let stay = stay?;
        for (parameter, count) in &stay.set_aside {
            *data.set_aside.entry(parameter).or_default() += count;
        }
        match stay.outcome {
            Some(outcome) => data.develop.add_stay(&stay, outcome.died),
            None => data.left_out += 1,
        }
    }
    Ok(data)
}
