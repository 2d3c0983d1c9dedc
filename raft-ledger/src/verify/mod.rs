//! Judging an export: everything is recomputed, nothing is believed but the public keys.

mod audit;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::checkpoint::Checkpoint;
use crate::export::{ADMISSIONS, CHECKPOINT, ENTRIES, FileLine, KEYS, MANIFEST, Manifest, Progress};
use crate::keys::VerifierKeys;
use crate::record::{Hash, sha256};
use crate::types::LedgerError;

pub(crate) use self::audit::Auditor;

/// More findings than this are counted, not kept.
const MAX_FINDINGS: usize = 100;
/// Manifest, checkpoint and keys are small; a larger one is not read.
const MAX_SMALL_FILE_BYTES: u64 = 64 << 20;

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub ok: bool,
    /// Leaves whose root was recomputed.
    pub size: u64,
    /// RFC 6962 root over them, lowercase hex.
    pub root: String,
    pub batches: u64,
    /// Leaves whose sealed payload was not there to check.
    pub payloads_absent: u64,
    /// Whether it was judged by keys from elsewhere; `false`: by those in the export itself, which shows that
    /// it is whole, not who made it.
    pub keys_brought: bool,
    pub findings: Vec<Finding>,
    /// Findings beyond those listed.
    pub more_findings: u64,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Path within the export; empty for a site's own store.
    pub file: String,
    /// Byte in the file at which the damaged part begins.
    pub offset: Option<u64>,
    /// Leaf index, where one can be told.
    pub index: Option<u64>,
    pub text: String,
}

impl Report {
    pub(crate) fn add(
        &mut self,
        file: &str,
        offset: Option<u64>,
        index: Option<u64>,
        text: impl Into<String>,
    ) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding { file: file.to_owned(), offset, index, text: text.into() });
        } else {
            self.more_findings += 1;
        }
    }

    /// Closes the report over what `auditor` has seen.
    pub(crate) fn finish(mut self, auditor: &Auditor) -> Report {
        self.size = auditor.size();
        self.root = hex::encode(auditor.root());
        self.batches = auditor.batches();
        self.payloads_absent = auditor.payloads_absent();
        self.ok = self.findings.is_empty();
        self
    }
}

/// Verifies the export in `dir`, by `keys` or, without, by the keys in the export itself.
/// What is wrong with the export is a finding; an error is that it could not be read at all.
pub fn verify_export(
    dir: &Path,
    keys: Option<&VerifierKeys>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, LedgerError> {
    let mut report = Report { keys_brought: keys.is_some(), ..Report::default() };
    let manifest = read_manifest(dir, &mut report)?;
    let own = read_keys(dir, &mut report)?;
    let present = files_in(dir)?;
    let mut admitting = keys.or(own.as_ref()).cloned();
    if let Some(keys) = &mut admitting
        && present.contains(ADMISSIONS)
    {
        admit(&read_small(dir, ADMISSIONS)?, keys, &mut report);
    }
    let keys = admitting.as_ref();
    if let Some(manifest) = &manifest {
        compare_names(manifest, &present, &mut report);
    }
    let listed = |name: &str| manifest.as_ref().and_then(|m| m.files.iter().find(|f| f.name == name));
    let total = manifest.as_ref().map_or(0, |m| m.size);

    let mut auditor = Auditor::new(keys, manifest.as_ref().map(|m| m.group_id));
    for name in present.iter().filter(|name| name.starts_with(ENTRIES)) {
        let found = read::bundle(dir, name, &mut auditor, &mut report, total, progress)?;
        compare_hash(listed(name), name, &found, &mut report);
    }
    for name in [KEYS, ADMISSIONS, CHECKPOINT].into_iter().filter(|name| present.contains(*name)) {
        let bytes = read_small(dir, name)?;
        compare_hash(listed(name), name, &(sha256(&[&bytes]), bytes.len() as u64), &mut report);
    }
    check_checkpoint(dir, keys, manifest.as_ref(), &auditor, &mut report)?;
    Ok(report.finish(&auditor))
}

fn read_manifest(dir: &Path, report: &mut Report) -> Result<Option<Manifest>, LedgerError> {
    if !dir.join(MANIFEST).exists() {
        report.add(MANIFEST, None, None, "is missing: the export was interrupted or is not one");
        return Ok(None);
    }
    let bytes = read_small(dir, MANIFEST)?;
    let manifest = std::str::from_utf8(&bytes).ok().and_then(Manifest::decode);
    if manifest.is_none() {
        report.add(MANIFEST, Some(0), None, "was changed: it does not match the hash in its last line");
    }
    Ok(manifest)
}

fn read_keys(dir: &Path, report: &mut Report) -> Result<Option<VerifierKeys>, LedgerError> {
    if !dir.join(KEYS).exists() {
        report.add(KEYS, None, None, "is missing");
        return Ok(None);
    }
    let bytes = read_small(dir, KEYS)?;
    let parsed = std::str::from_utf8(&bytes).map_err(|_| "not text".to_owned());
    match parsed.and_then(|text| VerifierKeys::parse(text).map_err(|e| e.to_string())) {
        Ok(keys) => Ok(Some(keys)),
        Err(text) => {
            report.add(KEYS, Some(0), None, text);
            Ok(None)
        }
    }
}

/// Sites that joined later, as far as an authority among the `keys` has admitted them.
fn admit(file: &[u8], keys: &mut VerifierKeys, report: &mut Report) {
    let Ok(text) = std::str::from_utf8(file) else {
        return report.add(ADMISSIONS, Some(0), None, "not text");
    };
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let read = line.strip_suffix('\n').ok_or("is cut off").and_then(|line| keys.admit(line).map(drop));
        if let Err(what) = read {
            report.add(ADMISSIONS, Some(offset), None, what);
        }
        offset += line.len() as u64;
    }
}

