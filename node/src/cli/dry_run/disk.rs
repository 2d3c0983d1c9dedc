//! Folders, room, keys, models and code tables.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clinical::CodeTable;
use raft_ledger::Rehearsal;

use super::Check;
use crate::config::Config;
use crate::models;
use crate::site::ledger_config;

pub fn checks(config: &Config) -> Vec<Check> {
    let ledger = ledger_config(config);
    let (data, for_space) = (config.site.data.clone(), ledger.clone());
    let mut checks = vec![
        Check::blocking("data folder", move || data_folder(&data, &Rehearsal::new(for_space)?)),
        Check::blocking("master key", move || {
            Rehearsal::new(ledger)?.master_key()?;
            Ok("read".into())
        }),
    ];
    if let Some(folder) = config.ledger.retention.dir.clone() {
        checks.push(Check::blocking("cold files", move || {
            writable(&folder)?;
            Ok(format!("{} can be written", folder.display()))
        }));
    }
    let of_feeds = config.feeds.iter().filter_map(|feed| Some((&feed.name, feed.codes.clone()?)));
    checks.extend(
        of_feeds.map(|(feed, file)| Check::blocking(format!("codes of feed {feed}"), move || codes(&file))),
    );
    let scoring = &config.scoring;
    let folders = scoring.models.iter().map(|folder| ("model", folder));
    for (what, folder) in folders.chain(scoring.shadow_models.iter().map(|folder| ("shadow model", folder))) {
        let (name, folder) = (model_name(folder), folder.clone());
        checks.push(Check::blocking(format!("{what} {name}"), move || {
            let scorer = models::scorer(&folder)?;
            Ok(format!("reads, and gives its golden rows; hash {}", hex::encode(&scorer.hash()[..6])))
        }));
    }
    checks
}

fn model_name(folder: &Path) -> String {
    folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned()
}

fn data_folder(data: &Path, rehearsal: &Rehearsal) -> anyhow::Result<String> {
    let existing = data.ancestors().find(|path| path.exists()).map(Path::to_path_buf);
    // A relative path's last ancestor is the empty one: the folder that one stands in.
    let existing = existing.filter(|path| !path.as_os_str().is_empty()).unwrap_or(PathBuf::from("."));
    writable(&existing)?;
    let (free, reserve) = rehearsal.space(&existing)?;
    let mib = |bytes: u64| bytes >> 20;
    if free < reserve {
        bail!(
            "{}: {} MiB are free and {} MiB must stay so, or feeds are refused; make room",
            existing.display(),
            mib(free),
            mib(reserve)
        );
    }
    let made = if existing == data { "can be written" } else { "is made at the start" };
    Ok(format!("{} {made}; {} MiB are free", data.display(), mib(free)))
}

/// A file is made and removed again.
pub fn writable(folder: &Path) -> anyhow::Result<()> {
    let probe = folder.join(format!(".medulla-dry-run-{}", std::process::id()));
    std::fs::write(&probe, b"")
        .with_context(|| format!("cannot write in {}; give its user the right", folder.display()))?;
    std::fs::remove_file(&probe).with_context(|| format!("cannot remove {}", probe.display()))
}

fn codes(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let table = CodeTable::parse(&text);
    if let Err(errors) = table {
        bail!("{}: {} lines are wrong; `medulla validate` names them", file.display(), errors.len());
    }
    Ok(format!("{}: {} lines", file.display(), text.lines().count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_written_is_named_and_nothing_stays_in_one_that_can() {
        let folder = tempfile::tempdir().unwrap();
        writable(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let missing = folder.path().join("missing");
        let error = format!("{:#}", writable(&missing).unwrap_err());
        assert!(error.contains("missing") && error.contains("give its user the right"), "{error}");
    }
}
