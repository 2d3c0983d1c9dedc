//! The roads between sites on loopback: each site dials the others through a forwarder that can hold back what goes one
//! way, as a cut network does, and can take its time.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Pieces on their way; a slow reader holds the sender up beyond that.
const UNDER_WAY_MAX: usize = 256;

pub struct Roads {
    /// By the sites from and to which bytes go: whether none arrive.
    cut: BTreeMap<(usize, usize), watch::Sender<bool>>,
    delay: watch::Sender<Duration>,
}

impl Roads {
    /// Between sites that listen at `addresses`; and where each one dials each other one.
    pub async fn between(addresses: &[String]) -> (Roads, BTreeMap<(usize, usize), String>) {
        let pairs = || (0..addresses.len()).flat_map(|a| (0..addresses.len()).map(move |b| (a, b)));
        let cut = pairs().filter(|(a, b)| a != b).map(|pair| (pair, watch::Sender::new(false))).collect();
        let roads = Roads { cut, delay: watch::Sender::new(Duration::ZERO) };
        let mut entrances = BTreeMap::new();
        for (from, to) in pairs().filter(|(from, to)| from != to) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            entrances.insert((from, to), listener.local_addr().unwrap().to_string());
            let there = Way { cut: roads.cut[&(from, to)].subscribe(), delay: roads.delay.subscribe() };
            let back = Way { cut: roads.cut[&(to, from)].subscribe(), delay: roads.delay.subscribe() };
            let target = addresses[to].clone();
            tokio::spawn(async move {
                while let Ok((near, _)) = listener.accept().await {
                    tokio::spawn(join(near, target.clone(), there.clone(), back.clone()));
                }
            });
        }
        (roads, entrances)
    }

    pub fn cut(&self, from: usize, to: usize) {
        self.cut[&(from, to)].send_replace(true);
    }

    pub fn heal(&self) {
        for cut in self.cut.values() {
            cut.send_replace(false);
        }
    }

    /// Everything takes so long, one way.
    pub fn set_delay(&self, delay: Duration) {
        self.delay.send_replace(delay);
    }
}

/// One direction.
#[derive(Clone)]
struct Way {
    cut: watch::Receiver<bool>,
    delay: watch::Receiver<Duration>,
}

async fn join(near: TcpStream, target: String, there: Way, back: Way) {
    let mut open = there.cut.clone();
    // While it is cut, a new connection reaches nobody.
    if open.wait_for(|cut| !cut).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect(target).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::select! {
        () = forward(near_in, far_out, there) => {}
        () = forward(far_in, near_out, back) => {}
    }
}

async fn forward(mut from: OwnedReadHalf, to: OwnedWriteHalf, way: Way) {
    let (pieces, under_way) = mpsc::channel(UNDER_WAY_MAX);
    let delay = way.delay.clone();
    let read = async move {
        loop {
            let mut piece = vec![0; 64 << 10];
            let Ok(length @ 1..) = from.read(&mut piece).await else { return };
            piece.truncate(length);
            let arrives = Instant::now() + *delay.borrow();
            if pieces.send((arrives, piece)).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, deliver(to, under_way, way.cut));
}

async fn deliver(
    mut to: OwnedWriteHalf,
    mut under_way: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut cut: watch::Receiver<bool>,
) {
    while let Some((arrives, piece)) = under_way.recv().await {
        tokio::time::sleep_until(arrives).await;
        // Healed, what was under way goes on, as a retransmission would.
        if cut.wait_for(|cut| !cut).await.is_err() || to.write_all(&piece).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
