//! One message from its place in the ledger on: later readings, scores, the alerts that rest on it, and who was told.

use clinical::{EventKind, PatientId, Time};
use raft_ledger::{Entry, Ledger, LedgerError, Payload};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::entry::{self, Acknowledged, Alert, Delivered, Kind, Message, Repaired};
use crate::errors;
use crate::explain::replay::{About, Replay};
use crate::explain::{ExplainError, OF_ALERT_MAX, read};
use crate::handle::Handle;
use crate::reading::subject_key;
use crate::search::{MERGED_TAG, Search};

/// Patients of one message that are scored.
const PATIENTS_MAX: usize = 8;
/// Alerts of one patient after the message that are looked into.
const ALERTS_MAX: usize = 500;
/// Entries with merges of one id that are followed, resends among them.
const MERGES_MAX: usize = 64;
/// Patients and those whom they were merged into.
const SURVIVORS_MAX: usize = 32;

/// What followed from a message of this site.
#[derive(Clone, Serialize, Deserialize)]
pub struct Trace {
    pub index: u64,
    /// The ledger's size then: what came later is not in it.
    pub as_of: u64,
    /// Of the entry that it came with, where this is a later reading of it.
    pub first: Option<u64>,
    /// Entries with later readings of it.
    pub became: Vec<u64>,
    /// Entries that say what was done with it: repaired, replayed, discarded.
    pub acts: Vec<u64>,
    /// What the patients were scored then, at the newest event time in it. Computed now, from the entries up to it.
    pub scores: Vec<Scored>,
    pub alerts: Vec<Alerted>,
    /// Patients, merges of them, or alerts after it, that were too many to look into.
    pub left_out: usize,
}

/// One patient by one scorer.
#[derive(Clone, Serialize, Deserialize)]
pub struct Scored {
    /// Among the patients of the message.
    pub patient: PatientId,
    pub at: Time,
    pub model: String,
    pub task: String,
    /// Absent: too few data.
    pub risk: Option<f64>,
    /// Of the model; a decision of the site may have set another one.
    pub threshold: f64,
}

