//! The site's own listeners, and the other sites.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clinical::Time;
use connectors::{ServerTls, TlsFiles};
use raft_ledger::{PeerConfig, Rehearsal};

use super::Check;
use crate::config::{Config, Tls};
use crate::http::socket_path;
use crate::site::ledger_config;

pub fn checks(config: &Config) -> Vec<Check> {
    let (data, ledger) = (&config.site.data, ledger_config(config));
    let own = ledger.clone();
    let mut checks = vec![
        Check::blocking("site certificate", move || {
            Ok(format!("read; {}", expiry(Rehearsal::new(own)?.certificate().expires_at_s)))
        }),
        Check::blocking("ledger listener", {
            let (address, socket) = (config.ledger.listen, socket_path(data));
            move || free(address, &socket)
        }),
        listener("http listener", config.http.listen, config.http.tls.as_ref(), None, data),
    ];
    checks.extend(
        config.log.as_ref().map(|log| listener("log listener", log.listen, log.tls.as_ref(), None, data)),
    );
    checks.extend(ledger.peers.clone().into_iter().map(|peer| {
        let ledger = ledger.clone();
        Check::new(format!("peer {}", peer.name), async move { greet(&Rehearsal::new(ledger)?, &peer).await })
    }));
    checks
}

async fn greet(rehearsal: &Rehearsal, peer: &PeerConfig) -> anyhow::Result<String> {
    let greeted = rehearsal.greet(peer).await;
    greeted.with_context(|| {
        format!(
            "{} is not there, or not site {}; a site that is not started yet is no mistake",
            peer.address, peer.name
        )
    })?;
    Ok(format!("{} shows its certificate and takes ours", peer.address))
}

/// The address is free, or the site that runs holds it; certificate and key are right.
pub fn listener(
    name: impl Into<String>,
    address: SocketAddr,
    tls: Option<&Tls>,
    client_ca: Option<&PathBuf>,
    data: &Path,
) -> Check {
    let files = tls.map(|tls| TlsFiles {
        cert: tls.cert.clone(),
        key: tls.key.clone(),
        client_ca: client_ca.cloned(),
    });
    let socket = socket_path(data);
    Check::new(name, async move {
        let certificate = match files {
            None => "without TLS".to_owned(),
            Some(files) => expiry(ServerTls::open(files)?.expires_at_s()),
        };
        Ok(format!("{}; {certificate}", free(address, &socket)?))
    })
}

fn free(address: SocketAddr, socket: &Path) -> anyhow::Result<String> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && UnixStream::connect(socket).is_ok() => {
            Ok(format!("{address} is in use, by the site that runs"))
        }
        Err(error) => Err(error)
            .with_context(|| format!("cannot listen on {address}; choose a free address of this machine")),
    }
}

fn expiry(at_s: i64) -> String {
    let at = Time(at_s.saturating_mul(1000)).to_rfc3339();
    format!("certificate until {}", at.get(..10).unwrap_or(&at))
}
