//! A damaged `ledgerdb` is made again without a person: from this site's own last snapshot, or from nothing where the
//! raft log still begins at the beginning, or from what a peer has applied; the raft log, which is whole, brings what
//! came after. What was damaged is set aside: never served,
//! never signed for.
//!
//! All of it before consensus starts, so that this site neither votes nor answers meanwhile.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::apply::check_admissions;
use crate::blocking;
use crate::cold::Cold;
use crate::config::Config;
use crate::keys::KeyRing;
use crate::merkle::root_at;
use crate::network::{Landing, Peers};
use crate::raft::LogId;
use crate::standing::Standing;
use crate::store::LogStore;
use crate::store::applied::{load_applied, load_tree};
use crate::store::damage::marked;
use crate::store::generation::Generation;
use crate::store::ledger_store::LedgerStore;
use crate::store::recompute::{Payloads, check_whole};
use crate::store::replace::{Room, replace};
use crate::{CosignedCheckpoint, LedgerError};

/// Before the peers are asked again.
const PAUSE: Duration = Duration::from_secs(3);

/// A site whose ledger is being made again.
#[derive(Clone, Copy, Debug)]
pub struct Healing<'a> {
    /// What was found wrong.
    pub damage: &'a str,
    /// Why the other sites do not help, and what to do about it; `None`: nothing stands against it.
    pub notice: Option<&'a str>,
}

/// What a ledger must agree with to become this site's.
#[derive(Clone)]
struct Demands {
    /// The raft log begins behind it.
    purged: Option<LogId>,
    /// It holds every entry that there ever was.
    log_is_complete: bool,
    cosigned: Option<CosignedCheckpoint>,
    /// Whom its sites must be admitted by.
    ring: Arc<KeyRing>,
}

