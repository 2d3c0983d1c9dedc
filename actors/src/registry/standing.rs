//! What this site's scorers may do, as the ledger has it up to some place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ml_scoring::{Scorer, Thresholds};

use super::notes::Note;
use crate::entry::{ModelStep, ReplacedThen};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Live,
    /// Scores, and alerts nobody.
    Shadow,
    /// Another model took its place here. Neither scores nor alerts.
    Off,
    /// Neither scores nor alerts, at any site. Alerts that it has made are still explained.
    Retired,
}

/// One scorer's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    pub role: Role,
    /// That this site decided on; the scorer's own without it.
    pub thresholds: Option<Thresholds>,
    /// In shadow: the ledger index from which it is counted what it would have done.
    pub counted_since: Option<u64>,
}

/// Of the scorers that the configuration names, in their order.
pub(crate) type Places = Vec<Place>;

/// What the configuration says of models.
#[derive(Debug, Default)]
pub(crate) struct Configured {
    pub site: String,
    /// Hashes of those that score and alert nobody.
    pub in_shadow: BTreeSet<String>,
}

#[derive(Clone)]
pub(crate) struct Standing {
    configured: Arc<Configured>,
    retired: BTreeSet<String>,
    decided: BTreeMap<String, Decided>,
    /// Models of which the ledger says that this site's configuration has them in shadow.
    noted: BTreeSet<String>,
    /// Models that alert here from an entry on and not before, wherever the configuration names them by now.
    awaited: BTreeSet<String>,
}

/// What this site decided about a model, and the entry that says so.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decided {
    pub role: Role,
    pub thresholds: Option<Thresholds>,
    pub index: u64,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Why {
    Promoted,
    /// By the model with this hash.
    Replaced(String),
    /// After it was promoted. Registered again it is in shadow.
    Retired,
}

impl Place {
    pub const LIVE: Place = Place { role: Role::Live, thresholds: None, counted_since: None };
}

impl Standing {
    pub fn new(configured: Arc<Configured>) -> Standing {
        let (retired, decided, noted, awaited) = Default::default();
        Standing { configured, retired, decided, noted, awaited }
    }

