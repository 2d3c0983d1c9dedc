//! Dates and times as HL7 v2 writes them (v2.9 ch. 2A §2.A.22 DTM, §2.A.21 DT; TS of older versions):
//! `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]`.

use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use crate::text::trimmed;
use crate::{Precision, Time};

/// A point in time as far as its sender wrote it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Dtm {
    local: DateTime,
    precision: Precision,
    offset_s: Option<i32>,
    /// Second 60 was written, and 59 stands in `local`.
    is_leap: bool,
}

/// What is doubtful of a time: without an offset, that its zone's clock shows it twice, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// The clock was set back: the earlier of the two was taken.
    Ambiguous,
    /// The clock was set forward: the time was moved by what it jumped.
    Missing,
    /// Second 60: that before it was taken.
    LeapSecond,
}

/// The text is no DTM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DtmInvalid;

impl Dtm {
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Whether the sender wrote an offset from UTC.
    pub fn has_offset(&self) -> bool {
        self.offset_s.is_some()
    }

    pub(crate) fn offset_s(&self) -> Option<i32> {
        self.offset_s
    }

    /// What the sender's clock showed; missing parts are the earliest there are.
    pub(crate) fn local(&self) -> DateTime {
        self.local
    }

    /// The point in time; its own offset counts before `zone`. Missing parts are the earliest there are.
    pub(super) fn at(&self, zone: &TimeZone) -> (Time, Option<Doubt>) {
        let leap = self.is_leap.then_some(Doubt::LeapSecond);
        if let Some(offset) = self.offset_s.and_then(|s| Offset::from_seconds(s).ok()) {
            let at = offset.to_timestamp(self.local).map_or(0, |at| at.as_millisecond());
            return (Time(at), leap);
        }
        let at = zone.to_ambiguous_timestamp(self.local);
        let doubt = match at.offset() {
            AmbiguousOffset::Unambiguous { .. } => leap,
            AmbiguousOffset::Gap { .. } => Some(Doubt::Missing),
            AmbiguousOffset::Fold { .. } => Some(Doubt::Ambiguous),
        };
        (Time(at.compatible().map_or(0, |at| at.as_millisecond())), doubt)
    }

    /// `1951`, `1951-04` or `1951-04-23`, whatever was written.
    pub fn iso_date(&self) -> String {
        let date = self.local.date();
        match self.precision {
            Precision::Year => format!("{:04}", date.year()),
            Precision::Month => format!("{:04}-{:02}", date.year(), date.month()),
            _ => date.to_string(),
        }
    }

    /// ISO 8601 to the precision written, with the offset if there is one.
    pub(super) fn iso(&self) -> String {
        let (date, time) = (self.iso_date(), self.local.time());
        let mut text = match self.precision {
            Precision::Year | Precision::Month | Precision::Day => return date,
            Precision::Hour => format!("{date}T{:02}", time.hour()),
            Precision::Minute => format!("{date}T{:02}:{:02}", time.hour(), time.minute()),
            Precision::Second if self.is_leap => format!("{date}T{:02}:{:02}:60", time.hour(), time.minute()),
            Precision::Second => format!("{date}T{time}"),
        };
        if let Some(offset) = self.offset_s {
            let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 60);
            text.push_str(&format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60));
        }
        text
    }
}

impl FromStr for Dtm {
    type Err = DtmInvalid;

    fn from_str(text: &str) -> Result<Dtm, DtmInvalid> {
        let text = trimmed(text);
        let (local, offset_s) = match text.bytes().position(|b| matches!(b, b'+' | b'-')) {
            Some(at) => {
                let (local, offset) = text.split_at(at);
                (local, Some(offset_seconds(offset).ok_or(DtmInvalid)?))
            }
            None => (text, None),
        };
        // Milliseconds without a point are no HL7, but what many interface engines write.
        let (digits, fraction) = match local.split_once('.') {
            Some(parts) => parts,
            None if local.len() == 17 => local.split_at_checked(14).ok_or(DtmInvalid)?,
            None => (local, ""),
        };
        let precision = match digits.len() {
            4 => Precision::Year,
            6 => Precision::Month,
            8 => Precision::Day,
            10 => Precision::Hour,
            12 => Precision::Minute,
            14 => Precision::Second,
            _ => return Err(DtmInvalid),
        };
        let part = |at: usize, absent: i8| match digits.get(at..at + 2) {
            Some(text) => number(text),
            None => Some(absent),
        };
        let read = || {
            // There was no year 0.
            let year = digits.get(..4).filter(|y| is_digits(y))?.parse().ok().filter(|year| *year > 0)?;
            let (month, day) = (part(4, 1)?, part(6, 1)?);
            let (hour, minute, second) = (part(8, 0)?, part(10, 0)?, part(12, 0)?);
            // A leap second is the last one of its minute to every clock that counts 86,400 s a day.
            let is_leap = second == 60;
            let second = if is_leap { 59 } else { second };
            let local = DateTime::new(year, month, day, hour, minute, second, nanoseconds(fraction)?).ok()?;
            Some((local, is_leap))
        };
        // A fraction belongs to seconds alone.
        let local = read().filter(|_| local.len() == digits.len() || precision == Precision::Second);
        let (local, is_leap) = local.ok_or(DtmInvalid)?;
        Ok(Dtm { local, precision, offset_s, is_leap })
    }
}

