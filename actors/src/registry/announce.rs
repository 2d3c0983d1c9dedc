//! A site that starts says which models its configuration names, where that differs from what it last said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ml_scoring::Scorer;
use raft_ledger::{Ledger, LedgerError};

use super::notes::{self, Note};
use super::standing::{Configured, Role, Standing, Why, model_hash, model_hashes};
use crate::entry::{ModelRegistered, ModelStep};
use crate::outgoing;

/// Blocks for as long as reading the entries about models takes; the new ones follow by themselves.
pub(crate) fn announce(
    ledger: &Ledger,
    configured: &Arc<Configured>,
    scorers: &[Scorer],
) -> Result<(), LedgerError> {
    let notes = notes::all(ledger, ledger.size(), &model_hashes(scorers))?;
    warn_of_decisions(&Standing::after(configured.clone(), &notes), configured, scorers);
    let steps = steps(&notes, configured, scorers);
    if steps.is_empty() {
        return Ok(());
    }
    let (ledger, site) = (ledger.clone(), configured.site.clone());
    actix::spawn(async move {
        for step in steps {
            outgoing::append(&ledger, notes::draft(&ledger, &site, &step)).await;
        }
    });
    Ok(())
}

/// Where the configuration says something else than what was decided: the decision holds.
fn warn_of_decisions(standing: &Standing, configured: &Configured, scorers: &[Scorer]) {
    for scorer in scorers {
        let Some(hash) = model_hash(scorer) else { continue };
        let (model, place) = (scorer.name(), standing.place(scorer));
        let decided = standing.decided(&hash);
        let entry = decided.map_or(0, |decided| decided.index);
        let threshold = place.thresholds.map(|thresholds| thresholds.watch);
        if let Some(differs) = differs(standing, configured, scorer, &hash) {
            tracing::warn!(model, hash, entry, threshold, "{differs}");
        }
    }
    for (one, other) in alerting_under_one_name(standing, scorers) {
        tracing::warn!(
            model = one.name(),
            hash = hex::encode(one.hash()),
            other = hex::encode(other.hash()),
            "two models alert here under one name: patients are alerted by both; retire one, or promote one in place of \
             the other"
        );
    }
    let named = model_hashes(scorers);
    for (hash, decided) in standing.promoted_hashes().filter(|(hash, _)| !named.contains(*hash)) {
        tracing::error!(
            hash,
            entry = decided.index,
            "a model that this site promoted is not named in [scoring]: it does not alert, nor does one whose place it \
             took; name it in models, or promote another one"
        );
    }
}

/// What to tell of a model whose configuration says something else than the entry that decided.
fn differs(
    standing: &Standing,
    configured: &Configured,
    scorer: &Scorer,
    hash: &str,
) -> Option<&'static str> {
    let why = standing.decided(hash).map(|decided| &decided.why);
    match (configured.in_shadow.contains(hash), standing.role(scorer), why) {
        (_, Role::Retired, _) => Some(
            "is named in [scoring] and retired: it does not score; `medulla model show` says who retired it and why",
        ),
        (true, Role::Live, _) => {
            Some("is named in shadow_models and promoted by this entry: it alerts; name it in models")
        }
        (false, Role::Shadow, Some(Why::Retired)) => Some(
            "is named in models and was retired by this entry after it had been promoted here: registered again it is in \
             shadow and alerts nobody until it is promoted again",
        ),
        (_, Role::Off, Some(Why::Replaced(by))) | (false, Role::Shadow, Some(Why::Replaced(by))) => {
            Some(match standing.is_retired(by) {
                false => {
                    "is named in [scoring], and by this entry another model took its place: it alerts nobody"
                }
                true => {
                    "is named in [scoring], and by this entry another model took its place, which is retired by now: \
                     neither alerts; promote one of them, or another one"
                }
            })
        }
        (false, Role::Shadow | Role::Off, _) | (true, Role::Off, _) => {
            Some("is named in [scoring] and alerts nobody by this entry")
        }
        (true, Role::Shadow, _) | (false, Role::Live, _) => None,
    }
}

fn alerting_under_one_name<'s>(standing: &Standing, scorers: &'s [Scorer]) -> Vec<(&'s Scorer, &'s Scorer)> {
    let is_live = |scorer: &&Scorer| scorer.card().is_some() && standing.role(scorer) == Role::Live;
    let live: Vec<&Scorer> = scorers.iter().filter(is_live).collect();
    let pairs =
        live.iter().enumerate().flat_map(|(at, one)| live[at + 1..].iter().map(|other| (*one, *other)));
    pairs.filter(|(one, other)| one.name() == other.name()).collect()
}

fn steps(notes: &[Note], configured: &Configured, scorers: &[Scorer]) -> Vec<ModelRegistered> {
    let mut said: BTreeMap<&str, ModelStep> = BTreeMap::new();
    for note in notes.iter().filter(|note| note.site == configured.site) {
        if let Some((hash, step @ (ModelStep::Loaded | ModelStep::Shadow | ModelStep::Unloaded))) =
            note.step()
        {
            said.insert(hash, step);
        }
    }
    let is_new = |model: &ModelRegistered| said.get(&*model.hash) != Some(&model.step);
    let loaded = scorers.iter().filter_map(|scorer| loaded(scorer, configured)).filter(is_new);
    let named: BTreeSet<String> = model_hashes(scorers);
    let gone = said.iter().filter(|(hash, step)| **step != ModelStep::Unloaded && !named.contains(**hash));
    let known = |hash: &str| notes.iter().filter_map(Note::whole).find(|model| model.hash == hash);
    let unloaded = gone.map(|(hash, _)| match known(hash) {
        Some(model) => model.step_on(ModelStep::Unloaded),
        None => ModelRegistered { hash: (*hash).to_owned(), step: ModelStep::Unloaded, ..Default::default() },
    });
    loaded.chain(unloaded).collect()
}

