//! Which file comes next.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Deserialize;

use super::reader::{ReadError, Reader};
use crate::background::Background;
use crate::{ConnectorError, Format, Refusal, SourceState};

/// Cuts a file's bytes into messages. It does so alike each time.
pub type Splitter = fn(&Bytes) -> Vec<Piece>;

/// One message of a file.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Of its first byte in the file.
    pub offset: usize,
    pub bytes: Bytes,
    /// If it is known.
    pub format: Option<Format>,
    /// These two as of [`crate::Inbound`].
    pub fault: Option<Refusal>,
    pub doubt: Option<Refusal>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A file, or a folder, of which every file is read that is not hidden, in the order of names. What was read
    /// moves to `done/`; of refused messages, copies with the reason are put into `failed/`, and files that hold nothing or
    /// are too large move there.
    pub path: PathBuf,
    /// Go on with files that arrive in the folder. One is taken when it was not written for a second: write it
    /// under a hidden name and rename it.
    #[serde(default)]
    pub watch: bool,
    /// Where the cursor is kept; default: `.medulla-progress` in the folder, or `FILE.medulla-progress`.
    pub progress: Option<PathBuf>,
    /// A file is read whole; larger ones are refused.
    #[serde(default = "default_file_bytes")]
    pub max_file_bytes: u64,
    #[serde(default = "default_message_bytes")]
    pub max_message_bytes: usize,
    /// Messages taken and not yet settled.
    #[serde(default = "default_in_flight")]
    pub max_in_flight: usize,
}

fn default_file_bytes() -> u64 {
    512 * 1024 * 1024
}
fn default_message_bytes() -> usize {
    16 * 1024 * 1024
}
fn default_in_flight() -> usize {
    1000
}

impl Config {
    pub fn new(path: impl Into<PathBuf>) -> Config {
        Config {
            path: path.into(),
            watch: false,
            progress: None,
            max_file_bytes: default_file_bytes(),
            max_message_bytes: default_message_bytes(),
            max_in_flight: default_in_flight(),
        }
    }

    pub(super) fn progress_path(&self, is_folder: bool) -> PathBuf {
        match (&self.progress, is_folder) {
            (Some(path), _) => path.clone(),
            (None, true) => self.path.join(".medulla-progress"),
            (None, false) => PathBuf::from(format!("{}.medulla-progress", self.path.display())),
        }
    }
}

/// Reads from now on; ends, settled, when all files were read, unless it watches. To be called within a tokio runtime.
///
/// # Errors
/// A path that is not there, or watching what is no folder.
pub fn source(config: Config, splitter: Splitter) -> Result<Background, ConnectorError> {
    let kind = std::fs::metadata(&config.path).map_err(|error| ConnectorError::file(&config.path, error))?;
    if config.watch && !kind.is_dir() {
        return Err(ConnectorError::config("watch", "needs a folder as path"));
    }
    Background::start("file", |desk| {
        desk.status.set(SourceState::Running);
        let task = tokio::spawn(run(Reader::new(config, kind.is_dir(), splitter, desk)));
        Ok(async move { drop(task.await) })
    })
}

async fn run(mut reader: Reader) {
    while !reader.desk.stop.is_cancelled() {
        let (path, is_folder, watch) = (reader.config.path.clone(), reader.is_folder, reader.config.watch);
        let files = match is_folder {
            false => Ok(vec![path]),
            true => tokio::task::spawn_blocking(move || files(&path, watch))
                .await
                .unwrap_or_else(|e| Err(e.into())),
        };
        match files {
            Err(error) => reader.desk.status.fault(format!("cannot list the folder: {error}")),
            Ok(files) => {
                reader.desk.status.lag.store(files.len() as u64, std::sync::atomic::Ordering::Relaxed);
                for file in files {
                    match reader.read(&file).await {
                        Ok(()) => {}
                        Err(ReadError::Stopped) => return,
                        Err(ReadError::Failed(error)) => {
                            tracing::warn!(%error, "file: not read");
                            reader.desk.status.fault(error);
                        }
                    }
                }
            }
        }
        if !watch {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = reader.desk.stop.cancelled() => {}
        }
    }
    reader.desk.status.set(SourceState::Stopped);
}

/// Files of a folder by name, without hidden ones; when watching, without those still being written.
fn files(folder: &Path, watch: bool) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let hidden = entry.file_name().as_encoded_bytes().first() == Some(&b'.');
        let kind = entry.metadata()?;
        let quiet = || {
            let age = SystemTime::now().duration_since(kind.modified().unwrap_or(SystemTime::UNIX_EPOCH));
            age.is_ok_and(|age| age >= Duration::from_secs(1))
        };
        if kind.is_file() && !hidden && (!watch || quiet()) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
