//! What this site answers to its peers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest};
use tokio::io::{AsyncWriteExt, BufWriter, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::server::TlsStream;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use super::acknowledged::{Acknowledged, Mark};
use super::append::{self, Append, AppendAnswer};
use super::frame::{self, Frame, Kind, pack, unpack};
use super::hello::{Admission, Hello, Identity, Refused};
use super::payloads;
use super::signers::Signers;
use super::snapshot::{Incoming, Outgoing};
use super::tls::Tls;
use crate::authors::Sending;
use crate::blocking;
use crate::cosign::{self, Cosigner};
use crate::membership::{Membership, Request};
use crate::observer::Observer;
use crate::partner;
use crate::passed_over::{PassOn, PassingOn};
use crate::raft::{LogId, StoreId, Types, Vote};
use crate::read_index::read_index;
use crate::record::Command;
use crate::seal::Sealer;
use crate::store::ledger_store::LedgerStore;
use crate::store::state_machine::{SnapshotOf, StateMachine};
use crate::tasks::Tasks;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWERS: usize = 256;
/// Requests of one connection that are answered at the same time.
const AT_ONCE: usize = 32;
const CONNECTIONS_MAX: usize = 256;
const TRANSFER_WAIT: Duration = Duration::from_secs(1);
/// A peer takes a connection for dead that owes an answer and is silent: one that takes long says so.
const BUSY: Duration = Duration::from_secs(2);

/// What a peer may ask of this site.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) raft: Raft<Types, StateMachine>,
    pub(crate) store: Arc<LedgerStore>,
    pub(crate) cosigner: Arc<Cosigner>,
    pub(crate) observer: Arc<Observer>,
    pub(crate) acknowledged: Arc<Acknowledged>,
    pub(crate) signers: Arc<Signers>,
    pub(crate) membership: Arc<Membership>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) passing_on: PassingOn,
    pub(crate) tasks: Tasks,
}

/// The same behind a listener: who may ask at all.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) served: Served,
    pub(crate) identity: Arc<Identity>,
    pub(crate) tls: Tls,
}

