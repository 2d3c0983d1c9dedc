//! The words of this crate's face. openraft's and RocksDB's types stop behind it.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;

use crate::cold::ColdStatus;

/// Whom or what an entry is about: an opaque key. Each has an encryption key of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subject(pub [u8; 32]);

/// An opaque search key: `Ledger::tag` makes it with the consortium's index key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub [u8; 16]);

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject({})", hex::encode(&self.0[..4]))
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({})", hex::encode(&self.0[..4]))
    }
}

/// Kinds from here on are the ledger's own.
pub(crate) const OWN_KINDS: u16 = 0xff00;

/// Of the entry that says which keys were destroyed.
pub const SHRED: u16 = 0xff00;

/// Of the entry that says who stands in for whom.
pub const TAKEOVER: u16 = 0xff01;

/// What a caller wants to have ordered and kept.
#[derive(Clone)]
pub struct Draft {
    /// Opaque to the ledger; `0..0xff00` belong to callers.
    pub kind: u16,
    pub subject: Subject,
    /// At most 16.
    pub tags: Vec<Tag>,
    /// A second draft with the same key within the window makes no leaf: it gets the first one's index.
    pub dedupe: Option<[u8; 32]>,
    /// Milliseconds since the Unix epoch: when it happened, when its sender wrote it, when it came in.
    pub event_time_ms: i64,
    pub message_time_ms: i64,
    pub received_time_ms: i64,
    /// Plain; sealed by the ledger before it leaves this process or touches a disk.
    pub payload: Bytes,
}

/// What became of a draft, learnt from this site's own apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// 0-based dense leaf index; for a duplicate the first one's.
    pub index: u64,
    pub duplicate: bool,
}

/// One committed leaf with its payload.
#[derive(Clone)]
pub struct Entry {
    pub index: u64,
    pub kind: u16,
    pub site: String,
    pub epoch: u64,
    pub site_seq: u64,
    pub event_time_ms: i64,
    pub message_time_ms: i64,
    pub received_time_ms: i64,
    pub payload: Payload,
}

#[derive(Clone)]
pub enum Payload {
    Open(Bytes),
    /// Another site sealed it and has entrusted its key to this one, to read when that site cannot.
    Entrusted(Bytes),
    /// This site holds no key for it: another site sealed it.
    Sealed,
    /// Nobody holds its key any more: its site has destroyed it.
    Shredded,
    /// The keys of these subjects were destroyed (entries of kind [`SHRED`]), as `by` ordered; empty: not known.
    Shred {
        subjects: Vec<Subject>,
        by: String,
    },
}

/// A site stands in for another one that is gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Lease {
    /// The one that is gone.
    pub site: String,
    /// The one that stands in for it.
    pub holder: String,
    /// Index of the entry that it began with.
    pub from: u64,
}

