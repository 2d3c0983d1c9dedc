//! Evidence against a site, as another site writes it (`evidence` in its data folder) or as anybody makes it from two
//! receipts. Only the signatures in it prove; what it says beside them is for the reader.

mod batches;
mod entries;
mod notes;
mod receipts;
#[cfg(test)]
mod signing;
mod testified;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::receipts::evidence_of;
use crate::{Keys, Refusal};

/// Evidence that holds, and against which of the keys that were brought: name and key id, or the site's name for a
/// batch key. Whose they are, who brought them knows.
#[derive(Debug, Serialize)]
#[serde(tag = "evidence", rename_all = "kebab-case")]
pub enum Evidence {
    /// One key signed two roots of one size.
    SplitView {
        origin: String,
        size: u64,
        /// Lowercase hex.
        roots: [String; 2],
        against: Vec<String>,
    },
    /// A key signed another root than a majority of the logs' keys, at the same size: this replica's history holds
    /// what the others' does not, or lacks it. Believes the majority.
    Outvoted {
        origin: String,
        size: u64,
        /// Its own, the majority's.
        roots: [String; 2],
        against: Vec<String>,
    },
    /// A site signed two batches as successors of one batch within one epoch.
    TwoBatches {
        epoch: u64,
        /// Batch hashes.
        batches: [String; 2],
        against: Vec<String>,
    },
    /// A site that led proposed what the site that it names did not make. Believes the majority of the sites, who testify
    /// that it came from there.
    Forged {
        term: u64,
        /// SHA-256 of what was proposed.
        command: String,
        against: Vec<String>,
    },
    /// A site that led left out a batch that another handed it to propose. Believes the majority of the sites, who testify
    /// that it took the batch, and proposed what it was handed afterwards.
    PassedOver {
        term: u64,
        /// SHA-256 of the batch as it was handed over.
        command: String,
        against: Vec<String>,
    },
    /// A site that led signed two entries for one place of the raft log.
    TwoEntries {
        term: u64,
        /// In the raft log.
        index: u64,
        /// SHA-256 of their contents.
        entries: [String; 2],
        against: Vec<String>,
    },
    /// A key signed two trees that hold two entries at one index.
    RewrittenEntry {
        origin: String,
        index: u64,
        /// Of the trees.
        sizes: [u64; 2],
        /// RFC 6962 leaf hashes.
        leaves: [String; 2],
        against: Vec<String>,
    },
}

#[derive(Deserialize)]
struct Kind {
    evidence: String,
}

/// Judges an evidence file by `keys`. `votes`: sites that must have signed what outvotes or accuses another; `None`: a
/// majority of those that were brought, which is right where these are the keys of the voting sites alone.
///
/// # Errors
/// It proves nothing: another form, no contradiction, or no key that was brought is caught in it.
pub fn judge_evidence(file: &[u8], keys: &Keys, votes: Option<usize>) -> Result<Evidence, Refusal> {
    let form = |what| Refusal::Form { what };
    let what = "not an evidence file: JSON with a field `evidence`";
    let value: Value = serde_json::from_slice(file).map_err(|_| form(what))?;
    let Kind { evidence } = Kind::deserialize(&value).map_err(|_| form(what))?;
    match evidence.as_str() {
        "split-view" => notes::split_view(value, keys),
        "outvoted" => notes::outvoted(value, keys, votes),
        "two-batches" => batches::two_batches(value, keys),
        "forged" | "passed-over" => testified::testified(&evidence, value, keys, votes),
        "two-entries" => entries::two_entries(value, keys),
        "rewritten-entry" => receipts::rewritten_entry(value, keys),
        _ => Err(form("a kind of evidence that is not known here")),
    }
}

impl Evidence {
    pub fn against(&self) -> &[String] {
        match self {
            Evidence::SplitView { against, .. }
            | Evidence::Outvoted { against, .. }
            | Evidence::TwoBatches { against, .. }
            | Evidence::Forged { against, .. }
            | Evidence::PassedOver { against, .. }
            | Evidence::TwoEntries { against, .. }
            | Evidence::RewrittenEntry { against, .. } => against,
        }
    }
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = self.against().join(", ");
        match self {
            Evidence::SplitView { size, .. } => write!(f, "two roots of size {size} are signed by {by}"),
            Evidence::Outvoted { size, .. } => {
                write!(f, "at size {size} a majority signed another root than {by}")
            }
            Evidence::TwoBatches { epoch, .. } => {
                write!(f, "two batches at one place of epoch {epoch} are signed by {by}")
            }
            Evidence::Forged { term, command, .. } => {
                write!(
                    f,
                    "a majority testifies that {by}, which led term {term}, forged the command {command}"
                )
            }
            Evidence::PassedOver { term, command, .. } => {
                write!(
                    f,
                    "a majority testifies that {by}, which led term {term}, left out the batch {command}"
                )
            }
            Evidence::TwoEntries { term, index, .. } => {
                write!(
                    f,
                    "two entries at place {index} of the raft log, both of term {term}, are signed by {by}"
                )
            }
            Evidence::RewrittenEntry { index, sizes: [first, second], .. } => {
                write!(
                    f,
                    "entry {index} is one in the tree of {first} and another in that of {second}, both signed by {by}"
                )
            }
        }
    }
}

/// Of `value`, or what the file lacks.
fn read<T: for<'de> Deserialize<'de>>(value: Value, what: &'static str) -> Result<T, Refusal> {
    serde_json::from_value(value).map_err(|_| Refusal::Form { what })
}

fn proven(against: Vec<String>, what: &'static str) -> Result<Vec<String>, Refusal> {
    if against.is_empty() { Err(Refusal::Form { what }) } else { Ok(against) }
}
