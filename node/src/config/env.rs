//! `${NAME}` and `${NAME:-default}` inside string values; `$${` stands for a literal `${`.

/// Reads an environment variable; a parameter, so that tests need not change the process's own.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

#[derive(Debug, PartialEq, Eq)]
pub enum Problem {
    /// The variable is not set and has no default.
    Missing(String),
    /// `${` without `}`.
    Unclosed,
    /// Not a variable name: letters, digits and `_`, not beginning with a digit.
    BadName,
}

/// Fills in the variables. Values are never scanned again: a variable's own `${` stays as it is.
pub fn interpolate(text: &str, lookup: Lookup) -> Result<String, Problem> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        let inner = &after[2..];
        if let Some(kept) = before.strip_suffix('$') {
            out.push_str(kept);
            out.push_str("${");
            rest = inner;
            continue;
        }
        out.push_str(before);
        let end = inner.find('}').ok_or(Problem::Unclosed)?;
        let (name, default) = match inner[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inner[..end], None),
        };
        if !is_name(name) {
            return Err(Problem::BadName);
        }
        match (lookup(name), default) {
            (Some(value), None) => out.push_str(&value),
            // As in a shell: `:-` also replaces an empty value.
            (Some(value), Some(_)) if !value.is_empty() => out.push_str(&value),
            (_, Some(default)) => out.push_str(default),
            (None, None) => return Err(Problem::Missing(name.to_owned())),
        }
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

pub fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("10.0.0.1".into()),
            "EMPTY" => Some(String::new()),
            "ODD" => Some("a${HOST}b".into()),
            _ => None,
        }
    }

    fn check(text: &str, expected: Result<&str, Problem>) {
        assert_eq!(interpolate(text, &lookup), expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn fills_in_variables() {
        check("plain", Ok("plain"));
        check("${HOST}:80", Ok("10.0.0.1:80"));
        check("${NONE:-x}${HOST}", Ok("x10.0.0.1"));
        check("${EMPTY:-x}|${EMPTY}|", Ok("x||"));
        check("${ODD}", Ok("a${HOST}b"));
        check("$argon2id$v=19$m=1", Ok("$argon2id$v=19$m=1"));
        check("$${HOST}", Ok("${HOST}"));
        check("${NONE:-}", Ok(""));
    }

    #[test]
    fn names_what_is_wrong() {
        check("a${NONE}", Err(Problem::Missing("NONE".into())));
        check("${HOST", Err(Problem::Unclosed));
        check("${1A}", Err(Problem::BadName));
        check("${}", Err(Problem::BadName));
    }
}
