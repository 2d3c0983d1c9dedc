//! `medulla keys rotate`, `backup` and `restore`: a site's key store.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use raft_ledger::{Config, MasterKey, StoppedKeys};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::{Verdict, ledger, out};
use crate::config::{MASTER_TIMEOUT_S, Place};
use crate::http::{AdminClient, ClientError, socket_path};

#[derive(clap::Args)]
pub struct At {
    /// The site's configuration
    #[arg(long, value_name = "FILE", env = "MEDULLA_CONFIG", default_value = "site.toml")]
    config: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct Rotate {
    /// Instead of the master key: begin a new key for every patient's next entry
    #[arg(long, conflicts_with_all = ["to_file", "to_env", "to_command"])]
    subjects: bool,
    /// The new master key is in this file. The site must not run, and its configuration names it afterwards
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to_env", "to_command"])]
    to_file: Option<PathBuf>,
    /// It is in this environment variable
    #[arg(long, value_name = "NAME", conflicts_with = "to_command")]
    to_env: Option<String>,
    /// This program prints it; give it last
    #[arg(long, value_name = "PROGRAM ARG", num_args = 1.., allow_hyphen_values = true)]
    to_command: Option<Vec<String>>,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args)]
pub struct Backup {
    /// Is overwritten
    file: PathBuf,
    /// It is refused once it is older; without it, `key_backup_days` of the configuration
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=90))]
    days: Option<u32>,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args)]
pub struct Restore {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    at: At,
}

pub fn rotate(args: &Rotate) -> anyhow::Result<Verdict> {
    let place = ledger::place(&args.at.config)?;
    let to = to(args);
    if to.is_some() && runs(&place) {
        return Err(anyhow!("the site runs; stop it before its master key moves to another place"));
    }
    let what = if args.subjects { "subjects" } else { "master" };
    let rotated = match ask(&place, "/api/keys/rotate", &json!({ "what": what }), to.is_none())? {
        Some(rotated) => rotated,
        None => {
            let keys = StoppedKeys::open(&ledger_of(&place))?;
            let rotated =
                if args.subjects { keys.rotate_subjects() } else { keys.rotate_master(to.as_ref()) };
            serde_json::to_value(rotated?)?
        }
    };
    let keys = rotated["keys"].as_u64().unwrap_or_default();
    let text = match (rotated["master"].as_str(), args.subjects) {
        (Some(file), _) => format!("{keys} keys are under a new master key, which is in {file}"),
        (None, false) => format!("{keys} keys are under the new master key; the site starts with no other"),
        (None, true) => format!("{keys} patients and feeds get a new key with their next entry"),
    };
    tell(args.at.json, &rotated, &text)
}

pub fn backup(args: &Backup) -> anyhow::Result<Verdict> {
    let place = ledger::place(&args.at.config)?;
    // The site has another working directory.
    let file = std::path::absolute(&args.file)?;
    let days = args.days.unwrap_or(place.key_backup_days);
    let made = match ask(&place, "/api/keys/backup", &json!({ "file": file, "days": days }), true)? {
        Some(made) => made,
        None => {
            let valid = Duration::from_secs(u64::from(days) * 24 * 3_600);
            serde_json::to_value(StoppedKeys::open(&ledger_of(&place))?.backup(&file, valid)?)?
        }
    };
    let keys = made["keys"].as_u64().unwrap_or_default();
    let text =
        format!("{}: {keys} keys, under the present master key; refused after {days} days", file.display());
    tell(args.at.json, &made, &text)
}

pub fn restore(args: &Restore) -> anyhow::Result<Verdict> {
    let place = ledger::place(&args.at.config)?;
    if runs(&place) {
        return Err(anyhow!("the site runs; stop it before its keys are restored"));
    }
    let restored = StoppedKeys::open(&ledger_of(&place))?.restore(&args.file)?;
    let text = format!(
        "{} keys that were missing are back; what was shredded since is destroyed again when the site starts",
        restored.keys
    );
    tell(args.at.json, &restored, &text)
}

fn to(args: &Rotate) -> Option<MasterKey> {
    let timeout = Duration::from_secs(MASTER_TIMEOUT_S);
    let command = args.to_command.clone().map(|argv| MasterKey::Command { argv, timeout });
    let env = args.to_env.clone().map(MasterKey::Env);
    args.to_file.clone().map(MasterKey::File).or(env).or(command)
}

/// Has the running site do it. `None`: it does not run, or shall not be asked.
fn ask(place: &Place, path: &str, body: &Value, may_run: bool) -> anyhow::Result<Option<Value>> {
    if !may_run {
        return Ok(None);
    }
    let client = AdminClient::new(&socket_path(&place.data))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(client.post(path, body)) {
        Err(ClientError::NotRunning { .. }) => {
            eprintln!("the site does not run: its key store is opened here");
            Ok(None)
        }
        answer => Ok(Some(answer?)),
    }
}

fn runs(place: &Place) -> bool {
    std::os::unix::net::UnixStream::connect(socket_path(&place.data)).is_ok()
}

/// All that the key store of a stopped site is opened with.
fn ledger_of(place: &Place) -> Config {
    Config { master: place.master.clone(), ..Config::new("", ledger_data(&place.data), &place.keys) }
}

fn ledger_data(data: &Path) -> PathBuf {
    data.join("ledger")
}

fn tell(json: bool, made: &impl Serialize, text: &str) -> anyhow::Result<Verdict> {
    let mut out = out::stdout();
    if json {
        out::json_line(&mut out, made)?;
    } else {
        writeln!(out, "{text}")?;
    }
    out.flush()?;
    Ok(Verdict::Fine)
}