    pub fn after<'n>(configured: Arc<Configured>, notes: impl IntoIterator<Item = &'n Note>) -> Standing {
        let mut standing = Standing::new(configured);
        notes.into_iter().for_each(|note| standing.take(note));
        standing
    }

    /// Tells of entries to come, all of them from the first on: a ledger that is folded again must not alert before the
    /// decision to, nor keep silent where it did alert.
    pub fn await_promotions<'n>(&mut self, notes: impl IntoIterator<Item = &'n Note>) {
        let (mut live, mut retired) = (BTreeSet::new(), BTreeSet::new());
        for note in notes {
            let own = note.site == self.configured.site;
            match note.step() {
                Some((hash, ModelStep::Retired)) => drop(retired.insert(hash)),
                Some((hash, ModelStep::Registered)) => drop(retired.remove(hash)),
                Some((hash, ModelStep::Loaded)) if own => drop(live.insert(hash)),
                Some((hash, ModelStep::Shadow | ModelStep::Unloaded)) if own => drop(live.remove(hash)),
                Some((hash, ModelStep::Promoted))
                    if own && note.whole().is_some() && !live.contains(hash) && !retired.contains(hash) =>
                {
                    self.awaited.insert(hash.to_owned());
                }
                _ => {}
            }
        }
    }

    /// The next entry. Retiring and registering count at every site, whoever did it; what a site promotes alerts there
    /// alone, because its threshold is set on that site's data.
    pub fn take(&mut self, note: &Note) {
        let Some((hash, step)) = note.step() else { return };
        let own = note.site == self.configured.site;
        match step {
            ModelStep::Retired => self.retire(hash, note.index),
            ModelStep::Registered => drop(self.retired.remove(hash)),
            ModelStep::Shadow if own => drop(self.noted.insert(hash.to_owned())),
            ModelStep::Loaded | ModelStep::Unloaded if own => drop(self.noted.remove(hash)),
            // Whose it is stands in the cold file: it may be this one's.
            ModelStep::Promoted if own || note.site.is_empty() => self.promoted(note),
            _ => {}
        }
    }

    fn retire(&mut self, hash: &str, index: u64) {
        self.retired.insert(hash.to_owned());
        // Registered again it may meet another one in its place: it alerts again once that is decided.
        if let Some(decided) = self.decided.get_mut(hash).filter(|decided| decided.role == Role::Live) {
            (decided.role, decided.index, decided.why) = (Role::Shadow, index, Why::Retired);
        }
    }

    fn promoted(&mut self, note: &Note) {
        let promotion = note.whole().and_then(|model| {
            let (watch, interruptive) = (model.threshold?, model.interruptive_threshold?);
            Some((model, Thresholds { watch, interruptive }))
        });
        let Some((model, thresholds)) = promotion else {
            // Whoever alerted before goes on: loud and wrong is better than silent.
            let whose = if note.site.is_empty() { "some site's, perhaps this one's," } else { "this site's" };
            tracing::error!(
                index = note.index,
                "a promotion, {whose} cannot be read and does not count until it can and the site starts again; \
                 `medulla model promote` decides anew"
            );
            return;
        };
        let index = note.index;
        if self.retired.contains(&model.hash) {
            // Two sites at once: the first in the ledger has decided, and what this one would replace goes on.
            tracing::warn!(
                index,
                hash = model.hash,
                "a model was retired before this entry promotes it: it counts for nothing"
            );
            return;
        }
        let live = Decided { role: Role::Live, thresholds: Some(thresholds), index, why: Why::Promoted };
        self.decided.insert(model.hash.clone(), live);
        if let Some(replaced) = &model.replaces {
            let role = match replaced.then {
                ReplacedThen::Shadow => Role::Shadow,
                ReplacedThen::Off => Role::Off,
            };
            let thresholds = self.decided(&replaced.hash).and_then(|decided| decided.thresholds);
            let why = Why::Replaced(model.hash.clone());
            self.decided.insert(replaced.hash.clone(), Decided { role, thresholds, index, why });
        }
    }

    pub fn decided(&self, hash: &str) -> Option<&Decided> {
        self.decided.get(hash)
    }

    pub fn is_retired(&self, hash: &str) -> bool {
        self.retired.contains(hash)
    }

    /// Models that this site's decisions have alert.
    pub fn promoted_hashes(&self) -> impl Iterator<Item = (&str, &Decided)> {
        let live = self.decided.iter().filter(|(_, decided)| decided.role == Role::Live);
        live.map(|(hash, decided)| (hash.as_str(), decided))
    }

    /// Whether the ledger says that it is in shadow, so that everybody who reads it begins to count at the same entry.
    pub fn is_noted(&self, hash: &str) -> bool {
        let by_decision = self.decided(hash).is_some_and(|decided| decided.role == Role::Shadow);
        by_decision || self.noted.contains(hash)
    }

    pub fn role(&self, scorer: &Scorer) -> Role {
        self.place(scorer).role
    }

    pub fn place(&self, scorer: &Scorer) -> Place {
        // Decisions are about models: rules have no entries.
        let Some(hash) = model_hash(scorer) else { return Place::LIVE };
        let decided = self.decided(&hash);
        let in_shadow = self.configured.in_shadow.contains(&hash) || self.awaited.contains(&hash);
        let configured = if in_shadow { Role::Shadow } else { Role::Live };
        let role = match decided {
            _ if self.retired.contains(&hash) => Role::Retired,
            Some(decided) => decided.role,
            None => configured,
        };
        let thresholds = decided.and_then(|decided| decided.thresholds);
        Place { role, thresholds, counted_since: None }
    }

    pub fn places(&self, scorers: &[Scorer]) -> Places {
        scorers.iter().map(|scorer| self.place(scorer)).collect()
    }
}

