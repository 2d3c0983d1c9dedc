//! What people decide about models: each decision is an entry before it counts anywhere.

use std::collections::BTreeSet;
use std::time::Duration;

use ml_scoring::{Card, Scorer, Setting, Thresholds};
use raft_ledger::{AppendError, Ledger, LedgerError};

use super::notes::{self, Note};
use super::standing::{Role, Standing, model_hash, model_hashes};
use crate::blocking;
use crate::entry::{ModelRegistered, ModelStep, Replaced};
use crate::handle::Handle;

/// For the tail to come to the decision. Without it the decision holds as well, from its place in the ledger on.
const SETTLE_WAIT: Duration = Duration::from_secs(10);

pub enum ModelDecision {
    /// A model that was loaded and checked, with its `card.json`.
    Register {
        hash: String,
        card: String,
    },
    /// By the hash of a model that the ledger knows.
    Retire {
        hash: String,
    },
    Promote(Promotion),
}

impl ModelDecision {
    fn hash(&self) -> &str {
        match self {
            ModelDecision::Register { hash, .. } | ModelDecision::Retire { hash } => hash,
            ModelDecision::Promote(promotion) => &promotion.hash,
        }
    }
}

/// A model alerts at this site from now on, from the site's own thresholds.
pub struct Promotion {
    pub hash: String,
    pub threshold: f64,
    /// The card's without it, or `threshold` where that is higher.
    pub interruptive_threshold: Option<f64>,
    /// The model whose place it takes.
    pub replaces: Option<Replaced>,
}

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("no model with hash {0} is known here; `medulla model list` names those that are")]
    Unknown(String),
    #[error("{0}")]
    Refused(String),
    #[error("not confirmed, it may still be kept: {0}; `medulla model show` says so once there is a quorum")]
    Unconfirmed(AppendError),
    /// By the time it could be looked at, the ledger had it.
    #[error(
        "entry {index} is in the ledger, and whether it is this decision and counts cannot be read now: {error}; \
         `medulla model show` says so"
    )]
    Unread { index: u64, error: LedgerError },
    #[error("not kept: {0}")]
    Unavailable(AppendError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Handle {
    /// The decision's ledger index, once it is committed and counts at this site. `by` comes from the sign-in.
    pub async fn decide_model(
        &self,
        decision: ModelDecision,
        by: &str,
        why: &str,
    ) -> Result<u64, RegistryError> {
        let ledger = &self.inner.ledger;
        // Two at once would each be checked against a ledger without the other. Of two sites' the ledger's order decides.
        let _deciding = self.inner.deciding.lock().await;
        // As of now: what another site decided meanwhile counts.
        ledger.catch_up().await?;
        let notes = self.notes_before(ledger.size(), decision.hash()).await?;
        let mut model = self.checked(&decision, &notes)?;
        model.by = by.to_owned();
        model.why = why.to_owned();
        let last = decided(&model.hash, &notes).map(|(_, index)| index);
        let index = keep(ledger, self.site(), &model, last).await?;
        let notes = self.notes_before(index, decision.hash()).await;
        let notes = notes.map_err(|error| RegistryError::Unread { index, error })?;
        if let Err(error) = self.checked(&decision, &notes) {
            let text =
                format!("{error}; entry {index} has what was decided here too late and counts for nothing");
            return Err(RegistryError::Refused(text));
        }
        if !self.has_settled(index + 1, SETTLE_WAIT).await {
            tracing::warn!(
                index,
                "the scores lag behind the ledger: the decision counts once they come to it"
            );
        }
        Ok(index)
    }

    async fn notes_before(&self, end: u64, hash: &str) -> Result<Vec<Note>, LedgerError> {
        let (ledger, known) = (self.inner.ledger.clone(), known(&self.inner.scorers, hash));
        blocking::read(move || notes::all(&ledger, end, &known)).await
    }

    /// Whether the decision can be made where this is what the ledger says.
    fn checked(&self, decision: &ModelDecision, notes: &[Note]) -> Result<ModelRegistered, RegistryError> {
        match decision {
            ModelDecision::Register { hash, card } => register(hash, card, notes),
            ModelDecision::Retire { hash } => retire(hash, notes),
            ModelDecision::Promote(promotion) => {
                let standing = Standing::after(self.inner.configured.clone(), notes);
                promote(promotion, &standing, &self.inner.scorers)
            }
        }
    }
}

/// Also the one that is decided on: this site need not load it, and what other sites sealed about it is told by tags alone.
fn known(scorers: &[Scorer], hash: &str) -> BTreeSet<String> {
    let mut known = model_hashes(scorers);
    known.insert(hash.to_owned());
    known
}

/// `last`: the entry that last decided whether the model may score anywhere. Of two sites that decide anew after the same
/// one, the first in the ledger has decided, and the other one's is kept nowhere.
async fn keep(
    ledger: &Ledger,
    site: &str,
    model: &ModelRegistered,
    last: Option<u64>,
) -> Result<u64, RegistryError> {
    let mut draft = notes::draft(ledger, site, model);
    // What a site promotes concerns that site alone, and its own decisions come one after the other.
    if model.step != ModelStep::Promoted {
        let after = last.unwrap_or(u64::MAX).to_be_bytes();
        draft.dedupe = Some(ledger.keyed_hash("model-decided", &[model.hash.as_bytes(), &after]));
    }
    let kept = ledger.append(vec![draft]).await.map_err(|error| match error {
        AppendError::Unavailable { .. } => RegistryError::Unconfirmed(error),
        error => RegistryError::Unavailable(error),
    })?;
    let Some(outcome) = kept.first().copied() else { return Ok(0) };
    let index = outcome.index;
    if !outcome.duplicate {
        return Ok(index);
    }
    let (reader, known) = (ledger.clone(), [model.hash.clone()].into());
    let first = blocking::read(move || {
        let entry = reader.read_from(index, 1)?.into_iter().next();
        entry.map(|entry| notes::of(&reader, &entry, &known)).transpose()
    });
    let first = first.await.map_err(|error| RegistryError::Unread { index, error })?;
    // The same, given again because the first answer was lost.
    let is_this = |note: &Note| {
        let same = |kept: &ModelRegistered| {
            let said = |of: &ModelRegistered| (of.step, of.by.clone(), of.why.clone(), of.card.clone());
            said(kept) == said(model)
        };
        note.site == site && note.whole().is_some_and(same)
    };
    if first.as_ref().is_some_and(is_this) {
        return Ok(index);
    }
    let step = first.as_ref().and_then(Note::step).map_or("decided", |(_, step)| step.as_str());
    let site = first.as_ref().map_or("another", |note| note.site.as_str());
    Err(RegistryError::Refused(format!(
        "site {site} came first: entry {index}, {step}; nothing was kept of this, look at it and decide again"
    )))
}

/// Once, and once more after it was retired: the later one takes that back.
fn register(hash: &str, card: &str, notes: &[Note]) -> Result<ModelRegistered, RegistryError> {
    if let Some((ModelStep::Registered, index)) = decided(hash, notes) {
        return Err(RegistryError::Refused(format!("the model is registered already, by entry {index}")));
    }
    let read: Card = serde_json::from_str(card)
        .map_err(|error| RegistryError::Refused(format!("card.json is not read: {error}")))?;
    if read.setting == Some(Setting::EndOfHour48) {
        let text = format!(
            "a model of {} judges whole stays, once, when 48 hours have closed: no site can score with it on its stream",
            read.task
        );
        return Err(RegistryError::Refused(text));
    }
    Ok(ModelRegistered::with_card(ModelStep::Registered, hash.to_owned(), &read, card.to_owned()))
}

fn retire(hash: &str, notes: &[Note]) -> Result<ModelRegistered, RegistryError> {
    if let Some((ModelStep::Retired, index)) = decided(hash, notes) {
        return Err(RegistryError::Refused(format!("the model is retired already, by entry {index}")));
    }
    let known = notes.iter().filter_map(Note::whole).rfind(|model| model.hash == hash);
    let known = known.ok_or_else(|| RegistryError::Unknown(hash.to_owned()))?;
    Ok(known.step_on(ModelStep::Retired))
}

fn promote(
    promotion: &Promotion,
    standing: &Standing,
    scorers: &[Scorer],
) -> Result<ModelRegistered, RegistryError> {
    let refused = |text: String| Err(RegistryError::Refused(text));
    let named = |hash: &str| scorers.iter().find(|scorer| model_hash(scorer).as_deref() == Some(hash));
    let hash = &promotion.hash;
    let Some((scorer, card)) = named(hash).and_then(|scorer| Some((scorer, scorer.card()?))) else {
        return refused(format!(
            "this site does not load {hash}: name it in shadow_models of [scoring] first"
        ));
    };
    let place = standing.place(scorer);
    if place.role == Role::Retired {
        return refused("the model is retired; `medulla model register` takes that back".into());
    }
    let watch = promotion.threshold;
    let interruptive =
        promotion.interruptive_threshold.unwrap_or_else(|| card.interruptive_threshold.value.max(watch));
    if !(watch > 0.0 && watch <= interruptive && interruptive <= 1.0) {
        let text = format!("thresholds must be 0 < {watch} <= {interruptive} <= 1: risks are probabilities");
        return refused(text);
    }
    let thresholds = Some(Thresholds { watch, interruptive });
    if promotion.replaces.is_none() && place.role == Role::Live && place.thresholds == thresholds {
        return refused("the model alerts from these thresholds already".into());
    }
    if let Some(replaced) = &promotion.replaces {
        let old = named(&replaced.hash).filter(|old| {
            replaced.hash != *hash && old.task() == scorer.task() && standing.role(old) == Role::Live
        });
        if old.is_none() {
            let text = format!("{} is no other model that alerts for {} here", replaced.hash, scorer.task());
            return refused(text);
        }
    }
    let goes_on = |other: &&Scorer| {
        let other_hash = model_hash(other);
        other.name() == scorer.name()
            && other_hash.as_ref() != Some(hash)
            && other_hash != promotion.replaces.as_ref().map(|replaced| replaced.hash.clone())
            && standing.role(other) == Role::Live
    };
    if let Some(other) = scorers.iter().find(goes_on) {
        let (name, hash) = (other.name(), hex::encode(other.hash()));
        return refused(format!("{name} {hash} alerts here under the same name: say that it is replaced"));
    }
    let task = card.task.clone();
    Ok(ModelRegistered {
        name: card.name.clone(),
        hash: hash.clone(),
        step: ModelStep::Promoted,
        task,
        threshold: Some(watch),
        interruptive_threshold: Some(interruptive),
        replaces: promotion.replaces.clone(),
        ..ModelRegistered::default()
    })
}

/// What was last decided about whether the model may score anywhere.
fn decided(hash: &str, notes: &[Note]) -> Option<(ModelStep, u64)> {
    let decision = |note: &Note| match note.step() {
        Some((of, step @ (ModelStep::Registered | ModelStep::Retired))) if of == hash => {
            Some((step, note.index))
        }
        _ => None,
    };
    notes.iter().rev().find_map(decision)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use bytes::Bytes;
    use clinical::Time;
    use raft_ledger::Draft;

    use super::super::notes::Said;
    use super::super::sample;
    use super::super::standing::configured;
    use super::*;
    use crate::entry::ReplacedThen;

    fn note(index: u64, model: ModelRegistered) -> Note {
        Note { index, site: "a".into(), at: Time(0), said: Said::Whole(Box::new(model)) }
    }

    #[test]
    fn what_no_stream_can_score_is_not_registered() {
        let mut card = sample::for_intensive_care().card().unwrap().clone();
        let registered = |card: &Card| register("ab", &serde_json::to_string(card).unwrap(), &[]);
        assert!(registered(&card).is_ok());
        card.setting = Some(Setting::EndOfHour48);
        let refused = registered(&card).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains("whole stays"), "{refused}");
    }

    async fn ledger(dir: &Path) -> Ledger {
        let keys = raft_ledger::keys::init(&dir.join("keys"), &[("a", "127.0.0.1")]).unwrap();
        let mut config = raft_ledger::Config::new("a", dir.join("data"), &keys[0]);
        (config.initialise, config.free_space_reserve_bytes) = (true, 1 << 20);
        Ledger::open(config).await.unwrap()
    }

    #[actix::test]
    async fn what_others_sealed_about_a_model_that_is_not_loaded_counts_where_it_is_decided_on() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = ledger(dir.path()).await;
        let step = |step| ModelRegistered { hash: "ab".into(), step, ..Default::default() };
        let mut last = 0;
        for of in [ModelStep::Registered, ModelStep::Retired] {
            // Nothing of it is read here but its tags, as of what another site sealed.
            let draft = Draft { payload: Bytes::from_static(b"?"), ..notes::draft(&ledger, "b", &step(of)) };
            last = ledger.append(vec![draft]).await.unwrap()[0].index;
        }
        let read = |known: &BTreeSet<String>| notes::all(&ledger, ledger.size(), known).unwrap();
        assert_eq!(
            decided("ab", &read(&known(&[], "cd"))),
            None,
            "no tag tells of a hash that is not asked about"
        );
        let notes = read(&known(&[], "ab"));
        assert_eq!(decided("ab", &notes), Some((ModelStep::Retired, last)));
        let card = serde_json::to_string(sample::model("sepsis", "2026").card().unwrap()).unwrap();
        let again = register("ab", &card, &notes).unwrap();
        let kept = keep(&ledger, "a", &again, Some(last)).await.map_err(|error| error.to_string());
        assert!(
            kept.as_ref().is_ok_and(|index| *index > last),
            "what was retired is registered again: {kept:?}"
        );
        ledger.close().await.unwrap();
    }

    #[actix::test]
    async fn of_two_who_decide_after_the_same_the_first_in_the_ledger_has_decided() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = ledger(dir.path()).await;
        let decision = |step, by: &str| ModelRegistered {
            hash: "ab".into(),
            step,
            by: by.into(),
            why: "minutes".into(),
            ..Default::default()
        };
        let keep = async |step, by: &str, last| {
            let kept = keep(&ledger, "a", &decision(step, by), last).await;
            kept.map_err(|error| error.to_string())
        };
        let registered = keep(ModelStep::Registered, "ada", None).await.unwrap();
        let size = ledger.size();
        let late = keep(ModelStep::Retired, "bob", None).await.unwrap_err();
        let said = format!("site a came first: entry {registered}, registered");
        assert!(late.contains(&said), "{late}");
        assert_eq!(keep(ModelStep::Registered, "ada", None).await, Ok(registered), "a lost answer");
        let other = ModelRegistered { card: "another".into(), ..decision(ModelStep::Registered, "ada") };
        let other = super::keep(&ledger, "a", &other, None).await.unwrap_err().to_string();
        assert!(other.contains(&said), "with another card it is no lost answer: {other}");
        assert_eq!(ledger.size(), size, "nothing more was kept");
        let retired = keep(ModelStep::Retired, "bob", Some(registered)).await.unwrap();
        assert!(retired > registered);
        ledger.close().await.unwrap();
    }

    #[test]
    fn what_is_promoted_is_loaded_and_alerts_alone_under_its_name() {
        let shadow = vec![sample::model("sepsis", "2027"), sample::model("other", "2027")];
        let mut scorers = vec![sample::model("sepsis", "2026"), Scorer::news2()];
        let configured = configured("a", &shadow);
        scorers.extend(shadow);
        let [old, rule, new, other] = [0, 1, 2, 3].map(|at| hex::encode(scorers[at].hash()));
        let decide = |notes: &[Note], hash: &str, thresholds: (f64, Option<f64>), replaces: Option<&str>| {
            let standing = Standing::after(Arc::clone(&configured), notes);
            let replaces = replaces.map(|hash| Replaced { hash: hash.into(), then: ReplacedThen::Shadow });
            let (hash, (threshold, interruptive_threshold)) = (hash.to_owned(), thresholds);
            promote(&Promotion { hash, threshold, interruptive_threshold, replaces }, &standing, &scorers)
        };
        let refused = |told: Result<ModelRegistered, RegistryError>, why: &str| {
            let said = told.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(said.contains(why), "{said:?} for {why:?}");
        };
        refused(decide(&[], "ab", (0.1, None), None), "does not load");
        refused(decide(&[], &rule, (0.1, None), None), "does not load");
        refused(decide(&[], &new, (0.1, None), None), "under the same name");
        refused(decide(&[], &new, (0.1, None), Some(&new)), "is no other model");
        refused(decide(&[], &new, (0.1, None), Some(&other)), "is no other model");
        for thresholds in [(0.0, None), (f64::NAN, None), (0.2, Some(0.1)), (0.2, Some(1.5)), (2.0, None)] {
            refused(decide(&[], &new, thresholds, Some(&old)), "thresholds must be");
        }
        let beside = decide(&[], &other, (0.1, None), None).unwrap();
        assert_eq!((beside.threshold, beside.replaces), (Some(0.1), None));
        let entry = decide(&[], &new, (0.01, None), Some(&old)).unwrap();
        let card = scorers[2].card().unwrap().interruptive_threshold.value;
        assert_eq!((entry.threshold, entry.interruptive_threshold), (Some(0.01), Some(card)));
        assert_eq!((entry.step, &entry.hash, &*entry.name), (ModelStep::Promoted, &new, "sepsis"));

        let mut notes = vec![note(1, entry)];
        refused(decide(&notes, &new, (0.01, None), None), "from these thresholds already");
        assert!(decide(&notes, &new, (0.02, None), None).is_ok(), "other thresholds");
        assert!(decide(&notes, &old, (0.3, Some(0.3)), Some(&new)).is_ok(), "and back");
        notes.push(note(
            2,
            ModelRegistered { hash: new.clone(), step: ModelStep::Retired, ..Default::default() },
        ));
        refused(decide(&notes, &new, (0.02, None), None), "is retired");
    }
}
