//! An etcd cluster on this machine, put to with the same values by as many clients: the yardstick.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;

use super::clients::Target;
use super::grpc::{Connection, Field, fields, put_bytes};
use crate::bench::consortium::free_port;

/// etcd's own benchmark drives a thousand clients over a hundred connections.
const CONNECTIONS_MAX: usize = 100;
const READY_WITHIN: Duration = Duration::from_secs(30);
const QUOTA_BYTES: u64 = 8 << 30;

/// Stopped when dropped.
pub struct Etcd {
    members: Vec<Child>,
    /// Where puts go: through another member each would take a step more.
    leader: String,
}

impl Etcd {
    pub async fn start(folder: &Path, count: usize) -> anyhow::Result<Etcd> {
        let ports = (0..count).map(|_| Ok((free_port()?, free_port()?)));
        let ports = ports.collect::<anyhow::Result<Vec<(u16, u16)>>>()?;
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let cluster: Vec<String> =
            ports.iter().enumerate().map(|(n, (_, peer))| format!("m{n}={}", url(*peer))).collect();
        let mut etcd = Etcd { members: Vec::new(), leader: String::new() };
        std::fs::create_dir_all(folder)?;
        for (n, (client, peer)) in ports.iter().enumerate() {
            let log = std::fs::File::create(folder.join(format!("m{n}.log")))?;
            let member = Command::new("etcd")
                .args(["--name", &format!("m{n}"), "--data-dir"])
                .arg(folder.join(format!("m{n}")))
                .args(["--listen-client-urls", &url(*client), "--advertise-client-urls", &url(*client)])
                .args(["--listen-peer-urls", &url(*peer), "--initial-advertise-peer-urls", &url(*peer)])
                .args(["--initial-cluster", &cluster.join(","), "--initial-cluster-state", "new"])
                .args(["--quota-backend-bytes", &QUOTA_BYTES.to_string(), "--logger", "zap"])
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn();
            let member = member.context("cannot start etcd; on Debian: apt-get install etcd-server")?;
            etcd.members.push(member);
        }
        let clients: Vec<String> = ports.iter().map(|(client, _)| format!("127.0.0.1:{client}")).collect();
        etcd.leader = leader(&clients).await?;
        Ok(etcd)
    }

    pub async fn clients(&self, count: usize) -> anyhow::Result<Clients> {
        let mut connections = Vec::new();
        for _ in 0..count.min(CONNECTIONS_MAX) {
            connections.push(Connection::open(&self.leader).await?);
        }
        Ok(Clients { connections: connections.into() })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

#[derive(Clone)]
pub struct Clients {
    connections: Arc<[Connection]>,
}

impl Target for Clients {
    async fn put(&self, client: usize, value: Bytes) -> anyhow::Result<()> {
        let mut request = Vec::with_capacity(value.len() + 32);
        put_bytes(&mut request, 1, &rand::random::<[u8; 16]>());
        put_bytes(&mut request, 2, &value);
        let connection = &self.connections[client % self.connections.len()];
        connection.call("/etcdserverpb.KV/Put", &request).await.map(drop)
    }
}

/// The client address of the member that leads, once all agree that there is one.
async fn leader(members: &[String]) -> anyhow::Result<String> {
    let began = tokio::time::Instant::now();
    loop {
        for member in members {
            if let Ok((own, Some(leader))) = status(member).await
                && own == leader
            {
                return Ok(member.clone());
            }
        }
        if began.elapsed() > READY_WITHIN {
            bail!("etcd elects no leader");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A member's id, and that of the leader it knows.
async fn status(member: &str) -> anyhow::Result<(u64, Option<u64>)> {
    let answer = Connection::open(member).await?.call("/etcdserverpb.Maintenance/Status", &[]).await?;
    let mut own = None;
    let mut leader = None;
    for field in fields(&answer) {
        match field {
            // StatusResponse.header, ResponseHeader.member_id
            Field::Bytes(1, header) => {
                own = fields(header).into_iter().find_map(|field| match field {
                    Field::Number(2, id) => Some(id),
                    _ => None,
                });
            }
            // StatusResponse.leader
            Field::Number(4, id) => leader = Some(id),
            _ => {}
        }
    }
    Ok((own.context("etcd's status names no member")?, leader))
}
