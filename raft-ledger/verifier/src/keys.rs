//! C2SP verifier keys, one a line: `name+key id+base64(type ‖ Ed25519 public key)`; and admissions of further sites, which
//! count by the key of the authority that has signed them.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::admission::{self, Admission};
use crate::{Refusal, note};

/// What the judge trusts.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// Type 0x01: sign checkpoints of the log that their name is the origin of.
    pub(crate) logs: Vec<Key>,
    /// Type 0x04: cosign (tlog-cosignature v1).
    pub(crate) cosigners: Vec<Key>,
    /// Site name to the keys that sign its batches, type 0xff "medulla-batch-v1": one a consortium, where one has gone
    /// on with the ledger of another.
    pub(crate) batches: BTreeMap<String, BTreeMap<String, VerifyingKey>>,
    /// Consortia whose log keys were brought. Of a former one, a site that was admitted there signs batches, and nothing
    /// that is made now.
    present: BTreeSet<String>,
    /// Consortium to the key that admits its further sites, type 0xff "medulla-authority-v1".
    authorities: BTreeMap<String, VerifyingKey>,
    /// The last line was a log's key.
    follows_log: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) id: [u8; 4],
    pub(crate) key: VerifyingKey,
    /// Of a log key, whose name is that of the log: the site of the cosigner's key on the line that follows, as
    /// `medulla ledger keys` writes them.
    site: Option<String>,
}

const LOG: &[u8] = &[0x01];
const COSIGNER: &[u8] = &[0x04];
const BATCH: &[u8] = b"\xffmedulla-batch-v1";
const AUTHORITY: &[u8] = b"\xffmedulla-authority-v1";

impl Keys {
    /// Empty lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// The first line that is no such key, or is one of a type that is not known here; the first admission that no
    /// authority among the keys has signed.
    pub fn parse(text: &str) -> Result<Keys, Refusal> {
        let mut keys = Keys::default();
        let lines = text.lines().zip(1..).filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        let (admissions, lines): (Vec<_>, Vec<_>) = lines.partition(|(line, _)| admission::is_line(line));
        for (line, number) in lines {
            keys.add(line).map_err(|what| Refusal::Keys { line: number, what })?;
        }
        for (line, number) in admissions {
            let admitted = keys.admit(line).map_err(|what| Refusal::Keys { line: number, what })?;
            let what = "there is no key of the authority that admits this site";
            admitted.ok_or(Refusal::Keys { line: number, what })?;
        }
        Ok(keys)
    }

