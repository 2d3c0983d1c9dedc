//! An alert computed again, from the ledger alone: the patient's entries before it go through the functions that the
//! pipeline folds and scores with.

pub(crate) mod replay;

use clinical::{AlertFacts, Time};
use ml_scoring::{Scorer, Thresholds};
use raft_ledger::{Entry, Ledger, LedgerError, Payload};
use serde::Serialize;

use self::replay::{About, Replay};
use crate::entry::{self, Alert, Contribution, Kind};
use crate::handle::Handle;
use crate::patient;

/// Entries with an alert's tag: itself, its takeover's, and the answers to it.
pub(crate) const OF_ALERT_MAX: usize = 1_000;

/// What an alert said, and what comes of the same entries now.
#[derive(Clone, Serialize)]
pub struct AlertExplained {
    pub id: String,
    /// The alert's own ledger index.
    pub index: u64,
    /// That scored.
    pub site: String,
    pub task: String,
    pub model: String,
    /// SHA-256, lowercase hex.
    pub model_hash: String,
    pub tier: String,
    /// The event time that was scored.
    pub at: Time,
    /// The last index that the alert rests on.
    pub as_of: u64,
    /// Entries of the patient that were folded.
    pub entries: u64,
    /// Entries of the patient before the alert that this site cannot read now. What they said is not in the score.
    pub unreadable: u64,
    pub threshold: f64,
    pub risk_alerted: f64,
    /// `None`: insufficient data.
    pub risk_recomputed: Option<f64>,
    /// To the last bit.
    pub equal: bool,
    /// The newest value of everything that was measured.
    pub evidence: Vec<Evidence>,
    /// Values that no score uses, and why: the newest of each quantity.
    pub set_aside: Vec<SetAsideValue>,
    /// Values that are not shown: another site's, for which this one does not stand in now.
    pub withheld: usize,
    /// Of the score recomputed; greatest weight first.
    pub contributions: Vec<Contribution>,
}

/// A value that was known when the alert was made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// The column of the patient's state, such as `HR`.
    pub column: String,
    pub value: f32,
    /// UCUM.
    pub unit: String,
    /// For a person to read: `heart rate 112 /min`.
    pub words: String,
    pub at: Time,
    /// Of the entry that said so.
    pub index: u64,
}

/// A value that was known when the alert was made, and not used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SetAsideValue {
    /// The column that it would have been of.
    pub column: String,
    /// As it was sent, for a person to read: `heart rate 720 /min`.
    pub words: String,
    /// Such as `implausible`.
    pub why: String,
    pub at: Time,
    /// Of the entry that said so.
    pub index: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error(
        "there is no alert with this id in the ledger; ids are those of /api/alerts and of delivered alerts"
    )]
    UnknownAlert,
    #[error("entry {index}, the alert, is sealed by site {site}: have it explained there")]
    Sealed { index: u64, site: String },
    #[error("entry {index}, the alert, was shredded: nobody can read it any more")]
    Shredded { index: u64 },
    #[error(
        "the alert was made by {model} with hash {hash}, and this site scores with {configured}: name the model that \
         made it in [scoring] to explain it"
    )]
    OtherModel { model: String, hash: String, configured: String },
    #[error("the patient has more than {0} entries before the alert")]
    TooMany(usize),
    #[error("entry {index}: {error}")]
    Entry { index: u64, error: entry::EntryError },
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Handle {
    /// Computes an alert of this site again. Blocks for as long as reading the patient's entries takes.
    pub fn explain(&self, id: &str) -> Result<AlertExplained, ExplainError> {
        let shows = |home: &str| self.lock().shows(Some(&home.to_owned()));
        explain(&self.inner.ledger, &self.inner.scorers, shows, id)
    }
}

