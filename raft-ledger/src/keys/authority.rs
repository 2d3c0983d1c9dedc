//! The authority of a consortium: a key of its own, kept offline, without which no further site is admitted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{SigningKey, VerifyingKey};
use rand::rngs::OsRng;
use zeroize::Zeroizing;

use super::public::{UNASSIGNED, vkey};
use crate::checkpoint::key_id;

pub(super) const AUTHORITY_KEY: &str = "authority-key.txt";
pub(super) const AUTHORITY_TYPE: &[u8] = b"medulla-authority-v1";
/// What the name of its key ends with, after the consortium's.
pub(super) const AUTHORITY_SUFFIX: &str = "/authority";
const PRIVATE: &str = "PRIVATE+KEY+";

/// `PRIVATE+KEY+name+id+base64(type ‖ seed)`, as the private keys of notes are written.
pub(super) struct Authority {
    pub(super) consortium: String,
    pub(super) key: SigningKey,
}

impl Authority {
    pub(super) fn generate(consortium: &str) -> Authority {
        Authority { consortium: consortium.to_owned(), key: SigningKey::generate(&mut OsRng) }
    }

    /// Its public half, for `public.json`.
    pub(super) fn verifier_key(&self) -> String {
        authority_vkey(&self.consortium, &self.key.verifying_key())
    }

    pub(super) fn encode(&self) -> Zeroizing<String> {
        let typed = Zeroizing::new([&typed(), self.key.as_bytes().as_slice()].concat());
        let encoded = Zeroizing::new(STANDARD.encode(&*typed));
        let (name, id) = (name(&self.consortium), self.id());
        Zeroizing::new(format!("{PRIVATE}{name}+{id:08x}+{}", &*encoded))
    }

    /// `None` if `text` is no such key, or its id is another's.
    pub(super) fn parse(text: &str) -> Option<Authority> {
        let mut parts = text.trim_end().strip_prefix(PRIVATE)?.splitn(3, '+');
        let (name, id, encoded) = (parts.next()?, parts.next()?, parts.next()?);
        let decoded = Zeroizing::new(STANDARD.decode(encoded).ok()?);
        let seed = Zeroizing::new(<[u8; 32]>::try_from(decoded.strip_prefix(&typed()[..])?).ok()?);
        let consortium = name.strip_suffix(AUTHORITY_SUFFIX)?.to_owned();
        let authority = Authority { consortium, key: SigningKey::from_bytes(&seed) };
        (id == format!("{:08x}", authority.id())).then_some(authority)
    }

    fn id(&self) -> u32 {
        let public = self.key.verifying_key();
        key_id(&name(&self.consortium), &[&typed(), public.as_bytes().as_slice()].concat())
    }
}

pub(super) fn authority_vkey(consortium: &str, key: &VerifyingKey) -> String {
    vkey(&name(consortium), &typed(), key)
}

fn name(consortium: &str) -> String {
    format!("{consortium}{AUTHORITY_SUFFIX}")
}

fn typed() -> Vec<u8> {
    [&[UNASSIGNED], AUTHORITY_TYPE].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_key_is_read_again_and_refused_when_damaged() {
        let authority = Authority::generate("medulla-0");
        let text = authority.encode();
        let again = Authority::parse(&format!("{}\n", &*text)).unwrap();
        assert_eq!(
            (again.consortium.as_str(), again.key.to_bytes()),
            ("medulla-0", authority.key.to_bytes())
        );
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= 1;
            let read = String::from_utf8(bytes).ok().and_then(|text| Authority::parse(&text));
            assert!(read.is_none(), "byte {at}");
        }
    }
}
