//! Who is not to be trusted any more, and why: evidence against sites, kept and acted upon.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::evidence::Evidence;
use crate::LedgerError;
use crate::checkpoint::{Checkpoint, Note, NoteSignature, NoteVerifier};
use crate::keys::SiteKeys;
use crate::record::Hash;
use crate::store::{SiteDb, files};

const BLAMED: &[u8] = b"cosign/blamed/";
pub(super) const OUTVOTED: &str = "outvoted";
/// Signed checkpoints that are remembered of one key, the largest ones: no site crowds out another's.
const SEEN_MAX: usize = 256;

/// What other sites signed, compared with what they sign next.
pub(crate) struct Blame {
    keys: Arc<SiteKeys>,
    site_db: Arc<SiteDb>,
    /// `evidence` in the site's data folder.
    dir: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// By verifier key and size: the root, and a note with that key's signature.
    notes: BTreeMap<String, BTreeMap<u64, (Hash, String)>>,
    /// By site: the kinds of evidence.
    blamed: BTreeMap<String, BTreeSet<String>>,
}

impl Blame {
    pub(crate) fn open(keys: Arc<SiteKeys>, site_db: Arc<SiteDb>, dir: &Path) -> Result<Blame, LedgerError> {
        let mut blamed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (key, _) in site_db.scan(BLAMED)? {
            let key = String::from_utf8_lossy(&key[BLAMED.len()..]).into_owned();
            // Before there were kinds, every one was a split view.
            let (site, kind) = key.split_once('/').unwrap_or((&key, "split-view"));
            blamed.entry(site.to_owned()).or_default().insert(kind.to_owned());
        }
        let seen = Mutex::new(Seen { notes: BTreeMap::new(), blamed });
        Ok(Blame { keys, site_db, dir: dir.to_owned(), seen })
    }

    /// Sites of whom this site holds evidence.
    pub(crate) fn sites(&self) -> BTreeSet<String> {
        self.lock().blamed.keys().cloned().collect()
    }

    /// Whether it contradicted itself. One that was outvoted may have a damaged replica: what it signs rightly later
    /// counts again.
    pub(crate) fn is_blamed(&self, site: &str) -> bool {
        self.lock().blamed.get(site).is_some_and(|kinds| kinds.iter().any(|kind| kind != OUTVOTED))
    }

    fn holds(&self, site: &str, kind: &str) -> bool {
        self.lock().blamed.get(site).is_some_and(|kinds| kinds.contains(kind))
    }

    /// Remembers each site's signature on `note`; returns the site that has signed another root of this size
    /// before, once the evidence is on the disk. Signatures that do not hold are nobody's. Blocks.
    pub(crate) fn see(&self, note: &str) -> Result<Option<String>, LedgerError> {
        let Some(parsed) = Note::parse(note.as_bytes()) else { return Ok(None) };
        let Some(checkpoint) = Checkpoint::parse(parsed.text) else { return Ok(None) };
        if checkpoint.origin != self.keys.origin() {
            return Ok(None);
        }
        let verifiers = self.keys.verifiers();
        let keys = verifiers.logs.iter().chain(&verifiers.cosigners);
        let signed = keys.filter(|key| parsed.signatures.iter().any(|s| s.verifies(key, parsed.text)));
        let mut found = None;
        for (key, site) in signed.filter_map(|key| Some((key, self.site_of(key)?))) {
            if let Some(before) = self.remember(key, &checkpoint, note) {
                let notes = [before, note.to_owned()];
                self.convict(&site, &Evidence::SplitView { size: checkpoint.size, notes })?;
                found = Some(site);
            }
        }
        Ok(found)
    }

