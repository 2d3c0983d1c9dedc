//! Finding entries: by their place in the ledger, by what their tags say, by event time, by receipt.

use std::collections::BTreeSet;

use clinical::{PatientId, Time};
use raft_ledger::{Entry, Ledger, LedgerError, Payload, Tag};

use crate::entry::Kind;
use crate::reading::subject_key;

/// Places looked at and bytes read for one page. With more the page ends early and says where to go on.
const LOOKS_MAX: usize = 20_000;
const BYTES_MAX: usize = 32 << 20;
/// Indices that one scan brings.
const SCAN_MAX: usize = 1_000;
pub(crate) const TYPE_TAG: &str = "type";
pub(crate) const CODE_TAG: &str = "code";
/// Of an id that the message merges into another one.
pub(crate) const MERGED_TAG: &str = "merged";
/// Of what a feed brought: the hour in which its site received it, as `hour_of` counts it.
pub(crate) const RECEIVED_TAG: &str = "received";

/// What all entries sought have in common. `None` stands for anything.
#[derive(Clone, Default)]
pub struct Search {
    /// The first ledger index; in the order of event times, the first index at the very time `since`; of a receipt, the
    /// first index in the hour in which `received` begins.
    pub from: u64,
    /// Entries a page.
    pub limit: usize,
    pub patient: Option<PatientId>,
    /// PV1-19, or the Encounter's identifier.
    pub visit: Option<String>,
    /// MSH-10, or the id of a FHIR resource.
    pub control_id: Option<String>,
    pub feed: Option<String>,
    pub kind: Option<Kind>,
    /// MSH-9 or the resource's type, as the entry has it.
    pub type_: Option<String>,
    /// Of a refusal, or of an issue with a message that was taken.
    pub code: Option<String>,
    /// Event times from here on,
    pub since: Option<Time>,
    /// and before here.
    pub until: Option<Time>,
    /// When its site received what a feed brought, from the first time on and before the second.
    pub received: Option<(Time, Time)>,
    /// In the ledger's order, unless it is by time alone: a page may take longer.
    pub in_ledger_order: bool,
}

/// One page.
pub struct Found {
    /// The ledger's size when it was looked through: what has come since is not in it.
    pub as_of: u64,
    /// In the ledger's order; of a time, and not of one patient, visit or control id, in the order of event times; of a
    /// receipt, hour by hour.
    pub entries: Vec<Entry>,
    /// For `go_on`: the page that follows, if there may be one.
    pub next: Option<(Option<Time>, u64)>,
}

impl Search {
    /// The entries at these indices, from `from` on: as many bytes as of any page. Blocks.
    pub(crate) fn at(ledger: &Ledger, indices: &BTreeSet<u64>, from: u64) -> Result<Found, LedgerError> {
        let mut page = Page::of(ledger, usize::MAX);
        let mut next = None;
        for index in indices.range(from..) {
            if page.is_full() {
                next = Some((None, *index));
                break;
            }
            page.add(ledger, *index, |_| true)?;
        }
        Ok(Found { as_of: page.as_of, entries: page.entries, next })
    }

    /// Blocks.
    pub fn run(&self, ledger: &Ledger) -> Result<Found, LedgerError> {
        let mut page = Page::of(ledger, self.limit);
        let tags = self.tags(ledger);
        let next = if let Some(received) = self.received {
            self.by_receipt(ledger, received, &tags, &mut page)?
        } else if self.is_by_time() {
            self.by_time(ledger, &tags, &mut page)?
        } else if tags.is_empty() {
            self.by_place(ledger, &mut page)?
        } else {
            self.by_tags(ledger, &tags, self.from, &mut page)?.map(|index| (self.since, index))
        };
        Ok(Found { as_of: page.as_of, entries: page.entries, next })
    }

    /// Makes it the search for the page that follows.
    pub fn go_on(&mut self, (since, from): (Option<Time>, u64)) {
        self.from = from;
        match (&mut self.received, since) {
            (Some((start, _)), Some(since)) => *start = since,
            _ => self.since = since,
        }
    }

