//! What the liar says as leader, to each site something of its own; and what an honest one says of what it was handed.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use openraft::storage::RaftLogStorage;

use super::{Consortium, ENTRIES, NAMES, connect};
use crate::raft::{Entry, GROUP, LeaderId, LogId, Member, Payload, Proposal, Vote, log_id};
use crate::record::{Command, Hash, OpenEpoch};
use crate::{Ledger, Role};

impl Consortium {
    async fn c_may_write(&self) {
        let open = OpenEpoch::sign(GROUP, self.keys.site.clone(), 0, [1; 16], &self.keys.batch);
        self.propose(Command::OpenEpoch(open)).await.unwrap();
    }

    /// All entries are applied at both; the last one.
    async fn nothing_is_under_way(&self) -> LogId {
        let metrics = |site: &Ledger| site.inner.raft.metrics().borrow_watched().clone();
        let last = || self.honest.iter().map(|site| metrics(site).last_applied);
        let written = || metrics(&self.honest[0]).last_log_index;
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.until("nothing is under way", || {
            last().all(|at| at.is_some() && at.map(|at| at.index) == written())
        })
        .await;
        last().next().flatten().unwrap()
    }

    /// c says to one site that it leads in that term, and that these entries are committed. What it has signed for another
    /// it does not remember.
    async fn lead(&self, n: u64, term: u64, prev: LogId, entries: Vec<Entry>) {
        let vote = Vote { leader_id: LeaderId { term, voted_for: 2 }, committed: true };
        let identity = self.identity.as_ref().unwrap();
        identity.log.clone().save_vote(&vote).await.unwrap();
        let leader_commit = entries.last().map(|entry| entry.log_id);
        let request = AppendEntriesRequest { vote, prev_log_id: Some(prev), entries, leader_commit };
        let mut network = connect(identity, &self.keys, &self.addresses, &self.tasks);
        let mut client = network.new_client(n, &Member::founder(NAMES[n as usize])).await;
        let answer = client.append_entries(request, RPCOption::new(Duration::from_secs(5))).await.unwrap();
        assert!(matches!(answer, AppendEntriesResponse::Success), "{answer:?}");
    }

    /// Both sites have the file, and it names this place.
    async fn told_two_stories(&self, of: (u64, u64)) {
        for site in 0..2 {
            self.blamed(site).await;
            let found = self.evidence(site, "two-entries");
            assert!(
                matches!(found, ledger_verifier::Evidence::TwoEntries { term, index, .. } if (term, index) == of),
                "{found}"
            );
        }
    }
}

fn entry(term: u64, index: u64, command: Command) -> Entry {
    Entry { log_id: log_id(term, index), payload: Payload::Normal(Proposal(command.encode())) }
}

/// It gives one site this entry and the other that one at the same place, as its own or as one of an earlier term that it
/// passes on. Both believe it, and from then on their ledgers differ; both have what it signed.
#[tokio::test(flavor = "multi_thread")]
async fn two_entries_for_one_place_convict_by_their_signatures() {
    for terms_before in [0, 1] {
        let all = Consortium::start().await;
        all.c_may_write().await;
        let prev = all.nothing_is_under_way().await;
        let (index, term) = (prev.index + 1, prev.leader_id.term + 50);
        for n in 0..2 {
            let batch = Command::Batch(all.batch("c", 1, Hash::default(), n as u8 + 1));
            all.lead(n, term, prev, vec![entry(term - terms_before, index, batch)]).await;
        }
        all.told_two_stories((term, index)).await;
        assert!(all.honest.iter().all(|site| site.size() == ENTRIES + 1));
        let [a, b] = [0, 1].map(|site: usize| all.honest[site].status().root);
        assert_ne!(a, b);
        all.close().await;
    }
}

/// Each site is sent another forged command at the same place. Neither confirms what the other has seen, and no root
/// differs for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_forged_for_each_site_alone_convicts_all_the_same() {
    let all = Consortium::start().await;
    let prev = all.nothing_is_under_way().await;
    let (index, term) = (prev.index + 1, prev.leader_id.term + 50);
    for (n, forged) in [(0, all.next_of_a("c")), (1, all.changed())] {
        all.lead(n, term, prev, vec![entry(term, index, Command::Batch(forged))]).await;
    }
    all.told_two_stories((term, index)).await;
    let [a, b] = [0, 1].map(|site: usize| all.honest[site].status().root);
    assert_eq!(a, b);
    all.close().await;
}

/// Where no majority answers, consensus takes nothing, and drops it without a word to whoever does not ask.
#[tokio::test(flavor = "multi_thread")]
async fn an_honest_leader_says_that_it_took_what_is_in_its_log_alone() {
    let mut all = Consortium::start().await;
    all.c_may_write().await;
    let leader = all.leader().await;
    all.honest.remove(1 - leader).close().await.unwrap();
    let peer = all.peer(leader as u64);
    let batch = Command::Batch(all.batch("c", 1, Hash::default(), 1)).encode();
    for _ in 0..300 {
        if let Err(error) = peer.forward(batch.clone()).await.await {
            assert!(error.to_string().contains("not proposed: no majority answers this site"), "{error}");
            assert_eq!(all.honest[0].status().role, Role::Leader);
            return all.close().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it still says that it takes what it drops");
}
