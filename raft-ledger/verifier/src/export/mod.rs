//! A whole export: every leaf, sealed payload, batch signature, chain, the root and the checkpoint over it.

mod batch;
mod chain;
mod files;
mod manifest;
mod stream;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use self::chain::Chain;
use self::manifest::Manifest;
use crate::checkpoint::Signed;
use crate::{Keys, Refusal};

/// More findings than this are counted, not kept.
const FINDINGS_MAX: usize = 100;

/// Sites that joined after the founding, one a line.
const ADMISSIONS: &str = "admissions.txt";

/// What judging an export found.
#[derive(Debug, Default, Serialize)]
pub struct Export {
    pub ok: bool,
    /// Leaves whose root was recomputed.
    pub size: u64,
    /// RFC 6962 root over them, lowercase hex.
    pub root: String,
    pub batches: u64,
    /// Leaves by the site they come from.
    pub sites: BTreeMap<String, u64>,
    /// Sites that joined after the founding, by the word of an authority whose key was brought.
    pub admitted: Vec<String>,
    /// Leaves whose sealed payload was not there to check.
    pub payloads_absent: u64,
    pub bytes: u64,
    pub seconds: f64,
    pub leaves_per_s: f64,
    pub findings: Vec<Finding>,
    pub more_findings: u64,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Path within the export.
    pub file: String,
    /// Byte at which the batch or file begins that it is about.
    pub offset: u64,
    /// Leaf index, where one can be told.
    pub index: Option<u64>,
    pub text: String,
}

impl Export {
    fn add(&mut self, file: &str, offset: u64, index: Option<u64>, text: impl Into<String>) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { file: file.to_owned(), offset, index, text: text.into() });
        } else {
            self.more_findings += 1;
        }
    }
}

/// Judges the export in `dir` by `keys`, and by nothing that it says itself. `progress` hears the leaves done.
///
/// # Errors
/// Only that it could not be read; what is wrong with it are findings.
pub fn judge_export(dir: &Path, keys: &Keys, progress: &mut dyn FnMut(u64)) -> Result<Export, Refusal> {
    let start = Instant::now();
    let mut report = Export::default();
    let present = files::list(dir)?;
    let manifest = match Manifest::read(dir)? {
        Ok(manifest) => Some(manifest),
        Err(text) => {
            report.add(manifest::NAME, 0, None, text);
            None
        }
    };
    let mut keys = keys.clone();
    if let Some(file) = files::read(dir, ADMISSIONS)? {
        admit(&file, &mut keys, &mut report);
    }
    let keys = &keys;
    let mut chain = Chain::default();
    let entries: Vec<String> = present.iter().filter(|name| name.starts_with("entries/")).cloned().collect();
    let mut found = stream::run(dir, &entries, keys, &mut chain, &mut report, progress)?;
    for name in present.iter().filter(|name| !entries.contains(name) && *name != manifest::NAME) {
        found.insert(name.clone(), files::hash(dir, name)?);
    }
    report.bytes = found.values().map(|(_, bytes)| bytes).sum();
    if let Some(manifest) = &manifest {
        manifest.compare(&found, &mut report);
    }
    checkpoint(dir, keys, manifest.as_ref(), &chain, &mut report)?;
    report.size = chain.tree.size();
    report.root = hex::encode(chain.tree.root());
    report.batches = chain.batches;
    report.seconds = start.elapsed().as_secs_f64();
    report.leaves_per_s = report.size as f64 / report.seconds.max(1e-9);
    report.ok = report.findings.is_empty();
    Ok(report)
}

/// Those that an authority among the `keys` has not signed are findings; of other authorities nothing is known here.
fn admit(file: &[u8], keys: &mut Keys, report: &mut Export) {
    let Ok(text) = std::str::from_utf8(file) else { return report.add(ADMISSIONS, 0, None, "is not text") };
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        match line.strip_suffix('\n').ok_or("is cut off").and_then(|line| keys.admit(line)) {
            Ok(admitted) => report.admitted.extend(admitted),
            Err(what) => report.add(ADMISSIONS, offset, None, what),
        }
        offset += line.len() as u64;
    }
}

fn checkpoint(
    dir: &Path,
    keys: &Keys,
    manifest: Option<&Manifest>,
    chain: &Chain,
    report: &mut Export,
) -> Result<(), Refusal> {
    let mut wrong = |text: String| report.add("checkpoint", 0, None, text);
    let bytes = match files::read(dir, "checkpoint")? {
        Some(bytes) => bytes,
        None => {
            wrong("is missing".into());
            return Ok(());
        }
    };
    let signed = match std::str::from_utf8(&bytes) {
        Ok(text) => Signed::judge(text, keys, 0),
        Err(_) => Err(Refusal::Form { what: "not text" }),
    };
    let signed = match signed {
        Ok(signed) => signed,
        Err(refusal) => {
            wrong(refusal.to_string());
            return Ok(());
        }
    };
    if signed.unknown_signatures > 0 {
        wrong("carries a signature by a key that you did not bring".into());
    }
    if !chain.complete {
        wrong("could not be compared: a part of the entries cannot be read".into());
    } else if (signed.size, signed.root) != (chain.tree.size(), chain.tree.root()) {
        wrong("is for another tree: the leaves make another size or root".into());
    }
    if let Some(manifest) = manifest
        && !manifest.is_of(&signed, chain)
    {
        report.add(manifest::NAME, 0, None, "names another origin, size, root or number of batches");
    }
    Ok(())
}
