//! `medulla validate`: every mistake of a configuration file, before a site starts with it.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Verdict, out};
use crate::config::{self, Config};

/// Check a site's configuration file: names file, line and field of each mistake
#[derive(clap::Args)]
#[command(after_help = "Example:\n  medulla validate --config site.toml --json\n\n\
    Exits with 1 when there is a mistake. `medulla run` makes the same checks.")]
pub struct Args {
    /// The site's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// One JSON object a finding: {"file","line","field","code","text"}
    #[arg(long)]
    json: bool,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let findings = match config::load(&args.config) {
        Ok(config) => {
            let (feeds, sinks) = (config.feeds.len(), config.sinks.len());
            eprintln!(
                "{}: site {}, {feeds} feeds, {sinks} sinks: fine",
                args.config.display(),
                config.site.name
            );
            return Ok(Verdict::Fine);
        }
        Err(findings) => findings,
    };
    let mut out = out::stdout();
    for finding in &findings {
        if args.json {
            out::json_line(&mut out, finding)?;
        } else {
            writeln!(out, "{finding}")?;
        }
    }
    out.flush()?;
    Ok(Verdict::Wrong)
}

/// The same checks for commands that go on with the configuration; mistakes are told on stderr.
pub fn load_or_tell(file: &Path) -> anyhow::Result<Option<Config>> {
    match config::load(file) {
        Ok(config) => Ok(Some(config)),
        Err(findings) => {
            let mut errors = std::io::stderr().lock();
            findings.iter().try_for_each(|finding| writeln!(errors, "{finding}"))?;
            Ok(None)
        }
    }
}
