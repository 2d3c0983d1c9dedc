//! Searching as a ledger grows: what a page takes, by each thing that a caller may know.

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use actors::Search;
use actors::entry::Kind;
use bytes::Bytes;
use clinical::{PatientId, Time};
use raft_ledger::{Draft, Ledger};
use rand::{Rng, RngCore};
use serde::Serialize;
use tokio::task::JoinSet;

use super::histogram::percentile;
use super::ledger::{Removed, Sites, filled, sizes};

/// Callers at once, and what each appends in one call.
const CALLERS: usize = 8;
const CALL_EVENTS: u64 = 128;
const FEEDS: u64 = 8;
const TYPES: [&str; 6] = ["ORU^R01", "ADT^A01", "ADT^A03", "ADT^A08", "ORM^O01", "MDM^T02"];
/// Messages of one visit, visits of one patient.
const OF_VISIT: u64 = 50;
const OF_PATIENT: u64 = 2;
/// One of so many is refused, with one of two codes.
const REFUSED: u64 = 1_000;
const CODES: [&str; 2] = ["pid-missing", "unit-mismatch"];
/// Event time between two messages: 10⁷ are four months of a large hospital.
const APART_MS: i64 = 1_000;
const FIRST_AT_MS: i64 = 1_767_225_600_000;
const PAGE: usize = 100;

#[derive(Clone, Debug)]
pub struct Plan {
    pub messages: u64,
    pub bytes: usize,
    /// Pages of each kind of search at each size.
    pub searches: u32,
    /// Removed afterwards.
    pub folder: PathBuf,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub bytes: usize,
    pub page: usize,
    pub searches: u32,
    pub marks: Vec<Mark>,
}

#[derive(Debug, Serialize)]
pub struct Mark {
    pub size: u64,
    pub searches: Vec<Measured>,
}

#[derive(Debug, Serialize)]
pub struct Measured {
    pub by: &'static str,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    /// Of all pages together.
    pub found: usize,
}

pub async fn run(plan: &Plan, mut say: impl FnMut(&str)) -> anyhow::Result<Report> {
    std::fs::create_dir_all(&plan.folder)?;
    let _removed = Removed(plan.folder.clone());
    let sites = Sites::open(&plan.folder, 1).await?;
    let mut marks = Vec::new();
    for size in sizes(plan.messages) {
        fill(&sites, size, plan.bytes, &mut say).await?;
        let (ledger, searches) = (sites.first().clone(), plan.searches);
        let measured = tokio::task::spawn_blocking(move || measure(&ledger, size, searches)).await??;
        let mark = Mark { size, searches: measured };
        say(&mark.to_string());
        marks.push(mark);
    }
    sites.close().await?;
    Ok(Report { bytes: plan.bytes, page: PAGE, searches: plan.searches, marks })
}

/// All that is known of message `number`: what a search for it may ask.
fn known(number: u64) -> Search {
    let (visit, is_refused) = (number / OF_VISIT, number.is_multiple_of(REFUSED));
    let code = is_refused.then(|| CODES[(number / REFUSED % 2) as usize].to_owned());
    Search {
        patient: Some(PatientId { authority: "BENCH".into(), id: (visit / OF_PATIENT).to_string().into() }),
        visit: Some(format!("V{visit}")),
        control_id: Some(format!("M{number}")),
        feed: Some(format!("feed-{}", number % FEEDS)),
        kind: Some(if is_refused { Kind::Rejected } else { Kind::Message }),
        type_: Some(TYPES[(number / 7 % TYPES.len() as u64) as usize].to_owned()),
        code,
        limit: PAGE,
        ..Search::default()
    }
}

fn at(number: u64) -> Time {
    Time(FIRST_AT_MS + number as i64 * APART_MS)
}

