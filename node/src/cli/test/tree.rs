//! Where two JSON trees differ.

use serde_json::Value;

/// So many are told of one message.
const MAX: usize = 50;

/// What was expected, with its path, and what was found there.
pub fn differences(expected: &Value, found: &Value) -> Vec<(String, Vec<String>)> {
    let mut told = Vec::new();
    compare("", expected, found, &mut told);
    told
}

fn compare(path: &str, expected: &Value, found: &Value, told: &mut Vec<(String, Vec<String>)>) {
    if told.len() >= MAX || expected == found {
        return;
    }
    let nothing = Value::Null;
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let keys = expected.keys().chain(found.keys().filter(|key| !expected.contains_key(*key)));
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let (expected, found) = (expected.get(key), found.get(key));
                compare(&path, expected.unwrap_or(&nothing), found.unwrap_or(&nothing), told);
            }
        }
        (Value::Array(expected), Value::Array(found)) => {
            for at in 0..expected.len().max(found.len()) {
                let (expected, found) = (expected.get(at), found.get(at));
                compare(
                    &format!("{path}[{at}]"),
                    expected.unwrap_or(&nothing),
                    found.unwrap_or(&nothing),
                    told,
                );
            }
        }
        _ => {
            let shown = |value: &Value| match value {
                Value::Null => "nothing".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let found = if found.is_null() { Vec::new() } else { vec![shown(found)] };
            let path = if path.is_empty() { "the Bundle" } else { path };
            told.push((format!("{path} = {}", shown(expected)), found));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_named() {
        let expected = json!({"a": [{"b": 1}, {"b": "x"}], "c": true});
        assert_eq!(differences(&expected, &expected), []);
        let found = json!({"a": [{"b": 2}], "c": true, "d": {"e": 1}});
        assert_eq!(
            differences(&expected, &found),
            [
                ("a[0].b = 1".to_owned(), vec!["2".to_owned()]),
                (r#"a[1] = {"b":"x"}"#.to_owned(), vec![]),
                ("d = nothing".to_owned(), vec![r#"{"e":1}"#.to_owned()]),
            ]
        );
    }
}