/// `HH[MM[SS[.SSSS]]][+/-ZZZZ]` (TM, v2.9 ch. 2A §2.A.75) as `15:30:00`; `None`: no TM.
pub(super) fn iso_time(text: &str) -> Option<String> {
    let day =
        Dtm::from_str(&format!("20000101{}", text.trim())).ok().filter(|d| d.precision != Precision::Day)?;
    day.iso().split_once('T').map(|(_, time)| time.to_owned())
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

fn number(text: &str) -> Option<i8> {
    text.parse().ok().filter(|_| is_digits(text))
}

fn nanoseconds(fraction: &str) -> Option<i32> {
    if fraction.len() > 9 || !is_digits(fraction) {
        return None;
    }
    format!("{fraction:0<9}").parse().ok()
}

/// `+0100` → 3600.
fn offset_seconds(text: &str) -> Option<i32> {
    let (sign, digits) = text.split_at_checked(1)?;
    if digits.len() != 4 || !is_digits(digits) {
        return None;
    }
    let digits: i32 = digits.parse().ok()?;
    let (hours, minutes) = (digits / 100, digits % 100);
    let seconds = hours * 3600 + minutes * 60;
    (hours <= 15 && minutes < 60).then_some(if sign == "-" { -seconds } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zurich(text: &str) -> (String, Precision, Option<Doubt>) {
        let dtm = Dtm::from_str(text).unwrap();
        let (at, doubt) = dtm.at(&TimeZone::get("Europe/Zurich").unwrap());
        (at.to_rfc3339(), dtm.precision(), doubt)
    }

    #[test]
    fn precision_and_zone() {
        for (text, at, precision) in [
            ("2024", "2023-12-31T23:00:00.000Z", Precision::Year),
            ("202407", "2024-06-30T22:00:00.000Z", Precision::Month),
            ("20240715", "2024-07-14T22:00:00.000Z", Precision::Day),
            ("2024071509", "2024-07-15T07:00:00.000Z", Precision::Hour),
            ("202407150930", "2024-07-15T07:30:00.000Z", Precision::Minute),
            ("20240715093059", "2024-07-15T07:30:59.000Z", Precision::Second),
            ("20240715093059123", "2024-07-15T07:30:59.123Z", Precision::Second),
            ("20240715093059.1234", "2024-07-15T07:30:59.123Z", Precision::Second),
            ("202407150930-0500", "2024-07-15T14:30:00.000Z", Precision::Minute),
            ("20240715+0530", "2024-07-14T18:30:00.000Z", Precision::Day),
            ("20161231235960Z", "", Precision::Second),
        ] {
            if at.is_empty() {
                assert!(Dtm::from_str(text).is_err());
            } else {
                assert_eq!(zurich(text), (at.to_owned(), precision, None), "{text}");
            }
        }
    }

    #[test]
    fn clock_changes_are_told() {
        let told = |text| {
            let (at, _, doubt) = zurich(text);
            (at, doubt.unwrap())
        };
        assert_eq!(told("202410270230"), ("2024-10-27T00:30:00.000Z".to_owned(), Doubt::Ambiguous));
        assert_eq!(told("202403310230"), ("2024-03-31T01:30:00.000Z".to_owned(), Doubt::Missing));
        assert_eq!(zurich("202410270230+0100").2, None);
        let leap = ("2016-12-31T23:59:59.000Z".to_owned(), Doubt::LeapSecond);
        assert_eq!((told("20161231235960+0000"), told("20170101005960")), (leap.clone(), leap));
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "0",
            "20241301",
            "20240230",
            "2024070",
            "2024-07-15",
            "20240715T0930",
            "202407152500",
            "00000000",
            "0000",
            "00000101",
            "20240715093059.",
            "202407150930.5",
            "2024071509305912",
            "+0100",
            "20240715+01",
            "20240715+2500",
            "２０２４",
            "20240715093059.1234567890",
        ] {
            // A trailing point without digits is read as none: nothing is lost by it.
            assert_eq!(Dtm::from_str(text).is_err(), text != "20240715093059.", "{text}");
        }
    }

    #[test]
    fn iso_forms() {
        let iso = |text| Dtm::from_str(text).unwrap().iso();
        assert_eq!(iso("195104"), "1951-04");
        assert_eq!(iso("202407150930-0500"), "2024-07-15T09:30-05:00");
        assert_eq!(iso("20240715093059"), "2024-07-15T09:30:59");
        assert_eq!(iso("20161231235960+0000"), "2016-12-31T23:59:60+00:00");
        assert_eq!(iso_time("1530").as_deref(), Some("15:30"));
        assert_eq!(iso_time(""), None);
    }
}