/// What [`Ledger::shred`](crate::Ledger::shred) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shredded {
    /// Of the entry that says so.
    pub index: u64,
    /// Keys that were destroyed.
    pub keys: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Too much in flight: wait and try again. Never a longer queue.
    #[error("the ledger has {in_flight_bytes} bytes in flight; wait and append again")]
    Pushback { in_flight_bytes: usize },
    #[error("this site is not the leader and knows of none; the entry was not taken")]
    NotLeader,
    /// Whether it was committed is not known yet; the same draft with its dedupe key may be appended again.
    #[error("no quorum within {waited_ms} ms; append again with the same dedupe key")]
    Unavailable { waited_ms: u64 },
    #[error("payload of {bytes} bytes is larger than the {limit} that one entry may have")]
    TooLarge { bytes: usize, limit: usize },
    #[error("{tags} tags are more than the {limit} that one entry may have")]
    TooManyTags { tags: usize, limit: usize },
    #[error("less than {reserve_bytes} bytes are free on the ledger's disk; make room and append again")]
    NoSpace { reserve_bytes: u64 },
    /// Nothing was taken: wait for the outbox to drain, or make it larger.
    #[error("the outbox holds {bytes} of the {limit} bytes that it may; it drains once there is a quorum")]
    OutboxFull { bytes: u64, limit: u64 },
    #[error("kind {kind} is the ledger's own; callers' kinds are below 65280")]
    OwnKind { kind: u16 },
    #[error("a draft for the outbox has no dedupe key; without one it could become two entries")]
    NoDedupe,
    #[error("the ledger is closed")]
    Closed,
}

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("ledger storage: {0}")]
    Storage(String),
    #[error("ledger configuration: {0}")]
    Config(String),
    #[error("keys: {0}")]
    Keys(String),
    /// What was read is not what was written; names the place.
    #[error("damaged: {0}")]
    Damaged(String),
    /// A payload is where it should be no longer, or not what was moved there; it comes back from a peer, or is put back
    /// from a backup. Nothing of the database is wrong.
    #[error("cold file {0}")]
    Cold(String),
    #[error("consensus: {0}")]
    Consensus(String),
    /// No majority of the sites, or no leader, confirmed it in time.
    #[error("not now: {0}; try again")]
    Unavailable(String),
    /// Asked of the ledger, and what became of it is not known yet.
    #[error("ordered, not yet confirmed: {0}; give the same command again")]
    Unconfirmed(String),
    /// It would do harm or makes no sense; says why.
    #[error("refused: {0}")]
    Refused(String),
    /// This site's release would make another ledger of the entries than the others do.
    #[error(
        "the consortium applies entries by the rules of version {applied}, this release knows them up to {known}: run \
         the later release that the other sites run"
    )]
    OldRelease { applied: u32, known: u32 },
    /// There is no proof to give, or not yet; says why.
    #[error("not proven: {0}")]
    NotProven(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Leader,
    Follower,
    Candidate,
    Learner,
    Stopped,
}

/// The newest checkpoint that a majority of the sites has cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignedCheckpoint {
    /// Leaves that it covers.
    pub size: u64,
    /// RFC 6962 root over them.
    pub root: [u8; 32],
    /// C2SP signed note: this site's signature, then the cosignatures.
    pub note: String,
    /// Names of the keys that cosigned; empty for a site alone (guarantee D3 is not available).
    pub cosigners: Vec<String>,
    /// Unix time at which this site had it complete.
    pub made_at_s: u64,
}

/// `medulla ledger status --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub site: String,
    pub role: Role,
    pub leader: Option<String>,
    pub term: u64,
    /// Leaves applied here.
    pub size: u64,
    /// RFC 6962 root over them, lowercase hex.
    pub root: String,
    /// Raft entries that each peer has yet to receive, as this site knows it (all of them on the leader).
    pub lag: std::collections::BTreeMap<String, u64>,
    pub peers: Vec<PeerStatus>,
    pub duplicates: u64,
    /// Raft entries that apply refused: forged, out of order, of a fenced epoch, unreadable.
    pub refused: u64,
    /// Raft log that is kept: entries before are only in snapshots and in the ledger itself.
    pub log_first_index: u64,
    pub in_flight_bytes: usize,
    /// The rules that entries are applied by now, see [`Ledger::upgrade`](crate::Ledger::upgrade).
    pub apply_version: u32,
    /// The latest that this site's release knows.
    pub apply_version_known: u32,
    /// Why this site does not take part, and what to do; `None`: it does.
    pub notice: Option<String>,
    pub keys: KeyCopies,
    /// What was found wrong with this site's ledger database; it heals from the peers when it is opened next.
    pub damage: Option<String>,
    /// Entries whose payloads were moved out of the database.
    pub cold: ColdStatus,
}

/// Of the certificate that this site shows the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateStatus {
    /// In seconds of Unix time.
    pub expires_at_s: i64,
    /// How often changed files could not be used.
    pub failed_reloads: u64,
}

/// Subjects' keys: this site's, and those that it holds for others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeyCopies {
    /// Who holds this site's keys, too; `None`: no other site votes.
    pub partner: Option<String>,
    /// Of this site's subjects.
    pub own: u64,
    /// Of these, not known to be at the partner: held by a voter that stands in, or waiting in the outbox.
    pub not_at_partner: u64,
    /// By the site whose keys they are.
    pub held: std::collections::BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct PeerStatus {
    pub name: String,
    pub address: String,
    pub voter: bool,
    pub connected: bool,
}
