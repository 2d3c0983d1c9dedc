use std::fs;

use super::file::{FRAME_HEADER_LEN, HEADER_LEN, RECORD_LEN, SECTOR_LEN};
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
    let keys =
        |store: &KeyStore| [1, 2, 3, 4].map(|n| store.key_of(&subject(n)).map(|(id, k)| (id, *k.expose())));
    let first = keys(&KeyStore::open(&path, master()).unwrap());
    let store = KeyStore::open(&path, master()).unwrap();
    store.ensure(&[1, 2, 3, 4].map(subject)).unwrap();
    assert_eq!(keys(&store), first);
    assert!(first.iter().all(Option::is_some) && first[0] != first[1]);
    assert_eq!(store.key_by_id(None, &first[2].unwrap().0).unwrap().0, subject(3));
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

/// What came with the header was on the disk before the file got its name: no part of it is taken for an unused end.
#[test]
fn what_was_written_whole_is_never_torn() {
    let (_dir, path) = filled();
    let store = KeyStore::open(&path, master()).unwrap();
    store.destroy(None, &[store.key_of(&subject(2)).unwrap().0]).unwrap();
    let rewritten = fs::metadata(&path).unwrap().len() as usize;
    store.ensure(&[subject(5)]).unwrap();
    drop(store);
    let whole = fs::read(&path).unwrap();
    let refuses = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        assert!(
            matches!(KeyStore::open(&path, master()), Err(LedgerError::Damaged(_))),
            "{} bytes",
            bytes.len()
        );
        assert_eq!(fs::read(&path).unwrap(), bytes, "a damaged file is left as it is");
    };
    for len in HEADER_LEN..rewritten {
        refuses(&whole[..len]);
    }
    let mut holed = whole[..rewritten].to_vec();
    holed[HEADER_LEN + 12..].fill(0);
    refuses(&holed);
    // What was appended later may be torn, as ever.
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let store = KeyStore::open(&path, master()).unwrap();
    assert!(store.key_of(&subject(4)).is_some() && store.key_of(&subject(5)).is_none());
}

#[test]
fn a_file_of_long_ago_still_opens() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("subjects.keys");
    fs::write(&path, hex::decode(include_str!("golden.txt").trim_end()).unwrap()).unwrap();
    let store = KeyStore::open(&path, master()).unwrap();
    let (id, key) = store.key_of(&subject(1)).unwrap();
    assert_eq!(hex::encode(id), "000102030405060708090a0b0c0d0e0f");
    assert_eq!(hex::encode(key.expose()), "d9e1b88e0b0902797d6ec7c3890f76636c08524741ae9167a89d0feb3558dfeb");
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

fn ids(store: &KeyStore, subjects: &[u8]) -> Vec<KeyId> {
    let subjects: Vec<Subject> = subjects.iter().map(|n| subject(*n)).collect();
    store.keys_of(&subjects).into_iter().map(|(_, id)| id).collect()
}

/// The 48 bytes in which the file holds the key.
fn wrapped(bytes: &[u8], id: &KeyId) -> Vec<u8> {
    let at = bytes.windows(16).position(|window| window == id).unwrap();
    bytes[at + 16 + 12..][..48].to_vec()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_retired_key_opens_and_seals_nothing_also_after_a_restart() {
    let (_dir, path) = filled();
    let store = KeyStore::open(&path, master()).unwrap();
    let former = store.key_of(&subject(1)).unwrap().0;
    assert_eq!(store.retire(&[subject(1), subject(9)]).unwrap(), [(subject(1), former)]);
    let check = |store: &KeyStore| {
        assert!(store.key_of(&subject(1)).is_none() && store.key_of(&subject(2)).is_some());
        assert_eq!(store.key_by_id(None, &former).unwrap().0, subject(1));
    };
    check(&store);
    drop(store);
    let store = KeyStore::open(&path, master()).unwrap();
    check(&store);
    store.ensure(&[subject(1)]).unwrap();
    let fresh = store.key_of(&subject(1)).unwrap().0;
    assert_ne!(fresh, former);
    drop(store);
    let store = KeyStore::open(&path, master()).unwrap();
    assert_eq!(store.key_of(&subject(1)).unwrap().0, fresh);
    let both = ids(&store, &[1]);
    assert!(both.len() == 2 && both.contains(&former) && both.contains(&fresh));
    // Retired twice is retired once.
    store.retire(&[subject(1)]).unwrap();
    let len = fs::metadata(&path).unwrap().len();
    store.retire(&[subject(1)]).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), len);
}

