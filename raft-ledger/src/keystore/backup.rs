//! A backup of a key store: short-lived, because an old one still opens what has been shredded since.
//!
//! ```text
//! "MEDKBAK\x01" ‖ i64 made, i64 expires (ms since the Unix epoch) ‖ u8 length, the site's name ‖ [12] nonce ‖
//! AES-256-GCM(HMAC-SHA256(master key, "medulla key backup v1\n"), nonce, key store's file as it is written whole),
//! associated data: all before the nonce
//! ```
//! The keys in it are encrypted under the master key of its time: with that it can be restored, and with no other.

use std::path::Path;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use hmac::{Hmac, Mac};
use rand::RngCore;
use sha2::Sha256;

use super::file::{self, Record};
use crate::keys::Secret;
use crate::random;
use crate::record::SiteName;
use crate::types::LedgerError;

const MAGIC: &[u8; 8] = b"MEDKBAK\x01";
const NONCE_LEN: usize = 12;

/// What stands in the clear before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) made_ms: i64,
    pub(super) expires_ms: i64,
    pub(super) site: SiteName,
}

impl Head {
    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.made_ms.to_be_bytes());
        out.extend_from_slice(&self.expires_ms.to_be_bytes());
        self.site.encode(&mut out);
        out
    }

    /// With how long it is.
    fn decode(bytes: &[u8]) -> Option<(Head, usize)> {
        let (made, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
        let (expires, rest) = rest.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first()?;
        let name = rest.get(..usize::from(*len))?;
        let site = SiteName::new(std::str::from_utf8(name).ok()?)?;
        let (made_ms, expires_ms) = (i64::from_be_bytes(*made), i64::from_be_bytes(*expires));
        Some((Head { made_ms, expires_ms, site }, MAGIC.len() + 17 + name.len()))
    }
}

/// `whole`: the bytes of a key store's file.
pub(super) fn seal(head: &Head, master: &Secret, whole: &[u8]) -> Result<Vec<u8>, LedgerError> {
    let mut nonce = [0; NONCE_LEN];
    random::os_rng().fill_bytes(&mut nonce);
    let clear = head.encode();
    let sealed = cipher(master).encrypt(Nonce::from_slice(&nonce), Payload { msg: whole, aad: &clear });
    let sealed = sealed.map_err(|_| LedgerError::Keys("the backup could not be encrypted".into()))?;
    Ok([clear.as_slice(), &nonce, &sealed].concat())
}

/// The records in it. Refused: a backup of another site, one that has expired by `now_ms`, one under another master key.
pub(super) fn open(
    path: &Path,
    bytes: &[u8],
    site: &SiteName,
    master: &Secret,
    now_ms: i64,
) -> Result<Vec<Record>, LedgerError> {
    let name = path.display();
    let (head, len) = Head::decode(bytes)
        .ok_or_else(|| LedgerError::Keys(format!("{name} is no backup of a key store of this release")))?;
    if head.site != *site {
        return Err(LedgerError::Refused(format!("{name} is a backup of site {}, not of {site}", head.site)));
    }
    let opened = bytes.split_at_checked(len).and_then(|(clear, rest)| {
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        cipher(master).decrypt(Nonce::from_slice(nonce), Payload { msg: sealed, aad: clear }).ok()
    });
    let whole = opened.ok_or_else(|| {
        LedgerError::Keys(format!(
            "{name} is damaged, or was made under another master key than this site has now"
        ))
    })?;
    if head.expires_ms <= now_ms {
        let days = (now_ms - head.expires_ms) / 86_400_000;
        return Err(LedgerError::Refused(format!(
            "{name} has expired, {days} days ago; delete it, and let the partner bring this site's keys back: start it"
        )));
    }
    file::read(path, &whole, master).map(|(records, _)| records)
}

fn cipher(master: &Secret) -> Aes256Gcm {
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(master.expose());
    let mut mac = mac.unwrap_or_else(|_| unreachable!("HMAC takes keys of every length"));
    mac.update(b"medulla key backup v1\n");
    Aes256Gcm::new(&mac.finalize().into_bytes())
}
