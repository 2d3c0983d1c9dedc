//! What this site's scorers may do, as the ledger has it up to some place.

use std::collections::BTreeSet;

use ml_scoring::Scorer;

use super::notes::Note;
use crate::entry::ModelStep;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Live,
    /// Neither scores nor alerts. Alerts that it has made are still explained.
    Retired,
}

/// The roles of the scorers that the configuration names, in their order.
pub(crate) type Roles = Vec<Role>;

#[derive(Clone, Default)]
pub(crate) struct Standing {
    retired: BTreeSet<String>,
}

impl Standing {
    pub fn after<'n>(notes: impl IntoIterator<Item = &'n Note>) -> Standing {
        let mut standing = Standing::default();
        notes.into_iter().for_each(|note| standing.take(note));
        standing
    }

    /// The next entry. Retiring and registering count at every site, whoever did it.
    pub fn take(&mut self, note: &Note) {
        match note.step() {
            Some((hash, ModelStep::Retired)) => {
                self.retired.insert(hash.to_owned());
            }
            Some((hash, ModelStep::Registered)) => {
                self.retired.remove(hash);
            }
            Some((_, ModelStep::Loaded | ModelStep::Unloaded)) | None => {}
        }
    }

    pub fn role(&self, scorer: &Scorer) -> Role {
        match model_hash(scorer) {
            Some(hash) if self.retired.contains(&hash) => Role::Retired,
            _ => Role::Live,
        }
    }

    pub fn roles(&self, scorers: &[Scorer]) -> Roles {
        scorers.iter().map(|scorer| self.role(scorer)).collect()
    }
}

/// Rules have no card, and no entries.
pub(crate) fn model_hash(scorer: &Scorer) -> Option<String> {
    scorer.card().map(|_| hex::encode(scorer.hash()))
}

pub(crate) fn model_hashes(scorers: &[Scorer]) -> BTreeSet<String> {
    scorers.iter().filter_map(model_hash).collect()
}

#[cfg(test)]
mod tests {
    use clinical::Time;

    use super::*;
    use crate::registry::notes::Said;

    fn note(step: ModelStep) -> Note {
        let said = Said::Step { hash: "ab".into(), step };
        Note { index: 0, site: "b".into(), at: Time(0), said }
    }

    fn check(steps: &[ModelStep], is_retired: bool) {
        let notes: Vec<Note> = steps.iter().copied().map(note).collect();
        assert_eq!(Standing::after(&notes).retired.contains("ab"), is_retired, "{steps:?}");
    }

    #[test]
    fn the_last_decision_counts_and_loading_is_none() {
        use ModelStep::{Loaded, Registered, Retired, Unloaded};
        check(&[], false);
        check(&[Loaded, Retired], true);
        check(&[Retired, Loaded, Unloaded, Loaded], true);
        check(&[Registered, Retired, Registered], false);
        check(&[Registered, Retired, Registered, Retired], true);
    }

    #[test]
    fn rules_are_not_concerned() {
        let mut standing = Standing::default();
        let rule = Scorer::news2();
        standing.retired.insert(hex::encode(rule.hash()));
        assert_eq!(standing.roles(&[rule]), [Role::Live]);
    }
}
