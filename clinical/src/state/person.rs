//! Demographics: per field, the newest statement stands.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{Person, Sex, Time};

/// A statement and when it was made. Of two made at one time the greater stands, so that arrival decides nothing.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Stated<T> {
    at: Time,
    /// `None`: what was said before was taken back. It is kept, for an older message may still come.
    value: Option<T>,
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
        let Person { name, birth_date, sex, died_at, deleted } = person;
        state(&mut self.name, at, name.clone(), deleted.name);
        state(&mut self.birth_date, at, birth_date.clone(), deleted.birth_date);
        state(&mut self.sex, at, sex.map(rank), deleted.sex);
        state(&mut self.died_at, at, *died_at, deleted.died_at);
    }

    pub fn absorb(&mut self, other: &Demographics) {
        absorb(&mut self.name, &other.name);
        absorb(&mut self.birth_date, &other.birth_date);
        absorb(&mut self.sex, &other.sex);
        absorb(&mut self.died_at, &other.died_at);
    }

    pub fn name(&self) -> Option<&str> {
        self.name.as_ref()?.value.as_deref()
    }

    pub fn birth_date(&self) -> Option<&str> {
        self.birth_date.as_ref()?.value.as_deref()
    }

    pub fn sex(&self) -> Option<Sex> {
        Some(match self.sex.as_ref()?.value? {
            3 => Sex::Female,
            2 => Sex::Male,
            1 => Sex::Other,
            _ => Sex::Unknown,
        })
    }

    pub fn died_at(&self) -> Option<Time> {
        self.died_at.as_ref()?.value
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

/// `unknown` never overrules a statement of the same time; nor does taking back.
fn rank(sex: Sex) -> u8 {
    match sex {
        Sex::Unknown => 0,
        Sex::Other => 1,
        Sex::Male => 2,
        Sex::Female => 3,
    }
}

fn state<T: Ord>(field: &mut Option<Stated<T>>, at: Time, value: Option<T>, deleted: bool) {
    if value.is_none() && !deleted {
        return;
    }
    match field {
        Some(known) if (known.at, &known.value) >= (at, &value) => {}
        _ => *field = Some(Stated { at, value }),
    }
}

fn absorb<T: Ord + Clone>(field: &mut Option<Stated<T>>, other: &Option<Stated<T>>) {
    if let Some(other) = other {
        state(field, other.at, other.value.clone(), other.value.is_none());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HL7's null deletes what was said before it, whenever either comes, and nothing that was said after it.
    #[test]
    fn what_is_taken_back_is_known_no_more() {
        use crate::Deleted;
        let said = |died_at: i64| Person {
            name: Some("Muster".into()),
            birth_date: Some("1951".into()),
            sex: Some(Sex::Female),
            died_at: Some(Time(died_at)),
            ..Person::default()
        };
        let all = Deleted { name: true, birth_date: true, sex: true, died_at: true };
        let taken_back = Person { deleted: all, ..Person::default() };
        let nothing = Demographics::default();
        let known = |statements: &[(i64, &Person)]| {
            let mut known = nothing.clone();
            statements.iter().for_each(|(at, person)| known.apply(Time(*at), person));
            (known.name().is_some(), known.birth_date().is_some(), known.sex(), known.died_at())
        };
        let (dead, still_dead) = (said(5), said(6));
        for gone in [[(1, &dead), (2, &taken_back)], [(2, &taken_back), (1, &dead)]] {
            assert_eq!(known(&gone), (false, false, None, None));
        }
        let stands = (true, true, Some(Sex::Female), Some(Time(6)));
        assert_eq!(known(&[(3, &still_dead), (2, &taken_back), (1, &dead)]), stands);
        // At one time the statement stands, whichever came first.
        assert_eq!(known(&[(2, &still_dead), (2, &taken_back)]), stands);
        assert_eq!(known(&[(2, &taken_back), (2, &still_dead)]), stands);
        // The record that is merged brings what it took back, too.
        let (mut survivor, mut prior) = (nothing.clone(), nothing.clone());
        survivor.apply(Time(1), &dead);
        prior.apply(Time(2), &taken_back);
        survivor.absorb(&prior);
        assert_eq!((survivor.name(), survivor.died_at()), (None, None));
    }

    /// As builds before kept it: a statement has a value.
    #[test]
    fn a_former_checkpoint_reads() {
        let former = r#"{"name":{"at":1,"value":"Muster"},"birth_date":null,"sex":{"at":1,"value":3},"died_at":{"at":1,"value":7}}"#;
        let known: Demographics = serde_json::from_str(former).unwrap();
        assert_eq!(
            (known.name(), known.sex(), known.died_at()),
            (Some("Muster"), Some(Sex::Female), Some(Time(7)))
        );
        assert_eq!(serde_json::to_string(&known).unwrap(), former);
    }

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