#[test]
fn a_destroyed_key_is_nowhere_and_the_others_stay() {
    let (dir, path) = filled();
    let torn = dir.path().join("subjects.keys.torn-77");
    fs::write(&torn, b"a key that was never used").unwrap();
    let store = KeyStore::open(&path, master()).unwrap();
    store.retire(&[subject(3)]).unwrap();
    let (before, gone) = (fs::read(&path).unwrap(), ids(&store, &[1, 3]));
    let others = [2, 4].map(|n| *store.key_of(&subject(n)).unwrap().1.expose());
    let former = fs::File::open(&path).unwrap();
    assert_eq!(store.destroy(None, &gone).unwrap(), 2);
    assert_eq!(store.destroy(None, &gone).unwrap(), 0);
    // What a handle of the former file still reads was overwritten.
    let mut wiped = vec![1; before.len()];
    std::os::unix::fs::FileExt::read_exact_at(&former, &mut wiped, 0).unwrap();
    assert!(wiped.iter().all(|byte| *byte == 0));
    assert!(!torn.exists());
    let check = |store: &KeyStore| {
        assert!(gone.iter().all(|id| !store.has_id(None, id)) && ids(store, &[1, 3]).is_empty());
        assert_eq!([2, 4].map(|n| *store.key_of(&subject(n)).unwrap().1.expose()), others);
    };
    check(&store);
    // What is written afterwards goes to the new file.
    store.ensure(&[subject(1), subject(5)]).unwrap();
    let (one, five) = (store.key_of(&subject(1)).unwrap().0, store.key_of(&subject(5)).unwrap().0);
    assert!(KeyStore::open(&path, master()).is_err(), "the new file is locked as the former one was");
    drop(store);
    for entry in fs::read_dir(dir.path()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        for id in &gone {
            assert!(!holds(&bytes, id) && !holds(&bytes, &wrapped(&before, id)));
        }
    }
    let store = KeyStore::open(&path, master()).unwrap();
    assert_eq!((store.key_of(&subject(1)).unwrap().0, store.key_of(&subject(5)).unwrap().0), (one, five));
    assert_eq!([2, 4].map(|n| *store.key_of(&subject(n)).unwrap().1.expose()), others);
}

/// What each step leaves behind, put together by hand: the new file at every length beside the former one, and the
/// new one in its place with the former one gone.
#[test]
fn a_crash_at_any_step_leaves_a_whole_file_and_the_next_call_ends_the_work() {
    let (dir, path) = filled();
    let before = fs::read(&path).unwrap();
    let store = KeyStore::open(&path, master()).unwrap();
    let (gone, kept) = (ids(&store, &[1]), ids(&store, &[2, 3, 4]));
    store.destroy(None, &gone).unwrap();
    drop(store);
    let after = fs::read(&path).unwrap();
    let beside = dir.path().join("subjects.keys.new");
    for len in (0..=after.len()).step_by(3) {
        fs::write(&path, &before).unwrap();
        fs::write(&beside, &after[..len]).unwrap();
        let store = KeyStore::open(&path, master()).unwrap();
        assert!(!beside.exists(), "what was never put in its place is removed");
        assert_eq!((ids(&store, &[1]), ids(&store, &[2, 3, 4])), (gone.clone(), kept.clone()));
        assert_eq!(store.destroy(None, &gone).unwrap(), 1);
        drop(store);
        let store = KeyStore::open(&path, master()).unwrap();
        assert_eq!((ids(&store, &[1]), ids(&store, &[2, 3, 4])), (vec![], kept.clone()));
        assert!(!holds(&fs::read(&path).unwrap(), &wrapped(&before, &gone[0])));
    }
    fs::write(&path, &after).unwrap();
    let store = KeyStore::open(&path, master()).unwrap();
    assert_eq!((store.destroy(None, &gone).unwrap(), ids(&store, &[2, 3, 4])), (0, kept));
}

