//! `shim.c`, built, and the files by which a test tells it what to do. The tests of whole sites use it, too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What goes wrong with one site's disk and clock.
pub struct Shim {
    library: PathBuf,
    disk: PathBuf,
    clock: PathBuf,
}

impl Shim {
    /// For `site`, with its files in `dir`; why not, where there is no compiler.
    pub fn build(dir: &Path, site: &str) -> Result<Shim, String> {
        let (source, library) = (dir.join("shim.c"), dir.join("shim.so"));
        if !library.exists() {
            std::fs::write(&source, include_str!("shim.c")).unwrap();
            let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
            let built = Command::new(compiler)
                .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
                .args([&library, &source])
                .arg("-ldl")
                .output()
                .map_err(|error| format!("no C compiler: {error}"))?;
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        }
        Ok(Shim { library, disk: dir.join(format!("{site}.disk")), clock: dir.join(format!("{site}.clock")) })
    }

    /// For the process of the site whose data are in `data`.
    pub fn environment(&self, data: &Path) -> BTreeMap<String, String> {
        std::fs::create_dir_all(data).unwrap();
        let text = |path: &Path| path.display().to_string();
        BTreeMap::from([
            ("LD_PRELOAD".to_owned(), text(&self.library)),
            ("FAULT_DISK_BELOW".to_owned(), text(&data.canonicalize().unwrap())),
            ("FAULT_DISK".to_owned(), text(&self.disk)),
            ("FAULT_CLOCK".to_owned(), text(&self.clock)),
        ])
    }

    /// From now on these operations (`w`, `s`, `r`) fail with this errno.
    pub fn disk_fails(&self, errno: i32, operations: &str) {
        replace(&self.disk, &format!("{errno} {operations}"));
    }

    pub fn disk_works(&self) {
        std::fs::remove_file(&self.disk).unwrap();
    }

    pub fn clock_is_off(&self, seconds: i64) {
        replace(&self.clock, &seconds.to_string());
    }
}

/// At once, so that nobody reads a half.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, path).unwrap();
}
