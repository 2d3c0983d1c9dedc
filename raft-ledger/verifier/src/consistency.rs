//! Consistency proofs, in the form of a C2SP tlog-witness request: old size, hashes, the new checkpoint.

use serde::Serialize;

use crate::Refusal;
use crate::checkpoint::{Signed, decimal};
use crate::keys::Keys;
use crate::merkle::{Hash, is_consistent};
use crate::receipt::hashes;

/// The new tree begins with the old one: nothing that the old checkpoint covers was changed or removed.
#[derive(Debug, Serialize)]
pub struct Consistency {
    pub old: Signed,
    pub new: Signed,
}

/// Judges whether `proof` leads from `old`, a checkpoint or a receipt that was kept, to the checkpoint in `proof`.
/// Both need `k` cosigners.
///
/// # Errors
/// The first thing that does not hold.
pub fn judge_consistency(proof: &[u8], old: &[u8], keys: &Keys, k: usize) -> Result<Consistency, Refusal> {
    let form = |what| Refusal::Form { what };
    let old = std::str::from_utf8(old).map_err(|_| form("the old checkpoint is not text"))?;
    let old = Signed::judge(checkpoint_of(old), keys, k)?;
    let what = "not a consistency proof: `old SIZE`, hashes, an empty line, a checkpoint";
    let parts = std::str::from_utf8(proof).ok().and_then(read).ok_or_else(|| form(what))?;
    let (old_size, path, new) = parts;
    let new = Signed::judge(new, keys, k)?;
    if old.origin != new.origin {
        return Err(form("the two checkpoints are of different logs"));
    }
    if old_size != old.size {
        return Err(form("the proof begins at another size than the old checkpoint"));
    }
    if old.size == new.size && old.root != new.root {
        return Err(Refusal::SplitView { size: old.size });
    }
    if !is_consistent(old.size, new.size, &path, &old.root, &new.root) {
        return Err(Refusal::NotConsistent);
    }
    Ok(Consistency { old, new })
}

fn read(proof: &str) -> Option<(u64, Vec<Hash>, &str)> {
    let (proof, checkpoint) = proof.split_once("\n\n")?;
    let mut lines = proof.split('\n');
    let old = decimal(lines.next()?.strip_prefix("old ")?)?;
    Some((old, hashes(lines)?, checkpoint))
}

/// A receipt ends with its checkpoint.
fn checkpoint_of(file: &str) -> &str {
    if file.starts_with("c2sp.org/tlog-proof@v1\n") {
        file.split_once("\n\n").map_or("", |(_, checkpoint)| checkpoint)
    } else {
        file
    }
}
