//! A site's ledger from a backup.
//!
//! A site of the same consortium starts from it and learns the rest: from its own raft log, or from its peers. A new
//! consortium goes on from it under an origin of its own: leaves, size and root continue, and the former consortium
//! may have signed more than the backup holds, which nobody must sign otherwise under its name.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Watch;
use super::files::{Store, copy_in, io};
use super::manifest::Manifest;
use crate::LedgerError;
use crate::apply::{are_former, check_admissions};
use crate::cold::Cold;
use crate::config::Config;
use crate::export::Progress;
use crate::founding::founders;
use crate::keys::SiteKeys;
use crate::raft::{LogId, Membership, StoredMembership, log_id};
use crate::rules::{APPLY_VERSION, Rules};
use crate::store::LogStore;
use crate::store::applied::{Applied, applied_key, encode, load_applied};
use crate::store::db::WriteBatch;
use crate::store::files as disk;
use crate::store::generation::{Family, Generation};
use crate::store::recompute::{Payloads, check_whole};
use crate::store::set_aside::{FIRST_GENERATION, set_aside};

/// What was made of a backup.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    /// The site that made the backup.
    pub made_by: String,
    /// Unix time at which it did.
    pub made_ms: u64,
    /// Leaves.
    pub size: u64,
    /// RFC 6962 root over them, lowercase hex.
    pub root: String,
    pub bytes: u64,
    /// The ledger goes on under this origin: the backup's, or that of the new consortium.
    pub origin: String,
    /// What of this site's own is there beside it.
    pub has_raft_log: bool,
}

/// Makes the ledger of the site that `config` describes from the backup in `folder`. The site must not run. Blocks.
///
/// # Errors
/// Nothing is changed then, except that cold files of the backup may be there already: a backup that is not whole, keys
/// of another consortium without `new_consortium`, a site that has a ledger, a raft log that begins after the backup,
/// rules of apply that this release does not know.
pub fn restore(
    folder: &Path,
    config: &Config,
    new_consortium: bool,
    watch: Watch<'_>,
) -> Result<Restored, LedgerError> {
    restore_as(folder, config, APPLY_VERSION, new_consortium, watch)
}

/// As a release that knows the rules of apply up to `known`.
pub(crate) fn restore_as(
    folder: &Path,
    config: &Config,
    known: u32,
    new_consortium: bool,
    watch: Watch<'_>,
) -> Result<Restored, LedgerError> {
    let keys = SiteKeys::load(&config.keys)?;
    let members = founders(config, &keys)?;
    let manifest = Manifest::read(folder)?.ok_or_else(|| {
        LedgerError::Config(format!("{} holds no backup: manifest.txt is missing", folder.display()))
    })?;
    check_origin(&manifest, &keys, new_consortium)?;
    Rules::up_to(known).are(manifest.apply_version)?;
    let has_raft_log = check_target(config, &manifest, new_consortium)?;
    let coming = config.data.join("ledgerdb.restoring");
    if coming.exists() {
        fs::remove_dir_all(&coming).map_err(|e| io(&coming, e))?;
    }
    let generation = coming.join(FIRST_GENERATION);
    fs::create_dir_all(&generation).map_err(|e| io(&generation, e))?;
    let cold = Cold::open(config.cold_dir.as_deref(), &config.data);
    let bytes = copy(folder, &manifest, &generation, &cold, watch)?;
    let payloads = Payloads::All(cold);
    let applied = check_whole(&generation, payloads, &mut |progress| watch("leaves checked", progress))?;
    check_applied(folder, &manifest, &applied)?;
    if new_consortium {
        let voters = members.keys().copied().collect();
        let membership = Membership::new(vec![voters], members);
        let membership = membership.map_err(|e| LedgerError::Consensus(e.to_string()))?;
        found(&generation, applied, membership)?;
    }
    check_admissions(&Generation::open_read_only(&generation)?, &keys.ring)?;
    put_in_place(&config.data, &coming)?;
    Ok(Restored {
        made_by: manifest.site,
        made_ms: manifest.made_ms,
        size: manifest.size,
        root: hex::encode(manifest.root),
        bytes,
        origin: keys.origin().to_owned(),
        has_raft_log,
    })
}

fn check_origin(manifest: &Manifest, keys: &SiteKeys, new_consortium: bool) -> Result<(), LedgerError> {
    let same = manifest.origin == keys.origin();
    if manifest.group_id != keys.group_id() {
        return Err(LedgerError::Config(format!(
            "the backup is of group {}, the keys of group {}",
            manifest.group_id,
            keys.group_id()
        )));
    }
    match (same, new_consortium) {
        (true, true) => Err(LedgerError::Config(format!(
            "a new consortium needs an origin of its own, and these keys are those of the backup's ({}): under one \
             origin nobody may sign two histories; make keys with `medulla keys init --continue`",
            manifest.origin
        ))),
        (false, false) => Err(LedgerError::Config(format!(
            "the backup is of the consortium {}, the keys are of {}; take the site's own keys, or let a new \
             consortium go on from this backup with --new-consortium",
            manifest.origin,
            keys.origin()
        ))),
        _ => Ok(()),
    }
}