fn compare_names(manifest: &Manifest, present: &BTreeSet<String>, report: &mut Report) {
    let listed: BTreeSet<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    for name in listed.iter().filter(|name| !present.contains(**name)) {
        report.add(name, None, None, "is missing, the manifest lists it");
    }
    for name in present.iter().filter(|name| *name != MANIFEST && !listed.contains(name.as_str())) {
        report.add(name, None, None, "does not belong to the export, the manifest does not list it");
    }
}

fn compare_hash(listed: Option<&FileLine>, name: &str, found: &(Hash, u64), report: &mut Report) {
    if let Some(listed) = listed
        && (listed.sha256, listed.bytes) != *found
    {
        report.add(name, None, None, "was changed: its hash or length is not the one in the manifest");
    }
}

fn check_checkpoint(
    dir: &Path,
    keys: Option<&VerifierKeys>,
    manifest: Option<&Manifest>,
    auditor: &Auditor,
    report: &mut Report,
) -> Result<(), LedgerError> {
    let mut wrong = |text: &str| report.add(CHECKPOINT, Some(0), None, text);
    if !dir.join(CHECKPOINT).exists() {
        wrong("is missing");
        return Ok(());
    }
    let logs = keys.map_or(&[][..], |keys| keys.logs.as_slice());
    let checkpoint = match Checkpoint::verify(&read_small(dir, CHECKPOINT)?, logs) {
        Ok((checkpoint, 0)) => checkpoint,
        Ok((_, _)) => {
            wrong("carries a signature by an unknown key");
            return Ok(());
        }
        Err(error) => {
            wrong(&error.to_string());
            return Ok(());
        }
    };
    if !auditor.complete() {
        wrong("could not be compared: a part of the entries cannot be read");
    } else if (checkpoint.size, checkpoint.root) != (auditor.size(), auditor.root()) {
        wrong("is for another tree: the leaves make another size or root");
    }
    if let Some(m) = manifest {
        if (&m.origin, m.size, m.root) != (&checkpoint.origin, checkpoint.size, checkpoint.root) {
            report.add(MANIFEST, Some(0), None, "names another origin, size or root than the checkpoint");
        }
        if auditor.complete() && m.batches != auditor.batches() {
            report.add(MANIFEST, Some(0), None, "names another number of batches than there are");
        }
    }
    Ok(())
}

/// Files in the export and its entries folder, as the manifest names them.
fn files_in(dir: &Path) -> Result<BTreeSet<String>, LedgerError> {
    let mut names = BTreeSet::new();
    let entries = dir.join(ENTRIES);
    let folders = [(dir.to_owned(), String::new()), (entries.clone(), format!("{ENTRIES}/"))];
    for (folder, prefix) in folders.iter().filter(|(folder, _)| folder.is_dir()) {
        let io = |source| LedgerError::Io { path: folder.display().to_string(), source };
        for entry in fs::read_dir(folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            if entry.path() != entries {
                names.insert(format!("{prefix}{}", entry.file_name().to_string_lossy()));
            }
        }
    }
    Ok(names)
}

fn read_small(dir: &Path, name: &str) -> Result<Vec<u8>, LedgerError> {
    let path = dir.join(name);
    let io = |source| LedgerError::Io { path: path.display().to_string(), source };
    if fs::metadata(&path).map_err(io)?.len() > MAX_SMALL_FILE_BYTES {
        return Err(LedgerError::Damaged(format!("{} is larger than such a file can be", path.display())));
    }
    fs::read(&path).map_err(io)
}