fn loaded(scorer: &Scorer, configured: &Configured) -> Option<ModelRegistered> {
    let card = scorer.card()?;
    // Writing a card to memory has no way to fail.
    let text = serde_json::to_string(card).unwrap_or_default();
    let hash = hex::encode(scorer.hash());
    let step = if configured.in_shadow.contains(&hash) { ModelStep::Shadow } else { ModelStep::Loaded };
    Some(ModelRegistered::with_card(step, hash, card, text))
}

#[cfg(test)]
mod tests {
    use clinical::Time;

    use super::*;
    use crate::registry::notes::Said;

    fn note(site: &str, step: ModelStep) -> Note {
        let model = ModelRegistered { name: "m".into(), hash: "ab".into(), step, ..Default::default() };
        Note { index: 0, site: site.into(), at: Time(0), said: Said::Whole(Box::new(model)) }
    }

    #[test]
    fn two_that_alert_under_one_name_are_told_of() {
        use crate::registry::sample::model;
        let scorers = || vec![model("m", "1"), Scorer::news2(), model("m", "2"), model("other", "1")];
        let standing = |shadow: &[Scorer]| Standing::new(crate::registry::configured("a", shadow));
        assert_eq!(alerting_under_one_name(&standing(&[]), &scorers()).len(), 1);
        assert!(alerting_under_one_name(&standing(&[model("m", "2")]), &scorers()).is_empty());
    }

    #[test]
    fn what_is_told_of_a_model_is_what_was_decided() {
        use crate::entry::{Replaced, ReplacedThen};
        use crate::registry::sample::model;
        let (old, new) = (model("m", "1"), model("m", "2"));
        let [old_hash, new_hash] = [&old, &new].map(|scorer| hex::encode(scorer.hash()));
        let step = |hash: &str, step| Note {
            index: 3,
            site: "b".into(),
            at: Time(0),
            said: Said::Step { hash: hash.into(), step },
        };
        let promoted = |replaces: Option<&str>| {
            let replaces = replaces.map(|hash| Replaced { hash: hash.into(), then: ReplacedThen::Shadow });
            let (threshold, interruptive_threshold) = (Some(0.1), Some(0.5));
            let model = ModelRegistered {
                hash: new_hash.clone(),
                step: ModelStep::Promoted,
                threshold,
                interruptive_threshold,
                replaces,
                ..Default::default()
            };
            Note { index: 2, site: "a".into(), at: Time(0), said: Said::Whole(Box::new(model)) }
        };
        let told = |notes: &[Note], scorer: &Scorer, hash: &str| {
            let configured = crate::registry::configured("a", &[]);
            let standing = Standing::after(configured.clone(), notes);
            differs(&standing, &configured, scorer, hash).unwrap_or_default()
        };
        let retired = |hash: &str| step(hash, ModelStep::Retired);
        let again = |hash: &str| step(hash, ModelStep::Registered);
        assert_eq!(told(&[retired(&old_hash), again(&old_hash)], &old, &old_hash), "", "it alerts as before");
        let back = [promoted(None), retired(&new_hash), again(&new_hash)];
        let said = told(&back, &new, &new_hash);
        assert!(said.contains("registered again") && !said.contains("took its place"), "{said}");
        let replaced = [promoted(Some(&old_hash))];
        assert!(told(&replaced, &old, &old_hash).contains("took its place: it alerts nobody"));
        let gone = [promoted(Some(&old_hash)), retired(&new_hash)];
        assert!(told(&gone, &old, &old_hash).contains("neither alerts"));
        assert!(told(&gone, &new, &new_hash).contains("is named in [scoring] and retired"));
    }

    #[test]
    fn a_site_says_once_that_a_model_is_gone() {
        let configured = Configured { site: "a".into(), ..Default::default() };
        let said = |notes: &[Note]| -> Vec<(String, ModelStep)> {
            steps(notes, &configured, &[Scorer::news2()])
                .into_iter()
                .map(|step| (step.name, step.step))
                .collect()
        };
        assert!(said(&[]).is_empty(), "rules are no models");
        assert!(said(&[note("b", ModelStep::Loaded)]).is_empty(), "another site's");
        let gone = [note("a", ModelStep::Loaded), note("a", ModelStep::Retired)];
        assert_eq!(said(&gone), [("m".to_owned(), ModelStep::Unloaded)]);
        assert!(said(&[note("a", ModelStep::Loaded), note("a", ModelStep::Unloaded)]).is_empty());
        let in_shadow = [note("a", ModelStep::Shadow), note("a", ModelStep::Promoted)];
        assert_eq!(said(&in_shadow), [("m".to_owned(), ModelStep::Unloaded)]);
    }
}
