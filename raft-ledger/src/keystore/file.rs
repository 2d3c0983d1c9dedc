//! The bytes of a key store.
//!
//! ```text
//! "MEDKEYS" ‖ u8 version ‖ [16] master check: HMAC-SHA256(master key, "medulla key store v1\n")[..16]
//!   version 2, after keys were destroyed: u64 length of the frames that were written with it, u32 CRC-32C of that
//! frames, one per `ensure`, `retire` or `hold`, each synced before the next is written:
//!   u32 magic, u32 body length, u32 CRC-32C of these two, u32 CRC-32C of the body
//!   magic 0x4b465231: keys of this site's subjects
//!   body: records of u8 type, [32] subject, [16] key id, [12] nonce, [48] AES-256-GCM(master key, nonce, key,
//!         associated data = type ‖ subject ‖ key id)
//!         type 1: the key in use for its subject from here on; type 2: a key that is retired from here on
//!   magic 0x4b465232: keys of another site's subjects, held for that site
//!   body: u8 length, that site's name; records of type 3, the name at the end of their associated data
//! ```
//! A torn last frame (cut off, or with unwritten, all-zero sectors) was never used: it is set aside in
//! `<file>.torn-<offset>` and cut off. Anything else that is wrong is damage and an error, and so is anything in the
//! frames that came with the header: these were on the disk before the file got its name. A lost key loses what it sealed.

use std::path::Path;

use aes_gcm::aead::AeadInPlace;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use hmac::{Hmac, Mac};
use rand::RngCore;
use sha2::Sha256;

use super::SubjectKey;
use crate::keys::Secret;
use crate::random;
use crate::record::SiteName;
use crate::types::{LedgerError, Subject};

const MAGIC: &[u8; 8] = b"MEDKEYS\x01";
const MAGIC_WHOLE: &[u8; 8] = b"MEDKEYS\x02";
const WHOLE_LEN: usize = 8 + 4;
pub(super) const HEADER_LEN: usize = 24;
const OWN_MAGIC: [u8; 4] = 0x4b46_5231_u32.to_be_bytes();
const HELD_MAGIC: [u8; 4] = 0x4b46_5232_u32.to_be_bytes();
pub(super) const FRAME_HEADER_LEN: usize = 16;
pub(super) const SECTOR_LEN: usize = 512;
const IN_USE: u8 = 1;
const RETIRED: u8 = 2;
const HELD: u8 = 3;
pub(super) const RECORD_LEN: usize = 1 + 32 + 16 + 12 + 48;

#[derive(Clone)]
pub(super) struct Record {
    pub(super) key: SubjectKey,
    pub(super) role: Role,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Role {
    InUse,
    Retired,
    /// A key of another site's.
    Held(SiteName),
}

impl Role {
    fn type_(&self) -> u8 {
        match self {
            Role::InUse => IN_USE,
            Role::Retired => RETIRED,
            Role::Held(_) => HELD,
        }
    }