/// A crash between the rename and the wipe leaves the former file under its second name; one before the rename leaves
/// the very file under both.
#[test]
fn a_restart_wipes_what_a_crash_left_of_the_former_file() {
    let (dir, path) = filled();
    let before = fs::read(&path).unwrap();
    let store = KeyStore::open(&path, master()).unwrap();
    let (gone, kept) = (ids(&store, &[1]), ids(&store, &[2, 3, 4]));
    store.destroy(None, &gone).unwrap();
    drop(store);
    let former = dir.path().join("subjects.keys.former");
    assert!(!former.exists());
    fs::write(&former, &before).unwrap();
    let still_read = fs::File::open(&former).unwrap();
    drop(KeyStore::open(&path, master()).unwrap());
    let mut wiped = vec![1; before.len()];
    std::os::unix::fs::FileExt::read_exact_at(&still_read, &mut wiped, 0).unwrap();
    assert!(wiped.iter().all(|byte| *byte == 0) && !former.exists());

    fs::hard_link(&path, &former).unwrap();
    let store = KeyStore::open(&path, master()).unwrap();
    assert!(!former.exists());
    assert_eq!((ids(&store, &[1]), ids(&store, &[2, 3, 4])), (vec![], kept));
    // And a former file that could not be wiped is wiped by the next rewriting.
    fs::write(&former, &before).unwrap();
    store.destroy(None, &ids(&store, &[2])).unwrap();
    assert!(!former.exists());
}

#[test]
fn keys_held_for_others_are_kept_apart_from_own_ones_and_outlive_the_process() {
    let (_dir, path) = filled();
    let (b, c) = (SiteName::new("b").unwrap(), SiteName::new("c").unwrap());
    let key = |n: u8| SubjectKey { subject: subject(1), id: [n; 16], key: Secret::new([n + 100; 32]) };
    let store = KeyStore::open(&path, master()).unwrap();
    let own = store.digest(None);
    store.hold(&b, vec![key(1), key(2)]).unwrap();
    store.hold(&c, vec![key(2)]).unwrap();
    let len = fs::metadata(&path).unwrap().len();
    store.hold(&b, vec![key(2), key(1)]).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), len, "what is here already is not written again");
    let check = |store: &KeyStore| {
        assert_eq!((store.digest(None), store.digest(Some(&b)).count), (own, 2));
        assert_eq!(store.held(), BTreeMap::from([(b.clone(), 2), (c.clone(), 1)]));
        assert_eq!(store.key_by_id(Some(&b), &[1; 16]).unwrap().1.expose(), &[101; 32]);
        assert!(store.key_by_id(Some(&c), &[1; 16]).is_none() && !store.has_id(None, &[1; 16]));
        assert_ne!(store.key_of(&subject(1)).unwrap().0, [1; 16], "never used for own entries");
        assert_eq!(store.ids_between(Some(&b), (None, None), 10), [[1; 16], [2; 16]]);
        assert_eq!(store.ids_between(Some(&b), (Some([1; 16]), None), 10), [[2; 16]]);
        assert_eq!(store.ids_between(Some(&b), (None, Some([1; 16])), 10), [[1; 16]]);
        assert!(!fs::read(&path).unwrap().windows(32).any(|window| window == [101; 32]), "in the open");
    };
    check(&store);
    drop(store);
    let store = KeyStore::open(&path, master()).unwrap();
    check(&store);
    // A site destroys its own alone, and a rewritten file holds the rest.
    assert_eq!(store.destroy(Some(&b), &[[2; 16]]).unwrap(), 1);
    let rest = |store: &KeyStore| {
        assert_eq!(store.held(), BTreeMap::from([(b.clone(), 1), (c.clone(), 1)]));
        assert_eq!(store.digest(None), own);
    };
    rest(&store);
    drop(store);
    rest(&KeyStore::open(&path, master()).unwrap());
    for at in 0..fs::metadata(&path).unwrap().len() as usize {
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, &flipped).unwrap();
        assert!(KeyStore::open(&path, master()).is_err(), "byte {at}");
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn nothing_is_sealed_with_a_key_that_too_few_hold() {
    let (_dir, path) = filled();
    let store = KeyStore::open(&path, master()).unwrap();
    let of = [subject(1), subject(2)];
    assert!(store.ready(&of).is_none(), "whether others hold them is not known after a start");
    let (one, both) = (store.key_of(&of[0]).unwrap().0, store.unkept(&of));
    assert_eq!((both.len(), store.count_pending()), (2, 4));
    store.kept(&[one], true);
    assert!(store.ready(&of).is_none() && store.ready(&of[..1]).is_some());
    store.kept(&both.iter().map(|key| key.id).collect::<Vec<_>>(), false);
    assert!(store.ready(&of).is_some() && !store.is_pending(&one));
    assert_eq!(store.count_pending(), 3, "held in another one's stead, it is not where it belongs");
    store.astray(&[one, [77; 16]]);
    assert!(store.ready(&of).is_some() && store.count_pending() == 4);
    store.doubt();
    assert!(store.ready(&of[..1]).is_none() && store.ready(&of[1..]).is_none() && store.count_pending() == 4);
    store.kept(&both.iter().map(|key| key.id).collect::<Vec<_>>(), false);
    assert!(store.ready(&of).is_some());
    store.retire(&of[..1]).unwrap();
    assert!(store.ready(&of).is_none());
    store.ensure(&of).unwrap();
    assert!(store.ready(&of).is_none() && store.unkept(&of).len() == 1);
    store.destroy(None, &store.pending()).unwrap();
    assert_eq!(store.count_pending(), 0);
}

