//! `medulla ledger backup` and `restore`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::anyhow;
use indicatif::ProgressBar;
use raft_ledger::Progress;
use serde_json::{Value, json};

use super::ask::ask;
use super::{At, connect, place};
use crate::cli::{Verdict, out, progress, validate};
use crate::http::ClientError;
use crate::site::ledger_config;

#[derive(clap::Args)]
pub struct Backup {
    /// New, empty, or holding an earlier backup of this ledger
    folder: PathBuf,
    #[command(flatten)]
    at: At,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct Restore {
    /// The backup
    folder: PathBuf,
    /// The configuration of the site that gets it
    #[arg(long, value_name = "FILE", env = "MEDULLA_CONFIG")]
    config: PathBuf,
    /// Begin a new consortium, under its own keys, with what the backup holds
    #[arg(long)]
    new_consortium: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn backup(args: &Backup) -> anyhow::Result<Verdict> {
    // The site has another working directory.
    let folder = std::path::absolute(&args.folder)?;
    let (client, runtime) = connect(&args.at)?;
    let body = json!({ "folder": folder });
    let shown = "the site checks its ledger and writes a backup";
    let made: Value = match runtime.block_on(ask(&client, "backup", &body, shown)) {
        Err(ClientError::NotRunning { .. }) => {
            eprintln!("the site does not run: backing up what it had flushed when it stopped");
            let place = place(&args.at.config)?;
            let shown = Shown::default();
            let data = place.data.join("ledger");
            let made = raft_ledger::backup_stopped(
                &data,
                &place.keys,
                place.cold.as_deref(),
                &folder,
                &mut |what, at| shown.show(what, at),
            );
            serde_json::to_value(made?)?
        }
        other => other?,
    };
    let mut out = out::stdout();
    if args.json {
        out::json_line(&mut out, &made)?;
    } else {
        let number = |name: &str| made[name].as_u64().unwrap_or_default();
        writeln!(
            out,
            "{}: {} leaves, root {}; {} files, {} bytes copied, {} bytes reused",
            folder.display(),
            number("size"),
            made["root"].as_str().unwrap_or_default(),
            number("files"),
            number("bytes_copied"),
            number("bytes_reused")
        )?;
    }
    out.flush()?;
    Ok(Verdict::Fine)
}

pub fn restore(args: &Restore) -> anyhow::Result<Verdict> {
    let Some(config) = validate::load_or_tell(&args.config)? else { return Ok(Verdict::Wrong) };
    let socket = crate::http::socket_path(&config.site.data);
    if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
        return Err(anyhow!("the site runs; stop it before its ledger is restored"));
    }
    let shown = Shown::default();
    let watch = &mut |what, at| shown.show(what, at);
    let made = raft_ledger::restore(&args.folder, &ledger_config(&config), args.new_consortium, watch)?;
    shown.end();
    let mut out = out::stdout();
    if args.json {
        out::json_line(&mut out, &made)?;
    } else {
        writeln!(
            out,
            "{} leaves, root {}, backed up by site {} at {} ms since 1970; the ledger goes on as {}",
            made.size, made.root, made.made_by, made.made_ms, made.origin
        )?;
    }
    out.flush()?;
    eprintln!("{}", next_step(args.new_consortium, config.ledger.initialise, made.has_raft_log));
    Ok(Verdict::Fine)
}

fn next_step(new_consortium: bool, initialises: bool, has_raft_log: bool) -> &'static str {
    match (new_consortium, has_raft_log) {
        (true, _) if !initialises => {
            "next: restore at the site that says `initialise = true`, too, before any site starts: it would begin an \
             empty ledger"
        }
        (true, _) => {
            "next: restore or leave empty the other founding sites, then start them all; never start the lost \
             consortium again"
        }
        (false, true) => "next: start the site; its raft log brings what came after the backup",
        (false, false) => {
            "next: start the site. If its raft log was lost, its peers refuse it as the old node and say how it joins \
             as a new one"
        }
    }
}

/// One bar for each thing that is done.
#[derive(Default)]
struct Shown(std::cell::RefCell<Option<(&'static str, ProgressBar)>>);

impl Shown {
    fn show(&self, what: &'static str, Progress { done, .. }: Progress) {
        let mut shown = self.0.borrow_mut();
        if shown.as_ref().is_none_or(|(known, _)| *known != what) {
            if let Some((_, bar)) = shown.take() {
                bar.finish_and_clear();
            }
            *shown = Some((what, progress::counter(what)));
        }
        if let Some((_, bar)) = &*shown {
            bar.set_position(done);
        }
    }

    fn end(&self) {
        if let Some((_, bar)) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}
