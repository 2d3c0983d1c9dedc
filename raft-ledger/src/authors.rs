//! Who put which entry into the raft log. A term has one leader, so an entry that a member sends while it leads in the
//! entry's own term is its own; what was passed on from an earlier term may have been changed on the way, and is
//! nobody's. Neither is what stands at the same place with other bytes.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use openraft::raft::AppendEntriesRequest;

use crate::raft::{Entry, LogId, Payload, Types};

/// Older ones are long applied.
const ENTRIES_MAX: usize = 65_536;
const BYTES_MAX: usize = 32 << 20;

#[derive(Default)]
pub(crate) struct Authors(Mutex<Known>);

#[derive(Default)]
struct Known {
    sendings: VecDeque<Sending>,
    entries: usize,
    bytes: usize,
}

/// What came together.
struct Sending {
    site: String,
    commands: Vec<(LogId, Bytes)>,
    /// Of all that came with it: the commands are pieces of one buffer, which stays as long as one of them.
    bytes: usize,
}

impl Authors {
    /// `site` has sent these entries, over a connection that is its own and with a vote for itself.
    pub(crate) fn sent(&self, request: &AppendEntriesRequest<Types>, site: &str) {
        let term = request.vote.leader_id.term;
        let own = request.entries.iter().filter(|entry| entry.log_id.leader_id.term == term);
        let commands: Vec<_> = own
            .filter_map(|entry| command_of(entry).map(|command| (entry.log_id, command.clone())))
            .collect();
        if commands.is_empty() {
            return;
        }
        let bytes = request.entries.iter().filter_map(command_of).map(Bytes::len).sum();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.entries += commands.len();
        known.bytes += bytes;
        known.sendings.push_back(Sending { site: site.to_owned(), commands, bytes });
        while known.entries > ENTRIES_MAX || known.bytes > BYTES_MAX {
            let Some(oldest) = known.sendings.pop_front() else { return };
            known.entries -= oldest.commands.len();
            known.bytes -= oldest.bytes;
        }
    }

    /// Who has sent `command` as this entry. `None`: not known for certain.
    pub(crate) fn of(&self, id: &LogId, command: &[u8]) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_sent = |sending: &&Sending| {
            sending.commands.iter().any(|(sent_as, sent)| sent_as == id && sent.as_ref() == command)
        };
        let mut senders = known.sendings.iter().filter(has_sent).map(|sending| sending.site.as_str());
        let site = senders.next()?;
        // Two who both say that they lead in one term: one of them lies.
        senders.all(|other| other == site).then(|| site.to_owned())
    }
}

fn command_of(entry: &Entry) -> Option<&Bytes> {
    match &entry.payload {
        Payload::Normal(proposal) => Some(&proposal.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use openraft::impls::leader_id_std::LeaderId;

    use super::*;
    use crate::raft::{Proposal, Vote, log_id};

    fn send(authors: &Authors, site: &str, term: u64, entries: &[(u64, u64, &Bytes)]) {
        let entry = |(term, index, command): &(u64, u64, &Bytes)| Entry {
            log_id: log_id(*term, *index),
            payload: Payload::Normal(Proposal((*command).clone())),
        };
        let vote = Vote { leader_id: LeaderId { term, voted_for: 1 }, committed: true };
        let entries = entries.iter().map(entry).collect();
        authors.sent(&AppendEntriesRequest { vote, prev_log_id: None, entries, leader_commit: None }, site);
    }

    #[test]
    fn only_what_a_leader_sends_in_its_own_term_is_its_own() {
        let authors = Authors::default();
        let [x, y] = [b"x", b"y"].map(|command| Bytes::from_static(command));
        send(&authors, "a", 2, &[(1, 4, &x), (2, 5, &x), (2, 6, &x)]);
        send(&authors, "a", 2, &[(2, 6, &x), (2, 7, &x)]);
        // Passed on with other bytes by a later leader.
        send(&authors, "b", 3, &[(2, 7, &y), (3, 8, &x)]);
        send(&authors, "b", 3, &[]);
        send(&authors, "c", 4, &[(4, 9, &x), (4, 10, &x)]);
        send(&authors, "a", 4, &[(4, 9, &x), (4, 10, &y)]);
        let of = |term, index, command: &Bytes| authors.of(&log_id(term, index), command);
        let is = |site: &str| Some(site.to_owned());
        assert_eq!([of(2, 5, &x), of(2, 6, &x), of(2, 7, &x)], [is("a"), is("a"), is("a")]);
        assert_eq!([of(3, 8, &x), of(4, 10, &x), of(4, 10, &y)], [is("b"), is("c"), is("a")]);
        assert_eq!([of(1, 4, &x), of(2, 8, &x), of(2, 7, &y), of(4, 9, &x)], [None, None, None, None]);
    }

    #[test]
    fn what_is_remembered_is_bounded_by_bytes_and_by_entries() {
        let authors = Authors::default();
        let mebibyte = Bytes::from(vec![7; 1 << 20]);
        (0..40).for_each(|index| send(&authors, "a", 2, &[(1, 0, &mebibyte), (2, index, &Bytes::new())]));
        let is_known = |index| authors.of(&log_id(2, index), b"").is_some();
        assert!(!is_known(7) && is_known(8) && is_known(39), "what came with it counts");
        let authors = Authors::default();
        send(&authors, "a", 2, &[(2, 0, &mebibyte)]);
        let empty = Bytes::new();
        let entries: Vec<_> = (1..=ENTRIES_MAX as u64).map(|index| (2, index, &empty)).collect();
        send(&authors, "a", 2, &entries);
        assert_eq!(authors.of(&log_id(2, 0), &mebibyte), None);
        assert!(authors.of(&log_id(2, ENTRIES_MAX as u64), b"").is_some());
    }
}
