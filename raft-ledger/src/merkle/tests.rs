use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use tlog_tiles::tlog;

use super::*;
use crate::types::LedgerError;

#[derive(Default)]
struct Store(RefCell<BTreeMap<TileKey, Vec<u8>>>);

impl TileReader for Store {
    fn tile(&self, key: TileKey) -> Result<Option<Vec<u8>>, LedgerError> {
        Ok(self.0.borrow().get(&key).cloned())
    }
}

/// RFC 6962 §2.1 as written, the slow way.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        _ => {
            let mut k = 1;
            while k * 2 < leaves.len() {
                k *= 2;
            }
            node_hash(&mth(&leaves[..k]), &mth(&leaves[k..]))
        }
    }
}

fn grown(size: u64, per_batch: u64) -> (Tree, Store, Vec<Hash>) {
    let (mut tree, store, mut leaves) = (Tree::default(), Store::default(), Vec::new());
    for i in 0..size {
        let hash = leaf_hash(&i.to_be_bytes());
        assert_eq!(tree.append(hash), i);
        leaves.push(hash);
        if i % per_batch == per_batch - 1 || i + 1 == size {
            store.0.borrow_mut().extend(tree.take_writes());
        }
    }
    (tree, store, leaves)
}

/// The vectors that Certificate Transparency implementations share (certificate-transparency-go, "inputs").
#[test]
fn roots_are_those_of_certificate_transparency() {
    let leaves =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut tree = Tree::default();
    assert_eq!(hex::encode(tree.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (leaf, root) in leaves.iter().zip(roots) {
        tree.append(leaf_hash(&hex::decode(leaf).unwrap()));
        assert_eq!(hex::encode(tree.root()), root);
    }
}

#[test]
fn paths_are_those_of_tlog_tiles() {
    let key = |level, index| TileKey { level, index };
    assert_eq!(key(0, 0).path(256), "tile/0/000");
    assert_eq!(key(0, 1_234_067).path(256), "tile/0/x001/x234/067");
    assert_eq!(key(1, 273).path(5), "tile/1/273.p/5");
    assert_eq!(key(0, 70_000 / 256).width(70_000), 70_000 % 256);
    assert_eq!(key(1, 1).width(70_000), 273 - 256);
    assert_eq!(key(9, 0).width(u64::MAX), 0);
    assert_eq!(TileKey::decode(&key(3, 9).encode()), Some(key(3, 9)));
    assert_eq!(TileKey::decode(b"short"), None);
}

#[test]
fn a_tree_of_three_tile_levels_loads_and_proves() {
    let size = 256 * 256 + 256 * 3 + 7;
    let (tree, store, leaves) = grown(size, 1000);
    assert_eq!(tree.root(), mth(&leaves));
    let mut again = Tree::load(size, &store).unwrap();
    assert_eq!(again.root(), tree.root());
    assert_eq!(again.append([7; 32]), size);
    for old in [1, 255, 256, 257, 65_535, 65_536, 65_537, size - 1, size] {
        let old_root = mth(&leaves[..old as usize]);
        assert_eq!(root_at(&store, old).unwrap(), old_root, "{old}");
        let proof = consistency_proof(&store, old, size).unwrap();
        assert!(verify_consistency(old, size, &proof, &old_root, &tree.root()), "{old}");
        let path = inclusion_proof(&store, old - 1, size).unwrap();
        assert!(verify_inclusion(&leaves[old as usize - 1], old - 1, size, &path, &tree.root()), "{old}");
    }
}

#[test]
fn a_missing_or_short_tile_is_damage_and_no_panic() {
    let (_, store, _) = grown(700, 64);
    store.0.borrow_mut().get_mut(&TileKey { level: 0, index: 2 }).unwrap().truncate(33);
    assert!(matches!(Tree::load(700, &store), Err(LedgerError::Damaged(_))));
    assert!(matches!(inclusion_proof(&store, 600, 700), Err(LedgerError::Damaged(_))));
    assert!(matches!(inclusion_proof(&store, 700, 700), Err(LedgerError::Config(_))));
    assert!(matches!(consistency_proof(&store, 701, 700), Err(LedgerError::Config(_))));
}

/// The same tree in the tlog_tiles crate, a translation of Go's golang.org/x/mod/sumdb/tlog.
struct Theirs(Vec<tlog::Hash>);

impl tlog::HashReader for Theirs {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
    }
}

#[test]
fn an_unrelated_implementation_agrees() {
    let size = 600;
    let (tree, store, leaves) = grown(size, 77);
    let mut theirs = Theirs(Vec::new());
    for (n, leaf) in (0..).zip(&leaves) {
        let hashes = tlog::stored_hashes_for_record_hash(n, tlog::Hash(*leaf), &theirs).unwrap();
        theirs.0.extend(hashes);
    }
    assert_eq!(tlog::tree_hash(size, &theirs).unwrap().0, tree.root());
    let bytes = |hashes: Vec<tlog::Hash>| hashes.into_iter().map(|hash| hash.0).collect::<Vec<_>>();
    for n in 0..size {
        let proof = bytes(tlog::prove_record(size, n, &theirs).unwrap());
        assert_eq!(inclusion_proof(&store, n, size).unwrap(), proof);
        let proof = bytes(tlog::prove_tree(size, n + 1, &theirs).unwrap());
        assert_eq!(consistency_proof(&store, n + 1, size).unwrap(), proof);
    }
    for tile in tlog_tiles::Tile::new_tiles(8, 0, size) {
        let key = TileKey { level: tile.level(), index: tile.level_index() };
        assert_eq!(format!("tile/8/{}", key.path(key.width(size)).trim_start_matches("tile/")), tile.path());
        assert_eq!(store.tile(key).unwrap().unwrap(), tile.read_data(&theirs).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn proofs_hold_and_no_other_does(size in 1u64..900, a in any::<u64>(), b in any::<u64>(), per_batch in 1u64..300) {
        let (tree, store, leaves) = grown(size, per_batch);
        let root = mth(&leaves);
        prop_assert_eq!(tree.root(), root);
        let reloaded = Tree::load(size, &store).unwrap();
        prop_assert_eq!(reloaded.root(), root);

        let index = a % size;
        let path = inclusion_proof(&store, index, size).unwrap();
        prop_assert!(verify_inclusion(&leaves[index as usize], index, size, &path, &root));
        prop_assert!(!verify_inclusion(&[9; 32], index, size, &path, &root));
        prop_assert!(!verify_inclusion(&leaves[index as usize], index ^ 1, size, &path, &root) || size == 1);

        let old = b % size + 1;
        let old_root = mth(&leaves[..old as usize]);
        let proof = consistency_proof(&store, old, size).unwrap();
        prop_assert!(verify_consistency(old, size, &proof, &old_root, &root));
        prop_assert!(!verify_consistency(old, size, &proof, &[9; 32], &root));
        prop_assert!(!verify_consistency(old, size, &proof, &old_root, &[9; 32]));
        let mut longer = proof.clone();
        longer.push([1; 32]);
        prop_assert!(!verify_consistency(old, size, &longer, &old_root, &root));
    }

    #[test]
    fn verifying_anything_never_panics(
        index in any::<u64>(), size in any::<u64>(), old in any::<u64>(),
        proof in prop::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        prop_assert!(!verify_inclusion(&[1; 32], index, size, &proof, &[2; 32]));
        prop_assert!(!verify_consistency(old, size, &proof, &[1; 32], &[2; 32]) );
    }
}
