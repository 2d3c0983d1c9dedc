//! What the simulated hospital says that it sent.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Sent {
    pub control_id: String,
    /// Of the bytes as sent, lowercase hex.
    pub sha256: String,
    /// `committed`, `duplicate` or `rejected`.
    pub expected: String,
}

pub struct TruthFile {
    pub sent: Vec<Sent>,
}

impl TruthFile {
    pub fn read(path: &Path) -> anyhow::Result<TruthFile> {
        let mut sent = Vec::new();
        for line in std::fs::read_to_string(path)?.lines() {
            let line: serde_json::Value = serde_json::from_str(line)?;
            if line["kind"] == "message" {
                sent.push(serde_json::from_value(line)?);
            }
        }
        Ok(TruthFile { sent })
    }

    pub fn count(&self, expected: &str) -> usize {
        self.sent.iter().filter(|sent| sent.expected == expected).count()
    }

    /// Without what was sent again.
    pub fn distinct(&self) -> usize {
        self.sent.len() - self.count("duplicate")
    }

    /// (control id, SHA-256) of what should be in the ledger as a message.
    pub fn committed(&self) -> BTreeSet<(String, String)> {
        let committed = self.sent.iter().filter(|sent| sent.expected == "committed");
        committed.map(|sent| (sent.control_id.clone(), sent.sha256.clone())).collect()
    }

    /// SHA-256 of what should be in the ledger as refused; some of it has no control id that could be read.
    pub fn rejected(&self) -> BTreeSet<String> {
        let rejected = self.sent.iter().filter(|sent| sent.expected == "rejected");
        rejected.map(|sent| sent.sha256.clone()).collect()
    }
}
