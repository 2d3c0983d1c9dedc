//! Every few seconds: all of this site's keys are where they belong, and then nowhere else. Sites whose keys are the
//! same say so in 24 bytes; only where they differ are ids compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::holders::Holders;
use super::request::{Request, decode_digest, decode_ids, decode_keys};
use super::{Digest, KEYS_MAX, KeyId, Partner, Peer, RpcError, unreadable};
use crate::LedgerError;
use crate::blocking;

const PERIOD: Duration = Duration::from_secs(2);

/// By node: what came of comparing ids.
type Compared = BTreeMap<u64, Comparison>;

/// No key is missing there, as long as the digests stay.
struct Comparison {
    theirs: Digest,
    own: Digest,
    /// But these: the ledger says that they are gone, and this site has yet to read it.
    refused: BTreeSet<KeyId>,
}

#[derive(Debug, thiserror::Error)]
enum Unsettled {
    #[error(transparent)]
    Rpc(#[from] RpcError),
    #[error(transparent)]
    Store(#[from] LedgerError),
}

impl Partner {
    /// Until the ledger closes.
    pub(crate) async fn run(self: Arc<Partner>) {
        let (mut compared, mut shown) = (Compared::new(), String::new());
        loop {
            if let Some(holders) = self.holders()
                && let Err(error) = self.round(&holders, &mut compared).await
            {
                let text = error.to_string();
                if text != shown {
                    tracing::warn!(%error, "not all keys are where they belong yet; trying again");
                    shown = text;
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    async fn round(&self, holders: &Holders, compared: &mut Compared) -> Result<(), Unsettled> {
        let store = self.sealer.key_store();
        if self.wanted.swap(holders.wanted, Ordering::Relaxed) < holders.wanted {
            store.doubt();
        }
        let mut settled: BTreeSet<KeyId> = store.pending().into_iter().collect();
        let (mut complete, mut others, mut failed) = (BTreeSet::new(), Vec::new(), None);
        let is_chosen = |node: u64| holders.chosen().iter().any(|(chosen, _)| *chosen == node);
        self.complete().retain(is_chosen);
        compared.retain(|node, _| is_chosen(*node));
        for (node, peer) in self.peers.all().into_iter().filter(|(_, peer)| peer.keeps_keys() == Some(true)) {
            if is_chosen(node) {
                self.complete().look_begins(node);
            }
            let looked = match self.digest_of(node, &peer).await {
                Ok(theirs) if is_chosen(node) => self.make_complete(node, &peer, theirs, compared).await,
                Ok(theirs) => {
                    others.extend((theirs.count > 0).then_some((node, peer)));
                    continue;
                }
                Err(error) => Err(error),
            };
            match looked {
                Ok(()) => {
                    complete.insert(node);
                    self.complete().look_ends(node);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if holders.wanted > 0 && holders.chosen().iter().all(|(node, _)| complete.contains(node)) {
            for comparison in complete.iter().filter_map(|node| compared.get(node)) {
                settled.retain(|id| !comparison.refused.contains(id));
            }
            store.kept(&settled.into_iter().collect::<Vec<_>>(), true);
            for (node, peer) in others {
                self.relieve(node, &peer).await?;
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn digest_of(&self, node: u64, peer: &Peer) -> Result<Digest, Unsettled> {
        let answer = self.ask(node, peer, Request::Digest).await?;
        Ok(decode_digest(&answer).ok_or_else(|| unreadable(peer))?)
    }

    /// Makes up for what the holder lacks, and takes back what this site lacks.
    async fn make_complete(
        &self,
        node: u64,
        peer: &Peer,
        theirs: Digest,
        compared: &mut Compared,
    ) -> Result<(), Unsettled> {
        let store = self.sealer.key_store();
        let own = store.digest(None);
        // They may differ for a moment: by what is about to be shredded at one of them.
        if compared.get(&node).is_some_and(|before| (before.theirs, before.own) == (theirs, own)) {
            return Ok(());
        }
        compared.remove(&node);
        if theirs == own {
            compared.insert(node, Comparison { theirs, own, refused: BTreeSet::new() });
            return Ok(());
        }
        self.complete().lacks_some(node);
        let (mut after, mut refused) = (None, BTreeSet::new());
        loop {
            let page = self.list(node, peer, after).await?;
            let upto = page.last().copied().filter(|_| page.len() == KEYS_MAX);
            let there: BTreeSet<KeyId> = page.iter().copied().collect();
            self.take_back(node, peer, &page).await?;
            let missing: Vec<KeyId> = store
                .ids_between(None, (after, upto), usize::MAX)
                .into_iter()
                .filter(|id| !there.contains(id))
                .collect();
            store.astray(&missing);
            for ids in missing.chunks(KEYS_MAX) {
                refused.extend(self.hold_at(node, store.give(None, ids)).await?);
            }
            if upto.is_none() {
                break;
            }
            after = upto;
        }
        // Its own as they were before: a key that was made meanwhile is looked for the next time.
        let theirs = self.digest_of(node, peer).await?;
        compared.insert(node, Comparison { theirs, own, refused });
        Ok(())
    }

    async fn list(&self, node: u64, peer: &Peer, after: Option<KeyId>) -> Result<Vec<KeyId>, Unsettled> {
        let answer = self.ask(node, peer, Request::List(after)).await?;
        let ids = decode_ids(&answer).filter(|ids| advances(ids, after));
        Ok(ids.ok_or_else(|| unreadable(peer))?)
    }

    /// Keys that the other site holds and this one has lost.
    async fn take_back(&self, node: u64, peer: &Peer, ids: &[KeyId]) -> Result<(), Unsettled> {
        let mut lost: BTreeSet<KeyId> = ids.iter().filter(|id| self.sealer.has_lost(id)).copied().collect();
        if lost.is_empty() {
            return Ok(());
        }
        let answer = self.ask(node, peer, Request::Give(lost.iter().copied().collect())).await?;
        let mut keys = decode_keys(&answer).ok_or_else(|| unreadable(peer))?;
        keys.retain(|key| lost.remove(&key.id));
        tracing::info!(keys = keys.len(), from = %peer.name, "this site takes back keys that it has lost");
        let sealer = self.sealer.clone();
        Ok(blocking::attempt(move || sealer.adopt(keys)).await?)
    }

    /// Whether all keys are where they belong, and none belongs there.
    fn are_elsewhere(&self, node: u64) -> bool {
        self.holders().is_some_and(|belong| {
            let is_chosen = belong.chosen().iter().any(|(chosen, _)| *chosen == node);
            belong.wanted > 0 && !is_chosen && self.are_complete(&belong)
        })
    }

    /// Takes from a site what it held in another one's stead, once it is where it belongs.
    async fn relieve(&self, node: u64, peer: &Peer) -> Result<(), Unsettled> {
        let store = self.sealer.key_store();
        let mut after = None;
        loop {
            let page = self.list(node, peer, after).await?;
            self.take_back(node, peer, &page).await?;
            let settled = |id: &KeyId| store.has_id(None, id) && !store.is_pending(id);
            let settled: Vec<KeyId> = page.iter().filter(|id| settled(id)).copied().collect();
            // By now the keys may belong there, or new ones may be there alone. Behind the look at what is pending: a key
            // that was kept elsewhere is one that somebody lacks before it is pending no more.
            if !self.are_elsewhere(node) {
                return Ok(());
            }
            if !settled.is_empty() {
                tracing::info!(keys = settled.len(), site = %peer.name, "a site need not hold these keys any more");
                self.ask(node, peer, Request::Drop(settled)).await?;
            }
            after = page.last().copied();
            if page.len() < KEYS_MAX {
                return Ok(());
            }
        }
    }
}

/// In order and behind `after`: whoever asks for what comes next comes to an end.
fn advances(ids: &[KeyId], after: Option<KeyId>) -> bool {
    ids.is_sorted_by(|one, next| one < next)
        && ids.first().is_none_or(|first| after.is_none_or(|after| *first > after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_does_not_advance_is_refused() {
        let [one, two, three] = [1, 2, 3].map(|n| [n; 16]);
        assert!(advances(&[], None) && advances(&[], Some(two)) && advances(&[one, three], None));
        assert!(advances(&[three], Some(two)));
        assert!(!advances(&[two], Some(two)) && !advances(&[one, three], Some(two)));
        assert!(!advances(&[two, one], None) && !advances(&[one, one], None));
    }
}
