//! Reads a feed's messages, one actor a feed: order within the feed is kept, feeds run in parallel.

use std::sync::Arc;

use actix::prelude::*;
use connectors::Inbound;

use crate::committer::{Commit, Prepared};
use crate::reading::Reading;
use crate::window::Place;

/// Messages that came in, oldest first, each with its place in the feed's window.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Normalise(pub Vec<(Inbound, Place)>);

pub(crate) struct Normaliser {
    reader: Arc<Reading>,
    /// The feed's ack point: the committer, or its storer.
    committer: Recipient<Commit>,
}

impl Normaliser {
    pub fn new(reader: Arc<Reading>, committer: Recipient<Commit>) -> Normaliser {
        Normaliser { reader, committer }
    }
}

impl Actor for Normaliser {
    type Context = Context<Self>;
}

impl Handler<Normalise> for Normaliser {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, Normalise(inbound): Normalise, _: &mut Self::Context) -> Self::Result {
        let reader = self.reader.now();
        let prepared: Vec<Prepared> =
            inbound.into_iter().map(|(inbound, place)| reader.prepare(inbound, place)).collect();
        let committed = self.committer.send(Commit(prepared));
        let handed_on = async move {
            // The committer is gone only when the site stops; the receipts, dropped, then ask for a resend.
            let _ = committed.await;
        };
        AtomicResponse::new(Box::pin(handed_on.into_actor(self)))
    }
}
