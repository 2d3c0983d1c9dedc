//! Sealing: a payload is encrypted under a key of its own, that under its subject's key, both bound to the
//! message's position. Whoever destroys the subject's key makes the payload unreadable; every proof still holds.
//!
//! ```text
//! sealed payload: u8 version = 1, [12] nonce, [48] AES-256-GCM(subject's key, nonce, event key),
//!                 AES-256-GCM(event key, zero nonce, payload)
//! associated data: 0x01 ‖ u8 part (1 event key, 2 payload) ‖ Head of the leaf (record/mod.rs)
//! key_ref = key id XOR HMAC(index key, group, site, epoch, site_seq)[..16]: only sites see the subject in it
//! subject_commitment = SHA-256(0x23 ‖ salt ‖ subject), salt = HMAC-SHA256(event key, "medulla subject salt v1\n")
//! ```
//! A Shred (record/mod.rs) is not sealed; each subject in it is XORed with HMAC(index key, "subject", position, n) and
//! each key id with HMAC(index key, "key", position, n)[..16].
//!
//! A Takeover (record/mod.rs) is not sealed either.
//!
//! An event key is used once, so its nonce may be zero. The salt comes from the event key, so it is shredded
//! with it and can be disclosed for one entry without its payload.

use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock};

use aes_gcm::aead::AeadInPlace;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use bytes::Bytes;
use hmac::{Hmac, Mac};
use rand::{CryptoRng, RngCore};
use sha2::Sha256;

use crate::keys::{IndexKey, Secret, SiteKeys};
use crate::keystore::{Home, KeyId, KeyStore, ReadyKeys, SubjectKey};
use crate::record::{
    Hash, Head, Leaf, MAX_PAYLOAD_BYTES, MAX_TAGS, Message, Private, Shred, SiteName, sha256,
};
use crate::types::{Draft, LedgerError, SHRED, Subject, TAKEOVER};

const VERSION: u8 = 1;
const EVENT_KEY: u8 = 1;
const PAYLOAD: u8 = 2;
const TAG_LEN: usize = 16;
const WRAPPED_LEN: usize = 32 + TAG_LEN;
const PREFIX_LEN: usize = 1 + 12 + WRAPPED_LEN;
/// Bytes that sealing adds to a payload.
pub(crate) const OVERHEAD_BYTES: usize = PREFIX_LEN + TAG_LEN;
/// The same for what is sealed aside: its key id stands in front.
pub(crate) const ASIDE_OVERHEAD_BYTES: usize = 16 + OVERHEAD_BYTES;

/// Seals this site's drafts, opens what this site has keys for.
pub(crate) struct Sealer {
    group_id: u32,
    site: SiteName,
    index: IndexKey,
    keys: KeyStore,
    /// Keys that sites have destroyed, as the ledger says.
    shredded: RwLock<HashMap<SiteName, HashSet<KeyId>>>,
}

/// Who can open a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// This site, whose entry it is.
    Own,
    /// This site, which holds the key for the site whose entry it is.
    Entrusted,
    /// Not this site.
    Elsewhere,
    /// Nobody, ever again.
    Nobody,
}

