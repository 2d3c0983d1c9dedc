//! Reads one feed's source as long as its window has room.

use actix::prelude::*;
use connectors::{Inbound, Source};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::normaliser::{Normalise, Normaliser};
use crate::window::{Place, Window};

/// How many messages travel to the normaliser in one actor message at most.
const BATCH_MAX: usize = 128;

pub(crate) struct Intake {
    source: Option<Box<dyn Source>>,
    window: Window,
    normaliser: Addr<Normaliser>,
    stop: CancellationToken,
    finished: Option<oneshot::Sender<()>>,
}

impl Intake {
    /// `finished` fires when the last receipt has reached its sender: at the source's end, or after `stop`.
    pub fn new(
        source: Box<dyn Source>,
        window: Window,
        normaliser: Addr<Normaliser>,
        stop: CancellationToken,
        finished: oneshot::Sender<()>,
    ) -> Intake {
        Intake { source: Some(source), window, normaliser, stop, finished: Some(finished) }
    }
}

impl Actor for Intake {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let (Some(source), Some(finished)) = (self.source.take(), self.finished.take()) else { return };
        let (window, normaliser, stop) = (self.window.clone(), self.normaliser.clone(), self.stop.clone());
        let run = async move {
            read(source, window, normaliser, stop).await;
            let _ = finished.send(());
        };
        context.spawn(run.into_actor(self));
    }
}

/// Two halves, joined by a short queue: while one batch is on its way to the normaliser the next one gathers,
/// so batches grow under load and are single messages without it.
async fn read(
    source: Box<dyn Source>,
    window: Window,
    normaliser: Addr<Normaliser>,
    stop: CancellationToken,
) {
    let (gathered, gathering) = mpsc::channel(BATCH_MAX);
    let (mut source, ()) =
        tokio::join!(gather(source, &window, gathered, stop), hand_on(gathering, normaliser));
    window.drained().await;
    source.finish().await;
}

async fn gather(
    mut source: Box<dyn Source>,
    window: &Window,
    gathered: mpsc::Sender<(Inbound, Place)>,
    stop: CancellationToken,
) -> Box<dyn Source> {
    loop {
        let inbound = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            next = source.next() => match next {
                Some(inbound) => inbound,
                None => break,
            },
        };
        let place = window.enter(inbound.payload.len()).await;
        if gathered.send((inbound, place)).await.is_err() {
            break;
        }
    }
    source.stop().await;
    source
}

async fn hand_on(mut gathering: mpsc::Receiver<(Inbound, Place)>, normaliser: Addr<Normaliser>) {
    loop {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        if gathering.recv_many(&mut batch, BATCH_MAX).await == 0 {
            return;
        }
        // A normaliser that is gone drops the receipts, and so asks for a resend.
        let _ = normaliser.send(Normalise(batch)).await;
    }
}
