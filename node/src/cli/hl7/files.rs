//! Files named on the command line; folders stand for the files inside them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;

/// Standard input.
const STDIN: &str = "-";

pub fn read(file: &Path) -> anyhow::Result<Bytes> {
    let bytes = if file == Path::new(STDIN) {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    Ok(bytes.with_context(|| format!("cannot read {}", file.display()))?.into())
}

/// Every file in reading order; folders are walked by name, hidden files left out.
pub fn expand(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path != Path::new(STDIN) {
            std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        }
        if path.is_dir() { walk(path, &mut files)? } else { files.push(path.clone()) }
    }
    Ok(files)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let unreadable = || format!("cannot read the folder {}", folder.display());
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        let entries: Result<Vec<_>, _> = std::fs::read_dir(&folder).with_context(unreadable)?.collect();
        let mut entries = entries.with_context(unreadable)?;
        entries.retain(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in &entries {
            // Not followed: a link could lead around in a circle.
            let kind = entry.file_type().with_context(unreadable)?;
            if kind.is_file() {
                files.push(entry.path());
            }
        }
        waiting.extend(
            entries
                .iter()
                .rev()
                .map(std::fs::DirEntry::path)
                .filter(|path| path.is_dir() && !path.is_symlink()),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_named_and_standard_input_needs_no_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.hl7"), "").unwrap();
        let found = expand(&[folder.path().to_owned(), STDIN.into()]).unwrap();
        assert_eq!(found, [folder.path().join("a.hl7"), STDIN.into()]);
        let missing = folder.path().join("b.hl7");
        let said = format!("{:#}", expand(std::slice::from_ref(&missing)).unwrap_err());
        assert!(said.contains(&missing.display().to_string()), "{said}");
    }
}
