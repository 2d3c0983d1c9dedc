//! The wires of the simulation. Lanes, their requests and what a site answers are production's; sockets, TLS and
//! the handshake are not there: frames go through `sim::wires`, which delays, loses, doubles and cuts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use openraft::raft::{VoteRequest, VoteResponse};
use tokio::sync::mpsc;

use super::client::Network;
use super::frame::{self, Frame, Kind};
use super::hello::{Hello, Identity};
use super::lane::{Answer, Heard, Lane, Request, RpcError};
use super::server::{Connection, Served};
use crate::keys::SiteKeys;
use crate::raft::{Member, Types};
use crate::sim::wires::{self, Signal, Wire};
use crate::tasks::Tasks;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const SILENCE_MAX: Duration = Duration::from_secs(3);
const BACKOFF: Duration = Duration::from_millis(100);
const ANSWERS: usize = 256;

/// As the site `from`.
pub(crate) fn network(from: usize, identity: &Arc<Identity>, keys: &Arc<SiteKeys>, tasks: &Tasks) -> Network {
    let (tasks, dialer) = (tasks.clone(), identity.clone());
    Network::over(identity, keys, move |node, member| {
        let (lane, requests) = Lane::new(&member.name);
        let to = crate::sim::number_of(&member.name).unwrap_or(from);
        let (identity, member) = (dialer.clone(), member.clone());
        let heard = lane.heard();
        tasks.spawn(Line { from, to, node, member, identity, heard }.run(requests));
        lane
    })
}

/// The asking end of a connection: as `lane::Line`.
struct Line {
    from: usize,
    to: usize,
    node: u64,
    member: Member,
    identity: Arc<Identity>,
    heard: Arc<Heard>,
}

impl Line {
    async fn run(self, mut requests: mpsc::Receiver<Request>) {
        loop {
            let (wire, mut signals) = wires::dial(self.from, self.to, self.identity.hello());
            let opened = tokio::time::timeout(CONNECT_TIMEOUT, signals.recv()).await;
            if self.is_let_in(opened.ok().flatten()) {
                self.heard.connected.store(true, Ordering::Relaxed);
                if self.serve(&wire, &mut signals, &mut requests).await {
                    return;
                }
                self.heard.connected.store(false, Ordering::Relaxed);
            }
            drop(wire);
            if self.refuse_for(BACKOFF, &mut requests).await {
                return;
            }
        }
    }

    fn is_let_in(&self, answer: Option<Signal>) -> bool {
        match answer {
            Some(Signal::Opened(hello)) => {
                self.heard.hello(&hello);
                let known = self.identity.recognise(&hello, self.node, &self.member).is_ok();
                if known {
                    self.identity.was_admitted(&self.member.name);
                }
                known
            }
            Some(Signal::Refused(why)) => {
                self.identity.was_refused(&self.member.name, &why);
                false
            }
            _ => false,
        }
    }

    /// Until the connection breaks (false) or no handle is left (true).
    async fn serve(
        &self,
        wire: &Wire,
        signals: &mut mpsc::UnboundedReceiver<Signal>,
        requests: &mut mpsc::Receiver<Request>,
    ) -> bool {
        let mut pending: BTreeMap<u64, Answer> = BTreeMap::new();
        let mut silence = tokio::time::interval(SILENCE_MAX);
        let (mut next_id, mut answers, mut owed_since) = (1, 0u64, None);
        loop {
            tokio::select! {
                biased;
                signal = signals.recv() => match signal {
                    Some(Signal::Frame(bytes)) => {
                        answers += 1;
                        self.answer(bytes, &mut pending);
                    }
                    Some(Signal::Opened(_)) => {}
                    Some(Signal::Refused(_) | Signal::Closed) | None => return false,
                },
                request = requests.recv() => {
                    let Some(request) = request else { return true };
                    wire.send(to_bytes(&Frame { kind: request.kind, id: next_id, body: request.body }));
                    pending.insert(next_id, request.answer);
                    next_id += 1;
                }
                _ = silence.tick() => {
                    let owes = !pending.is_empty();
                    if owes && owed_since == Some(answers) {
                        return false;
                    }
                    owed_since = owes.then_some(answers);
                }
            }
        }
    }

