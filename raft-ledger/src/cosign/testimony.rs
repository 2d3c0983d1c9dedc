//! What a leader did that no signature of its own shows: each site that saw it signs that it did, and a majority's word
//! convicts.
//!
//! A command in another's name, which that one did not make: its signature does not hold, so it says nothing of who put
//! it into the raft log; but whoever led then sent it to the others over its own connections. An honest leader proposes
//! only what its site has made (`network/server.rs`).
//!
//! A batch that it took, and left out of the raft log again and again (`passed_over.rs`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ed25519_dalek::{Signature, Signer};
use serde::{Deserialize, Serialize};

use crate::keys::SiteKeys;
use crate::record::Hash;

/// Findings that are remembered against one site: one convicts.
const FOUND_MAX: usize = 16;
/// Times that the others are asked for theirs: they hear of it when this site does.
const ASKED_MAX: u32 = 30;
/// So often, and what nobody has confirmed may be told to each site alone, or only to hide another.
pub(super) const ASKED_ENOUGH: u32 = 3;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Deed {
    /// All that earlier releases know.
    #[default]
    Forged,
    PassedOver,
}

/// What a site saw, and who led then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accusation {
    #[serde(default)]
    pub(crate) deed: Deed,
    pub(crate) leader: String,
    pub(crate) term: u64,
    /// SHA-256 of the command as it was proposed, or handed to the leader.
    pub(crate) command: Hash,
}

impl Deed {
    /// Of the evidence.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Deed::Forged => "forged",
            Deed::PassedOver => "passed-over",
        }
    }
}

impl Accusation {
    /// What a site signs with its batch key. The verifier makes the same bytes.
    fn statement(&self) -> Vec<u8> {
        let Accusation { deed, leader, term, command } = self;
        let (kind, command) = (deed.kind(), hex::encode(command));
        format!("medulla testimony v1\n{kind}\n{leader}\n{term}\n{command}\n").into_bytes()
    }
}

/// Signatures under one statement, by site.
pub(crate) type Testimonies = BTreeMap<String, [u8; 64]>;

/// What this site has seen for itself.
pub(crate) struct Witness {
    keys: Arc<SiteKeys>,
    found: Mutex<VecDeque<Found>>,
}

struct Found {
    what: Accusation,
    asked: u32,
    is_proven: bool,
}

impl Witness {
    pub(super) fn new(keys: Arc<SiteKeys>) -> Witness {
        Witness { keys, found: Mutex::default() }
    }

    pub(super) fn saw(&self, what: Accusation) {
        let mut found = self.lock();
        if found.iter().any(|known| known.what == what) {
            return;
        }
        if found.iter().filter(|known| known.what.leader == what.leader).count() == FOUND_MAX {
            // The one that the others had most chances to confirm, before one that they have.
            let places = found.iter().enumerate().filter(|(_, known)| known.what.leader == what.leader);
            let place = places.max_by_key(|(_, known)| (!known.is_proven, known.asked));
            let Some((place, _)) = place.filter(|(_, known)| known.asked >= ASKED_ENOUGH) else { return };
            found.remove(place);
        }
        found.push_back(Found { what, asked: 0, is_proven: false });
    }

    /// This site's signature, if it has seen the same.
    pub(crate) fn testify(&self, asked: &Accusation) -> Result<[u8; 64], String> {
        match self.lock().iter().any(|known| known.what == *asked) {
            true => Ok(self.keys.batch.sign(&asked.statement()).to_bytes()),
            false => Err("this site has not seen that".into()),
        }
    }

    /// Something that the others are to be asked about, and how often they were.
    pub(super) fn next(&self) -> Option<(Accusation, u32)> {
        let mut found = self.lock();
        let is_open = |known: &&mut Found| !known.is_proven && known.asked < ASKED_MAX;
        let next = found.iter_mut().filter(is_open).min_by_key(|known| known.asked)?;
        next.asked += 1;
        Some((next.what.clone(), next.asked))
    }

    /// Nobody needs to be asked any more.
    pub(super) fn is_proven(&self, what: &Accusation) {
        self.lock().iter_mut().filter(|known| known.what == *what).for_each(|known| known.is_proven = true);
    }

