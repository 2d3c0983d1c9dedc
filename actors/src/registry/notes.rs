//! The ledger's entries about models: written, and read again. A site seals its own, so of another site's it often reads
//! nothing but tags: these tell which model an entry is about, and the step, to whoever knows the model's hash.

use std::collections::BTreeSet;

use clinical::Time;
use raft_ledger::{Draft, Entry, Ledger, LedgerError, Payload, Tag};

use crate::entry::{self, Kind, ModelRegistered, ModelStep};
use crate::{clock, outgoing};

const PAGE: usize = 1024;

/// What an entry about a model says, as far as this site can tell.
#[derive(Clone)]
pub(crate) struct Note {
    pub index: u64,
    pub site: String,
    pub at: Time,
    pub said: Said,
}

#[derive(Clone)]
pub(crate) enum Said {
    Whole(Box<ModelRegistered>),
    /// Told by tags.
    Step {
        hash: String,
        step: ModelStep,
    },
    /// About a model that this site has never met.
    Sealed,
}

impl Note {
    /// The model's hash and what happened to it.
    pub fn step(&self) -> Option<(&str, ModelStep)> {
        match &self.said {
            Said::Whole(model) => Some((&model.hash, model.step)),
            Said::Step { hash, step } => Some((hash, *step)),
            Said::Sealed => None,
        }
    }

    pub fn whole(&self) -> Option<&ModelRegistered> {
        match &self.said {
            Said::Whole(model) => Some(model),
            Said::Step { .. } | Said::Sealed => None,
        }
    }
}

pub(crate) fn draft(ledger: &Ledger, site: &str, model: &ModelRegistered) -> Draft {
    let at = clock::now();
    let payload = entry::encode(model, b"");
    let mut draft = outgoing::draft(ledger, Kind::ModelRegistered, b"models", payload, at);
    let parts = [model.hash.as_bytes(), model.step.as_str().as_bytes(), site.as_bytes(), &at.0.to_be_bytes()];
    draft.dedupe = Some(ledger.keyed_hash("model-step", &parts));
    draft.tags.extend([about(ledger, &model.hash), step_tag(ledger, &model.hash, model.step)]);
    draft
}

/// All of them before the entry at `end`, oldest first. `known`: hashes of models that this site has met otherwise.
/// Blocks.
pub(crate) fn all(ledger: &Ledger, end: u64, known: &BTreeSet<String>) -> Result<Vec<Note>, LedgerError> {
    let (tag, mut from, mut entries) = (ledger.tag("kind", Kind::ModelRegistered.tag()), 0, Vec::new());
    loop {
        let page = ledger.by_tag(tag, from, PAGE)?;
        let Some(last) = page.last() else { break };
        from = last + 1;
        for index in page.into_iter().filter(|index| *index < end) {
            match ledger.read_from(index, 1) {
                // Its tags are not in the cold file.
                Err(LedgerError::Cold(_)) => entries.push(sealed(index)),
                read => entries.extend(read?.iter().map(opened)),
            }
        }
    }
    let mut known = known.clone();
    known.extend(entries.iter().filter_map(|note| Some(note.whole()?.hash.clone())));
    for note in &mut entries {
        tell(ledger, note, &known)?;
    }
    Ok(entries)
}

/// Of an entry that cannot be read, if it is about a model: its tags stand in the database. Blocks.
pub(crate) fn unread(
    ledger: &Ledger,
    index: u64,
    known: &BTreeSet<String>,
) -> Result<Option<Note>, LedgerError> {
    let tag = ledger.tag("kind", Kind::ModelRegistered.tag());
    if ledger.by_tag(tag, index, 1)?.first() != Some(&index) {
        return Ok(None);
    }
    let mut note = sealed(index);
    tell(ledger, &mut note, known)?;
    Ok(Some(note))
}

fn sealed(index: u64) -> Note {
    Note { index, site: String::new(), at: Time::default(), said: Said::Sealed }
}

/// The one at hand, among models whose hashes are `known`. Blocks.
pub(crate) fn of(ledger: &Ledger, entry: &Entry, known: &BTreeSet<String>) -> Result<Note, LedgerError> {
    let mut note = opened(entry);
    tell(ledger, &mut note, known)?;
    Ok(note)
}

fn opened(entry: &Entry) -> Note {
    let said = match &entry.payload {
        Payload::Open(payload) | Payload::Entrusted(payload) => entry::decode(payload)
            .map(|(model, _)| Said::Whole(Box::new(model)))
            // Of a later release: its tags may be known.
            .unwrap_or(Said::Sealed),
        Payload::Sealed | Payload::Shredded | Payload::Shred { .. } => Said::Sealed,
    };
    Note { index: entry.index, site: entry.site.clone(), at: Time(entry.event_time_ms), said }
}

fn tell(ledger: &Ledger, note: &mut Note, known: &BTreeSet<String>) -> Result<(), LedgerError> {
    if note.whole().is_some() {
        return Ok(());
    }
    let has =
        |tag: Tag| Ok::<_, LedgerError>(ledger.by_tag(tag, note.index, 1)?.first() == Some(&note.index));
    for hash in known {
        if !has(about(ledger, hash))? {
            continue;
        }
        for step in ModelStep::ALL {
            if has(step_tag(ledger, hash, step))? {
                note.said = Said::Step { hash: hash.clone(), step };
                return Ok(());
            }
        }
        // Of a release that knew no steps.
        note.said = Said::Step { hash: hash.clone(), step: ModelStep::Loaded };
        return Ok(());
    }
    Ok(())
}

fn about(ledger: &Ledger, hash: &str) -> Tag {
    ledger.tag("model", hash.as_bytes())
}

fn step_tag(ledger: &Ledger, hash: &str, step: ModelStep) -> Tag {
    ledger.tag("model-step", format!("{}:{hash}", step.as_str()).as_bytes())
}
