//! What was found in a topic or a queue.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

pub struct Letter {
    pub body: Vec<u8>,
    /// Those that are text.
    pub headers: BTreeMap<String, String>,
}

impl Letter {
    /// Of the body, lowercase hex.
    pub fn sha256(&self) -> String {
        sha256(&self.body)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
