//! Which sites have all of this site's keys, as far as it knows.

use std::collections::BTreeSet;

#[derive(Default)]
pub(super) struct Complete {
    /// By node: they had all keys when that was last looked at, and were given every new one since.
    nodes: BTreeSet<u64>,
    /// Those that are looked at now, and that were given every new one meanwhile.
    looked_at: BTreeSet<u64>,
}

impl Complete {
    pub(super) fn is(&self, node: u64) -> bool {
        self.nodes.contains(&node)
    }

    /// Only these matter from now on.
    pub(super) fn retain(&mut self, matters: impl Fn(u64) -> bool) {
        self.nodes.retain(|node| matters(*node));
        self.looked_at.retain(|node| matters(*node));
    }

    pub(super) fn look_begins(&mut self, node: u64) {
        self.looked_at.insert(node);
    }

    pub(super) fn lacks_some(&mut self, node: u64) {
        self.nodes.remove(&node);
    }

    /// It has what there was when the look began.
    pub(super) fn look_ends(&mut self, node: u64) {
        if self.looked_at.remove(&node) {
            self.nodes.insert(node);
        }
    }

    /// New keys are at these nodes, where they belonged at that moment. Members go and come back: whoever was none of
    /// those lacks these keys, and may be one of them again before the next look.
    pub(super) fn kept_at(&mut self, holding: &BTreeSet<u64>) {
        self.nodes.retain(|node| holding.contains(node));
        self.looked_at.retain(|node| holding.contains(node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_did_not_get_the_newest_key_has_not_all() {
        let mut complete = Complete::default();
        complete.look_begins(0);
        complete.look_ends(0);
        assert!(complete.is(0) && !complete.is(1));
        complete.kept_at(&BTreeSet::from([0, 1]));
        assert!(complete.is(0) && !complete.is(1), "one key is not all");
        complete.kept_at(&BTreeSet::from([1]));
        assert!(!complete.is(0));
    }

    #[test]
    fn a_key_that_went_elsewhere_during_a_look_is_not_overlooked() {
        let mut complete = Complete::default();
        complete.look_begins(0);
        complete.kept_at(&BTreeSet::from([1]));
        complete.look_ends(0);
        assert!(!complete.is(0));
        complete.look_begins(0);
        complete.kept_at(&BTreeSet::from([0]));
        complete.look_ends(0);
        assert!(complete.is(0));
        complete.lacks_some(0);
        assert!(!complete.is(0));
        complete.look_begins(0);
        complete.look_ends(0);
        complete.retain(|node| node == 1);
        assert!(!complete.is(0), "the keys do not belong there any more");
    }
}
