//! One sender's connection: a reader that runs ahead by a bounded number of frames, and a writer that answers
//! strictly in order.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::frame::{Decoder, Event, Fault, encode_into};
use super::source::Config;
use super::stream::BoxedStream;
use crate::{Format, Inbound, Receipt, Refusal, Reply, SourceStatus, Verdict, Verdicts};

/// A sender that leaves out the CR after EB waits for its answer; so long it is waited for.
const CR_WAIT: Duration = Duration::from_millis(300);
/// A sender that does not read its answers is given up after this.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Answers that are ready together are written at the latest when they are so long.
const GATHERED_BYTES_MAX: usize = 64 * 1024;

/// Messages of one connection whose CA has left and whose AA has not; with more, the next CA waits.
const STORED_MAX: usize = 4096;

/// What the connections of one listener share.
pub(super) struct Shared {
    pub(super) intake: mpsc::Sender<Inbound>,
    pub(super) status: Arc<SourceStatus>,
    pub(super) stop: CancellationToken,
    pub(super) bytes: Arc<Semaphore>,
    pub(super) config: Config,
}

/// An answer that is owed, in order.
struct Owed {
    verdicts: Verdicts,
    bytes: OwnedSemaphorePermit,
}

pub(super) async fn serve(stream: BoxedStream, peer: SocketAddr, shared: Arc<Shared>) {
    let (input, output) = tokio::io::split(stream);
    let (owe, owed) = mpsc::channel(shared.config.read_ahead.max(1));
    // The writer ends reading when no further answer can be given.
    let mute = CancellationToken::new();
    let reader = Reader {
        key: Arc::from(peer.to_string()),
        count: 0,
        decoder: Decoder::new(shared.config.max_message_bytes),
        owe,
        shared: &shared,
    };
    let (read, ()) = tokio::join!(reader.run(input, &mute), write_answers(output, owed, &mute, &shared));
    if let Err(error) = read {
        tracing::debug!(%peer, %error, "mllp: connection lost");
        shared.status.fault(format!("connection lost: {error}"));
    }
}

struct Reader<'a> {
    key: Arc<str>,
    count: u64,
    decoder: Decoder,
    owe: mpsc::Sender<Owed>,
    shared: &'a Shared,
}

impl Reader<'_> {
    /// Ends with the stream, on `stop`, or when nothing more can be answered. What was read is still answered.
    async fn run(
        mut self,
        mut input: ReadHalf<BoxedStream>,
        mute: &CancellationToken,
    ) -> std::io::Result<()> {
        let stop = self.shared.stop.clone();
        let work = async {
            loop {
                while let Some(event) = self.decoder.next() {
                    if !self.take(event).await {
                        return Ok(());
                    }
                }
                let lacks_cr = self.decoder.lacks_cr();
                let reading = input.read_buf(self.decoder.buffer());
                let read = match lacks_cr {
                    false => reading.await,
                    true => match tokio::time::timeout(CR_WAIT, reading).await {
                        Ok(read) => read,
                        Err(_) => {
                            self.missing_cr().await;
                            continue;
                        }
                    },
                };
                if matches!(read, Ok(1..)) {
                    continue;
                }
                // However it ended, what came is kept. A sender that is gone does not hear the answers; one that has only
                // ended its side does.
                if self.decoder.lacks_cr() {
                    self.missing_cr().await;
                }
                if let Some(event) = self.decoder.end() {
                    self.take(event).await;
                }
                return read.map(drop);
            }
        };
        tokio::select! {
            // A connection that broke is told to the writer, too: what it left comes first.
            biased;
            ended = work => ended,
            () = stop.cancelled() => Ok(()),
            () = mute.cancelled() => Ok(()),
        }
    }

    async fn missing_cr(&mut self) {
        self.count_fault(Fault::MissingCr);
        let mut coming = self.decoder.supply_cr();
        while let Some(event) = coming {
            self.take(event).await;
            coming = self.decoder.next();
        }
    }

    /// Hands one event on; false when the source is gone.
    async fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Message(payload) => self.hand_over(payload, None).await,
            Event::Damaged(payload, fault) => {
                self.count_fault(fault);
                let refusal = Refusal { code: fault.code().into(), reason: fault.reason().into() };
                self.hand_over(payload, Some(refusal)).await
            }
            Event::Fault(fault) => {
                self.count_fault(fault);
                true
            }
        }
    }

    /// Waits while the answers owed or the bytes in flight are at their bound: then TCP's window fills.
    async fn hand_over(&mut self, payload: Bytes, fault: Option<Refusal>) -> bool {
        let all = self.shared.config.max_in_flight_bytes.max(1);
        let size = u32::try_from(payload.len().clamp(1, all)).unwrap_or(u32::MAX);
        let Ok(slot) = self.owe.reserve().await else { return false };
        let Ok(bytes) = self.shared.bytes.clone().acquire_many_owned(size).await else { return false };
        self.count += 1;
        let (receipt, verdicts) = Receipt::new();
        self.shared.status.count();
        slot.send(Owed { verdicts, bytes });
        let inbound = Inbound {
            key: self.key.clone(),
            position: format!("{}#{}", self.key, self.count),
            payload,
            format: Some(Format::Hl7v2),
            fault,
            doubt: None,
            headers: BTreeMap::new(),
            received_at: SystemTime::now(),
            receipt,
        };
        self.shared.intake.send(inbound).await.is_ok()
    }

    fn count_fault(&self, fault: Fault) {
        match fault {
            // Every few seconds from a sender that keeps its connection open by them; the counter tells of it.
            Fault::Empty => tracing::debug!(peer = %self.key, code = fault.code(), "mllp: framing fault"),
            _ => tracing::warn!(peer = %self.key, code = fault.code(), "mllp: framing fault"),
        }
        self.shared.status.fault(format!("{} ({}): {}", fault.code(), self.key, fault.reason()));
    }
}

