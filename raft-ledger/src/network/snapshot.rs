//! A snapshot is a directory of database files: announced by their hashes, sent as far as the other side lacks them,
//! checked, then installed. Sent by the leader to a site that is too far behind ([`send`]), or fetched by a site that
//! has lost its ledger ([`fetch`]).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::raft::SnapshotResponse;
use serde::{Deserialize, Serialize};

use super::frame::{Kind, pack, unpack};
use super::lane::{Lane, RpcError};
use crate::apply::check_admissions;
use crate::keys::KeyRing;
use crate::raft::{Types, Vote};
use crate::store::arrival::Arrival;
use crate::store::content::Content;
use crate::store::files;
use crate::store::generation::Generation;
use crate::store::ledger_store::{LedgerStore, SnapshotDir};
use crate::store::recompute::check_root;
use crate::{LedgerError, blocking};

const PIECE_BYTES: usize = 1 << 20;
pub(super) const PIECE_TIMEOUT: Duration = Duration::from_secs(30);
/// Hashing the tables of a large ledger takes its time, recomputing its root as well. A peer that is busy with it says
/// so meanwhile.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(3_600);
const INSTALL_TIMEOUT: Duration = Duration::from_secs(3_600);

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    vote: Vote,
    files: Vec<Content>,
}

/// The answer to a manifest.
#[derive(Debug, Serialize, Deserialize)]
struct Held {
    /// Numbers of the files that need not be sent.
    files: BTreeSet<u32>,
}

pub(super) async fn send(
    lane: &Lane,
    vote: Vote,
    snapshot: &Arc<SnapshotDir>,
) -> Result<SnapshotResponse<Types>, RpcError> {
    let files = list(snapshot).await.map_err(local)?;
    let manifest = pack(&Manifest { vote, files: files.clone() }).map_err(local)?;
    let held = lane.call(Kind::SnapshotBegin, manifest, BEGIN_TIMEOUT).await?;
    let held: Held = unpack(&held).map_err(local)?;
    let missing = || files.iter().zip(0u32..).filter(|(_, number)| !held.files.contains(number));
    tracing::info!(
        files = files.len(),
        bytes = bytes_of(files.iter()),
        files_sent = missing().count(),
        bytes_sent = bytes_of(missing().map(|(file, _)| file)),
        "sending a snapshot"
    );
    for (file, number) in missing() {
        let mut offset = 0;
        while offset < file.bytes {
            let path = snapshot.path().join(&file.name);
            let piece = blocking::run(move || read_piece(&path, number, offset)).await;
            let piece = piece.map_err(|e| local(e.to_string()))?.map_err(local)?;
            offset += (piece.len() - PIECE_HEADER) as u64;
            lane.call(Kind::SnapshotChunk, piece, PIECE_TIMEOUT).await?;
        }
    }
    let answer = lane.call(Kind::SnapshotEnd, Bytes::new(), INSTALL_TIMEOUT).await?;
    unpack(&answer).map_err(local)
}

fn local(why: String) -> RpcError {
    RpcError::Remote { site: "this".into(), why }
}

fn bytes_of<'a>(files: impl Iterator<Item = &'a Content>) -> u64 {
    files.map(|file| file.bytes).sum()
}

async fn list(snapshot: &Arc<SnapshotDir>) -> Result<Vec<Content>, String> {
    let snapshot = snapshot.clone();
    let listed = blocking::run(move || snapshot.files().map_err(|e| e.to_string())).await;
    listed.map_err(|e| e.to_string())?
}

/// Number of the file and offset in it.
const PIECE_HEADER: usize = 12;

fn read_piece(path: &Path, number: u32, offset: u64) -> Result<Bytes, String> {
    let bytes =
        files::read_piece(path, offset, PIECE_BYTES).map_err(|e| format!("{}: {e}", path.display()))?;
    if bytes.is_empty() {
        return Err(format!("{} ended early", path.display()));
    }
    let mut out = BytesMut::with_capacity(PIECE_HEADER + bytes.len());
    out.put_u32(number);
    out.put_u64(offset);
    out.put_slice(&bytes);
    Ok(out.freeze())
}

fn piece_of(body: &mut Bytes) -> Result<(u32, u64), String> {
    if body.len() < PIECE_HEADER {
        return Err("a piece of a snapshot is shorter than its header".into());
    }
    Ok((body.get_u32(), body.get_u64()))
}

/// A snapshot on its way in.
pub(super) struct Incoming {
    vote: Vote,
    arrival: Arrival,
    store: Arc<LedgerStore>,
}

impl Incoming {
    /// With the answer to the manifest. Blocks.
    pub(super) fn begin(store: Arc<LedgerStore>, body: &[u8]) -> Result<(Incoming, Bytes), String> {
        let manifest: Manifest = unpack(body)?;
        let arrival = store.arrival(manifest.files)?;
        let held = pack(&Held { files: arrival.held().clone() })?;
        Ok((Incoming { vote: manifest.vote, arrival, store }, held))
    }