    /// What comes from one feed fills the ledger, and what has one name is little: so a time that is asked for is
    /// worth an index of its own, unless a name is known as well.
    fn is_by_time(&self) -> bool {
        let is_named = self.patient.is_some() || self.visit.is_some() || self.control_id.is_some();
        let is_sorted =
            self.feed.is_some() || self.kind.is_some() || self.type_.is_some() || self.code.is_some();
        let has_time = self.since.is_some() || self.until.is_some();
        has_time && !is_named && !(is_sorted && self.in_ledger_order) && self.received.is_none()
    }

    /// Its pages go through the ledger by another order than the ledger's own.
    pub(crate) fn leaves_ledger_order(&self) -> bool {
        self.received.is_some() || self.is_by_time()
    }

    /// What an entry must have to be found, rarest first.
    pub fn tags(&self, ledger: &Ledger) -> Vec<Tag> {
        let text = |name: &str, value: &Option<String>| Some(ledger.tag(name, value.as_ref()?.as_bytes()));
        [
            text("control", &self.control_id),
            text("visit", &self.visit),
            self.patient.as_ref().map(|patient| ledger.tag("patient", &subject_key(patient))),
            text(CODE_TAG, &self.code),
            text(TYPE_TAG, &self.type_),
            self.kind.map(|kind| ledger.tag("kind", kind.tag())),
            text("feed", &self.feed),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn by_place(&self, ledger: &Ledger, page: &mut Page) -> Result<Next, LedgerError> {
        let end = page.as_of.min(self.from.saturating_add(page.limit as u64));
        page.entries = ledger.read_from(self.from, end.saturating_sub(self.from) as usize)?;
        let next = page.entries.last().map(|last| last.index + 1);
        Ok(next.filter(|next| *next < page.as_of).map(|next| (None, next)))
    }

    fn by_time(&self, ledger: &Ledger, tags: &[Tag], page: &mut Page) -> Result<Next, LedgerError> {
        let mut at = (self.since.map_or(i64::MIN, |at| at.0), self.from);
        let until = self.until.map_or(i64::MAX, |at| at.0);
        loop {
            let wanted = if tags.is_empty() { page.wanted() } else { SCAN_MAX };
            let found = ledger.by_time(at, until, wanted)?;
            for (time, index) in &found {
                if page.is_full() || page.looks >= LOOKS_MAX {
                    return Ok(Some((Some(Time(*time)), *index)));
                }
                page.looks += 1;
                if has_all(ledger, tags, *index)? {
                    page.add(ledger, *index, |_| true)?;
                }
            }
            match found.last() {
                Some((time, index)) if found.len() == wanted => at = (*time, index + 1),
                _ => return Ok(None),
            }
        }
    }

    /// Hour by hour, each by a tag of its own.
    fn by_receipt(
        &self,
        ledger: &Ledger,
        (start, end): (Time, Time),
        tags: &[Tag],
        page: &mut Page,
    ) -> Result<Next, LedgerError> {
        let mut from = self.from;
        for hour in hour_of(start)..=hour_of(Time(end.0.saturating_sub(1))) {
            let of_hour = [tags, &[ledger.tag(RECEIVED_TAG, &hour.to_be_bytes())]].concat();
            let next = match page.looks >= LOOKS_MAX {
                true => Some(from),
                false => self.by_tags(ledger, &of_hour, from, page)?,
            };
            if let Some(index) = next {
                return Ok(Some((Some(start.max(Time(hour * Time::HOUR_MS))), index)));
            }
            // An hour in which nothing came was looked at as well.
            page.looks += 1;
            from = 0;
        }
        Ok(None)
    }

    /// The first index that was not looked at, if the page ended before.
    fn by_tags(
        &self,
        ledger: &Ledger,
        tags: &[Tag],
        from: u64,
        page: &mut Page,
    ) -> Result<Option<u64>, LedgerError> {
        if let [tag] = tags {
            return self.by_one_tag(ledger, *tag, from, page);
        }
        let mut at = from;
        loop {
            match common(ledger, tags, at, page)? {
                Common::None => return Ok(None),
                Common::At(index) if page.is_full() => return Ok(Some(index)),
                Common::At(index) => {
                    page.add(ledger, index, |entry| self.covers(entry))?;
                    at = index + 1;
                }
                Common::NotYet(index) => return Ok(Some(index)),
            }
        }
    }

    /// One scan instead of a seek for each entry.
    fn by_one_tag(
        &self,
        ledger: &Ledger,
        tag: Tag,
        from: u64,
        page: &mut Page,
    ) -> Result<Option<u64>, LedgerError> {
        let mut at = from;
        loop {
            let wanted = page.wanted();
            let found = ledger.by_tag(tag, at, wanted)?;
            for index in &found {
                if page.is_full() || page.looks >= LOOKS_MAX {
                    return Ok(Some(*index));
                }
                page.looks += 1;
                page.add(ledger, *index, |entry| self.covers(entry))?;
            }
            match found.last() {
                Some(last) if found.len() == wanted => at = last + 1,
                _ => return Ok(None),
            }
        }
    }

    fn covers(&self, entry: &Entry) -> bool {
        let (happened, received) = (Time(entry.event_time_ms), Time(entry.received_time_ms));
        self.since.is_none_or(|since| happened >= since)
            && self.until.is_none_or(|until| happened < until)
            && self.received.is_none_or(|(start, end)| received >= start && received < end)
    }
}

type Next = Option<(Option<Time>, u64)>;

struct Page {
    as_of: u64,
    limit: usize,
    entries: Vec<Entry>,
    bytes: usize,
    looks: usize,
}

impl Page {
    fn of(ledger: &Ledger, limit: usize) -> Page {
        Page { as_of: ledger.size(), limit, entries: Vec::new(), bytes: 0, looks: 0 }
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= self.limit || self.bytes >= BYTES_MAX
    }

    /// Indices that a scan should bring: one more than the page holds tells whether another follows.
    fn wanted(&self) -> usize {
        self.limit.saturating_sub(self.entries.len()).saturating_add(1).min(SCAN_MAX)
    }

    fn add(
        &mut self,
        ledger: &Ledger,
        index: u64,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Result<(), LedgerError> {
        if index >= self.as_of {
            return Ok(());
        }
        let read = ledger.read_from(index, 1)?;
        for entry in read.into_iter().filter(wanted) {
            self.bytes += match &entry.payload {
                Payload::Open(payload) => payload.len(),
                Payload::Entrusted(_) | Payload::Sealed | Payload::Shredded | Payload::Shred { .. } => 0,
            };
            self.entries.push(entry);
        }
        Ok(())
    }
}

/// Hours since 1970.
pub(crate) fn hour_of(at: Time) -> i64 {
    at.0.div_euclid(Time::HOUR_MS)
}

enum Common {
    At(u64),
    /// Looked long enough; nothing before this index.
    NotYet(u64),
    None,
}

/// The first index from `at` on that has all the tags: each in turn leaps to its next entry, until all agree.
fn common(ledger: &Ledger, tags: &[Tag], mut at: u64, page: &mut Page) -> Result<Common, LedgerError> {
    let mut agreed = 0;
    for tag in tags.iter().cycle() {
        if page.looks >= LOOKS_MAX {
            return Ok(Common::NotYet(at));
        }
        page.looks += 1;
        let Some(index) = ledger.by_tag(*tag, at, 1)?.first().copied() else { break };
        agreed = if index == at { agreed + 1 } else { 1 };
        at = index;
        if agreed == tags.len() {
            return Ok(Common::At(at));
        }
    }
    Ok(Common::None)
}

pub(crate) fn has_all(ledger: &Ledger, tags: &[Tag], index: u64) -> Result<bool, LedgerError> {
    for tag in tags {
        if ledger.by_tag(*tag, index, 1)?.first() != Some(&index) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
