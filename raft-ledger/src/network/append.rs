//! AppendEntries: many under way at once, answered in order.
//!
//! `session(8) header_len(4) header (count of entries in it) · per entry len(4) entry`; entries as on disk.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, FuturesOrdered, Stream};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendResult};
use serde::{Deserialize, Serialize};

use super::client::{StreamItem, as_openraft};
use super::frame::{Kind, unpack};
use super::lane::{Lane, RpcError};
use crate::authors::{Sending, Signing};
use crate::raft::{Entry, LogId, Types, Vote};
use crate::record::Hash;
use crate::store::{decode_entry, encode_entry_into, entry_len_hint, hash_of_encoded};

const UNDER_WAY_MAX: usize = 16;
/// For one answer; an fsync of a busy disk may take seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Serialize, Deserialize)]
struct Header {
    vote: Vote,
    prev_log_id: Option<LogId>,
    leader_commit: Option<LogId>,
    entries: u32,
    /// Of the leader, see `authors::Sending`. Earlier builds sign nothing, or other bytes under another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signed: Option<Bytes>,
}

/// What a peer sent.
pub(super) struct Append {
    pub(super) session: u64,
    pub(super) request: AppendEntriesRequest<Types>,
    /// Of its entries as they came.
    hashes: Vec<Hash>,
    signed: Option<Bytes>,
}

impl Append {
    /// What `site`, which has sent it, says of the entries in it.
    pub(super) fn sending(&mut self, site: &str) -> Option<Sending> {
        let sending = Sending::of(&self.request, std::mem::take(&mut self.hashes), site)?;
        Some(Sending { signature: self.signed.take().unwrap_or_default(), ..sending })
    }
}

pub(super) fn encode(
    session: u64,
    request: &AppendEntriesRequest<Types>,
    signing: &Signing,
) -> Result<Bytes, String> {
    let header = Header {
        vote: request.vote,
        prev_log_id: request.prev_log_id,
        leader_commit: request.leader_commit,
        entries: request.entries.len() as u32,
        signed: signing.sign(request)?,
    };
    let header = rmp_serde::to_vec_named(&header).map_err(|e| e.to_string())?;
    let entries: usize = request.entries.iter().map(|entry| 4 + entry_len_hint(entry)).sum();
    let mut out = Vec::with_capacity(12 + header.len() + entries);
    out.put_u64(session);
    out.put_u32(header.len() as u32);
    out.put_slice(&header);
    for entry in &request.entries {
        let start = out.len();
        out.put_u32(0);
        encode_entry_into(entry, &mut out)?;
        let len = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&len.to_be_bytes());
    }
    Ok(out.into())
}

pub(super) fn decode(mut bytes: Bytes) -> Result<Append, String> {
    if bytes.len() < 12 {
        return Err("an append is shorter than its header".into());
    }
    let session = bytes.get_u64();
    let header: Header = unpack(&part(&mut bytes)?)?;
    // An entry takes more than 16 bytes: what is reserved is bounded by what is there.
    let mut entries: Vec<Entry> = Vec::with_capacity((header.entries as usize).min(bytes.len() / 16));
    let mut hashes = Vec::with_capacity(entries.capacity());
    let mut next = header.prev_log_id.map_or(Some(0), |prev| prev.index.checked_add(1));
    for _ in 0..header.entries {
        let encoded = part(&mut bytes)?;
        let entry = decode_entry(encoded.clone())?;
        hashes.push(hash_of_encoded(&encoded));
        // Consensus takes it for granted, and stops for good where it is not so.
        if Some(entry.log_id.index) != next {
            return Err(format!("entry {} of an append does not follow the one before", entry.log_id.index));
        }
        next = entry.log_id.index.checked_add(1);
        entries.push(entry);
    }
    let Header { vote, prev_log_id, leader_commit, signed, .. } = header;
    // What cannot be verified yet is kept, too, and is to be bounded.
    if signed.as_ref().is_some_and(|signed| signed.len() > ed25519_dalek::SIGNATURE_LENGTH) {
        return Err("an append with a signature that is none".into());
    }
    let request = AppendEntriesRequest { vote, prev_log_id, entries, leader_commit };
    Ok(Append { session, request, hashes, signed })
}

fn part(bytes: &mut Bytes) -> Result<Bytes, String> {
    if bytes.len() < 4 {
        return Err("an append ends too early".into());
    }
    let len = bytes.get_u32() as usize;
    if len > bytes.len() {
        return Err("an append ends too early".into());
    }
    Ok(bytes.split_to(len))
}

/// What an answer says, without openraft's own layout.
#[derive(Serialize, Deserialize)]
pub(super) enum AppendAnswer {
    Success,
    Partial(Option<LogId>),
    Conflict,
    HigherVote(Vote),
}

impl From<AppendAnswer> for AppendEntriesResponse<Types> {
    fn from(answer: AppendAnswer) -> Self {
        match answer {
            AppendAnswer::Success => AppendEntriesResponse::Success,
            AppendAnswer::Partial(upto) => AppendEntriesResponse::PartialSuccess(upto),
            AppendAnswer::Conflict => AppendEntriesResponse::Conflict,
            AppendAnswer::HigherVote(vote) => AppendEntriesResponse::HigherVote(vote),
        }
    }
}

