//! What others need to know of a consortium's keys: `public.json`, and C2SP verifier keys one a line.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use super::admission;
use super::authority::{AUTHORITY_SUFFIX, AUTHORITY_TYPE};
use crate::checkpoint::{COSIGNATURE, ED25519, NoteVerifier, key_id};
use crate::record::{NewSite, SiteName};
use crate::types::LedgerError;

/// Signature type without a byte of its own (C2SP signed-note, "Signature types"): named at length.
pub(super) const UNASSIGNED: u8 = 0xff;
const BATCH_TYPE: &[u8] = b"medulla-batch-v1";

/// `public.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Consortium {
    pub(crate) version: u32,
    /// C2SP origin of the group's checkpoints.
    pub(crate) origin: String,
    pub(crate) group_id: u32,
    pub(crate) sites: Vec<SitePublic>,
    /// Batch keys of the consortia whose ledger this one goes on with: they judge old batches and sign no new ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) former_batch_keys: Vec<String>,
    /// Of the authority that admits further sites. None where an early release made the keys: nobody admits any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) authority_key: Option<String>,
    /// Of the authorities of those consortia: they tell which sites had joined them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) former_authority_keys: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SitePublic {
    pub(crate) name: String,
    /// Host name or address in its certificate.
    pub(crate) host: String,
    /// Verifier keys, `name+id+base64`.
    pub(crate) batch_key: String,
    pub(crate) log_key: String,
    pub(crate) cosigner_key: String,
}

/// The public keys that a verifier judges with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VerifierKeys {
    /// 0x01, under the group's origin.
    pub(crate) logs: Vec<NoteVerifier>,
    /// 0x04, under the site's name.
    pub(crate) cosigners: Vec<NoteVerifier>,
    /// Of the sites that may write.
    pub(crate) batches: BTreeMap<SiteName, VerifyingKey>,
    /// Of former consortia: of sites of the same name, and of others.
    former: BTreeMap<SiteName, Vec<VerifyingKey>>,
    /// By consortium.
    pub(crate) authorities: BTreeMap<String, VerifyingKey>,
    /// The consortium that `batches` are of.
    present: Option<String>,
}

impl Consortium {
    /// What all its keys' names begin with.
    pub(crate) fn name(&self) -> &str {
        self.origin.split_once("/group/").map_or(&self.origin, |(name, _)| name)
    }

    pub(super) fn site(&self, name: &str) -> Option<&SitePublic> {
        self.sites.iter().find(|site| site.name == name)
    }
}

impl SitePublic {
    /// As everybody names the keys of a site that was admitted. `None`: not three Ed25519 keys.
    pub(crate) fn of(new: &NewSite) -> Option<SitePublic> {
        let key = |bytes: &[u8; 32]| VerifyingKey::from_bytes(bytes).ok();
        let named = format!("{}/site/{}", new.consortium, new.site);
        Some(SitePublic {
            name: new.site.to_string(),
            host: String::new(),
            batch_key: batch_vkey(&named, &key(&new.batch_key)?),
            log_key: vkey(&new.origin(), &[ED25519], &key(&new.log_key)?),
            cosigner_key: vkey(&named, &[COSIGNATURE], &key(&new.cosigner_key)?),
        })
    }

    /// One a line.
    pub(crate) fn verifier_keys(&self) -> String {
        format!("{}\n{}\n{}\n", self.log_key, self.cosigner_key, self.batch_key)
    }

    /// For the same use, under whatever name.
    pub(crate) fn shares_a_key_with(&self, other: &SitePublic) -> bool {
        let key = |line: &str| line.splitn(3, '+').nth(2).map(str::to_owned);
        let same = |own: &str, others: &str| key(own) == key(others);
        same(&self.batch_key, &other.batch_key)
            || same(&self.log_key, &other.log_key)
            || same(&self.cosigner_key, &other.cosigner_key)
    }
}

impl VerifierKeys {
    /// The key that a site signs its batches with, and what else it sends.
    pub(crate) fn batch_key(&self, site: &str) -> Option<&VerifyingKey> {
        self.batches.get(&SiteName::new(site)?)
    }

    /// Keys that batches of the site may be signed by.
    pub(crate) fn of_batches(&self, site: &SiteName) -> impl Iterator<Item = &VerifyingKey> {
        self.batches.get(site).into_iter().chain(self.former.get(site).into_iter().flatten())
    }

    /// One key a line; empty lines and lines that begin with '#' are skipped. The consortium of the first batch key is
    /// the present one. Admissions of further sites may be among the lines: they count by the authority's key among these.
    pub fn parse(text: &str) -> Result<VerifierKeys, LedgerError> {
        let mut keys = VerifierKeys::default();
        let lines = text.lines().zip(1..).filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        let (admissions, lines): (Vec<_>, Vec<_>) = lines.partition(|(line, _)| admission::is_line(line));
        let bad = |number: usize, what| LedgerError::Keys(format!("line {number}: {what}"));
        for (line, number) in lines {
            keys.add(line).map_err(|what| bad(number, what))?;
        }
        for (line, number) in admissions {
            let is_admitted = keys.admit(line).map_err(|what| bad(number, what))?;
            if !is_admitted {
                return Err(bad(number, "there is no key of the authority that admits this site"));
            }
        }
        Ok(keys)
    }

