//! What a leader signs of each append: which entries stand where in the raft log in the term in which it sends them, its
//! own and those of earlier terms alike. A place is (leader, term that it leads in, index); the entry's own term is
//! within its hash.
//!
//! No honest site signs two for one place, whatever crashes. While a site leads nothing in its log is replaced, only
//! added to; a term has one leader, and nobody leads a term twice. What it passes on is what it had when its term began:
//! the same entry under a later term, or what has replaced it meanwhile, is another place.

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use openraft::raft::AppendEntriesRequest;
use serde::{Deserialize, Serialize};

use crate::raft::{LogId, Types};
use crate::record::Hash;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sending {
    pub(crate) leader: String,
    pub(crate) term: u64,
    /// Raft index of the first entry.
    pub(crate) first: u64,
    /// Of the bytes that are sent: whoever reads less in them than their leader wrote hashes the same.
    pub(crate) entries: Vec<Hash>,
    /// Empty where an earlier build sent it.
    pub(crate) signature: Bytes,
}

impl Sending {
    /// Of the entries of a request, whose `hashes` these are; `None` where there are none. Not signed.
    pub(crate) fn of(
        request: &AppendEntriesRequest<Types>,
        hashes: Vec<Hash>,
        leader: &str,
    ) -> Option<Sending> {
        let (first, term) = (request.entries.first()?.log_id.index, request.vote.leader_id.term);
        Some(Sending { leader: leader.to_owned(), term, first, entries: hashes, signature: Bytes::new() })
    }

    pub(crate) fn sign(mut self, key: &SigningKey) -> Sending {
        self.signature = Bytes::copy_from_slice(&key.sign(&self.statement()).to_bytes());
        self
    }

    pub(crate) fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        Signature::from_slice(&self.signature)
            .is_ok_and(|signature| key.verify_strict(&self.statement(), &signature).is_ok())
    }

    /// What its leader says that it has put there itself.
    pub(super) fn at(&self, id: &LogId) -> Option<&Hash> {
        let nth = id.index.checked_sub(self.first).filter(|_| id.leader_id.term == self.term)?;
        self.entries.get(usize::try_from(nth).ok()?)
    }

    /// The verifier makes the same bytes.
    fn statement(&self) -> Vec<u8> {
        let Sending { leader, term, first, entries, .. } = self;
        let mut text = format!("medulla sent v1\n{leader}\n{term}\n{first}\n");
        entries.iter().for_each(|hash| text.extend([hex::encode(hash).as_str(), "\n"]));
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands here may never change: evidence of any age is judged by it.
    #[test]
    fn golden() {
        let (leader, signature) = ("site-a".to_owned(), Bytes::new());
        let sending = Sending { leader, term: 4, first: 9, entries: vec![[0xaa; 32], [0xbb; 32]], signature };
        let lines = ["aa", "bb"].map(|byte| byte.repeat(32));
        let statement = format!("medulla sent v1\nsite-a\n4\n9\n{}\n{}\n", lines[0], lines[1]);
        assert_eq!(String::from_utf8(sending.statement()).unwrap(), statement);
        let key = SigningKey::from_bytes(&[7; 32]);
        let sending = sending.sign(&key);
        assert_eq!(
            hex::encode(&sending.signature),
            "9f0f7da0c9fb1694f9cd15b703cd988bb232a81791e3539b82741ad5517ba8f270ca1d6e19c1d84f313aff452b861819e32ff452b5e1c5d0e705fa473ba74607"
        );
        assert!(sending.is_signed_by(&key.verifying_key()));
    }
}
