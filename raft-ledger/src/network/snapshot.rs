//! A snapshot is a directory of database files: announced, sent in pieces, checked, then installed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::raft::SnapshotResponse;
use serde::{Deserialize, Serialize};

use super::frame::{Kind, pack, unpack};
use super::lane::{Lane, RpcError};
use crate::blocking;
use crate::raft::{Types, Vote};
use crate::store::files;
use crate::store::ledger_store::{LedgerStore, SnapshotDir};
use crate::store::recompute::check_root;

const PIECE_BYTES: usize = 1 << 20;
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);
/// Recomputing the root of a large ledger takes its time.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(3_600);
const FILES_MAX: usize = 100_000;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    vote: Vote,
    /// Name and size.
    files: Vec<(String, u64)>,
}

pub(super) async fn send(
    lane: &Lane,
    vote: Vote,
    snapshot: &Arc<SnapshotDir>,
) -> Result<SnapshotResponse<Types>, RpcError> {
    let local = |why: String| RpcError::Remote { site: "this".into(), why };
    let files = list(snapshot.path()).map_err(|e| local(e.to_string()))?;
    tracing::info!(
        files = files.len(),
        bytes = files.iter().map(|(_, size)| size).sum::<u64>(),
        "sending a snapshot"
    );
    let manifest = pack(&Manifest { vote, files: files.clone() }).map_err(local)?;
    lane.call(Kind::SnapshotBegin, manifest, PIECE_TIMEOUT).await?;
    for (number, (name, size)) in files.iter().enumerate() {
        let mut offset = 0;
        while offset < *size {
            let path = snapshot.path().join(name);
            let piece = blocking::run(move || read_piece(&path, number as u32, offset)).await;
            let piece = piece.map_err(|e| local(e.to_string()))?.map_err(|e| local(e.to_string()))?;
            offset += (piece.len() - 12) as u64;
            lane.call(Kind::SnapshotChunk, piece, PIECE_TIMEOUT).await?;
        }
    }
    let answer = lane.call(Kind::SnapshotEnd, Bytes::new(), INSTALL_TIMEOUT).await?;
    unpack(&answer).map_err(local)
}

fn list(dir: &Path) -> std::io::Result<Vec<(String, u64)>> {
    let mut files = files::sizes(dir)?;
    // A read-only opening leaves these; they belong to this process.
    files.retain(|(name, _)| name != "LOCK" && !name.starts_with("LOG"));
    Ok(files)
}

fn read_piece(path: &Path, number: u32, offset: u64) -> std::io::Result<Bytes> {
    let bytes = files::read_piece(path, offset, PIECE_BYTES)?;
    if bytes.is_empty() {
        return Err(std::io::Error::other(format!("{} ended early", path.display())));
    }
    let mut out = BytesMut::with_capacity(12 + bytes.len());
    out.put_u32(number);
    out.put_u64(offset);
    out.put_slice(&bytes);
    Ok(out.freeze())
}

/// A snapshot on its way in. Dropped unfinished, its directory is removed at the next start.
pub(super) struct Incoming {
    dir: PathBuf,
    pub(super) vote: Vote,
    files: Vec<(String, u64)>,
    received: BTreeMap<u32, u64>,
}

impl Incoming {
    pub(super) fn begin(store: &LedgerStore, body: &[u8]) -> Result<Incoming, String> {
        let manifest: Manifest = unpack(body)?;
        if manifest.files.len() > FILES_MAX || !manifest.files.iter().all(|(name, _)| is_plain(name)) {
            return Err("the snapshot names files that no database has".into());
        }
        let dir = store.new_path("i");
        files::make_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(Incoming { dir, vote: manifest.vote, files: manifest.files, received: BTreeMap::new() })
    }

    pub(super) fn piece(&mut self, mut body: Bytes) -> Result<(), String> {
        if body.len() <= 12 {
            return Err("a piece of a snapshot is empty".into());
        }
        let (number, offset) = (body.get_u32(), body.get_u64());
        let (name, size) =
            self.files.get(number as usize).ok_or("a piece of a file that was not announced")?;
        let received = self.received.entry(number).or_default();
        if offset != *received || offset + body.len() as u64 > *size {
            return Err(format!("a piece of {name} does not follow the one before"));
        }
        let path = self.dir.join(name);
        let last = offset + body.len() as u64 == *size;
        files::append(&path, &body, last).map_err(|e| format!("{}: {e}", path.display()))?;
        *received += body.len() as u64;
        Ok(())
    }

    /// Checks that it is whole and that its leaves give its root. Blocks for as long as that takes.
    pub(super) fn finish(self) -> Result<(Vote, Arc<SnapshotDir>), String> {
        for ((name, size), number) in self.files.iter().zip(0u32..) {
            if self.received.get(&number).copied().unwrap_or(0) != *size {
                return Err(format!("{name} of the snapshot is not whole"));
            }
            if *size == 0 {
                files::append(&self.dir.join(name), &[], false).map_err(|e| format!("{name}: {e}"))?;
            }
        }
        let snapshot = SnapshotDir::open(self.dir).map_err(|e| e.to_string())?;
        #[cfg(any(test, feature = "sim"))]
        if crate::sim::planted(crate::sim::Plant::SkippedRootCheck) {
            return Ok((self.vote, Arc::new(snapshot)));
        }
        check_root(snapshot.path()).map_err(|e| format!("the snapshot was refused: {e}"))?;
        Ok((self.vote, Arc::new(snapshot)))
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !name.is_empty() && name.len() < 100 && !name.starts_with('.') && name.bytes().all(plain)
}
