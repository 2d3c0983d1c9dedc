//! The other members, each by three connections: opened when a member is first heard of, closed when it is none.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::acknowledged::Mark;
use super::frame::{Kind, pack, unpack};
use super::lane::{Lane, RpcError};
use super::payloads;
use super::snapshot::{self, Landing};
use crate::LedgerError;
use crate::authors::Sending;
use crate::cosign::Accusation;
use crate::membership::{Request, Told};
use crate::passed_over::PassOn;
use crate::raft::{Member, StoreId};
use crate::store::ledger_store::SnapshotDir;

pub(super) const CONTROL_TIMEOUT: Duration = Duration::from_secs(2);
const COSIGN_TIMEOUT: Duration = Duration::from_secs(2);
const FORWARD_TIMEOUT: Duration = Duration::from_secs(5);
/// Beyond an fsync; another site stands in for one that takes longer.
const KEYS_TIMEOUT: Duration = Duration::from_secs(2);
/// A change of the members is several entries that a majority must have on its disks; the leader says so if it takes
/// long.
const MEMBERSHIP_TIMEOUT: Duration = Duration::from_secs(60);

/// Another member.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) address: String,
    /// Votes and heartbeats.
    pub(super) control: Lane,
    /// Appends and forwarded batches.
    pub(super) bulk: Lane,
    /// Snapshots and checkpoints: neither votes nor appends wait for them.
    pub(super) snapshot: Lane,
}

impl Peer {
    pub(crate) fn is_connected(&self) -> bool {
        self.control.is_connected()
    }

    /// The latest rules of apply that its release knows, as it last said.
    pub(crate) fn apply_version(&self) -> Option<u32> {
        self.control.apply_version()
    }

    /// Hands a signed command to the peer, which is believed to lead. In the order of the calls.
    /// What is returned tells whether the peer took it.
    pub(crate) async fn forward(&self, command: Bytes) -> impl Future<Output = Result<(), RpcError>> + use<> {
        let lane = self.bulk.clone();
        let sent = lane.send(Kind::Forward, command).await;
        async move { lane.wait(sent, FORWARD_TIMEOUT).await.map(drop) }
    }

    /// Whether what the peer says to have taken by [`Peer::forward`] is in its log. Earlier builds may drop it.
    pub(crate) fn answers_for_it(&self) -> bool {
        self.bulk.answers_for_it()
    }

    /// The peer's signature lines for this site's signed checkpoint.
    pub(crate) async fn cosign(&self, request: Bytes) -> Result<Bytes, RpcError> {
        self.snapshot.call(Kind::Cosign, request, COSIGN_TIMEOUT).await
    }

    /// Tells the peer what is known of all raft logs.
    pub(crate) async fn acknowledged(&self, known: &[(StoreId, Mark)]) -> Result<(), RpcError> {
        let body = pack(&known).map_err(|why| self.unreadable(why))?;
        self.control.call(Kind::Acknowledged, body, CONTROL_TIMEOUT).await.map(drop)
    }

    /// The peer's signature, if it has seen the same.
    pub(crate) async fn testify(&self, what: &Accusation) -> Result<[u8; 64], RpcError> {
        let body = pack(what).map_err(|why| self.unreadable(why))?;
        let answer = self.snapshot.call(Kind::Testify, body, COSIGN_TIMEOUT).await?;
        answer.as_ref().try_into().map_err(|_| self.unreadable("a signature has 64 bytes".into()))
    }

    /// What leaders have signed of what they sent to the peer.
    pub(crate) async fn sent(&self) -> Result<Vec<Sending>, RpcError> {
        let answer = self.snapshot.call(Kind::Sent, Bytes::new(), COSIGN_TIMEOUT).await?;
        unpack(&answer).map_err(|why| self.unreadable(why))
    }

    /// Has the peer hand a batch of this site to the leader, and then the marker that it answers.
    pub(crate) async fn pass_on(&self, what: &PassOn) -> Result<Bytes, RpcError> {
        let body = pack(what).map_err(|why| self.unreadable(why))?;
        self.bulk.call(Kind::PassOn, body, CONTROL_TIMEOUT).await
    }

