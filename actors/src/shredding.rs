//! Shredding a patient: the ledger destroys the keys, the tail drops what it has derived (`tail.rs`), and what is left
//! of the patient is told.

use std::collections::BTreeMap;
use std::time::Duration;

use clinical::PatientId;
use raft_ledger::{Ledger, LedgerError, Payload};
use serde::Serialize;

use crate::blocking;
use crate::entry::{self, Alert, Kind};
use crate::handle::Handle;
use crate::reading::{patient_key, subject_key};

const PAGE: usize = 1024;
/// For the tail to come to where the ledger ends. Without it the shredding is as complete, but an alert that is decided
/// meanwhile may remain.
const SETTLE_WAIT: Duration = Duration::from_secs(10);

/// What became of a patient's entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PatientShredded {
    /// Ledger index of the entry that says so. Absent: this site held no key of the patient, nothing was destroyed now.
    pub index: Option<u64>,
    /// Keys that were destroyed.
    pub keys: usize,
    /// Entries that name the patient and can be read by nobody any more.
    pub shredded: u64,
    /// Entries that name the patient and can still be read here: they are about another patient, too, and are sealed
    /// under that one's key, or came in while this was done.
    pub remaining: Vec<u64>,
    /// Entries about the patient that other sites have sealed: only they can shred them. Site, entries.
    pub elsewhere: BTreeMap<String, u64>,
}

impl Handle {
    /// Makes everything unreadable that this site has sealed about the patient, in every copy of it. The ledger says that
    /// `by` ordered it.
    ///
    /// # Errors
    /// `Unavailable` without a quorum: nothing was destroyed; try again. `Unconfirmed`: ordered, and perhaps done; try
    /// again as well.
    pub async fn shred(&self, patient: &PatientId, by: &str) -> Result<PatientShredded, LedgerError> {
        let ledger = &self.inner.ledger;
        let key = subject_key(patient);
        // Answers to alerts were sealed under a name of their own by an earlier build.
        let answers = hex::decode(patient_key(ledger, patient)).unwrap_or_default();
        let subjects = [ledger.subject(&key), ledger.subject(&answers)];
        let tag = ledger.tag("patient", &key);
        self.settled(ledger.size()).await;
        let done = ledger.shred(&subjects, vec![tag], by).await?;
        if let Some(done) = done {
            self.settled(done.index + 1).await;
        }
        let (ledger, index) = (ledger.clone(), done.map(|done| done.index));
        let found = blocking::read(move || look(&ledger, tag, index)).await;
        let found = found.map_err(|error| match index {
            Some(index) => LedgerError::Unconfirmed(format!(
                "the shredding is entry {index}, and what is left of the patient cannot be told: {error}"
            )),
            None => error,
        })?;
        Ok(PatientShredded { index, keys: done.map_or(0, |done| done.keys), ..found })
    }

    async fn settled(&self, upto: u64) {
        if !self.has_settled(upto, SETTLE_WAIT).await {
            tracing::warn!(
                upto,
                "the scores lag behind the ledger; shredding goes on without waiting for them"
            );
        }
    }
}

/// What there is of the patient. Messages behind the entry at `index` are of a new visit.
fn look(ledger: &Ledger, tag: raft_ledger::Tag, index: Option<u64>) -> Result<PatientShredded, LedgerError> {
    let (mut found, mut from) = (PatientShredded::default(), 0);
    loop {
        let page = ledger.by_tag(tag, from, PAGE)?;
        let Some(last) = page.last() else { return Ok(found) };
        from = last + 1;
        for at in page {
            let Some(entry) = ledger.read_from(at, 1)?.into_iter().next() else { continue };
            match entry.payload {
                Payload::Shredded => found.shredded += 1,
                Payload::Open(payload) if is_of_before(&payload, entry.kind, at, index) => {
                    found.remaining.push(at)
                }
                Payload::Sealed | Payload::Entrusted(_) => {
                    *found.elsewhere.entry(entry.site).or_default() += 1
                }
                Payload::Open(_) | Payload::Shred { .. } => {}
            }
        }
    }
}

