//! The command line. Data goes to stdout, progress and logs to stderr.
//!
//! Exit codes: 0 = fine, 1 = something is wrong or refused, 2 = wrong usage.

mod alert;
mod at;
mod bench;
mod dry_run;
mod errors;
mod graph;
mod hl7;
mod judge;
mod keys;
mod ledger;
mod messages;
mod model;
mod out;
mod password;
mod patient;
mod progress;
mod reload;
mod replay;
mod run;
mod send;
mod simulate;
mod sink;
mod site;
mod tap;
mod test;
mod top;
mod validate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Hospital integration middleware: HL7 v2 and FHIR in, a shared verifiable ledger, explained alerts out.
#[derive(Parser)]
#[command(name = "medulla", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    /// Log in JSON, one object a line (stderr). MEDULLA_LOG filters, for example MEDULLA_LOG=debug
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

// One variant a command group; its module holds the arguments, the help and the work.
#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Validate(validate::Args),
    Reload(reload::Args),
    DryRun(dry_run::Args),
    Graph(graph::Args),
    Tap(tap::Args),
    Top(top::Args),
    #[command(subcommand)]
    Hl7(hl7::Command),
    #[command(subcommand)]
    Model(model::Command),
    #[command(subcommand)]
    Ledger(ledger::Command),
    #[command(subcommand)]
    Keys(keys::Command),
    Simulate(simulate::Args),
    Send(send::Args),
    #[command(subcommand)]
    Bench(bench::Command),
    Judge(judge::Args),
    Test(test::Args),
    Messages(messages::Args),
    #[command(subcommand)]
    Errors(errors::Command),
    Replay(replay::Args),
    #[command(subcommand)]
    Alert(alert::Command),
    #[command(subcommand)]
    Patient(patient::Command),
    #[command(subcommand)]
    Password(password::Command),
    #[command(subcommand)]
    Site(site::Command),
    #[command(subcommand)]
    Sink(sink::Command),
}

impl Command {
    fn execute(self) -> anyhow::Result<Verdict> {
        match self {
            Command::Run(args) => run::execute(&args),
            Command::Validate(args) => validate::execute(&args),
            Command::Reload(args) => reload::execute(&args),
            Command::DryRun(args) => dry_run::execute(&args),
            Command::Graph(args) => graph::execute(&args),
            Command::Tap(args) => tap::execute(&args),
            Command::Top(args) => top::execute(&args),
            Command::Hl7(command) => hl7::execute(&command),
            Command::Model(command) => model::execute(&command),
            Command::Ledger(command) => ledger::execute(&command),
            Command::Keys(command) => keys::execute(&command),
            Command::Simulate(args) => simulate::execute(&args),
            Command::Send(args) => send::execute(&args),
            Command::Bench(command) => bench::execute(&command),
            Command::Judge(args) => judge::execute(&args),
            Command::Test(args) => test::execute(&args),
            Command::Messages(args) => messages::execute(&args),
            Command::Errors(command) => errors::execute(&command),
            Command::Replay(args) => replay::execute(&args),
            Command::Alert(command) => alert::execute(&command),
            Command::Patient(command) => patient::execute(&command),
            Command::Password(command) => password::execute(&command),
            Command::Site(command) => site::execute(&command),
            Command::Sink(command) => sink::execute(&command),
        }
    }

    /// What is logged when MEDULLA_LOG does not say.
    fn log_filter(&self) -> &'static str {
        match self {
            Command::Run(_) => "info,openraft=warn",
            // Sites that start and stop together miss each other for a moment: not what is looked for.
            Command::Bench(_) => "error",
            // What fails has a line of its own.
            Command::DryRun(_) => "error",
            _ => "warn",
        }
    }
}

/// How a command that ran to its end went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// What was looked at is wrong; the command has said so.
    Wrong,
}

/// The command was called in a way that it cannot serve: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

pub fn main() -> ExitCode {
    let cli = Cli::parse();
    crate::logging::start(cli.log_json, cli.command.log_filter());
    crate::logging::hide_panic_messages();
    // The one TLS provider of the process; a second call would only say that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match cli.command.execute() {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Wrong) => ExitCode::from(1),
        // The reader of our output has gone (`| head`): there is nobody left to tell.
        Err(error) if out::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("medulla: {error:#}");
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}
