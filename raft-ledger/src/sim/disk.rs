//! The sites' disks, in memory: what was not synced is lost with the power, from a random write on.
//!
//! Paths are `sim/<site>/…`. Changes to directories (make, rename, remove) are durable at once.

mod damage;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) use self::damage::{damage, damaged_places, is_whole};

use self::damage::Damage;
use super::chance::{chance, one_in, within};
use crate::store::db::KeyValue;

const ROOT: &str = "sim";
/// The one file that a database is when it is sent as a snapshot.
const IMAGE: &str = "image";

thread_local! {
    static DISKS: RefCell<Option<Disks>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Disks {
    trees: BTreeMap<usize, Tree>,
    /// Sites without power: as their disks were when it went.
    dead: BTreeMap<usize, Tree>,
    /// The power goes at the step that makes this zero.
    steps_left: BTreeMap<usize, u64>,
    sync_ms_max: u64,
    damaged_image: f64,
    /// Planted: see [`super::Plant::DamagedBlocksServed`].
    serves_damaged: bool,
    steps: u64,
}

#[derive(Clone, Default)]
struct Tree {
    databases: BTreeMap<PathBuf, Database>,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

type Table = BTreeMap<Vec<u8>, Vec<u8>>;
type Image = BTreeMap<&'static str, Table>;
/// What cannot be read says why.
type Read<T> = Result<T, String>;

/// One change of a [`crate::store::db::WriteBatch`].
#[derive(Clone)]
pub(crate) enum Change {
    Put { family: &'static str, key: Vec<u8>, value: Vec<u8> },
    Delete { family: &'static str, from: Vec<u8>, to: Vec<u8> },
}

impl Change {
    pub(crate) fn put(family: &'static str, key: &[u8], value: &[u8]) -> Change {
        Change::Put { family, key: key.to_vec(), value: value.to_vec() }
    }

    pub(crate) fn delete(family: &'static str, from: &[u8], to: &[u8]) -> Change {
        Change::Delete { family, from: from.to_vec(), to: to.to_vec() }
    }

    fn make(&self, image: &mut Image) {
        match self {
            Change::Put { family, key, value } => {
                image.entry(family).or_default().insert(key.clone(), value.clone());
            }
            Change::Delete { family, from, to } => {
                let table = image.entry(family).or_default();
                let gone: Vec<_> =
                    table.range(from.clone()..to.clone()).map(|(key, _)| key.clone()).collect();
                gone.iter().for_each(|key| drop(table.remove(key)));
            }
        }
    }
}

/// A handle on a database in memory.
#[derive(Clone)]
pub(crate) struct Database {
    site: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Default)]
struct State {
    /// What a power cut leaves for certain.
    durable: Image,
    /// What readers see.
    current: Image,
    /// What a power cut may take, from some write on to the last.
    unsynced: Vec<Vec<Change>>,
    /// Dedupe keys of lower indices may be dropped from what is durable.
    compaction: Option<(&'static str, Arc<AtomicU64>)>,
    /// Of what is durable.
    damage: Damage,
}

pub(super) fn begin(sites: usize, serves_damaged: bool) {
    let trees = (0..sites).map(|site| (site, Tree::default())).collect();
    DISKS.set(Some(Disks { trees, serves_damaged, ..Disks::default() }));
}

pub(super) fn end() {
    DISKS.set(None);
}

fn with<T>(f: impl FnOnce(&mut Disks) -> T) -> T {
    DISKS.with_borrow_mut(|disks| f(disks.get_or_insert_with(Disks::default)))
}

pub(super) fn dir(site: usize) -> PathBuf {
    Path::new(ROOT).join(site.to_string())
}

fn site_of(path: &Path) -> usize {
    let site = path.components().nth(1).and_then(|name| name.as_os_str().to_str()?.parse().ok());
    site.unwrap_or_default()
}

fn in_tree<T>(path: &Path, f: impl FnOnce(&mut Tree) -> T) -> T {
    with(|disks| f(disks.trees.entry(site_of(path)).or_default()))
}

/// Whether the path is on a simulated disk.
pub(crate) fn holds(path: &Path) -> bool {
    DISKS.with_borrow(Option::is_some) && path.starts_with(ROOT)
}

// ---- What the plan of faults does.

/// How long the next sync takes.
pub(crate) fn sync_time() -> Duration {
    let most = with(|disks| disks.sync_ms_max);
    Duration::from_millis(if one_in(20) { within(0..10 * most + 1) } else { within(0..most + 1) })
}

pub(super) fn set_sync_ms_max(most: u64) {
    with(|disks| disks.sync_ms_max = most);
}

/// How often a snapshot that is read is another than was written.
pub(super) fn set_damaged_image(probability: f64) {
    with(|disks| disks.damaged_image = probability);
}

/// The site's power goes at its disk's next but `steps`th step.
pub(super) fn cut_after(site: usize, steps: u64) {
    with(|disks| disks.steps_left.insert(site, steps));
}

pub(super) fn is_dead(site: usize) -> bool {
    DISKS.with_borrow(|disks| disks.as_ref().is_some_and(|disks| disks.dead.contains_key(&site)))
}

/// Steps of all disks so far.
pub(super) fn steps() -> u64 {
    with(|disks| disks.steps)
}

/// From here on nothing that the site does reaches its disk.
pub(super) fn cut_power(site: usize) {
    with(|disks| disks.cut_power(site));
}

impl Disks {
    fn cut_power(&mut self, site: usize) {
        self.steps_left.remove(&site);
        if !self.dead.contains_key(&site) {
            let mut kept = self.trees.get(&site).cloned().unwrap_or_default();
            for database in kept.databases.values_mut() {
                let state = database.lock().clone();
                *database = Database { site, state: Arc::new(Mutex::new(state)) };
            }
            self.dead.insert(site, kept);
        }
    }

    /// One step of a disk, after which the power may go.
    fn step(&mut self, site: usize) {
        self.steps += 1;
        let Some(left) = self.steps_left.get_mut(&site) else { return };
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.cut_power(site);
        }
    }
}

/// The power is back: what was synced is there, and of the rest a part that ends at a random write.
pub(super) fn restore_power(site: usize) {
    with(|disks| {
        let Some(kept) = disks.dead.remove(&site) else { return };
        for database in kept.databases.values() {
            let mut state = database.lock();
            let survive = match within(0..4) {
                0 => 0,
                1 => state.unsynced.len(),
                _ => within(0..state.unsynced.len() as u64 + 1) as usize,
            };
            state.sync(survive);
            state.unsynced.clear();
            state.current = state.durable.clone();
            state.compaction = None;
        }
        disks.trees.insert(site, kept);
    });
}

/// A new disk, with nothing on it. The site must be without power.
pub(super) fn wipe(site: usize) {
    with(|disks| disks.trees.remove(&site));
}

/// What RocksDB does on its own: flushes, and drops what its compaction filter no longer wants.
pub(super) fn background(site: usize) {
    let databases: Vec<Database> =
        with(|disks| disks.trees.get(&site).map(|tree| tree.databases.values().cloned().collect()))
            .unwrap_or_default();
    for database in databases {
        if one_in(2) {
            let mut state = database.lock();
            let upto = within(0..state.unsynced.len() as u64 + 1) as usize;
            state.sync(upto);
        }
        database.lock().compact();
    }
}

// ---- Databases.

impl Database {
    pub(crate) fn open(path: &Path) -> Result<Database, String> {
        Ok(in_tree(path, |tree| match tree.database(path) {
            Some(found) => found,
            None => {
                let fresh = Database { site: site_of(path), state: Arc::default() };
                tree.databases.insert(path.to_owned(), fresh.clone());
                fresh
            }
        }))
    }

    pub(crate) fn open_read_only(path: &Path) -> Result<Database, String> {
        let found = in_tree(path, |tree| tree.database(path));
        found.ok_or_else(|| format!("{}: no database", path.display()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn compact_by(&self, family: &'static str, floor: Arc<AtomicU64>) {
        self.lock().compaction = Some((family, floor));
    }

    pub(crate) fn get(&self, family: &'static str, key: &[u8]) -> Read<Option<Vec<u8>>> {
        let state = self.lock();
        let found = state.current.get(family).and_then(|table| table.get(key));
        found.map(|value| state.read(family, key, value, false)).transpose()
    }

    pub(crate) fn range(&self, family: &'static str, from: &[u8], to: &[u8]) -> Vec<Read<KeyValue>> {
        let state = self.lock();
        let Some(table) = state.current.get(family).filter(|_| from < to) else { return Vec::new() };
        let found = table.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        let found = found
            .map(|(key, value)| Ok((key.as_slice().into(), state.read(family, key, value, true)?.into())));
        // A value that was deleted since is passed over, too.
        let gone = state.damaged_and_gone(family, from, to).then(|| Err(mismatch(family)));
        gone.into_iter().chain(found).collect()
    }

    pub(crate) fn last(&self, family: &'static str, upto: &[u8]) -> Read<Option<KeyValue>> {
        let state = self.lock();
        let Some(table) = state.current.get(family) else { return Ok(None) };
        let found = table.range::<[u8], _>((Bound::Unbounded, Bound::Included(upto))).next_back();
        // As in `range`: what was deleted behind the value that is found.
        if state.damaged_and_gone(family, found.map_or(&[], |(key, _)| key), upto) {
            return Err(mismatch(family));
        }
        let Some((key, value)) = found else { return Ok(None) };
        Ok(Some((key.as_slice().into(), state.read(family, key, value, true)?.into())))
    }

    pub(crate) fn write(&self, changes: Vec<Change>) {
        {
            let mut state = self.lock();
            changes.iter().for_each(|change| change.make(&mut state.current));
            state.unsynced.push(changes);
        }
        with(|disks| disks.step(self.site));
    }

    pub(crate) fn sync(&self) {
        // Before it has happened, or after.
        if one_in(2) {
            with(|disks| disks.step(self.site));
        }
        if !is_dead(self.site) {
            let mut state = self.lock();
            let all = state.unsynced.len();
            state.sync(all);
        }
        with(|disks| disks.step(self.site));
    }

    pub(crate) fn checkpoint(&self, path: &Path) {
        self.sync();
        let (current, damage) = {
            let state = self.lock();
            (state.current.clone(), state.current_damage())
        };
        let state = State { durable: current.clone(), current, damage, ..State::default() };
        let made = Database { site: self.site, state: Arc::new(Mutex::new(state)) };
        in_tree(path, |tree| tree.databases.insert(path.to_owned(), made));
        with(|disks| disks.step(self.site));
    }

    /// As it is sent; now and then with a wrong byte in a leaf.
    fn image(&self) -> Vec<u8> {
        let mut image = {
            let state = self.lock();
            let mut image = state.current.clone();
            state.current_damage().pack(&mut image);
            image
        };
        let mut damaged = chance(with(|disks| disks.damaged_image));
        // Few seeds install a snapshot at all: whoever looks for this one damages each.
        damaged |= super::planted(super::Plant::SkippedRootCheck);
        if let Some(events) = image.get_mut("events").filter(|events| damaged && !events.is_empty()) {
            let nth = within(0..events.len() as u64) as usize;
            if let Some(byte) = events.values_mut().nth(nth).and_then(|leaf| leaf.last_mut()) {
                *byte ^= 1;
            }
        }
        rmp_serde::to_vec(&image).unwrap_or_default()
    }
}

fn mismatch(family: &str) -> String {
    format!("Corruption: block checksum mismatch in {family}")
}

impl State {
    fn sync(&mut self, upto: usize) {
        let (durable, damage) = (&mut self.durable, &mut self.damage);
        for change in self.unsynced.drain(..upto).flatten() {
            change.make(durable);
            damage.forget(&change);
        }
    }

    /// As RocksDB, which checks the checksum of whatever it reads. One that `passes` over many keys also reads the
    /// damaged block of a value whose newer one is still in memory; whoever asks for the key alone does not.
    fn read(&self, family: &'static str, key: &[u8], value: &[u8], passes: bool) -> Read<Vec<u8>> {
        let (is_damaged, is_newer) = (self.is_damaged(family, key), self.is_newer(family, key));
        if !is_damaged || (is_newer && !passes) {
            return Ok(value.to_vec());
        }
        match with(|disks| disks.serves_damaged) {
            false => Err(mismatch(family)),
            true if is_newer => Ok(value.to_vec()),
            true => Ok(value.iter().map(|byte| byte ^ 1).collect()),
        }
    }

    fn compact(&mut self) {
        let Some((family, floor)) = &self.compaction else { return };
        let floor = floor.load(Ordering::Relaxed);
        let old = |value: &[u8]| value.first_chunk::<8>().is_some_and(|b| u64::from_be_bytes(*b) < floor);
        let Some(table) = self.durable.get_mut(family) else { return };
        let gone: Vec<_> = table.iter().filter(|(_, value)| old(value)).map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.damage.forget(&Change::put(family, &key, &[]));
            let dropped = table.remove(&key);
            // A newer value of the key, not flushed yet, stays.
            let Some(seen) = self.current.get_mut(family) else { continue };
            if seen.get(&key) == dropped.as_ref() {
                seen.remove(&key);
            }
        }
    }
}

impl Tree {
    /// The database at `path`; one that came in as a file is unpacked.
    fn database(&mut self, path: &Path) -> Option<Database> {
        if let Some(found) = self.databases.get(path) {
            return Some(found.clone());
        }
        let sent: BTreeMap<String, Table> = rmp_serde::from_slice(self.files.get(&path.join(IMAGE))?).ok()?;
        let names = super::families();
        let known = |name: String| names.iter().find(|known| **known == name).copied();
        let mut damage = Damage::default();
        sent.iter().for_each(|(name, table)| damage.unpack(name, table));
        let image: Image = sent.into_iter().filter_map(|(name, table)| Some((known(name)?, table))).collect();
        let state = State { durable: image.clone(), current: image, damage, ..State::default() };
        let found = Database { site: site_of(path), state: Arc::new(Mutex::new(state)) };
        self.databases.insert(path.to_owned(), found.clone());
        Some(found)
    }

    fn entries(&self, dir: &Path) -> BTreeSet<PathBuf> {
        let paths = self.databases.keys().chain(self.files.keys());
        let below = paths.filter_map(|path| path.strip_prefix(dir).ok()?.components().next());
        below.map(|name| dir.join(name)).collect()
    }
}

// ---- Files and directories.

pub(crate) fn entries(dir: &Path) -> Vec<PathBuf> {
    in_tree(dir, |tree| tree.entries(dir).into_iter().collect())
}

pub(crate) fn is_dir(dir: &Path) -> bool {
    in_tree(dir, |tree| tree.databases.contains_key(dir) || !tree.entries(dir).is_empty())
}

pub(crate) fn rename(from: &Path, to: &Path) {
    fn moved<T>(all: &mut BTreeMap<PathBuf, T>, from: &Path, to: &Path) {
        let paths: Vec<PathBuf> = all.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in paths {
            if let (Some(value), Ok(rest)) = (all.remove(&path), path.strip_prefix(from)) {
                let path = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
                all.insert(path, value);
            }
        }
    }
    in_tree(from, |tree| {
        moved(&mut tree.databases, from, to);
        moved(&mut tree.files, from, to);
    });
    with(|disks| disks.step(site_of(from)));
}

pub(crate) fn remove_dir(dir: &Path) {
    in_tree(dir, |tree| {
        tree.databases.retain(|path, _| !path.starts_with(dir));
        tree.files.retain(|path, _| !path.starts_with(dir));
    });
    with(|disks| disks.step(site_of(dir)));
}

pub(crate) fn read(path: &Path) -> Option<Vec<u8>> {
    in_tree(path, |tree| tree.files.get(path).cloned())
}

pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let bytes = read(path).ok_or(io::ErrorKind::NotFound)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

pub(crate) fn replace(path: &Path, bytes: &[u8]) {
    in_tree(path, |tree| tree.files.insert(path.to_owned(), bytes.to_vec()));
    with(|disks| disks.step(site_of(path)));
}

pub(crate) fn append(path: &Path, bytes: &[u8]) {
    in_tree(path, |tree| tree.files.entry(path.to_owned()).or_default().extend_from_slice(bytes));
    with(|disks| disks.step(site_of(path)));
}

pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let bytes = read(from).ok_or(io::ErrorKind::NotFound)?;
    replace(to, &bytes);
    Ok(())
}

/// A database's directory as files: one, packed anew each time.
pub(crate) fn sizes(dir: &Path) -> Vec<(String, u64)> {
    let Some(database) = in_tree(dir, |tree| tree.databases.get(dir).cloned()) else { return Vec::new() };
    let image = database.image();
    let size = image.len() as u64;
    in_tree(dir, |tree| tree.files.insert(dir.join(IMAGE), image));
    vec![(IMAGE.to_owned(), size)]
}

pub(crate) fn read_piece(path: &Path, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
    let bytes = read(path).ok_or(io::ErrorKind::NotFound)?;
    let from = (offset as usize).min(bytes.len());
    Ok(bytes[from..bytes.len().min(from + limit)].to_vec())
}
