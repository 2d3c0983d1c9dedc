//! What a leader signs of each append: which entries it has put where in its term. No honest site signs two for one
//! place, whatever crashes: a term has one leader, which never changes what it has appended, and nobody leads a term
//! twice.

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use openraft::raft::AppendEntriesRequest;
use serde::{Deserialize, Serialize};

use crate::raft::{Entry, LogId, Payload, Types};
use crate::record::{Hash, sha256};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sending {
    pub(crate) leader: String,
    pub(crate) term: u64,
    /// Raft index of the first entry.
    pub(crate) first: u64,
    pub(crate) entries: Vec<Hash>,
    /// Empty where an earlier release sent it.
    pub(crate) signature: Bytes,
}

impl Sending {
    /// Of the entries that the sender has made itself; those of earlier terms come before them. Not signed.
    pub(crate) fn of(request: &AppendEntriesRequest<Types>, leader: &str) -> Option<Sending> {
        let term = request.vote.leader_id.term;
        let mut own =
            request.entries.iter().skip_while(|entry| entry.log_id.leader_id.term != term).peekable();
        let first = own.peek()?.log_id.index;
        let hash = |entry: &Entry| (entry.log_id.leader_id.term == term).then(|| content(&entry.payload))?;
        let entries = own.map(hash).collect::<Option<_>>()?;
        Some(Sending { leader: leader.to_owned(), term, first, entries, signature: Bytes::new() })
    }

    pub(crate) fn sign(mut self, key: &SigningKey) -> Sending {
        self.signature = Bytes::copy_from_slice(&key.sign(&self.statement()).to_bytes());
        self
    }

    pub(crate) fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        Signature::from_slice(&self.signature)
            .is_ok_and(|signature| key.verify_strict(&self.statement(), &signature).is_ok())
    }

    /// What it says stands at that place.
    pub(super) fn at(&self, id: &LogId) -> Option<&Hash> {
        let nth = id.index.checked_sub(self.first).filter(|_| id.leader_id.term == self.term)?;
        self.entries.get(usize::try_from(nth).ok()?)
    }

    /// The verifier makes the same bytes.
    fn statement(&self) -> Vec<u8> {
        let Sending { leader, term, first, entries, .. } = self;
        let mut text = format!("medulla entries v1\n{leader}\n{term}\n{first}\n");
        entries.iter().for_each(|hash| text.extend([hex::encode(hash).as_str(), "\n"]));
        text.into_bytes()
    }
}

/// A membership that cannot be written is not sent either.
fn content(payload: &Payload) -> Option<Hash> {
    match payload {
        Payload::Blank => Some(sha256(&[&[0]])),
        Payload::Normal(proposal) => Some(of_command(&proposal.0)),
        Payload::Membership(membership) => Some(sha256(&[&[2], &rmp_serde::to_vec_named(membership).ok()?])),
    }
}

pub(super) fn of_command(command: &[u8]) -> Hash {
    sha256(&[&[1], command])
}
