//! An export: a folder that proves itself to whoever holds the consortium's public keys.
//!
//! ```text
//! manifest.txt       what belongs to it, written last: an export without it was interrupted
//! checkpoint         C2SP signed note: origin, size, root
//! keys.txt           C2SP verifier keys; a judge brings their own instead
//! admissions.txt     by what the authority has admitted the sites that joined later, one a line; where there are any.
//!                    A judge who brings the authority's key has these sites' keys from here
//! entries/00000000 … every batch in order with the leaves it made, their sealed payloads, its site's signature
//! ```
//! Formats: bundle.rs (entries), manifest.rs. Nothing in it opens a payload.

mod bundle;
mod manifest;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::checkpoint::Checkpoint;
use crate::keys::SiteKeys;
use crate::merkle::{Tree, leaf_hash};
use crate::record::Hash;
use crate::types::LedgerError;

pub(crate) use self::bundle::{
    BUNDLE_HEADER_LEN, BundleHeader, ExportBatch, ExportLeaf, LeafPlace, MAX_RECORD_BYTES, RECORD_HEADER_LEN,
};
pub(crate) use self::manifest::{FileLine, Manifest};

pub(crate) const MANIFEST: &str = "manifest.txt";
pub(crate) const CHECKPOINT: &str = "checkpoint";
pub(crate) const KEYS: &str = "keys.txt";
pub(crate) const ADMISSIONS: &str = "admissions.txt";
pub(crate) const ENTRIES: &str = "entries";
/// A file of entries is closed when it has grown beyond this.
const BUNDLE_BYTES: u64 = 64 << 20;

/// How far an export or a verification is, in leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub done: u64,
    pub total: u64,
}

/// Writes the batches (all from the first one, in order) that make a tree of `size` leaves with `root`, and
/// signs a checkpoint for it. `dir` must be empty or not exist. An error if the batches make another tree.
pub(crate) fn export(
    dir: &Path,
    batches: impl Iterator<Item = Result<ExportBatch, LedgerError>>,
    size: u64,
    root: Hash,
    keys: &SiteKeys,
    progress: &mut dyn FnMut(Progress),
) -> Result<Manifest, LedgerError> {
    export_in_files(BUNDLE_BYTES, dir, batches, (size, root), keys, progress)
}

/// `export` with files of entries closed beyond `bundle_bytes`.
pub(crate) fn export_in_files(
    bundle_bytes: u64,
    dir: &Path,
    batches: impl Iterator<Item = Result<ExportBatch, LedgerError>>,
    (size, root): (u64, Hash),
    keys: &SiteKeys,
    progress: &mut dyn FnMut(Progress),
) -> Result<Manifest, LedgerError> {
    make_empty(dir)?;
    let mut writer = Bundles { dir, bundle_bytes, open: None, files: Vec::new(), batches: 0 };
    let mut tree = Tree::default();
    for batch in batches {
        let batch = batch?;
        writer.write(&batch, tree.size())?;
        for leaf in &batch.leaves {
            tree.append(leaf_hash(&leaf.leaf));
        }
        tree.take_writes(); // tiles are not kept: only the root counts here
        progress(Progress { done: tree.size(), total: size });
    }
    if (tree.size(), tree.root()) != (size, root) {
        let text =
            format!("the stored leaves make another tree than size {size} with root {}", hex::encode(root));
        return Err(LedgerError::Damaged(text));
    }
    let batches = writer.batches;
    let mut files = writer.finish()?;
    let note = Checkpoint { origin: keys.origin().to_owned(), size, root }.sign(&keys.log)?;
    files.push(write_file(dir, CHECKPOINT, note.as_bytes())?);
    files.push(write_file(dir, KEYS, keys.verifier_keys().as_bytes())?);
    let admissions = keys.admissions();
    if !admissions.is_empty() {
        files.push(write_file(dir, ADMISSIONS, admissions.as_bytes())?);
    }
    let (origin, group_id) = (keys.origin().to_owned(), keys.group_id());
    let manifest = Manifest { origin, group_id, size, root, batches, files };
    write_file(dir, MANIFEST, manifest.encode().as_bytes())?;
    sync(&dir.join(ENTRIES))?;
    sync(dir)?;
    Ok(manifest)
}

struct Bundles<'a> {
    dir: &'a Path,
    bundle_bytes: u64,
    open: Option<Bundle>,
    files: Vec<FileLine>,
    batches: u64,
}

struct Bundle {
    name: String,
    path: PathBuf,
    out: BufWriter<File>,
    hasher: Sha256,
    bytes: u64,
}

impl Bundles<'_> {
    fn write(&mut self, batch: &ExportBatch, first_index: u64) -> Result<(), LedgerError> {
        let bundle = match &mut self.open {
            Some(bundle) => bundle,
            None => {
                let mut bundle = Bundle::create(self.dir, self.files.len())?;
                bundle.write(&BundleHeader { first_batch: self.batches, first_index }.encode())?;
                self.open.insert(bundle)
            }
        };
        bundle.write(&batch.encode())?;
        self.batches += 1;
        if bundle.bytes > self.bundle_bytes {
            self.close()?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), LedgerError> {
        if let Some(bundle) = self.open.take() {
            self.files.push(bundle.finish()?);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<FileLine>, LedgerError> {
        self.close()?;
        Ok(self.files)
    }
}

impl Bundle {
    fn create(dir: &Path, number: usize) -> Result<Bundle, LedgerError> {
        let name = format!("{ENTRIES}/{number:08}");
        let path = dir.join(&name);
        let file = File::create_new(&path).map_err(|e| io(&path, e))?;
        let out = BufWriter::with_capacity(1 << 20, file);
        Ok(Bundle { name, path, out, hasher: Sha256::new(), bytes: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LedgerError> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|e| io(&self.path, e))
    }

    fn finish(self) -> Result<FileLine, LedgerError> {
        let path = self.path;
        let file = self.out.into_inner().map_err(|e| io(&path, e.into_error()))?;
        file.sync_all().map_err(|e| io(&path, e))?;
        Ok(FileLine { sha256: self.hasher.finalize().into(), bytes: self.bytes, name: self.name })
    }
}

fn make_empty(dir: &Path) -> Result<(), LedgerError> {
    fs::create_dir_all(dir).map_err(|e| io(dir, e))?;
    if fs::read_dir(dir).map_err(|e| io(dir, e))?.next().is_some() {
        let text = format!("{} is not empty; export to a new folder", dir.display());
        return Err(LedgerError::Config(text));
    }
    let entries = dir.join(ENTRIES);
    fs::create_dir(&entries).map_err(|e| io(&entries, e))
}

fn write_file(dir: &Path, name: &str, content: &[u8]) -> Result<FileLine, LedgerError> {
    let path = dir.join(name);
    let written = File::create_new(&path).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.map_err(|e| io(&path, e))?;
    Ok(FileLine {
        sha256: crate::record::sha256(&[content]),
        bytes: content.len() as u64,
        name: name.to_owned(),
    })
}

fn sync(path: &Path) -> Result<(), LedgerError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| io(path, e))
}

fn io(path: &Path, source: std::io::Error) -> LedgerError {
    LedgerError::Io { path: path.display().to_string(), source }
}
