//! Reads one feed's source as long as its window has room.

use std::sync::Arc;

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
    finished: Option<Arc<oneshot::Sender<()>>>,
}

impl Intake {
    /// `finished` is dropped when the last receipt has reached its sender: at the source's end, or after `stop`.
    pub fn new(
        source: Box<dyn Source>,
        window: Window,
        normaliser: Addr<Normaliser>,
        stop: CancellationToken,
        finished: Arc<oneshot::Sender<()>>,
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
            drop(finished);
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
        // Told to stop while the window is full, what is in hand gets no place: its receipt, dropped, asks for a resend.
        let entered = stop.run_until_cancelled(window.enter(inbound.payload.len())).await;
        let Some(place) = entered else { break };
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_full_window_does_not_keep_a_feed_from_ending() {
        let source = connectors::mllp::Source::listen(connectors::mllp::Config::new("127.0.0.1:0"));
        let source = source.await.expect("listens");
        let (address, status) = (source.address(), source.status());
        let window = Window::new();
        let _full = window.enter(usize::MAX).await;
        let ((gathered, _gathering), stop) = (mpsc::channel(1), CancellationToken::new());
        let send_and_stop = async {
            let mut sender = std::net::TcpStream::connect(address).expect("connects");
            sender.write_all(b"\x0bMSH|^~\\&|A|B|C|D|20240101||ADT^A01|1|P|2.5\r\x1c\r").expect("sends");
            while status.received.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // On its way to the window.
            tokio::time::sleep(Duration::from_millis(50)).await;
            stop.cancel();
        };
        let (mut source, ()) =
            tokio::join!(gather(Box::new(source), &window, gathered, stop.clone()), send_and_stop);
        source.finish().await;
        assert!(std::net::TcpStream::connect(address).is_err(), "it listens no more");
    }
}
