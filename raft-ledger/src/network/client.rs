//! openraft's way to the peers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
use super::peers::{CONTROL_TIMEOUT, Peer, Peers};
use super::tls::Tls;
use super::{append, snapshot};
use crate::authors::Signing;
use crate::keys::SiteKeys;
use crate::raft::{Member, Types, Vote};
use crate::store::ledger_store::SnapshotDir;
use crate::tasks::Tasks;

pub(super) type StreamItem = Result<StreamAppendResult<Types>, RPCError<Types>>;

/// openraft makes its clients here.
#[derive(Clone)]
pub(crate) struct Network {
    peers: Peers,
    signing: Arc<Signing>,
}

impl Network {
    /// `address_of`: where this site's own configuration says that a site is.
    pub(crate) fn new(
        address_of: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
        tls: &Tls,
        identity: &Arc<Identity>,
        keys: &Arc<SiteKeys>,
        tasks: &Tasks,
    ) -> Network {
        let signing = Signing::new(keys, &identity.log);
        let (tls, dialer, tasks) = (tls.clone(), identity.clone(), tasks.clone());
        let open = move |id: u64, member: &Member| {
            let address = address_of(&member.name).unwrap_or_else(|| member.address.clone());
            let lane = || Lane::open((id, member), &address, tls.clone(), dialer.clone(), &tasks);
            let name = member.name.clone();
            Peer { control: lane(), bulk: lane(), snapshot: lane(), name, address }
        };
        Network { peers: Peers::new(identity.roster.node, open), signing }
    }

    pub(crate) fn peers(&self) -> Peers {
        self.peers.clone()
    }

    /// Peers by lanes that lead elsewhere than into TLS.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn over(
        identity: &Identity,
        keys: &Arc<SiteKeys>,
        lane: impl Fn(u64, &Member) -> Lane + Send + Sync + 'static,
    ) -> Network {
        let open = move |id: u64, member: &Member| {
            let lane = || lane(id, member);
            let (name, address) = (member.name.clone(), String::new());
            Peer { control: lane(), bulk: lane(), snapshot: lane(), name, address }
        };
        let signing = Signing::new(keys, &identity.log);
        Network { peers: Peers::new(identity.roster.node, open), signing }
    }

    fn client(&self, target: u64, node: &Member, lane: impl Fn(&Peer) -> &Lane) -> Client {
        Client { lane: lane(&self.peers.reach(target, node)).clone(), signing: self.signing.clone() }
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
    lane: Lane,
    signing: Arc<Signing>,
}

impl Client {
    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        kind: Kind,
        request: &Q,
    ) -> Result<A, RPCError<Types>> {
        let body = pack(request).map_err(|e| RPCError::Network(NetworkError::from_string(e)))?;
        let answer = self.lane.call(kind, body, CONTROL_TIMEOUT).await;
        let answer = answer.map_err(|e| as_openraft(&e))?;
        unpack(&answer).map_err(|e| RPCError::Network(NetworkError::from_string(e)))
    }
}

/// A peer that is slow or refuses is asked again at once; one that cannot be reached after a pause.
pub(super) fn as_openraft(error: &RpcError) -> RPCError<Types> {
    match error {
        RpcError::Unreachable { .. } | RpcError::Lost { .. } => {
            RPCError::Unreachable(Unreachable::from_string(error))
        }
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
        let body = append::encode(next_session(), &request, &self.signing).map_err(network)?;
        let answer = self.lane.call(Kind::Append, body, CONTROL_TIMEOUT).await;
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
            let (lane, signing) = (self.lane.clone(), self.signing.clone());
            Ok(append::pipeline(lane, signing, next_session(), input))
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
        let lane = self.lane.clone();
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