/// `shows`: whether this site stands in for that one now.
fn explain(
    ledger: &Ledger,
    scorers: &[Scorer],
    shows: impl Fn(&str) -> bool,
    id: &str,
) -> Result<AlertExplained, ExplainError> {
    let (index, alert) = find(ledger, id)?;
    let facts = &alert.facts;
    let rule = rule_of(facts);
    let scorer = match &rule {
        Some(rule) => rule,
        None => configured(facts, scorers)?,
    };
    let as_of = as_of(ledger, index, &alert)?;
    let about = About { patient: &facts.patient, site: &facts.site, indices: &facts.indices };
    let replay = Replay::run(ledger, &about, as_of)?;
    let state = replay.state_of(&facts.patient);
    // The site may have decided on a threshold of its own since, or have had one: the alert says which it was.
    let thresholds = Thresholds { watch: facts.threshold, interruptive: f64::INFINITY };
    let assessment = patient::judge(scorer, Some(thresholds), &state, facts.at);
    let (evidence, withheld) = replay.evidence(&state, facts.at, |home| shows(home));
    let (set_aside, more_withheld) = replay.set_aside(facts.at, |home| shows(home));
    Ok(AlertExplained {
        id: facts.id.clone(),
        index,
        site: facts.site.clone(),
        task: facts.task.clone(),
        model: facts.model.clone(),
        model_hash: facts.model_hash.clone(),
        tier: facts.tier.clone(),
        at: facts.at,
        as_of,
        entries: replay.folded,
        unreadable: replay.unreadable,
        threshold: facts.threshold,
        risk_alerted: facts.risk,
        risk_recomputed: assessment.risk,
        equal: assessment.risk.is_some_and(|risk| risk.to_bits() == facts.risk.to_bits()),
        evidence,
        set_aside,
        withheld: withheld + more_withheld,
        contributions: patient::contributions(&assessment),
    })
}

/// The site itself and who stood in for it may have told of the same under one id: the one that can be read counts.
fn find(ledger: &Ledger, id: &str) -> Result<(u64, Alert), ExplainError> {
    let mut refusal = ExplainError::UnknownAlert;
    for index in ledger.by_tag(ledger.tag("alert", id.as_bytes()), 0, OF_ALERT_MAX)? {
        let Some(entry) = read(ledger, index)?.filter(|entry| entry.kind == Kind::Alert as u16) else {
            continue;
        };
        match entry.payload {
            Payload::Open(payload) => {
                let (alert, _) =
                    entry::decode(&payload).map_err(|error| ExplainError::Entry { index, error })?;
                return Ok((index, alert));
            }
            Payload::Shredded => refusal = ExplainError::Shredded { index },
            Payload::Sealed | Payload::Entrusted(_) | Payload::Shred { .. } => {
                refusal = ExplainError::Sealed { index, site: entry.site };
            }
        }
    }
    Err(refusal)
}

/// Rules need no file: also those that the site does not score with, or that were another release's.
fn rule_of(facts: &AlertFacts) -> Option<Scorer> {
    let hash = hex::decode(&facts.model_hash).ok()?;
    Scorer::rule(hash.as_slice().try_into().ok()?)
}

fn configured<'s>(facts: &AlertFacts, scorers: &'s [Scorer]) -> Result<&'s Scorer, ExplainError> {
    let hash_of = |scorer: &Scorer| hex::encode(scorer.hash());
    scorers.iter().find(|scorer| hash_of(scorer) == facts.model_hash).ok_or_else(|| {
        let all: Vec<String> =
            scorers.iter().map(|scorer| format!("{} ({})", scorer.name(), hash_of(scorer))).collect();
        ExplainError::OtherModel {
            model: facts.model.clone(),
            hash: facts.model_hash.clone(),
            configured: if all.is_empty() { "nothing".into() } else { all.join(", ") },
        }
    })
}

/// Up to the trigger. Where a lease began, every patient of the site that is gone was scored as of then, under the index
/// of that patient's newest message (`tail.rs`).
fn as_of(ledger: &Ledger, index: u64, alert: &Alert) -> Result<u64, ExplainError> {
    let trigger = alert.facts.indices.last().copied().unwrap_or(index);
    let Some(home) = &alert.facts.takeover_for else { return Ok(trigger) };
    let by_trigger = read(ledger, trigger)?.is_some_and(|entry| {
        entry.kind == Kind::Tick as u16 || entry.received_time_ms == alert.received_at.0
    });
    if by_trigger {
        return Ok(trigger);
    }
    let leases = ledger.leases_before(index)?;
    let lease = leases.iter().find(|lease| lease.site == *home && lease.holder == alert.facts.site);
    Ok(lease.map_or(trigger, |lease| lease.from.max(trigger)))
}

pub(crate) fn read(ledger: &Ledger, index: u64) -> Result<Option<Entry>, LedgerError> {
    Ok(ledger.read_from(index, 1)?.into_iter().next())
}

#[cfg(test)]
mod tests;
