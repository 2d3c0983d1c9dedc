//! One connection to a peer: opened when needed, opened again after a failure, many requests under way at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::client::TlsStream;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use super::frame::{self, Frame, Kind};
use super::hello::{Hello, Identity};
use super::tls::Tls;
use crate::raft::Member;
use crate::tasks::Tasks;

const QUEUE: usize = 256;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that owes an answer and sends nothing for so long is taken for gone (a stopped host, a cut network):
/// TCP alone would notice after many minutes.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(3);

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum RpcError {
    #[error("site {site} cannot be reached: {why}")]
    Unreachable { site: String, why: String },
    /// It may have done what it was asked for.
    #[error("the connection to site {site} was lost before it answered")]
    Lost { site: String },
    #[error("site {site} answered: {why}")]
    Remote { site: String, why: String },
    #[error("site {site} did not answer in time")]
    Timeout { site: String },
}

pub(super) type Answer = oneshot::Sender<Result<Bytes, RpcError>>;

pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) body: Bytes,
    pub(super) answer: Answer,
}

/// A handle; the connection lives in a task that ends with the last handle.
#[derive(Clone)]
pub(super) struct Lane {
    site: String,
    requests: mpsc::Sender<Request>,
    heard: Arc<Heard>,
}

/// Of the peer at the other end.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) connected: AtomicBool,
    /// What it last said of itself.
    hello: Mutex<Option<Hello>>,
}

impl Heard {
    pub(super) fn hello(&self, hello: &Hello) {
        *self.lock() = Some(hello.clone());
    }

