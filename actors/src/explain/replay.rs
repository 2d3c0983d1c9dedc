//! A patient's entries, folded again as the tail folds them (`tail.rs`): merges, shreddings and forgetting at their places.

use std::collections::{BTreeMap, BTreeSet};

use clinical::{
    COLUMNS, Column, Event, EventKind, Folded, Merge, Merges, Observation, PatientId, PatientState, Time,
    Value,
};
use ml_scoring::features::words_of_value;
use raft_ledger::{Entry, Ledger, LedgerError, Payload, Subject, Tag};

use super::{Evidence, ExplainError, SetAsideValue, read};
use crate::entry::{self, Kind, Message, Tick};
use crate::patient::{Duty, Patient, begins_with};
use crate::reading::subject_key;

const PAGE: usize = 1024;
/// Of one patient: years of one a minute.
const ENTRIES_MAX: usize = 1_000_000;

/// Whose entries.
pub(crate) struct About<'a> {
    pub patient: &'a PatientId,
    /// The site that scores.
    pub site: &'a str,
    /// Entries that are about the patient in any case: a message about many names only the first of them by tags.
    pub indices: &'a [u64],
}

pub(crate) struct Replay<'l> {
    ledger: &'l Ledger,
    /// Of the site that scores.
    duty: Duty,
    /// The patient's ids: the one that was asked for and those that were merged into it.
    ids: BTreeSet<PatientId>,
    merges: Merges<PatientId>,
    patients: BTreeMap<PatientId, Patient>,
    /// The index that follows what was folded.
    next: u64,
    measured: BTreeMap<(Column, Time), Vec<Measured>>,
    /// By column, time and source: a correction takes the place of what it corrects.
    aside: BTreeMap<(Column, Time, String), (SetAsideValue, Option<String>)>,
    pub folded: u64,
    pub unreadable: u64,
}

/// A value as the state reads it, and where it came from.
struct Measured {
    value: f32,
    index: u64,
    /// The site that entrusted it to this one.
    entrusted_by: Option<String>,
}