/// Where the new file cannot be written, the keys open nothing any more, new ones are kept all the same, and the
/// next call does it.
#[test]
fn a_disk_that_fails_once_is_made_up_for() {
    let (dir, path) = filled();
    let store = KeyStore::open(&path, master()).unwrap();
    let gone = ids(&store, &[1]);
    let in_the_way = dir.path().join("subjects.keys.new");
    fs::create_dir(&in_the_way).unwrap();
    assert!(matches!(store.destroy(None, &gone), Err(LedgerError::Io { .. })));
    assert!(!store.has_id(None, &gone[0]));
    store.ensure(&[subject(6)]).unwrap();
    let six = store.key_of(&subject(6)).unwrap().0;
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(store.destroy(None, &gone).unwrap(), 0);
    drop(store);
    let store = KeyStore::open(&path, master()).unwrap();
    assert!(!store.has_id(None, &gone[0]) && store.key_of(&subject(6)).unwrap().0 == six);
}

/// Each step of a change of the master key that is in a file, put together by hand.
#[test]
fn a_crash_while_the_master_key_changes_leaves_one_that_opens() {
    let (dir, path) = filled();
    let file = dir.path().join("master-key.hex");
    let (next, former) = (dir.path().join("master-key.hex.new"), dir.path().join("master-key.hex.former"));
    let text = |master: [u8; 32]| hex::encode(master) + "\n";
    let source = crate::keys::MasterKey::File(file.clone());
    fs::write(&file, text([9; 32])).unwrap();
    let before = fs::read(&path).unwrap();
    let opens = || {
        let store = KeyStore::open_from(&path, &source).unwrap();
        assert!([1, 2, 3, 4].iter().all(|n| store.key_of(&subject(*n)).is_some()));
        assert!(!next.exists() && !former.exists());
    };
    // Beside the old one, the key store as it was; the new one torn or whole.
    for len in [0, 10, 64, 65] {
        fs::write(&next, &text([7; 32])[..len]).unwrap();
        opens();
        assert_eq!(fs::read_to_string(&file).unwrap(), text([9; 32]));
    }
    // The key store is under the new one.
    let store = KeyStore::open(&path, master()).unwrap();
    assert_eq!(store.change_master(Secret::new([7; 32])).unwrap(), 4);
    assert!(matches!(store.change_master(Secret::new([7; 32])), Err(LedgerError::Refused(_))));
    store.ensure(&[subject(5)]).unwrap();
    drop(store);
    assert!(KeyStore::open(&path, master()).is_err());
    fs::write(&next, text([7; 32])).unwrap();
    opens();
    assert_eq!(fs::read_to_string(&file).unwrap(), text([7; 32]));
    // And the old one is still there under its second name.
    fs::write(&former, text([9; 32])).unwrap();
    opens();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(
            !holds(&bytes, &before[before.len() - 48..])
                && !holds(&bytes, text([9; 32]).trim_end().as_bytes())
        );
    }
    // The whole way.
    let store = KeyStore::open_from(&path, &source).unwrap();
    assert_eq!(store.change_master_in(&file).unwrap(), 5);
    drop(store);
    assert_ne!(fs::read_to_string(&file).unwrap(), text([7; 32]));
    opens();
}

