//! `medulla model …`: train, adapt, score, evaluate, write features, compare with what was trained on, replay as messages,
//! the registry of models, and models in shadow.

mod adapt;
mod data;
mod drift;
mod eval;
mod features;
mod registry;
mod replay;
mod score;
mod shadow;
mod stays;
mod train;

use super::Verdict;

pub(super) use train::hand_over;

/// Train, adapt, score and evaluate models; replay their data as messages; register, retire, try in shadow, promote
#[derive(clap::Subcommand)]
pub enum Command {
    Train(train::Args),
    Adapt(adapt::Args),
    Score(score::Args),
    Eval(eval::Args),
    Features(features::Args),
    Drift(drift::Args),
    Replay(replay::Args),
    Register(registry::Register),
    List(registry::List),
    Show(registry::Show),
    Retire(registry::Retire),
    Shadow(shadow::Shadow),
    Promote(shadow::Promote),
}

pub fn execute(command: &Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Train(args) => train::execute(args),
        Command::Adapt(args) => adapt::execute(args),
        Command::Score(args) => score::execute(args),
        Command::Eval(args) => eval::execute(args),
        Command::Features(args) => features::execute(args),
        Command::Drift(args) => drift::execute(args),
        Command::Replay(args) => replay::execute(args),
        Command::Register(args) => registry::register(args),
        Command::List(args) => registry::list(args),
        Command::Show(args) => registry::show(args),
        Command::Retire(args) => registry::retire(args),
        Command::Shadow(args) => shadow::shadow(args),
        Command::Promote(args) => shadow::promote(args),
    }
}
