//! Messages of this site, read again as their feeds read now. A message that is read otherwise goes into the ledger once
//! more, in the place of its former reading, and an act that says who had it done; one that is read the same is left
//! alone. Refused messages that can be read now are repaired as the error queue does it.

mod counted;
mod difference;
mod met;

use std::collections::BTreeSet;
use std::time::Instant;

use clinical::{Issue, Time};
use raft_ledger::{AppendError, Draft, Entry, LedgerError, Outcome};
use serde::Serialize;

pub use difference::{Difference, Said};
use met::{Met, Next, Todo};

use crate::blocking;
use crate::entry::Kind;
use crate::errors::{RepairError, Unconfirmed};
use crate::handle::Handle;
use crate::search::Search;

/// Pause before an append that found too much under way.
const PUSHBACK_PAUSE: std::time::Duration = std::time::Duration::from_millis(5);
const PUSHBACKS_MAX: u32 = 2000;

/// Which messages, and how.
#[derive(Clone, Default)]
pub struct Replay {
    /// In the place of a search.
    pub indices: BTreeSet<u64>,
    pub search: Search,
    /// MSH-9 or the resource's type, as the entry has it.
    pub type_: Option<String>,
    /// Of a refusal, or of an issue with a message that was taken.
    pub code: Option<String>,
    /// Nothing from this index on: what a replay writes is not met by its own next page.
    pub before: Option<u64>,
    /// Writes nothing.
    pub dry_run: bool,
    pub with_alerts: bool,
    pub reason: String,
    /// As a person has asked, for the ledger.
    pub query: String,
}

/// One page.
pub struct Replays {
    pub as_of: u64,
    pub rows: Vec<ReplayRow>,
    /// As of a search: for `Search::go_on`.
    pub next: Option<(Option<Time>, u64)>,
}

/// One message that was read again.
#[derive(Serialize)]
pub struct ReplayRow {
    /// Of the entry that holds its reading so far.
    pub index: u64,
    /// Of the entry that it came with.
    pub original: u64,
    pub feed: String,
    #[serde(rename = "type")]
    pub type_: String,
    pub control_id: String,
    pub outcome: ReplayOutcome,
    pub difference: Difference,
    /// Why it would be refused, or what is doubtful in it now.
    pub issues: Vec<Issue>,
    /// Entries that hold the new reading; none in a dry run.
    pub became: Vec<u64>,
}

/// What became of it, or in a dry run would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayOutcome {
    Same,
    Changed,
    /// What it was read to say before has counted, and would go on to beside the new reading; it stays as it is.
    Counted,
    /// It had been refused, and can be read now.
    Taken,
    /// It cannot be read now, and stays as it is.
    Refused,
    /// No feed reads it any more; it stays as it is.
    NoFeed,
    /// Another replay was faster; this one did nothing.
    Overtaken,
}

impl Handle {
    /// One page of messages, read again. Without `dry_run` what differs is in the ledger when this returns.
    pub async fn replay(&self, how: Replay, by: &str) -> Result<Replays, RepairError> {
        if how.dry_run {
            let handle = self.clone();
            return blocking::read(move || handle.compared(&how, "").map(only_rows)).await;
        }
        let mut unconfirmed = self.inner.repairing.lock().await;
        let (handle, asked, name) = (self.clone(), how, by.to_owned());
        let (mut page, todo) = blocking::read(move || handle.compared(&asked, &name)).await?;
        for (row, todo) in page.rows.iter_mut().zip(todo) {
            self.carry_through(row, todo, &mut unconfirmed).await?;
        }
        Ok(page)
    }

    /// Blocks.
    fn compared(&self, how: &Replay, by: &str) -> Result<(Replays, Vec<Todo>), RepairError> {
        let (as_of, entries, next) = self.sought(how)?;
        let (mut rows, mut todo) = (Vec::new(), Vec::new());
        for entry in entries {
            let met = match how.indices.is_empty() {
                true => self.met(entry)?.filter(|met| how.wants(met)),
                false => self.met_by_index(entry)?,
            };
            let Some((row, what)) = met.map(|met| self.read_anew(met, how, by)).transpose()? else {
                continue;
            };
            rows.push(row);
            todo.push(what);
        }
        Ok((Replays { as_of, rows, next }, todo))
    }

    fn sought(&self, how: &Replay) -> Result<(u64, Vec<Entry>, Next), LedgerError> {
        let ledger = self.ledger();
        if !how.indices.is_empty() {
            let found = Search::at(ledger, &how.indices, how.search.from)?;
            return Ok((found.as_of, found.entries, found.next));
        }
        let search = how.narrowed();
        let found = search.run(ledger)?;
        let before = how.before.unwrap_or(found.as_of);
        let entries = found.entries.into_iter().filter(|entry| entry.index < before).collect();
        // In the ledger's order nothing follows that is meant.
        let next = found.next.filter(|(_, from)| search.leaves_ledger_order() || *from < before);
        Ok((before, entries, next))
    }

    async fn carry_through(
        &self,
        row: &mut ReplayRow,
        todo: Todo,
        unconfirmed: &mut Unconfirmed,
    ) -> Result<(), RepairError> {
        match todo {
            Todo::Nothing => {}
            Todo::Keep(drafts) => {
                let outcomes = self.append_patiently(drafts, row.original).await?;
                let reading = outcomes.first().copied();
                match reading {
                    Some(Outcome { index, duplicate: false }) => row.became = vec![index],
                    _ => row.outcome = ReplayOutcome::Overtaken,
                }
            }
            Todo::Repair(found, attempt) => {
                let done = self.carry_out(&found, *attempt, Instant::now(), unconfirmed).await?;
                row.became = done.became;
            }
        }
        Ok(())
    }

    /// Its dedupe keys make it harmless to do so again.
    async fn append_patiently(&self, drafts: Vec<Draft>, original: u64) -> Result<Vec<Outcome>, RepairError> {
        for _ in 0..PUSHBACKS_MAX {
            match self.ledger().append(drafts.clone()).await {
                Err(AppendError::Pushback { .. }) => tokio::time::sleep(PUSHBACK_PAUSE).await,
                Err(AppendError::Unavailable { .. }) => return Err(RepairError::Unconfirmed(original)),
                done => return done.map_err(RepairError::Append),
            }
        }
        Err(RepairError::Append(AppendError::Pushback { in_flight_bytes: 0 }))
    }
}

impl Replay {
    fn narrowed(&self) -> Search {
        let search = self.search.clone();
        let Search { patient, visit, control_id, feed, kind, .. } = &search;
        let by_name = patient.is_some() || visit.is_some() || control_id.is_some() || feed.is_some();
        // Codes are of messages and of refusals; each entry is looked at.
        let is_narrow = by_name || search.leaves_ledger_order() || self.code.is_some();
        let kind = kind.or((!is_narrow).then_some(Kind::Message));
        Search { kind, ..search }
    }

    fn wants(&self, met: &Met) -> bool {
        let is = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
        let has = |code: &String| met.codes().any(|known| known == code);
        is(&self.search.feed, met.feed())
            && is(&self.type_, met.type_())
            && self.search.kind.is_none_or(|kind| kind == met.kind())
            && self.code.as_ref().is_none_or(has)
    }
}

fn only_rows((page, _): (Replays, Vec<Todo>)) -> Replays {
    page
}
