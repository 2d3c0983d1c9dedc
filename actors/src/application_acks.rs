//! HL7 enhanced mode's application answers as messages of their own (HL7 v2.9 ch. 2 §2.9.3), to where the feed's
//! configuration says. They are made of what the ledger has, so each means a quorum, and none is forgotten by a restart or
//! a receiver that is away: they go in the ledger's order, each until it is taken, or refused, or left without a word for
//! too long.

mod owed;
mod patience;

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use connectors::{Outbound, Sink, SourceStatus};
use raft_ledger::{Ledger, LedgerError};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub(crate) use self::owed::Owed;
use self::owed::Page;
use self::patience::{After, Patience};
use crate::blocking;
use crate::breaker::Breaker;
use crate::metrics::Metrics;

/// What has come meanwhile is looked for at most so often.
const LOOK: Duration = Duration::from_millis(50);
/// Tries to read an entry, and between two.
const READS: u32 = 30;
const READ_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct ApplicationAcks(Option<(Run, CancellationToken, Arc<oneshot::Sender<()>>)>);

struct Run {
    owed: Arc<Owed>,
    sink: Box<dyn Sink>,
    ledger: Ledger,
    metrics: Metrics,
    breaker: Breaker,
    patience: Patience,
    /// The feed's own: people see there what keeps its answers.
    status: Arc<SourceStatus>,
    /// The feed's entries below it are answered.
    cursor: u64,
    /// In a row, of the entry there.
    unread: u32,
}

impl ApplicationAcks {
    /// What is in the ledger before a feed first has an address for them is not answered there. `ended` is dropped after
    /// `stop`, once nothing is sent any more.
    pub fn new(
        owed: Arc<Owed>,
        sink: Box<dyn Sink>,
        status: Arc<SourceStatus>,
        ledger: &Ledger,
        metrics: &Metrics,
        (stop, ended): (CancellationToken, Arc<oneshot::Sender<()>>),
    ) -> ApplicationAcks {
        let mut run = Run {
            cursor: ledger.size(),
            owed,
            sink,
            ledger: ledger.clone(),
            metrics: metrics.clone(),
            breaker: Breaker::default(),
            patience: Patience::default(),
            status,
            unread: 0,
        };
        // A counter that first appears at 1 was never seen to rise.
        for outcome in ["delivered", "refused", "retry", "unanswered", "unreadable"] {
            metrics.application_acks.with_label_values(&[run.owed.feed.as_str(), outcome]);
        }
        match run.owed.stored_cursor() {
            Ok(Some(cursor)) => run.cursor = cursor,
            Ok(None) => run.owed.store_cursor(run.cursor),
            Err(error) => tracing::error!(%error, feed = %run.owed.feed, "application answers begin anew"),
        }
        ApplicationAcks(Some((run, stop, ended)))
    }
}

impl Actor for ApplicationAcks {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let Some((run, stop, ended)) = self.0.take() else { return };
        let until_stopped = async move {
            stop.run_until_cancelled_owned(run.run()).await;
            drop(ended);
        };
        context.spawn(until_stopped.into_actor(self));
    }
}

impl Run {
    async fn run(mut self) {
        let mut size = self.ledger.watch_size();
        loop {
            size.mark_unchanged();
            let Page { answers, upto, unread } = match self.page().await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(%error, feed = %self.owed.feed, "application answers: the ledger cannot be read");
                    tokio::time::sleep(READ_PAUSE).await;
                    continue;
                }
            };
            let is_empty = upto == self.cursor;
            for (index, answer) in answers {
                self.deliver(&answer).await;
                self.go_on_from(index + 1);
            }
            // Once for all the entries that need no answer.
            self.go_on_from(upto);
            match unread {
                Some((index, error)) => self.unread(index, &error).await,
                None if is_empty => {
                    if size.changed().await.is_err() {
                        return;
                    }
                    tokio::time::sleep(LOOK).await;
                }
                None => {}
            }
        }
    }

    /// Away from the feed's thread, which has its messages to read.
    async fn page(&self) -> Result<Page, LedgerError> {
        let (owed, from) = (self.owed.clone(), self.cursor);
        blocking::read(move || owed.page(from)).await
    }

    fn go_on_from(&mut self, cursor: u64) {
        if cursor > self.cursor {
            self.cursor = cursor;
            self.unread = 0;
            self.owed.store_cursor(cursor);
        }
    }

    /// What cannot be read is not gone: a damaged ledger is healed by another start. Where nobody heals it, later answers
    /// must not wait for this one.
    async fn unread(&mut self, index: u64, error: &LedgerError) {
        self.unread += 1;
        let feed = &self.owed.feed;
        if self.unread > READS {
            tracing::error!(%error, %feed, index, "no application answer: the ledger cannot read the message");
            self.count("unreadable");
            self.go_on_from(index + 1);
            return;
        }
        tracing::warn!(%error, %feed, index, "application answer: the ledger cannot be read");
        tokio::time::sleep(READ_PAUSE).await;
    }

    /// Until it needs no more sending.
    async fn deliver(&mut self, answer: &Outbound) {
        let outcome = loop {
            let error = match self.sink.deliver(answer).await {
                Ok(()) => break "delivered",
                Err(error) => error,
            };
            let pause = self.breaker.failed();
            let feed = &self.owed.feed;
            self.status.error(format!("application answers: {error}"));
            match self.patience.after(&error) {
                After::Again => {
                    tracing::warn!(%feed, id = %answer.id, %error, "application answer not delivered");
                    self.count("retry");
                    tokio::time::sleep(pause).await;
                }
                After::GivenUp(outcome) => {
                    tracing::error!(%feed, id = %answer.id, %error, "application answer given up");
                    break outcome;
                }
            }
        };
        self.patience.begin_anew(outcome);
        self.count(outcome);
        if outcome == "delivered" {
            self.breaker.taken();
        } else if self.breaker.is_open() {
            // A receiver that refuses everything is not sent one after the other in a moment.
            tokio::time::sleep(self.breaker.pause()).await;
        }
    }

    fn count(&self, outcome: &str) {
        self.metrics.application_acks.with_label_values(&[self.owed.feed.as_str(), outcome]).inc();
    }
}