impl Sealer {
    pub(crate) fn new(site: &SiteKeys, keys: KeyStore) -> Sealer {
        Sealer {
            group_id: site.group_id(),
            site: site.site.clone(),
            index: site.index.clone(),
            keys,
            shredded: RwLock::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn open_store(key_store: &std::path::Path, site: &SiteKeys) -> Result<Sealer, LedgerError> {
        Ok(Sealer::new(site, KeyStore::open(key_store, Secret::new([9; 32]))?))
    }

    /// Makes the keys that are missing, with one sync for all; sealing then makes none. Blocks.
    pub(crate) fn ensure(&self, subjects: &[Subject]) -> Result<(), LedgerError> {
        self.keys.ensure(subjects)
    }

    /// The keys of these subjects, once enough sites hold them for entries to be sealed; see `partner/`.
    pub(crate) fn ready(&self, subjects: &[Subject]) -> Option<ReadyKeys> {
        self.keys.ready(subjects)
    }

    /// Seals a draft as message `site_seq` of `epoch`. Sealing the same draft again gives other bytes.
    pub(crate) fn seal<R: RngCore + CryptoRng>(
        &self,
        draft: &Draft,
        keys: &ReadyKeys,
        (epoch, site_seq): (u64, u64),
        rng: &mut R,
    ) -> Result<Message, LedgerError> {
        if draft.payload.len() > MAX_PAYLOAD_BYTES || draft.tags.len() > MAX_TAGS {
            let (bytes, tags) = (draft.payload.len(), draft.tags.len());
            let text =
                format!("a draft of {bytes} bytes and {tags} tags is over the limits of 64 MiB and 16");
            return Err(LedgerError::Config(text));
        }
        if draft.kind == SHRED {
            return self.write_shred(draft, epoch, site_seq, rng);
        }
        if draft.kind == TAKEOVER {
            // No key has this id.
            let head = self.head(draft, &[0; 16], epoch, site_seq);
            let committed = commitment(&Secret::random(rng), &draft.subject);
            return Ok(message(draft, &head, committed, draft.payload.to_vec()));
        }
        let no_key = || LedgerError::Keys("an entry is to be sealed for a subject without a key".into());
        let (id, subject_key) = keys.get(&draft.subject).ok_or_else(no_key)?;
        let head = self.head(draft, id, epoch, site_seq);
        let event_key = Secret::random(rng);
        let ciphertext = encrypt(associated_data(&head), subject_key, &event_key, &draft.payload, rng)?;
        Ok(message(draft, &head, commitment(&event_key, &draft.subject), ciphertext))
    }

    /// The draft's payload is a Shred in the clear: what the leaf says is masked.
    fn write_shred<R: RngCore + CryptoRng>(
        &self,
        draft: &Draft,
        epoch: u64,
        site_seq: u64,
        rng: &mut R,
    ) -> Result<Message, LedgerError> {
        let shred =
            Shred::decode(draft.payload.clone()).map_err(|error| LedgerError::Keys(error.to_string()))?;
        // No key has this id.
        let head = self.head(draft, &[0; 16], epoch, site_seq);
        let position = position(&head);
        let masked = shred.masked(|n| self.index.shred_mask(&position, n));
        let committed = commitment(&Secret::random(rng), &draft.subject);
        Ok(message(draft, &head, committed, masked.encode()))
    }

    /// What a leaf of kind `SHRED` says.
    pub(crate) fn read_shred(&self, leaf: &Leaf, payload: Bytes) -> Result<Shred, LedgerError> {
        let position = position(&leaf.head);
        let masked = Shred::decode(payload).map_err(|error| LedgerError::Damaged(error.to_string()))?;
        Ok(masked.masked(|n| self.index.shred_mask(&position, n)))
    }

    fn head(&self, draft: &Draft, id: &KeyId, epoch: u64, site_seq: u64) -> Head {
        let mut head = Head {
            group_id: self.group_id,
            kind: draft.kind,
            site: self.site.clone(),
            epoch,
            site_seq,
            event_time_ms: draft.event_time_ms,
            message_time_ms: draft.message_time_ms,
            received_time_ms: draft.received_time_ms,
            key_ref: [0; 16],
        };
        head.key_ref = self.mask(id, &head);
        head
    }

    pub(crate) fn access(&self, leaf: &Leaf) -> Access {
        let (id, home) = (self.key_id(leaf), self.home(&leaf.head.site));
        if self.keys.has_id(home, &id) {
            return if home.is_none() { Access::Own } else { Access::Entrusted };
        }
        if self.is_shredded(&leaf.head.site, &id) { Access::Nobody } else { Access::Elsewhere }
    }

    /// Whose keys those of `site` are to the key store.
    fn home<'a>(&self, site: &'a SiteName) -> Home<'a> {
        (*site != self.site).then_some(site)
    }

    fn is_shredded(&self, site: &SiteName, id: &KeyId) -> bool {
        let shredded = self.shredded.read().unwrap_or_else(PoisonError::into_inner);
        shredded.get(site).is_some_and(|ids| ids.contains(id))
    }

