//! The models that the ledger knows, as people and programs read them.

use std::collections::BTreeMap;

use clinical::Time;
use ml_scoring::Scorer;
use raft_ledger::LedgerError;
use serde::Serialize;

use super::notes::{self, Note};
use super::standing::{Role, Standing, model_hash, model_hashes};
use crate::entry::{ModelRegistered, ModelStep};
use crate::handle::Handle;
use crate::rested::AlertsRested;

#[derive(Clone, Serialize)]
pub struct ModelsListed {
    /// Entries up to here are in it.
    pub as_of: u64,
    pub models: Vec<ModelRow>,
    /// Entries about models of which this site knows nothing, because others have sealed them: by site.
    pub sealed: BTreeMap<String, u64>,
}

#[derive(Clone, Serialize)]
pub struct ModelRow {
    /// Empty where only other sites can read it.
    pub name: String,
    /// SHA-256, lowercase hex.
    pub hash: String,
    pub task: String,
    /// The card's.
    pub threshold: Option<f64>,
    pub interruptive_threshold: Option<f64>,
    /// At the site that was asked: `live` (scores and alerts), `shadow` (scores, alerts nobody), `off` (another one took
    /// its place), `retired` (named by its configuration, does not score) or `not loaded`.
    pub here: &'static str,
    /// Sites whose configuration names it among those that alert, as they said at their last start.
    pub loaded_by: Vec<String>,
    /// The same of those that alert nobody.
    pub shadow_at: Vec<String>,
    pub registered: Option<ModelStepRow>,
    /// What has it alert at the site that was asked, and from which thresholds on.
    pub promoted: Option<ModelStepRow>,
    /// Until it is registered again.
    pub retired: Option<ModelStepRow>,
}

/// One entry about a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelStepRow {
    pub index: u64,
    pub step: &'static str,
    /// That wrote it.
    pub site: String,
    pub at: Time,
    /// Absent where another site has sealed it, and where nobody decided.
    pub by: Option<String>,
    pub why: Option<String>,
    /// Of a promotion: the site's own thresholds.
    pub threshold: Option<f64>,
    pub interruptive_threshold: Option<f64>,
    /// Of a promotion: hash of the model whose place it takes.
    pub replaces: Option<String>,
}

#[derive(Clone, Serialize)]
pub struct ModelDetail {
    #[serde(flatten)]
    pub model: ModelRow,
    /// Oldest first.
    pub history: Vec<ModelStepRow>,
    /// `card.json`, where this site can read it.
    pub card: Option<serde_json::Value>,
    /// What its alerts rested on; absent where this site knows of none.
    pub contributions: Option<AlertsRested>,
}

impl Handle {
    /// By name, then hash. Blocks.
    pub fn models(&self) -> Result<ModelsListed, LedgerError> {
        let (as_of, notes) = self.notes()?;
        let mut sealed = BTreeMap::new();
        for note in notes.iter().filter(|note| note.step().is_none()) {
            *sealed.entry(note.site.clone()).or_default() += 1;
        }
        Ok(ModelsListed { as_of, models: self.rows(&notes), sealed })
    }

    /// `None`: there is none with this hash. Blocks.
    pub fn model(&self, hash: &str) -> Result<Option<ModelDetail>, LedgerError> {
        let (_, notes) = self.notes()?;
        let row = self.rows(&notes).into_iter().find(|row| row.hash == hash);
        let contributions = self.lock().rested(hash);
        Ok(row.map(|model| ModelDetail { contributions, ..detail(model, &notes) }))
    }

    fn rows(&self, notes: &[Note]) -> Vec<ModelRow> {
        let standing = Standing::after(self.inner.configured.clone(), notes);
        rows(notes, &standing, &self.inner.scorers)
    }

