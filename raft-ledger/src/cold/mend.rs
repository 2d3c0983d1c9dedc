//! What is missing in the folder of cold files comes back: a file that was lost or damaged, and after a snapshot came in
//! all those that the other site has moved already and this one does not hold. From any peer that has the entries, in
//! whatever files: the same entries make the same file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::catalogue::{self, Row};
use super::file::{Writer, entry_len};
use super::{Cold, Lost};
use crate::blocking;
use crate::housekeeping;
use crate::network::{Peer, Peers};
use crate::record::{Leaf, sha256};
use crate::store::files;
use crate::store::generation::{Family, Generation, index_key};
use crate::store::ledger_store::LedgerStore;

/// Before what could not be mended is tried again.
const PAUSE: Duration = Duration::from_secs(10);

/// Until the ledger closes. `reserve_bytes` stay free on the disk of the cold files.
pub(crate) async fn run(store: Arc<LedgerStore>, peers: Peers, reserve_bytes: u64) {
    let cold = store.cold().clone();
    let (mut surveyed, mut shown) = (PathBuf::new(), String::new());
    loop {
        let db = store.generation();
        if db.path() != surveyed {
            let (look, at) = (cold.clone(), db.clone());
            match blocking::attempt(move || look.survey(&at)).await {
                Ok(()) => surveyed = db.path().to_owned(),
                Err(error) => tracing::error!(%error, "the catalogue of cold files cannot be read"),
            }
        }
        // A database that another one has replaced goes with its last reader.
        drop(db);
        for lost in cold.lost() {
            if let Err(why) = mend(&store, &peers, &lost, reserve_bytes).await
                && why != shown
            {
                tracing::warn!(file = lost.row.name(), why, "a cold file cannot be mended yet");
                shown = why;
            }
        }
        tokio::select! {
            () = cold.told.notified() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn mend(store: &LedgerStore, peers: &Peers, lost: &Lost, reserve_bytes: u64) -> Result<(), String> {
    let (cold, row) = (store.cold().clone(), lost.row.clone());
    let back = {
        let (cold, row) = (cold.clone(), row.clone());
        blocking::run(move || is_whole(&cold, &row)).await.map_err(|e| e.to_string())?
    };
    if back {
        cold.found(&row);
        return Ok(());
    }
    let all = peers.all();
    let mut why = "there is no peer to fetch it from; put it back from a backup".to_owned();
    for (_, peer) in all {
        match fetch(store, &cold, &peer, &row, reserve_bytes).await {
            Ok(()) => {
                tracing::info!(file = row.name(), site = peer.name, "a cold file was fetched");
                cold.found(&row);
                return Ok(());
            }
            Err(error) => why = format!("site {}: {error}", peer.name),
        }
    }
    Err(why)
}

/// An operator may have put it back.
fn is_whole(cold: &Cold, row: &Row) -> bool {
    let path = cold.path(row);
    files::len(&path) == Some(row.bytes) && files::sha256(&path).is_ok_and(|hash| hash == row.sha256)
}

async fn fetch(
    store: &LedgerStore,
    cold: &Cold,
    peer: &Peer,
    row: &Row,
    reserve_bytes: u64,
) -> Result<(), String> {
    let db = store.generation();
    if catalogue::row_of(&db, row.first).map_err(|e| e.to_string())?.as_ref() != Some(row) {
        return Err("the database names another file by now".into());
    }
    cold.make_dir().map_err(|e| e.to_string())?;
    let free = if reserve_bytes == 0 { u64::MAX } else { housekeeping::free_bytes(&cold.dir).unwrap_or(0) };
    if free < row.bytes.saturating_add(reserve_bytes) {
        return Err(format!("{} has too little room or is not there", cold.dir.display()));
    }
    let leaves = blocking::in_place(|| leaves(&db, row))?;
    let lens: Vec<u64> =
        leaves.iter().map(|(record, leaf)| entry_len(record.len(), leaf.ciphertext_len)).collect();
    let part = cold.part(row.first);
    let mut writer = Writer::begin(part.clone(), row.first, &lens).map_err(|e| e.to_string())?;
    let mut coming = BytesMut::new();
    for (index, (record, leaf)) in (row.first..).zip(&leaves) {
        let len = leaf.ciphertext_len as usize;
        while coming.len() < len {
            let piece = peer.payloads(index, coming.len() as u32, row.end).await;
            let piece = piece.map_err(|e| e.to_string())?;
            if piece.is_empty() {
                return Err(format!("it sent nothing for entry {index}"));
            }
            coming.extend_from_slice(&piece);
        }
        let payload = coming.split_to(len);
        if sha256(&[&payload]) != leaf.ciphertext_hash {
            return Err(format!("its payload of entry {index} is not what the leaf says"));
        }
        blocking::in_place(|| writer.entry(record, &payload)).map_err(|e| e.to_string())?;
    }
    blocking::in_place(|| {
        let (sha256, bytes) = writer.finish().map_err(|e| e.to_string())?;
        if (sha256, bytes) != (row.sha256, row.bytes) {
            return Err("its entries make another file than the database names".to_owned());
        }
        cold.put_in_place(&part, row).map_err(|e| e.to_string())
    })
}

/// Leaves of the file's entries, as they are stored.
fn leaves(db: &Generation, row: &Row) -> Result<Vec<(Bytes, Leaf)>, String> {
    let mut leaves = Vec::new();
    let scanned = db.scan(Family::Events, &index_key(row.first), &index_key(row.end), |_, record| {
        let record = Bytes::copy_from_slice(record);
        let leaf = Leaf::decode(record.clone());
        leaves.push((record, leaf.map_err(|e| crate::LedgerError::Damaged(e.to_string()))?));
        Ok(true)
    });
    scanned.map_err(|e| e.to_string())?;
    match leaves.len() as u64 == row.end - row.first {
        true => Ok(leaves),
        false => Err("leaves are missing in the database".into()),
    }
}
