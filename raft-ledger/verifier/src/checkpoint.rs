//! Checkpoints (C2SP tlog-checkpoint) and who signed them.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::keys::Keys;
use crate::merkle::Hash;
use crate::note::Note;
use crate::{Refusal, keys};

/// A checkpoint whose signatures hold.
#[derive(Clone, Debug, Serialize)]
pub struct Signed {
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// RFC 6962 root, lowercase hex.
    #[serde(serialize_with = "hex_text")]
    pub root: Hash,
    /// Log keys that signed.
    pub logs: usize,
    /// Names of the cosigners, each once.
    pub cosigners: BTreeSet<String>,
    /// Signatures by keys that were not brought: ignored, as the standard says.
    pub unknown_signatures: usize,
}

impl Signed {
    /// Needs one signature by a log key named like the origin, and `k` cosigners; a wrong signature by any key that
    /// was brought refuses the whole.
    pub(crate) fn judge(note: &str, keys: &Keys, k: usize) -> Result<Signed, Refusal> {
        let form = |what| Refusal::Form { what };
        let note = Note::parse(note).ok_or_else(|| form("the checkpoint is not a signed note"))?;
        let (origin, size, root) = parse(note.text).ok_or_else(|| form("the note is not a checkpoint"))?;
        let mut signed = Signed {
            origin: origin.to_owned(),
            size,
            root,
            logs: 0,
            cosigners: BTreeSet::new(),
            unknown_signatures: 0,
        };
        let mut logs = BTreeSet::new();
        for signature in &note.signatures {
            let by = |key: &&keys::Key| key.is_of(signature);
            let wrong = || Refusal::Signature { key: signature.name.to_owned() };
            if let Some(key) = keys.logs.iter().find(by) {
                let good = key.signed(note.text, &signature.bytes);
                good.then_some(()).ok_or_else(wrong)?;
                if key.name == origin {
                    logs.insert(key.id);
                }
            } else if let Some(key) = keys.cosigners.iter().find(by) {
                let good = key.cosigned(note.text, &signature.bytes);
                good.then_some(()).ok_or_else(wrong)?;
                signed.cosigners.insert(key.name.clone());
            } else {
                signed.unknown_signatures += 1;
            }
        }
        signed.logs = logs.len();
        if signed.logs == 0 {
            return Err(Refusal::NoLog { origin: signed.origin });
        }
        if signed.cosigners.len() < k {
            return Err(Refusal::TooFewCosigners { found: signed.cosigners.len(), needed: k });
        }
        Ok(signed)
    }
}

/// Origin, size, root. Extension lines are not signed by this log and not accepted.
pub(crate) fn parse(text: &str) -> Option<(&str, u64, Hash)> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
    if lines.next().is_some() || origin.is_empty() {
        return None;
    }
    Some((origin, decimal(size)?, hash(root)?))
}

/// ASCII digits without leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    if canonical { text.parse().ok() } else { None }
}

pub(crate) fn hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn hex_text<S: serde::Serializer>(root: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(root))
}
