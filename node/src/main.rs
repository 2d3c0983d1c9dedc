//! The program `medulla`: one site of the consortium, and the tools around it.

mod api;
mod bench;
mod cli;
mod config;
mod http;
mod log;
mod logging;
mod models;
mod replay;
mod simulate;
mod site;
mod web;

/// Frees and takes back memory of the sizes that messages have without asking the system: see ARCHITECTURE.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
