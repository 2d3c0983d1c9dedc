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
        let mut text = day(&dtm)?;
        if matches!(dtm.precision(), Precision::Year | Precision::Month | Precision::Day) {
            return Some(text);
        }
        let local = dtm.local();
        let offset_s = match dtm.offset_s() {
            Some(offset_s) => offset_s,
            None => {
                let at = self.zone.to_ambiguous_timestamp(local).compatible().ok()?;
                self.zone.to_offset(at).seconds()
            }
        };
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
    day(&written.parse().ok()?)
}

/// FHIR knows no year 0.
fn day(dtm: &Dtm) -> Option<String> {
    let date = dtm.local().date();
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
