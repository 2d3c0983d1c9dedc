//! The keys of a site that is none of the founders, admitted by the consortium's offline authority.

use std::fmt;

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::SiteName;
use super::reader::{Reader, RecordError};

const VERSION: u8 = 1;
const DOMAIN: &[u8] = b"medulla admission v1\n";
/// Of a consortium's name.
pub(crate) const MAX_NAME_BYTES: usize = u8::MAX as usize;

/// The authority admits a site by its keys. Says all that it is good for, so that it is good for nothing else. From apply
/// version 1 on; no name gets other keys later.
#[derive(Clone, PartialEq, Eq)]
pub struct NewSite {
    /// What the names of all its keys begin with; at most [`MAX_NAME_BYTES`].
    pub consortium: String,
    pub group_id: u32,
    pub site: SiteName,
    /// Which keys of this name they are: [`NewSite::FIRST`].
    pub generation: u32,
    /// Ed25519 public keys.
    pub batch_key: [u8; 32],
    pub log_key: [u8; 32],
    pub cosigner_key: [u8; 32],
    /// By the authority.
    pub signature: [u8; 64],
}

impl NewSite {
    /// The only generation that the rules of today know. Whoever lets a name have other keys numbers them on, so that what
    /// was signed for the former ones brings them back to nobody.
    pub const FIRST: u32 = 1;

    /// `self` as signed by the authority's key.
    pub fn sign(mut self, authority: &SigningKey) -> NewSite {
        self.signature = authority.sign(&self.signed()).to_bytes();
        self
    }

    /// Whether this authority has signed it; whether it may is for [`crate::keys`] to say.
    pub fn verify(&self, authority: &VerifyingKey) -> bool {
        authority.verify_strict(&self.signed(), &Signature::from_bytes(&self.signature)).is_ok()
    }

    /// Of the checkpoints of the group that it joins.
    pub(crate) fn origin(&self) -> String {
        format!("{}/group/{}", self.consortium, self.group_id)
    }

    fn signed(&self) -> Vec<u8> {
        let mut out = DOMAIN.to_vec();
        self.encode_fields(&mut out);
        out
    }

    fn encode_fields(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.push(self.consortium.len() as u8); // whoever makes one sees to the length
        out.extend_from_slice(self.consortium.as_bytes());
        out.extend_from_slice(&self.group_id.to_be_bytes());
        self.site.encode(out);
        out.extend_from_slice(&self.generation.to_be_bytes());
        for key in [&self.batch_key, &self.log_key, &self.cosigner_key] {
            out.extend_from_slice(key);
        }
    }

    pub(super) fn encode_into(&self, out: &mut Vec<u8>) {
        self.encode_fields(out);
        out.extend_from_slice(&self.signature);
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }

    pub fn decode(bytes: Bytes) -> Result<NewSite, RecordError> {
        let mut reader = Reader::new("new site", bytes);
        reader.version(VERSION)?;
        let consortium = String::from_utf8(reader.bytes8()?.into());
        let new = NewSite {
            consortium: consortium.map_err(|_| reader.error("a name that is not UTF-8"))?,
            group_id: reader.u32()?,
            site: SiteName::decode(&mut reader)?,
            generation: reader.u32()?,
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
        write!(f, "NewSite({} of {}, generation {})", self.site, self.consortium, self.generation)
    }
}
