//! Puts what a feed with `ack = "site"` brought into the outbox, in order, and answers once it is durable here.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use actix::prelude::*;
use connectors::{Receipt, Reply};
use futures_util::future::BoxFuture;
use raft_ledger::{AppendError, Draft, Outbox, Stored};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::committer::{ANSWER_WAIT, Accepted, Answer, Commit, Labels, Prepared};
use crate::metrics::Metrics;
use crate::window::Place;

/// Before a full outbox is asked again.
const ROOM_PAUSE: Duration = Duration::from_millis(20);

/// One feed's. Its queues hold what is in the feed's window and no more.
pub(crate) struct Storer {
    line: UnboundedSender<Prepared>,
}

impl Storer {
    /// Must be called where tasks can be spawned. `kind`: the feed's.
    pub fn new(kind: &str, outbox: Outbox, metrics: Metrics) -> Storer {
        let (line, coming) = unbounded_channel();
        let (put, taken) = unbounded_channel();
        let (owe, owed) = unbounded_channel();
        actix::spawn(stand_in_line(coming, outbox, put, metrics.clone()));
        actix::spawn(answer(taken, Shows::of(kind), owe, metrics));
        actix::spawn(answer_later(owed));
        Storer { line }
    }
}

impl Actor for Storer {
    type Context = Context<Self>;
}

impl Handler<Commit> for Storer {
    type Result = ();

    fn handle(&mut self, Commit(prepared): Commit, _: &mut Self::Context) {
        for message in prepared {
            // The line is gone only when the site stops; the receipt, dropped, then asks for a resend.
            let _ = self.line.send(message);
        }
    }
}

/// A message and what it is owed. Its receipt is gone once its sender was asked to send again.
struct Waiting {
    receipt: Option<Receipt>,
    answer: Answer,
    labels: Labels,
    received: Instant,
    place: Place,
}

/// What the outbox took, on its way to the disk.
struct Taken {
    waiting: Waiting,
    stored: BoxFuture<'static, Result<Stored, AppendError>>,
}

/// An answer that means a quorum.
struct Owed {
    receipt: Receipt,
    reply: Reply,
    stored: Stored,
    _place: Place,
}

/// Who waits for room stays in line, so that nobody overtakes; a resend of it is then known to the outbox.
async fn stand_in_line(
    mut coming: UnboundedReceiver<Prepared>,
    outbox: Outbox,
    put: UnboundedSender<Taken>,
    metrics: Metrics,
) {
    let mut line: VecDeque<(Vec<Draft>, Waiting)> = VecDeque::new();
    loop {
        while let Some((drafts, _)) = line.front() {
            let taken = outbox.put(drafts.clone());
            let full = matches!(
                taken,
                Err(AppendError::OutboxFull { .. }
                    | AppendError::NoSpace { .. }
                    | AppendError::Pushback { .. })
            );
            if full {
                break;
            }
            let Some((_, mut waiting)) = line.pop_front() else { break };
            match taken {
                // Nobody answers any more once the site stops: what was taken is kept all the same.
                Ok(stored) => drop(put.send(Taken { waiting, stored: Box::pin(stored) })),
                Err(error) => waiting.retry(&error, &metrics),
            }
        }
        for (_, waiting) in
            line.iter_mut().take_while(|(_, waiting)| waiting.received.elapsed() > ANSWER_WAIT)
        {
            waiting.retry(&"the outbox had no room in time", &metrics);
        }
        let next = match line.is_empty() {
            true => coming.recv().await,
            false => match tokio::time::timeout(ROOM_PAUSE, coming.recv()).await {
                Ok(next) => next,
                Err(_) => continue,
            },
        };
        let Some(Prepared { drafts, receipt, answer, labels, received, place }) = next else {
            return;
        };
        line.push_back((drafts, Waiting { receipt: Some(receipt), answer, labels, received, place }));
    }
}

/// Answers in the order in which messages came to the disk. The delays of a filling outbox add up: they set a rate.
async fn answer(
    mut taken: UnboundedReceiver<Taken>,
    shows: Shows,
    owe: UnboundedSender<Owed>,
    metrics: Metrics,
) {
    while let Some(Taken { mut waiting, stored }) = taken.recv().await {
        match stored.await {
            Ok(stored) => {
                if !stored.delay.is_zero() {
                    tokio::time::sleep(stored.delay).await;
                }
                waiting.settle(stored, shows, &owe, &metrics);
            }
            Err(error) => waiting.retry(&error, &metrics),
        }
    }
}

