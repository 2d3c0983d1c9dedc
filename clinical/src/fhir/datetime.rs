//! FHIR's dates and times as points in time (R4 §2.24.0.1).

use jiff::tz::TimeZone;

use super::primitive;
use crate::{Precision, Time};

/// A `date`, `dateTime` or `instant`. One without a time is the start of its first day in `zone`.
pub(super) fn parse(text: &str, zone: &TimeZone) -> Option<(Time, Precision)> {
    if text.contains('T') {
        let at: jiff::Timestamp = text.parse().ok()?;
        return Some((Time(at.as_millisecond()), Precision::Second));
    }
    let day = primitive::date(text)?;
    let precision = match text.len() {
        4 => Precision::Year,
        7 => Precision::Month,
        _ => Precision::Day,
    };
    let midnight = day.to_datetime(jiff::civil::Time::midnight());
    let at = zone.to_ambiguous_timestamp(midnight).compatible().ok()?;
    Some((Time(at.as_millisecond()), precision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_days() {
        let zurich = TimeZone::get("Europe/Zurich").unwrap();
        let check = |text, millis, precision| {
            assert_eq!(parse(text, &zurich), Some((Time(millis), precision)), "{text}")
        };
        check("1970-01-01T00:00:01.5Z", 1_500, Precision::Second);
        check("1970-01-01T01:00:00+01:00", 0, Precision::Second);
        check("1970-01-01", -3_600_000, Precision::Day);
        check("1970-01", -3_600_000, Precision::Month);
        check("1970", -3_600_000, Precision::Year);
        check("2026-06-30T23:59:60Z", 1_782_863_999_000, Precision::Second);
        assert_eq!(parse("2026-13-01", &zurich), None);
        assert_eq!(parse("yesterdayT", &zurich), None);
    }
}
