//! Judges what a ledger hands out, by public keys that the judge brings.
//!
//! Written from the formats alone and sharing no code with the program that writes them, so that one mistake cannot
//! be made on both sides: C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-proof; RFC 6962 trees; and for
//! exports the record formats that `raft-ledger/src/record/mod.rs` specifies.

mod admission;
mod checkpoint;
mod consistency;
mod evidence;
mod export;
mod keys;
mod leaf;
mod merkle;
mod note;
mod receipt;

pub use checkpoint::Signed;
pub use consistency::{Consistency, judge_consistency};
pub use evidence::{Evidence, evidence_of, judge_evidence};
pub use export::{Export, Finding, judge_export};
pub use keys::Keys;
pub use leaf::Leaf;
pub use receipt::{Receipt, judge_receipt};

/// Why something was not accepted: what, where, and nothing of its content.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("keys: line {line}: {what}")]
    Keys { line: usize, what: &'static str },
    /// Not of the form that its standard prescribes.
    #[error("{what}")]
    Form { what: &'static str },
    #[error("the signature of {key} is wrong")]
    Signature { key: String },
    #[error("no signature by a log key of {origin} that you brought")]
    NoLog { origin: String },
    #[error("cosigned by {found} of the keys that you brought, {needed} are needed")]
    TooFewCosigners { found: usize, needed: usize },
    #[error("cosigned by nobody but {site}, the site that the entry comes from")]
    OnlyItsOrigin { site: String },
    #[error("the proof does not lead from this entry to the root of the checkpoint")]
    NotIncluded,
    #[error("the proof does not lead from the old checkpoint to the new one")]
    NotConsistent,
    /// Portable evidence against whoever signed both.
    #[error("two roots of one size {size}: keep both files, together they show who signed both")]
    SplitView { size: u64 },
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
}