    /// This site's keys, and those that it holds for others.
    pub(crate) fn key_store(&self) -> &KeyStore {
        &self.keys
    }

    /// Holds keys for another site, all but those that it has shredded: these are returned. Blocks on a sync.
    pub(crate) fn hold(&self, home: &SiteName, keys: Vec<SubjectKey>) -> Result<Vec<KeyId>, LedgerError> {
        // Nothing is obeyed meanwhile: a key is refused, or it is here when it is to be destroyed.
        let shredded = self.shredded.read().unwrap_or_else(PoisonError::into_inner);
        let gone = |id: &KeyId| shredded.get(home).is_some_and(|ids| ids.contains(id));
        let (refused, held): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| gone(&key.id));
        self.keys.hold(home, held)?;
        Ok(refused.iter().map(|key| key.id).collect())
    }

    pub(crate) fn is_own(&self, site: &SiteName) -> bool {
        *site == self.site
    }

    /// An own key that is not here and was not shredded.
    pub(crate) fn has_lost(&self, id: &KeyId) -> bool {
        !self.keys.has_id(None, id) && !self.is_shredded(&self.site, id)
    }

    /// Takes own keys back that this site has lost, all but those that were shredded. Blocks on a sync.
    pub(crate) fn adopt(&self, keys: Vec<SubjectKey>) -> Result<(), LedgerError> {
        let shredded = self.shredded.read().unwrap_or_else(PoisonError::into_inner);
        let gone = |id: &KeyId| shredded.get(&self.site).is_some_and(|ids| ids.contains(id));
        self.keys.adopt(keys.into_iter().filter(|key| !gone(&key.id)).collect())
    }

    /// From when this returns nothing more is sealed with the keys that these subjects have; all their keys. Blocks.
    pub(crate) fn retire(&self, subjects: &[Subject]) -> Result<Vec<(Subject, KeyId)>, LedgerError> {
        self.keys.retire(subjects)
    }

    pub(crate) fn keys_of(&self, subjects: &[Subject]) -> Vec<(Subject, KeyId)> {
        self.keys.keys_of(subjects)
    }

    /// Does what leaves of `site` say: its keys are known to be gone, and those that are here are destroyed. A site can
    /// destroy its own keys, wherever they are held, and nobody else's. Blocks.
    pub(crate) fn obey(&self, site: &SiteName, ids: &[KeyId]) -> Result<usize, LedgerError> {
        let mut shredded = self.shredded.write().unwrap_or_else(PoisonError::into_inner);
        shredded.entry(site.clone()).or_default().extend(ids);
        drop(shredded);
        self.keys.destroy(self.home(site), ids)
    }

    /// Makes up for a disk that failed in `obey`. Blocks.
    pub(crate) fn settle(&self) -> Result<(), LedgerError> {
        self.keys.destroy(None, &[]).map(drop)
    }

    /// Whether what this site sealed aside can never be opened again, because its key was destroyed.
    pub(crate) fn is_shredded_aside(&self, sealed: &[u8]) -> bool {
        sealed.first_chunk::<16>().is_some_and(|id| self.is_shredded(&self.site, id))
    }

    /// `None` if this site has no key for it: nobody entrusted it to this site, or it was shredded. An error if it is damaged.
    pub(crate) fn open(&self, leaf: &Leaf, ciphertext: &[u8]) -> Result<Option<Bytes>, LedgerError> {
        let head = &leaf.head;
        let found = self.keys.key_by_id(self.home(&head.site), &self.key_id(leaf));
        let Some((subject, subject_key)) = found else { return Ok(None) };
        let damaged = || {
            let (site, epoch, seq) = (&head.site, head.epoch, head.site_seq);
            LedgerError::Damaged(format!(
                "entry {seq} of site {site} in epoch {epoch} does not open with its key"
            ))
        };
        let (payload, event_key) =
            decrypt(associated_data(head), &subject_key, ciphertext).ok_or_else(damaged)?;
        if commitment(&event_key, &subject) != leaf.subject_commitment {
            return Err(damaged());
        }
        Ok(Some(payload.into()))
    }

    /// Seals what waits on this site's disk and is no entry yet, under its subject's key and bound to `place`.
    /// Key id and sealed bytes: `ASIDE_OVERHEAD_BYTES` longer than `plain`.
    pub(crate) fn seal_aside<R: RngCore + CryptoRng>(
        &self,
        subject: &Subject,
        place: &[u8],
        plain: &[u8],
        rng: &mut R,
    ) -> Result<Vec<u8>, LedgerError> {
        let (id, subject_key) = self.key_in_use(subject)?;
        let event_key = Secret::random(rng);
        let sealed = encrypt(aside(place), &subject_key, &event_key, plain, rng)?;
        Ok([id.as_slice(), &sealed].concat())
    }

    /// What [`Sealer::seal_aside`] sealed, and its subject. `None` if it is damaged or its key is gone.
    pub(crate) fn open_aside(&self, place: &[u8], sealed: &[u8]) -> Option<(Subject, Vec<u8>)> {
        let (id, sealed) = sealed.split_first_chunk::<16>()?;
        let (subject, subject_key) = self.keys.key_by_id(None, id)?;
        let (plain, _) = decrypt(aside(place), &subject_key, sealed)?;
        Some((subject, plain))
    }

    /// Made if there is none: it may have been retired since it was ensured.
    fn key_in_use(&self, subject: &Subject) -> Result<(KeyId, Secret), LedgerError> {
        // Retired again in between would be a third time within a moment; then the caller hears of it.
        for _ in 0..3 {
            if let Some(found) = self.keys.key_of(subject) {
                return Ok(found);
            }
            self.keys.ensure(&[*subject])?;
        }
        Err(LedgerError::Keys("a subject's keys are retired faster than they are made".into()))
    }

    fn key_id(&self, leaf: &Leaf) -> KeyId {
        self.mask(&leaf.head.key_ref, &leaf.head)
    }

    /// Key id to key_ref and back.
    fn mask(&self, id: &KeyId, head: &Head) -> [u8; 16] {
        let mut masked = self.index.key_ref_mask(&position(head));
        masked.iter_mut().zip(id).for_each(|(mask, byte)| *mask ^= byte);
        masked
    }
}

