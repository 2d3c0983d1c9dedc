//! Who stands in for whom, and from which leaf to which: follows from the leaves of kind `TAKEOVER` in their order and
//! from nothing else, so that every replica says the same at the same size.

use std::collections::BTreeMap;

use crate::record::{SiteName, Takeover};

/// A lease that so many of the leader's leaves in a row do not renew has expired. The log counts, because no clock of any
/// site is to be trusted; more than one, because a new leader may have heard of the site for a moment only.
const EXPIRES_AFTER: u8 = 2;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leases {
    /// Whom a site has named.
    partners: BTreeMap<SiteName, SiteName>,
    /// Of each site that was ever gone, oldest first; only the last may have no end.
    spans: BTreeMap<SiteName, Vec<Span>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) holder: SiteName,
    /// The leaf that began it.
    pub(crate) from: u64,
    /// The leaf that ended it.
    pub(crate) until: Option<u64>,
    not_renewed: u8,
}

impl Leases {
    /// What the leaf at `index`, signed by `signer`, does.
    pub(crate) fn take(&mut self, index: u64, signer: &SiteName, takeover: Takeover) {
        match takeover {
            Takeover::Here { partner } => self.here(index, signer, partner),
            Takeover::Gone { sites } => self.gone(index, signer, &sites),
        }
    }

    fn here(&mut self, index: u64, signer: &SiteName, partner: Option<SiteName>) {
        match partner.filter(|partner| partner != signer) {
            Some(partner) => self.partners.insert(signer.clone(), partner),
            None => self.partners.remove(signer),
        };
        if let Some(span) = self.open_mut(signer) {
            span.until = Some(index);
        }
    }

    fn gone(&mut self, index: u64, signer: &SiteName, sites: &[(SiteName, SiteName)]) {
        let named = |site: &SiteName, span: &Span| sites.contains(&(site.clone(), span.holder.clone()));
        for (site, span) in &mut self.spans {
            let Some(span) = span.last_mut().filter(|span| span.until.is_none()) else { continue };
            span.not_renewed = if named(site, span) { 0 } else { span.not_renewed + 1 };
            if span.not_renewed >= EXPIRES_AFTER {
                span.until = Some(index);
            }
        }
        for (site, holder) in sites {
            // Whoever signs is not gone; and whom a site has named, nobody else may replace.
            let valid = site != signer
                && holder != site
                && self.partners.get(site).is_none_or(|partner| partner == holder);
            if valid && self.open(site).is_none() {
                let span = Span { holder: holder.clone(), from: index, until: None, not_renewed: 0 };
                self.spans.entry(site.clone()).or_default().push(span);
            }
        }
    }

    pub(crate) fn partner(&self, site: &SiteName) -> Option<&SiteName> {
        self.partners.get(site)
    }

    /// The lease in effect, if there is one.
    pub(crate) fn open(&self, site: &SiteName) -> Option<&Span> {
        self.spans.get(site)?.last().filter(|span| span.until.is_none())
    }

    fn open_mut(&mut self, site: &SiteName) -> Option<&mut Span> {
        self.spans.get_mut(site)?.last_mut().filter(|span| span.until.is_none())
    }

    /// Sites whose lease is in effect.
    pub(crate) fn all_open(&self) -> impl Iterator<Item = (&SiteName, &Span)> {
        self.spans.keys().filter_map(|site| Some((site, self.open(site)?)))
    }

    /// Leases in effect before the leaf at `index`.
    pub(crate) fn before(&self, index: u64) -> impl Iterator<Item = (&SiteName, &Span)> {
        let covers = move |span: &&Span| span.from < index && span.until.is_none_or(|until| until >= index);
        self.spans.iter().filter_map(move |(site, spans)| Some((site, spans.iter().rev().find(covers)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }

    fn gone(sites: &[(&str, &str)]) -> Takeover {
        Takeover::Gone { sites: sites.iter().map(|(gone, holder)| (site(gone), site(holder))).collect() }
    }

    fn here(partner: Option<&str>) -> Takeover {
        Takeover::Here { partner: partner.map(site) }
    }

    /// Leaves 10, 11, … ; the leases before each leaf up to the one after the last, as `a>b`.
    fn check(leaves: &[(&str, Takeover)], expected: &[&str]) {
        let mut leases = Leases::default();
        let mut seen = Vec::new();
        let show = |leases: &Leases, index: u64| {
            let held = leases.before(index).map(|(site, span)| format!("{site}>{}", span.holder));
            held.collect::<Vec<_>>().join(" ")
        };
        for (index, (signer, takeover)) in (10..).zip(leaves) {
            seen.push(show(&leases, index));
            leases.take(index, &site(signer), takeover.clone());
        }
        let end = 10 + leaves.len() as u64;
        seen.push(show(&leases, end));
        assert_eq!(seen, expected);
        // What was in effect at a place does not change by what comes after it.
        let again: Vec<String> = (10..=end).map(|index| show(&leases, index)).collect();
        assert_eq!(again, seen);
    }

    #[test]
    fn a_lease_begins_behind_its_leaf_and_ends_with_the_return() {
        let renewed = gone(&[("a", "b")]);
        check(
            &[("c", renewed.clone()), ("c", renewed.clone()), ("a", here(None)), ("c", renewed)],
            &["", "a>b", "a>b", "", "a>b"],
        );
    }

    #[test]
    fn a_lease_that_is_not_renewed_expires() {
        let (named, nobody) = (gone(&[("a", "b")]), gone(&[]));
        check(
            &[
                ("c", named.clone()),
                ("c", nobody.clone()),
                ("c", named),
                ("b", nobody.clone()),
                ("b", nobody),
            ],
            &["", "a>b", "a>b", "a>b", "a>b", ""],
        );
    }

    #[test]
    fn only_whom_a_site_has_named_stands_in_for_it() {
        check(
            &[("a", here(Some("c"))), ("b", gone(&[("a", "b")])), ("b", gone(&[("a", "c")]))],
            &["", "", "", "a>c"],
        );
        // By default whom the leader says.
        check(&[("a", here(Some("c"))), ("a", here(None)), ("b", gone(&[("a", "b")]))], &["", "", "", "a>b"]);
    }

    #[test]
    fn nobody_is_gone_by_its_own_word_or_stands_in_for_itself() {
        check(&[("a", gone(&[("a", "b")])), ("c", gone(&[("a", "a")]))], &["", "", ""]);
    }

    #[test]
    fn a_second_holder_waits_for_the_first_lease_to_expire() {
        let other = gone(&[("a", "c")]);
        check(
            &[("c", gone(&[("a", "b")])), ("c", other.clone()), ("c", other.clone()), ("c", other)],
            &["", "a>b", "a>b", "a>c", "a>c"],
        );
    }

    #[test]
    fn several_sites_may_be_gone() {
        check(
            &[("c", gone(&[("a", "b"), ("d", "e")])), ("d", here(None)), ("c", gone(&[("a", "b")]))],
            &["", "a>b d>e", "a>b", "a>b"],
        );
    }
}
