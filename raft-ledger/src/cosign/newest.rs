//! The newest checkpoint that counts: what this site serves, kept across restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::cosigner::{Vouched, now_s};
use crate::checkpoint::{Checkpoint, Note, NoteSignature, NoteVerifier};
use crate::keys::SiteKeys;
use crate::store::SiteDb;
use crate::{CosignedCheckpoint, LedgerError};

const NEWEST: &[u8] = b"cosign/newest";

pub(crate) struct Newest {
    site_db: Arc<SiteDb>,
    own: String,
    /// ⌊n/2⌋+1 of them must cosign, except for a site alone.
    voters: Mutex<BTreeSet<String>>,
    current: Mutex<Option<CosignedCheckpoint>>,
}

/// A checkpoint and the cosignatures that have come in.
pub(crate) struct Gathered {
    vouched: Vouched,
    text: String,
    /// By cosigner name: signature lines.
    lines: BTreeMap<String, String>,
}

impl Newest {
    /// Nothing counts before `set_voters`.
    pub(crate) fn open(site_db: Arc<SiteDb>, keys: &SiteKeys) -> Result<Newest, LedgerError> {
        let kept = site_db.get(NEWEST)?.map(|bytes| {
            decode(&bytes, keys)
                .ok_or_else(|| LedgerError::Damaged("sitedb: the newest cosigned checkpoint".into()))
        });
        let (own, current) = (keys.site.to_string(), Mutex::new(kept.transpose()?));
        Ok(Newest { site_db, own, voters: Mutex::default(), current })
    }

    /// The ledger has told whose keys there are. Before it has, those of later sites are not known, nor what they signed.
    pub(crate) fn recount(&self, keys: &SiteKeys) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = current.as_mut() {
            kept.cosigners = cosigners_of(&kept.note, keys);
        }
    }

    /// Names of the sites that vote from now on.
    pub(crate) fn set_voters(&self, voters: BTreeSet<String>) {
        *self.voters.lock().unwrap_or_else(PoisonError::into_inner) = voters;
    }

    pub(crate) fn voters(&self) -> BTreeSet<String> {
        self.voters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn get(&self) -> Option<CosignedCheckpoint> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// 0 if there is none.
    pub(crate) fn size(&self) -> u64 {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, |newest| newest.size)
    }

    /// Learners' cosignatures are welcome and do not count.
    pub(crate) fn counts(&self, gathered: &Gathered) -> bool {
        let voters = self.voters.lock().unwrap_or_else(PoisonError::into_inner);
        let signed = gathered.lines.keys().filter(|name| voters.contains(site_of(name))).count();
        self.is_alone(&voters) || signed > voters.len() / 2
    }

    fn is_alone(&self, voters: &BTreeSet<String>) -> bool {
        voters.len() == 1 && voters.contains(&self.own)
    }

    /// Keeps it if it counts and is larger than the one before. Blocks.
    pub(crate) fn put(&self, gathered: &Gathered) -> Result<(), LedgerError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let known = current.as_ref().map_or(0, |newest| newest.size);
        let Checkpoint { size, root, .. } = gathered.vouched.checkpoint;
        if !self.counts(gathered) || size <= known {
            return Ok(());
        }
        // A site alone has nobody to cosign, and its own word twice is no more than once.
        let alone = self.is_alone(&self.voters.lock().unwrap_or_else(PoisonError::into_inner));
        let lines: String = if alone { String::new() } else { gathered.lines.values().cloned().collect() };
        let next = CosignedCheckpoint {
            size,
            root,
            note: gathered.vouched.note() + &lines,
            cosigners: if alone { Vec::new() } else { gathered.lines.keys().cloned().collect() },
            made_at_s: now_s(),
        };
        self.site_db.put(NEWEST, &[&next.made_at_s.to_be_bytes(), next.note.as_bytes()].concat(), true)?;
        *current = Some(next);
        Ok(())
    }
}

impl Gathered {
    pub(crate) fn new(vouched: Vouched, keys: &SiteKeys) -> Gathered {
        let own = (keys.cosigner.name().to_owned(), vouched.cosignature.clone());
        Gathered { text: vouched.checkpoint.text(), vouched, lines: BTreeMap::from([own]) }
    }

    /// The checkpoint under another site's signature lines.
    pub(crate) fn note_with(&self, lines: &str) -> String {
        format!("{}\n{lines}", self.text)
    }

    /// Takes the cosignatures by `cosigners` out of another site's answer.
    pub(crate) fn add(&mut self, answer: &str, cosigners: &[NoteVerifier]) {
        for signature in NoteSignature::parse_lines(answer).unwrap_or_default() {
            if let Some(key) = cosigners.iter().find(|key| signature.verifies(key, &self.text)) {
                self.lines.insert(key.name().to_owned(), format!("{}\n", signature.line));
            }
        }
    }
}

/// A cosigner's name ends with its site's.
fn site_of(cosigner: &str) -> &str {
    cosigner.rsplit_once("/site/").map_or(cosigner, |(_, site)| site)
}

/// What was kept, if its signatures still hold.
fn decode(bytes: &[u8], keys: &SiteKeys) -> Option<CosignedCheckpoint> {
    let (made_at_s, note) = bytes.split_first_chunk::<8>()?;
    let (checkpoint, _) = Checkpoint::verify(note, &keys.verifiers().logs).ok()?;
    let note = String::from_utf8(note.to_vec()).ok()?;
    Some(CosignedCheckpoint {
        size: checkpoint.size,
        root: checkpoint.root,
        cosigners: cosigners_of(&note, keys),
        note,
        made_at_s: u64::from_be_bytes(*made_at_s),
    })
}

/// Names of the cosigners whose signatures hold, as far as their keys are known, in order.
fn cosigners_of(note: &str, keys: &SiteKeys) -> Vec<String> {
    let Some(parsed) = Note::parse(note.as_bytes()) else { return Vec::new() };
    let signed = |key: &&NoteVerifier| parsed.signatures.iter().any(|s| s.verifies(key, parsed.text));
    let verifiers = keys.verifiers();
    let mut names: Vec<String> =
        verifiers.cosigners.iter().filter(signed).map(|key| key.name().to_owned()).collect();
    names.sort_unstable();
    names
}
