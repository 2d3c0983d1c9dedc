//! What people decide about models: each decision is an entry before it counts anywhere.

use std::time::Duration;

use ml_scoring::Card;
use raft_ledger::{AppendError, LedgerError};

use super::notes::{self, Note};
use super::standing::model_hashes;
use crate::blocking;
use crate::entry::{ModelRegistered, ModelStep};
use crate::handle::Handle;

/// For the tail to come to the decision. Without it the decision holds as well, from its place in the ledger on.
const SETTLE_WAIT: Duration = Duration::from_secs(10);

pub enum ModelDecision {
    /// A model that was loaded and checked, with its `card.json`.
    Register { hash: String, card: String },
    /// By the hash of a model that the ledger knows.
    Retire { hash: String },
}

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("no model with hash {0} is known here; `medulla model list` names those that are")]
    Unknown(String),
    #[error("{0}")]
    Refused(String),
    #[error("not confirmed, it may still be kept: {0}; `medulla model show` says so once there is a quorum")]
    Unconfirmed(AppendError),
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
        // As of now: what another site decided meanwhile counts.
        ledger.catch_up().await?;
        let (end, known) = (ledger.size(), model_hashes(&self.inner.scorers));
        let notes = {
            let ledger = ledger.clone();
            blocking::read(move || notes::all(&ledger, end, &known)).await?
        };
        let mut model = entry_of(decision, &notes)?;
        model.by = by.to_owned();
        model.why = why.to_owned();
        let kept = ledger.append(vec![notes::draft(ledger, self.site(), &model)]).await;
        let outcomes = kept.map_err(|error| match error {
            AppendError::Unavailable { .. } => RegistryError::Unconfirmed(error),
            error => RegistryError::Unavailable(error),
        })?;
        let index = outcomes.first().map(|outcome| outcome.index).unwrap_or_default();
        if !self.has_settled(index + 1, SETTLE_WAIT).await {
            tracing::warn!(
                index,
                "the scores lag behind the ledger: the decision counts once they come to it"
            );
        }
        Ok(index)
    }
}

fn entry_of(decision: ModelDecision, notes: &[Note]) -> Result<ModelRegistered, RegistryError> {
    match decision {
        ModelDecision::Register { hash, card } => register(hash, card, notes),
        ModelDecision::Retire { hash } => retire(hash, notes),
    }
}

/// Once, and once more after it was retired: the later one takes that back.
fn register(hash: String, card: String, notes: &[Note]) -> Result<ModelRegistered, RegistryError> {
    if let Some((ModelStep::Registered, index)) = decided(&hash, notes) {
        return Err(RegistryError::Refused(format!("the model is registered already, by entry {index}")));
    }
    let read: Card = serde_json::from_str(&card)
        .map_err(|error| RegistryError::Refused(format!("card.json is not read: {error}")))?;
    Ok(ModelRegistered::with_card(ModelStep::Registered, hash, &read, card))
}

fn retire(hash: String, notes: &[Note]) -> Result<ModelRegistered, RegistryError> {
    if let Some((ModelStep::Retired, index)) = decided(&hash, notes) {
        return Err(RegistryError::Refused(format!("the model is retired already, by entry {index}")));
    }
    let known = notes.iter().filter_map(Note::whole).rfind(|model| model.hash == hash);
    let known = known.ok_or_else(|| RegistryError::Unknown(hash.clone()))?;
    Ok(known.step_on(ModelStep::Retired))
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
