//! Who else holds this site's keys, so that what a quorum has acknowledged can be read after its site is lost.
//!
//! ```text
//! holders    which sites: the partner that this site names, then the voters behind it in order
//! complete   who of them has all
//! request    what sites ask one another, byte by byte
//! answer     what this site answers: it holds others' keys in its own key store, and obeys their shred entries
//! replicate  before an entry is sealed: a new key is on the disks of enough sites
//! reconcile  every few seconds: all keys are where they belong, and nowhere else
//! ```
//! The rule: a key is at its home and at as many other voters as may be lost without losing the quorum, the partner
//! first: one of three sites, two of five. Where one of them does not answer, the next voter stands in, until the key
//! is where it belongs; it is then taken back. So a new subject waits for nobody who may be down, and whatever minority
//! is lost, a site is left that can read. Learners get none; a site alone needs none. What waits in the outbox is sealed
//! under a key that may be here alone: it comes past this before it is an entry.
//!
//! A site that has lost its keys takes them back from whoever holds them.

mod answer;
mod complete;
mod holders;
mod reconcile;
mod replicate;
mod request;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use self::complete::Complete;
use self::holders::Holders;
use self::request::Request;
use crate::keystore::{Digest, KeyId, SubjectKey};
use crate::network::{Peer, Peers, RpcError};
use crate::record::SiteName;
use crate::roster::Roster;
use crate::seal::Sealer;
use crate::types::KeyCopies;

pub(crate) use self::answer::answer;

/// Of one request: 320 KB.
const KEYS_MAX: usize = 4096;
/// A site that did not answer is asked last for so long.
const AWAY: Duration = Duration::from_secs(5);

pub(crate) struct Partner {
    sealer: Arc<Sealer>,
    roster: Arc<Roster>,
    peers: Peers,
    own: SiteName,
    /// As this site's configuration says; the next voter otherwise.
    named: Option<String>,
    away: Mutex<BTreeMap<u64, Instant>>,
    complete: Mutex<Complete>,
    /// How many sites were to hold the keys when that was last looked at.
    wanted: AtomicUsize,
}

impl Partner {
    pub(crate) fn new(
        sealer: Arc<Sealer>,
        roster: Arc<Roster>,
        peers: Peers,
        own: SiteName,
        named: Option<String>,
    ) -> Arc<Partner> {
        Arc::new(Partner {
            sealer,
            roster,
            peers,
            own,
            named,
            away: Mutex::default(),
            complete: Mutex::default(),
            wanted: AtomicUsize::new(0),
        })
    }

    /// `None` while this site does not know who the members are.
    fn holders(&self) -> Option<Holders> {
        let known = self.roster.get();
        known.index?;
        let takes_none =
            |node: u64| self.peers.get(node).is_some_and(|peer| peer.keeps_keys() == Some(false));
        Some(Holders::of(&known, self.own.as_str(), self.named.as_deref(), takes_none))
    }

    /// What people see of it.
    pub(crate) fn copies(&self) -> KeyCopies {
        let (holders, store) = (self.holders().unwrap_or_default(), self.sealer.key_store());
        let own = store.digest(None).count;
        let not_at_partner = match holders.wanted {
            0 => 0,
            _ if self.are_complete(&holders) => store.count_pending() as u64,
            _ => own,
        };
        KeyCopies {
            partner: holders.sites.first().map(|(_, name)| name.clone()),
            own,
            not_at_partner,
            held: store.held().into_iter().map(|(home, count)| (home.to_string(), count)).collect(),
        }
    }

    fn are_complete(&self, holders: &Holders) -> bool {
        let complete = self.complete();
        holders.chosen().iter().all(|(node, _)| complete.is(*node))
    }

    fn complete(&self) -> MutexGuard<'_, Complete> {
        self.complete.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, node: u64, peer: &Peer, request: Request) -> Result<Bytes, RpcError> {
        let answer = peer.keys(request.encode()).await;
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        match &answer {
            Ok(_) => drop(away.remove(&node)),
            Err(_) => drop(away.insert(node, Instant::now() + AWAY)),
        }
        answer
    }

    fn is_away(&self, node: u64) -> bool {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.get(&node).is_some_and(|until| *until > Instant::now())
    }
}

fn unreadable(peer: &Peer) -> RpcError {
    RpcError::Remote { site: peer.name.clone(), why: "its answer about keys could not be read".into() }
}
