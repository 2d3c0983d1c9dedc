//! A disk that forgets at a power cut what no sync has reached.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::{Context, ensure};
use rand::Rng;

/// Inode and birth time in ns: what the shim calls a file.
type FileId = (u64, u128);

/// One folder watched by `shim/synced_sizes.c`.
pub struct Disk {
    folder: PathBuf,
    shim: PathBuf,
    log: PathBuf,
}

/// What a power cut took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cut {
    pub files: usize,
    pub files_cut: usize,
    pub bytes_cut: u64,
}

/// The built shim; `None` with the reason where this machine cannot have it.
pub fn build_shim(folder: &Path) -> anyhow::Result<Result<PathBuf, String>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/synced_sizes.c");
    let library = folder.join("synced_sizes.so");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let built = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .args([&library, &source])
        .args(["-ldl", "-lpthread"])
        .output();
    match built {
        Err(error) => return Ok(Err(format!("no C compiler: {error}"))),
        Ok(built) => ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr)),
    }
    if fs::metadata(&library)?.created().is_err() {
        return Ok(Err("the file system keeps no birth times".into()));
    }
    Ok(Ok(library))
}

impl Disk {
    /// `folder` is made if missing; what is in it now counts as synced.
    pub fn watch(folder: &Path, shim: &Path) -> anyhow::Result<Disk> {
        fs::create_dir_all(folder)?;
        let log = folder.with_extension("synced");
        let disk = Disk { folder: folder.canonicalize()?, shim: shim.to_owned(), log };
        disk.all_is_synced()?;
        Ok(disk)
    }

    /// For the process that writes there.
    pub fn environment(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("LD_PRELOAD".to_owned(), self.shim.display().to_string()),
            ("SYNCED_SIZES_BELOW".to_owned(), self.folder.display().to_string()),
            ("SYNCED_SIZES_LOG".to_owned(), self.log.display().to_string()),
        ])
    }

    /// Syncs of files whose names end in `end` do nothing and report success.
    pub fn environment_lying_about(&self, end: &str) -> BTreeMap<String, String> {
        let mut environment = self.environment();
        environment.insert("SYNCED_SIZES_LIE".to_owned(), end.to_owned());
        environment
    }

    /// Cuts every file back to its last synced length. The writing process must be dead.
    ///
    /// A file that was never synced is empty or not there, as `rng` says: with delayed allocation a journal may
    /// hold the name and no data, or neither. Renames and removals stay: journals keep them in order, and fsync of
    /// a new file keeps its name (ext4, XFS, btrfs). Sometimes the length survives and the data does not: then the
    /// tail is zeros.
    pub fn cut_power(&self, rng: &mut impl Rng) -> anyhow::Result<Cut> {
        let synced = self.synced_lengths()?;
        let mut cut = Cut::default();
        let mut files = Vec::new();
        files_below(&self.folder, &mut files)?;
        files.sort_by(|a, b| a.0.cmp(&b.0));
        for (path, metadata) in files {
            let kept = synced.get(&id(&metadata)?).copied();
            let lost = metadata.len().saturating_sub(kept.unwrap_or(0));
            let zeros = rng.gen_bool(0.25);
            cut.files += 1;
            cut.files_cut += usize::from(kept.is_none() || lost > 0);
            cut.bytes_cut += lost;
            if kept.is_none() && rng.gen_bool(0.5) {
                fs::remove_file(&path)?;
                continue;
            }
            let file = File::options().write(true).open(&path)?;
            // Never longer than it was: it may have been shortened since its sync.
            file.set_len(metadata.len() - lost)?;
            if zeros && kept.is_some() {
                file.set_len(metadata.len())?;
            }
        }
        self.all_is_synced()?;
        Ok(cut)
    }

    /// What a machine finds when it starts is on its disk.
    fn all_is_synced(&self) -> anyhow::Result<()> {
        let mut files = Vec::new();
        files_below(&self.folder, &mut files)?;
        let mut log = String::new();
        for (_, metadata) in files {
            let (inode, born_ns) = id(&metadata)?;
            log += &format!("0 {inode} {born_ns} {}\n", metadata.len());
        }
        fs::write(&self.log, log).context("the log of synced lengths")
    }

    fn synced_lengths(&self) -> anyhow::Result<HashMap<FileId, u64>> {
        let mut newest: HashMap<FileId, (u64, u64)> = HashMap::new();
        for line in fs::read_to_string(&self.log)?.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [order, inode, born_ns, length] = fields[..] else { anyhow::bail!("log line {line}") };
            let (order, length) = (order.parse()?, length.parse()?);
            let known = newest.entry((inode.parse()?, born_ns.parse()?)).or_default();
            if order >= known.0 {
                *known = (order, length);
            }
        }
        Ok(newest.into_iter().map(|(file, (_, length))| (file, length)).collect())
    }
}

fn id(metadata: &Metadata) -> anyhow::Result<FileId> {
    Ok((metadata.ino(), metadata.created()?.duration_since(UNIX_EPOCH)?.as_nanos()))
}

fn files_below(folder: &Path, files: &mut Vec<(PathBuf, Metadata)>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            files_below(&entry.path(), files)?;
        } else if metadata.is_file() {
            files.push((entry.path(), metadata));
        }
    }
    Ok(())
}
