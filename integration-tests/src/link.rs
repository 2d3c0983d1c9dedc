//! The network between two processes, where a test can cut it, make it slow or break its connections.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Forwards one port of loopback to another. Cut, it is a black hole: connections stay, nothing passes, in neither
/// direction; healed, what was under way goes on, as a retransmission would. Broken, connections end and none is made.
pub struct Link {
    pub port: u16,
    way: watch::Sender<Way>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// What is sent waits so long.
    Open(Duration),
    Cut,
    Broken,
}

const AT_ONCE: Way = Way::Open(Duration::ZERO);

impl Link {
    pub async fn to(target: u16) -> anyhow::Result<Link> {
        Link::from(0, target).await
    }

    /// From a port that somebody else names.
    pub async fn from(port: u16, target: u16) -> anyhow::Result<Link> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let port = listener.local_addr()?.port();
        let (way, watched) = watch::channel(AT_ONCE);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(join(near, target, watched.clone()));
            }
        });
        Ok(Link { port, way, task })
    }

    pub fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    pub fn break_off(&self) {
        self.way.send_replace(Way::Broken);
    }

    pub fn slow(&self, delay: Duration) {
        self.way.send_replace(Way::Open(delay));
    }

    pub fn heal(&self) {
        self.way.send_replace(AT_ONCE);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn join(near: TcpStream, target: u16, mut way: watch::Receiver<Way>) {
    let mut broken = way.clone();
    tokio::select! {
        () = carry(near, target, &mut way) => {}
        _ = broken.wait_for(|way| *way == Way::Broken) => {}
    }
}

async fn carry(near: TcpStream, target: u16, way: &mut watch::Receiver<Way>) {
    // While it is cut, a new connection reaches nobody.
    if pass(way).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    // Either end: an error or a goodbye ends both directions.
    tokio::select! {
        _ = forward(near_in, far_out, way.clone()) => {}
        _ = forward(far_in, near_out, way.clone()) => {}
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
) -> io::Result<()> {
    let mut piece = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut piece).await?;
        pass(&mut way).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(piece.get(..length).unwrap_or_default()).await?;
    }
}

async fn pass(way: &mut watch::Receiver<Way>) -> io::Result<()> {
    let open = *way.wait_for(|way| *way != Way::Cut).await.map_err(io::Error::other)?;
    if let Way::Open(delay) = open {
        tokio::time::sleep(delay).await;
    }
    Ok(())
}