/// The store is under a key that lies beside the old one alone, and the next change fails, too.
#[test]
fn a_change_of_the_master_key_that_is_tried_again_loses_no_key() {
    let (dir, path) = filled();
    let (file, next) = (dir.path().join("master-key.hex"), dir.path().join("master-key.hex.new"));
    let text = |master: [u8; 32]| hex::encode(master) + "\n";
    fs::write(&file, text([9; 32])).unwrap();
    let store = KeyStore::open(&path, master()).unwrap();
    store.change_master(Secret::new([7; 32])).unwrap();
    fs::write(&next, text([7; 32])).unwrap();
    let in_the_way = dir.path().join("subjects.keys.new");
    fs::create_dir(&in_the_way).unwrap();
    assert!(matches!(store.change_master_in(&file), Err(LedgerError::Io { .. })));
    assert_eq!(fs::read_to_string(&file).unwrap(), text([7; 32]));
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(store.change_master_in(&file).unwrap(), 4);
    drop(store);
    let store = KeyStore::open_from(&path, &crate::keys::MasterKey::File(file)).unwrap();
    assert!(!next.exists() && store.key_of(&subject(4)).is_some());
}

#[test]
fn a_start_leaves_a_change_of_the_master_key_alone_that_another_process_makes() {
    let (dir, path) = filled();
    let (file, next) = (dir.path().join("master-key.hex"), dir.path().join("master-key.hex.new"));
    fs::write(&file, hex::encode([9; 32])).unwrap();
    let other = KeyStore::open(&path, master()).unwrap();
    fs::write(&next, hex::encode([7; 32])).unwrap();
    let source = crate::keys::MasterKey::File(file);
    assert!(matches!(KeyStore::open_from(&path, &source), Err(LedgerError::Keys(_))));
    assert!(next.exists());
    drop(other);
    KeyStore::open_from(&path, &source).unwrap();
    assert!(!next.exists());
}

#[test]
fn a_backup_is_refused_where_anything_is_wrong_with_it() {
    let (dir, path) = filled();
    let (to, a) = (dir.path().join("backup"), SiteName::new("a").unwrap());
    let store = KeyStore::open(&path, master()).unwrap();
    store
        .hold(
            &SiteName::new("b").unwrap(),
            vec![SubjectKey { subject: subject(1), id: [1; 16], key: master() }],
        )
        .unwrap();
    assert_eq!(store.backup(&to, &a, (1_000, 2_000)).unwrap(), 5);
    let bytes = fs::read(&to).unwrap();
    assert!(!holds(&bytes, &wrapped(&fs::read(&path).unwrap(), &[1; 16])), "wrapped once more");
    let empty = KeyStore::open(&dir.path().join("other.keys"), master()).unwrap();
    let refuses = |bytes: &[u8], site: &SiteName, now: i64| {
        let error = empty.restore(&to, bytes, site, now).unwrap_err().to_string();
        assert_eq!((empty.digest(None).count, empty.held().len()), (0, 0), "{error}");
        error
    };
    assert!(refuses(&bytes, &a, 2_000).contains("has expired"));
    assert!(refuses(&bytes, &SiteName::new("c").unwrap(), 1_500).contains("of site a, not of c"));
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        refuses(&flipped, &a, 1_500);
        refuses(&bytes[..at], &a, 1_500);
    }
    let other = KeyStore::open(&dir.path().join("third.keys"), Secret::new([8; 32])).unwrap();
    assert!(other.restore(&to, &bytes, &a, 1_500).unwrap_err().to_string().contains("another master key"));
    assert_eq!(empty.restore(&to, &bytes, &a, 1_500).unwrap(), 5);
    assert_eq!((empty.digest(None), empty.held()), (store.digest(None), store.held()));
    assert!(empty.key_of(&subject(1)).is_none(), "nothing more is sealed with it");
}

#[test]
fn new_keys_begin_for_everybody_and_the_old_ones_stay() {
    let (_dir, path) = filled();
    let store = KeyStore::open(&path, master()).unwrap();
    assert_eq!((store.retire_all().unwrap(), store.retire_all().unwrap()), (4, 0));
    drop(store);
    let store = KeyStore::open(&path, master()).unwrap();
    assert!(store.key_of(&subject(1)).is_none() && store.digest(None).count == 4);
    store.ensure(&[subject(1)]).unwrap();
    assert_eq!(ids(&store, &[1]).len(), 2);
}