/// Serves until the task is dropped.
pub(crate) async fn listen(listener: TcpListener, service: Service) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let service = service.clone();
                let tasks = service.served.tasks.clone();
                tasks.spawn(async move {
                    if let Err(why) = serve(stream, service).await {
                        tracing::warn!(%from, %why, "a connection of a peer ended");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

type Reader = FramedRead<ReadHalf<TlsStream<TcpStream>>, LengthDelimitedCodec>;
type Writer = BufWriter<WriteHalf<TlsStream<TcpStream>>>;

async fn serve(stream: TcpStream, service: Service) -> Result<(), String> {
    let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, shake_hands(stream, &service));
    let (mut reader, writer, hello) =
        shaken.await.map_err(|_| "the handshake took too long".to_owned())??;
    let (answers, to_write) = mpsc::channel(ANSWERS);
    // Ends with the last sender.
    service.served.tasks.spawn(write_answers(writer, to_write));
    let mut connection = Connection::new(service.served.clone(), hello.clone(), answers);
    while let Some(bytes) = reader.next().await {
        // A peer that closes without a TLS goodbye has stopped; that is no fault of this side.
        let Ok(bytes) = bytes else { return Ok(()) };
        if !service.identity.still_admits(&hello) {
            return Err(format!("site {} is no longer a member as this node", hello.site));
        }
        connection.handle(frame::decode(bytes)?).await?;
    }
    Ok(())
}

async fn shake_hands(stream: TcpStream, service: &Service) -> Result<(Reader, Writer, Hello), String> {
    let (stream, names) = service.tls.accept(stream).await.map_err(|e| format!("tls: {e}"))?;
    let (read, write) = tokio::io::split(stream);
    let mut reader = FramedRead::new(read, frame::codec());
    let mut writer = BufWriter::with_capacity(64 << 10, write);
    let first = reader.next().await.ok_or("closed before the handshake")?.map_err(|e| e.to_string())?;
    let first = frame::decode(first)?;
    let greeted = match greet(&first, &names, service) {
        Ok((hello, Admission::ByItsWord)) if !service.served.membership.is_vouched_for(&hello).await => {
            Err(service.identity.refuse(&hello))
        }
        greeted => greeted.map(|(hello, _)| hello),
    };
    let (kind, body, result) = match greeted {
        Ok(hello) => (Kind::Answer, pack(&service.identity.hello())?, Ok(hello)),
        Err(why) => (Kind::Failed, Bytes::from(why.to_string()), Err(why)),
    };
    let answer = Frame { kind, id: first.id, body };
    frame::write(&mut writer, &answer).await.map_err(|e| e.to_string())?;
    writer.flush().await.map_err(|e| e.to_string())?;
    result.map(|hello| (reader, writer, hello)).map_err(|why| why.to_string())
}

fn greet(
    first: &Frame,
    certificate_names: &[String],
    service: &Service,
) -> Result<(Hello, Admission), Refused> {
    if first.kind != Kind::Hello {
        return Err(Refused::Other("the first message is no hello".into()));
    }
    let hello: Hello = unpack(&first.body).map_err(Refused::Other)?;
    if !certificate_names.contains(&hello.site) {
        return Err(Refused::Other(format!("the certificate does not name site {:?}", hello.site)));
    }
    service.identity.admit(&hello).map(|admission| (hello, admission))
}

async fn write_answers(mut writer: Writer, mut answers: mpsc::Receiver<Frame>) {
    while let Some(first) = answers.recv().await {
        let mut next = Some(first);
        while let Some(answer) = next {
            if frame::write(&mut writer, &answer).await.is_err() {
                return;
            }
            next = answers.try_recv().ok();
        }
        if writer.flush().await.is_err() {
            return;
        }
    }
}

/// One peer's requests on one connection, in the order of arrival.
pub(super) struct Connection {
    pub(super) served: Served,
    pub(super) caller: Hello,
    pub(super) answers: mpsc::Sender<Frame>,
    pub(super) at_once: Arc<Semaphore>,
    order: Order,
    appends: Option<Appends>,
    incoming: Option<Incoming>,
    outgoing: Option<Arc<Outgoing>>,
}

/// The order of a connection's appends. A leader takes for granted that a stream arrives as it was sent, and its
/// consensus stops for good where a follower lacks an entry that it has acknowledged already: the one behind an append
/// that was overtaken says so. TLS keeps the order; what comes late all the same is sent again.
#[derive(Default)]
struct Order {
    last: u64,
}

impl Order {
    /// Ids of a connection's requests rise. One that comes twice in a row says the same twice.
    fn takes(&mut self, id: u64) -> Result<(), String> {
        if id < self.last {
            return Err("an append came after a later one".into());
        }
        self.last = id;
        Ok(())
    }
}

/// The append stream that the peer is sending now.
struct Appends {
    session: u64,
    requests: mpsc::Sender<(u64, AppendEntriesRequest<Types>)>,
}

impl Connection {
    pub(super) fn new(served: Served, caller: Hello, answers: mpsc::Sender<Frame>) -> Connection {
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        let order = Order::default();
        Connection { served, caller, answers, at_once, order, appends: None, incoming: None, outgoing: None }
    }

    pub(super) async fn handle(&mut self, request: Frame) -> Result<(), String> {
        match request.kind {
            Kind::Append => self.append(request).await,
            Kind::Forward => self.forward(request).await,
            Kind::Vote
            | Kind::PreVote
            | Kind::TransferLeader
            | Kind::Cosign
            | Kind::ReadIndex
            | Kind::Membership
            | Kind::Testify
            | Kind::Sent
            | Kind::PassOn
            | Kind::Keys
            | Kind::Acknowledged => self.spawn(request).await,
            Kind::SnapshotBegin => {
                let store = self.served.store.clone();
                let begun = self.busy(move || Incoming::begin(store, &request.body)).await;
                let result = begun.map(|(incoming, held)| {
                    self.incoming = Some(incoming);
                    held
                });
                self.answer(request.id, result).await
            }
            Kind::SnapshotChunk => {
                let incoming = self.incoming.as_mut().ok_or("a piece of no snapshot")?;
                let result = blocking::in_place(|| incoming.piece(request.body));
                self.answer(request.id, result.map(|()| Bytes::new())).await
            }
            Kind::SnapshotEnd => self.install(request.id),
            Kind::FetchBegin => {
                let store = self.served.store.clone();
                let begun = self.busy(move || Outgoing::begin(&store)).await;
                let result = begun.map(|(outgoing, announced)| {
                    self.outgoing = Some(Arc::new(outgoing));
                    announced
                });
                self.answer(request.id, result).await
            }
            Kind::FetchPiece => {
                let outgoing = self.outgoing.clone().ok_or("a piece of no snapshot")?;
                let piece = self.busy(move || outgoing.piece(request.body)).await;
                self.answer(request.id, piece).await
            }
            Kind::Payloads => {
                let store = self.served.store.clone();
                let piece = self.busy(move || payloads::read(&store, request.body)).await;
                self.answer(request.id, piece).await
            }
            // What else this peer asks goes on.
            Kind::Unknown => {
                let why = "the release of this site does not know that request; run a later one".to_owned();
                self.answer(request.id, Err(why)).await
            }
            Kind::Hello | Kind::Answer | Kind::Failed => Err(format!("unexpected {:?}", request.kind)),
        }
    }

    pub(super) async fn answer(&self, id: u64, result: Result<Bytes, String>) -> Result<(), String> {
        send(&self.answers, id, result).await
    }

    async fn append(&mut self, request: Frame) -> Result<(), String> {
        if let Err(why) = self.order.takes(request.id) {
            return self.answer(request.id, Err(why)).await;
        }
        let mut append = append::decode(request.body)?;
        let leader = append.request.vote.leader_id.voted_for;
        if !self.served.membership.may_be(&self.caller, leader) {
            let why = format!("site {} sends entries as another node, {leader}", self.caller.site);
            return self.answer(request.id, Err(why)).await;
        }
        if let Some(sending) = append.sending(&self.caller.site) {
            if let Err(why) = self.is_signed(&sending, leader) {
                return self.answer(request.id, Err(why)).await;
            }
            #[cfg(any(test, feature = "sim"))]
            if !sending.signature.is_empty() {
                crate::sim::sent(&sending);
            }
            // Former releases propose whatever is forwarded to them.
            if self.caller.knows_later_kinds() {
                self.served.observer.authors.sent(sending);
            }
        }
        let Append { session, request: append, .. } = append;
        if self.appends.as_ref().is_none_or(|appends| appends.session != session) {
            self.appends = Some(self.start_appends(session));
        }
        if let Some(appends) = &self.appends {
            // A stream that has failed takes no more; the peer begins a new one.
            let _ = appends.requests.send((request.id, append)).await;
        }
        Ok(())
    }

    /// A leader that signs nothing could give each site another entry, and nobody could show it.
    fn is_signed(&self, sending: &Sending, leader: u64) -> Result<(), String> {
        let (caller, signers) = (&self.caller, &self.served.signers);
        let verifiers = self.served.cosigner.keys().verifiers();
        match verifiers.batch_key(&caller.site) {
            Some(key) if sending.is_signed_by(key) => {
                let is_known = self.served.membership.is_member(&caller.site, Some(leader));
                return if is_known { signers.note(leader) } else { Ok(()) };
            }
            // Of a later site whose admission this one has not applied yet.
            None if !sending.signature.is_empty() => return Ok(()),
            _ => {}
        }
        let may_be_unsigned = !caller.signs_sent && !signers.bind(leader)?;
        (may_be_unsigned && sending.signature.is_empty())
            .then_some(())
            .ok_or_else(|| format!("site {} has not signed the entries that it sends", caller.site))
    }

    fn start_appends(&self, session: u64) -> Appends {
        let (requests, receiver) = mpsc::channel(AT_ONCE);
        self.served.tasks.spawn(run_appends(self.served.raft.clone(), receiver, self.answers.clone()));
        Appends { session, requests }
    }

    async fn spawn(&self, request: Frame) -> Result<(), String> {
        let permit = self.at_once.clone().acquire_owned().await.map_err(|e| e.to_string())?;
        let (served, answers, caller) = (self.served.clone(), self.answers.clone(), self.caller.clone());
        self.served.tasks.spawn(async move {
            let result = match request.kind {
                Kind::Cosign => {
                    let answer = cosign::answer(served.cosigner, request.body).await;
                    answer.map(Bytes::from).map_err(|e| e.to_string())
                }
                Kind::Testify => {
                    let testimony =
                        unpack(&request.body).and_then(|asked| served.cosigner.witness.testify(&asked));
                    testimony.map(|signature| Bytes::copy_from_slice(&signature))
                }
                Kind::Sent => pack(&served.observer.authors.shown()),
                Kind::PassOn => pass_on(&served, &caller, &request.body),
                Kind::Acknowledged => acknowledged(&served, &caller, &request.body),
                Kind::Membership => while_busy(&answers, membership(&served, &caller, &request.body)).await,
                // The caller's own: its certificate bears its name.
                Kind::Keys => partner::answer(served.sealer, &caller.site, request.body).await,
                kind => control(&served.raft, kind, &request.body).await,
            };
            let _ = send(&answers, request.id, result).await;
            drop(permit);
        });
        Ok(())
    }

    /// Beside the requests that follow: it takes long.
    fn install(&mut self, id: u64) -> Result<(), String> {
        let incoming = self.incoming.take().ok_or("the end of no snapshot")?;
        let (raft, answers) = (self.served.raft.clone(), self.answers.clone());
        let ring = self.served.cosigner.keys().ring.clone();
        self.served.tasks.spawn(async move {
            let installed = async {
                let checked =
                    blocking::run(move || incoming.finish(&ring)).await.map_err(|e| e.to_string())?;
                let (vote, snapshot) = checked?;
                let applied = raft.metrics().borrow_watched().last_applied;
                may_follow(snapshot.meta.last_log_id.as_ref(), &vote, applied.as_ref())?;
                let snapshot = SnapshotOf { meta: snapshot.meta.clone(), snapshot };
                let installed = raft.install_full_snapshot(vote, snapshot).await;
                installed.map_err(|e| e.to_string()).and_then(|response| pack(&response))
            };
            let result = while_busy(&answers, installed).await;
            // Nobody hears it if the connection was lost.
            let _ = send(&answers, id, result).await;
        });
        Ok(())
    }

    async fn busy<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let work = async { blocking::run(work).await.map_err(|e| e.to_string())? };
        while_busy(&self.answers, work).await
    }
}

/// Whether a snapshot up to `last` can come from a leader with this vote to a site that has `applied` so much: consensus
/// takes it for granted, and stops for good where it is not so.
fn may_follow(last: Option<&LogId>, vote: &Vote, applied: Option<&LogId>) -> Result<(), String> {
    let Some(last) = last else { return Ok(()) };
    if last.leader_id.term > vote.leader_id.term {
        return Err(format!("the snapshot ends in term {}, later than its leader's", last.leader_id.term));
    }
    match applied {
        Some(applied) if last > applied && last.index <= applied.index => Err(format!(
            "the snapshot ends with entry {} of term {}, and this site has applied entry {} of term {}",
            last.index, last.leader_id.term, applied.index, applied.leader_id.term
        )),
        _ => Ok(()),
    }
}

/// Says again and again that this side is there while the work goes on: an answer to nothing.
async fn while_busy<T>(answers: &mpsc::Sender<Frame>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(BUSY, work.as_mut()).await {
            Ok(done) => return done,
            // A full queue says as much.
            Err(_) => drop(answers.try_send(Frame { kind: Kind::Answer, id: 0, body: Bytes::new() })),
        }
    }
}

