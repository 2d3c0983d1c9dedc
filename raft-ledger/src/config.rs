//! What a site must be told to take part in a ledger.

use std::path::PathBuf;
use std::time::Duration;

use crate::keys::MasterKey;

/// One site's ledger. `Config::new` sets what rarely differs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Must be the name in the certificate and `site.json`.
    pub site: String,
    /// Directory of this site's databases and key store; made if it is not there.
    pub data: PathBuf,
    /// Directory made by `keys::init` for this site.
    pub keys: PathBuf,
    /// Encrypts the key store; `None`: in `master-key.hex` in `keys`.
    pub master: Option<MasterKey>,
    /// `host:port` for the other sites' connections; empty: none can connect, so none can join.
    pub listen: String,
    /// The other founding sites, and where this site finds others that have joined since.
    pub peers: Vec<PeerConfig>,
    /// The site that holds this one's keys, too, and stands in for it when it is gone: among the peers. `None`: the next
    /// voter in the order of the names.
    pub partner: Option<String>,
    /// Exactly one founding site says true: it makes the consortium if there is none yet. Without effect on a site
    /// that has ever been a member.
    pub initialise: bool,
    /// How long `append` waits for its outcome before `AppendError::Unavailable`.
    pub append_wait: Duration,
    /// Payload bytes taken and not yet applied, beyond which `append` says `Pushback`.
    pub in_flight_bytes_max: usize,
    /// Below this much free space under `data` nothing is appended.
    pub free_space_reserve_bytes: u64,
    /// What the outbox may hold on the disk, never beyond the reserve of free space.
    pub outbox_bytes_max: u64,
    /// Raft log written since the last snapshot, after which the next is taken; one such length is kept.
    pub snapshot_log_bytes: u64,
    /// The same in entries.
    pub snapshot_log_entries: u64,
    /// Folder of the cold files, made by the operator, on another disk perhaps; `None`: `cold` in `data`.
    pub cold_dir: Option<PathBuf>,
    /// Payloads of entries that came in before so long move into cold files by themselves; `None`: when asked to.
    pub archive_after: Option<Duration>,
    /// Payload bytes at which a cold file is closed. Sites that agree on it make the same files.
    pub cold_file_bytes: u64,
    /// After how long without a word a voter is gone, when this site leads; `None`: it never says so.
    pub takeover_after: Option<Duration>,
    /// How often the whole ledger is read again in the background to find damage.
    pub scrub_period: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    pub name: String,
    /// `host:port`
    pub address: String,
}

impl Config {
    pub(crate) fn master_key(&self) -> MasterKey {
        self.master.clone().unwrap_or_else(|| MasterKey::File(self.keys.join("master-key.hex")))
    }

    pub fn new(site: &str, data: impl Into<PathBuf>, keys: impl Into<PathBuf>) -> Config {
        Config {
            site: site.to_owned(),
            data: data.into(),
            keys: keys.into(),
            master: None,
            listen: String::new(),
            peers: Vec::new(),
            partner: None,
            initialise: false,
            append_wait: Duration::from_secs(30),
            in_flight_bytes_max: 16 << 20,
            free_space_reserve_bytes: 512 << 20,
            outbox_bytes_max: 8 << 30,
            snapshot_log_bytes: 1 << 30,
            snapshot_log_entries: 100_000,
            cold_dir: None,
            archive_after: None,
            cold_file_bytes: 64 << 20,
            takeover_after: None,
            scrub_period: Duration::from_secs(24 * 3_600),
        }
    }
}