fn message(draft: &Draft, head: &Head, subject_commitment: Hash, ciphertext: Vec<u8>) -> Message {
    Message {
        kind: head.kind,
        event_time_ms: head.event_time_ms,
        message_time_ms: head.message_time_ms,
        received_time_ms: head.received_time_ms,
        key_ref: head.key_ref,
        subject_commitment,
        ciphertext_len: ciphertext.len() as u32, // bounded by MAX_PAYLOAD_BYTES + OVERHEAD_BYTES
        ciphertext_hash: sha256(&[&ciphertext]),
        private: Private { dedupe: draft.dedupe, tags: draft.tags.clone() },
        ciphertext: ciphertext.into(),
    }
}

fn position(head: &Head) -> Vec<u8> {
    let mut position = head.group_id.to_be_bytes().to_vec();
    position.extend_from_slice(head.site.as_str().as_bytes());
    position.extend_from_slice(&head.epoch.to_be_bytes());
    position.extend_from_slice(&head.site_seq.to_be_bytes());
    position
}

/// `associated`: as of [`associated_data`].
fn encrypt<R: RngCore + CryptoRng>(
    mut associated: Vec<u8>,
    subject_key: &Secret,
    event_key: &Secret,
    payload: &[u8],
    rng: &mut R,
) -> Result<Vec<u8>, LedgerError> {
    let failed = |_| LedgerError::Keys("a payload could not be encrypted".into());
    let mut nonce = [0; 12];
    rng.fill_bytes(&mut nonce);
    let mut out = Vec::with_capacity(payload.len() + OVERHEAD_BYTES);
    out.push(VERSION);
    out.extend_from_slice(&nonce);
    let mut wrapped = *event_key.expose();
    let tag = Aes256Gcm::new(subject_key.expose().into())
        .encrypt_in_place_detached(Nonce::from_slice(&nonce), &associated, &mut wrapped)
        .map_err(failed)?;
    out.extend_from_slice(&wrapped);
    out.extend_from_slice(&tag);
    out.extend_from_slice(payload);
    associated[1] = PAYLOAD;
    let (_, body) = out.split_at_mut(PREFIX_LEN);
    let tag = Aes256Gcm::new(event_key.expose().into())
        .encrypt_in_place_detached(Nonce::from_slice(&[0; 12]), &associated, body)
        .map_err(failed)?;
    out.extend_from_slice(&tag);
    Ok(out)
}

