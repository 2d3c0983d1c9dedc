//! Orders opaque bytes durably and provably across sites. Knows no patients.

mod apply;
mod aside;
mod audit;
mod authors;
mod backup;
mod blocking;
mod call;
mod checkpoint;
mod clock;
mod cold;
mod config;
mod cosign;
#[cfg(test)]
mod dishonest;
mod export;
mod founding;
mod heal;
mod high_water;
mod housekeeping;
mod key_care;
pub mod keys;
mod keystore;
mod ledger;
mod membership;
pub mod merkle;
mod network;
mod observer;
mod outbox;
mod packer;
mod partner;
mod passed_over;
#[cfg(test)]
#[path = "../tests/it/common/ports.rs"]
mod ports;
mod proofs;
mod raft;
mod random;
mod read_index;
mod reads;
mod record;
mod rehearsal;
#[cfg(test)]
mod rolling;
mod roster;
mod rules;
mod scrub;
mod seal;
mod shred;
mod shredding;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(all(test, not(feature = "sim")))]
mod sim;
mod sites;
mod standing;
mod store;
mod takeover;
mod tasks;
mod types;
mod verify;
mod writer;

pub use backup::{Backup, Restored, Watch, backup_stopped, restore};
pub use cold::{Archived, ColdStatus};
pub use config::{Config, PeerConfig};
pub use export::Progress;
pub use heal::Healing;
pub use key_care::{KeyBackup, KeysRestored, KeysRotated, StoppedKeys};
pub use keys::{IndexKey, MasterKey};
pub use ledger::Ledger;
pub use membership::{MemberChange, MemberRole, MemberStatus};
pub use outbox::{Outbox, OutboxState, OutboxStatus, Stored};
pub use record::MAX_TAGS;
pub use rehearsal::Rehearsal;
pub use types::{
    AppendError, CertificateStatus, CosignedCheckpoint, Draft, Entry, KeyCopies, Lease, LedgerError, Outcome,
    Payload, PeerStatus, Role, SHRED, Shredded, Status, Subject, TAKEOVER, Tag,
};
pub use verify::{Finding, Report, verify_export};
