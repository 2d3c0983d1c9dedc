//! This site's own hand under what it sends as leader. Each entry is hashed once a term and each append signed once,
//! however many peers it goes to: what stands where does not change while this site leads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use openraft::raft::AppendEntriesRequest;

use super::Sending;
use crate::keys::SiteKeys;
use crate::raft::{Entry, LeaderId, Types};
use crate::record::Hash;
use crate::store::{LogStore, hash_of_entry};

/// Entries and appends that are remembered: what the peers that keep up are sent one after the other.
const ENTRIES_MAX: usize = 4_096;
const APPENDS_MAX: usize = 256;

pub(crate) struct Signing {
    keys: Arc<SiteKeys>,
    log: LogStore,
    done: Mutex<Done>,
}

/// Under one vote.
#[derive(Default)]
struct Done {
    leader: Option<LeaderId>,
    hashes: BTreeMap<u64, Hash>,
    /// By the first entry and how many there are.
    signatures: BTreeMap<(u64, usize), Bytes>,
}

impl Signing {
    pub(crate) fn new(keys: &Arc<SiteKeys>, log: &LogStore) -> Arc<Signing> {
        Arc::new(Signing { keys: keys.clone(), log: log.clone(), done: Mutex::default() })
    }

    /// Of the entries of this request; `None` where there are none.
    ///
    /// # Errors
    /// This site has heard of a later leader. What is sent for a term that is over may have been read from the log
    /// after that leader had replaced it: signed, it would contradict what was signed before.
    pub(crate) fn sign(&self, request: &AppendEntriesRequest<Types>) -> Result<Option<Bytes>, String> {
        let Some(first) = request.entries.first() else { return Ok(None) };
        let leader = request.vote.leader_id;
        // The vote is kept before anything is replaced, and the entries were read before this.
        if self.log.leads() != Some(leader) {
            return Err(format!("this site does not lead in term {} any more", leader.term));
        }
        // Who sends the same to another peer waits for it.
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if done.leader != Some(leader) {
            *done = Done { leader: Some(leader), ..Done::default() };
        }
        let append = (first.log_id.index, request.entries.len());
        if let Some(signature) = done.signatures.get(&append) {
            return Ok(Some(signature.clone()));
        }
        let hashes = request.entries.iter().map(|entry| done.hash(entry)).collect::<Result<_, _>>()?;
        let Some(sending) = Sending::of(request, hashes, self.keys.site.as_str()) else { return Ok(None) };
        let signature = sending.sign(&self.keys.batch).signature;
        done.signatures.insert(append, signature.clone());
        done.forget();
        Ok(Some(signature))
    }
}

impl Done {
    fn hash(&mut self, entry: &Entry) -> Result<Hash, String> {
        let index = entry.log_id.index;
        if let Some(hash) = self.hashes.get(&index) {
            return Ok(*hash);
        }
        let hash = hash_of_entry(entry)?;
        self.hashes.insert(index, hash);
        Ok(hash)
    }

    /// The oldest first: a peer that lags behind is sent them alone.
    fn forget(&mut self) {
        while self.hashes.len() > ENTRIES_MAX {
            self.hashes.pop_first();
        }
        while self.signatures.len() > APPENDS_MAX {
            self.signatures.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use openraft::storage::RaftLogStorage;

    use super::*;
    use crate::raft::{Entry, LeaderId, Payload, Vote, log_id};

    #[tokio::test]
    async fn only_who_still_leads_signs_what_it_sends() {
        let dir = tempfile::tempdir().unwrap();
        let made = crate::keys::init(&dir.path().join("keys"), &[("a", "h")]).unwrap();
        let keys = Arc::new(SiteKeys::load(&made[0]).unwrap());
        let log = LogStore::open(&dir.path().join("raftdb")).unwrap();
        let vote = |term, voted_for| Vote { leader_id: LeaderId { term, voted_for }, committed: true };
        let request = |vote, entries: &[(u64, u64)]| AppendEntriesRequest::<Types> {
            vote,
            prev_log_id: None,
            entries: entries
                .iter()
                .map(|(term, index)| Entry { log_id: log_id(*term, *index), payload: Payload::Blank })
                .collect(),
            leader_commit: None,
        };
        let signing = Signing::new(&keys, &log);
        let passed_on = request(vote(3, 1), &[(1, 4), (2, 5), (3, 6)]);
        assert!(signing.sign(&passed_on).is_err(), "it has never led");
        log.clone().save_vote(&vote(3, 1)).await.unwrap();
        let signature = signing.sign(&passed_on).unwrap().unwrap();
        assert_eq!(signing.sign(&passed_on), Ok(Some(signature.clone())), "to another peer");
        let hashes = passed_on.entries.iter().map(|entry| hash_of_entry(entry).unwrap()).collect();
        let sending = Sending { signature, ..Sending::of(&passed_on, hashes, "a").unwrap() };
        assert_eq!((sending.term, sending.first, sending.entries.len()), (3, 4, 3), "earlier terms, too");
        assert!(sending.is_signed_by(&keys.batch.verifying_key()));
        for other in [vote(2, 1), vote(3, 2), vote(4, 1)] {
            assert!(signing.sign(&request(other, &[(2, 5)])).is_err(), "{other:?}");
        }
        // Whoever leads now has put another entry there.
        log.clone().save_vote(&vote(4, 2)).await.unwrap();
        assert!(signing.sign(&request(vote(3, 1), &[(4, 6)])).is_err());
        assert_eq!(signing.sign(&request(vote(3, 1), &[])), Ok(None), "a heartbeat says nothing");
        // It leads again, where the other one's entry stands now.
        log.clone().save_vote(&vote(5, 1)).await.unwrap();
        let replaced = request(vote(5, 1), &[(1, 4), (2, 5), (4, 6)]);
        let signature = signing.sign(&replaced).unwrap().unwrap();
        let hashes = replaced.entries.iter().map(|entry| hash_of_entry(entry).unwrap()).collect();
        let sending = Sending { signature, ..Sending::of(&replaced, hashes, "a").unwrap() };
        assert!(sending.is_signed_by(&keys.batch.verifying_key()), "what was remembered is of another term");
        let many: Vec<_> = (10..10 + 2 * ENTRIES_MAX as u64).map(|index| (5, index)).collect();
        for few in many.chunks(8) {
            signing.sign(&request(vote(5, 1), few)).unwrap().unwrap();
        }
        let done = signing.done.lock().unwrap();
        assert_eq!((done.hashes.len(), done.signatures.len()), (ENTRIES_MAX, APPENDS_MAX));
    }
}
