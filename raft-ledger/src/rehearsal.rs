//! What can be tried of a site's ledger before it is opened.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use crate::config::{Config, PeerConfig};
use crate::housekeeping::free_bytes;
use crate::keys::SiteKeys;
use crate::network::Tls;
use crate::types::{CertificateStatus, LedgerError};

/// A site that refuses our certificate says so at once, one that takes it waits for our first word.
const REFUSAL_WAIT: Duration = Duration::from_millis(500);

/// Reads the site's keys as a start does; opens no database and listens nowhere.
pub struct Rehearsal {
    config: Config,
    tls: Tls,
}

impl Rehearsal {
    pub fn new(config: Config) -> Result<Rehearsal, LedgerError> {
        let keys = SiteKeys::load(&config.keys)?;
        if keys.site() != config.site {
            let text = format!("{} is the folder of site {}", config.keys.display(), keys.site());
            return Err(LedgerError::Keys(text));
        }
        Ok(Rehearsal { tls: Tls::new(&keys)?, config })
    }

    pub fn certificate(&self) -> CertificateStatus {
        self.tls.status()
    }

    /// Blocks; a command for as long as its timeout.
    pub fn master_key(&self) -> Result<(), LedgerError> {
        self.config.master_key().read().map(drop)
    }

    /// Both sides show their certificates and take the other's. Nothing else is said.
    pub async fn greet(&self, peer: &PeerConfig) -> io::Result<()> {
        let mut stream = self.tls.connect(&peer.address, &peer.name).await?;
        match tokio::time::timeout(REFUSAL_WAIT, stream.read_u8()).await {
            Err(_) | Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error),
        }
    }

    /// Bytes that are free where `path` is, or would be made; and what must stay free.
    pub fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
        let existing = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
        Ok((free_bytes(existing)?, self.config.free_space_reserve_bytes))
    }
}