    /// This site's word and those of the `others` that hold, if they are those of a majority of the voters.
    pub(super) fn majority(
        &self,
        what: &Accusation,
        others: Testimonies,
        voters: &BTreeSet<String>,
    ) -> Option<Testimonies> {
        let (statement, verifiers) = (what.statement(), self.keys.verifiers());
        let mut votes = Testimonies::from([(self.keys.site.to_string(), self.testify(what).ok()?)]);
        votes.extend(others.into_iter().filter(|(site, signature)| {
            verifiers
                .batch_key(site)
                .is_some_and(|key| key.verify_strict(&statement, &Signature::from_bytes(signature)).is_ok())
        }));
        votes.retain(|site, _| voters.contains(site));
        (votes.len() > voters.len() / 2).then_some(votes)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Found>> {
        // Each use is one operation on the list.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_seen_is_signed_and_only_a_majority_convicts() {
        let dir = tempfile::tempdir().unwrap();
        let made = crate::keys::init(dir.path(), &[("a", "h"), ("b", "h"), ("c", "h")]).unwrap();
        let [a, b, c] = [0, 1, 2].map(|n| Witness::new(Arc::new(SiteKeys::load(&made[n]).unwrap())));
        let forged = Accusation { deed: Deed::Forged, leader: "c".into(), term: 4, command: [7; 32] };
        a.saw(forged.clone());
        assert!(b.testify(&forged).is_err() && a.testify(&forged).is_ok());
        b.saw(forged.clone());
        let word = |site: &str, signature| Testimonies::from([(site.to_owned(), signature)]);
        let voters = ["a", "b", "c"].map(str::to_owned).into();
        let votes = a.majority(&forged, word("b", b.testify(&forged).unwrap()), &voters).unwrap();
        assert_eq!(votes.keys().collect::<Vec<_>>(), ["a", "b"]);
        let passed_over = Accusation { deed: Deed::PassedOver, ..forged.clone() };
        assert!(a.testify(&passed_over).is_err());
        let other = Accusation { term: 5, ..forged.clone() };
        c.saw(other.clone());
        for (site, signature) in [
            ("c", b.testify(&forged).unwrap()),
            ("c", c.testify(&other).unwrap()),
            ("d", b.testify(&forged).unwrap()),
            ("a", a.testify(&forged).unwrap()),
        ] {
            assert_eq!(a.majority(&forged, word(site, signature), &voters), None, "{site}");
        }
        assert_eq!(a.next(), Some((forged.clone(), 1)));
        a.is_proven(&forged);
        assert_eq!(a.next(), None);
    }

    #[test]
    fn what_nobody_confirms_gives_way_and_hides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let made = crate::keys::init(dir.path(), &[("a", "h")]).unwrap();
        let a = Witness::new(Arc::new(SiteKeys::load(&made[0]).unwrap()));
        let claim = |leader: &str, n: u64| {
            let deed = Deed::Forged;
            Accusation { deed, leader: leader.into(), term: n, command: [7; 32] }
        };
        let knows = |what: &Accusation| a.testify(what).is_ok();
        let [proven, late, later] = [0, 98, 99].map(|n| claim("c", n));
        a.saw(proven.clone());
        a.is_proven(&proven);
        (1..FOUND_MAX as u64).for_each(|n| a.saw(claim("c", n)));
        a.saw(late.clone());
        assert!(!knows(&late), "nobody was asked about the others yet");
        // Against another site there is room.
        a.saw(claim("b", 1));
        assert!(knows(&claim("b", 1)));
        a.is_proven(&claim("b", 1));
        (0..ASKED_ENOUGH * (FOUND_MAX as u32 - 1)).for_each(|_| drop(a.next()));
        for what in [&late, &later] {
            a.saw(what.clone());
            assert!(knows(what), "{what:?}");
        }
        assert!(knows(&proven) && a.lock().len() == FOUND_MAX + 1);
    }

    #[test]
    fn the_word_of_a_later_site_counts_once_the_ledger_has_brought_its_keys() {
        let dir = tempfile::tempdir().unwrap();
        let made = crate::keys::init(dir.path(), &[("a", "h"), ("b", "h"), ("c", "h")]).unwrap();
        let (folder, _) =
            crate::keys::join(dir.path(), "d", "h", &dir.path().join("a/index-key.hex")).unwrap();
        let keys = [&made[0], &made[1], &folder].map(|dir| Arc::new(SiteKeys::load(dir).unwrap()));
        let [a, b, d] = keys.clone().map(Witness::new);
        let forged = Accusation { deed: Deed::Forged, leader: "c".into(), term: 4, command: [7; 32] };
        [&a, &b, &d].iter().for_each(|witness| witness.saw(forged.clone()));
        let words = [("b", &b), ("d", &d)].map(|(site, of)| (site.to_owned(), of.testify(&forged).unwrap()));
        let voters = ["a", "b", "c", "d"].map(str::to_owned).into();
        assert_eq!(a.majority(&forged, words.clone().into(), &voters), None, "two of four");
        keys[0].ring.meet(&keys[2]);
        let votes = a.majority(&forged, words.into(), &voters).unwrap();
        assert_eq!(votes.keys().collect::<Vec<_>>(), ["a", "b", "d"]);
    }
}
