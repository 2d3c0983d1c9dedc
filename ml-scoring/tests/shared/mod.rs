//! Where the shared data lies; a checkout without it skips, and says so.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

pub fn data() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let shared = std::env::var_os("MEDULLA_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from);
    let data = shared.join("data");
    if data.join("golden_utility.tsv").exists() {
        return Some(data);
    }
    eprintln!("skipped: no shared data at {} (set MEDULLA_SHARED)", data.display());
    None
}

pub fn open(data: &Path, name: &str) -> impl BufRead {
    let file = std::fs::File::open(data.join(format!("{name}.csv.zst"))).expect("the data file");
    BufReader::with_capacity(1 << 20, zstd::Decoder::new(file).expect("a zstd frame"))
}