/// With the tags that a message's entry has.
fn draft(ledger: &Ledger, number: u64, bytes: usize) -> Draft {
    let (known, at) = (known(number), at(number));
    let mut payload = vec![0; bytes];
    rand::thread_rng().fill_bytes(&mut payload);
    Draft {
        kind: Kind::Message as u16,
        subject: ledger.subject(&(number / OF_VISIT / OF_PATIENT).to_be_bytes()),
        tags: known.tags(ledger),
        dedupe: Some(ledger.keyed_hash("bench", &[&number.to_be_bytes()])),
        event_time_ms: at.0,
        message_time_ms: at.0,
        received_time_ms: at.0,
        payload: Bytes::from(payload),
    }
}

async fn fill(sites: &Sites, size: u64, bytes: usize, say: &mut impl FnMut(&str)) -> anyhow::Result<()> {
    let first = sites.first().size();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS as u64 {
        let sites = sites.clone();
        callers.spawn(async move {
            let mut from = first + caller * CALL_EVENTS;
            while from < size {
                let numbers = from..size.min(from + CALL_EVENTS);
                let drafts = numbers.map(|number| draft(sites.first(), number, bytes)).collect();
                sites.append(0, drafts).await?;
                from += CALLERS as u64 * CALL_EVENTS;
            }
            anyhow::Ok(())
        });
    }
    filled(callers, sites.first(), size, say).await
}

type Ask = fn(Search, Time) -> Search;

/// What callers know, and what they ask then, of a message anywhere in the ledger.
const BY: [(&str, Ask); 11] = [
    ("control id", |known, _| Search { control_id: known.control_id, ..page() }),
    ("control id that is not there", |known, _| Search {
        control_id: known.control_id.map(|id| format!("{id}X")),
        ..page()
    }),
    ("visit", |known, _| Search { visit: known.visit, ..page() }),
    ("patient", |known, _| Search { patient: known.patient, ..page() }),
    ("patient and type", |known, _| Search { patient: known.patient, type_: known.type_, ..page() }),
    ("patient, last hour of it", |known, at| Search {
        patient: known.patient,
        since: Some(Time(at.0 - Time::HOUR_MS)),
        ..page()
    }),
    ("type", |known, _| Search { type_: known.type_, ..page() }),
    ("feed, an hour", |known, at| Search { feed: known.feed, ..hour(at) }),
    ("feed and type, an hour", |known, at| Search { feed: known.feed, type_: known.type_, ..hour(at) }),
    ("time, an hour", |_, at| hour(at)),
    ("code of a refusal", |_, _| Search { code: Some(CODES[0].to_owned()), ..page() }),
];

fn page() -> Search {
    Search { limit: PAGE, ..Search::default() }
}

fn hour(at: Time) -> Search {
    Search { since: Some(at), until: Some(Time(at.0 + Time::HOUR_MS)), ..page() }
}

/// Blocks.
fn measure(ledger: &Ledger, size: u64, searches: u32) -> anyhow::Result<Vec<Measured>> {
    let mut measured = Vec::new();
    for (by, ask) in BY {
        let (mut times_ms, mut found) = (Vec::new(), 0);
        for _ in 0..searches {
            let number = rand::thread_rng().gen_range(0..size);
            let search = ask(known(number), at(number));
            let began = Instant::now();
            found += search.run(ledger)?.entries.len();
            times_ms.push(began.elapsed().as_secs_f64() * 1e3);
        }
        let [p50_ms, p99_ms, max_ms] = [0.5, 0.99, 1.0].map(|p| percentile(&mut times_ms, p));
        measured.push(Measured { by, p50_ms, p99_ms, max_ms, found });
    }
    Ok(measured)
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} messages: {:<28} {:>9} {:>9} {:>9} {:>8}",
            self.size, "a page by", "p50 ms", "p99 ms", "max ms", "entries"
        )?;
        for Measured { by, p50_ms, p99_ms, max_ms, found } in &self.searches {
            writeln!(f, "  {by:<40} {p50_ms:>9.2} {p99_ms:>9.2} {max_ms:>9.2} {found:>8}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "one site; {} bytes a message; {} pages of each search, of {} entries at most",
            self.bytes, self.searches, self.page
        )?;
        self.marks.iter().try_for_each(|mark| write!(f, "{mark}"))
    }
}