impl<'l> Replay<'l> {
    pub fn run(ledger: &'l Ledger, about: &About, as_of: u64) -> Result<Replay<'l>, ExplainError> {
        let (ids, indices) = history(ledger, about, as_of)?;
        let mut replay = Replay {
            ledger,
            duty: Duty { own: about.site.to_owned(), covered: BTreeSet::new() },
            ids,
            merges: Merges::default(),
            patients: BTreeMap::new(),
            next: 0,
            measured: BTreeMap::new(),
            aside: BTreeMap::new(),
            folded: 0,
            unreadable: 0,
        };
        for index in indices {
            replay.forget_long_gone(index)?;
            if let Some(entry) = read(ledger, index)? {
                replay.take(&entry)?;
            }
            replay.next = index + 1;
        }
        Ok(replay)
    }

    /// What was known of the patient in the end.
    pub fn state_of(&self, patient: &PatientId) -> PatientState {
        let found = self.patients.get(self.merges.survivor(patient));
        found.map(|patient| patient.known().clone()).unwrap_or_default()
    }

    /// The newest values at `at`, and how many others are not for this site to show.
    pub fn evidence(
        &self,
        state: &PatientState,
        at: Time,
        shows: impl Fn(&str) -> bool,
    ) -> (Vec<Evidence>, usize) {
        let (mut evidence, mut withheld) = (Vec::new(), 0);
        for column in COLUMNS {
            let Some((measured_at, value)) = state.last(*column, at) else { continue };
            let all = self.measured.get(&(*column, measured_at)).into_iter().flatten();
            let same = all.filter(|measured| measured.value.to_bits() == value.to_bits());
            // A value that two entries told of may be shown if one of them may.
            let told = same.min_by_key(|measured| (measured.entrusted_by.is_some(), measured.index));
            let Some(told) = told else { continue };
            if told.entrusted_by.as_ref().is_some_and(|site| !shows(site)) {
                withheld += 1;
                continue;
            }
            evidence.push(Evidence {
                column: column.name().to_owned(),
                value,
                unit: column.unit().to_owned(),
                words: words_of_value(*column, value),
                at: measured_at,
                index: told.index,
            });
        }
        (evidence, withheld)
    }

    /// The newest of each column at `at` that is not used, and how many are not for this site to show.
    pub fn set_aside(&self, at: Time, shows: impl Fn(&str) -> bool) -> (Vec<SetAsideValue>, usize) {
        let known = self.aside.iter().filter(|((_, measured_at, _), _)| *measured_at <= at);
        let newest: BTreeMap<Column, _> = known.map(|((column, ..), aside)| (*column, aside)).collect();
        let all = newest.len();
        let hidden = |site: &Option<String>| site.as_ref().is_some_and(|site| !shows(site));
        let shown = newest.into_values().filter(|(_, entrusted_by)| !hidden(entrusted_by));
        let shown: Vec<_> = shown.map(|(value, _)| value.clone()).collect();
        let withheld = all - shown.len();
        (shown, withheld)
    }

    fn take(&mut self, entry: &Entry) -> Result<(), ExplainError> {
        let is_message = entry.kind == Kind::Message as u16;
        let (payload, entrusted_by) = match &entry.payload {
            Payload::Open(payload) => (payload, None),
            Payload::Entrusted(payload) => (payload, Some(entry.site.clone())),
            Payload::Shred { subjects, .. } => {
                self.forget(&entry.site, subjects);
                return Ok(());
            }
            Payload::Sealed | Payload::Shredded => {
                self.unreadable += u64::from(is_message);
                return Ok(());
            }
        };
        if !is_message {
            return Ok(());
        }
        let index = entry.index;
        let (message, _) =
            entry::decode::<Message>(payload).map_err(|error| ExplainError::Entry { index, error })?;
        self.message(entry, message, entrusted_by.as_deref());
        Ok(())
    }

    fn message(&mut self, entry: &Entry, message: Message, entrusted_by: Option<&str>) {
        let mut by_patient: Vec<(PatientId, Vec<Event>)> = Vec::new();
        let again = message.again.clone();
        for event in message.into_news() {
            if !self.ids.contains(&event.patient) {
                continue;
            }
            if let EventKind::Merged { from } = &event.kind {
                self.merge(from, &event.patient);
            }
            let key = self.merges.survivor(&event.patient).clone();
            match by_patient.iter_mut().find(|(known, _)| *known == key) {
                Some((_, events)) => events.push(event),
                None => by_patient.push((key, vec![event])),
            }
        }
        self.folded += u64::from(!by_patient.is_empty());
        for (key, events) in by_patient {
            let is_known = self.patients.contains_key(&key);
            if !is_known && !begins_with(&events, again.as_ref()) {
                continue;
            }
            self.note(entry, &events, entrusted_by);
            let patient = self.patients.entry(key).or_default();
            patient.fold(entry.index, &events, Time(entry.received_time_ms), again.as_ref());
            if !is_known || again.as_ref().is_none_or(|again| again.replaces.is_none()) {
                patient.came_in_at(&entry.site, entry.index, &self.duty);
            }
        }
    }

    fn merge(&mut self, from: &PatientId, into: &PatientId) {
        let Merge::Joined { from, into } = self.merges.merge(from, into) else { return };
        if let Some(other) = self.patients.remove(&from) {
            self.patients.entry(into).or_default().absorb(&other);
        }
    }

    fn forget(&mut self, site: &str, subjects: &[Subject]) {
        let (ledger, duty) = (self.ledger, &self.duty);
        let is_meant = |key: Vec<u8>| subjects.contains(&ledger.subject(&key));
        let meant =
            |patient: &Patient| patient.knows_from(site, duty) && patient.subject_key().is_some_and(is_meant);
        let before = self.patients.len();
        self.patients.retain(|_, patient| !meant(patient));
        self.forget_set_aside(before);
    }

    /// No state says any more which of these are whose: where a patient was dropped, none is shown.
    fn forget_set_aside(&mut self, patients_before: usize) {
        if self.patients.len() < patients_before {
            self.aside.clear();
        }
    }

    /// Ticks of the site before the entry at `index` drop who has been gone for long.
    fn forget_long_gone(&mut self, index: u64) -> Result<(), ExplainError> {
        if self.patients.values().all(Patient::is_present) {
            return Ok(());
        }
        let ticks = self.ledger.tag("kind", Kind::Tick.tag());
        let (ledger, next) = (self.ledger, self.next);
        for tick in pages(ledger, ticks, next, index) {
            let entry = read(ledger, tick?)?.filter(|entry| entry.site == self.duty.own);
            let Some(Entry { payload: Payload::Open(payload) | Payload::Entrusted(payload), .. }) = entry
            else {
                continue;
            };
            if let Ok((tick, _)) = entry::decode::<Tick>(&payload) {
                let before = self.patients.len();
                self.patients.retain(|_, patient| !patient.is_forgotten(tick.at));
                self.forget_set_aside(before);
            }
        }
        Ok(())
    }

    /// Each event alone says which value the state reads out of it.
    fn note(&mut self, entry: &Entry, events: &[Event], entrusted_by: Option<&str>) {
        for event in events {
            let EventKind::Observed(observation) = &event.kind else { continue };
            let Some(column) = Column::from_code(&observation.code) else { continue };
            let mut alone = PatientState::default();
            if alone.apply_received(event, Time(entry.received_time_ms)) == Folded::Future {
                continue;
            }
            let place = (column, event.at, observation.source_id.clone());
            match set_aside(column, event.at, entry.index, observation) {
                Some(value) => {
                    self.aside.insert(place, (value, entrusted_by.map(str::to_owned)));
                }
                None => {
                    self.aside.remove(&place);
                }
            }
            let Some((at, value)) = alone.newest_first(column).next() else { continue };
            let measured =
                Measured { value, index: entry.index, entrusted_by: entrusted_by.map(str::to_owned) };
            self.measured.entry((column, at)).or_default().push(measured);
        }
    }
}

/// What the state does not use, as it was sent; `None` where there is no such value.
fn set_aside(column: Column, at: Time, index: u64, observation: &Observation) -> Option<SetAsideValue> {
    observation.doubt()?;
    let why = observation.reading()?.value.err()?;
    let sent = match &observation.value {
        Value::Quantity { text, unit, .. } => format!("{text} {unit}"),
        Value::Text(text) => text.clone(),
        Value::Coded(code) if code.display.is_empty() => code.code.to_string(),
        Value::Coded(code) => code.display.to_string(),
        Value::Absent => return None,
    };
    let words = format!("{} {}", column.words(), sent.trim());
    Some(SetAsideValue { column: column.name().to_owned(), words, why: why.words().to_owned(), at, index })
}

/// All that names the patient up to `as_of`, and by which ids. An id that was merged into one of these is found in the
/// message that says so, which names the survivor.
fn history(
    ledger: &Ledger,
    about: &About,
    as_of: u64,
) -> Result<(BTreeSet<PatientId>, BTreeSet<u64>), ExplainError> {
    let (mut ids, mut waiting) = (BTreeSet::new(), vec![about.patient.clone()]);
    let mut indices: BTreeSet<u64> = about.indices.iter().copied().filter(|index| *index <= as_of).collect();
    while let Some(id) = waiting.pop() {
        let tag = ledger.tag("patient", &subject_key(&id));
        if !ids.insert(id) {
            continue;
        }
        for index in pages(ledger, tag, 0, as_of.saturating_add(1)) {
            let index = index?;
            indices.insert(index);
            if indices.len() > ENTRIES_MAX {
                return Err(ExplainError::TooMany(ENTRIES_MAX));
            }
            waiting.extend(merged_by(ledger, index, &ids)?);
        }
    }
    Ok((ids, indices))
}

/// Ids that the message merges into one of `ids`.
fn merged_by(ledger: &Ledger, index: u64, ids: &BTreeSet<PatientId>) -> Result<Vec<PatientId>, ExplainError> {
    let entry = read(ledger, index)?.filter(|entry| entry.kind == Kind::Message as u16);
    let Some(Entry { payload: Payload::Open(payload) | Payload::Entrusted(payload), .. }) = entry else {
        return Ok(Vec::new());
    };
    let (message, _) =
        entry::decode::<Message>(&payload).map_err(|error| ExplainError::Entry { index, error })?;
    let merged = message.events.into_iter().filter_map(|event| match event.kind {
        EventKind::Merged { from } if ids.contains(&event.patient) => Some(from),
        _ => None,
    });
    Ok(merged.collect())
}

/// Indices with the tag, from `from` on and before `until`.
fn pages(ledger: &Ledger, tag: Tag, from: u64, until: u64) -> impl Iterator<Item = Result<u64, LedgerError>> {
    let mut next = Some(from);
    let page = move || {
        let from = next?;
        let page = match ledger.by_tag(tag, from, PAGE) {
            Ok(page) => page,
            Err(error) => {
                next = None;
                return Some(vec![Err(error)]);
            }
        };
        next = page.last().map(|last| last + 1);
        Some(page.into_iter().map(Ok).collect())
    };
    let before = move |index: &Result<u64, LedgerError>| index.as_ref().map_or(true, |index| *index < until);
    std::iter::from_fn(page).flatten().take_while(before)
}