/// A batch of the caller's own.
fn pass_on(served: &Served, caller: &Hello, body: &[u8]) -> Result<Bytes, String> {
    let asked: PassOn = unpack(body)?;
    let verifiers = served.cosigner.keys().verifiers();
    let key = verifiers.batch_key(&caller.site);
    let is_its_own = match Command::decode(asked.command.clone()) {
        Ok(Command::Batch(batch)) => {
            batch.head.site.as_str() == caller.site && key.is_some_and(|key| batch.verify(key).is_ok())
        }
        _ => false,
    };
    match is_its_own {
        true => served.passing_on.pass(asked, &caller.site),
        false => Err(format!("this is no batch of site {}", caller.site)),
    }
}

pub(super) async fn send(
    answers: &mpsc::Sender<Frame>,
    id: u64,
    result: Result<Bytes, String>,
) -> Result<(), String> {
    let frame = match result {
        Ok(body) => Frame { kind: Kind::Answer, id, body },
        Err(why) => Frame { kind: Kind::Failed, id, body: Bytes::from(why) },
    };
    answers.send(frame).await.map_err(|_| "the connection was lost".to_owned())
}

async fn control(raft: &Raft<Types, StateMachine>, kind: Kind, body: &[u8]) -> Result<Bytes, String> {
    match kind {
        Kind::Vote => raft.vote(unpack(body)?).await.map_err(|e| e.to_string()).and_then(|r| pack(&r)),
        Kind::ReadIndex => read_index(raft).await.and_then(|index| pack(&index)),
        Kind::PreVote => raft.pre_vote(unpack(body)?).await.map_err(|e| e.to_string()).and_then(|r| pack(&r)),
        _ => {
            let request: TransferLeaderRequest<Types> = unpack(body)?;
            // What the leader sent before it asked this may still be on its way to the disk.
            let last = request.last_log_id().map(|id| id.index);
            let _ = raft.wait(Some(TRANSFER_WAIT)).log_index_at_least(last, "a transfer of the lead").await;
            raft.handle_transfer_leader(request).await.map_err(|e| e.to_string()).and_then(|r| pack(&r))
        }
    }
}