/// They become entries in the order in which they were stored, so the first is the first to be waited for.
async fn answer_later(mut owed: UnboundedReceiver<Owed>) {
    while let Some(Owed { receipt, reply, stored, _place }) = owed.recv().await {
        // Else the ledger was closed: the receipt, dropped, says nothing that is not so.
        if stored.committed().await.is_ok() {
            receipt.committed(reply);
        }
    }
}

impl Waiting {
    fn retry(&mut self, reason: &dyn std::fmt::Display, metrics: &Metrics) {
        let Some(receipt) = self.receipt.take() else { return };
        tracing::warn!(%reason, feed = &*self.labels.feed, "not stored; the sender is asked to send again");
        self.labels.count("retry", self.received, metrics);
        metrics.tap.tell(&self.labels, self.received, "retry", None, &[]);
        receipt.retry(reason.to_string());
    }

    fn settle(self, stored: Stored, shows: Shows, owe: &UnboundedSender<Owed>, metrics: &Metrics) {
        let Some(mut receipt) = self.receipt else { return };
        match &self.answer {
            Answer::Refuse(refusal, _) | Answer::Hold(refusal, _) => {
                self.labels.count_refusal(refusal, self.received, metrics);
                metrics.tap.tell(&self.labels, self.received, "rejected", Some(&refusal.code), &[]);
            }
            Answer::Accept(_) => {
                self.labels.count("stored", self.received, metrics);
                metrics.tap.tell(&self.labels, self.received, "stored", None, &[]);
            }
        }
        match self.answer {
            Answer::Accept(write) => match shows.now_and_later(write(&[])) {
                (Some(reply), None) => receipt.committed(reply),
                (None, None) => receipt.committed(Reply::default()),
                (now, Some(reply)) => {
                    if let Some(now) = now {
                        receipt.stored(now);
                    }
                    // Dropped when the site stops: then a resend hears the rest.
                    let _ = owe.send(Owed { receipt, reply, stored, _place: self.place });
                }
            },
            Answer::Refuse(refusal, reply) => receipt.rejected(refusal, reply),
            Answer::Hold(_, reply) => receipt.committed(reply),
        }
    }
}

/// How many answers a transport shows its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shows {
    /// MLLP: CA, and AA when it comes.
    Both,
    /// HTTP: one response.
    One,
    /// Kafka, AMQP, files: an offset or an acknowledgement of the broker, without a text.
    None,
}

impl Shows {
    fn of(kind: &str) -> Shows {
        match kind {
            "mllp" => Shows::Both,
            "http" => Shows::One,
            _ => Shows::None,
        }
    }

    /// What leaves at D1 and what waits for D2.
    fn now_and_later(self, accepted: Accepted) -> (Option<Reply>, Option<Reply>) {
        let Accepted { first, last, last_at_quorum } = accepted;
        match (self, first) {
            _ if !last_at_quorum => (Some(last), None),
            (Shows::None, _) => (None, None),
            (Shows::One, Some(first)) => (Some(first), None),
            (_, first) => (first, Some(last)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `asked`: what the sender wants to hear. `expected`: now, later.
    fn check(kind: &str, asked: &str, expected: (&str, &str)) {
        let reply = |text: &'static str| Reply { body: text.into(), ..Reply::default() };
        let accepted = match asked {
            "CA and AA" => Accepted { first: Some(reply("CA")), last: reply("AA"), last_at_quorum: true },
            "AA alone" => Accepted { first: None, last: reply("AA"), last_at_quorum: true },
            "CA alone" => Accepted { first: None, last: reply("CA"), last_at_quorum: false },
            _ => Accepted { first: None, last: reply("original AA"), last_at_quorum: false },
        };
        let text = |reply: Option<Reply>| {
            reply.map_or("nothing".to_owned(), |reply| String::from_utf8_lossy(&reply.body).into_owned())
        };
        let (now, later) = Shows::of(kind).now_and_later(accepted);
        assert_eq!((text(now).as_str(), text(later).as_str()), expected, "{kind}, {asked}");
    }

    #[test]
    fn an_enhanced_aa_never_leaves_before_a_quorum_has_the_message() {
        for kind in ["mllp", "http", "kafka", "amqp", "file"] {
            check(kind, "original", ("original AA", "nothing"));
            check(kind, "CA alone", ("CA", "nothing"));
        }
        check("mllp", "CA and AA", ("CA", "AA"));
        check("mllp", "AA alone", ("nothing", "AA"));
        check("http", "CA and AA", ("CA", "nothing"));
        check("http", "AA alone", ("nothing", "AA"));
        // They show no text: their answer says that the message is durable here, and that it is.
        check("kafka", "CA and AA", ("nothing", "nothing"));
        check("amqp", "AA alone", ("nothing", "nothing"));
    }
}
