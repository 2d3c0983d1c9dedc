//! Who put which entry into the raft log, and what leaders say of it. A term has one leader, so an entry that a member
//! sends while it leads in the entry's own term is its own; what was passed on from an earlier term may have been changed
//! on the way, and is nobody's. Neither is what stands at the same place with other bytes.
//!
//! What a leader passes on it signs all the same: two stories of it in one term are its own.

mod sending;
mod signing;

use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) use self::sending::Sending;
pub(crate) use self::signing::Signing;
use crate::raft::Entry;
use crate::record::Hash;
use crate::store::hash_of_entry;

/// Older ones are long applied.
const ENTRIES_MAX: usize = 65_536;
/// That another site is shown: the latest ones.
pub(crate) const SHOWN_MAX: usize = 16_384;

#[derive(Default)]
pub(crate) struct Authors(Mutex<Known>);

#[derive(Default)]
struct Known {
    sendings: VecDeque<Sending>,
    entries: usize,
}

impl Authors {
    /// A leader has sent this over a connection that is its own.
    pub(crate) fn sent(&self, sending: Sending) {
        // No honest leader sends so many at once: it would make this site forget what it was sent before.
        if sending.entries.len() > SHOWN_MAX {
            return;
        }
        let mut known = self.lock();
        known.entries += sending.entries.len();
        known.sendings.push_back(sending);
        while known.entries > ENTRIES_MAX {
            let Some(oldest) = known.sendings.pop_front() else { return };
            known.entries -= oldest.entries.len();
        }
    }

    /// Who has sent this command as this entry. `None`: not known for certain.
    pub(crate) fn of(&self, entry: &Entry) -> Option<String> {
        let hash = hash_of_entry(entry).ok()?;
        let known = self.lock();
        let has_sent = |sending: &&Sending| sending.at(&entry.log_id) == Some(&hash);
        let mut senders = known.sendings.iter().filter(has_sent).map(|sending| sending.leader.as_str());
        let site = senders.next()?;
        // Two who both say that they lead in one term: one of them lies.
        senders.all(|other| other == site).then(|| site.to_owned())
    }

    /// What leaders have signed, the latest last; so many entries as another site is shown.
    pub(crate) fn shown(&self) -> Vec<Sending> {
        self.signed(SHOWN_MAX)
    }

    /// All that is remembered.
    pub(crate) fn all_signed(&self) -> Vec<Sending> {
        self.signed(ENTRIES_MAX)
    }

