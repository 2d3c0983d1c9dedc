//! Damage to databases: blocks that can no longer be read, which RocksDB finds by their checksums, and leaves and
//! payloads that are others, or gone, without any sign.

use std::path::PathBuf;

use super::{Change, Database, Disks, Image, State, dir, with};
use crate::sim::chance::{one_in, within};
use crate::store::generation::Family;

/// In an image that is sent: what the tables of its damage are called.
const UNREADABLE: &str = "unreadable";
const ALTERED: &str = "altered";

/// A value of a family.
type Place = (&'static str, Vec<u8>);

#[derive(Clone, Default)]
pub(super) struct Damage {
    unreadable: std::collections::BTreeSet<Place>,
    altered: std::collections::BTreeSet<Place>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Unreadable,
    Flipped,
    Gone,
}

impl Damage {
    fn is_none(&self) -> bool {
        self.unreadable.is_empty() && self.altered.is_empty()
    }

    /// What is written anew is whole.
    pub(super) fn forget(&mut self, change: &Change) {
        if self.is_none() {
            return;
        }
        let kept = |(family, key): &Place| match change {
            Change::Put { family: of, key: put, .. } => (of, put) != (family, key),
            Change::Delete { family: of, from, to } => of != family || key < from || key >= to,
        };
        self.unreadable.retain(kept);
        self.altered.retain(kept);
    }

    /// As it travels with an image.
    pub(super) fn pack(&self, image: &mut Image) {
        for (name, places) in [(UNREADABLE, &self.unreadable), (ALTERED, &self.altered)] {
            for (family, key) in places {
                let place = [family.as_bytes(), &[0], key].concat();
                image.entry(name).or_default().insert(place, Vec::new());
            }
        }
    }

    /// Of an image that was sent with the table `name`.
    pub(super) fn unpack(&mut self, name: &str, table: &super::Table) {
        let places = match name {
            UNREADABLE => &mut self.unreadable,
            ALTERED => &mut self.altered,
            _ => return,
        };
        for place in table.keys() {
            let Some(end) = place.iter().position(|byte| *byte == 0) else { continue };
            let family = Family::names().into_iter().find(|family| family.as_bytes() == &place[..end]);
            places.extend(family.map(|family| (family, place[end + 1..].to_vec())));
        }
    }
}

impl State {
    /// Whether the value on the disk is.
    pub(super) fn is_damaged(&self, family: &'static str, key: &[u8]) -> bool {
        !self.damage.unreadable.is_empty() && self.damage.unreadable.contains(&(family, key.to_vec()))
    }

    /// Whether a damaged value between these keys is there no more but on the disk.
    pub(super) fn damaged_and_gone(&self, family: &str, from: &[u8], to: &[u8]) -> bool {
        let table = self.current.get(family);
        self.damage.unreadable.iter().any(|(of, key)| {
            let is_between = *of == family && from <= key.as_slice() && key.as_slice() < to;
            is_between && table.is_none_or(|table| !table.contains_key(key))
        }) && !with(|disks| disks.serves_damaged)
    }

    /// Whether a value stands there that was written since.
    pub(super) fn is_newer(&self, family: &str, key: &[u8]) -> bool {
        self.durable_value(family, key) != self.current.get(family).and_then(|table| table.get(key))
    }

    fn durable_value(&self, family: &str, key: &[u8]) -> Option<&Vec<u8>> {
        self.durable.get(family)?.get(key)
    }

    /// What files of this moment hold of it.
    pub(super) fn current_damage(&self) -> Damage {
        let mut damage = self.damage.clone();
        damage.unreadable.retain(|(family, key)| !self.is_newer(family, key));
        damage
    }

    fn harm(&mut self, (family, key): &Place, kind: Kind, at: u64) {
        let place = (*family, key.clone());
        match kind {
            Kind::Unreadable => {
                self.damage.unreadable.insert(place);
                return;
            }
            Kind::Flipped | Kind::Gone => drop(self.damage.altered.insert(place)),
        }
        for image in [&mut self.durable, &mut self.current] {
            let Some(table) = image.get_mut(family) else { continue };
            match (kind, table.get_mut(key)) {
                (Kind::Flipped, Some(value)) if !value.is_empty() => {
                    let at = at as usize % value.len();
                    value[at] ^= 1 << (at % 8);
                }
                _ => drop(table.remove(key)),
            }
        }
    }
}

impl Disks {
    /// The ledger's database that a site uses.
    fn current(&self, site: usize) -> Option<(PathBuf, &Database)> {
        let (tree, ledgerdb) = (self.trees.get(&site)?, dir(site).join("ledgerdb"));
        let name = std::str::from_utf8(tree.files.get(&ledgerdb.join("CURRENT"))?).ok()?;
        let path = ledgerdb.join(name.trim());
        let found = tree.databases.get(&path)?;
        Some((path, found))
    }
}

/// Something that the ledger's database has on the disk is damaged, here and where else its files are linked. What, in
/// words.
pub(in crate::sim) fn damage(site: usize) -> Option<String> {
    let kind = match within(0..4) {
        0 => Kind::Flipped,
        1 => Kind::Gone,
        _ => Kind::Unreadable,
    };
    let families = match kind {
        Kind::Unreadable => Family::names().to_vec(),
        // RocksDB vouches for what no hash in the ledger stands for.
        Kind::Flipped | Kind::Gone => vec!["events", "blobs"],
    };
    let family = families[within(0..families.len() as u64) as usize];
    let (nth, at, is_shared) = (within(0..1 << 32), within(0..1 << 32), one_in(2));
    with(|disks| {
        let (path, current) = disks.current(site)?;
        let (key, value) = {
            let state = current.lock();
            let table = state.durable.get(family).filter(|table| !table.is_empty())?;
            let (key, value) = table.iter().nth(nth as usize % table.len())?;
            let is_there = state.current.get(family).and_then(|table| table.get(key)) == Some(value);
            is_there.then(|| (key.clone(), value.clone()))?
        };
        let place = (family, key);
        let below = dir(site).join("ledgerdb");
        for (other, database) in &disks.trees.get(&site)?.databases {
            let mut state = database.lock();
            let is_linked = is_shared && other.starts_with(&below);
            if (other == &path || is_linked) && state.durable_value(family, &place.1) == Some(&value) {
                state.harm(&place, kind, at);
            }
        }
        Some(format!(
            "{kind:?} {family} {}{}",
            hex::encode(&place.1),
            if is_shared { ", in snapshots, too" } else { "" }
        ))
    })
}

/// Whether the site's ledger database is what was written, as far as anybody knows.
pub(in crate::sim) fn is_whole(site: usize) -> bool {
    with(|disks| {
        let is_marked = disks
            .trees
            .get(&site)
            .is_some_and(|tree| tree.files.contains_key(&dir(site).join("ledgerdb").join("DAMAGED")));
        let is_damaged = disks.current(site).is_some_and(|(_, current)| !current.lock().damage.is_none());
        !is_marked && !is_damaged
    })
}

/// What is damaged in the site's ledger database, in words.
pub(in crate::sim) fn damaged_places(site: usize) -> Vec<String> {
    with(|disks| {
        let damage =
            disks.current(site).map(|(_, current)| current.lock().damage.clone()).unwrap_or_default();
        let places = damage.unreadable.iter().chain(&damage.altered);
        places.map(|(family, key)| format!("{family} {}", hex::encode(key))).collect()
    })
}
