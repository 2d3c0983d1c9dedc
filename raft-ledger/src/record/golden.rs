//! Golden bytes: what stands here may never change, or history could not be checked any more.

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;
use crate::merkle::leaf_hash;
use crate::types::{Outcome, Tag};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn message() -> Message {
    let ciphertext = Bytes::from_static(b"sealed");
    Message {
        kind: 1,
        event_time_ms: 1_700_000_000_000,
        message_time_ms: 1_700_000_000_001,
        received_time_ms: -1,
        key_ref: [0xaa; 16],
        subject_commitment: [0xbb; 32],
        ciphertext_len: 6,
        ciphertext_hash: sha256(&[&ciphertext]),
        private: Private { dedupe: Some([0xcc; 32]), tags: vec![Tag([0xdd; 16]), Tag([0xee; 16])] },
        ciphertext,
    }
}

fn batch() -> Batch {
    let mut tail = message();
    tail.kind = 0xfffe; // unknown to anybody: kept and hashed
    tail.private = Private::default();
    tail.ciphertext_len = 10;
    let chunk = Chunk { offset: 0, bytes: Bytes::from_static(b"four") };
    let head = BatchHead {
        group_id: 1,
        site: SiteName::new("site-a").unwrap(),
        epoch: 2,
        first_site_seq: 3,
        previous: [0x11; 32],
    };
    let items = vec![Item::Message(message()), Item::Chunk(chunk), Item::Message(tail)];
    Batch::sign(head, items, &key()).0
}

fn provenance() -> Provenance {
    let verified = batch().verify(&key().verifying_key()).unwrap();
    let outcomes = [Outcome { index: 40, duplicate: false }, Outcome { index: 5, duplicate: true }];
    Provenance::new(&batch(), &verified, 40, &outcomes).unwrap()
}

fn new_site() -> NewSite {
    let [batch_key, log_key, cosigner_key] = [[0x33; 32], [0x44; 32], [0x55; 32]];
    let new = NewSite {
        consortium: "medulla-0123456789abcdef".into(),
        group_id: 1,
        site: SiteName::new("site-d").unwrap(),
        generation: NewSite::FIRST,
        batch_key,
        log_key,
        cosigner_key,
        signature: [0; 64],
    };
    new.sign(&key())
}

fn commands() -> Vec<Command> {
    let open = OpenEpoch::sign(1, SiteName::new("site-a").unwrap(), 2, [0x22; 16], &key());
    vec![
        Command::Batch(batch()),
        Command::OpenEpoch(open),
        Command::ApplyVersion(ApplyVersion { apply_version: 2 }),
        Command::NewSite(new_site()),
        Command::Unknown(Bytes::from_static(&[1, 0, 77, 1, 2, 3])),
    ]
}

#[test]
fn bytes_are_those_of_the_specification() {
    let leaf = message().leaf(&batch().head, 3);
    let mut lines = vec![
        format!("leaf {}", hex::encode(leaf.encode())),
        format!("leaf_hash {}", hex::encode(leaf_hash(&leaf.encode()))),
        format!("batch_hash {}", hex::encode(batch().hash())),
        format!("provenance {}", hex::encode(provenance().encode())),
    ];
    lines.extend(commands().iter().map(|c| format!("command {}", hex::encode(c.encode()))));
    assert_eq!(lines.join("\n"), include_str!("golden.txt").trim_end());
}

#[test]
fn what_is_written_is_read_again() {
    let leaf = message().leaf(&batch().head, 3);
    assert_eq!(Leaf::decode(leaf.encode().into()), Ok(leaf));
    assert_eq!(Provenance::decode(provenance().encode()), Ok(provenance()));
    for command in commands() {
        assert_eq!(Command::decode(command.encode()), Ok(command));
    }
    let exact: usize = batch().items.iter().map(Item::encoded_len).sum();
    let head = 1 + 4 + 7 + 8 + 8 + 4 + 32;
    assert_eq!(batch().encode().len(), head + exact + 64);
}

#[test]
fn every_part_of_a_batch_is_signed() {
    let public = key().verifying_key();
    assert!(batch().verify(&public).is_ok());
    let encoded = batch().encode();
    for at in 0..encoded.len() {
        for bit in [1, 0x80] {
            let mut flipped = encoded.to_vec();
            flipped[at] ^= bit;
            if let Ok(batch) = Batch::decode(flipped.into()) {
                // Only the tail of a chunked payload is not checked here: its hash is, when it is whole.
                let tail_bytes = encoded.len() - 64 - 6..encoded.len() - 64;
                assert_eq!(batch.verify(&public).is_ok(), tail_bytes.contains(&at), "byte {at}");
            }
        }
    }
}

