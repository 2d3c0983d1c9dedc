//! `medulla hl7 …`: HL7 v2 files, read exactly as a feed reads them.

mod cat;
mod check;
mod coverage;
pub mod files;
mod get;
pub mod reader;
mod to_fhir;

use super::Verdict;

/// Look into HL7 v2 files as a feed would read them
#[derive(clap::Subcommand)]
pub enum Command {
    Cat(cat::Args),
    Get(get::Args),
    Check(check::Args),
    Coverage(coverage::Args),
    ToFhir(to_fhir::Args),
}

pub fn execute(command: &Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Cat(args) => cat::execute(args),
        Command::Get(args) => get::execute(args),
        Command::Check(args) => check::execute(args),
        Command::Coverage(args) => coverage::execute(args),
        Command::ToFhir(args) => to_fhir::execute(args),
    }
}
