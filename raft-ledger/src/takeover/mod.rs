//! Takeover: while a site is gone, a lease in the ledger lets another one stand in for it.
//!
//! The leader says in a leaf which voters it has not heard of and who stands in for each; it says so again as long as
//! there is a lease. A lease begins behind that leaf. It ends when two such leaves in a row no longer name the site, or
//! when the site says that it is there, which it does whenever it finds itself declared gone. All of it follows from
//! leaves that their sites have signed: every replica, and everybody with an export, comes to the same leases.
//!
//! What a dishonest leader can do: declare a site gone that is not, until that site, which sees it in its own replica,
//! says otherwise; name as its holder another site than the next one, where the site itself has named none. Such a
//! holder learns nothing by it: who can read what is a matter of keys. And it can leave leases out. The first is proven
//! against it by its signature. Two sites never both deliver one alert whatever it says: the order of the ledger decides
//! (`actors/src/told.rs`).

mod leases;
mod proposer;

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::keys::SiteKeys;
use crate::ledger::Ledger;
use crate::record::{Leaf, SiteName, Takeover};
use crate::store::generation::{Family, Generation, index_key};
use crate::store::ledger_store::LedgerStore;
use crate::store::tags;
use crate::types::Lease;
use crate::{LedgerError, TAKEOVER, Tag};

pub(crate) use self::leases::{Leases, Span};
pub(crate) use self::proposer::Proposer;

/// The leases as of what is applied here.
pub(crate) struct Takeovers {
    store: Arc<LedgerStore>,
    tag: Tag,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    leases: Leases,
    /// Leaves looked through.
    upto: u64,
}

impl Takeovers {
    pub(crate) fn new(store: Arc<LedgerStore>, keys: &SiteKeys) -> Arc<Takeovers> {
        Arc::new(Takeovers { store, tag: keys.index.own_tag("takeover"), known: Mutex::default() })
    }

    /// As of `size` leaves or more, all of them applied here. Blocks.
    pub(crate) fn at<T>(&self, size: u64, read: impl FnOnce(&Leases) -> T) -> Result<T, LedgerError> {
        let mut known = self.lock();
        if size > known.upto {
            let upto = known.upto;
            fold(&self.store.generation(), self.tag, upto..size, &mut known.leases)?;
            known.upto = size;
        }
        Ok(read(&known.leases))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing between a leaf and `upto` panics.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the leaves of this range do to the leases.
pub(crate) fn fold(
    db: &Generation,
    tag: Tag,
    range: Range<u64>,
    leases: &mut Leases,
) -> Result<(), LedgerError> {
    let mut found = Vec::new();
    tags::scan(db, &tag.0, (range.start, range.end), |index| {
        let damaged = |what: &str| LedgerError::Damaged(format!("entry {index}: {what}"));
        let leaf = db.get(Family::Events, &index_key(index))?.ok_or_else(|| damaged("it is missing"))?;
        let leaf = Leaf::decode(leaf.into()).map_err(|error| damaged(&error.to_string()))?;
        if leaf.head.kind != TAKEOVER {
            return Ok(true);
        }
        let payload = db.get(Family::Blobs, &index_key(index))?;
        let payload = payload.ok_or_else(|| damaged("its payload is missing"))?;
        match Takeover::decode(payload.into()) {
            Ok(takeover) => found.push((index, leaf.head.site, takeover)),
            // Of a later release, or nonsense that a site has signed.
            Err(error) => tracing::warn!(%error, index, "what an entry says of a takeover is passed over"),
        }
        Ok(true)
    })?;
    for (index, site, takeover) in found {
        leases.take(index, &site, takeover);
    }
    Ok(())
}

impl Ledger {
    /// Leases in effect before the leaf at `index`, which is applied here or the next to be. Blocks.
    ///
    /// # Errors
    /// `Damaged` if what is stored is not what was applied.
    pub fn leases_before(&self, index: u64) -> Result<Vec<Lease>, LedgerError> {
        let size = self.size();
        self.inner.takeovers.at(size, |leases| {
            let lease = |(site, span): (&SiteName, &Span)| Lease {
                site: site.to_string(),
                holder: span.holder.to_string(),
                from: span.from,
            };
            leases.before(index).map(lease).collect()
        })
    }
}
