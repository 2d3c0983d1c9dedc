//! The keys of subjects: made at first use, on disk before their first use, encrypted under the site's master
//! key, in a file of their own outside raft log, snapshots and backups.
//!
//! ```text
//! "MEDKEYS" ‖ u8 version = 1 ‖ [16] master check: HMAC-SHA256(master key, "medulla key store v1\n")[..16]
//! frames, one per `ensure`, each synced before the next is written:
//!   u32 0x4b465231, u32 body length, u32 CRC-32C of these two, u32 CRC-32C of the body
//!   body: records of u8 type = 1, [32] subject, [16] key id, [12] nonce, [48] AES-256-GCM(master key, nonce,
//!         key, associated data = type ‖ subject ‖ key id)
//! ```
//! The last record of a subject is the key in use, older ones still open what they sealed. A torn last frame
//! (cut off, or with unwritten, all-zero sectors) was never used: it is set aside in `<file>.torn-<offset>` and
//! cut off. Anything else that is wrong is damage and an error: a lost key loses what it sealed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use aes_gcm::aead::AeadInPlace;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use hmac::{Hmac, Mac};
use rand::RngCore;
use rand::rngs::OsRng;
use sha2::Sha256;

use crate::keys::Secret;
use crate::types::{LedgerError, Subject};

const MAGIC: &[u8; 8] = b"MEDKEYS\x01";
const HEADER_LEN: usize = 24;
const FRAME_MAGIC: [u8; 4] = 0x4b46_5231_u32.to_be_bytes();
const FRAME_HEADER_LEN: usize = 16;
const SECTOR_LEN: usize = 512;
const SUBJECT_KEY: u8 = 1;
const RECORD_LEN: usize = 1 + 32 + 16 + 12 + 48;

pub(crate) type KeyId = [u8; 16];

pub(crate) struct KeyStore {
    path: PathBuf,
    master: Secret,
    keys: RwLock<Keys>,
    /// `None` after a failed write or sync: what is on disk is then unknown.
    file: Mutex<Option<Appender>>,
}

struct Appender {
    file: File,
    end: u64,
}

#[derive(Default)]
struct Keys {
    in_use: HashMap<Subject, KeyId>,
    by_id: HashMap<KeyId, (Subject, Secret)>,
}

impl KeyStore {
    /// Opens or makes the file. An error if it is damaged, of another master key, or open elsewhere.
    pub(crate) fn open(path: &Path, master: Secret) -> Result<KeyStore, LedgerError> {
        let io = |source| LedgerError::Io { path: path.display().to_string(), source };
        if !path.exists() {
            create(path, &master).map_err(io)?;
        }
        let mut file = File::options().read(true).write(true).open(path).map_err(io)?;
        if file.try_lock().is_err() {
            return Err(LedgerError::Keys(format!("{} is in use by another process", path.display())));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let (keys, end) = read(path, &bytes, &master)?;
        if end < bytes.len() {
            set_aside(path, &file, end, &bytes).map_err(io)?;
        }
        let file = Mutex::new(Some(Appender { file, end: end as u64 }));
        Ok(KeyStore { path: path.to_owned(), master, keys: RwLock::new(keys), file })
    }

    /// Makes keys for the subjects that have none. When it returns they are on disk: one sync for all.
    /// Blocks. An error leaves no further writing possible: the process should end.
    pub(crate) fn ensure(&self, subjects: &[Subject]) -> Result<(), LedgerError> {
        if self.all_known(subjects) {
            return Ok(());
        }
        let mut appender = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh: HashMap<Subject, (KeyId, Secret)> = HashMap::new();
        {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            for subject in subjects.iter().filter(|subject| !keys.in_use.contains_key(subject)) {
                fresh.entry(*subject).or_insert_with(|| (random_id(), Secret::random(&mut OsRng)));
            }
        }
        if fresh.is_empty() {
            return Ok(());
        }
        let frame = self.encode(&fresh)?;
        let io = |source| LedgerError::Io { path: self.path.display().to_string(), source };
        let lost = || io(std::io::Error::other("an earlier write failed; restart the site"));
        let Appender { file, end } = appender.take().ok_or_else(lost)?;
        file.write_all_at(&frame, end).map_err(io)?;
        file.sync_data().map_err(io)?;
        *appender = Some(Appender { file, end: end + frame.len() as u64 });
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        for (subject, (id, key)) in fresh {
            keys.insert(subject, id, key);
        }
        Ok(())
    }

    /// The key in use for a subject.
    pub(crate) fn key_of(&self, subject: &Subject) -> Option<(KeyId, Secret)> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let id = keys.in_use.get(subject)?;
        let (_, key) = keys.by_id.get(id)?;
        Some((*id, key.clone()))
    }

