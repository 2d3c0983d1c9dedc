//! One line of expectations: `Observation[code.coding.code=8867-4].valueQuantity.value = 72`.

use anyhow::{Context, bail};
use serde_json::Value;

#[derive(Debug)]
pub struct Fact {
    /// Both count from 1.
    pub message: usize,
    pub line: usize,
    pub text: String,
    /// `! …`: it must not be so.
    negated: bool,
    /// `Observation`, `Event`, `issue`.
    type_: String,
    /// Only those of the type that say this count: path and value.
    with: Option<(String, String)>,
    /// Path and value; without one, how many there are.
    says: Result<(String, String), usize>,
}

impl Fact {
    pub fn read_all(text: &str) -> anyhow::Result<Vec<Fact>> {
        let mut message = 1;
        let mut facts = Vec::new();
        for (at, line) in text.lines().map(str::trim).enumerate() {
            let place = || format!("line {}", at + 1);
            match line.strip_prefix("message ") {
                _ if line.is_empty() || line.starts_with('#') => {}
                Some(number) => {
                    message = number.trim().parse().ok().filter(|n| *n > 0).with_context(|| {
                        format!("{}: messages are numbered from 1, as in `message 2`", place())
                    })?;
                }
                None => facts.push(Fact { message, line: at + 1, ..Fact::read(line).with_context(place)? }),
            }
        }
        Ok(facts)
    }

    fn read(line: &str) -> anyhow::Result<Fact> {
        let negated = line.starts_with('!');
        let rest = line.trim_start_matches('!').trim_start();
        let (subject, with, path) = match rest.split_once('[').filter(|(type_, _)| is_name(type_)) {
            Some((type_, rest)) => {
                let (with, path) = rest.split_once(']').context("a [ without its ]")?;
                let (key, value) =
                    with.split_once('=').context("inside [] a path = its value is expected")?;
                (type_, Some((key.trim().to_owned(), value.trim().to_owned())), path.trim_start_matches('.'))
            }
            None => {
                let end = rest.find(['.', ' ', '#', '=']).unwrap_or(rest.len());
                (&rest[..end], None, rest[end..].trim_start_matches('.'))
            }
        };
        let says = match (path.split_once('='), path.trim_start().strip_prefix('#')) {
            (_, Some(count)) => Err(count.trim().parse().context("behind # stands how many there are")?),
            (Some((path, value)), None) => Ok((path.trim().to_owned(), value.trim().to_owned())),
            (None, None) => bail!("neither `path = value` nor `Type # count`"),
        };
        let (text, type_) = (line.to_owned(), subject.trim().to_owned());
        Ok(Fact { message: 1, line: 1, text, negated, type_, with, says })
    }

    /// The error says what stands there instead.
    pub fn holds(&self, told: &[Value]) -> Result<(), Vec<String>> {
        let of_type = told.iter().filter(|one| one["resourceType"] == self.type_.as_str());
        let meant: Vec<&Value> = of_type
            .filter(|one| self.with.as_ref().is_none_or(|(path, value)| says(one, path, value)))
            .collect();
        let (holds, found) = match &self.says {
            Err(count) => (meant.len() == *count, vec![meant.len().to_string()]),
            Ok((path, value)) => {
                let path = if path.is_empty() { self.type_.as_str() } else { path };
                let found: Vec<String> = meant.iter().flat_map(|one| all(one, path)).collect();
                (meant.iter().any(|one| says(one, path, value)), found)
            }
        };
        if holds != self.negated { Ok(()) } else { Err(found) }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn says(value: &Value, path: &str, expected: &str) -> bool {
    let same_number = |found: &str| match (found.parse::<f64>(), expected.parse::<f64>()) {
        (Ok(found), Ok(expected)) => found == expected,
        _ => false,
    };
    all(value, path).iter().any(|found| found == expected || same_number(found))
}

/// The plain values at the end of a path; arrays are walked through.
fn all(value: &Value, path: &str) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(|item| all(item, path)).collect(),
        Value::Object(members) if !path.is_empty() => {
            let (first, rest) = path.split_once('.').unwrap_or((path, ""));
            members.get(first).map(|member| all(member, rest)).unwrap_or_default()
        }
        Value::String(text) if path.is_empty() => vec![text.clone()],
        Value::Number(_) | Value::Bool(_) if path.is_empty() => vec![value.to_string()],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn facts_speak_of_one_resource_at_a_time() {
        let told = [
            json!({"resourceType": "Observation", "code": {"coding": [{"code": "a"}, {"code": "b"}]}, "value": 1.50}),
            json!({"resourceType": "Observation", "code": {"coding": [{"code": "c"}]}, "value": 2}),
            json!({"resourceType": "issue", "issue": "time-invalid"}),
        ];
        let check = |line: &str| Fact::read_all(line).unwrap()[0].holds(&told);
        for fine in [
            "Observation[code.coding.code=b].value = 1.5",
            "Observation[code.coding.code = c].value=2",
            "Observation.value = 2.00",
            "Observation # 2",
            "Observation[value=2] # 1",
            "!Observation[code.coding.code=c].value = 1.5",
            "issue = time-invalid",
            "! issue = other",
            "Encounter # 0",
        ] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        assert_eq!(check("Observation.value = 3"), Err(vec!["1.5".into(), "2".into()]));
        assert_eq!(check("Observation[code.coding.code=c].value = 1.5"), Err(vec!["2".into()]));
        assert_eq!(check("Encounter.status = x"), Err(vec![]));
        assert_eq!(check("Observation # 3"), Err(vec!["2".into()]));
    }

    #[test]
    fn what_is_no_fact_is_told_with_its_line() {
        for wrong in
            ["Observation", "Observation[x.value = 3", "Observation # many", "message 0", "A[b].c = 1"]
        {
            let error = Fact::read_all(&format!("# one\n{wrong}")).unwrap_err();
            assert!(format!("{error:#}").starts_with("line 2"), "{wrong}: {error:#}");
        }
    }
}