    pub(super) fn home(&self) -> Option<&SiteName> {
        match self {
            Role::Held(home) => Some(home),
            Role::InUse | Role::Retired => None,
        }
    }
}

pub(super) fn header(master: &Secret) -> Vec<u8> {
    [MAGIC.as_slice(), &master_check(master)].concat()
}

/// The header of a file that is written with all its frames at once.
pub(super) fn header_of_whole(master: &Secret, frames: &[u8]) -> Vec<u8> {
    let len = (frames.len() as u64).to_be_bytes();
    let crc = crc32c::crc32c(&len).to_be_bytes();
    [MAGIC_WHOLE.as_slice(), &master_check(master), &len, &crc].concat()
}

/// All of them of one site.
pub(super) fn frame(master: &Secret, records: &[Record]) -> Result<Vec<u8>, LedgerError> {
    let cipher = Aes256Gcm::new(master.expose().into());
    let home = records.first().and_then(|record| record.role.home());
    let mut body = Vec::with_capacity(64 + records.len() * RECORD_LEN);
    if let Some(home) = home {
        home.encode(&mut body);
    }
    for Record { key: SubjectKey { subject, id, key }, role } in records {
        let start = body.len();
        body.push(role.type_());
        body.extend_from_slice(&subject.0);
        body.extend_from_slice(id);
        let mut nonce = [0; 12];
        random::os_rng().fill_bytes(&mut nonce);
        let mut wrapped = *key.expose();
        let associated = associated(&body[start..], home);
        let tag = cipher
            .encrypt_in_place_detached(Nonce::from_slice(&nonce), &associated, &mut wrapped)
            .map_err(|_| LedgerError::Keys("a subject's key could not be encrypted".into()))?;
        body.extend_from_slice(&nonce);
        body.extend_from_slice(&wrapped);
        body.extend_from_slice(&tag);
    }
    let len = u32::try_from(body.len())
        .map_err(|_| LedgerError::Keys("more subjects at once than one frame of keys can hold".into()))?;
    let mut frame = if home.is_some() { HELD_MAGIC } else { OWN_MAGIC }.to_vec();
    frame.extend_from_slice(&len.to_be_bytes());
    frame.extend_from_slice(&crc32c::crc32c(&frame).to_be_bytes());
    frame.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

fn associated(head: &[u8], home: Option<&SiteName>) -> Vec<u8> {
    [head, home.map_or("", SiteName::as_str).as_bytes()].concat()
}

/// All records in their order, and where the last whole frame ends.
pub(super) fn read(path: &Path, bytes: &[u8], master: &Secret) -> Result<(Vec<Record>, usize), LedgerError> {
    let damaged = |at: usize, what: &str| {
        LedgerError::Damaged(format!("{} at byte {at}: {what}; restore it from its backup", path.display()))
    };
    let header = bytes.first_chunk::<HEADER_LEN>().ok_or_else(|| damaged(0, "the header is cut off"))?;
    let whole_until = match &header[..8] {
        magic if magic == MAGIC => HEADER_LEN,
        magic if magic == MAGIC_WHOLE => {
            frames_end(bytes).ok_or_else(|| damaged(HEADER_LEN, "a damaged header"))?
        }
        _ => return Err(damaged(0, "not a key store of this release")),
    };
    if header[8..] != master_check(master) {
        let text = format!("{} belongs to another master key; bring the right one back", path.display());
        return Err(LedgerError::Keys(text));
    }
    let cipher = Aes256Gcm::new(master.expose().into());
    let mut records = Vec::new();
    let mut at = if header[..8] == MAGIC[..] { HEADER_LEN } else { HEADER_LEN + WHOLE_LEN };
    while let Some(frame) = bytes.get(at..)
        && let Some(body) = frame_body(frame)
    {
        let bad = |offset: usize| damaged(at + FRAME_HEADER_LEN + offset, "a record that cannot be read");
        let (home, rest) = match frame.starts_with(&HELD_MAGIC) {
            true => read_home(body).map(|(home, rest)| (Some(home), rest)).ok_or_else(|| bad(0))?,
            false => (None, body),
        };
        for (n, record) in rest.chunks(RECORD_LEN).enumerate() {
            let offset = body.len() - rest.len() + n * RECORD_LEN;
            records.push(read_record(record, home.as_ref(), &cipher).ok_or_else(|| bad(offset))?);
        }
        at += FRAME_HEADER_LEN + body.len();
    }
    let sound = at >= whole_until && is_torn(bytes, at);
    if sound { Ok((records, at)) } else { Err(damaged(at, "a damaged frame")) }
}

/// Whether a key store with these bytes is under this master key.
pub(super) fn belongs_to(bytes: &[u8], master: &Secret) -> bool {
    bytes.get(8..HEADER_LEN).is_some_and(|check| *check == master_check(master))
}

/// Where the frames end that were written together with the header.
fn frames_end(bytes: &[u8]) -> Option<usize> {
    let (len, rest) = bytes.get(HEADER_LEN..)?.split_first_chunk::<8>()?;
    let sound = crc32c::crc32c(len).to_be_bytes() == *rest.first_chunk::<4>()?;
    sound.then(|| (HEADER_LEN + WHOLE_LEN).saturating_add(u64::from_be_bytes(*len) as usize))
}

/// The body of the frame that `bytes` begin with, if it is whole.
fn frame_body(bytes: &[u8]) -> Option<&[u8]> {
    let len = frame_len(bytes)?;
    let crc = bytes.get(12..FRAME_HEADER_LEN)?;
    let body = bytes.get(FRAME_HEADER_LEN..)?.get(..len)?;
    (!body.is_empty() && crc32c::crc32c(body).to_be_bytes() == crc).then_some(body)
}

/// The body length in an undamaged frame header.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let (checked, rest) = bytes.split_first_chunk::<8>()?;
    let len = checked.strip_prefix(&OWN_MAGIC).or_else(|| checked.strip_prefix(&HELD_MAGIC))?;
    let len = len.first_chunk::<4>()?;
    (crc32c::crc32c(checked).to_be_bytes() == *rest.first_chunk::<4>()?)
        .then_some(u32::from_be_bytes(*len) as usize)
}

/// Whether the bytes from `at` on, no whole frame, are what an interrupted write leaves: too few, or with parts
/// that were never written, and nothing after it. Frames hold random bytes: none of their sectors is all zero.
fn is_torn(bytes: &[u8], at: usize) -> bool {
    let rest = bytes.get(at..).unwrap_or_default();
    let cut_off = match frame_len(rest) {
        Some(len) => rest.len() < FRAME_HEADER_LEN + len,
        None => rest.len() < FRAME_HEADER_LEN,
    };
    let to_sector = SECTOR_LEN - at % SECTOR_LEN;
    let (first, others) = rest.split_at(to_sector.min(rest.len()));
    let unwritten = |sector: &[u8]| sector.iter().all(|byte| *byte == 0);
    let torn = cut_off || unwritten(first) || others.chunks(SECTOR_LEN).any(unwritten);
    torn && !(1..rest.len()).any(|later| rest.get(later..).and_then(frame_body).is_some())
}

fn read_home(body: &[u8]) -> Option<(SiteName, &[u8])> {
    let (len, rest) = body.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*len))?;
    Some((SiteName::new(std::str::from_utf8(name).ok()?)?, rest))
}

