//! What convicts a site: a file that anybody judges by public keys alone (`medulla-verify evidence`).

use serde_json::{Value, json};

use super::testimony::{Accusation, Deed, Testimonies};
use crate::authors::Sending;
use crate::record::{SignedBatch, SiteName};

pub(crate) enum Evidence {
    /// One key signed two roots of one size.
    SplitView { size: u64, notes: [String; 2] },
    /// A key signed another root (the first note) than a majority of the log keys (the second) at the same size.
    Outvoted { size: u64, notes: [String; 2] },
    /// A batch key signed two successors of one batch within one epoch.
    TwoBatches(Contradiction),
    /// A leader did what a majority of the sites testifies.
    Testified(Accusation, Testimonies),
    /// A leader signed two entries for one place of the raft log, within one term.
    TwoEntries(TwoEntries),
}

/// What one leader signed to two sites, and the raft index where that differs.
pub(crate) struct TwoEntries {
    pub(crate) index: u64,
    pub(crate) sendings: [Sending; 2],
}

/// Two batches that one site signed for the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction {
    pub(crate) site: SiteName,
    pub(crate) epoch: u64,
    /// The one that was applied, the one that was refused.
    pub(crate) batches: [SignedBatch; 2],
}

/// What this site found odd, and looks into outside apply and outside answers to peers.
#[derive(Debug)]
pub(crate) enum Suspicion {
    /// A site's signed checkpoint whose root is not this site's at that size.
    OtherRoot(String),
    TwoBatches(Contradiction),
    Testified(Accusation),
}

impl Evidence {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Evidence::SplitView { .. } => "split-view",
            Evidence::Outvoted { .. } => super::blame::OUTVOTED,
            Evidence::TwoBatches(_) => "two-batches",
            Evidence::Testified(found, _) => found.deed.kind(),
            Evidence::TwoEntries(_) => "two-entries",
        }
    }

    /// What the site did, for the log.
    pub(super) fn deed(&self) -> &'static str {
        match self {
            Evidence::SplitView { .. } => "has signed two roots of one size",
            Evidence::Outvoted { .. } => "has signed another root than a majority of the sites",
            Evidence::TwoBatches(_) => "has signed two batches for one place",
            Evidence::Testified(Accusation { deed: Deed::Forged, .. }, _) => {
                "has proposed a command that its site did not make"
            }
            Evidence::Testified(Accusation { deed: Deed::PassedOver, .. }, _) => {
                "has left out what another site handed it to propose"
            }
            Evidence::TwoEntries(_) => {
                "has sent two entries for one place, to one site this, to another that"
            }
        }
    }

    pub(super) fn file_name(&self, site: &str) -> String {
        match self {
            Evidence::SplitView { size, .. } | Evidence::Outvoted { size, .. } => {
                format!("{}-{site}-{size}.json", self.kind())
            }
            Evidence::TwoBatches(found) => format!("{}-{site}-{}.json", self.kind(), found.epoch),
            Evidence::Testified(found, _) => format!("{}-{site}-{}.json", self.kind(), found.term),
            Evidence::TwoEntries(found) => format!("{}-{site}-{}.json", self.kind(), found.index),
        }
    }

    pub(super) fn to_json(&self, site: &str) -> Value {
        match self {
            Evidence::SplitView { size, notes } | Evidence::Outvoted { size, notes } => {
                json!({ "evidence": self.kind(), "site": site, "size": size, "notes": notes })
            }
            Evidence::TwoBatches(found) => {
                let batch = |batch: &SignedBatch| json!({ "hashed": hex::encode(&batch.hashed), "signature": hex::encode(batch.signature) });
                let batches = found.batches.each_ref().map(batch);
                json!({ "evidence": self.kind(), "site": site, "epoch": found.epoch, "batches": batches })
            }
            Evidence::Testified(found, testimonies) => {
                let word = |(site, signature): (&String, &[u8; 64])| json!({ "site": site, "signature": hex::encode(signature) });
                let testimonies: Vec<Value> = testimonies.iter().map(word).collect();
                let command = hex::encode(found.command);
                json!({ "evidence": self.kind(), "site": site, "term": found.term, "command": command,
                        "testimonies": testimonies })
            }
            Evidence::TwoEntries(TwoEntries { index, sendings }) => {
                let sending = |sending: &Sending| {
                    let entries: Vec<String> = sending.entries.iter().map(hex::encode).collect();
                    json!({ "first": sending.first, "entries": entries, "signature": hex::encode(&sending.signature) })
                };
                json!({ "evidence": self.kind(), "site": site, "term": sendings[0].term, "index": index,
                        "sendings": sendings.each_ref().map(sending) })
            }
        }
    }
}