struct Pipeline<S> {
    lane: Lane,
    signing: Arc<Signing>,
    session: u64,
    input: S,
    input_ended: bool,
    under_way:
        FuturesOrdered<futures_util::future::BoxFuture<'static, Result<StreamAppendResult<Types>, RpcError>>>,
    stopped: bool,
}

/// Sends requests as they come and yields the answers in their order; ends after the first that is no success.
pub(super) fn pipeline<'s, S>(
    lane: Lane,
    signing: Arc<Signing>,
    session: u64,
    input: S,
) -> BoxStream<'s, StreamItem>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
{
    let state = Pipeline {
        lane,
        signing,
        session,
        input,
        input_ended: false,
        under_way: FuturesOrdered::new(),
        stopped: false,
    };
    futures_util::stream::unfold(state, Pipeline::next).boxed()
}

impl<S> Pipeline<S>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
{
    async fn next(mut self) -> Option<(StreamItem, Self)> {
        loop {
            if self.stopped || (self.input_ended && self.under_way.is_empty()) {
                return None;
            }
            let may_send = !self.input_ended && self.under_way.len() < UNDER_WAY_MAX;
            tokio::select! {
                biased;
                Some(answer) = self.under_way.next(), if !self.under_way.is_empty() => {
                    self.stopped = !matches!(answer, Ok(Ok(_)));
                    return Some((answer.map_err(|e| as_openraft(&e)), self));
                }
                request = self.input.next(), if may_send => match request {
                    None => self.input_ended = true,
                    Some(request) => self.send(request).await,
                },
            }
        }
    }

    async fn send(&mut self, request: AppendEntriesRequest<Types>) {
        let prev = request.prev_log_id;
        let last = request.entries.last().map(|entry| entry.log_id).or(prev);
        let lane = self.lane.clone();
        let sent = match encode(self.session, &request, &self.signing) {
            Ok(body) => Ok(lane.send(Kind::Append, body).await),
            // Asked for again after a pause, if at all.
            Err(why) => Err(RpcError::Unreachable { site: "this".into(), why }),
        };
        self.under_way.push_back(Box::pin(async move {
            let body = lane.wait(sent?, ANSWER_TIMEOUT).await?;
            let answer: AppendAnswer =
                unpack(&body).map_err(|why| RpcError::Remote { site: "peer".into(), why })?;
            if matches!(answer, AppendAnswer::Conflict) && prev.is_none() {
                return Err(RpcError::Remote {
                    site: "peer".into(),
                    why: "a conflict before the first entry".into(),
                });
            }
            Ok(AppendEntriesResponse::from(answer).into_stream_result(prev, last))
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SiteKeys;
    use crate::raft::{LeaderId, Payload, Proposal, log_id};
    use crate::store::LogStore;
    use openraft::storage::RaftLogStorage;

    #[tokio::test]
    async fn an_append_survives_and_a_short_one_is_refused() {
        let entry = |index| Entry {
            log_id: log_id(2, index),
            payload: Payload::Normal(Proposal(Bytes::from(vec![index as u8; 100]))),
        };
        let request = AppendEntriesRequest::<Types> {
            vote: Vote { leader_id: LeaderId { term: 2, voted_for: 1 }, committed: true },
            prev_log_id: Some(log_id(1, 4)),
            entries: vec![entry(5), entry(6)],
            leader_commit: Some(log_id(1, 3)),
        };
        let dir = tempfile::tempdir().unwrap();
        let made = crate::keys::init(dir.path(), &[("a", "h")]).unwrap();
        let keys = Arc::new(SiteKeys::load(&made[0]).unwrap());
        let log = LogStore::open(&dir.path().join("raftdb")).unwrap();
        log.clone().save_vote(&request.vote).await.unwrap();
        let signing = Signing::new(&keys, &log);
        let bytes = encode(9, &request, &signing).unwrap();
        let mut read = decode(bytes.clone()).unwrap();
        assert_eq!(read.session, 9);
        let sending = read.sending("a").unwrap();
        assert!(sending.is_signed_by(&keys.batch.verifying_key()));
        let back = read.request;
        assert_eq!(format!("{back:?}"), format!("{request:?}"));
        assert_eq!(back.entries, request.entries);
        let read = |prev_log_id, entries| {
            let other = AppendEntriesRequest::<Types> { prev_log_id, entries, ..request.clone() };
            decode(encode(9, &other, &signing).unwrap())
        };
        assert!(read(None, vec![entry(0), entry(1)]).is_ok());
        assert!(read(None, vec![entry(1)]).is_err());
        assert!(read(Some(log_id(1, 4)), vec![entry(5), entry(7)]).is_err());
        assert!(read(Some(log_id(1, u64::MAX)), vec![entry(0)]).is_err());
        for len in 0..bytes.len() {
            assert!(decode(bytes.slice(..len)).is_err(), "{len} bytes of an append were read");
        }
    }
}
