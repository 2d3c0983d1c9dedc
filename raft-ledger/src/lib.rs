//! Orders opaque bytes durably and provably across sites. Knows no patients.

mod apply;
mod aside;
mod audit;
mod backup;
mod blocking;
mod call;
mod checkpoint;
mod clock;
mod config;
mod cosign;
#[cfg(test)]
mod dishonest;
mod export;
mod founding;
mod heal;
mod housekeeping;
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
mod proofs;
mod raft;
mod random;
mod read_index;
mod reads;
mod record;
mod roster;
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

pub use backup::{Backup, Restored, backup_stopped, restore};
pub use config::{Config, PeerConfig};
pub use export::Progress;
pub use keys::IndexKey;
pub use ledger::Ledger;
pub use membership::{MemberChange, MemberRole, MemberStatus};
pub use outbox::{Outbox, OutboxState, OutboxStatus, Stored};
pub use record::MAX_TAGS;
pub use types::{
    AppendError, CosignedCheckpoint, Draft, Entry, KeyCopies, Lease, LedgerError, Outcome, Payload,
    PeerStatus, Role, SHRED, Shredded, Status, Subject, TAKEOVER, Tag,
};
pub use verify::{Finding, Report, verify_export};