    fn notes(&self) -> Result<(u64, Vec<Note>), LedgerError> {
        let as_of = self.inner.ledger.size();
        let notes = notes::all(&self.inner.ledger, as_of, &model_hashes(&self.inner.scorers))?;
        Ok((as_of, notes))
    }
}

fn rows(notes: &[Note], standing: &Standing, scorers: &[Scorer]) -> Vec<ModelRow> {
    let mut by_hash: BTreeMap<&str, Vec<&Note>> = BTreeMap::new();
    for note in notes {
        if let Some((hash, _)) = note.step() {
            by_hash.entry(hash).or_default().push(note);
        }
    }
    let here = |hash: &str| {
        let scorer = scorers.iter().find(|scorer| model_hash(scorer).as_deref() == Some(hash));
        scorer.map_or("not loaded", |scorer| match standing.role(scorer) {
            Role::Live => "live",
            Role::Shadow => "shadow",
            Role::Off => "off",
            Role::Retired => "retired",
        })
    };
    let mut rows: Vec<ModelRow> =
        by_hash.into_iter().map(|(hash, notes)| row(hash, here(hash), standing, &notes)).collect();
    rows.sort_by(|a, b| (&a.name, &a.hash).cmp(&(&b.name, &b.hash)));
    rows
}

fn row(hash: &str, here: &'static str, standing: &Standing, notes: &[&Note]) -> ModelRow {
    let mut named: BTreeMap<&str, ModelStep> = BTreeMap::new();
    let (mut registered, mut retired) = (None, None);
    for note in notes {
        match note.step().map(|(_, step)| step) {
            Some(step @ (ModelStep::Loaded | ModelStep::Shadow | ModelStep::Unloaded)) => {
                named.insert(&note.site, step);
            }
            Some(ModelStep::Registered) => (registered, retired) = (step_row(note), None),
            Some(ModelStep::Retired) => retired = step_row(note),
            Some(ModelStep::Promoted) | None => {}
        }
    }
    let sites = |step: ModelStep| -> Vec<String> {
        named.iter().filter(|(_, said)| **said == step).map(|(site, _)| (*site).to_owned()).collect()
    };
    let decided = standing.decided(hash).filter(|decided| decided.role == Role::Live);
    let promoted = decided.and_then(|decided| notes.iter().find(|note| note.index == decided.index));
    let whole: Vec<&ModelRegistered> = notes.iter().filter_map(|note| note.whole()).collect();
    let with_card = || whole.iter().rev().filter(|model| model.step != ModelStep::Promoted);
    let latest = |text: fn(&ModelRegistered) -> &String| {
        whole.iter().rev().map(|model| text(model).clone()).find(|text| !text.is_empty()).unwrap_or_default()
    };
    ModelRow {
        name: latest(|model| &model.name),
        hash: hash.to_owned(),
        task: latest(|model| &model.task),
        threshold: with_card().find_map(|model| model.threshold),
        interruptive_threshold: with_card().find_map(|model| model.interruptive_threshold),
        here,
        loaded_by: sites(ModelStep::Loaded),
        shadow_at: sites(ModelStep::Shadow),
        registered,
        promoted: promoted.and_then(|note| step_row(note)),
        retired,
    }
}

fn step_row(note: &Note) -> Option<ModelStepRow> {
    let (_, step) = note.step()?;
    let text = |text: fn(&ModelRegistered) -> &String| {
        note.whole().map(|model| text(model).clone()).filter(|text| !text.is_empty())
    };
    let promotion = note.whole().filter(|_| step == ModelStep::Promoted);
    Some(ModelStepRow {
        index: note.index,
        step: step.as_str(),
        site: note.site.clone(),
        at: note.at,
        by: text(|model| &model.by),
        why: text(|model| &model.why),
        threshold: promotion.and_then(|model| model.threshold),
        interruptive_threshold: promotion.and_then(|model| model.interruptive_threshold),
        replaces: promotion.and_then(|model| model.replaces.as_ref()).map(|replaced| replaced.hash.clone()),
    })
}

