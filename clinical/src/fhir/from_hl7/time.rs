//! DTM to FHIR's date and dateTime: the precision stays, a time always gets an offset.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use crate::fhir::primitive;
use crate::hl7::{Dtm, Message};
use crate::{Feed, Precision};

/// The zone of times without an offset: MSH-7's own where it is another one than the feed's has then.
pub(super) struct Clock {
    zone: TimeZone,
}

impl Clock {
    pub(super) fn of(message: &Message, feed: &Feed) -> Self {
        let zone = feed.time_zone().unwrap_or(TimeZone::UTC);
        let sent = message.get("MSH-7.1").unwrap_or_default();
        let offset = offset_of(&sent).and_then(|offset| Some((offset, local(&sent)?)));
        let zone = match offset {
            Some((offset, sent)) if !agrees(&zone, offset, sent) => TimeZone::fixed(offset),
            _ => zone,
        };
        Clock { zone }
    }

    /// `1951`, `1951-04-23` or `1951-04-23T07:05:00+02:00`; `None` where it is no DTM.
    pub(super) fn date_time(&self, written: &str) -> Option<String> {
        let written = written.trim();
        let dtm: Dtm = written.parse().ok()?;
        let date = date(written)?;
        if matches!(dtm.precision(), Precision::Year | Precision::Month | Precision::Day) {
            return Some(date);
        }
        let local = local(written)?;
        let offset = match offset_of(written) {
            Some(offset) => offset,
            None => self.zone.to_offset(self.zone.to_ambiguous_timestamp(local).compatible().ok()?),
        };
        // FHIR knows offsets of at most 14 hours, in whole minutes.
        let minutes = offset.seconds() / 60;
        if minutes.abs() > 14 * 60 {
            return Some(date);
        }
        let sign = if minutes < 0 { '-' } else { '+' };
        let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
        Some(format!("{date}T{}{sign}{hours:02}:{minutes:02}", local.time()))
    }

    /// A dateTime with a time, as `instant` demands.
    pub(super) fn instant(&self, written: &str) -> Option<String> {
        self.date_time(written).filter(|t| t.contains('T'))
    }
}

/// The date alone, to the precision written.
pub(super) fn date(written: &str) -> Option<String> {
    let date = written.trim().parse::<Dtm>().ok()?.iso_date();
    primitive::date(&date).map(|_| date)
}

fn agrees(zone: &TimeZone, offset: Offset, local: DateTime) -> bool {
    offset.to_timestamp(local).is_ok_and(|at| zone.to_offset(at) == offset)
}

/// The clock's time, missing parts zero. `Dtm` has checked the digits.
fn local(written: &str) -> Option<DateTime> {
    let clock = written.trim().split(['+', '-']).next()?;
    let (digits, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let part =
        |range: std::ops::Range<usize>, absent| digits.get(range).map_or(Some(absent), |d| d.parse().ok());
    let second: i8 = part(12..14, 0)?;
    let nanoseconds = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let year = digits.get(..4)?.parse().ok()?;
    DateTime::new(
        year,
        part(4..6, 1)?,
        part(6..8, 1)?,
        part(8..10, 0)?,
        part(10..12, 0)?,
        second.min(59),
        nanoseconds,
    )
    .ok()
}

fn offset_of(written: &str) -> Option<Offset> {
    let at = written.rfind(['+', '-'])?;
    let digits: i32 = written.get(at + 1..)?.trim().parse().ok()?;
    let seconds = digits / 100 * 3600 + digits % 100 * 60;
    Offset::from_seconds(if written[at..].starts_with('-') { -seconds } else { seconds }).ok()
}
