//! The program `medulla`: one site of the consortium, and the tools around it.

mod cli;
mod config;
mod logging;

fn main() -> std::process::ExitCode {
    cli::main()
}
