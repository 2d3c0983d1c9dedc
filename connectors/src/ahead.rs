//! Messages read ahead of `Source::next`, of which some must not be handed over any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Inbound;

pub(crate) struct Ahead {
    pub(crate) inbound: Inbound,
    /// Raised when a message before this one, of the same order, has to come again first.
    pub(crate) rewinding: Arc<AtomicBool>,
}

pub(crate) type Sender = mpsc::UnboundedSender<Ahead>;

pub(crate) struct Queue(mpsc::UnboundedReceiver<Ahead>);

/// Not bounded by the channel: the source counts what is in flight, this included.
pub(crate) fn queue() -> (Sender, Queue) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Queue(receiver))
}

impl Queue {
    /// What is dropped here says Retry by its receipt, and comes again in order.
    pub(crate) async fn next(&mut self, stop: &CancellationToken) -> Option<Inbound> {
        while !stop.is_cancelled() {
            let Ahead { inbound, rewinding } = self.0.recv().await?;
            if !rewinding.load(Ordering::SeqCst) {
                return Some(inbound);
            }
        }
        None
    }

    pub(crate) fn close(&mut self) {
        self.0.close();
        while self.0.try_recv().is_ok() {}
    }
}