/// The payload and its event key.
fn decrypt(mut associated: Vec<u8>, subject_key: &Secret, ciphertext: &[u8]) -> Option<(Vec<u8>, Secret)> {
    let (nonce, rest) = ciphertext.strip_prefix(&[VERSION])?.split_first_chunk::<12>()?;
    let (mut event_key, rest) = rest.split_first_chunk::<32>().map(|(key, rest)| (*key, rest))?;
    let (wrap_tag, rest) = rest.split_first_chunk::<TAG_LEN>()?;
    let (body, tag) = rest.split_last_chunk::<TAG_LEN>()?;
    Aes256Gcm::new(subject_key.expose().into())
        .decrypt_in_place_detached(
            Nonce::from_slice(nonce),
            &associated,
            &mut event_key,
            Tag::from_slice(wrap_tag),
        )
        .ok()?;
    let event_key = Secret::new(event_key);
    associated[1] = PAYLOAD;
    let mut payload = body.to_vec();
    Aes256Gcm::new(event_key.expose().into())
        .decrypt_in_place_detached(
            Nonce::from_slice(&[0; 12]),
            &associated,
            &mut payload,
            Tag::from_slice(tag),
        )
        .ok()?;
    Some((payload, event_key))
}

/// For the event key; the payload's differs in its second byte.
fn associated_data(head: &Head) -> Vec<u8> {
    let mut associated = vec![VERSION, EVENT_KEY];
    associated.extend_from_slice(&head.encode());
    associated
}

/// The same for what is no entry: no head of a leaf begins like this.
fn aside(place: &[u8]) -> Vec<u8> {
    [&[VERSION, EVENT_KEY], b"aside\n".as_slice(), place].concat()
}

