//! Who put which entry into the raft log. A term has one leader, so an entry that a member sends while it leads in the
//! entry's own term is its own; what was passed on from an earlier term may have been changed on the way, and is
//! nobody's.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use openraft::raft::AppendEntriesRequest;

use crate::raft::{LogId, Types};

/// Of different leaders; older ones are long applied.
const RUNS_MAX: usize = 64;

#[derive(Default)]
pub(crate) struct Authors(Mutex<VecDeque<Run>>);

/// Entries that follow one another, of one leader.
struct Run {
    site: String,
    term: u64,
    first: u64,
    last: u64,
}

impl Authors {
    /// `site` has sent these entries, over a connection that is its own.
    pub(crate) fn sent(&self, request: &AppendEntriesRequest<Types>, site: &str) {
        let term = request.vote.leader_id.term;
        let mut own =
            request.entries.iter().map(|entry| &entry.log_id).filter(|id| id.leader_id.term == term);
        let Some(first) = own.next().map(|id| id.index) else { return };
        let last = own.next_back().map_or(first, |id| id.index);
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match runs.back_mut() {
            Some(run) if run.site == site && run.term == term && first <= run.last + 1 => {
                run.last = run.last.max(last);
            }
            _ => runs.push_back(Run { site: site.to_owned(), term, first, last }),
        }
        if runs.len() > RUNS_MAX {
            runs.pop_front();
        }
    }

    /// `None`: not known for certain.
    pub(crate) fn of(&self, id: &LogId) -> Option<String> {
        let runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = |run: &&Run| run.term == id.leader_id.term && (run.first..=run.last).contains(&id.index);
        let mut senders = runs.iter().filter(sent).map(|run| run.site.as_str());
        let site = senders.next()?;
        // Two who both say that they lead in one term: one of them lies.
        senders.all(|other| other == site).then(|| site.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use openraft::impls::leader_id_std::LeaderId;

    use super::*;
    use crate::raft::{Entry, Payload, Vote, log_id};

    #[test]
    fn only_what_a_leader_sends_in_its_own_term_is_its_own() {
        let authors = Authors::default();
        let send = |site, term, ids: &[(u64, u64)]| {
            let entry =
                |(term, index): &(u64, u64)| Entry { log_id: log_id(*term, *index), payload: Payload::Blank };
            let vote = Vote { leader_id: LeaderId { term, voted_for: 1 }, committed: true };
            let entries = ids.iter().map(entry).collect();
            authors
                .sent(&AppendEntriesRequest { vote, prev_log_id: None, entries, leader_commit: None }, site);
        };
        send("a", 2, &[(1, 4), (2, 5), (2, 6)]);
        send("a", 2, &[(2, 6), (2, 7)]);
        send("b", 3, &[(2, 7), (3, 8)]);
        send("b", 3, &[]);
        send("c", 4, &[(4, 9)]);
        send("a", 4, &[(4, 9)]);
        let of = |term, index| authors.of(&log_id(term, index));
        assert_eq!([of(2, 5), of(2, 7), of(3, 8)], ["a", "a", "b"].map(|site| Some(site.to_owned())));
        assert_eq!([of(1, 4), of(2, 8), of(3, 7), of(4, 9)], [None, None, None, None]);
        (5..5 + 2 * RUNS_MAX as u64).for_each(|term| send("a", term, &[(term, 10)]));
        assert_eq!((of(2, 5), of(69, 10).is_some()), (None, true));
    }
}
