//! Evidence: two roots of one size under one site's signatures. Portable, because both notes are signed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;

use crate::LedgerError;
use crate::checkpoint::{Checkpoint, Note, NoteVerifier};
use crate::keys::SiteKeys;
use crate::record::Hash;
use crate::store::SiteDb;

const BLAMED: &[u8] = b"cosign/blamed/";
/// Signed checkpoints that are remembered, the largest ones.
const SEEN_MAX: usize = 1024;

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
    /// By size and verifier key: the root, and a note with that key's signature.
    notes: BTreeMap<(u64, String), (Hash, String)>,
    blamed: BTreeSet<String>,
}

impl Blame {
    pub(crate) fn open(keys: Arc<SiteKeys>, site_db: Arc<SiteDb>, dir: &Path) -> Result<Blame, LedgerError> {
        let blamed = site_db.scan(BLAMED)?.into_iter();
        let blamed =
            blamed.map(|(key, _)| String::from_utf8_lossy(&key[BLAMED.len()..]).into_owned()).collect();
        let seen = Mutex::new(Seen { notes: BTreeMap::new(), blamed });
        Ok(Blame { keys, site_db, dir: dir.to_owned(), seen })
    }

    /// Sites of whom this site holds evidence.
    pub(crate) fn sites(&self) -> BTreeSet<String> {
        self.lock().blamed.clone()
    }

    pub(crate) fn is_blamed(&self, site: &str) -> bool {
        self.lock().blamed.contains(site)
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
                self.keep(&site, &checkpoint, &before, note)?;
                found = Some(site);
            }
        }
        Ok(found)
    }

    /// Cosigner keys of the sites that are not blamed.
    pub(crate) fn trusted_cosigners(&self) -> Vec<NoteVerifier> {
        let trusted = |key: &&NoteVerifier| self.site_of(key).is_some_and(|site| !self.is_blamed(&site));
        self.keys.verifiers().cosigners.iter().filter(trusted).cloned().collect()
    }

    /// Whose log or cosigner key it is.
    pub(crate) fn site_of(&self, key: &NoteVerifier) -> Option<String> {
        let key = key.vkey();
        let mut sites = self.keys.consortium.sites.iter();
        sites.find(|site| site.log_key == key || site.cosigner_key == key).map(|site| site.name.clone())
    }

    /// The note with another root that the key signed before, if it did.
    fn remember(&self, key: &NoteVerifier, checkpoint: &Checkpoint, note: &str) -> Option<String> {
        let mut seen = self.lock();
        let key = (checkpoint.size, key.vkey());
        match seen.notes.get(&key) {
            Some((root, before)) if *root != checkpoint.root => return Some(before.clone()),
            Some(_) => {}
            None => {
                seen.notes.insert(key, (checkpoint.root, note.to_owned()));
            }
        }
        // Sizes grow: what is forgotten was agreed on by all long ago.
        while seen.notes.len() > SEEN_MAX {
            seen.notes.pop_first();
        }
        None
    }

    fn keep(
        &self,
        site: &str,
        checkpoint: &Checkpoint,
        first: &str,
        second: &str,
    ) -> Result<(), LedgerError> {
        let size = checkpoint.size;
        let path = self.dir.join(format!("split-view-{site}-{size}.json"));
        let evidence = json!({
            "evidence": "split-view",
            "site": site,
            "size": size,
            "notes": [first, second],
        });
        let io = |source| LedgerError::Io { path: path.display().to_string(), source };
        if !path.exists() {
            std::fs::create_dir_all(&self.dir).map_err(io)?;
            let mut file = File::create(&path).map_err(io)?;
            file.write_all(format!("{evidence:#}\n").as_bytes()).map_err(io)?;
            file.sync_all().map_err(io)?;
        }
        self.site_db.put(&[BLAMED, site.as_bytes()].concat(), &size.to_be_bytes(), true)?;
        self.lock().blamed.insert(site.to_owned());
        tracing::error!(
            site,
            size,
            evidence = %path.display(),
            "a site has signed two roots of one size: this site never cosigns for it again; keep the file"
        );
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