async fn write_answers(
    output: WriteHalf<BoxedStream>,
    owed: mpsc::Receiver<Owed>,
    mute: &CancellationToken,
    shared: &Shared,
) {
    let mut queue = Queue { owed, front: None, stored: VecDeque::new(), shared };
    let mut answers = Answers { output, gathered: BytesMut::new(), unread: false, mute, shared };
    while let Some(verdict) = answers.written_before(queue.next()).await {
        match &verdict {
            Verdict::Stored(reply) => answers.add(&reply.body),
            Verdict::Committed(reply) | Verdict::Rejected(_, reply) => {
                answers.add(&reply.body);
                shared.status.settle(&verdict);
            }
            Verdict::Retry(_) => {
                shared.status.settle(&verdict);
                answers.write().await;
                mute.cancel();
                queue.settle_unanswered().await;
                hold(shared).await;
                break;
            }
        }
    }
    answers.write().await;
    mute.cancel();
    let _ = tokio::time::timeout(WRITE_TIMEOUT, answers.output.shutdown()).await;
}

/// What is owed, in the order of its messages. In HL7 enhanced mode a message has two (HL7 v2.9 ch. 2 §2.9.3): its CA
/// (stored) keeps that order, and its AA the order among the AAs, so that a late AA holds up no CA.
struct Queue<'a> {
    owed: mpsc::Receiver<Owed>,
    front: Option<Owed>,
    /// Their CA has left, their AA is to come.
    stored: VecDeque<Verdicts>,
    shared: &'a Shared,
}

impl Queue<'_> {
    /// `None`: all that was owed has been answered, and nothing more will come.
    async fn next(&mut self) -> Option<Verdict> {
        let Queue { owed, front, stored, .. } = self;
        let waits = !stored.is_empty();
        let has_room = stored.len() < STORED_MAX;
        let later = async {
            match stored.front_mut() {
                Some(verdicts) => verdicts.next().await,
                None => std::future::pending().await,
            }
        };
        let first = async {
            if front.is_none() {
                *front = owed.recv().await;
            }
            match front {
                Some(owed) => Some(owed.verdicts.next().await),
                None => None,
            }
        };
        tokio::select! {
            biased;
            verdict = later, if waits => {
                self.stored.pop_front();
                Some(verdict)
            }
            verdict = first, if has_room => match verdict {
                Some(Verdict::Stored(reply)) => {
                    // Durable: its bytes are no longer in flight.
                    self.stored.extend(self.front.take().map(|owed| owed.verdicts));
                    Some(Verdict::Stored(reply))
                }
                Some(verdict) => {
                    self.front = None;
                    Some(verdict)
                }
                None => self.after_the_last().await,
            },
        }
    }

    /// The sender sends no more; so long it may still wait for its AAs, and whether it does cannot be seen.
    async fn after_the_last(&mut self) -> Option<Verdict> {
        let first = self.stored.front_mut()?;
        let limit = Duration::from_secs(self.shared.config.hold_s);
        match tokio::time::timeout(limit, first.next()).await {
            Ok(verdict) => {
                self.stored.pop_front();
                Some(verdict)
            }
            Err(_) => {
                self.give_up_stored();
                None
            }
        }
    }

    /// They are kept, and nobody is there to hear more of it.
    fn give_up_stored(&mut self) {
        for _ in self.stored.drain(..) {
            self.shared.status.settle(&Verdict::Stored(Reply::default()));
        }
    }

    /// After one message without an answer none of its successors may have one: senders match answers by order.
    async fn settle_unanswered(mut self) {
        self.owed.close();
        self.give_up_stored();
        loop {
            let next = match self.front.take() {
                Some(owed) => Some(owed),
                None => self.owed.recv().await,
            };
            let Some(Owed { mut verdicts, bytes }) = next else { return };
            self.shared.status.settle(&verdicts.next().await);
            drop(bytes);
        }
    }
}

/// Never AE or AR for want of a quorum, because senders skip on those: no answer, and the connection stays.
async fn hold(shared: &Shared) {
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(shared.config.hold_s)) => {}
        () = shared.stop.cancelled() => {}
    }
}

/// The way back to the sender. A batch commits as one, so its answers are ready together and leave in one write.
struct Answers<'a> {
    output: WriteHalf<BoxedStream>,
    gathered: BytesMut,
    /// The sender takes no answers: those that follow are settled, and go nowhere.
    unread: bool,
    mute: &'a CancellationToken,
    shared: &'a Shared,
}

impl Answers<'_> {
    /// An empty answer is none: the sender asked for no acknowledgement (MSH-15/16 `NE`).
    fn add(&mut self, body: &[u8]) {
        if !body.is_empty() && !self.unread {
            encode_into(body, &mut self.gathered);
        }
    }

    /// What `next` yields; what has gathered is written before it is waited for.
    async fn written_before<T>(&mut self, next: impl Future<Output = T>) -> T {
        let mut next = std::pin::pin!(next);
        if self.gathered.len() < GATHERED_BYTES_MAX
            && let Poll::Ready(value) = futures_util::poll!(&mut next)
        {
            return value;
        }
        self.write().await;
        next.await
    }

    async fn write(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let written = async {
            self.output.write_all(&self.gathered).await?;
            self.output.flush().await
        };
        if !matches!(tokio::time::timeout(WRITE_TIMEOUT, written).await, Ok(Ok(()))) {
            self.shared.status.fault("a sender does not take its answers");
            self.unread = true;
            // Ends reading, and so what is owed.
            self.mute.cancel();
        }
        self.gathered.clear();
    }
}
