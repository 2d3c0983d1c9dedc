//! What the ledger says was shredded is done here: at each start for all of it, then as it is applied. So an old
//! image of the key store, put back, brings no key back, and neither does an old image of everything.
//!
//! Apply knows nothing of it: a leaf of kind [`SHRED`] is hashed as any leaf, and every replica has the same root.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::keys::SiteKeys;
use crate::keystore::KeyId;
use crate::record::{Leaf, SiteName};
use crate::seal::Sealer;
use crate::store::applied::load_applied;
use crate::store::ledger_store::LedgerStore;
use crate::store::tags;
use crate::tasks::Tasks;
use crate::{LedgerError, SHRED, Tag};

/// How often the ledger's end is looked at while it grows.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Before a disk that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

pub(crate) struct Shredder {
    store: Arc<LedgerStore>,
    sealer: Arc<Sealer>,
    site: SiteName,
    tag: Tag,
    /// Leaves looked through.
    upto: Mutex<u64>,
}

impl Shredder {
    /// Nothing was read or written yet with a key that the ledger says is gone. Blocks.
    pub(crate) fn open(
        store: Arc<LedgerStore>,
        sealer: Arc<Sealer>,
        keys: &SiteKeys,
    ) -> Result<Arc<Shredder>, LedgerError> {
        let (site, tag) = (keys.site.clone(), keys.index.own_tag("shred"));
        let shredder = Arc::new(Shredder { store, sealer, site, tag, upto: Mutex::new(0) });
        let size = load_applied(&shredder.store.generation())?.size;
        shredder.catch_up(size)?;
        Ok(shredder)
    }

    /// Of every entry of kind [`SHRED`].
    pub(crate) fn tag(&self) -> Tag {
        self.tag
    }

    /// As leaves are applied. Until the ledger closes.
    pub(crate) async fn run(self: Arc<Self>, mut size: watch::Receiver<u64>, tasks: Tasks) {
        while size.changed().await.is_ok() {
            let (shredder, upto) = (self.clone(), *size.borrow_and_update());
            let work = move || shredder.catch_up(upto).and_then(|()| shredder.sealer.settle());
            let pause = match tasks.blocking(work).await {
                None => return,
                Some(Ok(())) => LOOK_EVERY,
                Some(Err(error)) => {
                    tracing::error!(%error, "keys that were shredded are still on this site's disk; trying again");
                    size.mark_changed();
                    RETRY_PAUSE
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Does what the first `size` leaves say, all of them applied here. Blocks.
    ///
    /// # Errors
    /// Keys could not be taken off the disk. They open nothing any more all the same; `Sealer::settle` tries it again.
    pub(crate) fn catch_up(&self, size: u64) -> Result<(), LedgerError> {
        let mut upto = self.upto.lock().unwrap_or_else(PoisonError::into_inner);
        if size <= *upto {
            return Ok(());
        }
        let db = self.store.generation();
        let mut gone: BTreeMap<SiteName, Vec<KeyId>> = BTreeMap::new();
        tags::scan(&db, &self.tag.0, (*upto, size), |index| {
            let leaf = Leaf::decode(db.leaf(index)?.into()).map_err(|error| damaged(index, &error))?;
            if leaf.head.kind != SHRED {
                return Ok(true);
            }
            let payload = self.store.cold().payload(&db, index, &leaf)?;
            let shred = match self.sealer.read_shred(&leaf, payload.into()) {
                Ok(shred) => shred,
                Err(error) if leaf.head.site == self.site => return Err(damaged(index, &error)),
                Err(error) => {
                    tracing::warn!(%error, index, "what another site shredded cannot be read here");
                    return Ok(true);
                }
            };
            gone.entry(leaf.head.site).or_default().extend(shred.keys.iter().map(|(_, id)| *id));
            Ok(true)
        })?;
        *upto = size;
        let mut obeyed = Ok(());
        for (site, ids) in gone {
            match self.sealer.obey(&site, &ids) {
                Ok(0) => {}
                Ok(keys) => tracing::info!(keys, %site, "keys of a site were destroyed, as its ledger says"),
                Err(error) => obeyed = Err(error),
            }
        }
        obeyed
    }
}

fn damaged(index: u64, what: &dyn std::fmt::Display) -> LedgerError {
    LedgerError::Damaged(format!("entry {index}: {what}"))
}
