//! `medulla model …`: train, score, evaluate.

mod data;
mod eval;
mod score;
mod train;

use super::Verdict;

/// Train, score and evaluate models
#[derive(clap::Subcommand)]
pub enum Command {
    Train(train::Args),
    Score(score::Args),
    Eval(eval::Args),
}

pub fn execute(command: &Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Train(args) => train::execute(args),
        Command::Score(args) => score::execute(args),
        Command::Eval(args) => eval::execute(args),
    }
}