/// `in_shadow`: those that score and alert nobody.
pub(crate) fn configured(site: &str, in_shadow: &[Scorer]) -> Arc<Configured> {
    Arc::new(Configured { site: site.to_owned(), in_shadow: model_hashes(in_shadow) })
}

/// Those beside which a model in shadow is held: what alerts for the same task, models before rules. Their positions.
pub(crate) fn beside(scorers: &[Scorer], places: &[Place], task: &str) -> Vec<usize> {
    let live = |position: &usize| {
        scorers.get(*position).is_some_and(|scorer| scorer.task() == task)
            && places.get(*position).is_some_and(|place| place.role == Role::Live)
    };
    let live: Vec<usize> = (0..scorers.len()).filter(live).collect();
    let is_model = |position: &usize| scorers[*position].card().is_some();
    let models: Vec<usize> = live.iter().copied().filter(is_model).collect();
    if models.is_empty() { live } else { models }
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
    use crate::entry::{ModelRegistered, Replaced};
    use crate::registry::notes::Said;

    fn note(step: ModelStep) -> Note {
        let said = Said::Step { hash: "ab".into(), step };
        Note { index: 0, site: "b".into(), at: Time(0), said }
    }

    fn check(steps: &[ModelStep], is_retired: bool) {
        let notes: Vec<Note> = steps.iter().copied().map(note).collect();
        assert_eq!(Standing::after(Arc::default(), &notes).retired.contains("ab"), is_retired, "{steps:?}");
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
        let mut standing = Standing::new(Arc::default());
        let rule = Scorer::news2();
        standing.retired.insert(hex::encode(rule.hash()));
        assert_eq!(standing.places(&[rule]), [Place::LIVE]);
    }

    fn promotion(
        site: &str,
        index: u64,
        hash: &str,
        watch: f64,
        replaces: Option<(&str, ReplacedThen)>,
    ) -> Note {
        let model = ModelRegistered {
            hash: hash.into(),
            step: ModelStep::Promoted,
            threshold: Some(watch),
            interruptive_threshold: Some(0.5),
            replaces: replaces.map(|(hash, then)| Replaced { hash: hash.into(), then }),
            ..Default::default()
        };
        Note { index, site: site.into(), at: Time(0), said: Said::Whole(Box::new(model)) }
    }

    #[test]
    fn a_promotion_counts_at_its_own_site_and_the_next_one_can_take_it_back() {
        let configured = Arc::new(Configured { site: "a".into(), in_shadow: ["new".to_owned()].into() });
        let standing = |notes: &[Note]| Standing::after(configured.clone(), notes);
        let elsewhere = standing(&[promotion("b", 1, "new", 0.1, Some(("old", ReplacedThen::Shadow)))]);
        assert!(elsewhere.decided("new").is_none() && elsewhere.decided("old").is_none());
        let mut notes = vec![promotion("a", 2, "new", 0.1, Some(("old", ReplacedThen::Shadow)))];
        let here = standing(&notes);
        let thresholds = Some(Thresholds { watch: 0.1, interruptive: 0.5 });
        let decided = |role, thresholds, index, why| Decided { role, thresholds, index, why };
        assert_eq!(here.decided("new"), Some(&decided(Role::Live, thresholds, 2, Why::Promoted)));
        let replaced = |by: &str| Why::Replaced(by.into());
        assert_eq!(here.decided("old"), Some(&decided(Role::Shadow, None, 2, replaced("new"))));
        assert!(here.is_noted("old") && !here.is_noted("new"));
        notes.push(promotion("a", 3, "old", 0.2, Some(("new", ReplacedThen::Off))));
        let back = standing(&notes);
        assert_eq!(back.decided("new"), Some(&decided(Role::Off, thresholds, 3, replaced("old"))));
        assert_eq!(back.promoted_hashes().map(|(hash, _)| hash).collect::<Vec<_>>(), ["old"]);
        let unread = Said::Step { hash: "new".into(), step: ModelStep::Promoted };
        let unread = Note { index: 4, site: "a".into(), at: Time(0), said: unread };
        assert!(standing(&[unread]).decided("new").is_none(), "without its thresholds it does not count");
    }

    #[test]
    fn who_was_promoted_and_retired_comes_back_in_shadow() {
        let configured = Arc::new(Configured { site: "a".into(), ..Default::default() });
        let step = |step| Note { site: "b".into(), ..note(step) };
        let mut notes = vec![promotion("a", 2, "ab", 0.1, None), step(ModelStep::Retired)];
        notes.push(promotion("a", 4, "other", 0.1, None));
        notes.push(step(ModelStep::Registered));
        let standing = Standing::after(configured.clone(), &notes);
        let decided = standing.decided("ab").map(|decided| (decided.role, decided.why.clone()));
        assert_eq!(decided, Some((Role::Shadow, Why::Retired)));
        assert_eq!(standing.promoted_hashes().map(|(hash, _)| hash).collect::<Vec<_>>(), ["other"]);
        notes.push(promotion("a", 6, "ab", 0.2, None));
        let standing = Standing::after(configured, &notes);
        assert_eq!(standing.decided("ab").map(|decided| decided.role), Some(Role::Live));
    }

    /// Another site retired it at the same time, and came first.
    #[test]
    fn who_was_retired_before_is_not_promoted_and_what_it_would_replace_goes_on() {
        let configured = Arc::new(Configured { site: "a".into(), ..Default::default() });
        let promoted = || promotion("a", 4, "ab", 0.1, Some(("old", ReplacedThen::Off)));
        let notes = [note(ModelStep::Retired), promoted(), note(ModelStep::Registered)];
        let mut standing = Standing::after(configured.clone(), &notes);
        assert!(standing.decided("ab").is_none() && standing.decided("old").is_none());
        standing.await_promotions(&notes);
        assert!(standing.awaited.is_empty());
        let standing = Standing::after(configured, &[note(ModelStep::Registered), promoted()]);
        assert_eq!(standing.decided("old").map(|decided| decided.role), Some(Role::Off));
    }

    #[test]
    fn who_is_promoted_later_does_not_alert_before_and_who_alerted_does() {
        use ModelStep::{Loaded, Shadow};
        let awaited = |steps: &[ModelStep]| {
            let mut notes: Vec<Note> = steps.iter().copied().map(note).collect();
            notes.push(promotion("b", 8, "ab", 0.1, None));
            // Moved in the configuration since.
            notes.push(note(Loaded));
            let configured = Configured { site: "b".into(), ..Default::default() };
            let mut standing = Standing::new(Arc::new(configured));
            standing.await_promotions(&notes);
            standing.awaited.contains("ab")
        };
        assert!(awaited(&[Shadow]) && awaited(&[Loaded, Shadow]) && awaited(&[]));
        assert!(!awaited(&[Loaded]) && !awaited(&[Shadow, Loaded]));
    }

    #[test]
    fn it_is_counted_from_the_entry_that_says_so() {
        let configured = Arc::new(Configured { site: "b".into(), in_shadow: ["ab".to_owned()].into() });
        let noted = |steps: &[ModelStep]| {
            let notes: Vec<Note> = steps.iter().copied().map(note).collect();
            Standing::after(configured.clone(), &notes).is_noted("ab")
        };
        use ModelStep::{Loaded, Shadow, Unloaded};
        assert!(!noted(&[]) && !noted(&[Loaded]) && noted(&[Loaded, Shadow]));
        assert!(
            !noted(&[Shadow, Unloaded]) && noted(&[Shadow, Unloaded, Shadow]) && !noted(&[Shadow, Loaded])
        );
    }
}
