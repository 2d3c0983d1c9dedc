//! A wire between browser and site that a test can cut and mend.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

pub struct Wire {
    pub port: u16,
    site: u16,
    task: Option<JoinHandle<()>>,
}

impl Wire {
    pub async fn to(site: u16) -> anyhow::Result<Wire> {
        let mut wire = Wire { port: integration_tests::free_port(), site, task: None };
        wire.mend().await?;
        Ok(wire)
    }

    /// Open connections break, new ones are refused.
    pub async fn cut(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // Ends with the listener and all connections dropped.
            let _ = task.await;
        }
    }

    pub async fn mend(&mut self) -> anyhow::Result<()> {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await?;
        self.task = Some(tokio::spawn(carry(listener, self.site)));
        Ok(())
    }
}

async fn carry(listener: TcpListener, site: u16) {
    let mut connections = JoinSet::new();
    while let Ok((mut browser, _)) = listener.accept().await {
        connections.spawn(async move {
            if let Ok(mut site) = TcpStream::connect(("127.0.0.1", site)).await {
                let _ = copy_bidirectional(&mut browser, &mut site).await;
            }
        });
    }
}
