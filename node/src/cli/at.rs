//! Which running site a command asks, and for whom it prints.

use std::path::PathBuf;

#[derive(clap::Args)]
pub struct At {
    /// The configuration of a running site
    #[arg(long, value_name = "FILE", env = "MEDULLA_CONFIG", default_value = "site.toml")]
    pub(super) config: PathBuf,
    /// JSON, one object a line
    #[arg(long)]
    pub(super) json: bool,
}
