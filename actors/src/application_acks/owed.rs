//! Which application answers a feed's senders are owed, and up to where they are taken: both stand in this site's databases.

use std::sync::Arc;

use bytes::Bytes;
use clinical::Issue;
use clinical::hl7::{self, ack};
use connectors::Outbound;
use raft_ledger::{Ledger, LedgerError, Payload};

use crate::clock;
use crate::entry::{self, Format, Kind, Message, Rejected};
use crate::reading::Reading;

const PAGE: usize = 64;
/// When they are forgotten, so many pages are counted: it is done where the site waits.
const COUNTED_PAGES: usize = 16;

pub(crate) struct Owed {
    pub feed: String,
    reading: Arc<Reading>,
    ledger: Ledger,
    site: String,
}

/// Some of the feed's entries.
pub(super) struct Page {
    /// With the indices of their messages.
    pub answers: Vec<(u64, Outbound)>,
    /// The feed's entries below it were looked at.
    pub upto: u64,
    /// The next one, where it could not be read.
    pub unread: Option<(u64, LedgerError)>,
}

impl Owed {
    pub fn new(feed: &str, reading: Arc<Reading>, ledger: &Ledger, site: &str) -> Owed {
        Owed { feed: feed.to_owned(), reading, ledger: ledger.clone(), site: site.to_owned() }
    }

    /// A feed that no longer has this answers otherwise. What it brings meanwhile must have no second answer once it has
    /// this again, and what is still owed is not sent.
    pub fn forget(&self) {
        let cursor = match self.stored_cursor() {
            Ok(None) => return,
            Ok(cursor) => cursor,
            Err(error) => {
                tracing::error!(%error, feed = %self.feed, "application answers: the cursor cannot be read");
                None
            }
        };
        let (owed, is_all) = cursor.map_or((0, true), |cursor| self.count(cursor));
        if owed > 0 {
            let or_more = if is_all { "" } else { " or more" };
            let text = "application_acks is gone from the feed: answers that its receiver had not taken are not sent";
            tracing::warn!(feed = %self.feed, from_index = cursor, owed = format!("{owed}{or_more}"), "{text}");
        }
        if let Err(error) = self.ledger.site_write(vec![(self.cursor_key(), None)]) {
            tracing::error!(%error, feed = %self.feed, "application answers: the cursor was not removed");
        }
    }

    /// How many from there on, and whether that is all of them.
    fn count(&self, mut from: u64) -> (usize, bool) {
        let mut owed = 0;
        for _ in 0..COUNTED_PAGES {
            let Ok(page) = self.page(from) else { return (owed, false) };
            owed += page.answers.len();
            if page.upto == from {
                return (owed, page.unread.is_none());
            }
            from = page.upto;
        }
        (owed, false)
    }

    /// Blocks.
    pub(super) fn page(&self, from: u64) -> Result<Page, LedgerError> {
        let tag = self.ledger.tag("feed", self.feed.as_bytes());
        let mut page = Page { answers: Vec::new(), upto: from, unread: None };
        for index in self.ledger.by_tag(tag, from, PAGE)? {
            match self.read(index) {
                Ok(answer) => page.answers.extend(answer.map(|answer| (index, answer))),
                Err(error) => {
                    page.unread = Some((index, error));
                    break;
                }
            }
            page.upto = index + 1;
        }
        Ok(page)
    }

    /// The answer to an own message whose sender asked for one.
    fn read(&self, index: u64) -> Result<Option<Outbound>, LedgerError> {
        let Some(entry) = self.ledger.read_from(index, 1)?.into_iter().next() else { return Ok(None) };
        let Payload::Open(payload) = &entry.payload else { return Ok(None) };
        if entry.site != self.site {
            return Ok(None);
        }
        let id = format!("A{index}");
        let body = came(entry.kind, payload).and_then(|(raw, faults)| self.write(raw, &faults, &id));
        let content_type = "x-application/hl7-v2+er7";
        Ok(body.map(|body| Outbound { id, key: String::new(), content_type, body }))
    }

    fn write(&self, raw: Bytes, faults: &[Issue], id: &str) -> Option<Bytes> {
        let reading = self.reading.now();
        let (reader, limits) = reading.feed();
        let message = hl7::Message::parse(raw, limits).ok()?;
        let message = message.for_feed(reader);
        let asked = ack::asked(&message);
        let is_asked_for = match faults.is_empty() {
            true => asked.application.wants(true),
            // Else the connection has brought a CE or CR.
            false => asked.refusal() == Some(ack::Mode::Application),
        };
        (asked.enhanced && is_asked_for).then(|| ack::application(&message, faults, clock::now(), id))
    }