    /// Convicts each site that signed `alone` as log, if a majority of the voting sites signs another root of the same size:
    /// this site in its note `own`, the others in signature lines for it. Those that contradicted themselves do not count:
    /// they may have made the other one sign what it does. Whether there is such a majority for `own`. Blocks.
    pub(crate) fn outvote(
        &self,
        alone: &str,
        own: &str,
        votes: &[String],
        voters: &BTreeSet<String>,
    ) -> Result<bool, LedgerError> {
        let others = self.with_votes(own, votes);
        let (Some(one), Some(other)) = (Note::parse(alone.as_bytes()), Note::parse(others.as_bytes())) else {
            return Ok(false);
        };
        let (Some(minor), Some(major)) = (Checkpoint::parse(one.text), Checkpoint::parse(other.text)) else {
            return Ok(false);
        };
        let verifiers = self.keys.verifiers();
        let logs = &verifiers.logs;
        let signed =
            |note: &Note, key: &NoteVerifier| note.signatures.iter().any(|s| s.verifies(key, note.text));
        // Keys of sites that do not take part, or do not vote, count neither for nor against.
        let counts = |key: &&NoteVerifier| {
            self.site_of(key).is_some_and(|site| voters.contains(&site) && !self.is_blamed(&site))
        };
        let votes = logs.iter().filter(|key| signed(&other, key)).filter(counts).count();
        let is_majority = votes > voters.len() / 2;
        let same_place = minor.origin == major.origin && minor.size == major.size;
        if !same_place || minor.root == major.root || !is_majority {
            return Ok(is_majority);
        }
        for site in logs.iter().filter(|key| signed(&one, key)).filter_map(|key| self.site_of(key)) {
            let notes = [alone.to_owned(), others.clone()];
            self.convict(&site, &Evidence::Outvoted { size: minor.size, notes })?;
        }
        Ok(true)
    }

    /// `own` with those lines of `votes` that are signatures of log keys under it.
    fn with_votes(&self, own: &str, votes: &[String]) -> String {
        let mut note = own.to_owned();
        let Some(parsed) = Note::parse(own.as_bytes()) else { return note };
        for vote in votes.iter().filter_map(|lines| NoteSignature::parse_lines(lines)).flatten() {
            if self.keys.verifiers().logs.iter().any(|key| vote.verifies(key, parsed.text)) {
                note.push_str(vote.line);
                note.push('\n');
            }
        }
        note
    }

    /// Cosigner keys of the sites that are not blamed.
    pub(crate) fn trusted_cosigners(&self) -> Vec<NoteVerifier> {
        let trusted = |key: &&NoteVerifier| self.site_of(key).is_some_and(|site| !self.is_blamed(&site));
        self.keys.verifiers().cosigners.iter().filter(trusted).cloned().collect()
    }

    /// Whose log or cosigner key it is.
    pub(crate) fn site_of(&self, key: &NoteVerifier) -> Option<String> {
        self.keys.ring.owner_of(&key.vkey())
    }

    /// The note with another root that the key signed before, if it did.
    fn remember(&self, key: &NoteVerifier, checkpoint: &Checkpoint, note: &str) -> Option<String> {
        let mut seen = self.lock();
        let notes = seen.notes.entry(key.vkey()).or_default();
        match notes.get(&checkpoint.size) {
            Some((root, before)) if *root != checkpoint.root => return Some(before.clone()),
            Some(_) => {}
            None => {
                notes.insert(checkpoint.size, (checkpoint.root, note.to_owned()));
            }
        }
        // Sizes grow: what is forgotten was agreed on by all long ago.
        while notes.len() > SEEN_MAX {
            notes.pop_first();
        }
        None
    }

    /// Keeps the evidence, on the disk when this returns. Blocks.
    pub(crate) fn convict(&self, site: &str, evidence: &Evidence) -> Result<(), LedgerError> {
        #[cfg(any(test, feature = "sim"))]
        crate::sim::blamed(site, evidence.kind());
        let kind = evidence.kind();
        // One file of a kind convicts; a site that goes on must not fill this disk.
        if self.holds(site, kind) {
            return Ok(());
        }
        let name = evidence.file_name(site);
        let path = self.dir.join(&name);
        let io = |source| LedgerError::Io { path: path.display().to_string(), source };
        if !path.exists() {
            files::make_dir(&self.dir).map_err(io)?;
            let text = format!("{:#}\n", evidence.to_json(site));
            files::replace_text(&self.dir, &name, &text).map_err(io)?;
        }
        self.site_db.put(&[BLAMED, site.as_bytes(), b"/", kind.as_bytes()].concat(), &[], true)?;
        self.lock().blamed.entry(site.to_owned()).or_default().insert(kind.to_owned());
        tracing::error!(
            site,
            evidence = %path.display(),
            "a site {}: keep the file",
            evidence.deed()
        );
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
