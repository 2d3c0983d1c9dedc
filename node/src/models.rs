//! Model folders on disk.

use std::path::Path;

use anyhow::{Context, bail};
use ml_scoring::{Model, Scorer};

/// A model folder holds a handful of files; the model itself is below 2 MiB in practice.
const FILE_BYTES_MAX: u64 = 256 << 20;
const NAMES: [&str; 4] = ["model.json", "model.ubj", "card.json", "golden.json"];

/// Reads and checks a model: it must reproduce its golden rows.
pub fn load(folder: &Path) -> anyhow::Result<Model> {
    let shown = folder.display();
    if !folder.is_dir() {
        bail!("{shown} is no folder; make a model with `medulla model train`");
    }
    let mut files = Vec::new();
    for name in NAMES {
        let path = folder.join(name);
        if !path.exists() {
            continue;
        }
        let size = path.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
        if size > FILE_BYTES_MAX {
            bail!("{} has {size} bytes; a model file has at most {FILE_BYTES_MAX}", path.display());
        }
        files.push((name, std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?));
    }
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    Model::load(&files).with_context(|| shown.to_string())
}

/// A model that this release can compute the features of.
pub fn scorer(folder: &Path) -> anyhow::Result<Scorer> {
    Scorer::model(load(folder)?).with_context(|| folder.display().to_string())
}