    fn answer(&self, bytes: Bytes, pending: &mut BTreeMap<u64, Answer>) {
        let Ok(answer) = frame::decode(BytesMut::from(bytes)) else { return };
        let Some(waiting) = pending.remove(&answer.id) else { return };
        let result = match answer.kind {
            Kind::Answer => Ok(answer.body),
            _ => {
                let why = String::from_utf8_lossy(&answer.body).into_owned();
                Err(RpcError::Remote { site: self.member.name.clone(), why })
            }
        };
        let _ = waiting.send(result);
    }

    async fn refuse_for(&self, time: Duration, requests: &mut mpsc::Receiver<Request>) -> bool {
        let until = tokio::time::Instant::now() + time;
        loop {
            match tokio::time::timeout_at(until, requests.recv()).await {
                Err(_) => return false,
                Ok(None) => return true,
                Ok(Some(request)) => {
                    let why = "the connection was lost".to_owned();
                    let site = self.member.name.clone();
                    let _ = request.answer.send(Err(RpcError::Unreachable { site, why }));
                }
            }
        }
    }
}

fn to_bytes(frame: &Frame) -> Bytes {
    let mut bytes = BytesMut::with_capacity(9 + frame.body.len());
    bytes.put_u8(frame.kind as u8);
    bytes.put_u64(frame.id);
    bytes.put_slice(&frame.body);
    bytes.freeze()
}

/// Serves one connection of the site: as `server::serve`.
pub(crate) fn accept(
    site: usize,
    served: &Served,
    caller: (Arc<Identity>, Hello),
    wire: Wire,
    signals: mpsc::UnboundedReceiver<Signal>,
) {
    let (answers, to_write) = mpsc::channel(ANSWERS);
    let tasks = served.tasks.clone();
    let (votes, asked) = mpsc::unbounded_channel();
    let connection = Connection::new(served.clone(), caller.1.clone(), answers);
    let wire = Arc::new(wire);
    tasks.spawn(write_answers(site, wire.clone(), to_write, asked));
    tasks.spawn(serve(connection, caller, wire, signals, votes));
}

async fn serve(
    mut connection: Connection,
    (identity, hello): (Arc<Identity>, Hello),
    wire: Arc<Wire>,
    mut signals: mpsc::UnboundedReceiver<Signal>,
    votes: mpsc::UnboundedSender<(u64, VoteRequest<Types>)>,
) {
    while let Some(signal) = signals.recv().await {
        let Signal::Frame(bytes) = signal else { break };
        if !identity.still_admits(&hello) {
            break;
        }
        let Ok(request) = frame::decode(BytesMut::from(bytes)) else { break };
        if request.kind == Kind::Vote
            && let Ok(vote) = frame::unpack(&request.body)
        {
            let _ = votes.send((request.id, vote));
        }
        if connection.handle(request).await.is_err() {
            break;
        }
    }
    wire.close();
}

async fn write_answers(
    site: usize,
    wire: Arc<Wire>,
    mut answers: mpsc::Receiver<Frame>,
    mut asked: mpsc::UnboundedReceiver<(u64, VoteRequest<Types>)>,
) {
    let mut votes = BTreeMap::new();
    while let Some(answer) = answers.recv().await {
        while let Ok((id, vote)) = asked.try_recv() {
            votes.insert(id, vote);
        }
        if let Some(request) = votes.remove(&answer.id)
            && let Ok(VoteResponse { vote_granted: true, .. }) =
                frame::unpack::<VoteResponse<Types>>(&answer.body)
        {
            let candidate = request.vote.leader_id;
            crate::sim::voted(site, candidate.term, candidate.voted_for);
        }
        wire.send(to_bytes(&answer));
    }
}
