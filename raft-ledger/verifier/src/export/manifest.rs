//! `manifest.txt`: what belongs to the export. It is signed by nobody: it tells what was lost on the way, while
//! hashes and signatures tell what was changed on purpose.

use std::collections::BTreeMap;
use std::path::Path;

use super::chain::Chain;
use super::{Export, files};
use crate::Refusal;
use crate::checkpoint::{Signed, decimal};
use crate::merkle::{Hash, sha256};

pub(super) const NAME: &str = "manifest.txt";

pub(super) struct Manifest {
    origin: String,
    size: u64,
    root: Hash,
    batches: u64,
    files: BTreeMap<String, (Hash, u64)>,
}

impl Manifest {
    /// The inner error says what is wrong with it.
    pub(super) fn read(dir: &Path) -> Result<Result<Manifest, String>, Refusal> {
        let Some(bytes) = files::read(dir, NAME)? else {
            return Ok(Err("is missing: the export was interrupted or is not one".into()));
        };
        let manifest = std::str::from_utf8(&bytes).ok().and_then(parse);
        Ok(manifest.ok_or_else(|| "was changed: it does not match the hash in its last line".into()))
    }

    pub(super) fn is_of(&self, signed: &Signed, chain: &Chain) -> bool {
        (self.origin.as_str(), self.size, self.root) == (signed.origin.as_str(), signed.size, signed.root)
            && (!chain.complete || self.batches == chain.batches)
    }

    pub(super) fn compare(&self, found: &BTreeMap<String, (Hash, u64)>, report: &mut Export) {
        for (name, listed) in &self.files {
            match found.get(name) {
                None => report.add(name, 0, None, "is missing, the manifest lists it"),
                Some(real) if real != listed => {
                    report.add(
                        name,
                        0,
                        None,
                        "was changed: its hash or length is not the one in the manifest",
                    );
                }
                Some(_) => {}
            }
        }
        for name in found.keys().filter(|name| !self.files.contains_key(*name)) {
            report.add(name, 0, None, "does not belong to the export, the manifest does not list it");
        }
    }
}

fn parse(text: &str) -> Option<Manifest> {
    let end = text.rfind("\nend ")? + 1;
    let (facts, last) = text.split_at(end);
    if last != format!("end {}\n", hex::encode(sha256(facts.as_bytes()))) {
        return None;
    }
    let mut lines = facts.strip_suffix('\n')?.split('\n');
    if lines.next()? != "medulla export v1" {
        return None;
    }
    let mut fact = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
    let origin = fact("origin")?.to_owned();
    decimal(fact("group")?)?;
    let (size, root, batches) = (decimal(fact("size")?)?, hash(fact("root")?)?, decimal(fact("batches")?)?);
    let mut files = BTreeMap::new();
    for line in lines {
        let mut parts = line.strip_prefix("file ")?.splitn(3, ' ');
        let (sha256, bytes, name) = (hash(parts.next()?)?, decimal(parts.next()?)?, parts.next()?);
        files.insert(name.to_owned(), (sha256, bytes));
    }
    Some(Manifest { origin, size, root, batches, files })
}

fn hash(digits: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    hex::decode_to_slice(digits, &mut hash).ok()?;
    Some(hash)
}