async fn membership(served: &Served, caller: &Hello, body: &[u8]) -> Result<Bytes, String> {
    let request = unpack(body)?;
    if let Request::IsMember(node) = request {
        return pack(&served.membership.vouches_for(&node));
    }
    if !matches!(request, Request::List) && !served.membership.is_voter(&caller.site, caller.node) {
        return Err("sites that vote change the members; ask at one of them".into());
    }
    pack(&served.membership.lead_through(request).await)
}

/// What whoever leads knows of the others' raft logs.
fn acknowledged(served: &Served, caller: &Hello, body: &[u8]) -> Result<Bytes, String> {
    let leader = served.raft.server_metrics().borrow_watched().current_leader;
    if leader.is_none() || leader != caller.node {
        return Err(format!("site {} does not lead, as far as this site knows", caller.site));
    }
    let told: Vec<(StoreId, Mark)> = unpack(body)?;
    let (term, applied) = {
        let metrics = served.raft.metrics();
        let metrics = metrics.borrow_watched();
        (metrics.current_term, metrics.last_applied)
    };
    served.acknowledged.heard(&told, term, applied).map(|()| Bytes::new())
}

/// Feeds one append stream to openraft and answers in its order.
async fn run_appends(
    raft: Raft<Types, StateMachine>,
    requests: mpsc::Receiver<(u64, AppendEntriesRequest<Types>)>,
    answers: mpsc::Sender<Frame>,
) {
    let (ids, mut answered) = mpsc::unbounded_channel();
    let stream = futures_util::stream::unfold((requests, ids), |(mut requests, ids)| async move {
        let (id, request) = requests.recv().await?;
        ids.send(id).ok()?;
        Some((request, (requests, ids)))
    });
    let mut results = std::pin::pin!(raft.stream_append(stream));
    while let Some(result) = results.next().await {
        let Some(id) = answered.recv().await else { return };
        let body = match result {
            Ok(result) => match AppendEntriesResponse::from(result) {
                AppendEntriesResponse::Success => pack(&AppendAnswer::Success),
                AppendEntriesResponse::PartialSuccess(upto) => pack(&AppendAnswer::Partial(upto)),
                AppendEntriesResponse::Conflict => pack(&AppendAnswer::Conflict),
                AppendEntriesResponse::HigherVote(vote) => pack(&AppendAnswer::HigherVote(vote)),
            },
            Err(fatal) => Err(fatal.to_string()),
        };
        if send(&answers, id, body).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use openraft::impls::leader_id_std::LeaderId;

    use super::*;
    use crate::raft::log_id;

    #[test]
    fn an_append_that_was_overtaken_is_refused() {
        let mut order = Order::default();
        let taken = [3, 7, 5, 7, 8, 7].map(|id| order.takes(id).is_ok());
        assert_eq!(taken, [true, true, false, true, true, false]);
    }

    #[test]
    fn a_snapshot_that_consensus_would_stop_over_is_refused() {
        let vote = Vote { leader_id: LeaderId { term: 3, voted_for: 1 }, committed: true };
        let applied = log_id(2, 10);
        for (last, is_taken) in [
            (log_id(3, 11), true),
            (log_id(2, 10), true),
            // It brings nothing new.
            (log_id(1, 4), true),
            (log_id(4, 11), false),
            (log_id(3, 10), false),
            (log_id(3, 9), false),
        ] {
            assert_eq!(may_follow(Some(&last), &vote, Some(&applied)).is_ok(), is_taken, "{last:?}");
        }
        assert!(
            may_follow(Some(&log_id(3, 1)), &vote, None).is_ok() && may_follow(None, &vote, None).is_ok()
        );
    }
}
