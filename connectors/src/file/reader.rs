//! One file: split, handed over within a window, its cursor moved behind what is settled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::progress::Progress;
use super::source::{Config, Piece, Splitter};
use crate::ahead::Ahead;
use crate::background::Desk;
use crate::fault::bounded;
use crate::positions::Positions;
use crate::{Inbound, Receipt, Refusal, Verdict};

const SAVE_EVERY: Duration = Duration::from_millis(200);
const FINISH_WAIT: Duration = Duration::from_secs(30);

pub(super) struct Reader {
    pub(super) config: Config,
    pub(super) is_folder: bool,
    pub(super) desk: Desk,
    splitter: Splitter,
}

pub(super) enum ReadError {
    Stopped,
    Failed(String),
}

/// What comes back of message `index`.
struct Settled {
    index: i64,
    kept: bool,
    refusal: Option<Refusal>,
}

/// The file that is being read.
struct Open {
    name: String,
    messages: Vec<Piece>,
    positions: Positions,
    rewinding: Arc<AtomicBool>,
    retries: u32,
    /// Index of the message to hand over next.
    next: i64,
    progress: Progress,
    progress_path: PathBuf,
    saved: Instant,
    settled: (mpsc::UnboundedSender<Settled>, mpsc::UnboundedReceiver<Settled>),
}

impl Reader {
    pub(super) fn new(config: Config, is_folder: bool, splitter: Splitter, desk: Desk) -> Reader {
        Reader { config, is_folder, desk, splitter }
    }

    /// Returns when every message of the file is settled and the file is put away.
    pub(super) async fn read(&mut self, path: &Path) -> Result<(), ReadError> {
        let mut file = match self.open(path).await {
            Ok(file) => file,
            Err(error) => {
                let text = format!("{}: {error}", path.display());
                self.put_away(path, "failed").await?;
                return Err(ReadError::Failed(text));
            }
        };
        let end = file.messages.len() as i64;
        while file.positions.low() < end {
            if self.desk.stop.is_cancelled() {
                self.settle_rest(&mut file).await;
                return Err(ReadError::Stopped);
            }
            self.hand_over(&mut file, end);
            self.rewind(&mut file).await;
            tokio::select! {
                settled = file.settled.1.recv() => if let Some(settled) = settled {
                    self.take_back(&mut file, settled).await?;
                },
                () = self.desk.stop.cancelled() => {}
                // A Retry is waited out by `rewind`.
                () = tokio::time::sleep(Duration::from_millis(100)), if file.positions.pending() == 0 => {}
            }
        }
        file.save(true).map_err(|error| ReadError::Failed(format!("cannot save the cursor: {error}")))?;
        self.put_away(path, "done").await
    }

    async fn open(&self, path: &Path) -> Result<Open, String> {
        let (path, splitter, bytes_max) = (path.to_owned(), self.splitter, self.config.max_file_bytes);
        let progress_path = self.config.progress_path(self.is_folder);
        let opened = tokio::task::spawn_blocking(move || {
            let size = std::fs::metadata(&path).map_err(|error| error.to_string())?.len();
            if size > bytes_max {
                return Err(format!("is {size} bytes, more than max_file_bytes = {bytes_max}; split it"));
            }
            let content = Bytes::from(std::fs::read(&path).map_err(|error| error.to_string())?);
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let messages = splitter(&content);
            if messages.is_empty() {
                return Err(format!("is {size} bytes and holds no message; have it sent again"));
            }
            let progress = Progress::of(&name, &content).resume(&progress_path);
            let low = i64::try_from(progress.settled).unwrap_or(0).clamp(0, messages.len() as i64);
            Ok(Open {
                name,
                messages,
                positions: Positions::new(low),
                rewinding: Arc::default(),
                retries: 0,
                next: low,
                progress,
                progress_path,
                saved: Instant::now(),
                settled: mpsc::unbounded_channel(),
            })
        });
        opened.await.unwrap_or_else(|error| Err(format!("could not be split: {error}")))
    }

    fn hand_over(&self, file: &mut Open, end: i64) {
        while file.next < end
            && file.positions.pending() < self.config.max_in_flight.max(1)
            && !file.rewinding.load(Ordering::SeqCst)
        {
            let index = file.next;
            file.next += 1;
            if file.positions.deliver(index) {
                self.hand_over_one(file, index);
            }
        }
    }

