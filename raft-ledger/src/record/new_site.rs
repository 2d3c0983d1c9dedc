//! The keys of a site that is none of the founders.

use std::fmt;

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::SiteName;
use super::reader::{Reader, RecordError};

const DOMAIN: &[u8] = b"medulla new site v1\n";

/// A member vouches for the keys of a site that is to join. From apply version 1 on; no name gets other keys later.
#[derive(Clone, PartialEq, Eq)]
pub struct NewSite {
    pub group_id: u32,
    /// The member that says so.
    pub by: SiteName,
    pub site: SiteName,
    /// Ed25519 public keys.
    pub batch_key: [u8; 32],
    pub log_key: [u8; 32],
    pub cosigner_key: [u8; 32],
    pub signature: [u8; 64],
}

impl NewSite {
    /// `self` as signed by the batch key of `by`.
    pub fn sign(mut self, key: &SigningKey) -> NewSite {
        self.signature = key.sign(&self.signed()).to_bytes();
        self
    }

    pub fn verify(&self, key: &VerifyingKey) -> bool {
        key.verify_strict(&self.signed(), &Signature::from_bytes(&self.signature)).is_ok()
    }

    fn signed(&self) -> Vec<u8> {
        let mut out = DOMAIN.to_vec();
        self.encode_fields(&mut out);
        out
    }

    fn encode_fields(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.group_id.to_be_bytes());
        self.by.encode(out);
        self.site.encode(out);
        for key in [&self.batch_key, &self.log_key, &self.cosigner_key] {
            out.extend_from_slice(key);
        }
    }

    pub(super) fn encode_into(&self, out: &mut Vec<u8>) {
        self.encode_fields(out);
        out.extend_from_slice(&self.signature);
    }

    pub(super) fn decode(bytes: Bytes) -> Result<NewSite, RecordError> {
        let mut reader = Reader::new("new site", bytes);
        let new = NewSite {
            group_id: reader.u32()?,
            by: SiteName::decode(&mut reader)?,
            site: SiteName::decode(&mut reader)?,
            batch_key: reader.array()?,
            log_key: reader.array()?,
            cosigner_key: reader.array()?,
            signature: reader.array()?,
        };
        reader.end()?;
        Ok(new)
    }
}

impl fmt::Debug for NewSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewSite({} by {})", self.site, self.by)
    }
}