fn detail(model: ModelRow, notes: &[Note]) -> ModelDetail {
    let of_it = || notes.iter().filter(|note| note.step().is_some_and(|(hash, _)| hash == model.hash));
    let card = |note: &Note| serde_json::from_str(&note.whole()?.card).ok();
    let (history, card) = (of_it().filter_map(step_row).collect(), of_it().rev().find_map(card));
    ModelDetail { model, history, card, contributions: None }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::registry::notes::Said;
    use crate::registry::standing::Configured;

    fn whole(index: u64, site: &str, step: ModelStep, why: &str) -> Note {
        let model = ModelRegistered {
            name: "m".into(),
            hash: "ab".into(),
            step,
            threshold: (step == ModelStep::Loaded).then_some(0.1),
            by: if why.is_empty() { String::new() } else { "ada".into() },
            why: why.into(),
            ..Default::default()
        };
        Note { index, site: site.into(), at: Time(7), said: Said::Whole(Box::new(model)) }
    }

    fn told(index: u64, site: &str, step: ModelStep) -> Note {
        Note { index, site: site.into(), at: Time(7), said: Said::Step { hash: "ab".into(), step } }
    }

    /// As site a reads them.
    fn rows_of(notes: &[Note]) -> Vec<ModelRow> {
        let configured = Configured { site: "a".into(), ..Default::default() };
        rows(notes, &Standing::after(Arc::new(configured), notes), &[])
    }

    #[test]
    fn a_row_says_who_loads_and_who_decided() {
        use ModelStep::{Loaded, Registered, Retired, Unloaded};
        let notes = [
            whole(1, "a", Loaded, ""),
            told(2, "b", Loaded),
            told(3, "c", Loaded),
            whole(4, "a", Registered, "good"),
            told(5, "c", Unloaded),
            told(6, "b", Retired),
        ];
        let rows = rows_of(&notes);
        let [row] = rows.as_slice() else { panic!("one model") };
        assert_eq!((row.name.as_str(), row.here, row.threshold), ("m", "not loaded", Some(0.1)));
        assert_eq!(row.loaded_by, ["a", "b"]);
        let registered = row.registered.as_ref().unwrap();
        assert_eq!((registered.index, registered.why.as_deref()), (4, Some("good")));
        let retired = row.retired.as_ref().unwrap();
        assert_eq!((retired.index, &*retired.site, &retired.by), (6, "b", &None));
    }

    #[test]
    fn registering_again_ends_a_retirement() {
        let notes = [told(1, "a", ModelStep::Retired), told(2, "a", ModelStep::Registered)];
        assert!(rows_of(&notes)[0].retired.is_none());
    }

    #[test]
    fn a_row_says_what_this_site_promoted_and_who_has_it_in_shadow() {
        use ModelStep::{Loaded, Promoted, Shadow};
        let promoted = |index, site: &str, threshold| {
            let mut note = whole(index, site, Promoted, "set on our data");
            if let Said::Whole(model) = &mut note.said {
                (model.threshold, model.interruptive_threshold) = (Some(threshold), Some(0.5));
            }
            note
        };
        let mut notes = vec![whole(1, "a", Loaded, ""), told(2, "a", Shadow), told(3, "b", Shadow)];
        notes.extend([promoted(4, "b", 0.3), promoted(5, "a", 0.2), told(6, "c", Loaded)]);
        let rows = rows_of(&notes);
        let row = &rows[0];
        assert_eq!(
            (row.threshold, row.loaded_by.clone(), row.shadow_at.clone()),
            (Some(0.1), vec!["c".to_owned()], vec!["a".to_owned(), "b".to_owned()])
        );
        let promoted = row.promoted.as_ref().unwrap();
        assert_eq!(
            (promoted.index, promoted.threshold, promoted.interruptive_threshold),
            (5, Some(0.2), Some(0.5))
        );
    }
}