/// Whether the restored ledger would belong to what else is in the data folder; true if a raft log is there.
fn check_target(config: &Config, manifest: &Manifest, new_consortium: bool) -> Result<bool, LedgerError> {
    let data = &config.data;
    fs::create_dir_all(data).map_err(|e| io(data, e))?;
    let has = |name: &str| data.join(name).exists();
    let refuse = |text: String| Err(LedgerError::Config(text));
    let shown = data.display();
    if new_consortium && (has("raftdb") || has("sitedb") || has("ledgerdb")) {
        return refuse(format!(
            "{shown} holds the databases of a site; a new consortium begins in an empty folder"
        ));
    }
    if has("ledgerdb") && is_usable(&data.join("ledgerdb")) {
        return refuse(format!(
            "{shown} holds a ledger that can be opened; stop the site and move `ledgerdb` away if it is to be replaced"
        ));
    }
    if !has("raftdb") {
        if config.peers.is_empty() && !new_consortium {
            return refuse(format!(
                "a site alone has no peers to learn from what came after the backup, and {shown} holds no raft log: \
                 make keys with `medulla keys init --continue` and restore with --new-consortium"
            ));
        }
        return Ok(false);
    }
    let log = LogStore::open(&data.join("raftdb"))?;
    let (_, applied) = manifest.applied;
    match log.purged() {
        Some(purged) if purged.index > applied => refuse(format!(
            "the raft log of this site begins after what the backup holds (entry {}, the backup ends at {applied}): \
             take a newer backup, or let the site heal from its peers, or join again as a new node",
            purged.index + 1
        )),
        _ => Ok(true),
    }
}

/// Whether a site would start with it.
fn is_usable(ledgerdb: &Path) -> bool {
    let Ok(name) = disk::read_text(&ledgerdb.join("CURRENT")) else { return false };
    let marked = ledgerdb.join("DAMAGED").exists();
    !marked && Generation::open_read_only(&ledgerdb.join(name.trim())).is_ok()
}

fn copy(
    folder: &Path,
    manifest: &Manifest,
    generation: &Path,
    cold: &Cold,
    watch: Watch<'_>,
) -> Result<u64, LedgerError> {
    let (store, mut done) = (Store::of(folder), 0);
    let total = manifest.files.iter().map(|file| file.bytes).sum();
    for file in &manifest.files {
        let copied = match file.cold_name() {
            Some(name) => cold.bring(name, file, |to| copy_in(&store.path(file), to, file)),
            None => copy_in(&store.path(file), &generation.join(&file.name), file),
        };
        copied.map_err(|error| match error {
            LedgerError::Damaged(text) => LedgerError::Damaged(format!(
                "{text}; this backup cannot be restored, take another copy or an earlier one"
            )),
            other => other,
        })?;
        done += file.bytes;
        watch("bytes", Progress { done, total });
    }
    Ok(done)
}

fn check_applied(folder: &Path, manifest: &Manifest, applied: &Applied) -> Result<(), LedgerError> {
    let last = applied.last.map(|last| (last.leader_id.term, last.index)).unwrap_or_default();
    let holds = (applied.size, applied.root, last, applied.apply_version);
    if holds == (manifest.size, manifest.root, manifest.applied, manifest.apply_version) {
        return Ok(());
    }
    Err(LedgerError::Damaged(format!(
        "the backup in {} holds another ledger than its manifest says; take another copy or an earlier one",
        folder.display()
    )))
}

/// The consortium's first entry, as `initialize` would write it, with the old leaves before it: every founding site
/// that is restored from one backup begins with the same. Later than the entry of a consortium without leaves, so that
/// a site that begins empty by mistake wins no vote of a restored one.
fn found(generation: &Path, applied: Applied, membership: Membership) -> Result<(), LedgerError> {
    let first: LogId = log_id(0, applied.last.map_or(0, |last| last.index).max(1));
    let membership = StoredMembership::new(Some(first), membership);
    let applied = Applied { last: Some(first), membership, ..applied };
    let db = Generation::open(generation)?;
    let mut batch = WriteBatch::default();
    db.put(&mut batch, Family::Meta, &applied_key(), &encode(&applied)?)?;
    are_former(&db, &mut batch)?;
    db.write(batch)?;
    db.flush()?;
    let kept = load_applied(&db)?;
    if kept.last != Some(first) {
        return Err(LedgerError::Storage("the new consortium's first entry was not kept".into()));
    }
    Ok(())
}

fn put_in_place(data: &Path, coming: &Path) -> Result<(), LedgerError> {
    disk::replace_text(coming, "CURRENT", &format!("{FIRST_GENERATION}\n")).map_err(|e| io(coming, e))?;
    disk::sync_dir(&coming.join(FIRST_GENERATION)).map_err(|e| io(coming, e))?;
    let ledgerdb: PathBuf = data.join("ledgerdb");
    if ledgerdb.exists() {
        set_aside(data, &ledgerdb)?;
    }
    fs::rename(coming, &ledgerdb).map_err(|e| io(&ledgerdb, e))?;
    disk::sync_dir(data).map_err(|e| io(data, e))
}
