//! From where on, and beside what, each model in shadow is counted.

use std::collections::BTreeSet;

use clinical::Time;
use ml_scoring::{AlertPolicy, Scorer};

use super::tally::{Against, Setting, Tallies};
use crate::registry::standing::{Place, Role, Standing, beside, model_hash};

impl Tallies {
    /// At this place in the ledger, `now`, the scorers have these places. Those in shadow are counted from their tally's
    /// beginning on; others have none.
    pub fn stand(
        &mut self,
        scorers: &[Scorer],
        places: &mut [Place],
        standing: &Standing,
        policy: &AlertPolicy,
        now: (u64, Time),
    ) {
        let mut counted = BTreeSet::new();
        let in_shadow: Vec<usize> =
            (0..scorers.len()).filter(|at| places.get(*at).is_some_and(|p| p.role == Role::Shadow)).collect();
        for at in in_shadow {
            // Else the entry that says so is still to come.
            let Some(hash) = model_hash(&scorers[at]).filter(|hash| standing.is_noted(hash)) else {
                continue;
            };
            let setting = setting(scorers, places, at, policy);
            places[at].counted_since = Some(self.begin(&hash, setting, now));
            counted.insert(hash);
        }
        self.keep_only(|hash| counted.contains(hash));
    }
}

/// What the figures of the model at this position depend on.
fn setting(scorers: &[Scorer], places: &[Place], at: usize, policy: &AlertPolicy) -> Setting {
    let of = |at: usize| places[at].thresholds.unwrap_or_else(|| scorers[at].thresholds());
    let against = beside(scorers, places, scorers[at].task()).into_iter().map(|live| Against {
        model: scorers[live].name().to_owned(),
        hash: hex::encode(scorers[live].hash()),
        thresholds: of(live),
    });
    let policy = policy.of_scorer(scorers[at].name());
    Setting { thresholds: of(at), against: against.collect(), policy }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::entry::ModelStep;
    use crate::registry::notes::{Note, Said};
    use crate::registry::sample;
    use crate::registry::standing::{Configured, configured};

    fn note(index: u64, hash: &str, step: ModelStep) -> Note {
        let said = Said::Step { hash: hash.into(), step };
        Note { index, site: "a".into(), at: Time(0), said }
    }

    #[test]
    fn a_tally_begins_with_its_entry_and_anew_when_what_stands_beside_it_changes() {
        let shadow = vec![sample::model("new", "2027")];
        let told: Arc<Configured> = configured("a", &shadow);
        let mut scorers = vec![Scorer::news2(), sample::model("old", "2026")];
        scorers.extend(shadow);
        let [old, new] = [1, 2].map(|at| hex::encode(scorers[at].hash()));
        let policy = AlertPolicy::default();
        let mut tallies = Tallies::default();
        let mut notes = Vec::new();
        let mut since = |note: Option<Note>, index: u64| {
            notes.extend(note);
            let standing = Standing::after(told.clone(), &notes);
            let mut places = standing.places(&scorers);
            tallies.stand(&scorers, &mut places, &standing, &policy, (index, Time(1)));
            let against: Vec<String> = tallies
                .get(&new)
                .map(|tally| tally.setting.against.iter().map(|against| against.model.clone()).collect())
                .unwrap_or_default();
            (places[2].counted_since, against)
        };
        let beside_old = vec!["old".to_owned()];
        assert_eq!(since(None, 0), (None, vec![]), "the entry is not met yet");
        assert_eq!(since(Some(note(4, &new, ModelStep::Shadow)), 4), (Some(4), beside_old.clone()));
        assert_eq!(since(None, 9), (Some(4), beside_old), "a restart goes on");
        // NEWS2 alerts for another task.
        assert_eq!(since(Some(note(12, &old, ModelStep::Retired)), 12), (Some(12), vec![]));
        assert_eq!(since(Some(note(15, &new, ModelStep::Retired)), 15), (None, vec![]));
    }

    /// What earlier releases refuse is written only where somebody has asked for it, so that they go on, too: of budgets by
    /// scorer, a tally needs its own and no others.
    #[test]
    fn an_earlier_release_meets_no_field_that_it_does_not_know() {
        let scorers = [sample::model("new", "2027")];
        let scorer_budgets = [("new".to_owned(), 3), ("old".to_owned(), 4)].into();
        let policy = AlertPolicy { scorer_budgets, ..AlertPolicy::default() };
        let places = [Place { role: Role::Shadow, ..Place::LIVE }];
        let written = serde_json::to_value(setting(&scorers, &places, 0, &policy).policy).unwrap();
        let known = ["per_ward_budget_per_day", "quiet_after_confirmation_h", "rearm_below", "refractory_h"];
        let fields: std::collections::BTreeSet<&str> =
            written.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, known.into());
        assert_eq!(written["per_ward_budget_per_day"], 3);
    }
}