    /// Everything that the peer has applied, as a database that `check` finds nothing wrong with.
    pub(crate) async fn fetch_ledger(
        &self,
        landing: Landing,
        check: impl FnOnce(&Path) -> Result<(), LedgerError> + Send + 'static,
    ) -> Result<Arc<SnapshotDir>, RpcError> {
        snapshot::fetch(&self.snapshot, landing, check).await
    }

    /// Sealed payloads, see [`payloads::fetch`].
    pub(crate) async fn payloads(&self, index: u64, offset: u32, upto: u64) -> Result<Bytes, RpcError> {
        payloads::fetch(&self.snapshot, index, offset, upto).await
    }

    /// What the peer, which is believed to lead, has committed as of now: an index in the raft log.
    pub(crate) async fn read_index(&self) -> Result<u64, RpcError> {
        let answer = self.control.call(Kind::ReadIndex, Bytes::new(), CONTROL_TIMEOUT).await?;
        unpack(&answer).map_err(|why| self.unreadable(why))
    }

    /// Asks the peer, which is believed to lead, about the members or to change them.
    pub(crate) async fn membership(&self, request: &Request) -> Result<Told, RpcError> {
        let body = pack(request).map_err(|why| self.unreadable(why))?;
        let answer = self.control.call(Kind::Membership, body, MEMBERSHIP_TIMEOUT).await?;
        unpack(&answer).map_err(|why| self.unreadable(why))
    }

    /// What a later release might.
    #[cfg(test)]
    pub(crate) async fn ask_unknown(&self) -> [RpcError; 2] {
        let body = pack(&"OfTomorrow").unwrap();
        let [kind, request] = [Kind::Unknown, Kind::Membership].map(|kind| (kind, body.clone()));
        [
            self.control.call(kind.0, kind.1, CONTROL_TIMEOUT).await.unwrap_err(),
            self.control.call(request.0, request.1, CONTROL_TIMEOUT).await.unwrap_err(),
        ]
    }

    /// About this site's keys.
    pub(crate) async fn keys(&self, request: Bytes) -> Result<Bytes, RpcError> {
        self.bulk.call(Kind::Keys, request, KEYS_TIMEOUT).await
    }

    /// Whether it holds keys for others, as far as it ever said.
    pub(crate) fn keeps_keys(&self) -> Option<bool> {
        self.bulk.keeps_keys()
    }

    fn unreadable(&self, why: String) -> RpcError {
        RpcError::Remote { site: self.name.clone(), why }
    }
}

type Open = dyn Fn(u64, &Member) -> Peer + Send + Sync;

/// All other members, by node id.
#[derive(Clone)]
pub(crate) struct Peers {
    own: u64,
    open: Arc<Open>,
    known: Arc<Mutex<BTreeMap<u64, (Member, Peer)>>>,
}

impl Peers {
    pub(super) fn new(own: u64, open: impl Fn(u64, &Member) -> Peer + Send + Sync + 'static) -> Peers {
        Peers { own, open: Arc::new(open), known: Arc::default() }
    }

    pub(crate) fn get(&self, id: u64) -> Option<Peer> {
        self.lock().get(&id).map(|(_, peer)| peer.clone())
    }

    pub(crate) fn all(&self) -> Vec<(u64, Peer)> {
        self.lock().iter().map(|(id, (_, peer))| (*id, peer.clone())).collect()
    }

    /// The peer, connected to if it was not before.
    pub(super) fn reach(&self, id: u64, member: &Member) -> Peer {
        let mut known = self.lock();
        match known.get(&id).filter(|(before, _)| before == member) {
            Some((_, peer)) => peer.clone(),
            None => {
                let peer = (self.open)(id, member);
                known.insert(id, (member.clone(), peer.clone()));
                peer
            }
        }
    }

    /// Connects to these members and no others.
    pub(crate) fn keep(&self, members: &BTreeMap<u64, Member>) {
        self.lock().retain(|id, _| members.contains_key(id));
        for (id, member) in members.iter().filter(|(id, _)| **id != self.own) {
            self.reach(*id, member);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, (Member, Peer)>> {
        // Each use is one map operation or leaves a whole map behind it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