    fn add(&mut self, line: &str) -> Result<(), &'static str> {
        let (name, alg, key) = parse_vkey(line)?;
        match alg.as_slice() {
            [ED25519] => self.logs.push(NoteVerifier::new(name, ED25519, key)),
            [COSIGNATURE] => self.cosigners.push(NoteVerifier::new(name, COSIGNATURE, key)),
            [UNASSIGNED, kind @ ..] if kind == BATCH_TYPE => {
                let named =
                    name.rsplit_once("/site/").and_then(|(of, site)| Some((of, SiteName::new(site)?)));
                let (consortium, site) = named.ok_or("a batch key names no site")?;
                if self.present.get_or_insert_with(|| consortium.to_owned()) != consortium {
                    self.former.entry(site).or_default().push(key);
                } else if self.batches.insert(site, key).is_some() {
                    return Err("a second batch key of one site");
                }
            }
            [UNASSIGNED, kind @ ..] if kind == AUTHORITY_TYPE => {
                let consortium =
                    name.strip_suffix(AUTHORITY_SUFFIX).ok_or("an authority of no consortium")?;
                if self.authorities.insert(consortium.to_owned(), key).is_some() {
                    return Err("a second authority of one consortium");
                }
            }
            _ => return Err("a signature type this release does not know"),
        }
        Ok(())
    }

    /// A line by which an authority admits a site: its keys count from here on. False, and nothing changes, if the key of
    /// that authority is not among these: others judge it.
    pub(crate) fn admit(&mut self, line: &str) -> Result<bool, &'static str> {
        let new = admission::parse_line(line).ok_or("no admission that this release can read")?;
        let Some(authority) = self.authorities.get(&new.consortium) else { return Ok(false) };
        if new.generation != NewSite::FIRST || !new.verify(authority) {
            return Err("an admission that its consortium's authority has not signed");
        }
        let public = SitePublic::of(&new).ok_or("an admission of keys that are none")?;
        let (log, cosigner, batch) = (
            parse_vkey(&public.log_key)?,
            parse_vkey(&public.cosigner_key)?,
            parse_vkey(&public.batch_key)?.2,
        );
        if self.present.get_or_insert_with(|| new.consortium.clone()) != &new.consortium {
            // It has signed batches there, and signs no checkpoint of this one.
            let former = self.former.entry(new.site).or_default();
            former.extend((!former.contains(&batch)).then_some(batch));
            return Ok(true);
        }
        if *self.batches.entry(new.site).or_insert(batch) != batch {
            return Err("another key of the site that it admits");
        }
        let log = NoteVerifier::new(log.0, ED25519, log.2);
        let cosigner = NoteVerifier::new(cosigner.0, COSIGNATURE, cosigner.2);
        // They may have been brought as keys, too.
        for (known, key) in [(&mut self.logs, log), (&mut self.cosigners, cosigner)] {
            known.extend((!known.contains(&key)).then_some(key));
        }
        Ok(true)
    }
}

pub(super) fn batch_vkey(name: &str, key: &VerifyingKey) -> String {
    vkey(name, &[&[UNASSIGNED], BATCH_TYPE].concat(), key)
}

/// C2SP signed-note verifier key: `name+hex(key id)+base64(type ‖ public key)`.
pub(crate) fn vkey(name: &str, alg: &[u8], key: &VerifyingKey) -> String {
    let typed = [alg, key.as_bytes()].concat();
    format!("{name}+{:08x}+{}", key_id(name, &typed), STANDARD.encode(&typed))
}

fn parse_vkey(line: &str) -> Result<(&str, Vec<u8>, VerifyingKey), &'static str> {
    let mut parts = line.splitn(3, '+');
    let (Some(name), Some(id), Some(typed)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("not of the form name+id+key");
    };
    let typed = STANDARD.decode(typed).map_err(|_| "the key is not base64")?;
    if name.is_empty() || name.contains(char::is_whitespace) || id != format!("{:08x}", key_id(name, &typed))
    {
        return Err("the key id does not belong to the key");
    }
    let (alg, key) = typed.split_last_chunk::<32>().ok_or("the key is too short")?;
    let key = VerifyingKey::from_bytes(key).map_err(|_| "not an Ed25519 key")?;
    Ok((name, alg.to_vec(), key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifier_keys_are_read_again_and_refused_when_damaged() {
        let key = ed25519_dalek::SigningKey::from_bytes(&[3; 32]).verifying_key();
        let lines = [
            vkey("medulla-0/group/1", &[1], &key),
            vkey("medulla-0/site/a", &[4], &key),
            batch_vkey("medulla-0/site/a", &key),
        ];
        let keys = VerifierKeys::parse(&format!("# comment\n\n{}\n", lines.join("\n"))).unwrap();
        assert_eq!((keys.logs.len(), keys.cosigners.len()), (1, 1));
        assert_eq!(keys.batches.get(&SiteName::new("a").unwrap()), Some(&key));
        assert_eq!(keys.logs[0].vkey(), lines[0]);
        for line in &lines {
            for at in 0..line.len() {
                let mut bytes = line.clone().into_bytes();
                bytes[at] ^= 1;
                if let Ok(text) = String::from_utf8(bytes) {
                    let read = VerifierKeys::parse(&text);
                    assert!(read.is_err() || text.starts_with('#'), "{text}");
                }
            }
        }
        let former = batch_vkey("medulla-1/site/a", &key);
        let both = VerifierKeys::parse(&format!("{}\n{former}", lines[2])).unwrap();
        assert_eq!((both.batches.len(), both.of_batches(&SiteName::new("a").unwrap()).count()), (1, 2));
        let twice = format!("{}\n{}", lines[2], lines[2]);
        assert_eq!(
            VerifierKeys::parse(&twice).unwrap_err().to_string(),
            "keys: line 2: a second batch key of one site"
        );
    }
}
