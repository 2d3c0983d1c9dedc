//! `medulla graph`: a configuration as a picture.

mod plan;
mod svg;
mod text;

use std::io::Write;
use std::path::PathBuf;

use self::plan::Plan;
use super::{Verdict, out, validate};

/// Show a configuration as a picture: feeds, how they are read, ledger, scorers, sinks
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  medulla graph --config site.toml\n  \
    medulla graph --config site.toml --svg > site.svg\n  medulla graph --config site.toml --mermaid\n\n\
    Needs no running site. Secrets are not in it: of a URL only its host is shown.")]
pub struct Args {
    /// The site's configuration
    #[arg(long, value_name = "FILE", env = "MEDULLA_CONFIG", default_value = "site.toml")]
    config: PathBuf,
    /// A picture for browsers and documents
    #[arg(long, conflicts_with_all = ["mermaid", "json"])]
    svg: bool,
    /// A flowchart in Mermaid's language
    #[arg(long, conflicts_with = "json")]
    mermaid: bool,
    /// One JSON object: {"site","nodes","edges"}
    #[arg(long)]
    json: bool,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let Some(config) = validate::load_or_tell(&args.config)? else { return Ok(Verdict::Wrong) };
    let plan = Plan::of(&config);
    let mut out = out::stdout();
    match args {
        Args { svg: true, .. } => out.write_all(svg::draw(&plan).as_bytes())?,
        Args { mermaid: true, .. } => out.write_all(text::mermaid(&plan).as_bytes())?,
        Args { json: true, .. } => out::json_line(&mut out, &plan)?,
        _ => out.write_all(text::tree(&plan).as_bytes())?,
    }
    out.flush()?;
    Ok(Verdict::Fine)
}
