//! Reads typed fields out of a TOML table and reports every mistake instead of stopping at the first.
//!
//! serde would stop there; the field names that were asked for are the known ones, so the readers stay the schema.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Secret;
use super::env::{Lookup, Problem, interpolate};
use super::finding::Report;

/// What all tables of one file share.
pub struct Context<'a> {
    pub report: Report,
    pub lookup: Lookup<'a>,
    /// The file's folder: relative paths start there.
    pub base: PathBuf,
}

/// A value with its place, for checks that come later.
#[derive(Clone, Debug)]
pub struct Spot<T> {
    pub value: T,
    pub line: usize,
    pub field: String,
    /// As written in the file, before variables were filled in: the only form that may be shown.
    pub written: String,
}

impl<T> Spot<T> {
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Spot<U> {
        Spot { value: f(self.value), line: self.line, field: self.field, written: self.written }
    }

    pub fn refuse(&self, report: &Report, code: &'static str, text: impl Into<String>) {
        report.add(self.line, &self.field, code, text);
    }
}

pub struct Table<'a> {
    pub context: &'a Context<'a>,
    map: &'a DeTable<'a>,
    path: String,
    /// Where the table begins.
    line: usize,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    pub fn root(context: &'a Context<'a>, map: &'a DeTable<'a>) -> Table<'a> {
        Table { context, map, path: String::new(), line: 1, asked: RefCell::default() }
    }

    fn child(&self, map: &'a DeTable<'a>, path: String, span: Range<usize>) -> Table<'a> {
        let line = self.context.report.line_of(span.start);
        Table { context: self.context, map, path, line, asked: RefCell::default() }
    }

    pub fn field(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub fn report(&self) -> &'a Report {
        &self.context.report
    }

    /// A mistake of this table as a whole, at its header.
    pub fn refuse(&self, code: &'static str, text: impl Into<String>) {
        self.report().add(self.line, &self.path, code, text);
    }

    /// A mistake that is found when all fields are read.
    pub fn refuse_field(&self, key: &str, code: &'static str, text: impl Into<String>) {
        let at = self.map.get_key_value(key).map(|(key, _)| key.span().start);
        let line = at.map_or(self.line, |at| self.context.report.line_of(at));
        self.report().add(line, &self.field(key), code, text);
    }

    fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().push(key);
        self.map.get(key)
    }

    fn wrong_type(&self, value: &Spanned<DeValue>, field: &str, expected: &str) {
        let line = self.context.report.line_of(value.span().start);
        let found = value.get_ref().type_str();
        self.report().add(line, field, "wrong-type", format!("expected {expected}, found {found}"));
    }

    fn missing(&self, key: &str) {
        self.report().add(
            self.line,
            &self.field(key),
            "missing-field",
            format!("`{key}` is missing; add it"),
        );
    }

    fn string(&self, value: &'a Spanned<DeValue<'a>>, field: String) -> Option<Spot<String>> {
        let DeValue::String(written) = value.get_ref() else {
            self.wrong_type(value, &field, "a string");
            return None;
        };
        let line = self.context.report.line_of(value.span().start);
        match interpolate(written, self.context.lookup) {
            Ok(value) => Some(Spot { value, line, field, written: written.to_string() }),
            Err(problem) => {
                let (code, text) = match problem {
                    Problem::Missing(name) => (
                        "env-missing",
                        format!(
                            "environment variable {name} is not set; set it or write ${{{name}:-default}}"
                        ),
                    ),
                    Problem::Unclosed => {
                        ("env-syntax", "`${` has no `}`; write `$${` for a literal one".into())
                    }
                    Problem::BadName => {
                        ("env-syntax", "not a variable name inside `${}`; use letters, digits and `_`".into())
                    }
                };
                self.report().add(line, &field, code, text);
                None
            }
        }
    }

    pub fn text(&self, key: &'static str) -> Option<Spot<String>> {
        self.string(self.get(key)?, self.field(key))
    }

    /// Present and not empty, or a finding.
    pub fn required(&self, key: &'static str) -> Option<Spot<String>> {
        if !self.map.contains_key(key) {
            self.asked.borrow_mut().push(key);
            self.missing(key);
            return None;
        }
        let text = self.text(key)?;
        if text.value.trim().is_empty() {
            text.refuse(self.report(), "value-invalid", format!("`{key}` is empty; give it a value"));
            return None;
        }
        Some(text)
    }

    pub fn secret(&self, key: &'static str) -> Option<Spot<Secret>> {
        self.required(key).map(|text| text.map(Secret::new))
    }

    pub fn path(&self, key: &'static str) -> Option<Spot<PathBuf>> {
        self.text(key).map(|text| text.map(|path| self.context.base.join(path)))
    }

    pub fn required_path(&self, key: &'static str) -> Option<Spot<PathBuf>> {
        self.required(key).map(|text| text.map(|path| self.context.base.join(path)))
    }

    /// A whole number; a string is taken too when a variable gave it.
    pub fn number(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        self.number_of(self.get(key)?, self.field(key), range)
    }

    fn number_of(
        &self,
        value: &'a Spanned<DeValue<'a>>,
        field: String,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let number = match value.get_ref() {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(written) if written.contains("${") => {
                self.string(value, field.clone())?.value.parse().ok()
            }
            _ => {
                self.wrong_type(value, &field, "a whole number");
                return None;
            }
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let line = self.context.report.line_of(value.span().start);
            let text = format!("must be a whole number from {} to {}", range.start(), range.end());
            self.report().add(line, &field, "value-invalid", text);
        }
        number
    }

    pub fn flag(&self, key: &'static str) -> Option<bool> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => {
                self.wrong_type(value, &self.field(key), "true or false");
                None
            }
        }
    }

    pub fn texts(&self, key: &'static str) -> Vec<Spot<String>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(value, &self.field(key), "a list of strings");
            return Vec::new();
        };
        let field = |position| format!("{}[{position}]", self.field(key));
        items.iter().enumerate().filter_map(|(position, item)| self.string(item, field(position))).collect()
    }

    /// A table of whole numbers with free keys, by these.
    pub fn numbers(&self, key: &'static str, range: RangeInclusive<u64>) -> Vec<Spot<(String, u64)>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let DeValue::Table(map) = value.get_ref() else {
            self.wrong_type(value, &self.field(key), "a table of whole numbers");
            return Vec::new();
        };
        let pair = |(name, item): (&Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let line = self.context.report.line_of(name.span().start);
            let name: &std::borrow::Cow<str> = name.get_ref();
            let written = name.to_string();
            let field = format!("{}.{written}", self.field(key));
            let number = self.number_of(item, field.clone(), range.clone())?;
            Some(Spot { value: (written.clone(), number), line, field, written })
        };
        map.iter().filter_map(pair).collect()
    }

    /// A table of strings with free keys; values are secret because passwords stand among them.
    pub fn secrets(&self, key: &'static str) -> BTreeMap<String, Spot<Secret>> {
        let Some(value) = self.get(key) else { return BTreeMap::new() };
        let DeValue::Table(map) = value.get_ref() else {
            self.wrong_type(value, &self.field(key), "a table of strings");
            return BTreeMap::new();
        };
        let pair = |(name, item): (&Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let name: &std::borrow::Cow<str> = name.get_ref();
            let text = self.string(item, format!("{}.\"{name}\"", self.field(key)))?;
            Some((name.to_string(), text.map(Secret::new)))
        };
        map.iter().filter_map(pair).collect()
    }

    pub fn table(&self, key: &'static str) -> Option<Table<'a>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Table(map) => Some(self.child(map, self.field(key), value.span())),
            _ => {
                self.wrong_type(value, &self.field(key), "a table");
                None
            }
        }
    }

    pub fn required_table(&self, key: &'static str) -> Option<Table<'a>> {
        if !self.map.contains_key(key) {
            self.asked.borrow_mut().push(key);
            self.missing(key);
            return None;
        }
        self.table(key)
    }

    pub fn tables(&self, key: &'static str) -> Vec<Table<'a>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(value, &self.field(key), &format!("a list of tables ([[{}]])", self.field(key)));
            return Vec::new();
        };
        let one = |(position, item): (usize, &'a Spanned<DeValue<'a>>)| {
            let path = format!("{}[{position}]", self.field(key));
            match item.get_ref() {
                DeValue::Table(map) => Some(self.child(map, path, item.span())),
                _ => {
                    self.wrong_type(item, &path, "a table");
                    None
                }
            }
        };
        items.iter().enumerate().filter_map(one).collect()
    }

    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// The value is a table, and not a string: `on_error = { retry = 3 }`.
    pub fn is_table(&self, key: &str) -> bool {
        matches!(self.map.get(key).map(Spanned::get_ref), Some(DeValue::Table(_)))
    }

    /// Reports what nobody asked for. Call it last.
    pub fn finish(self) {
        let asked = self.asked.borrow();
        for key in self.map.keys() {
            let name: &str = key.get_ref();
            if asked.contains(&name) {
                continue;
            }
            let hint = match nearest(name, &asked) {
                Some(known) => format!("; did you mean `{known}`?"),
                None => String::new(),
            };
            let line = self.context.report.line_of(key.span().start);
            self.report().add(
                line,
                &self.field(name),
                "unknown-field",
                format!("unknown field `{name}`{hint}"),
            );
        }
    }
}

/// The known word that a typing mistake most likely meant.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    let distances = known.iter().map(|known| (distance(word, known), *known));
    distances.filter(|(distance, _)| *distance <= limit).min().map(|(_, known)| known)
}

/// Edits (insert, delete, replace) from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The folder that relative paths start from.
pub fn base_of(file: &Path) -> PathBuf {
    file.parent().map(Path::to_path_buf).unwrap_or_default()
}
