//! This site's own hand under what it sends as leader.

use std::sync::Arc;

use bytes::Bytes;
use openraft::raft::AppendEntriesRequest;

use super::Sending;
use crate::keys::SiteKeys;
use crate::raft::Types;
use crate::store::{LogStore, hash_of_entry};

pub(crate) struct Signing {
    keys: Arc<SiteKeys>,
    log: LogStore,
}

impl Signing {
    pub(crate) fn new(keys: &Arc<SiteKeys>, log: &LogStore) -> Arc<Signing> {
        Arc::new(Signing { keys: keys.clone(), log: log.clone() })
    }

    /// Of the entries of this request; `None` where there are none.
    ///
    /// # Errors
    /// This site has heard of a later leader. What is sent for a term that is over may have been read from the log
    /// after that leader had replaced it: signed, it would contradict what was signed before.
    pub(crate) fn sign(&self, request: &AppendEntriesRequest<Types>) -> Result<Option<Bytes>, String> {
        let hashes = request.entries.iter().map(hash_of_entry).collect::<Result<_, _>>()?;
        let Some(sending) = Sending::of(request, hashes, self.keys.site.as_str()) else { return Ok(None) };
        // The vote is kept before anything is replaced, and the entries were read before this.
        if self.log.leads() != Some(request.vote.leader_id) {
            return Err(format!("this site does not lead in term {} any more", sending.term));
        }
        Ok(Some(sending.sign(&self.keys.batch).signature))
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
    }
}
