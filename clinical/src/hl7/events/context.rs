//! What reading one message needs at every step.

use std::borrow::Cow;

use jiff::tz::{Offset, TimeZone};

use crate::hl7::dtm::{Doubt, Dtm};
use crate::hl7::{Message, Part, Segment};
use crate::text::trimmed;
use crate::{Feed, Issue, Precision, Severity, Time};

/// A message repeats its faults: so many issues are kept of it, and as many again if they are errors.
const ISSUES_MAX: usize = 100;

/// A sender's clock may be so far ahead before its times say nothing of which message was first.
const CLOCK_AHEAD_MS_MAX: i64 = 5 * 60_000;

pub(super) struct Context<'m> {
    pub message: &'m Message,
    pub feed: &'m Feed,
    pub issues: Vec<Issue>,
    /// Code, segment and field of the issues: an OBR's fault is found again with each of its OBX.
    told: Vec<(&'static str, usize, usize)>,
    zone: TimeZone,
    /// The last time read without a doubt: results of one order mostly share it.
    last: (&'m [u8], (Time, Precision)),
    /// MSH-7, else the time of receipt.
    pub sent_at: (Time, Precision),
    /// MSH-7, where it tells which of two messages was sent first: to the minute, not in the hour that summer time's end
    /// shows twice, and by a clock that is not ahead.
    pub sent_exactly_at: Option<Time>,
}

impl<'m> Context<'m> {
    pub fn new(message: &'m Message, feed: &'m Feed, received_at: Time) -> Self {
        let mut context = Context {
            message,
            feed,
            issues: Vec::new(),
            told: Vec::new(),
            last: (&[], (received_at, Precision::Second)),
            zone: TimeZone::UTC,
            sent_at: (received_at, Precision::Second),
            sent_exactly_at: None,
        };
        match feed.time_zone() {
            Some(zone) => context.zone = zone,
            None => context.tell(
                Severity::Error,
                "zone-unknown",
                "feed.zone",
                "the feed's zone is no IANA name; correct the configuration, for example to Europe/Zurich",
            ),
        }
        context.zone = context.message_zone();
        match context.time(message.header(), 7) {
            Some(sent_at) => {
                context.sent_at = sent_at;
                let is_exact = matches!(sent_at.1, Precision::Minute | Precision::Second)
                    && sent_at.0.0.saturating_sub(received_at.0) <= CLOCK_AHEAD_MS_MAX
                    && context.issues.iter().all(|issue| issue.code != "time-ambiguous");
                context.sent_exactly_at = is_exact.then_some(sent_at.0);
            }
            None => context.tell(
                Severity::Information,
                "message-time-missing",
                "MSH-7",
                "without a message time, events without a time of their own take that of receipt",
            ),
        }
        context
    }

    /// An offset in MSH-7 holds for the whole message (v2.9 ch. 2 §2.14.9.7). Where it is what the feed's
    /// zone has at that moment, the zone is kept: it knows of summer time.
    fn message_zone(&self) -> TimeZone {
        let sent: Option<Dtm> = self.message.header().text(7, 1).parse().ok();
        let offset = sent.and_then(|s| s.offset_s()).and_then(|s| Offset::from_seconds(s).ok());
        match (offset, sent) {
            (Some(offset), Some(sent)) => {
                let at = jiff::Timestamp::from_millisecond(sent.at(&TimeZone::UTC).0.0).unwrap_or_default();
                if self.zone.to_offset(at) == offset { self.zone.clone() } else { TimeZone::fixed(offset) }
            }
            _ => self.zone.clone(),
        }
    }

    /// Keeps an issue about the message as a whole.
    pub fn tell(&mut self, severity: Severity, code: &'static str, location: &str, text: &'static str) {
        if self.has_room(severity) {
            let (code, location, text) = (Cow::Borrowed(code), location.to_owned(), text.to_owned());
            self.issues.push(Issue { severity, code, location, text });
        }
    }

    /// Keeps an issue about a field: `OBX[2]-5`; the first segment of a name goes without a number.
    pub fn tell_at(
        &mut self,
        severity: Severity,
        code: &'static str,
        segment: Segment<'m>,
        field: usize,
        text: &'static str,
    ) {
        self.tell_below(severity, code, segment, (field, ""), text);
    }

    /// As [`tell_at`](Context::tell_at), of what stands below the field: `PID-3` and `.4`.
    pub fn tell_below(
        &mut self,
        severity: Severity,
        code: &'static str,
        segment: Segment<'m>,
        (field, below): (usize, &'static str),
        text: &'static str,
    ) {
        let key = (code, segment.position(), field);
        // Finding the segment's number costs a walk: not for what was told before or would not be kept.
        if self.has_room(severity) && !self.told.contains(&key) {
            self.told.push(key);
            let place = format!("{}-{field}{below}", segment.place());
            self.tell(severity, code, &place, text);
        }
    }

    fn has_room(&self, severity: Severity) -> bool {
        let room = if severity == Severity::Error { 2 * ISSUES_MAX } else { ISSUES_MAX };
        self.issues.len() < room
    }

    /// Reads a field's time; faults become issues.
    pub fn time(&mut self, segment: Segment<'m>, field: usize) -> Option<(Time, Precision)> {
        let written = segment.valued(field)?;
        self.time_of(written, segment, field)
    }

    fn time_of(
        &mut self,
        written: Part<'m>,
        segment: Segment<'m>,
        field: usize,
    ) -> Option<(Time, Precision)> {
        if written.raw() == self.last.0 {
            return Some(self.last.1);
        }
        let text = written.component(1)?.text();
        if trimmed(&text).is_empty() {
            return None;
        }
        let Ok(dtm) = text.parse::<Dtm>() else {
            let text = "no date or time as HL7 writes it (YYYYMMDDHHMMSS+ZZZZ); the next best time was taken";
            self.tell_at(Severity::Warning, "time-invalid", segment, field, text);
            return None;
        };
        let (at, doubt) = dtm.at(&self.zone);
        let told = match doubt {
            Some(Doubt::Ambiguous) => Some((
                "time-ambiguous",
                "the clock shows this time twice as summer time ends, the earlier was taken; send an offset",
            )),
            Some(Doubt::Missing) => Some((
                "time-nonexistent",
                "the clock skips this time as summer time begins, it was moved on; send an offset",
            )),
            Some(Doubt::LeapSecond) => Some((
                "time-leap-second",
                "second 60 was taken as the one before it, as clocks without leap seconds do",
            )),
            None => None,
        };
        match told {
            Some((code, text)) => self.tell_at(Severity::Warning, code, segment, field, text),
            None => self.last = (written.raw(), (at, dtm.precision())),
        }
        Some((at, dtm.precision()))
    }

    /// The first of these fields that holds a time, else MSH-7, else the time of receipt.
    pub fn first_time(&mut self, fields: &[(Option<Segment<'m>>, usize)]) -> (Time, Precision) {
        let found = fields.iter().find_map(|&(segment, field)| self.time(segment?, field));
        found.unwrap_or(self.sent_at)
    }
}
