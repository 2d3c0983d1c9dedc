//! Shredding a patient: the ledger destroys the keys, the tail drops what it has derived (`tail.rs`), and what is left
//! of the patient is told.

use std::collections::BTreeMap;
use std::time::Duration;

use clinical::PatientId;
use raft_ledger::{Ledger, LedgerError, Payload};
use serde::Serialize;

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
    /// Makes everything unreadable that this site has sealed about the patient, in every copy of it.
    ///
    /// # Errors
    /// `Unavailable` without a quorum: nothing was destroyed; try again.
    pub async fn shred(&self, patient: &PatientId) -> Result<PatientShredded, LedgerError> {
        let ledger = &self.inner.ledger;
        let key = subject_key(patient);
        // Answers to alerts were sealed under a name of their own by an earlier build.
        let answers = hex::decode(patient_key(ledger, patient)).unwrap_or_default();
        let subjects = [ledger.subject(&key), ledger.subject(&answers)];
        let tag = ledger.tag("patient", &key);
        self.settled(ledger.size()).await;
        let done = ledger.shred(&subjects, vec![tag]).await?;
        if let Some(done) = done {
            self.settled(done.index + 1).await;
        }
        let (ledger, index) = (ledger.clone(), done.map(|done| done.index));
        let found = tokio::task::spawn_blocking(move || look(&ledger, tag, index)).await;
        let found = found.map_err(|error| LedgerError::Storage(error.to_string()))??;
        Ok(PatientShredded { index, keys: done.map_or(0, |done| done.keys), ..found })
    }

    async fn settled(&self, upto: u64) {
        let mut settled = self.inner.settled.clone();
        if tokio::time::timeout(SETTLE_WAIT, settled.wait_for(|index| *index >= upto)).await.is_err() {
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
                Payload::Sealed => *found.elsewhere.entry(entry.site).or_default() += 1,
                Payload::Open(_) | Payload::Shred(_) => {}
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
