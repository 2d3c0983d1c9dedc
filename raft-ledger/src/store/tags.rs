//! Where entries are found by their tags: in `by_tag`, and the newest ones in lists beside it, a batch's each.
//!
//! A tag's place is anywhere among all the others, and to find it in a large table costs more than all else that is
//! written of an event. So lists are gathered, sorted, and put into the table together, each tag beside the one before.

use super::db::WriteBatch;
use super::generation::{Family, Generation, fixed_key, index_of_key, tag_key};
use crate::LedgerError;

/// Leaves whose tags are gathered.
#[cfg(not(any(test, feature = "sim")))]
const GATHERED_LEAVES: u64 = 4096;
/// A simulation that had to pass so many would rarely see them move.
#[cfg(any(test, feature = "sim"))]
const GATHERED_LEAVES: u64 = 8;

/// As [`tag_key`] makes it.
type TagKey = [u8; 28];

/// Writes the tags of a batch that took the ledger from the size `before` to `after`.
pub(crate) fn write(
    db: &Generation,
    out: &mut WriteBatch,
    (before, after): (u64, u64),
    mut tags: Vec<TagKey>,
) -> Result<(), LedgerError> {
    if before / GATHERED_LEAVES == after / GATHERED_LEAVES {
        return if tags.is_empty() {
            Ok(())
        } else {
            db.put(out, Family::Meta, &list_key(before), &tags.concat())
        };
    }
    db.scan(Family::Meta, &list_key(0), &list_key(u64::MAX), |key, list| {
        tags.extend_from_slice(list.as_chunks().0);
        db.delete(out, Family::Meta, key).map(|()| true)
    })?;
    tags.sort_unstable();
    tags.iter().try_for_each(|tag| db.put(out, Family::ByTag, tag, &[]))
}

/// The indices in `[from, to)` of entries with this tag, in order, until `visit` says false.
pub(crate) fn scan(
    db: &Generation,
    tag: &[u8; 16],
    (from, to): (u64, u64),
    mut visit: impl FnMut(u64) -> Result<bool, LedgerError>,
) -> Result<(), LedgerError> {
    let (first, end) = (tag_key(tag, from), tag_key(tag, to));
    let mut newest = Vec::new();
    // Before the table: what moves into it meanwhile is then met twice instead of never. The first list may begin before
    // `from`; those that end before it would be most of them to whoever follows the ledger's end.
    let before = db.last(Family::Meta, &list_key(from))?.filter(|(key, _)| **key >= list_key(0)[..]);
    let first_list = before.map_or(list_key(from).into(), |(key, _)| key);
    db.scan(Family::Meta, &first_list, &list_key(to), |_, list| {
        let keys: &[TagKey] = list.as_chunks().0;
        for key in keys.iter().filter(|key| (first..end).contains(*key)) {
            newest.push(index_of_key(key)?);
        }
        Ok(true)
    })?;
    newest.sort_unstable();
    newest.dedup();
    let (mut newest, mut goes_on) = (newest.into_iter().peekable(), true);
    // A former release that ran in between has put its tags into the table, which are later than those in the lists.
    db.scan(Family::ByTag, &first, &end, |key, _| {
        let index = index_of_key(key)?;
        while let Some(before) = newest.next_if(|listed| goes_on && *listed < index) {
            goes_on = visit(before)?;
        }
        newest.next_if_eq(&index);
        goes_on = goes_on && visit(index)?;
        Ok(goes_on)
    })?;
    while let Some(index) = newest.next_if(|_| goes_on) {
        goes_on = visit(index)?;
    }
    Ok(())
}

/// `first`: index of the batch's first leaf.
fn list_key(first: u64) -> [u8; 17] {
    fixed_key([b"tags/", &first.to_be_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::generation::Family;

    /// The ledger grows by batches of so many leaves, each with a tag that all have and, if even, a second one, twice.
    fn grown(batches: &[u64]) -> (tempfile::TempDir, Generation, u64) {
        let dir = tempfile::tempdir().unwrap();
        let db = Generation::open(dir.path()).unwrap();
        let mut size = 0;
        for leaves in batches {
            let mut out = WriteBatch::default();
            let tags = |index: u64| {
                let even = [tag_key(&[2; 16], index); 2];
                std::iter::once(tag_key(&[1; 16], index))
                    .chain(even.into_iter().filter(move |_| index.is_multiple_of(2)))
            };
            write(&db, &mut out, (size, size + leaves), (size..size + leaves).flat_map(tags).collect())
                .unwrap();
            db.write(out).unwrap();
            size += leaves;
        }
        (dir, db, size)
    }

    fn found(db: &Generation, tag: u8, range: (u64, u64), limit: usize) -> Vec<u64> {
        let mut found = Vec::new();
        scan(db, &[tag; 16], range, |index| {
            found.push(index);
            Ok(found.len() < limit)
        })
        .unwrap();
        found
    }

    #[test]
    fn every_tag_is_found_once_and_in_order_wherever_it_is_kept() {
        let batches: [&[u64]; 6] = [&[1], &[3, 4], &[3, 5], &[0, 20, 0, 1], &[1; 40], &[7, 1, 8, 2, 30, 3]];
        for batches in batches {
            let (_dir, db, size) = grown(batches);
            for from in 0..=size {
                let all: Vec<u64> = (from..size).collect();
                assert_eq!(found(&db, 1, (from, u64::MAX), usize::MAX), all);
                assert_eq!(found(&db, 1, (0, from), usize::MAX), (0..from).collect::<Vec<_>>());
                assert_eq!(
                    found(&db, 1, (from, u64::MAX), 3),
                    all.iter().copied().take(3).collect::<Vec<_>>()
                );
                let even: Vec<u64> = all.iter().copied().filter(|index| index % 2 == 0).collect();
                assert_eq!(found(&db, 2, (from, u64::MAX), usize::MAX), even);
            }
            assert!(found(&db, 3, (0, u64::MAX), usize::MAX).is_empty());
        }
    }

    #[test]
    fn tags_that_a_former_release_put_into_the_table_hide_none_in_the_lists() {
        let (_dir, db, _) = grown(&[9, 3]);
        let mut out = WriteBatch::default();
        for index in [10, 12, 13] {
            db.put(&mut out, Family::ByTag, &tag_key(&[1; 16], index), &[]).unwrap();
        }
        db.write(out).unwrap();
        assert_eq!(found(&db, 1, (0, u64::MAX), usize::MAX), (0..14).collect::<Vec<_>>());
        assert_eq!(found(&db, 1, (0, u64::MAX), 11), (0..11).collect::<Vec<_>>());
    }

    #[test]
    fn lists_move_into_the_table_and_go() {
        let (_dir, db, size) = grown(&[5, 5, 5, 2]);
        let mut kept = (0, 0);
        db.scan(Family::Meta, &list_key(0), &list_key(u64::MAX), |_, list| {
            kept.0 += list.len() / 28;
            Ok(true)
        })
        .unwrap();
        db.scan(Family::ByTag, &tag_key(&[1; 16], 0), &tag_key(&[1; 16], u64::MAX), |_, _| {
            kept.1 += 1;
            Ok(true)
        })
        .unwrap();
        assert_eq!((size, kept), (17, (0, 17)), "16 and with it what came in the same batch");
    }
}
