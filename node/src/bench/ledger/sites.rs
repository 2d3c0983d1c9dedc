//! The sites of this bench: ledgers in this process, over loopback TLS, each with a disk folder of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use raft_ledger::{AppendError, Config, Draft, Ledger, PeerConfig};

use super::clients::Target;

/// Subjects that the events are about: each has a key of its own.
const SUBJECTS: u64 = 1_000;

#[derive(Clone)]
pub struct Sites {
    ledgers: Vec<Ledger>,
}

impl Sites {
    pub async fn open(folder: &Path, count: usize) -> anyhow::Result<Sites> {
        let names = names(count);
        let keys: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "127.0.0.1")).collect();
        raft_ledger::keys::init(&folder.join("keys"), &keys)?;
        Sites::start(folder, &names).await
    }

    pub fn first(&self) -> &Ledger {
        &self.ledgers[0]
    }

    /// Again with the folder that earlier ones left.
    pub async fn reopen(folder: &Path, count: usize) -> anyhow::Result<Sites> {
        Sites::start(folder, &names(count)).await
    }

    async fn start(folder: &Path, names: &[String]) -> anyhow::Result<Sites> {
        let mut ledgers = Vec::new();
        for config in configs(folder, names)? {
            ledgers.push(Ledger::open(config).await?);
        }
        Ok(Sites { ledgers })
    }

    pub async fn append(&self, client: usize, drafts: Vec<Draft>) -> anyhow::Result<()> {
        let ledger = &self.ledgers[client % self.ledgers.len()];
        loop {
            match ledger.append(drafts.clone()).await {
                Ok(_) => return Ok(()),
                Err(AppendError::Pushback { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// As a pipeline would write it: a subject, four tags, a dedupe key, three times.
    pub fn draft(&self, value: Bytes) -> Draft {
        let ledger = self.first();
        let number: u64 = rand::random();
        let subject = number % SUBJECTS;
        let id = number.to_be_bytes();
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        let subject_id = subject.to_be_bytes();
        Draft {
            kind: 1,
            subject: ledger.subject(&subject_id),
            tags: vec![
                ledger.tag("patient", &subject_id),
                ledger.tag("visit", &subject_id),
                ledger.tag("control", &id),
                ledger.tag("feed", b"bench"),
            ],
            dedupe: Some(ledger.keyed_hash("bench", &[&id, &value])),
            event_time_ms: now_ms,
            message_time_ms: now_ms,
            received_time_ms: now_ms,
            payload: value,
        }
    }

    pub async fn close(self) -> anyhow::Result<()> {
        for ledger in self.ledgers {
            ledger.close().await?;
        }
        Ok(())
    }
}

impl Target for Sites {
    async fn put(&self, client: usize, value: Bytes) -> anyhow::Result<()> {
        self.append(client, vec![self.draft(value)]).await
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("site-{n}")).collect()
}

fn configs(folder: &Path, names: &[String]) -> anyhow::Result<Vec<Config>> {
    let listeners: Vec<TcpListener> =
        names.iter().map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let addresses: Vec<String> =
        listeners.iter().map(|l| Ok(l.local_addr()?.to_string())).collect::<anyhow::Result<_>>()?;
    let config = |n: usize| {
        let name = &names[n];
        let path = |sub: &str| -> PathBuf { folder.join(sub).join(name) };
        let mut config = Config::new(name, path("data"), path("keys"));
        config.listen = addresses[n].clone();
        config.initialise = n == 0;
        let peers = names.iter().zip(&addresses).filter(|(peer, _)| *peer != name);
        config.peers = peers
            .map(|(name, address)| PeerConfig { name: name.clone(), address: address.clone() })
            .collect();
        config
    };
    Ok((0..names.len()).map(config).collect())
}