    pub(crate) fn key_by_id(&self, id: &KeyId) -> Option<(Subject, Secret)> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).by_id.get(id).cloned()
    }

    pub(crate) fn has_id(&self, id: &KeyId) -> bool {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).by_id.contains_key(id)
    }

    fn all_known(&self, subjects: &[Subject]) -> bool {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        subjects.iter().all(|subject| keys.in_use.contains_key(subject))
    }

    fn encode(&self, fresh: &HashMap<Subject, (KeyId, Secret)>) -> Result<Vec<u8>, LedgerError> {
        let cipher = Aes256Gcm::new(self.master.expose().into());
        let mut body = Vec::with_capacity(fresh.len() * RECORD_LEN);
        for (subject, (id, key)) in fresh {
            let start = body.len();
            body.push(SUBJECT_KEY);
            body.extend_from_slice(&subject.0);
            body.extend_from_slice(id);
            let mut nonce = [0; 12];
            OsRng.fill_bytes(&mut nonce);
            let mut wrapped = *key.expose();
            let tag = cipher
                .encrypt_in_place_detached(Nonce::from_slice(&nonce), &body[start..], &mut wrapped)
                .map_err(|_| LedgerError::Keys("a subject's key could not be encrypted".into()))?;
            body.extend_from_slice(&nonce);
            body.extend_from_slice(&wrapped);
            body.extend_from_slice(&tag);
        }
        let len = u32::try_from(body.len())
            .map_err(|_| LedgerError::Keys("more subjects at once than one frame of keys can hold".into()))?;
        let mut frame = FRAME_MAGIC.to_vec();
        frame.extend_from_slice(&len.to_be_bytes());
        frame.extend_from_slice(&crc32c::crc32c(&frame).to_be_bytes());
        frame.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
        frame.extend_from_slice(&body);
        Ok(frame)
    }
}

impl Keys {
    fn insert(&mut self, subject: Subject, id: KeyId, key: Secret) {
        self.in_use.insert(subject, id);
        self.by_id.insert(id, (subject, key));
    }
}