/// Opens the ledger of the site, or makes it again. `tell` hears why before that begins, and again when the others do
/// not let this site in.
///
/// # Errors
/// `Damaged` where nobody can help: a site alone whose own snapshot is damaged, too.
pub(crate) async fn open_ledger(
    config: &Config,
    ring: &Arc<KeyRing>,
    log: &LogStore,
    cosigned: Option<CosignedCheckpoint>,
    peers: impl FnOnce() -> Result<(Peers, Arc<Standing>), LedgerError>,
    tell: impl Fn(Healing<'_>),
) -> Result<Arc<LedgerStore>, LedgerError> {
    let ledgerdb = config.data.join("ledgerdb");
    let demands =
        Demands { purged: log.purged(), log_is_complete: log.is_complete(), cosigned, ring: ring.clone() };
    let cold = Cold::open(config.cold_dir.as_deref(), &config.data);
    let why = match open_whole(&ledgerdb, &cold, &demands) {
        Ok(store) => return Ok(Arc::new(store)),
        Err(LedgerError::Damaged(why)) => why,
        Err(other) => return Err(other),
    };
    tracing::error!(damage = %why, "the ledger database of this site is damaged; healing it");
    tell(Healing { damage: &why, notice: None });
    let room = Room::open(&config.data)?;
    let (own, wanted) = (room.clone(), demands.clone());
    let (found, useless) = blocking::attempt(move || from_here(&own, &wanted)).await?;
    let found = match found {
        Some(found) => found,
        None if config.peers.is_empty() => return alone(&ledgerdb, &cold, &why),
        None => {
            let (peers, standing) = peers()?;
            let refused = |notice: Option<&str>| tell(Healing { damage: &why, notice });
            from_peers(&room, &peers, &demands, || notice(&standing, config), refused).await
        }
    };
    let aside = replace(&room, &found)?;
    // Consensus would install them over the ledger that was made, or send them to others. Not before there is one: they
    // may be all that is left.
    useless.iter().try_for_each(|snapshot| room.remove(snapshot))?;
    let store = open_whole(&ledgerdb, &cold, &demands)?;
    let aside = aside.map(|path| path.display().to_string());
    tracing::warn!(?aside, "the ledger database of this site is whole again; the damaged one was set aside");
    Ok(Arc::new(store))
}

/// Finds what a start can find without reading everything.
fn open_whole(ledgerdb: &Path, cold: &Arc<Cold>, demands: &Demands) -> Result<LedgerStore, LedgerError> {
    if let Some(why) = marked(ledgerdb)? {
        return Err(LedgerError::Damaged(why));
    }
    let store = LedgerStore::open(ledgerdb, cold.clone())?;
    let db = store.generation();
    let applied = load_applied(&db)?;
    load_tree(&db, &applied)?;
    check_admissions(&db, &demands.ring)?;
    demands.reach(applied.last.as_ref())?;
    Ok(store)
}

impl Demands {
    fn reach(&self, last: Option<&LogId>) -> Result<(), LedgerError> {
        match &self.purged {
            Some(purged) if last < Some(purged) => Err(LedgerError::Damaged(format!(
                "the ledger ends before entry {}, with which the raft log begins",
                purged.index + 1
            ))),
            _ => Ok(()),
        }
    }

    /// Reads everything: whole, long enough, without sites that nobody has admitted, and of the history that this site
    /// knows to be cosigned. Blocks.
    fn check(&self, path: &Path) -> Result<(), LedgerError> {
        let applied = check_whole(path, Payloads::InDatabase, &mut |_| ())?;
        let db = Generation::open_read_only(path)?;
        check_admissions(&db, &self.ring)?;
        self.reach(applied.last.as_ref())?;
        let Some(known) = self.cosigned.as_ref().filter(|known| known.size <= applied.size) else {
            return Ok(());
        };
        if root_at(&db, known.size)? != known.root {
            return Err(LedgerError::Damaged(format!(
                "its root at size {} is not the one that a majority has cosigned",
                known.size
            )));
        }
        Ok(())
    }
}

/// The newest of this site's snapshots that is whole, or an empty ledger before a log of everything; and the snapshots
/// that are damaged. Blocks.
fn from_here(room: &Room, demands: &Demands) -> Result<(Option<PathBuf>, Vec<PathBuf>), LedgerError> {
    let mut useless = Vec::new();
    for snapshot in room.snapshots()? {
        let copy = room.copy(&snapshot)?;
        let Err(error) = demands.check(&copy) else { return Ok((Some(copy), useless)) };
        tracing::warn!(%error, path = %snapshot.display(), "a snapshot that is of no use");
        room.remove(&copy)?;
        if let LedgerError::Damaged(_) = error {
            useless.push(snapshot);
        }
    }
    if !demands.log_is_complete {
        return Ok((None, useless));
    }
    let path = room.new_path("i");
    Generation::open(&path)?.flush()?;
    Ok((Some(path), useless))
}

/// For the operator of a site that the others do not let in. One that is no member, or is one no longer under this raft
/// log, gets nothing from them: it can only join as a new node, for which it must run.
fn notice(standing: &Standing, config: &Config) -> Option<String> {
    let why = standing.notice()?;
    if !standing.is_outsider() {
        return Some(why);
    }
    let (data, site) = (config.data.display(), &config.site);
    Some(format!(
        "this site's ledger is damaged, and the other sites do not let it in to heal from them: {why}. Stop it, move \
         `raftdb` and `ledgerdb` out of {data} (and nothing else: its keys and its outbox stay), and start it again: it \
         becomes a new node, which `medulla site add {site}` lets join"
    ))
}

/// Asks one after the other until one of them could help. `tell` hears whenever `notice` is another one.
async fn from_peers(
    room: &Room,
    peers: &Peers,
    demands: &Demands,
    notice: impl Fn() -> Option<String>,
    tell: impl Fn(Option<&str>),
) -> PathBuf {
    let (mut shown, mut told) = (String::new(), None);
    loop {
        let now = notice();
        if now != told {
            tell(now.as_deref());
            told = now;
        }
        for (_, peer) in peers.all() {
            let (path, demands) = (room.new_path("i"), demands.clone());
            let landing = Landing {
                ledgerdb: room.ledgerdb(),
                part: room.new_path("p"),
                path: path.clone(),
                dirs: room.databases(),
            };
            match peer.fetch_ledger(landing, move |path| demands.check(path)).await {
                Ok(snapshot) => {
                    snapshot.keep(true);
                    return path;
                }
                Err(error) if error.to_string() != shown => {
                    tracing::warn!(%error, site = %peer.name, "this site cannot heal from there yet");
                    shown = error.to_string();
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Nobody can help. What can be opened goes on, and what is damaged of it is refused when it is read.
fn alone(ledgerdb: &Path, cold: &Arc<Cold>, why: &str) -> Result<Arc<LedgerStore>, LedgerError> {
    let store = LedgerStore::open(ledgerdb, cold.clone());
    let usable = store.and_then(|store| load_applied(&store.generation()).map(|_| store));
    match usable {
        Ok(store) if marked(ledgerdb)?.is_some() => {
            tracing::error!(
                "this site has no peers to heal from and goes on with what can be read; stop it, move `ledgerdb` \
                 away, and run `medulla ledger restore`"
            );
            Ok(Arc::new(store))
        }
        _ => Err(LedgerError::Damaged(format!(
            "{why}; this site has no peers to heal from: run `medulla ledger restore` with its newest backup, the \
             raft log brings what came after"
        ))),
    }
}
