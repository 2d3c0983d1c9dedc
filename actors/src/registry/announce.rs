//! A site that starts says which models its configuration names, where that differs from what it last said.

use std::collections::{BTreeMap, BTreeSet};

use ml_scoring::Scorer;
use raft_ledger::{Ledger, LedgerError};

use super::notes::{self, Note};
use super::standing::{Role, Standing, model_hashes};
use crate::entry::{ModelRegistered, ModelStep};
use crate::outgoing;

/// Blocks for as long as reading the entries about models takes; the new ones follow by themselves.
pub(crate) fn announce(ledger: &Ledger, site: &str, scorers: &[Scorer]) -> Result<(), LedgerError> {
    let notes = notes::all(ledger, ledger.size(), &model_hashes(scorers))?;
    warn_of_retired(&notes, scorers);
    let steps = steps(&notes, site, scorers);
    if steps.is_empty() {
        return Ok(());
    }
    let (ledger, site) = (ledger.clone(), site.to_owned());
    actix::spawn(async move {
        for step in steps {
            outgoing::append(&ledger, notes::draft(&ledger, &site, &step)).await;
        }
    });
    Ok(())
}

fn warn_of_retired(notes: &[Note], scorers: &[Scorer]) {
    let standing = Standing::after(notes);
    for scorer in scorers.iter().filter(|scorer| standing.role(scorer) == Role::Retired) {
        let (model, hash) = (scorer.name(), hex::encode(scorer.hash()));
        tracing::warn!(
            model,
            hash,
            "is named in [scoring] and retired: it does not score; `medulla model show` says who retired it and why"
        );
    }
}

fn steps(notes: &[Note], site: &str, scorers: &[Scorer]) -> Vec<ModelRegistered> {
    let mut said: BTreeMap<&str, ModelStep> = BTreeMap::new();
    for note in notes.iter().filter(|note| note.site == site) {
        if let Some((hash, step @ (ModelStep::Loaded | ModelStep::Unloaded))) = note.step() {
            said.insert(hash, step);
        }
    }
    let has_said = |hash: &str, step| said.get(hash) == Some(&step);
    let loaded = scorers.iter().filter_map(loaded).filter(|model| !has_said(&model.hash, ModelStep::Loaded));
    let named: BTreeSet<String> = model_hashes(scorers);
    let gone = said.iter().filter(|(hash, step)| **step == ModelStep::Loaded && !named.contains(**hash));
    let known = |hash: &str| notes.iter().filter_map(Note::whole).find(|model| model.hash == hash);
    let unloaded = gone.map(|(hash, _)| match known(hash) {
        Some(model) => model.step_on(ModelStep::Unloaded),
        None => ModelRegistered { hash: (*hash).to_owned(), step: ModelStep::Unloaded, ..Default::default() },
    });
    loaded.chain(unloaded).collect()
}

fn loaded(scorer: &Scorer) -> Option<ModelRegistered> {
    let card = scorer.card()?;
    // Writing a card to memory has no way to fail.
    let text = serde_json::to_string(card).unwrap_or_default();
    Some(ModelRegistered::with_card(ModelStep::Loaded, hex::encode(scorer.hash()), card, text))
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
    fn a_site_says_once_that_a_model_is_gone() {
        let said = |notes: &[Note]| -> Vec<(String, ModelStep)> {
            steps(notes, "a", &[Scorer::news2()]).into_iter().map(|step| (step.name, step.step)).collect()
        };
        assert!(said(&[]).is_empty(), "rules are no models");
        assert!(said(&[note("b", ModelStep::Loaded)]).is_empty(), "another site's");
        let gone = [note("a", ModelStep::Loaded), note("a", ModelStep::Retired)];
        assert_eq!(said(&gone), [("m".to_owned(), ModelStep::Unloaded)]);
        assert!(said(&[note("a", ModelStep::Loaded), note("a", ModelStep::Unloaded)]).is_empty());
    }
}