/// An alert that names the message among what it rests on.
#[derive(Clone, Serialize, Deserialize)]
pub struct Alerted {
    pub index: u64,
    pub id: String,
    pub task: String,
    pub model: String,
    pub tier: String,
    pub at: Time,
    /// It was this message that raised it.
    pub is_trigger: bool,
    pub deliveries: Vec<Delivery>,
    pub acknowledged: Vec<Answered>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Delivery {
    pub index: u64,
    pub sink: String,
    pub at: Time,
    /// What the receiver said, where it did not take it.
    pub refused: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Answered {
    pub index: u64,
    pub by: String,
    pub at: Time,
}

#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("entry {index} is {what}, and no message{of}")]
    NotAMessage { index: u64, what: String, of: String },
    /// Of what the patients were scored.
    #[error(transparent)]
    Scores(#[from] ExplainError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Handle {
    /// `None`: no message that this site can open. Blocks; `with_scores` for as long as reading the patients' entries
    /// takes.
    pub fn trace(&self, index: u64, with_scores: bool) -> Result<Option<Trace>, TraceError> {
        let ledger = self.ledger();
        let as_of = ledger.size();
        let Some(entry) = read(ledger, index)? else { return Ok(None) };
        let traces = errors::traces(ledger, index)?;
        let mut trace = Trace {
            index,
            as_of,
            first: None,
            became: traces.became,
            acts: traces.acts,
            scores: Vec::new(),
            alerts: Vec::new(),
            left_out: 0,
        };
        if entry.kind == Kind::Rejected as u16 && matches!(entry.payload, Payload::Open(_)) {
            return Ok(Some(trace));
        }
        let Some(message) = opened::<Message>(&entry, Kind::Message) else {
            return not_a_message(&entry).map_or(Ok(None), Err);
        };
        trace.first = message.again.as_ref().map(|again| again.of).filter(|first| *first != index);
        let patients = patients(&message);
        trace.left_out = patients.len().saturating_sub(PATIENTS_MAX);
        let mut alerted = Vec::new();
        for (patient, at) in patients.into_iter().take(PATIENTS_MAX) {
            if with_scores {
                trace.scores.extend(self.scored(&patient, at, index)?);
            }
            alerted.push(patient);
        }
        trace.left_out += add_survivors(ledger, &mut alerted)?;
        for patient in &alerted {
            trace.add_alerts(ledger, patient)?;
        }
        trace.alerts.sort_by_key(|alert| alert.index);
        Ok(Some(trace))
    }

    fn scored(&self, patient: &PatientId, at: Time, index: u64) -> Result<Vec<Scored>, ExplainError> {
        let about = About { patient, site: self.site(), indices: &[index] };
        let state = Replay::run(self.ledger(), &about, index)?.state_of(patient);
        let scored = self.inner.scorers.iter().map(|scorer| {
            let assessment = scorer.score(&state, at);
            Scored {
                patient: patient.clone(),
                at,
                model: scorer.name().to_owned(),
                task: assessment.task,
                risk: assessment.risk,
                threshold: assessment.threshold,
            }
        });
        Ok(scored.collect())
    }
}

/// What stands there instead, and which message that is about.
fn not_a_message(entry: &Entry) -> Option<TraceError> {
    let kind = Kind::from_u16(entry.kind).filter(|kind| !matches!(kind, Kind::Message | Kind::Rejected))?;
    let of = match kind {
        Kind::Alert => opened::<Alert>(entry, kind)?.facts.indices.last().copied(),
        Kind::Repaired => opened::<Repaired>(entry, kind).map(|repaired| repaired.original),
        _ => None,
    };
    let what = match kind {
        Kind::Alert => "an alert".to_owned(),
        Kind::Repaired => "what was done with a message".to_owned(),
        kind => format!("of kind {}", String::from_utf8_lossy(kind.tag())),
    };
    let of = of.map(|of| format!("; trace the message behind it: {of}")).unwrap_or_default();
    Some(TraceError::NotAMessage { index: entry.index, what, of })
}

impl Trace {
    fn add_alerts(&mut self, ledger: &Ledger, patient: &PatientId) -> Result<(), LedgerError> {
        let search = Search {
            patient: Some(patient.clone()),
            kind: Some(Kind::Alert),
            from: self.index,
            limit: ALERTS_MAX,
            ..Search::default()
        };
        let found = search.run(ledger)?;
        self.left_out += usize::from(found.next.is_some());
        for entry in found.entries {
            let Some(alert) = opened::<Alert>(&entry, Kind::Alert) else { continue };
            let facts = alert.facts;
            if !facts.indices.contains(&self.index) {
                continue;
            }
            let (deliveries, acknowledged) = told(ledger, &facts.id)?;
            self.alerts.push(Alerted {
                index: entry.index,
                is_trigger: facts.indices.last() == Some(&self.index),
                id: facts.id,
                task: facts.task,
                model: facts.model,
                tier: facts.tier,
                at: facts.at,
                deliveries,
                acknowledged,
            });
        }
        Ok(())
    }
}

/// Whom these patients were merged into, and so on: alerts that rest on their messages name those. How many ids, or
/// entries with merges of one, were left out.
fn add_survivors(ledger: &Ledger, patients: &mut Vec<PatientId>) -> Result<usize, LedgerError> {
    let (mut next, mut left_out) = (0, 0);
    while let Some(patient) = patients.get(next).cloned() {
        next += 1;
        let tag = ledger.tag(MERGED_TAG, &subject_key(&patient));
        let indices = ledger.by_tag(tag, 0, MERGES_MAX + 1)?;
        left_out += indices.len().saturating_sub(MERGES_MAX);
        for index in indices.into_iter().take(MERGES_MAX) {
            let message = read(ledger, index)?.and_then(|entry| opened::<Message>(&entry, Kind::Message));
            for event in message.into_iter().flat_map(|message| message.events) {
                let is_merge = matches!(&event.kind, EventKind::Merged { from } if *from == patient);
                match is_merge && !patients.contains(&event.patient) {
                    true if patients.len() < SURVIVORS_MAX => patients.push(event.patient),
                    true => left_out += 1,
                    false => {}
                }
            }
        }
    }
    Ok(left_out)
}

/// In the message's order, each with its newest event time.
fn patients(message: &Message) -> Vec<(PatientId, Time)> {
    let mut patients: Vec<(PatientId, Time)> = Vec::new();
    for event in &message.events {
        match patients.iter_mut().find(|(patient, _)| *patient == event.patient) {
            Some((_, newest)) => *newest = event.at.max(*newest),
            None => patients.push((event.patient.clone(), event.at)),
        }
    }
    patients
}

fn told(ledger: &Ledger, alert: &str) -> Result<(Vec<Delivery>, Vec<Answered>), LedgerError> {
    let (mut deliveries, mut answers) = (Vec::new(), Vec::new());
    for index in ledger.by_tag(ledger.tag("alert", alert.as_bytes()), 0, OF_ALERT_MAX)? {
        let Some(entry) = read(ledger, index)? else { continue };
        if let Some(Delivered { sink, at, refused, .. }) = opened(&entry, Kind::Delivered) {
            deliveries.push(Delivery { index, sink, at, refused });
        }
        if let Some(Acknowledged { by, at, .. }) = opened(&entry, Kind::Acknowledged) {
            answers.push(Answered { index, by, at });
        }
    }
    Ok((deliveries, answers))
}

fn opened<T: DeserializeOwned>(entry: &Entry, kind: Kind) -> Option<T> {
    let Payload::Open(payload) = &entry.payload else { return None };
    let (head, _) = (entry.kind == kind as u16).then(|| entry::decode(payload).ok())??;
    Some(head)
}
