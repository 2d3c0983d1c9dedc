//! Which sites hold a site's keys.

use crate::roster::Known;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Holders {
    /// How many of `sites`.
    pub(super) wanted: usize,
    /// Other voters, in the order in which they are asked.
    pub(super) sites: Vec<(u64, String)>,
}

impl Holders {
    /// `named`: the partner, if the configuration names one. `takes_none`: of a release that knows nothing of this.
    pub(super) fn of(
        known: &Known,
        home: &str,
        named: Option<&str>,
        takes_none: impl Fn(u64) -> bool,
    ) -> Holders {
        let voters = known.voters.iter().filter_map(|id| Some((*id, known.members.get(id)?.name.clone())));
        let (own, mut sites): (Vec<_>, Vec<_>) = voters.partition(|(_, name)| name == home);
        // While one disk of a site takes the place of another, both vote: that is still one site.
        let count = known.voting_sites().len();
        let may_be_lost = count.saturating_sub(1) / 2;
        let wanted = may_be_lost + usize::from(own.is_empty());
        // In the order of the names, beginning behind the home site; the partner before all of them.
        sites.sort_by_key(|(id, name)| {
            (Some(name.as_str()) != named, name.as_str() < home, name.clone(), *id)
        });
        sites.retain(|(id, _)| !takes_none(*id));
        Holders { wanted: wanted.max(1).min(sites.len()), sites }
    }

    /// Where the keys belong.
    pub(super) fn chosen(&self) -> &[(u64, String)] {
        self.sites.get(..self.wanted).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::raft::{Member, StoredMembership, log_id};
    use crate::roster::Roster;

    fn known(voters: &[&str], learners: &[&str]) -> std::sync::Arc<Known> {
        let nodes = voters.iter().chain(learners).zip(0u64..).map(|(name, id)| (id, Member::founder(name)));
        let voting: BTreeSet<u64> = (0..voters.len() as u64).collect();
        let membership =
            openraft::Membership::new(vec![voting], nodes.collect::<std::collections::BTreeMap<_, _>>());
        let stored = StoredMembership::new(Some(log_id(1, 5)), membership.unwrap());
        Roster::new(0, &stored).get()
    }

    fn check(
        voters: &[&str],
        learners: &[&str],
        home: &str,
        named: Option<&str>,
        expected: (usize, &[&str]),
    ) {
        let holders = Holders::of(&known(voters, learners), home, named, |_| false);
        let names: Vec<&str> = holders.sites.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!((holders.wanted, names.as_slice()), expected, "home {home}, named {named:?}");
        assert_eq!(holders.chosen().len(), holders.wanted);
    }

    #[test]
    fn the_partner_first_then_the_next_in_order_and_never_a_learner() {
        let three = ["a", "b", "c"];
        check(&three, &[], "a", None, (1, &["b", "c"]));
        check(&three, &[], "b", None, (1, &["c", "a"]));
        check(&three, &[], "c", None, (1, &["a", "b"]));
        check(&three, &[], "a", Some("c"), (1, &["c", "b"]));
        check(&three, &["d"], "a", Some("d"), (1, &["b", "c"]));
        check(&three, &["d"], "d", None, (2, &["a", "b", "c"]));
        check(&["a"], &[], "a", None, (0, &[]));
        check(&["a"], &["b"], "a", None, (0, &[]));
        check(&["a", "b"], &[], "a", None, (1, &["b"]));
        check(&["a", "b", "c", "d"], &[], "c", None, (1, &["d", "a", "b"]));
        check(&["a", "b", "c", "d", "e"], &[], "d", Some("b"), (2, &["b", "e", "a", "c"]));
    }

    #[test]
    fn a_site_of_an_older_release_is_passed_over() {
        let older =
            |holders: &dyn Fn(u64) -> bool| Holders::of(&known(&["a", "b", "c"], &[]), "a", None, holders);
        assert_eq!(older(&|id| id == 1).chosen(), [(2, "c".to_owned())]);
        assert_eq!(older(&|_| true), Holders::default());
    }
}
