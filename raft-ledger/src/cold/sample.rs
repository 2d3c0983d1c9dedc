//! What the tests of cold files put into them.

use crate::raft::GROUP;
use crate::record::{Head, Leaf, SiteName, sha256};

pub(super) fn leaf(kind: u16, site_seq: u64, payload: &[u8]) -> Leaf {
    let head = Head {
        group_id: GROUP,
        kind,
        site: SiteName::new("a").unwrap(),
        epoch: 1,
        site_seq,
        event_time_ms: 2,
        message_time_ms: 3,
        received_time_ms: 4,
        key_ref: [5; 16],
    };
    let ciphertext_len = payload.len() as u32;
    Leaf { head, subject_commitment: [6; 32], ciphertext_len, ciphertext_hash: sha256(&[payload]) }
}