/// Whether the entry tells of what was before the one at `index`.
fn is_of_before(payload: &bytes::Bytes, kind: u16, at: u64, index: Option<u64>) -> bool {
    let Some(index) = index.filter(|index| *index < at) else { return true };
    let alert = (kind == Kind::Alert as u16).then(|| entry::decode::<Alert>(payload).ok()).flatten();
    alert.is_some_and(|(alert, _)| alert.facts.indices.last().is_some_and(|trigger| *trigger < index))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use clinical::{AlertFacts, Time};
    use ml_scoring::WardBudgets;
    use raft_ledger::Draft;

    use super::*;
    use crate::checkpoint::{self, State};
    use crate::patient::Patient;

    fn patient(id: &str) -> PatientId {
        PatientId { authority: "HOSP".into(), id: id.into() }
    }

    /// Sealed under the first patient's key, found by all of them.
    fn draft(ledger: &Ledger, kind: Kind, patients: &[&str], payload: Bytes) -> Draft {
        let keys: Vec<Vec<u8>> = patients.iter().map(|id| subject_key(&patient(id))).collect();
        Draft {
            kind: kind as u16,
            subject: ledger.subject(&keys[0]),
            tags: keys.iter().map(|key| ledger.tag("patient", key)).collect(),
            dedupe: None,
            event_time_ms: 0,
            message_time_ms: 0,
            received_time_ms: 0,
            payload,
        }
    }

    fn alert(trigger: u64) -> Bytes {
        let facts = AlertFacts {
            id: "a".into(),
            patient: patient("1"),
            visit: None,
            ward: String::new(),
            at: Time(1),
            task: String::new(),
            model: String::new(),
            model_hash: String::new(),
            risk: 1.0,
            threshold: 0.5,
            tier: String::new(),
            reasons: Vec::new(),
            indices: vec![0, trigger],
            site: String::new(),
            takeover_for: None,
        };
        entry::encode(&Alert { facts, contributions: Vec::new(), received_at: Time(1), again: false }, b"")
    }

    #[actix::test]
    async fn what_remains_is_told_and_states_are_shredded_too() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = crate::test_ledger::one_site(dir.path()).await;
        let text = || Bytes::from_static(b"message");
        let message = |patients: &[&str]| draft(&ledger, Kind::Message, patients, text());
        ledger.append(vec![message(&["1"]), message(&["1", "2"]), message(&["2", "1"])]).await.unwrap();
        ledger.append(vec![message(&["2"])]).await.unwrap();
        let encoded = rmp_serde::to_vec_named(&Patient::default()).unwrap();
        let state = |id: &str| {
            let state = State { subject_key: subject_key(&patient(id)), encoded: encoded.clone() };
            (patient_key(&ledger, &patient(id)), Some(state))
        };
        let budgets = WardBudgets::default();
        let tallies = crate::shadow::Tallies::default();
        let (merges, states) = (clinical::Merges::default(), vec![state("1"), state("2")]);
        checkpoint::save(&ledger, 4, &merges, &budgets, &tallies, &crate::drift::Windows::default(), states);
        let kept = ledger.site_scan(b"patient-state/").unwrap();
        let in_the_clear = |value: &[u8]| value.windows(encoded.len()).any(|part| part == encoded);
        assert!(kept.len() == 2 && !kept.iter().any(|(_, value)| in_the_clear(value)));

        let key = subject_key(&patient("1"));
        let tag = ledger.tag("patient", &key);
        let done = ledger.shred(&[ledger.subject(&key)], vec![tag], "ada").await.unwrap().unwrap();
        assert_eq!(done.index, 4);
        // A new visit, an alert that is about it, and one that is about what was before.
        let alert = |trigger| draft(&ledger, Kind::Alert, &["1"], alert(trigger));
        ledger.append(vec![message(&["1"]), alert(5), alert(1)]).await.unwrap();
        let found = look(&ledger, tag, Some(done.index)).unwrap();
        assert_eq!((found.shredded, found.remaining, found.elsewhere.len()), (2, vec![2, 7], 0));
        let left: Vec<String> = checkpoint::load(&ledger).patients.into_iter().map(|(key, _)| key).collect();
        assert_eq!(left, [patient_key(&ledger, &patient("2"))]);
        ledger.close().await.unwrap();
    }
}