/// All keys, and where the last whole frame ends.
fn read(path: &Path, bytes: &[u8], master: &Secret) -> Result<(Keys, usize), LedgerError> {
    let damaged = |at: usize, what: &str| {
        LedgerError::Damaged(format!("{} at byte {at}: {what}; restore it from its backup", path.display()))
    };
    let header = bytes.first_chunk::<HEADER_LEN>().ok_or_else(|| damaged(0, "the header is cut off"))?;
    if header[..8] != MAGIC[..] {
        return Err(damaged(0, "not a key store of this release"));
    }
    if header[8..] != master_check(master) {
        let text =
            format!("{} belongs to another master key; put the right master-key.hex back", path.display());
        return Err(LedgerError::Keys(text));
    }
    let cipher = Aes256Gcm::new(master.expose().into());
    let mut keys = Keys::default();
    let mut at = HEADER_LEN;
    while let Some(body) = bytes.get(at..).and_then(frame_body) {
        for (n, record) in body.chunks(RECORD_LEN).enumerate() {
            let (subject, id, key) = read_record(record, &cipher).ok_or_else(|| {
                damaged(at + FRAME_HEADER_LEN + n * RECORD_LEN, "a record that cannot be read")
            })?;
            keys.insert(subject, id, key);
        }
        at += FRAME_HEADER_LEN + body.len();
    }
    if is_torn(bytes, at) { Ok((keys, at)) } else { Err(damaged(at, "a damaged frame")) }
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
    let len = checked.strip_prefix(&FRAME_MAGIC)?.first_chunk::<4>()?;
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

fn read_record(record: &[u8], cipher: &Aes256Gcm) -> Option<(Subject, KeyId, Secret)> {
    let (associated, sealed) = record.split_at_checked(1 + 32 + 16)?;
    let (subject, id) = associated.strip_prefix(&[SUBJECT_KEY])?.split_first_chunk::<32>()?;
    let (nonce, sealed) = sealed.split_first_chunk::<12>()?;
    let (mut key, tag) = (*sealed.first_chunk::<32>()?, sealed.get(32..)?);
    let tag: [u8; 16] = tag.try_into().ok()?;
    let (nonce, tag) = (Nonce::from_slice(nonce), Tag::from_slice(&tag));
    cipher.decrypt_in_place_detached(nonce, associated, &mut key, tag).ok()?;
    Some((Subject(*subject), id.try_into().ok()?, Secret::new(key)))
}

/// Written beside and renamed: a header is never torn.
fn create(path: &Path, master: &Secret) -> std::io::Result<()> {
    let fresh = with_suffix(path, ".new");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&[MAGIC.as_slice(), &master_check(master)].concat())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn set_aside(path: &Path, file: &File, end: usize, bytes: &[u8]) -> std::io::Result<()> {
    tracing::warn!(file = %path.display(), offset = end, "the key store ends in a torn frame, never used; set aside");
    let aside = with_suffix(path, &format!(".torn-{end}"));
    let mut kept = File::options().write(true).create(true).truncate(true).mode(0o600).open(aside)?;
    kept.write_all(bytes.get(end..).unwrap_or_default())?;
    kept.sync_all()?;
    file.set_len(end as u64)?;
    file.sync_all()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
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

fn random_id() -> KeyId {
    let mut id = [0; 16];
    OsRng.fill_bytes(&mut id);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(n: u8) -> Subject {
        Subject([n; 32])
    }

    fn master() -> Secret {
        Secret::new([9; 32])
    }

    /// A store with frames for subjects 1+2, 3 and 4.
    fn filled() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("subjects.keys");
        let store = KeyStore::open(&path, master()).unwrap();
        store.ensure(&[subject(1), subject(2), subject(1)]).unwrap();
        store.ensure(&[subject(3)]).unwrap();
        store.ensure(&[subject(1), subject(4)]).unwrap();
        (dir, path)
    }

    #[test]
    fn keys_outlive_the_process_and_stay_the_same() {
        let (_dir, path) = filled();
        let keys = |store: &KeyStore| {
            [1, 2, 3, 4].map(|n| store.key_of(&subject(n)).map(|(id, k)| (id, *k.expose())))
        };
        let first = keys(&KeyStore::open(&path, master()).unwrap());
        let store = KeyStore::open(&path, master()).unwrap();
        store.ensure(&[1, 2, 3, 4].map(subject)).unwrap();
        assert_eq!(keys(&store), first);
        assert!(first.iter().all(Option::is_some) && first[0] != first[1]);
        assert_eq!(store.key_by_id(&first[2].unwrap().0).unwrap().0, subject(3));
        assert!(store.key_of(&subject(5)).is_none());
        assert_eq!(
            fs::metadata(&path).unwrap().len() as usize,
            HEADER_LEN + 3 * FRAME_HEADER_LEN + 4 * RECORD_LEN
        );
        for (_, key) in first.into_iter().flatten() {
            assert!(!fs::read(&path).unwrap().windows(32).any(|w| w == key), "a key lies in the open");
        }
    }

    #[test]
    fn a_torn_end_is_set_aside_at_every_length() {
        let (dir, path) = filled();
        let whole = fs::read(&path).unwrap();
        let last = whole.len() - FRAME_HEADER_LEN - RECORD_LEN;
        for len in last + 1..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            let store = KeyStore::open(&path, master()).unwrap();
            assert!(store.key_of(&subject(3)).is_some() && store.key_of(&subject(4)).is_none());
            store.ensure(&[subject(4)]).unwrap();
            drop(store);
            assert!(KeyStore::open(&path, master()).unwrap().key_of(&subject(4)).is_some());
            let kept = fs::read(dir.path().join(format!("subjects.keys.torn-{last}"))).unwrap();
            assert_eq!(kept, &whole[last..len]);
        }
    }

    #[test]
    fn an_end_that_was_never_written_is_set_aside() {
        let (_dir, path) = filled();
        let many: Vec<_> = (10..60).map(subject).collect();
        let last = fs::read(&path).unwrap().len();
        KeyStore::open(&path, master()).unwrap().ensure(&many).unwrap();
        let whole = fs::read(&path).unwrap();
        for sector in last / SECTOR_LEN..whole.len().div_ceil(SECTOR_LEN) {
            let mut holed = whole.clone();
            let (from, to) = (last.max(sector * SECTOR_LEN), whole.len().min((sector + 1) * SECTOR_LEN));
            holed[from..to].fill(0);
            fs::write(&path, &holed).unwrap();
            let store = KeyStore::open(&path, master()).unwrap();
            assert!(store.key_of(&subject(4)).is_some() && store.key_of(&subject(10)).is_none());
            assert_eq!(fs::metadata(&path).unwrap().len() as usize, last);
        }
    }

    #[test]
    fn a_hole_before_whole_frames_is_damage() {
        let (_dir, path) = filled();
        let mut holed = fs::read(&path).unwrap();
        holed[HEADER_LEN..HEADER_LEN + FRAME_HEADER_LEN + 2 * RECORD_LEN].fill(0);
        fs::write(&path, &holed).unwrap();
        assert!(matches!(KeyStore::open(&path, master()), Err(LedgerError::Damaged(_))));
    }

    #[test]
    fn a_changed_byte_is_an_error_wherever_it_is() {
        let (_dir, path) = filled();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            fs::write(&path, &flipped).unwrap();
            assert!(KeyStore::open(&path, master()).is_err(), "byte {at}");
            assert_eq!(fs::read(&path).unwrap(), flipped, "a damaged file is left as it is");
        }
    }

    #[test]
    fn a_file_of_long_ago_still_opens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("subjects.keys");
        fs::write(&path, hex::decode(include_str!("keystore.golden.txt").trim_end()).unwrap()).unwrap();
        let store = KeyStore::open(&path, master()).unwrap();
        let (id, key) = store.key_of(&subject(1)).unwrap();
        assert_eq!(hex::encode(id), "000102030405060708090a0b0c0d0e0f");
        assert_eq!(
            hex::encode(key.expose()),
            "d9e1b88e0b0902797d6ec7c3890f76636c08524741ae9167a89d0feb3558dfeb"
        );
    }

    #[test]
    fn another_master_key_and_a_second_process_are_refused() {
        let (_dir, path) = filled();
        let error = KeyStore::open(&path, Secret::new([8; 32])).err().unwrap();
        assert!(error.to_string().contains("another master key"), "{error}");
        let _open = KeyStore::open(&path, master()).unwrap();
        let error = KeyStore::open(&path, master()).err().unwrap();
        assert!(error.to_string().contains("another process"), "{error}");
    }
}
