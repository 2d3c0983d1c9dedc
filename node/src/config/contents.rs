//! What stands in the files that a configuration names and that are read once, at the start of what needs them. A reload
//! sees by it that one has changed. TLS certificates of listeners are none of them: those are followed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Secret;

/// Of a model's folder.
const MODEL_FILES: [&str; 3] = ["model.json", "model.ubj", "card.json"];

/// SHA-256 of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents(BTreeMap<PathBuf, [u8; 32]>);

impl Contents {
    pub fn of<'f>(files: impl IntoIterator<Item = &'f PathBuf>) -> Contents {
        // What cannot be read was found already, where it must be there.
        let hash = |file: &PathBuf| Some((file.clone(), Sha256::digest(std::fs::read(file).ok()?).into()));
        Contents(files.into_iter().filter_map(hash).collect())
    }

    pub fn of_models<'f>(folders: impl Iterator<Item = &'f PathBuf>) -> Contents {
        let files: Vec<PathBuf> =
            folders.flat_map(|folder| MODEL_FILES.map(|name| folder.join(name))).collect();
        Contents::of(&files)
    }

    /// Those that librdkafka reads: `ssl.ca.location` …
    pub fn files_of_kafka(options: &BTreeMap<String, Secret>) -> impl Iterator<Item = PathBuf> {
        let files = options.iter().filter(|(name, _)| name.ends_with(".location"));
        files.map(|(_, file)| PathBuf::from(file.expose()))
    }

    /// Of a file that both name.
    pub fn is_same(&self, other: &Contents, file: Option<&Path>) -> bool {
        file.is_none_or(|file| self.0.get(file) == other.0.get(file))
    }
}
