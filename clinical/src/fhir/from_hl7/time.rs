//! DTM to FHIR's date and dateTime: the precision stays, a time always gets an offset.

use std::cell::RefCell;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use crate::hl7::{Dtm, Message};
use crate::{Feed, Precision};

/// The zone of times without an offset: MSH-7's own where it is another one than the feed's has then.
pub(super) struct Clock {
    zone: TimeZone,
    /// The last time read, as written and in FHIR's form: results of one order mostly share it.
    last: RefCell<(String, Option<String>)>,
}

impl Clock {
    pub(super) fn of(message: &Message, feed: &Feed) -> Self {
        let zone = feed.time_zone().unwrap_or(TimeZone::UTC);
        let sent = message.get("MSH-7.1").unwrap_or_default();
        let sent: Option<Dtm> = sent.parse().ok();
        let offset = sent.and_then(|sent| Some((Offset::from_seconds(sent.offset_s()?).ok()?, sent.local())));
        let zone = match offset {
            Some((offset, sent)) if !agrees(&zone, offset, sent) => TimeZone::fixed(offset),
            _ => zone,
        };
        Clock { zone, last: RefCell::default() }
    }

    /// `1951`, `1951-04-23` or `1951-04-23T07:05:00+02:00`; `None` where it is no DTM.
    pub(super) fn date_time(&self, written: &str) -> Option<String> {
        self.with_date_time(written, |form| form.map(str::to_owned))
    }

    /// As [`date_time`](Clock::date_time), for a look at it alone.
    pub(super) fn with_date_time<T>(&self, written: &str, see: impl FnOnce(Option<&str>) -> T) -> T {
        let mut last = self.last.borrow_mut();
        if last.0 != written {
            *last = (written.to_owned(), self.read(written));
        }
        see(last.1.as_deref())
    }

    fn read(&self, written: &str) -> Option<String> {
        let dtm: Dtm = written.parse().ok()?;
        let written = dtm.local();
        if matches!(dtm.precision(), Precision::Year | Precision::Month | Precision::Day) {
            return day(&dtm, written);
        }
        let (local, offset_s) = match dtm.offset_s() {
            Some(offset_s) => (written, offset_s),
            None => {
                let at = self.zone.to_ambiguous_timestamp(written).compatible().ok()?;
                let offset = self.zone.to_offset(at);
                // A time that the clock skips is moved on, as events have it.
                (offset.to_datetime(at), offset.seconds())
            }
        };
        let mut text = day(&dtm, local)?;
        // FHIR knows offsets of at most 14 hours, in whole minutes.
        let minutes = offset_s / 60;
        if minutes.abs() > 14 * 60 {
            return Some(text);
        }
        text.push('T');
        push_two(&mut text, local.hour().into());
        text.push(':');
        push_two(&mut text, local.minute().into());
        text.push(':');
        push_two(&mut text, local.second().into());
        if local.subsec_nanosecond() != 0 {
            text.push_str(format!(".{:09}", local.subsec_nanosecond()).trim_end_matches('0'));
        }
        text.push(if minutes < 0 { '-' } else { '+' });
        push_two(&mut text, minutes.abs() / 60);
        text.push(':');
        push_two(&mut text, minutes.abs() % 60);
        Some(text)
    }

    /// A dateTime with a time, as `instant` demands.
    pub(super) fn instant(&self, written: &str) -> Option<String> {
        self.date_time(written).filter(|t| t.contains('T'))
    }
}

/// The date alone, to the precision written.
pub(super) fn date(written: &str) -> Option<String> {
    let dtm: Dtm = written.parse().ok()?;
    day(&dtm, dtm.local())
}

/// The day of `local`, to the precision written. FHIR knows no year before 1.
fn day(dtm: &Dtm, local: DateTime) -> Option<String> {
    let date = local.date();
    if date.year() < 1 {
        return None;
    }
    let mut text = String::with_capacity(32);
    push_two(&mut text, i32::from(date.year()) / 100);
    push_two(&mut text, i32::from(date.year()) % 100);
    if dtm.precision() != Precision::Year {
        text.push('-');
        push_two(&mut text, date.month().into());
    }
    if !matches!(dtm.precision(), Precision::Year | Precision::Month) {
        text.push('-');
        push_two(&mut text, date.day().into());
    }
    Some(text)
}

/// Two digits of a number from 0 to 99.
fn push_two(text: &mut String, number: i32) {
    text.extend([number / 10, number % 10].map(|digit| char::from(b'0' + (digit % 10) as u8)));
}

fn agrees(zone: &TimeZone, offset: Offset, local: DateTime) -> bool {
    offset.to_timestamp(local).is_ok_and(|at| zone.to_offset(at) == offset)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::hl7::{Limits, to_events};
    use crate::{EventKind, Time};

    /// Around both changes of the clock, FHIR and the event name one instant.
    #[test]
    fn what_the_clock_skips_is_moved_on_as_in_events() {
        let feed = Feed { authority: "H".into(), zone: "Europe/Zurich".into(), ..Feed::default() };
        for (written, fhir, code) in [
            ("20240331015959", "2024-03-31T01:59:59+01:00", None),
            ("20240331023000", "2024-03-31T03:30:00+02:00", Some("time-nonexistent")),
            ("20240331030000", "2024-03-31T03:00:00+02:00", None),
            ("20241027023000", "2024-10-27T02:30:00+02:00", Some("time-ambiguous")),
            ("20241027030000", "2024-10-27T03:00:00+01:00", None),
            ("20240331023000+0100", "2024-03-31T02:30:00+01:00", None),
        ] {
            let text =
                format!("MSH|^~\\&|||||2024||ORU^R01|1|P|2.5\rPID|||1\rOBX|1|NM|X||1||||||F|||{written}\r");
            let message = Message::parse(Bytes::from(text), &Limits::default()).unwrap();
            let said = Clock::of(&message, &feed).date_time(written).unwrap();
            assert_eq!(said, fhir);
            let (events, issues) = to_events(&message, &feed, Time(i64::MAX));
            let event = events.iter().find(|event| matches!(event.kind, EventKind::Observed(_))).unwrap();
            let instant: jiff::Timestamp = said.parse().unwrap();
            assert_eq!(event.at, Time(instant.as_millisecond()), "{written}");
            assert_eq!(issues.first().map(|issue| &*issue.code), code, "{written}");
        }
    }
}
