//! Tests: keys, and what a log's keys sign.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};

use crate::Keys;

pub(super) const ORIGIN: &str = "c/group/1";

pub(super) fn id(key: &SigningKey) -> Vec<u8> {
    let typed = [&[1], key.verifying_key().as_bytes().as_slice()].concat();
    Sha256::digest([ORIGIN.as_bytes(), b"\n", &typed].concat())[..4].to_vec()
}

pub(super) fn log_key(key: &SigningKey) -> String {
    let typed = STANDARD.encode([&[1], key.verifying_key().as_bytes().as_slice()].concat());
    format!("{ORIGIN}+{}+{typed}\n", hex::encode(id(key)))
}

pub(super) fn cosigner_key(site: &str, key: &SigningKey) -> String {
    let (name, typed) =
        (format!("c/site/{site}"), [&[4], key.verifying_key().as_bytes().as_slice()].concat());
    let id = Sha256::digest([name.as_bytes(), b"\n", &typed].concat());
    format!("{name}+{}+{}\n", hex::encode(&id[..4]), STANDARD.encode(typed))
}

pub(super) fn keys(signers: &[&SigningKey]) -> Keys {
    Keys::parse(&signers.iter().map(|key| log_key(key)).collect::<String>()).unwrap()
}

/// Of sites of one consortium.
pub(super) fn batch_keys(sites: &[(&str, &SigningKey)]) -> String {
    let line = |(site, key): &(&str, &SigningKey)| {
        let name = format!("example/site/{site}");
        let typed = [&b"\xffmedulla-batch-v1"[..], key.verifying_key().as_bytes()].concat();
        let id = Sha256::digest([name.as_bytes(), b"\n", &typed].concat());
        format!("{name}+{}+{}\n", hex::encode(&id[..4]), STANDARD.encode(typed))
    };
    sites.iter().map(line).collect()
}

pub(super) fn note(signers: &[&SigningKey], size: u64, root: [u8; 32]) -> String {
    let text = format!("{ORIGIN}\n{size}\n{}\n", STANDARD.encode(root));
    let line = |key: &&SigningKey| {
        let line = [id(key), key.sign(text.as_bytes()).to_bytes().to_vec()].concat();
        format!("\u{2014} {ORIGIN} {}\n", STANDARD.encode(line))
    };
    format!("{text}\n{}", signers.iter().map(line).collect::<String>())
}