    fn knows_later_kinds(&self) -> bool {
        self.lock().as_ref().is_some_and(Hello::knows_later_kinds)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Hello>> {
        self.hello.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    pub(super) fn open(
        to: (u64, &Member),
        address: &str,
        tls: Tls,
        identity: Arc<Identity>,
        tasks: &Tasks,
    ) -> Lane {
        let (node, member) = to;
        let (lane, receiver) = Lane::new(&member.name);
        let line = Line {
            site: member.name.clone(),
            node,
            member: member.clone(),
            address: address.to_owned(),
            tls,
            identity,
            heard: lane.heard.clone(),
        };
        tasks.spawn(line.run(receiver));
        lane
    }

    /// A handle, and what it asks for: whoever holds the second is the connection.
    pub(super) fn new(site: &str) -> (Lane, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(QUEUE);
        (Lane { site: site.to_owned(), requests, heard: Arc::default() }, receiver)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.heard.connected.load(Ordering::Relaxed)
    }

    /// `None`: it was never connected.
    pub(super) fn apply_version(&self) -> Option<u32> {
        self.heard.lock().as_ref().map(|hello| hello.apply_version)
    }

    /// Whether it holds keys for others; `None`: it was never connected.
    pub(super) fn keeps_keys(&self) -> Option<bool> {
        self.heard.lock().as_ref().map(|hello| hello.keeps_keys)
    }

    /// Whether it answers what it is handed to propose once it has proposed it.
    pub(super) fn answers_for_it(&self) -> bool {
        self.heard.lock().as_ref().is_some_and(|hello| hello.signs_sent)
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn heard(&self) -> Arc<Heard> {
        self.heard.clone()
    }

    /// Queues the request; requests go out in the order of these calls.
    pub(super) async fn send(&self, kind: Kind, body: Bytes) -> oneshot::Receiver<Result<Bytes, RpcError>> {
        let (answer, receiver) = oneshot::channel();
        if let Err(mpsc::error::SendError(request)) = self.requests.send(Request { kind, body, answer }).await
        {
            let _ = request.answer.send(Err(self.unreachable("the connection is closed")));
        }
        receiver
    }

    pub(super) async fn wait(
        &self,
        receiver: oneshot::Receiver<Result<Bytes, RpcError>>,
        limit: Duration,
    ) -> Result<Bytes, RpcError> {
        match tokio::time::timeout(limit, receiver).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(RpcError::Lost { site: self.site.clone() }),
            Err(_) => Err(RpcError::Timeout { site: self.site.clone() }),
        }
    }

    pub(super) async fn call(&self, kind: Kind, body: Bytes, limit: Duration) -> Result<Bytes, RpcError> {
        let sent = tokio::time::timeout(limit, self.send(kind, body)).await;
        let receiver = sent.map_err(|_| RpcError::Timeout { site: self.site.clone() })?;
        self.wait(receiver, limit).await
    }

    fn unreachable(&self, why: &str) -> RpcError {
        RpcError::Unreachable { site: self.site.clone(), why: why.to_owned() }
    }
}

struct Line {
    site: String,
    node: u64,
    member: Member,
    address: String,
    tls: Tls,
    identity: Arc<Identity>,
    heard: Arc<Heard>,
}

/// Who waits for which answer.
#[derive(Default)]
struct Pending(Mutex<HashMap<u64, Answer>>);

impl Pending {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Answer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks who is at `address`, which must show a certificate of the site.
pub(crate) async fn probe(
    tls: &Tls,
    identity: &Identity,
    address: &str,
    site: &str,
) -> Result<Hello, String> {
    let greeted = tokio::time::timeout(CONNECT_TIMEOUT, greet(tls, identity, address, site)).await;
    greeted.map_err(|_| "connecting took too long".to_owned())?.map(|(_, _, hello)| hello)
}

async fn greet(
    tls: &Tls,
    identity: &Identity,
    address: &str,
    site: &str,
) -> Result<(Reader, Writer, Hello), String> {
    let stream = tls.connect(address, site).await.map_err(|e| e.to_string())?;
    let (read, write) = tokio::io::split(stream);
    let mut reader = FramedRead::new(read, frame::codec());
    let mut writer = BufWriter::with_capacity(64 << 10, write);
    let hello = Frame { kind: Kind::Hello, id: 0, body: frame::pack(&identity.hello())? };
    frame::write(&mut writer, &hello).await.map_err(|e| e.to_string())?;
    writer.flush().await.map_err(|e| e.to_string())?;
    let answer = reader.next().await.ok_or("closed before the handshake")?.map_err(|e| e.to_string())?;
    let answer = frame::decode(answer)?;
    if answer.kind == Kind::Failed {
        let text = String::from_utf8_lossy(&answer.body);
        identity.was_refused(site, &text);
        return Err(format!("refused: {text}"));
    }
    Ok((reader, writer, frame::unpack(&answer.body)?))
}

type Reader = FramedRead<ReadHalf<TlsStream<TcpStream>>, LengthDelimitedCodec>;
type Writer = BufWriter<WriteHalf<TlsStream<TcpStream>>>;

impl Line {
    async fn run(self, mut requests: mpsc::Receiver<Request>) {
        let mut backoff = BACKOFF_MIN;
        let mut shown = String::new();
        loop {
            let failed = match tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await {
                Ok(Ok((reader, writer))) => {
                    backoff = BACKOFF_MIN;
                    shown.clear();
                    if self.serve(reader, writer, &mut requests).await {
                        return;
                    }
                    "the connection was lost".to_owned()
                }
                Ok(Err(why)) => why,
                Err(_) => "connecting took too long".to_owned(),
            };
            if shown != failed {
                tracing::warn!(site = %self.site, address = %self.address, why = %failed, "no connection to a site");
                shown.clone_from(&failed);
            }
            if self.refuse_for(backoff, &failed, &mut requests).await {
                return;
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    async fn connect(&self) -> Result<(Reader, Writer), String> {
        if self.address.is_empty() {
            return Err(format!("no address is known for site {}; give it in [ledger] peers", self.site));
        }
        let (reader, writer, hello) = greet(&self.tls, &self.identity, &self.address, &self.site).await?;
        // Also one that is refused for it.
        self.heard.hello(&hello);
        self.identity.recognise(&hello, self.node, &self.member)?;
        self.identity.was_admitted(&self.site);
        Ok((reader, writer))
    }

    /// Answers requests with an error until it is time to try again. True once no handle is left.
    async fn refuse_for(&self, time: Duration, why: &str, requests: &mut mpsc::Receiver<Request>) -> bool {
        let until = tokio::time::sleep(time);
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => return false,
                request = requests.recv() => match request {
                    None => return true,
                    Some(request) => {
                        let error = RpcError::Unreachable { site: self.site.clone(), why: why.to_owned() };
                        let _ = request.answer.send(Err(error));
                    }
                },
            }
        }
    }

    /// Runs the connection until it breaks. True once no handle is left.
    async fn serve(&self, reader: Reader, writer: Writer, requests: &mut mpsc::Receiver<Request>) -> bool {
        let pending = Pending::default();
        let answers = AtomicU64::new(0);
        let former = (!self.heard.knows_later_kinds()).then_some(self.site.as_str());
        self.heard.connected.store(true, Ordering::Relaxed);
        // Both go on at the same time: a peer that answers is read from even while it takes no more.
        let closed = tokio::select! {
            () = read_answers(&self.site, reader, &pending, &answers) => false,
            closed = write_requests(writer, former, &pending, &answers, requests) => closed,
        };
        self.heard.connected.store(false, Ordering::Relaxed);
        // Dropping the senders tells those who wait that the connection was lost.
        pending.lock().clear();
        closed
    }
}

/// Until the connection fails (false) or no handle is left (true). `former`: the site, if its release does not know the
/// later kinds of requests.
async fn write_requests(
    mut writer: Writer,
    former: Option<&str>,
    pending: &Pending,
    answers: &AtomicU64,
    requests: &mut mpsc::Receiver<Request>,
) -> bool {
    let mut silence = tokio::time::interval(SILENCE_MAX);
    let mut owed_since = None;
    loop {
        tokio::select! {
            request = requests.recv() => {
                let Some(request) = request else { return true };
                let written = write(&mut writer, former, pending, request, requests);
                if !matches!(tokio::time::timeout(SILENCE_MAX, written).await, Ok(Ok(()))) {
                    return false;
                }
            }
            _ = silence.tick() => {
                let answered = answers.load(Ordering::Relaxed);
                let owes = !pending.lock().is_empty();
                if owes && owed_since == Some(answered) {
                    return false;
                }
                owed_since = owes.then_some(answered);
            }
        }
    }
}

/// Writes this request and those already waiting, then flushes once.
async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    former: Option<&str>,
    pending: &Pending,
    first: Request,
    requests: &mut mpsc::Receiver<Request>,
) -> std::io::Result<()> {
    let mut next = Some(first);
    while let Some(request) = next {
        match former.filter(|_| request.kind.is_later()) {
            // It would close the connection.
            Some(site) => {
                let why = "its release does not know that request; run a later one there".to_owned();
                let _ = request.answer.send(Err(RpcError::Remote { site: site.to_owned(), why }));
            }
            None => {
                let id = next_id();
                pending.lock().insert(id, request.answer);
                frame::write(writer, &Frame { kind: request.kind, id, body: request.body }).await?;
            }
        }
        next = requests.try_recv().ok();
    }
    writer.flush().await
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

async fn read_answers(site: &str, mut reader: Reader, pending: &Pending, answers: &AtomicU64) {
    while let Some(Ok(bytes)) = reader.next().await {
        let Ok(answer) = frame::decode(bytes) else { break };
        answers.fetch_add(1, Ordering::Relaxed);
        let waiting = pending.lock().remove(&answer.id);
        let Some(waiting) = waiting else { continue };
        let result = match answer.kind {
            Kind::Answer => Ok(answer.body),
            _ => {
                let why = String::from_utf8_lossy(&answer.body).into_owned();
                Err(RpcError::Remote { site: site.to_owned(), why })
            }
        };
        let _ = waiting.send(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_former_release_is_not_sent_what_it_would_close_the_connection_over() {
        for (former, sent) in [(None, 2), (Some("b"), 1)] {
            let (lane, mut requests) = Lane::new("b");
            let unknown = lane.send(Kind::Acknowledged, Bytes::new()).await;
            let _known = lane.send(Kind::Vote, Bytes::new()).await;
            let (pending, first) = (Pending::default(), requests.recv().await.unwrap());
            write(&mut tokio::io::sink(), former, &pending, first, &mut requests).await.unwrap();
            assert_eq!(pending.lock().len(), sent);
            if former.is_some() {
                assert!(matches!(unknown.await.unwrap(), Err(RpcError::Remote { .. })));
            }
        }
    }
}