    fn signed(&self, mut room: usize) -> Vec<Sending> {
        let known = self.lock();
        let mut shown: Vec<Sending> = Vec::new();
        for sending in known.sendings.iter().rev().filter(|sending| !sending.signature.is_empty()) {
            let Some(left) = room.checked_sub(sending.entries.len()) else { continue };
            room = left;
            shown.push(sending.clone());
        }
        shown.reverse();
        shown
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Two sendings of one leader that put two entries at one place, and the place. `is_signed` is asked of those that differ
/// alone: one that its leader has not signed says nothing.
pub(crate) fn contradiction(
    sendings: &[Sending],
    is_signed: impl Fn(&Sending) -> bool,
) -> Option<(u64, [Sending; 2])> {
    let mut places: HashMap<(&str, u64, u64), (&Hash, &Sending)> = HashMap::new();
    for sending in sendings {
        // Whoever sent this may have written any number there.
        for (index, hash) in (sending.first..=u64::MAX).zip(&sending.entries) {
            let place = (sending.leader.as_str(), sending.term, index);
            match places.entry(place) {
                Vacant(free) => drop(free.insert((hash, sending))),
                Occupied(taken) if taken.get().0 == hash => {}
                Occupied(mut taken) => match (is_signed(taken.get().1), is_signed(sending)) {
                    (true, true) => return Some((index, [taken.get().1.clone(), sending.clone()])),
                    (false, true) => drop(taken.insert((hash, sending))),
                    (_, false) => {}
                },
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ed25519_dalek::SigningKey;
    use openraft::impls::leader_id_std::LeaderId;
    use openraft::raft::AppendEntriesRequest;

    use super::*;
    use crate::raft::{Payload, Proposal, Vote, log_id};

    fn entry(term: u64, index: u64, command: &Bytes) -> Entry {
        Entry { log_id: log_id(term, index), payload: Payload::Normal(Proposal(command.clone())) }
    }

    fn sending(site: &str, term: u64, entries: &[(u64, u64, &Bytes)]) -> Option<Sending> {
        let vote = Vote { leader_id: LeaderId { term, voted_for: 1 }, committed: true };
        let entries: Vec<Entry> =
            entries.iter().map(|(term, index, command)| entry(*term, *index, command)).collect();
        let hashes = entries.iter().map(|entry| hash_of_entry(entry).unwrap()).collect();
        let request = AppendEntriesRequest { vote, prev_log_id: None, entries, leader_commit: None };
        Sending::of(&request, hashes, site)
    }

    fn send(authors: &Authors, site: &str, term: u64, entries: &[(u64, u64, &Bytes)]) {
        sending(site, term, entries).into_iter().for_each(|sending| authors.sent(sending));
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
        let of = |term, index, command: &Bytes| authors.of(&entry(term, index, command));
        let is = |site: &str| Some(site.to_owned());
        assert_eq!([of(2, 5, &x), of(2, 6, &x), of(2, 7, &x)], [is("a"), is("a"), is("a")]);
        assert_eq!([of(3, 8, &x), of(4, 10, &x), of(4, 10, &y)], [is("b"), is("c"), is("a")]);
        assert_eq!([of(1, 4, &x), of(2, 8, &x), of(2, 7, &y), of(4, 9, &x)], [None, None, None, None]);
    }

    #[test]
    fn what_is_remembered_and_shown_is_bounded() {
        let (authors, empty) = (Authors::default(), Bytes::new());
        let key = SigningKey::from_bytes(&[1; 32]);
        for first in (0..70_000).step_by(1_000) {
            let entries: Vec<_> = (first..first + 1_000).map(|index| (2, index, &empty)).collect();
            authors.sent(sending("a", 2, &entries).unwrap().sign(&key));
        }
        let flood: Vec<_> = (0..=SHOWN_MAX as u64).map(|index| (3, index, &empty)).collect();
        send(&authors, "a", 3, &flood);
        let is_known = |index| authors.of(&entry(2, index, &empty)).is_some();
        assert!(!is_known(4_999) && is_known(5_000) && is_known(69_999));
        let shown = authors.shown();
        assert_eq!((shown.len(), shown[0].first, shown[15].first), (16, 54_000, 69_000));
    }

    #[test]
    fn two_entries_of_one_leader_at_one_place_contradict() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let [x, y] = [b"x", b"y"].map(|command| Bytes::from_static(command));
        let signed = |site: &str, term, entries: &[(u64, u64, &Bytes)]| {
            sending(site, term, entries).unwrap().sign(&key)
        };
        let own = [signed("a", 2, &[(2, 5, &x), (2, 6, &x)]), sending("a", 3, &[(3, 7, &x)]).unwrap()];
        let is_signed = |sending: &Sending| sending.is_signed_by(&key.verifying_key());
        let against = |others: &[&Sending]| {
            let all: Vec<Sending> = own.iter().chain(others.iter().copied()).cloned().collect();
            contradiction(&all, is_signed)
        };
        let other = signed("a", 2, &[(2, 4, &y), (2, 5, &x), (2, 6, &y)]);
        assert_eq!(against(&[&other]), Some((6, [own[0].clone(), other.clone()])));
        let forged = Sending { signature: Bytes::new(), ..other.clone() };
        // What it passes on from earlier terms counts as what it has put there itself.
        let passes_on = |term, entry: (u64, u64, &Bytes)| signed("a", term, &[entry, (term, 9, &x)]);
        let stories = |one: (u64, u64, &Bytes), term, other: (u64, u64, &Bytes)| {
            contradiction(&[passes_on(6, one), passes_on(term, other)], is_signed)
        };
        assert!(stories((2, 8, &x), 6, (2, 8, &y)).is_some());
        assert!(stories((2, 8, &x), 6, (3, 8, &x)).is_some(), "of another leader");
        assert_eq!(stories((2, 8, &x), 6, (2, 8, &x)), None, "sent again");
        assert_eq!(stories((2, 8, &x), 7, (2, 8, &x)), None, "in a later term");
        assert_eq!(stories((2, 8, &x), 7, (4, 8, &y)), None, "a leader between the two has replaced it");
        for agrees in [
            signed("a", 2, &[(2, 4, &y), (2, 5, &x), (2, 6, &x), (2, 7, &y)]),
            signed("b", 2, &[(2, 5, &y)]),
            signed("a", 4, &[(4, 5, &y)]),
            // Own, and not signed.
            signed("a", 3, &[(3, 7, &y)]),
            Sending { first: u64::MAX, ..other.clone() },
            forged.clone(),
        ] {
            assert_eq!(against(&[&agrees]), None);
        }
        // What is forged hides nothing, whichever comes first; and neither of the two need be this site's own.
        let third = signed("a", 2, &[(2, 4, &x)]);
        assert_eq!(against(&[&forged, &third, &other]), Some((4, [third.clone(), other.clone()])));
        let verifies =
            |sending: &Sending, n| sending.is_signed_by(&SigningKey::from_bytes(&[n; 32]).verifying_key());
        assert!(verifies(&other, 1) && !verifies(&other, 2));
        for changed in [
            Sending { leader: "b".into(), ..other.clone() },
            Sending { term: 3, ..other.clone() },
            Sending { first: 5, ..other.clone() },
            Sending { entries: other.entries[1..].to_vec(), ..other.clone() },
            Sending { signature: Bytes::new(), ..other.clone() },
        ] {
            assert!(!verifies(&changed, 1));
        }
    }
}
