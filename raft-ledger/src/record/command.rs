//! What one raft entry carries.

use std::fmt;

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::reader::{Reader, RecordError};
use super::{Batch, NewSite, SiteName};

const VERSION: u8 = 1;
const BATCH: u16 = 1;
const OPEN_EPOCH: u16 = 2;
const APPLY_VERSION: u16 = 3;
const NEW_SITE: u16 = 4;
const EPOCH_DOMAIN: &[u8] = b"medulla open epoch v1\n";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Batch(Batch),
    OpenEpoch(OpenEpoch),
    ApplyVersion(ApplyVersion),
    NewSite(NewSite),
    /// Of a later release: kept as it came, and without effect here.
    Unknown(Bytes),
}

/// A starting site asks for a new epoch. Apply grants `previous_epoch + 1` if `previous_epoch` is the site's
/// current one (0: none yet) and does nothing otherwise: one that was lost and comes late cannot fence a
/// running site.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenEpoch {
    pub group_id: u32,
    pub site: SiteName,
    pub previous_epoch: u64,
    /// Random: the site knows its own request again in apply.
    pub nonce: [u8; 16],
    pub signature: [u8; 64],
}

/// Raises the rules of apply once every voter supports them, so that mixed releases keep equal roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplyVersion {
    pub apply_version: u32,
}

impl Command {
    pub fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        match self {
            Command::Unknown(bytes) => return bytes.clone(),
            Command::Batch(batch) => {
                out.extend_from_slice(&BATCH.to_be_bytes());
                batch.encode_into(&mut out);
            }
            Command::OpenEpoch(open) => {
                out.extend_from_slice(&OPEN_EPOCH.to_be_bytes());
                open.encode_into(&mut out);
            }
            Command::NewSite(new) => {
                out.extend_from_slice(&NEW_SITE.to_be_bytes());
                new.encode_into(&mut out);
            }
            Command::ApplyVersion(v) => {
                out.extend_from_slice(&APPLY_VERSION.to_be_bytes());
                out.extend_from_slice(&v.apply_version.to_be_bytes());
            }
        }
        out.into()
    }

    /// An error is a known kind in a bad form: apply refuses it, everywhere the same.
    pub fn decode(bytes: Bytes) -> Result<Command, RecordError> {
        let mut reader = Reader::new("command", bytes.clone());
        let version = reader.u8()?;
        let kind = reader.u16()?;
        let body = reader.take(reader.remaining())?;
        match (version, kind) {
            (VERSION, BATCH) => Ok(Command::Batch(Batch::decode(body)?)),
            (VERSION, OPEN_EPOCH) => Ok(Command::OpenEpoch(OpenEpoch::decode(body)?)),
            (VERSION, NEW_SITE) => Ok(Command::NewSite(NewSite::decode(body)?)),
            (VERSION, APPLY_VERSION) => {
                let mut reader = Reader::new("apply version", body);
                let apply_version = reader.u32()?;
                reader.end()?;
                Ok(Command::ApplyVersion(ApplyVersion { apply_version }))
            }
            _ => Ok(Command::Unknown(bytes)),
        }
    }
}

impl OpenEpoch {
    pub fn sign(
        group_id: u32,
        site: SiteName,
        previous_epoch: u64,
        nonce: [u8; 16],
        key: &SigningKey,
    ) -> OpenEpoch {
        let mut open = OpenEpoch { group_id, site, previous_epoch, nonce, signature: [0; 64] };
        open.signature = key.sign(&open.signed()).to_bytes();
        open
    }

    pub fn verify(&self, key: &VerifyingKey) -> bool {
        key.verify_strict(&self.signed(), &Signature::from_bytes(&self.signature)).is_ok()
    }

    fn signed(&self) -> Vec<u8> {
        let mut out = EPOCH_DOMAIN.to_vec();
        self.encode_fields(&mut out);
        out
    }

    fn encode_fields(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.group_id.to_be_bytes());
        self.site.encode(out);
        out.extend_from_slice(&self.previous_epoch.to_be_bytes());
        out.extend_from_slice(&self.nonce);
    }

    fn encode_into(&self, out: &mut Vec<u8>) {
        self.encode_fields(out);
        out.extend_from_slice(&self.signature);
    }

    fn decode(bytes: Bytes) -> Result<OpenEpoch, RecordError> {
        let mut reader = Reader::new("open epoch", bytes);
        let open = OpenEpoch {
            group_id: reader.u32()?,
            site: SiteName::decode(&mut reader)?,
            previous_epoch: reader.u64()?,
            nonce: reader.array()?,
            signature: reader.array()?,
        };
        reader.end()?;
        Ok(open)
    }
}

impl fmt::Debug for OpenEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenEpoch(site {}, after {})", self.site, self.previous_epoch)
    }
}