#[test]
fn provenance_alone_checks_the_signature() {
    let (provenance, public) = (provenance(), key().verifying_key());
    let leaf_hash = leaf_hash(&message().leaf(&batch().head, 3).encode());
    let hash = provenance.batch_hash(&[leaf_hash]).unwrap();
    assert_eq!(hash, batch().hash());
    assert!(provenance.signed_by(&public, &hash));
    assert_eq!((provenance.leaf_count(), provenance.message_count()), (1, 2));
    assert_eq!(provenance.leaf_site_seqs().collect::<Vec<_>>(), [3]);
    assert_eq!(provenance.batch_hash(&[]), None);
    assert!(!provenance.signed_by(&public, &provenance.batch_hash(&[[0; 32]]).unwrap()));
    let verified = batch().verify(&public).unwrap();
    assert_eq!(Provenance::new(&batch(), &verified, 40, &[]), None);
}

#[test]
fn an_epoch_request_is_signed_whole() {
    let Command::OpenEpoch(open) = commands().remove(1) else { panic!("not an epoch request") };
    let public = key().verifying_key();
    assert!(open.verify(&public));
    assert!(!OpenEpoch { previous_epoch: 3, ..open.clone() }.verify(&public));
    assert!(!OpenEpoch { nonce: [0; 16], ..open }.verify(&public));
}

#[test]
fn every_byte_of_an_admission_is_signed() {
    let (public, encoded) = (key().verifying_key(), new_site().encode());
    assert!(NewSite::decode(encoded.clone().into()).unwrap().verify(&public));
    for at in 0..encoded.len() {
        for bit in 0..8 {
            let mut flipped = encoded.clone();
            flipped[at] ^= 1 << bit;
            let read = NewSite::decode(flipped.into());
            assert!(!read.is_ok_and(|new| new.verify(&public)), "byte {at} bit {bit}");
        }
        assert!(NewSite::decode(encoded[..at].to_vec().into()).is_err(), "the first {at} bytes alone");
    }
    assert!(NewSite::decode([&encoded[..], b"x"].concat().into()).is_err());
    // A signature for another purpose is none, whatever bytes follow.
    let bare = NewSite { signature: [0; 64], ..new_site() };
    let unsigned = &bare.encode()[..encoded.len() - 64];
    use ed25519_dalek::Signer;
    for domain in [&b""[..], b"medulla new site v1\n", b"medulla open epoch v1\n"] {
        let signature = key().sign(&[domain, unsigned].concat()).to_bytes();
        assert!(!NewSite { signature, ..bare.clone() }.verify(&public));
    }
}

#[test]
fn limits_are_refused() {
    let refused = |change: &dyn Fn(&mut Message)| {
        let mut item = message();
        change(&mut item);
        let (batch, _) = Batch::sign(batch().head, vec![Item::Message(item)], &key());
        Batch::decode(batch.encode()).unwrap_err().what
    };
    assert_eq!(refused(&|m| m.private.tags = vec![Tag([0; 16]); 17]), "more than 16 tags");
    assert_eq!(refused(&|m| m.ciphertext_len = 5), "a length is over its limit");
    assert_eq!(refused(&|m| m.ciphertext_len = u32::MAX), "a length is over its limit");
    let empty = Batch { items: vec![], ..batch() };
    assert_eq!(Batch::decode(empty.encode()).unwrap_err().what, "an item count out of bounds");
    let mut last = batch();
    last.head.first_site_seq = u64::MAX;
    assert_eq!(Batch::decode(last.encode()).unwrap_err().what, "a site_seq out of bounds");
    let mut trailing = batch().encode().to_vec();
    trailing.push(0);
    assert_eq!(Batch::decode(trailing.into()).unwrap_err().what, "bytes follow the record");
    let mut chunk = batch();
    chunk.items = vec![Item::Chunk(Chunk { offset: u32::MAX, bytes: Bytes::from_static(b"x") })];
    assert!(Batch::decode(chunk.encode()).is_err());
    for name in ["", "-a", "a.", "A", "a b", "ä", &"a".repeat(64)] {
        assert_eq!(SiteName::new(name), None, "{name}");
    }
    assert!(SiteName::new("clinic-1.example").is_some());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), kind in 0u8..5) {
        let _ = Leaf::decode(bytes.clone().into());
        let _ = Provenance::decode(bytes.clone().into());
        let _ = Batch::decode(bytes.clone().into());
        let _ = Command::decode([&[1, 0, kind], bytes.as_slice()].concat().into());
    }

    #[test]
    fn damaged_records_never_panic_and_have_one_encoding(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        for command in commands() {
            let mut bytes = command.encode().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(read) = Command::decode(bytes.clone().into()) {
                prop_assert_eq!(read.encode(), bytes.clone());
            }
            bytes.truncate(cut.index(bytes.len()));
            if let Ok(read) = Command::decode(bytes.clone().into()) {
                prop_assert_eq!(read.encode(), bytes);
            }
        }
        let mut bytes = provenance().encode().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = Provenance::decode(bytes.clone().into()) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }
}
