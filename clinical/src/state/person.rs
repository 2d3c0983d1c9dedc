//! Demographics: per field, the newest statement stands.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{Person, Sex, Time};

/// A statement and when it was made. Of two made at one time the greater stands, so that arrival decides nothing.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Stated<T> {
    at: Time,
    value: T,
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Demographics {
    name: Option<Stated<String>>,
    birth_date: Option<Stated<String>>,
    sex: Option<Stated<u8>>,
    died_at: Option<Stated<Time>>,
}

impl Demographics {
    pub fn apply(&mut self, at: Time, person: &Person) {
        state(&mut self.name, at, person.name.clone());
        state(&mut self.birth_date, at, person.birth_date.clone());
        state(&mut self.sex, at, person.sex.map(rank));
        state(&mut self.died_at, at, person.died_at);
    }

    pub fn absorb(&mut self, other: &Demographics) {
        absorb(&mut self.name, &other.name);
        absorb(&mut self.birth_date, &other.birth_date);
        absorb(&mut self.sex, &other.sex);
        absorb(&mut self.died_at, &other.died_at);
    }

    pub fn name(&self) -> Option<&str> {
        self.name.as_ref().map(|s| s.value.as_str())
    }

    pub fn birth_date(&self) -> Option<&str> {
        self.birth_date.as_ref().map(|s| s.value.as_str())
    }

    pub fn sex(&self) -> Option<Sex> {
        self.sex.as_ref().map(|s| match s.value {
            3 => Sex::Female,
            2 => Sex::Male,
            1 => Sex::Other,
            _ => Sex::Unknown,
        })
    }

    pub fn died_at(&self) -> Option<Time> {
        self.died_at.as_ref().map(|s| s.value)
    }

    /// Completed years on the (UTC) day of `at`; a birth date known to the year or month counts from its middle.
    pub fn age_years(&self, at: Time) -> Option<u8> {
        let born = parse_date(self.birth_date()?)?;
        let now = jiff::Timestamp::from_millisecond(at.0).ok()?;
        let today = jiff::tz::Offset::UTC.to_datetime(now).date();
        let had_birthday = (today.month(), today.day()) >= (born.month(), born.day());
        let years = i32::from(today.year()) - i32::from(born.year()) - i32::from(!had_birthday);
        u8::try_from(years).ok()
    }
}

fn parse_date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let year = parts.next()?.parse().ok()?;
    let month: Option<i8> = parts.next().map(|m| m.parse().ok()).unwrap_or(None);
    let day: Option<i8> = parts.next().and_then(|d| d.get(..2)).and_then(|d| d.parse().ok());
    Date::new(year, month.unwrap_or(7), day.unwrap_or(if month.is_some() { 15 } else { 1 })).ok()
}

/// `unknown` never overrules a statement of the same time.
fn rank(sex: Sex) -> u8 {
    match sex {
        Sex::Unknown => 0,
        Sex::Other => 1,
        Sex::Male => 2,
        Sex::Female => 3,
    }
}

fn state<T: Ord>(field: &mut Option<Stated<T>>, at: Time, value: Option<T>) {
    let Some(value) = value else { return };
    match field {
        Some(known) if (known.at, &known.value) >= (at, &value) => {}
        _ => *field = Some(Stated { at, value }),
    }
}

fn absorb<T: Ord + Clone>(field: &mut Option<Stated<T>>, other: &Option<Stated<T>>) {
    if let Some(other) = other {
        state(field, other.at, Some(other.value.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_in_completed_years_from_any_precision() {
        let age = |born: &str, now: &str| {
            let at = Time(format!("{now}T12:00:00Z").parse::<jiff::Timestamp>().unwrap().as_millisecond());
            let mut known = Demographics::default();
            known.apply(at, &Person { birth_date: Some(born.into()), ..Person::default() });
            known.age_years(at)
        };
        assert_eq!(age("1951-04-23", "2026-04-22"), Some(74));
        assert_eq!(age("1951-04-23", "2026-04-23"), Some(75));
        assert_eq!(age("1951-04", "2026-04-20"), Some(75));
        assert_eq!(age("1951", "2026-06-30"), Some(74));
        assert_eq!(age("2027-01-01", "2026-06-30"), None);
        assert_eq!(age("unknown", "2026-06-30"), None);
    }
}