fn read_record(record: &[u8], home: Option<&SiteName>, cipher: &Aes256Gcm) -> Option<Record> {
    let (head, sealed) = record.split_at_checked(1 + 32 + 16)?;
    let (type_, named) = head.split_first()?;
    let role = match (*type_, home) {
        (IN_USE, None) => Role::InUse,
        (RETIRED, None) => Role::Retired,
        (HELD, Some(home)) => Role::Held(home.clone()),
        _ => return None,
    };
    let (subject, id) = named.split_first_chunk::<32>()?;
    let (nonce, sealed) = sealed.split_first_chunk::<12>()?;
    let (mut key, tag) = (*sealed.first_chunk::<32>()?, sealed.get(32..)?);
    let tag: [u8; 16] = tag.try_into().ok()?;
    let (nonce, tag) = (Nonce::from_slice(nonce), Tag::from_slice(&tag));
    cipher.decrypt_in_place_detached(nonce, &associated(head, home), &mut key, tag).ok()?;
    let key = SubjectKey { subject: Subject(*subject), id: id.try_into().ok()?, key: Secret::new(key) };
    Some(Record { key, role })
}

fn master_check(master: &Secret) -> [u8; 16] {
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(master.expose());
    let mut mac = mac.unwrap_or_else(|_| unreachable!("HMAC takes keys of every length"));
    mac.update(b"medulla key store v1\n");
    let full: [u8; 32] = mac.finalize().into_bytes().into();
    let mut check = [0; 16];
    check.copy_from_slice(&full[..16]);
    check
}
