//! The promise that came with a message: whoever holds the receipt owes its source an answer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

/// What the sender is told. MLLP sends `body`, HTTP all of it, Kafka and AMQP none of it.
#[derive(Clone, Default)]
pub struct Reply {
    /// HTTP status code.
    pub status: u16,
    pub content_type: &'static str,
    /// HTTP `Location`, relative to the server's base.
    pub location: Option<String>,
    pub body: Bytes,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body may repeat what the sender sent: patient data stays out of logs.
        write!(f, "Reply {{ status: {}, body: {} bytes }}", self.status, self.body.len())
    }
}

/// Why a message was refused: goes to the dead-letter topic or exchange, metrics and logs.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Stable, kebab-case.
    pub code: String,
    /// Says what to do; holds no patient data.
    pub reason: String,
}

#[derive(Debug)]
pub enum Verdict {
    /// Durable at this site (D1); a later verdict follows. HL7 enhanced mode sends its CA now.
    Stored(Reply),
    /// The feed's ack point is reached.
    Committed(Reply),
    /// The `Rejected` entry has reached the feed's ack point: dead-letter it, then acknowledge.
    Rejected(Refusal, Reply),
    /// Nothing is kept: the sender must send again (no MLLP answer, HTTP 503, AMQP requeue, Kafka re-read).
    Retry(String),
}

/// Answered exactly once, at the latest when dropped (then as [`Verdict::Retry`]).
#[derive(Debug)]
pub struct Receipt {
    verdicts: Option<mpsc::Sender<Verdict>>,
    on_retry: Option<Arc<AtomicBool>>,
}

/// The source's side of a [`Receipt`].
#[derive(Debug)]
pub struct Verdicts(mpsc::Receiver<Verdict>);

impl Receipt {
    pub fn new() -> (Receipt, Verdicts) {
        // Two: a Stored may precede the final verdict; so sending never waits.
        let (sender, receiver) = mpsc::channel(2);
        (Receipt { verdicts: Some(sender), on_retry: None }, Verdicts(receiver))
    }

    /// Raises `flag` before a Retry is passed on, so that a source whose messages keep an order hands over none
    /// of the successors that it has read already.
    pub(crate) fn flagging(flag: Arc<AtomicBool>) -> (Receipt, Verdicts) {
        let (mut receipt, verdicts) = Receipt::new();
        receipt.on_retry = Some(flag);
        (receipt, verdicts)
    }

    /// Durable at this site; may be called once, before the final verdict.
    pub fn stored(&mut self, reply: Reply) {
        if let Some(verdicts) = &self.verdicts {
            // A source that is gone no longer wants to know: its sender will send again.
            let _ = verdicts.try_send(Verdict::Stored(reply));
        }
    }

    pub fn committed(self, reply: Reply) {
        self.settle(Verdict::Committed(reply));
    }

    pub fn rejected(self, refusal: Refusal, reply: Reply) {
        self.settle(Verdict::Rejected(refusal, reply));
    }

    /// Of messages with the same key, none that comes after it is handed over before it has come again; those
    /// that were handed over already are the caller's to hold back.
    pub fn retry(self, reason: impl Into<String>) {
        self.settle(Verdict::Retry(reason.into()));
    }

    fn settle(mut self, verdict: Verdict) {
        self.send(verdict);
    }

    fn send(&mut self, verdict: Verdict) {
        let Some(verdicts) = self.verdicts.take() else { return };
        if let (Verdict::Retry(_), Some(flag)) = (&verdict, &self.on_retry) {
            flag.store(true, Ordering::SeqCst);
        }
        let _ = verdicts.try_send(verdict);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.send(Verdict::Retry("dropped before it was kept".into()));
    }
}

impl Verdicts {
    /// The next verdict. After anything but `Stored` there is none.
    pub async fn next(&mut self) -> Verdict {
        self.0.recv().await.unwrap_or_else(|| Verdict::Retry("the pipeline is gone".into()))
    }

    /// The final verdict, for transports that cannot say `Stored`.
    pub async fn last(mut self) -> Verdict {
        loop {
            match self.next().await {
                Verdict::Stored(_) => continue,
                verdict => return verdict,
            }
        }
    }
}