    /// A line by which an authority admits a site: the site, whose keys count from here on. `None`, and nothing changes, if
    /// the key of that authority was not brought.
    pub(crate) fn admit(&mut self, line: &str) -> Result<Option<String>, &'static str> {
        let new = Admission::read(line).ok_or("not an admission of a known form")?;
        let Some(authority) = self.authorities.get(&new.consortium) else { return Ok(None) };
        if !new.is_signed_by(authority) {
            return Err("the authority of its consortium has not signed this admission");
        }
        let of_site = self.batches.entry(new.site.clone()).or_default();
        if *of_site.entry(new.consortium.clone()).or_insert(new.batch_key) != new.batch_key {
            return Err("another key was brought of the site that it admits");
        }
        if !self.present.is_empty() && !self.present.contains(&new.consortium) {
            return Ok(Some(new.site));
        }
        let mut log = Key::named(format!("{}/group/{}", new.consortium, new.group_id), LOG, new.log_key);
        log.site = Some(new.site.clone());
        let cosigner =
            Key::named(format!("{}/site/{}", new.consortium, new.site), COSIGNER, new.cosigner_key);
        // They may have been brought as keys, too.
        for (known, key) in [(&mut self.logs, log), (&mut self.cosigners, cosigner)] {
            if !known.iter().any(|known| known.label() == key.label()) {
                known.push(key);
            }
        }
        Ok(Some(new.site))
    }

    /// ⌊n/2⌋+1 of the cosigners brought; none of a site alone, which has nobody to cosign.
    pub fn majority(&self) -> usize {
        if self.cosigners.len() > 1 { self.cosigners.len() / 2 + 1 } else { 0 }
    }

    fn add(&mut self, line: &str) -> Result<(), &'static str> {
        let mut parts = line.splitn(3, '+');
        let (Some(name), Some(id), Some(typed)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("not of the form name+id+key");
        };
        let typed = STANDARD.decode(typed).map_err(|_| "the key is not base64")?;
        let own_id = key_id(name, &typed);
        if name.is_empty() || name.contains(char::is_whitespace) || hex::encode(own_id) != id {
            return Err("the key id does not belong to the key");
        }
        let (kind, key) = typed.split_last_chunk::<32>().ok_or("the key is too short")?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| "not an Ed25519 key")?;
        let named = || Key { name: name.to_owned(), id: own_id, key, site: None };
        let follows_log = std::mem::replace(&mut self.follows_log, kind == LOG);
        match kind {
            LOG => {
                self.present.extend(name.rsplit_once("/group/").map(|(consortium, _)| consortium.to_owned()));
                self.logs.push(named());
            }
            COSIGNER => {
                self.cosigners.push(named());
                if let (true, Some(log), Some((_, site))) =
                    (follows_log, self.logs.last_mut(), name.rsplit_once("/site/"))
                {
                    log.site = Some(site.to_owned());
                }
            }
            BATCH => {
                let (consortium, site) = name.rsplit_once("/site/").ok_or("a batch key names no site")?;
                let of_site = self.batches.entry(site.to_owned()).or_default();
                if of_site.insert(consortium.to_owned(), key).is_some() {
                    return Err("a second batch key of one site");
                }
            }
            AUTHORITY => {
                let consortium = name.strip_suffix("/authority").ok_or("an authority of no consortium")?;
                if self.authorities.insert(consortium.to_owned(), key).is_some() {
                    return Err("a second authority of one consortium");
                }
            }
            _ => return Err("a signature type that is not known here"),
        }
        Ok(())
    }
}

impl Key {
    fn named(name: String, kind: &[u8], key: VerifyingKey) -> Key {
        let id = key_id(&name, &[kind, key.as_bytes()].concat());
        Key { name, id, key, site: None }
    }

    /// Name and key id: what tells it from others.
    pub(crate) fn label(&self) -> String {
        format!("{}+{}", self.name, hex::encode(self.id))
    }

    /// Whose key it is, where that is known.
    pub(crate) fn owner(&self) -> String {
        let site = self.site.as_ref().map(|site| format!(" (site {site})"));
        self.label() + &site.unwrap_or_default()
    }

    /// Whether the signature says that it is by this key; it may be wrong.
    pub(crate) fn is_of(&self, signature: &note::Signature) -> bool {
        self.name == signature.name && self.id == signature.key_id
    }

    /// Type 0x01: over the text itself.
    pub(crate) fn signed(&self, text: &str, signature: &[u8]) -> bool {
        verifies(&self.key, text.as_bytes(), signature)
    }

    /// Type 0x04: 8 bytes of Unix time, then the signature over the timestamped text.
    pub(crate) fn cosigned(&self, text: &str, signature: &[u8]) -> bool {
        let Some((time, signature)) = signature.split_first_chunk::<8>() else { return false };
        let time = u64::from_be_bytes(*time);
        // The specification's bound.
        time <= i64::MAX as u64
            && verifies(&self.key, format!("cosignature/v1\ntime {time}\n{text}").as_bytes(), signature)
    }
}

pub(crate) fn verifies(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    Signature::from_slice(signature).is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
}

fn key_id(name: &str, typed: &[u8]) -> [u8; 4] {
    let digest = Sha256::new().chain_update(name).chain_update("\n").chain_update(typed).finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}
