//! The formats of FHIR's primitive types (R4 §2.24.0.1).

use super::json::Json;

/// Whether a JSON value is a valid `type_`. An unknown primitive type accepts any string.
pub(super) fn is_valid(type_: &str, value: &Json) -> bool {
    match (type_, value) {
        ("boolean", Json::Bool(_)) => true,
        ("integer", Json::Number(n)) => n.parse::<i32>().is_ok(),
        ("unsignedInt", Json::Number(n)) => n.parse::<i32>().is_ok_and(|n| n >= 0),
        ("positiveInt", Json::Number(n)) => n.parse::<i32>().is_ok_and(|n| n > 0),
        ("decimal", Json::Number(n)) => n.parse::<f64>().is_ok_and(f64::is_finite),
        ("boolean" | "integer" | "unsignedInt" | "positiveInt" | "decimal", _) => false,
        (_, Json::String(s)) => is_valid_text(type_, s),
        _ => false,
    }
}

fn is_valid_text(type_: &str, s: &str) -> bool {
    match type_ {
        "date" => date(s).is_some(),
        "dateTime" => date_time(s),
        "instant" => s.contains('T') && date_time(s),
        "time" => time(s),
        "code" => {
            !s.starts_with([' ', '\t', '\n', '\r']) && !s.ends_with(char::is_whitespace) && !s.contains("  ")
        }
        "id" => is_id(s),
        "uri" | "url" | "canonical" => !s.contains(char::is_whitespace),
        "oid" => s.strip_prefix("urn:oid:").is_some_and(is_oid),
        "uuid" => s.strip_prefix("urn:uuid:").is_some_and(|u| u.len() == 36),
        "base64Binary" => s.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/= \t\r\n".contains(&b)),
        _ => true,
    }
}

/// `[A-Za-z0-9\-\.]{1,64}`
pub(super) fn is_id(s: &str) -> bool {
    (1..=64).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

/// `[0-2](\.(0|[1-9][0-9]*))+`
pub(super) fn is_oid(s: &str) -> bool {
    let mut arcs = s.split('.');
    let root = arcs.next().is_some_and(|a| ["0", "1", "2"].contains(&a));
    let arc =
        |a: &str| !a.is_empty() && a.bytes().all(|b| b.is_ascii_digit()) && (a == "0" || !a.starts_with('0'));
    root && s.contains('.') && arcs.all(arc)
}

/// `YYYY`, `YYYY-MM` or `YYYY-MM-DD`; a real day of the calendar. Gives the earliest day it names.
pub(super) fn date(s: &str) -> Option<jiff::civil::Date> {
    if !s.bytes().all(|b| b.is_ascii_digit() || b == b'-') || !matches!(s.len(), 4 | 7 | 10) {
        return None;
    }
    let mut parts = s.split('-');
    let year = parts.next().filter(|p| p.len() == 4)?.parse().ok().filter(|y| *y > 0)?;
    let month = parts.next().map_or(Some(1), |p| if p.len() == 2 { p.parse().ok() } else { None })?;
    let day = parts.next().map_or(Some(1), |p| if p.len() == 2 { p.parse().ok() } else { None })?;
    jiff::civil::Date::new(year, month, day).ok()
}

/// A date, or date, time with seconds and an offset (R4 demands one as soon as there is a time).
fn date_time(s: &str) -> bool {
    let Some((day, rest)) = s.split_once('T') else { return date(s).is_some() };
    if day.len() != 10 || date(day).is_none() {
        return false;
    }
    if let Some(clock) = rest.strip_suffix('Z') {
        return time(clock);
    }
    let Some(sign) = rest.rfind(['+', '-']) else { return false };
    let (clock, offset) = rest.split_at(sign);
    time(clock) && is_offset(&offset[1..])
}

fn is_offset(s: &str) -> bool {
    let Some((hours, minutes)) = s.split_once(':') else { return false };
    two_digits(hours, 14) && two_digits(minutes, 59) && (hours != "14" || minutes == "00")
}

/// `hh:mm:ss` with an optional fraction.
fn time(s: &str) -> bool {
    let (clock, fraction) = s.split_once('.').unwrap_or((s, "0"));
    let mut parts = clock.split(':');
    let (h, m, sec, end) = (parts.next(), parts.next(), parts.next(), parts.next());
    let within = |part: Option<&str>, max| part.is_some_and(|p| two_digits(p, max));
    within(h, 23)
        && within(m, 59)
        && within(sec, 60)
        && end.is_none()
        && !fraction.is_empty()
        && fraction.bytes().all(|b| b.is_ascii_digit())
}

fn two_digits(s: &str, max: u8) -> bool {
    s.len() == 2 && s.bytes().all(|b| b.is_ascii_digit()) && s.parse::<u8>().is_ok_and(|n| n <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(type_: &str, good: &[&str], bad: &[&str]) {
        for s in good {
            assert!(is_valid_text(type_, s), "{type_} {s}");
        }
        for s in bad {
            assert!(!is_valid_text(type_, s), "{type_} {s}");
        }
    }

    #[test]
    fn formats() {
        check(
            "date",
            &["1951", "1951-04", "2024-02-29"],
            &[
                "",
                "51",
                "2023-02-29",
                "1951-13",
                "1951-4-2",
                "0000",
                "2024-02-29T00:00:00Z",
                "1951-",
                "--------",
            ],
        );
        check(
            "dateTime",
            &["1951", "2024-02-29T23:59:60Z", "2015-02-07T13:28:17.239+02:00", "2015-02-07T13:28:17-05:30"],
            &[
                "2015-02-07T13:28:17",
                "2015-02-07T13:28Z",
                "2015-02T13:28:17Z",
                "2015-02-07T24:00:00Z",
                "2015-02-07T13:28:17+15:00",
                "2015-02-07T13:28:17.Z",
                "2015-02-07T13:28:17+",
            ],
        );
        check("instant", &["2015-02-07T13:28:17.239+02:00"], &["2015-02-07"]);
        check("id", &["a-1.B"], &["", "a_b", "ä"]);
        check("oid", &["urn:oid:1.2.840.0"], &["urn:oid:3.1", "urn:oid:1.02", "1.2", "urn:oid:1"]);
        check("code", &["a b", "a"], &[" a", "a ", "a  b"]);
        check("uri", &["urn:x", ""], &["a b"]);
    }

    #[test]
    fn numbers_are_no_strings() {
        let number = |n: &'static str| Json::Number(n.into());
        assert!(is_valid("decimal", &number("1.0e3")) && !is_valid("decimal", &number("1e999")));
        assert!(is_valid("integer", &number("-1")) && !is_valid("integer", &number("1.0")));
        assert!(!is_valid("positiveInt", &number("0")) && is_valid("unsignedInt", &number("0")));
        assert!(!is_valid("decimal", &Json::String("1".into())) && !is_valid("string", &number("1")));
    }
}
