//! Sealed payloads of a range of entries: what a site that has lost a cold file asks its peers for. One after the other
//! without lengths, which the asking site knows from its leaves.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::frame::Kind;
use super::lane::{Lane, RpcError};
use super::snapshot::PIECE_TIMEOUT;
use crate::record::Leaf;
use crate::store::applied::load_applied;
use crate::store::ledger_store::LedgerStore;

/// About so many bytes an answer.
const PIECE_BYTES: usize = 4 << 20;
/// Index and offset where it begins, and the index before which it ends.
const REQUEST_LEN: usize = 20;

/// From byte `offset` of the payload of `index` on, and not beyond the entry before `upto`.
pub(super) async fn fetch(lane: &Lane, index: u64, offset: u32, upto: u64) -> Result<Bytes, RpcError> {
    let mut ask = BytesMut::with_capacity(REQUEST_LEN);
    ask.put_u64(index);
    ask.put_u32(offset);
    ask.put_u64(upto);
    lane.call(Kind::Payloads, ask.freeze(), PIECE_TIMEOUT).await
}

/// Blocks.
pub(super) fn read(store: &LedgerStore, mut body: Bytes) -> Result<Bytes, String> {
    if body.len() != REQUEST_LEN {
        return Err("a request for payloads has another length".into());
    }
    let (mut index, mut offset, upto) = (body.get_u64(), body.get_u32() as usize, body.get_u64());
    let db = store.generation();
    if load_applied(&db).map_err(|e| e.to_string())?.size < upto {
        return Err("it has not applied these entries yet".into());
    }
    let mut out = BytesMut::new();
    while index < upto && out.len() < PIECE_BYTES {
        let leaf = db.leaf(index).and_then(|leaf| {
            Leaf::decode(leaf.into()).map_err(|e| crate::LedgerError::Damaged(format!("entry {index}: {e}")))
        });
        let leaf = leaf.map_err(|e| e.to_string())?;
        let payload = store.cold().payload(&db, index, &leaf).map_err(|e| e.to_string())?;
        let rest = payload.get(offset..).ok_or("a request for payloads begins beyond an entry")?;
        out.extend_from_slice(&rest[..rest.len().min(PIECE_BYTES - out.len())]);
        (index, offset) = (index + 1, 0);
    }
    Ok(out.freeze())
}
