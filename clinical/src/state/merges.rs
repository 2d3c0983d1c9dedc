//! Which id stands for which, over all messages (HL7 v2 A18, A30, A34, A36, A39, A40, A46, A47).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Merges in the order they came, as chains from a prior id to the surviving one. Neither id need be known before.
/// What would close a circle, or move a merged id to another survivor, is not followed: which record is whose is for a
/// person to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Merges<K: Ord>(BTreeMap<K, K>);

/// What a merge comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge<K> {
    /// Both have stood for themselves so far: what `from` had is `into`'s now.
    Joined { from: K, into: K },
    /// It says what is so already.
    Known,
    /// The survivor has been merged into the prior id, at once or by way of others.
    Circle,
    /// The prior id has another survivor already.
    Contradicts,
}

impl<K: Ord> Default for Merges<K> {
    fn default() -> Self {
        Merges(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Merges<K> {
    /// The id under which this one's record stands.
    pub fn survivor<'k>(&'k self, id: &'k K) -> &'k K {
        let mut survivor = id;
        // `merge` makes no circle; the bound guards a damaged store.
        for _ in 0..self.0.len() {
            match self.0.get(survivor) {
                Some(next) => survivor = next,
                None => break,
            }
        }
        survivor
    }

    /// Whether [`merge`](Self::merge) would come to [`Merge::Known`].
    pub fn knows(&self, from: &K, into: &K) -> bool {
        let prior = self.survivor(from);
        prior == self.survivor(into) && (prior != from || from == into)
    }

    /// A message says that `into` replaces `from`.
    pub fn merge(&mut self, from: &K, into: &K) -> Merge<K> {
        let (prior, survivor) = (self.survivor(from).clone(), self.survivor(into).clone());
        let merged_before = prior != *from;
        match (prior == survivor, merged_before) {
            (true, false) if from != into => Merge::Circle,
            (true, _) => Merge::Known,
            (false, true) => Merge::Contradicts,
            (false, false) => {
                self.0.insert(prior.clone(), survivor.clone());
                Merge::Joined { from: prior, into: survivor }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(from: char, into: char) -> Merge<char> {
        Merge::Joined { from, into }
    }

    #[test]
    fn chains_lead_to_the_last_survivor_whatever_their_order() {
        let mut merges = Merges::default();
        assert_eq!(merges.merge(&'a', &'b'), joined('a', 'b'));
        assert_eq!(merges.merge(&'b', &'c'), joined('b', 'c'));
        assert_eq!(*merges.survivor(&'a'), 'c');
        // The later one came first: what is merged into a merged id goes to its survivor.
        let mut merges = Merges::default();
        assert_eq!(merges.merge(&'b', &'c'), joined('b', 'c'));
        assert_eq!(merges.merge(&'a', &'b'), joined('a', 'c'));
        assert_eq!((*merges.survivor(&'a'), *merges.survivor(&'z')), ('c', 'z'));
        assert!(merges.knows(&'a', &'b') && merges.knows(&'a', &'c'));
        assert_eq!(merges.merge(&'a', &'b'), Merge::Known);
        assert_eq!(merges.merge(&'a', &'c'), Merge::Known);
        assert!(!merges.knows(&'c', &'a') && !merges.knows(&'z', &'a'));
    }

    #[test]
    fn a_circle_over_several_messages_is_not_followed() {
        let mut merges = Merges::default();
        merges.merge(&'a', &'b');
        merges.merge(&'b', &'c');
        assert_eq!(merges.merge(&'c', &'a'), Merge::Circle);
        assert_eq!(merges.merge(&'c', &'b'), Merge::Circle);
        assert_eq!(*merges.survivor(&'a'), 'c');
    }

    #[test]
    fn two_survivors_of_one_id_are_not_made_one() {
        let mut merges = Merges::default();
        merges.merge(&'a', &'b');
        assert_eq!(merges.merge(&'a', &'c'), Merge::Contradicts);
        assert_eq!((*merges.survivor(&'b'), *merges.survivor(&'c')), ('b', 'c'));
    }

    proptest! {
        #[test]
        fn no_order_of_merges_makes_a_circle(pairs in prop::collection::vec((0..8_u8, 0..8_u8), 0..40)) {
            let mut merges = Merges::default();
            for (from, into) in &pairs {
                merges.merge(from, into);
            }
            for id in 0..8 {
                let survivor = *merges.survivor(&id);
                prop_assert!(!merges.0.contains_key(&survivor), "a survivor stands for itself");
            }
        }
    }
}