fn commitment(event_key: &Secret, subject: &Subject) -> Hash {
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(event_key.expose());
    let mut mac = mac.unwrap_or_else(|_| unreachable!("HMAC takes keys of every length"));
    mac.update(b"medulla subject salt v1\n");
    let salt: [u8; 32] = mac.finalize().into_bytes().into();
    sha256(&[&[0x23], &salt, &subject.0])
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rand::SeedableRng;
    use rand_chacha::ChaCha12Rng;

    use super::*;
    use crate::record::BatchHead;
    use crate::types::Tag as SearchTag;

    fn sealers() -> (tempfile::TempDir, Sealer, Sealer) {
        let dir = tempfile::tempdir().unwrap();
        let dirs = crate::keys::init(dir.path(), &[("a", "h"), ("b", "h")]).unwrap();
        let open = |n: usize| {
            Sealer::open_store(&dirs[n].join("subjects.keys"), &SiteKeys::load(&dirs[n]).unwrap()).unwrap()
        };
        let (a, b) = (open(0), open(1));
        (dir, a, b)
    }

    fn draft(payload: &[u8]) -> Draft {
        Draft {
            kind: 1,
            subject: Subject([4; 32]),
            tags: vec![SearchTag([1; 16])],
            dedupe: Some([2; 32]),
            event_time_ms: 10,
            message_time_ms: 20,
            received_time_ms: 30,
            payload: Bytes::copy_from_slice(payload),
        }
    }

    /// A key as if other sites held it.
    fn made(sealer: &Sealer) {
        sealer.ensure(&[Subject([4; 32])]).unwrap();
        sealer.key_store().kept(&sealer.key_store().pending(), true);
    }

    fn seal<R: RngCore + CryptoRng>(
        sealer: &Sealer,
        draft: &Draft,
        seq: u64,
        rng: &mut R,
    ) -> Result<Message, LedgerError> {
        sealer.seal(draft, &sealer.ready(&[draft.subject]).unwrap(), (1, seq), rng)
    }

    fn leaf_of(sealer: &Sealer, message: &Message, epoch: u64, seq: u64) -> Leaf {
        let (group_id, site) = (sealer.group_id, sealer.site.clone());
        message.leaf(&BatchHead { group_id, site, epoch, first_site_seq: seq, previous: [0; 32] }, seq)
    }

    #[test]
    fn the_home_site_opens_what_it_sealed_and_another_does_not() {
        let (_dir, a, b) = sealers();
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        made(&a);
        for payload in [b"".as_slice(), b"x", &[7; 5000]] {
            let message = seal(&a, &draft(payload), 0, &mut rng).unwrap();
            assert_eq!(message.ciphertext.len(), payload.len() + OVERHEAD_BYTES);
            let leaf = leaf_of(&a, &message, 1, 0);
            assert_eq!(a.open(&leaf, &message.ciphertext).unwrap().unwrap(), payload);
            assert_eq!(b.open(&leaf, &message.ciphertext).unwrap(), None);
        }
    }

    #[test]
    fn a_holder_opens_what_it_was_entrusted_with_until_it_is_shredded_and_takes_no_such_key_again() {
        let (_dir, a, b) = sealers();
        let mut rng = ChaCha12Rng::seed_from_u64(6);
        made(&a);
        let message = seal(&a, &draft(b"secret"), 0, &mut rng).unwrap();
        let leaf = leaf_of(&a, &message, 1, 0);
        let keys = a.key_store().give(None, &a.key_store().ids_between(None, (None, None), 10));
        assert_eq!((keys.len(), b.access(&leaf)), (1, Access::Elsewhere));
        assert_eq!(b.hold(&a.site, keys.clone()).unwrap(), Vec::<KeyId>::new());
        assert_eq!((a.access(&leaf), b.access(&leaf)), (Access::Own, Access::Entrusted));
        assert_eq!(b.open(&leaf, &message.ciphertext).unwrap().unwrap(), b"secret".as_slice());
        assert!(b.ready(&[Subject([4; 32])]).is_none(), "it seals nothing with it");

        let gone = [keys[0].id];
        assert_eq!(b.obey(&b.site.clone(), &gone).unwrap(), 0, "another site's key is not its to destroy");
        assert_eq!(b.access(&leaf), Access::Entrusted);
        assert_eq!(b.obey(&a.site, &gone).unwrap(), 1);
        assert_eq!((b.access(&leaf), b.open(&leaf, &message.ciphertext).unwrap()), (Access::Nobody, None));
        assert_eq!(b.hold(&a.site, keys.clone()).unwrap(), gone, "it is refused from then on");
        assert_eq!(b.access(&leaf), Access::Nobody);
        // The same for a site that would take its own back.
        a.obey(&a.site, &gone).unwrap();
        assert!(!a.has_lost(&gone[0]));
        a.adopt(keys).unwrap();
        assert_eq!(a.access(&leaf), Access::Nobody);
    }

    #[test]
    fn nothing_but_the_sealed_position_opens() {
        let (_dir, a, _b) = sealers();
        let mut rng = ChaCha12Rng::seed_from_u64(2);
        made(&a);
        let message = seal(&a, &draft(b"secret"), 0, &mut rng).unwrap();
        let leaf = leaf_of(&a, &message, 1, 0);
        let opens = |leaf: &Leaf, bytes: &[u8]| matches!(a.open(leaf, bytes), Ok(Some(_)));
        assert!(opens(&leaf, &message.ciphertext));
        let changes: [fn(&mut Leaf); 6] = [
            |l| l.head.kind = 2,
            |l| l.head.epoch = 2,
            |l| l.head.site_seq = 1,
            |l| l.head.group_id = 2,
            |l| l.head.event_time_ms = 11,
            |l| l.subject_commitment[0] ^= 1,
        ];
        for change in changes {
            let mut other = leaf.clone();
            change(&mut other);
            assert!(!opens(&other, &message.ciphertext));
        }
        for at in 0..message.ciphertext.len() {
            let mut flipped = message.ciphertext.to_vec();
            flipped[at] ^= 1;
            assert!(a.open(&leaf, &flipped).is_err(), "byte {at}");
            assert!(a.open(&leaf, &message.ciphertext[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn leaves_of_one_subject_share_nothing_that_shows() {
        let (_dir, a, _b) = sealers();
        let mut rng = ChaCha12Rng::seed_from_u64(3);
        made(&a);
        let one = seal(&a, &draft(b"same"), 0, &mut rng).unwrap();
        let two = seal(&a, &draft(b"same"), 1, &mut rng).unwrap();
        assert_ne!(one.key_ref, two.key_ref);
        assert_ne!(one.subject_commitment, two.subject_commitment);
        assert_ne!(one.ciphertext_hash, two.ciphertext_hash);
        let leaf = leaf_of(&a, &one, 1, 0).encode();
        let plain = sha256(&[b"same"]);
        assert!(!leaf.windows(32).any(|w| w == plain || w == [4; 32] || w == [2; 32]));
        assert!(!leaf.windows(16).any(|w| w == [1; 16]), "tags stay out of the leaf");
    }

    #[test]
    fn what_was_sealed_long_ago_still_opens() {
        let head = Head {
            group_id: 1,
            kind: 2,
            site: SiteName::new("a").unwrap(),
            epoch: 3,
            site_seq: 4,
            event_time_ms: 5,
            message_time_ms: 6,
            received_time_ms: 7,
            key_ref: [8; 16],
        };
        let (subject_key, event_key) = (Secret::new([9; 32]), Secret::new([10; 32]));
        let golden = hex::decode(include_str!("seal.golden.txt").trim_end()).unwrap();
        let (payload, opened_with) = decrypt(associated_data(&head), &subject_key, &golden).unwrap();
        assert_eq!((payload.as_slice(), opened_with.expose()), (b"payload".as_slice(), event_key.expose()));
        let committed = "a5061d9cd5a16d7b3ccb061305bd2a7d861035249118da85bbe8062299e9af38";
        assert_eq!(hex::encode(commitment(&event_key, &Subject([11; 32]))), committed);
    }

    #[test]
    fn limits_are_refused() {
        let (_dir, a, _b) = sealers();
        made(&a);
        let mut rng = ChaCha12Rng::seed_from_u64(4);
        let mut many = draft(b"x");
        many.tags = vec![SearchTag([0; 16]); 17];
        assert!(seal(&a, &many, 0, &mut rng).is_err());
        let mut large = draft(b"x");
        large.payload = Bytes::from(vec![0; MAX_PAYLOAD_BYTES + 1]);
        assert!(seal(&a, &large, 0, &mut rng).is_err());
    }

    /// A floor far below what any machine with AES instructions does, so that a lost optimisation shows.
    #[test]
    fn sealing_is_fast() {
        let (_dir, a, _b) = sealers();
        made(&a);
        let mut rng = ChaCha12Rng::seed_from_u64(5);
        let draft = draft(&[0x5a; 1024]);
        let count = 20_000;
        let start = Instant::now();
        let messages: Vec<_> = (0..count).map(|seq| seal(&a, &draft, seq, &mut rng).unwrap()).collect();
        let sealed = start.elapsed();
        let start = Instant::now();
        for (seq, message) in (0..).zip(&messages) {
            assert!(a.open(&leaf_of(&a, message, 1, seq), &message.ciphertext).unwrap().is_some());
        }
        let rate = |elapsed: std::time::Duration| count as f64 / elapsed.as_secs_f64();
        eprintln!("sealed {:.0}/s, opened {:.0}/s of 1 KiB", rate(sealed), rate(start.elapsed()));
        assert!(rate(sealed) > 5_000.0);
    }
}
