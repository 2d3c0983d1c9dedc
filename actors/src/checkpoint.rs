//! The pipeline's own memory in the site's store: where the tail stands, and the patients' states as of there.
//!
//! Losing it costs time and nothing else: the ledger is read again from the start. A patient's state is sealed under
//! the patient's key: shredded with it.

use clinical::Merges;
use ml_scoring::WardBudgets;
use raft_ledger::{Entry, Ledger, LedgerError};
use serde::de::DeserializeOwned;

use crate::drift::Windows;
use crate::entry::Kind;
use crate::patient::Patient;
use crate::shadow::Tallies;

const CURSOR: &[u8] = b"tail/cursor";
const MERGED: &[u8] = b"tail/merged";
const BUDGETS: &[u8] = b"tail/budgets";
const SHADOW: &[u8] = b"tail/shadow";
const DRIFT: &[u8] = b"tail/drift";
const PATIENT: &str = "patient-state/";
/// States that an earlier build kept in the clear.
const CLEAR: &[u8] = b"patient/";
const PAGE: usize = 1024;

#[derive(Default)]
pub(crate) struct Checkpoint {
    pub cursor: u64,
    pub merges: Merges<String>,
    pub patients: Vec<(String, Patient)>,
}

/// The last checkpoint; an empty one where there is none, or where a later release wrote it.
pub(crate) fn load(ledger: &Ledger) -> Checkpoint {
    match try_load(ledger) {
        Ok(checkpoint) => checkpoint.unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%error, "patient states cannot be read; folding the ledger again from its start");
            Checkpoint::default()
        }
    }
}

fn try_load(ledger: &Ledger) -> Result<Option<Checkpoint>, Box<dyn std::error::Error>> {
    if !ledger.site_scan(CLEAR)?.is_empty() {
        ledger.site_forget(CLEAR)?;
        tracing::info!(
            "patient states of an earlier build are removed; folding the ledger again from its start"
        );
        return Ok(None);
    }
    let Some(cursor) = ledger.site_get(CURSOR)? else { return Ok(None) };
    let cursor = u64::from_be_bytes(cursor.as_slice().try_into()?);
    let merges = match ledger.site_get(MERGED)? {
        Some(bytes) => rmp_serde::from_slice(&bytes)?,
        None => Merges::default(),
    };
    let mut patients = Vec::new();
    for (place, sealed) in ledger.site_scan(PATIENT.as_bytes())? {
        let key = std::str::from_utf8(place.get(PATIENT.len()..).unwrap_or_default())?.to_owned();
        // What does not open was shredded while this site was down: the tail meets that entry and forgets the rest.
        if let Some(bytes) = ledger.open_aside(&place, &sealed) {
            patients.push((key, Patient::decode(&bytes)?));
        }
    }
    Ok(Some(Checkpoint { cursor, merges, patients }))
}

/// What each ward's budget has spent; nothing where it cannot be read.
pub(crate) fn load_budgets(ledger: &Ledger) -> WardBudgets {
    let stored = ledger.site_get(BUDGETS).ok().flatten();
    stored.and_then(|bytes| rmp_serde::from_slice(&bytes).ok()).unwrap_or_default()
}

/// What was counted of models in shadow before `cursor`; nothing where that cannot be read.
pub(crate) fn load_tallies(ledger: &Ledger, cursor: u64) -> Tallies {
    load_counts(ledger, SHADOW, cursor, "what was counted of models in shadow")
}

/// What was counted of this site's patients before `cursor`, for drift; nothing where that cannot be read.
pub(crate) fn load_windows(ledger: &Ledger, cursor: u64) -> Windows {
    load_counts(ledger, DRIFT, cursor, "what was counted for drift")
}

/// A later release may have written them: fields that this one does not know are passed over.
fn load_counts<T: Default + DeserializeOwned>(ledger: &Ledger, place: &[u8], cursor: u64, what: &str) -> T {
    let stored = ledger.site_get(place).ok().flatten().filter(|_| cursor > 0);
    let read = stored.map(|bytes| rmp_serde::from_slice(&bytes)).transpose();
    let read = read.inspect_err(|error| tracing::warn!(%error, "{what} cannot be read and begins anew"));
    read.ok().flatten().unwrap_or_default()
}

/// Takes a patient's state off the disk: what was saved while the patient was being shredded may be sealed under the
/// key that came after.
pub(crate) fn forget(ledger: &Ledger, key: &str) {
    if let Err(error) = ledger.site_forget(format!("{PATIENT}{key}").as_bytes()) {
        tracing::error!(%error, "the state of a patient who was shredded could not be removed");
    }
}

/// What a checkpoint keeps of one patient.
pub(crate) struct State {
    pub subject_key: Vec<u8>,
    pub encoded: Vec<u8>,
}

/// All at once: cursor, merges, budgets, what was counted of models in shadow and for drift, and the patients that changed;
/// `None` is one that is gone.
pub(crate) fn save(
    ledger: &Ledger,
    cursor: u64,
    merges: &Merges<String>,
    budgets: &WardBudgets,
    tallies: &Tallies,
    windows: &Windows,
    changed: Vec<(String, Option<State>)>,
) {
    let mut writes = vec![
        (CURSOR.to_vec(), Some(cursor.to_be_bytes().to_vec())),
        (MERGED.to_vec(), Some(rmp_serde::to_vec_named(merges).unwrap_or_default())),
        (BUDGETS.to_vec(), Some(rmp_serde::to_vec_named(budgets).unwrap_or_default())),
        (SHADOW.to_vec(), Some(rmp_serde::to_vec_named(tallies).unwrap_or_default())),
        (DRIFT.to_vec(), Some(rmp_serde::to_vec_named(windows).unwrap_or_default())),
    ];
    let mut sealed = changed.into_iter().map(|(key, state)| {
        let place = format!("{PATIENT}{key}").into_bytes();
        let seal = |State { subject_key, encoded }| {
            ledger.seal_aside(&ledger.subject(&subject_key), &place, &encoded)
        };
        let value = state.map(seal).transpose()?;
        Ok::<_, LedgerError>((place, value))
    });
    let saved = sealed.try_for_each(|write| write.map(|write| writes.push(write)));
    if let Err(error) = saved.and_then(|()| ledger.site_write(writes)) {
        tracing::error!(%error, "patient states not saved; a restart would fold more of the ledger again");
    }
}

/// The alerts before `cursor`, their deliveries and their answers, in this order. What cannot be read is told of and left
/// out.
pub(crate) fn for_each_answered_alert(ledger: &Ledger, cursor: u64, mut visit: impl FnMut(Entry)) {
    for kind in [Kind::Alert, Kind::Delivered, Kind::Acknowledged] {
        if let Err(error) = for_each_of(ledger, kind, cursor, &mut visit) {
            tracing::error!(%error, ?kind, "the board lacks what cannot be read of the entries of this kind");
        }
    }
}

/// Of this kind before `end`.
fn for_each_of(
    ledger: &Ledger,
    kind: Kind,
    end: u64,
    visit: &mut impl FnMut(Entry),
) -> Result<(), LedgerError> {
    let (tag, mut from) = (ledger.tag("kind", kind.tag()), 0);
    loop {
        let page = ledger.by_tag(tag, from, PAGE)?;
        let Some(last) = page.last().copied() else { return Ok(()) };
        for index in page.into_iter().filter(|index| *index < end) {
            match ledger.read_from(index, 1) {
                Ok(entries) => entries.into_iter().for_each(&mut *visit),
                Err(error) => tracing::error!(%error, index, "an alert or an answer is not shown"),
            }
        }
        from = last + 1;
    }
}
