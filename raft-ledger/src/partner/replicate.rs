//! Before an entry is sealed: its subject's key is on the disks of enough sites. Many new keys go in one request; one
//! that is there costs nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::holders::Holders;
use super::request::{Request, decode_ids};
use super::{KEYS_MAX, KeyId, Partner, RpcError, SubjectKey, unreadable};
use crate::blocking;
use crate::keystore::ReadyKeys;
use crate::types::{LedgerError, Subject};

/// Before the sites are asked again, when too few answer: there is no quorum then.
const PAUSE: Duration = Duration::from_millis(100);

impl Partner {
    /// Keys for all of these subjects, with which entries may be sealed from now on. Waits for as long as too few sites
    /// can be reached. `None`: the runtime is going down.
    pub(crate) async fn ready(&self, subjects: &[Subject]) -> Option<Result<ReadyKeys, LedgerError>> {
        loop {
            if let Some(ready) = self.sealer.ready(subjects) {
                return Some(Ok(ready));
            }
            let (sealer, of) = (self.sealer.clone(), subjects.to_vec());
            if let Err(error) = blocking::run(move || sealer.ensure(&of)).await.ok()? {
                return Some(Err(error));
            }
            let unkept = self.sealer.key_store().unkept(subjects);
            for keys in unkept.chunks(KEYS_MAX) {
                if let Err(error) = self.replicate(keys).await? {
                    return Some(Err(error));
                }
            }
        }
    }

    /// Hands the keys to as many sites as must hold them, those first that should; pauses if too few answer.
    async fn replicate(&self, keys: &[SubjectKey]) -> Option<Result<(), LedgerError>> {
        let ids: Vec<KeyId> = keys.iter().map(|key| key.id).collect();
        let Some(holders) = self.holders() else {
            tokio::time::sleep(PAUSE).await;
            return Some(Ok(()));
        };
        let (holding, refused) = self.hand_over(&holders, keys).await;
        if !refused.is_empty() {
            // This site's key store is older than the ledger, which will say the same in a moment.
            let (sealer, gone) = (self.sealer.clone(), subjects_of(keys, &refused));
            let retired = blocking::run(move || sealer.retire(&gone)).await.ok()?;
            return Some(retired.map(drop));
        }
        if holding.len() < holders.wanted {
            tokio::time::sleep(PAUSE).await;
            return Some(Ok(()));
        }
        let everywhere = holders.chosen().iter().all(|(node, _)| holding.contains(node));
        let everywhere = everywhere && holders.wanted > 0;
        if everywhere {
            self.complete().kept_at(&holding);
        }
        self.sealer.key_store().kept(&ids, everywhere);
        Some(Ok(()))
    }

    /// Who holds them now, and the ids of keys that the ledger says are gone.
    async fn hand_over(&self, holders: &Holders, keys: &[SubjectKey]) -> (BTreeSet<u64>, BTreeSet<KeyId>) {
        // Who did not answer of late stands last.
        let (away, near): (Vec<u64>, Vec<u64>) =
            holders.sites.iter().map(|(node, _)| *node).partition(|node| self.is_away(*node));
        let mut next = near.into_iter().chain(away);
        let mut asked: FuturesUnordered<_> =
            next.by_ref().take(holders.wanted).map(|node| self.hand_to(node, keys)).collect();
        let (mut holding, mut refused) = (BTreeSet::new(), BTreeSet::new());
        while let Some((node, answer)) = asked.next().await {
            match answer {
                Ok(gone) => {
                    holding.insert(node);
                    refused.extend(gone);
                }
                Err(error) => {
                    tracing::debug!(%error, "a site does not take keys; the next one stands in");
                    asked.extend(next.next().map(|node| self.hand_to(node, keys)));
                }
            }
        }
        (holding, refused)
    }

    async fn hand_to(&self, node: u64, keys: &[SubjectKey]) -> (u64, Result<Vec<KeyId>, RpcError>) {
        (node, self.hold_at(node, keys.to_vec()).await)
    }

    /// The ids of those that were refused. The others are on the site's disk.
    pub(super) async fn hold_at(&self, node: u64, keys: Vec<SubjectKey>) -> Result<Vec<KeyId>, RpcError> {
        let gone = || RpcError::Unreachable { site: format!("node {node}"), why: "it is no member".into() };
        let peer = self.peers.get(node).ok_or_else(gone)?;
        let answer = self.ask(node, &peer, Request::Hold(keys)).await?;
        decode_ids(&answer).ok_or_else(|| unreadable(&peer))
    }
}

fn subjects_of(keys: &[SubjectKey], ids: &BTreeSet<KeyId>) -> Vec<Subject> {
    keys.iter().filter(|key| ids.contains(&key.id)).map(|key| key.subject).collect()
}
