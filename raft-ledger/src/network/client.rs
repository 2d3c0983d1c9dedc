//! openraft's way to the peers, and the ledger's own (forwarded batches).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, Stream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, type_config::alias::SnapshotOf};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame::{Kind, pack, unpack};
use super::hello::Identity;
use super::lane::{Lane, RpcError};
use super::snapshot::Landing;
use super::tls::Tls;
use super::{append, snapshot};
use crate::LedgerError;
use crate::raft::{Member, Types, Vote};
use crate::store::ledger_store::SnapshotDir;
use crate::tasks::Tasks;

const CONTROL_TIMEOUT: Duration = Duration::from_secs(2);
const COSIGN_TIMEOUT: Duration = Duration::from_secs(2);
const FORWARD_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) type StreamItem = Result<StreamAppendResult<Types>, RPCError<Types>>;

/// Another site, by the three connections to it.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) address: String,
    /// Votes and heartbeats.
    control: Lane,
    /// Appends and forwarded batches.
    bulk: Lane,
    /// Snapshots and checkpoints: neither votes nor appends wait for them.
    snapshot: Lane,
}

impl Peer {
    pub(crate) fn is_connected(&self) -> bool {
        self.control.is_connected()
    }

    /// Hands a signed command to the peer, which is believed to lead. In the order of the calls.
    /// What is returned tells whether the peer took it.
    pub(crate) async fn forward(&self, command: Bytes) -> impl Future<Output = Result<(), RpcError>> + use<> {
        let lane = self.bulk.clone();
        let sent = lane.send(Kind::Forward, command).await;
        async move { lane.wait(sent, FORWARD_TIMEOUT).await.map(drop) }
    }

    /// The peer's signature lines for this site's signed checkpoint.
    pub(crate) async fn cosign(&self, request: Bytes) -> Result<Bytes, RpcError> {
        self.snapshot.call(Kind::Cosign, request, COSIGN_TIMEOUT).await
    }

    /// Everything that the peer has applied, as a database that `check` finds nothing wrong with.
    pub(crate) async fn fetch_ledger(
        &self,
        landing: Landing,
        check: impl FnOnce(&Path) -> Result<(), LedgerError> + Send + 'static,
    ) -> Result<Arc<SnapshotDir>, RpcError> {
        snapshot::fetch(&self.snapshot, landing, check).await
    }

    /// What the peer, which is believed to lead, has committed as of now: an index in the raft log.
    pub(crate) async fn read_index(&self) -> Result<u64, RpcError> {
        let answer = self.control.call(Kind::ReadIndex, Bytes::new(), CONTROL_TIMEOUT).await?;
        unpack(&answer).map_err(|why| RpcError::Remote { site: self.name.clone(), why })
    }
}

/// All other sites, by node id.
pub(crate) type Peers = Arc<BTreeMap<u64, Peer>>;

/// openraft makes its clients here.
#[derive(Clone)]
pub(crate) struct Network {
    peers: Peers,
}

impl Network {
    /// `sites`: node id, name and address of each other site.
    pub(crate) fn new(
        sites: &[(u64, String, String)],
        tls: &Tls,
        identity: &Arc<Identity>,
        tasks: &Tasks,
    ) -> Network {
        let peer = |(id, name, address): &(u64, String, String)| {
            let lane = || Lane::open(name, address, tls.clone(), identity.clone(), tasks);
            let (name, address) = (name.clone(), address.clone());
            (*id, Peer { control: lane(), bulk: lane(), snapshot: lane(), name, address })
        };
        Network { peers: Arc::new(sites.iter().map(peer).collect()) }
    }

    pub(crate) fn peers(&self) -> Peers {
        self.peers.clone()
    }

    /// Peers by lanes that lead elsewhere than into TLS.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn over(sites: &[(u64, String)], lane: impl Fn(u64, &str) -> Lane) -> Network {
        let peer = |(id, name): &(u64, String)| {
            let lane = || lane(*id, name);
            let (name, address) = (name.clone(), String::new());
            (*id, Peer { control: lane(), bulk: lane(), snapshot: lane(), name, address })
        };
        Network { peers: Arc::new(sites.iter().map(peer).collect()) }
    }

    fn client(&self, target: u64, node: &Member, lane: impl Fn(&Peer) -> &Lane) -> Client {
        match self.peers.get(&target).filter(|peer| peer.name == node.name) {
            Some(peer) => Client { target, lane: Some(lane(peer).clone()) },
            None => Client { target, lane: None },
        }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: u64, node: &Member) -> Client {
        self.client(target, node, |peer| &peer.bulk)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Member) -> Client {
        self.client(target, node, |peer| &peer.control)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Member) -> Client {
        self.client(target, node, |peer| &peer.snapshot)
    }
}

pub(crate) struct Client {
    target: u64,
    /// `None`: a member that this site's configuration does not name.
    lane: Option<Lane>,
}

impl Client {
    fn lane(&self) -> Result<&Lane, RPCError<Types>> {
        self.lane.as_ref().ok_or_else(|| {
            let why = format!("no [ledger] peer is configured for node {}", self.target);
            RPCError::Unreachable(Unreachable::from_string(why))
        })
    }

    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        kind: Kind,
        request: &Q,
    ) -> Result<A, RPCError<Types>> {
        let body = pack(request).map_err(|e| RPCError::Network(NetworkError::from_string(e)))?;
        let answer = self.lane()?.call(kind, body, CONTROL_TIMEOUT).await;
        let answer = answer.map_err(|e| as_openraft(&e))?;
        unpack(&answer).map_err(|e| RPCError::Network(NetworkError::from_string(e)))
    }
}

/// A peer that is slow or refuses is asked again at once; one that cannot be reached after a pause.
pub(super) fn as_openraft(error: &RpcError) -> RPCError<Types> {
    match error {
        RpcError::Unreachable { .. } => RPCError::Unreachable(Unreachable::from_string(error)),
        RpcError::Remote { .. } | RpcError::Timeout { .. } => {
            RPCError::Network(NetworkError::from_string(error))
        }
    }
}

/// Numbers append streams, so that a peer never takes a late request of an old stream for one of a new.
fn next_session() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = Arc<SnapshotDir>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let network = |e: String| RPCError::Network(NetworkError::from_string(e));
        let body = append::encode(next_session(), &request).map_err(network)?;
        let answer = self.lane()?.call(Kind::Append, body, CONTROL_TIMEOUT).await;
        let answer = answer.map_err(|e| as_openraft(&e))?;
        unpack::<append::AppendAnswer>(&answer).map(Into::into).map_err(network)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, StreamItem>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let lane = self.lane()?.clone();
            Ok(append::pipeline(lane, next_session(), input))
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.call(Kind::Vote, &request).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.call(Kind::PreVote, &request).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<Types, Arc<SnapshotDir>>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let lane = self.lane().map_err(StreamingError::from)?.clone();
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = snapshot::send(&lane, vote, &snapshot.snapshot) => {
                sent.map_err(|e| StreamingError::from(as_openraft(&e)))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        self.call(Kind::TransferLeader, &request).await
    }
}
