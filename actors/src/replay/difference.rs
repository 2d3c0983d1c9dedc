//! What two readings of one message say differently, in words.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use clinical::{Code, CodeSystem, Deleted, Encounter, Event, EventKind, Observation, Person, Value};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::entry::Changed;
use crate::reading::no_version;

/// Events listed of each kind of difference; all are counted.
const LISTED_MAX: usize = 50;

#[derive(Clone, Default, Serialize)]
pub struct Difference {
    pub counts: Changed,
    pub added: Vec<Said>,
    pub removed: Vec<Said>,
    /// Before and after.
    pub changed: Vec<(Said, Said)>,
    /// More than are listed.
    pub cut: bool,
}

/// An event, for people and for programs.
#[derive(Clone, Serialize)]
pub struct Said {
    pub words: String,
    pub event: Event,
}

impl Difference {
    pub fn between(before: &[Event], after: &[Event]) -> Difference {
        let mut known: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for event in before {
            *known.entry(encoded(event)).or_default() += 1;
        }
        let mut added: Vec<&Event> = Vec::new();
        for event in after {
            match known.get_mut(&encoded(event)).filter(|left| **left > 0) {
                Some(left) => *left -= 1,
                None => added.push(event),
            }
        }
        let mut gone: Vec<&Event> = Vec::new();
        for event in before {
            if let Some(left) = known.get_mut(&encoded(event)).filter(|left| **left > 0) {
                *left -= 1;
                gone.push(event);
            }
        }
        let mut found = Difference::default();
        (found.counts.before_sha256, found.counts.after_sha256) = (hash(before), hash(after));
        // A code that is read otherwise changes what the result is known by; then its time and value tell.
        for same in [about, said_then] {
            (gone, added) = found.pair(gone, added, same);
        }
        added.into_iter().for_each(|event| found.add(event));
        gone.into_iter().for_each(|event| found.remove(event));
        found
    }

    /// Those that are about the same have changed; the rest.
    fn pair<'e>(
        &mut self,
        gone: Vec<&'e Event>,
        added: Vec<&'e Event>,
        about: fn(&Event) -> String,
    ) -> (Vec<&'e Event>, Vec<&'e Event>) {
        let mut waiting: BTreeMap<String, VecDeque<&Event>> = BTreeMap::new();
        for event in gone {
            waiting.entry(about(event)).or_default().push_back(event);
        }
        let mut new = Vec::new();
        for event in added {
            match waiting.get_mut(&about(event)).and_then(VecDeque::pop_front) {
                Some(former) => self.change(former, event),
                None => new.push(event),
            }
        }
        (waiting.into_values().flatten().collect(), new)
    }

    pub fn is_empty(&self) -> bool {
        let Changed { added, removed, changed, .. } = self.counts;
        added + removed + changed == 0
    }

    fn add(&mut self, event: &Event) {
        self.counts.added += 1;
        match self.added.len() < LISTED_MAX {
            true => self.added.push(Said::of(event)),
            false => self.cut = true,
        }
    }

    fn remove(&mut self, event: &Event) {
        self.counts.removed += 1;
        match self.removed.len() < LISTED_MAX {
            true => self.removed.push(Said::of(event)),
            false => self.cut = true,
        }
    }

    fn change(&mut self, before: &Event, after: &Event) {
        self.counts.changed += 1;
        match self.changed.len() < LISTED_MAX {
            true => self.changed.push((Said::of(before), Said::of(after))),
            false => self.cut = true,
        }
    }
}

impl Said {
    fn of(event: &Event) -> Said {
        Said { words: words(event), event: event.clone() }
    }
}

/// Of the events after: those that were said before as well, and those that are new.
pub(super) fn split(before: &[Event], after: Vec<Event>) -> (Vec<Event>, Vec<Event>) {
    let known: BTreeSet<Vec<u8>> = before.iter().map(encoded).collect();
    after.into_iter().partition(|event| known.contains(&encoded(event)))
}