    fn hand_over_one(&self, file: &Open, index: i64) {
        let message = usize::try_from(index).ok().and_then(|index| file.messages.get(index));
        let Some(Piece { offset, bytes, format, fault, doubt }) = message.cloned() else { return };
        let (receipt, verdicts) = Receipt::flagging(file.rewinding.clone());
        self.desk.status.count();
        let (status, back) = (self.desk.status.clone(), file.settled.0.clone());
        tokio::spawn(async move {
            let verdict = verdicts.last().await;
            status.settle(&verdict);
            let (kept, refusal) = match verdict {
                Verdict::Rejected(refusal, _) => (true, Some(refusal)),
                verdict => (matches!(verdict, Verdict::Committed(_)), None),
            };
            let _ = back.send(Settled { index, kept, refusal });
        });
        let (payload, too_large) = bounded(bytes, self.config.max_message_bytes);
        let inbound = Inbound {
            key: Arc::from(file.name.as_str()),
            position: format!("{}@{offset}", file.name),
            payload,
            format,
            fault: too_large.or(fault),
            doubt,
            headers: BTreeMap::new(),
            received_at: SystemTime::now(),
            receipt,
        };
        // A source that is gone drops it: its receipt says Retry, and the cursor stays.
        let _ = self.desk.ahead.send(Ahead { inbound, rewinding: file.rewinding.clone() });
    }

    /// After a Retry: backs off, then goes back to the first message that is not settled.
    async fn rewind(&self, file: &mut Open) {
        let Some(index) = file.positions.rewind() else { return };
        if !file.rewinding.load(Ordering::SeqCst) {
            return;
        }
        let wait = Duration::from_millis(100 << file.retries.min(6));
        file.retries = file.retries.saturating_add(1);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.desk.stop.cancelled() => return,
        }
        file.next = index;
        file.rewinding.store(false, Ordering::SeqCst);
    }

    async fn take_back(&self, file: &mut Open, settled: Settled) -> Result<(), ReadError> {
        if !settled.kept {
            file.positions.fail(settled.index);
            return Ok(());
        }
        if let (Some(refusal), true) = (settled.refusal, self.is_folder) {
            self.keep_refused(file, settled.index, &refusal)
                .await
                .map_err(|error| ReadError::Failed(format!("cannot write to failed/: {error}")))?;
        }
        if let Some(low) = file.positions.settle(settled.index) {
            file.retries = 0;
            file.progress.settled = low.unsigned_abs();
            file.save(false)
                .map_err(|error| ReadError::Failed(format!("cannot save the cursor: {error}")))?;
        }
        Ok(())
    }

    /// A copy of the message and, beside it, why it was refused.
    async fn keep_refused(&self, file: &Open, index: i64, refusal: &Refusal) -> std::io::Result<()> {
        let message = usize::try_from(index).ok().and_then(|index| file.messages.get(index));
        let Some(Piece { offset, bytes, .. }) = message else { return Ok(()) };
        let folder = self.config.path.join("failed");
        tokio::fs::create_dir_all(&folder).await?;
        let copy = folder.join(format!("{}@{offset}", file.name));
        tokio::fs::write(&copy, bytes).await?;
        let reason = format!("{}: {}\n", refusal.code, refusal.reason);
        tokio::fs::write(folder.join(format!("{}@{offset}.reason", file.name)), reason).await
    }

    /// At the end: what is out is waited for, and the cursor written.
    async fn settle_rest(&self, file: &mut Open) {
        self.desk.finish.cancelled().await;
        let settle = async {
            while file.positions.pending() > 0 {
                let Some(settled) = file.settled.1.recv().await else { return };
                if self.take_back(file, settled).await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(FINISH_WAIT, settle).await;
        if let Err(error) = file.save(true) {
            self.desk.status.fault(format!("cannot save the cursor: {error}"));
        }
    }

    /// Moves a folder's file into `done/` or `failed/`, never over another one.
    async fn put_away(&self, path: &Path, into: &str) -> Result<(), ReadError> {
        if !self.is_folder {
            return Ok(());
        }
        let folder = self.config.path.join(into);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let moved = async {
            tokio::fs::create_dir_all(&folder).await?;
            let mut target = folder.join(&name);
            let mut number = 1;
            while tokio::fs::try_exists(&target).await? {
                target = folder.join(format!("{name}.{number}"));
                number += 1;
            }
            tokio::fs::rename(path, target).await
        };
        moved.await.map_err(|error| ReadError::Failed(format!("cannot move {name} to {into}/: {error}")))
    }
}

impl Open {
    /// Not for every message: what is settled after the last save is read again after a crash, a duplicate.
    fn save(&mut self, now: bool) -> std::io::Result<()> {
        if !now && self.saved.elapsed() < SAVE_EVERY {
            return Ok(());
        }
        self.saved = Instant::now();
        self.progress.save(&self.progress_path)
    }
}

impl Drop for Open {
    /// Given up in the middle, after an error of the disk: what was read ahead must not be handed over as well.
    fn drop(&mut self) {
        self.rewinding.store(true, Ordering::SeqCst);
    }
}