    fn cursor_key(&self) -> Vec<u8> {
        format!("application-acks/{}/cursor", self.feed).into_bytes()
    }

    pub(super) fn stored_cursor(&self) -> Result<Option<u64>, LedgerError> {
        let stored = self.ledger.site_get(&self.cursor_key())?;
        Ok(stored.and_then(|stored| stored.as_slice().try_into().ok()).map(u64::from_be_bytes))
    }

    /// Not synced: after a crash the answer is sent again, and its receiver knows it by its MSH-10.
    pub(super) fn store_cursor(&self, cursor: u64) {
        if let Err(error) = self.ledger.site_put(&self.cursor_key(), &cursor.to_be_bytes(), false) {
            tracing::warn!(%error, feed = %self.feed, "application answers: the cursor was not kept");
        }
    }
}

/// The bytes that a sender sent whole, and what is wrong with them. What was read once more later was answered when it
/// came, and what did not come whole on the connection.
fn came(kind: u16, payload: &Bytes) -> Option<(Bytes, Vec<Issue>)> {
    match Kind::from_u16(kind)? {
        Kind::Message => {
            let (message, raw) = entry::decode::<Message>(payload).ok()?;
            (message.again.is_none() && message.format == Format::Hl7v2).then(|| (raw, Vec::new()))
        }
        Kind::Rejected => {
            let (rejected, raw) = entry::decode::<Rejected>(payload).ok()?;
            (!rejected.partial && rejected.format == Format::Hl7v2).then_some((raw, rejected.issues))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use prometheus::IntCounter;
    use raft_ledger::Draft;

    use super::*;
    use crate::entry::READER;
    use crate::reading::Reader;

    fn draft(ledger: &Ledger, id: &str, asks: &str) -> Draft {
        let message = Message {
            feed: "adt".into(),
            format: Format::Hl7v2,
            reader: READER,
            codes: String::new(),
            type_: "ADT^A01".into(),
            control_id: id.into(),
            position: String::new(),
            headers: Default::default(),
            events: Vec::new(),
            issues: Vec::new(),
            again: None,
        };
        let raw =
            format!("MSH|^~\\&|APP|FAC|MEDULLA|TEST|20260101120000||ADT^A01|{id}|P|2.5|||{asks}\rPID|1||1\r");
        Draft {
            kind: Kind::Message as u16,
            subject: ledger.subject(b"patient"),
            tags: vec![ledger.tag("feed", b"adt")],
            dedupe: None,
            event_time_ms: 0,
            message_time_ms: 0,
            received_time_ms: 0,
            payload: entry::encode(&message, raw.as_bytes()),
        }
    }

    #[actix::test]
    async fn a_feed_that_loses_its_address_owes_nothing_later() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = crate::test_ledger::one_site(dir.path()).await;
        let feed = crate::test_feed::mllp().await;
        let reused = IntCounter::new("reused", "not read").unwrap();
        let reading = Arc::new(Reading::new(Reader::new("a", &feed, &ledger, reused)));
        let owed = Owed::new("adt", reading, &ledger, "a");

        let from = ledger.size();
        owed.store_cursor(from);
        let drafts = (0..PAGE + 2).map(|n| {
            let asks = if n % 3 == 0 { "AL|AL" } else { "AL|NE" };
            draft(&ledger, &format!("M{n}"), asks)
        });
        ledger.append(drafts.collect()).await.unwrap();
        let page = owed.page(from).unwrap();
        let expected: Vec<u64> = (0..PAGE as u64).filter(|n| n % 3 == 0).map(|n| from + n).collect();
        assert_eq!(page.answers.iter().map(|(index, _)| *index).collect::<Vec<_>>(), expected);
        assert_eq!((page.upto, page.unread.is_none()), (from + PAGE as u64, true));
        assert_eq!(owed.count(from), ((PAGE + 2).div_ceil(3), true));

        owed.forget();
        assert_eq!(owed.stored_cursor().unwrap(), None, "it begins anew where it gets an address again");
        owed.forget();
        ledger.close().await.unwrap();
    }
}