/// The same bytes, the same event, whatever compares unequal to itself. Whether it is a version does not count, nor when it was
/// sent, which earlier releases did not write down.
fn encoded(event: &Event) -> Vec<u8> {
    let mut event = event.clone();
    no_version(&mut event);
    if let EventKind::Observed(observation) = &mut event.kind {
        observation.sent_at = None;
    }
    // Writing maps of strings and numbers to memory has no way to fail.
    rmp_serde::to_vec_named(&event).unwrap_or_default()
}

fn hash(events: &[Event]) -> String {
    let mut hash = Sha256::new();
    events.iter().for_each(|event| hash.update(encoded(event)));
    hex::encode(hash.finalize())
}

/// Two events about the same are one that changed.
fn about(event: &Event) -> String {
    match &event.kind {
        EventKind::Person(_) => "person".into(),
        EventKind::Encounter(encounter) => format!("encounter {:?}", encounter.change),
        EventKind::Observed(seen) if !seen.source_id.is_empty() => format!("observed {}", seen.source_id),
        EventKind::Observed(seen) => format!("observed {}", seen.code.code),
        EventKind::Ordered(order) => format!("ordered {} {}", order.placer, order.filler),
        EventKind::Merged { from } => format!("merged {} {}", from.authority, from.id),
    }
}

/// A result by its time and its value as it was sent; of everything else what it is about.
fn said_then(event: &Event) -> String {
    let EventKind::Observed(Observation { value, .. }) = &event.kind else { return about(event) };
    let sent = match value {
        Value::Quantity { text, .. } => text,
        Value::Text(text) => text.as_str(),
        Value::Coded(code) => &code.code,
        Value::Absent => "",
    };
    format!("{} {sent}", event.at.0)
}

fn words(event: &Event) -> String {
    let what = match &event.kind {
        EventKind::Person(person) if !person.deleted.is_nothing() => {
            format!("person ({})", taken_back(person))
        }
        EventKind::Person(_) => "person".to_owned(),
        EventKind::Encounter(encounter) => movement(encounter),
        EventKind::Observed(seen) => observed(seen),
        EventKind::Ordered(order) => format!("order {} of {}", order.control, named(&order.code)),
        EventKind::Merged { from } => format!("merge of {}|{}", from.authority, from.id),
    };
    let visit = event.visit.as_ref().map(|visit| format!(", visit {visit}")).unwrap_or_default();
    let patient = &event.patient;
    format!("{what} at {}, patient {}|{}{visit}", event.at.to_rfc3339(), patient.authority, patient.id)
}

fn taken_back(person: &Person) -> String {
    let Deleted { name, birth_date, sex, died_at } = person.deleted;
    let facts = [(name, "name"), (birth_date, "birth date"), (sex, "sex"), (died_at, "death")];
    let facts = facts.into_iter().filter(|(is_deleted, _)| *is_deleted).map(|(_, fact)| fact);
    format!("taken back: {}", facts.collect::<Vec<_>>().join(", "))
}

fn movement(encounter: &Encounter) -> String {
    let change = format!("{:?}", encounter.change).to_lowercase();
    match &encounter.location {
        Some(location) => {
            let bed = [&*location.ward, &*location.room, &*location.bed].join(" ");
            format!("{change} in {}{}", bed.trim(), if location.icu { " (intensive care)" } else { "" })
        }
        None if encounter.location_deleted => format!("{change}, its place taken back"),
        None => change,
    }
}

fn observed(seen: &Observation) -> String {
    let value = match &seen.value {
        Value::Quantity { number, unit, .. } => format!("{number} {unit}"),
        Value::Text(text) => text.chars().take(80).collect(),
        Value::Coded(code) => named(code),
        Value::Absent => "nothing".into(),
    };
    let status = format!("{:?}", seen.status).to_lowercase();
    format!("{} = {} ({status})", named(&seen.code), value.trim())
}

fn named(code: &Code) -> String {
    let system = match &code.system {
        CodeSystem::Loinc => "LOINC",
        CodeSystem::Snomed => "SNOMED",
        CodeSystem::Other(system) if system.is_empty() => "local",
        CodeSystem::Other(system) => system,
    };
    match code.display.is_empty() {
        true => format!("{system} {}", code.code),
        false => format!("{system} {} {}", code.code, code.display),
    }
}