    pub(super) fn piece(&mut self, mut body: Bytes) -> Result<(), String> {
        let (number, offset) = piece_of(&mut body)?;
        self.arrival.piece(number, offset, &body)
    }

    /// Checks that it is whole, that its leaves give its root, and that its sites are admitted. Blocks for as long as that
    /// takes.
    pub(super) fn finish(self, ring: &KeyRing) -> Result<(Vote, Arc<SnapshotDir>), String> {
        let path = self.store.new_path("i");
        let snapshot = self.arrival.finish(path, |path| {
            #[cfg(any(test, feature = "sim"))]
            if crate::sim::planted(crate::sim::Plant::SkippedRootCheck) {
                return Ok(());
            }
            check_root(path)?;
            check_admissions(&Generation::open_read_only(path)?, ring)
        })?;
        Ok((self.vote, snapshot))
    }
}

/// What a peer that fetches is given: everything that is applied here by now.
pub(super) struct Outgoing {
    snapshot: Arc<SnapshotDir>,
    files: Vec<Content>,
}

impl Outgoing {
    /// With the announcement. Blocks.
    pub(super) fn begin(store: &LedgerStore) -> Result<(Outgoing, Bytes), String> {
        if let Some(damage) = store.damage().found() {
            return Err(format!("its own ledger database is damaged: {damage}"));
        }
        let snapshot = store.checkpoint().map_err(|e| e.to_string())?;
        let files = snapshot.files().map_err(|e| e.to_string())?;
        let announced = pack(&files)?;
        Ok((Outgoing { snapshot, files }, announced))
    }

    /// Blocks.
    pub(super) fn piece(&self, mut body: Bytes) -> Result<Bytes, String> {
        let (number, offset) = piece_of(&mut body)?;
        let file = self.files.get(number as usize).ok_or("a piece of a file that was not announced")?;
        read_piece(&self.snapshot.path().join(&file.name), number, offset)
    }
}

/// Where a fetched ledger goes.
pub(crate) struct Landing {
    pub(crate) ledgerdb: PathBuf,
    /// Paths that nobody else uses: for a file that is not whole yet, and for the database.
    pub(crate) part: PathBuf,
    pub(crate) path: PathBuf,
    /// Databases some tables of which may be the same.
    pub(crate) dirs: Vec<PathBuf>,
}

/// Everything that the peer behind `lane` has applied, once `check` finds nothing wrong with it.
pub(super) async fn fetch(
    lane: &Lane,
    landing: Landing,
    check: impl FnOnce(&Path) -> Result<(), LedgerError> + Send + 'static,
) -> Result<Arc<SnapshotDir>, RpcError> {
    let announced = lane.call(Kind::FetchBegin, Bytes::new(), BEGIN_TIMEOUT).await?;
    let files: Vec<Content> = unpack(&announced).map_err(local)?;
    let Landing { ledgerdb, part, path, dirs } = landing;
    let (count, bytes) = (files.len(), bytes_of(files.iter()));
    let wanted = files.clone();
    let begun = move || Arrival::begin(&ledgerdb, part, wanted, &dirs);
    let mut arrival = blocking::run(begun).await.map_err(|e| local(e.to_string()))?.map_err(local)?;
    tracing::info!(
        files = count,
        bytes,
        files_here = arrival.held().len(),
        "fetching the ledger from a peer"
    );
    let missing = files.iter().zip(0u32..).filter(|(_, number)| !arrival.held().contains(number));
    let missing: Vec<(u32, u64)> = missing.map(|(file, number)| (number, file.bytes)).collect();
    for (number, bytes) in missing {
        let mut offset = 0;
        while offset < bytes {
            let mut ask = BytesMut::with_capacity(PIECE_HEADER);
            ask.put_u32(number);
            ask.put_u64(offset);
            let mut piece = lane.call(Kind::FetchPiece, ask.freeze(), PIECE_TIMEOUT).await?;
            if piece_of(&mut piece).map_err(local)? != (number, offset) || piece.is_empty() {
                return Err(local("the peer sent another piece than was asked for".into()));
            }
            let bytes = piece.len() as u64;
            // Not in place: a start, which fetches before consensus begins, may run where that is forbidden.
            let keep = move || {
                let kept = arrival.piece(number, offset, &piece);
                (kept, arrival)
            };
            let (kept, back) = blocking::run(keep).await.map_err(|e| local(e.to_string()))?;
            (arrival, offset) = (back, offset + bytes);
            kept.map_err(local)?;
        }
    }
    let finished = blocking::run(move || arrival.finish(path, check)).await;
    finished.map_err(|e| local(e.to_string()))?.map_err(local)
}

#[cfg(test)]
mod tests;
