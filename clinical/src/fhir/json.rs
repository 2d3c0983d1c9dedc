//! A JSON tree that keeps what FHIR needs and general parsers lose: the digits of decimals (FHIR R4
//! §2.6.2: 1.0 and 1.00 differ), the order of members, and where each object stood in the input.
//!
//! Duplicate keys are refused, because two readers would see two different resources. Depth, size and
//! number of values are bounded.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

pub(super) use crate::text::trim;
use crate::text::{any_byte, is, is_below};

/// Deeper than any real resource; bounds the stack.
pub(super) const DEPTH_MAX: usize = 64;
/// Bounds memory: a value costs up to 20 times its bytes.
const VALUES_MAX: usize = 4_000_000;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    /// The digits as written.
    Number(Cow<'a, str>),
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Object<'a>),
    /// A Reference to the entry of that place in a Bundle that is being built. The reader makes none.
    Entry(usize),
}

/// A member's name; those that we write ourselves are not copied.
pub(super) type Key = Cow<'static, str>;

#[derive(Clone, Debug, Default)]
pub(super) struct Object<'a> {
    pub(super) members: Vec<(Key, Json<'a>)>,
    /// Where it stood in the bytes read (at most 64 MiB); empty for what we build ourselves.
    pub(super) span: Range<u32>,
}

/// Two objects are equal by what they say, wherever they stood.
impl PartialEq for Object<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Syntax,
    Depth,
    TooManyValues,
    DuplicateKey,
}

/// Reads one JSON value and nothing after it. The fault comes with its byte offset.
pub(super) fn parse(text: &str) -> Result<Json<'static>, (Fault, usize)> {
    let mut parser = Parser { text, at: 0, values: 0 };
    let value = parser.value(0)?;
    parser.space();
    if parser.at == text.len() { Ok(value) } else { Err((Fault::Syntax, parser.at)) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    values: usize,
}

type Parsed<T> = Result<T, (Fault, usize)>;

impl Parser<'_> {
    fn value(&mut self, depth: usize) -> Parsed<Json<'static>> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err((Fault::TooManyValues, self.at));
        }
        if depth > DEPTH_MAX {
            return Err((Fault::Depth, self.at));
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Json::String(Cow::Owned(self.string()?))),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.fail(),
        }
    }

    fn object(&mut self, depth: usize) -> Parsed<Json<'static>> {
        let start = self.at;
        self.at += 1;
        let mut members: Vec<(Key, Json<'static>)> = Vec::new();
        self.space();
        if self.take(b'}') {
            return Ok(Json::Object(Object { members, span: span(start..self.at) }));
        }
        loop {
            self.space();
            let key = self.string()?;
            self.space();
            self.expect(b':')?;
            let value = self.value(depth + 1)?;
            members.push((Cow::Owned(key), value));
            self.space();
            if self.take(b'}') {
                break;
            }
            self.expect(b',')?;
        }
        if has_duplicates(&members) {
            return Err((Fault::DuplicateKey, start));
        }
        Ok(Json::Object(Object { members, span: span(start..self.at) }))
    }

    fn array(&mut self, depth: usize) -> Parsed<Json<'static>> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            if self.take(b']') {
                return Ok(Json::Array(items));
            }
            self.expect(b',')?;
        }
    }

    /// The usual string has no escapes and is copied; the others go through serde_json.
    fn string(&mut self) -> Parsed<String> {
        let start = self.at;
        self.expect(b'"')?;
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        loop {
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(0..=0x1f) | None => return self.fail(),
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        let Some(quoted) = self.text.get(start..self.at) else { return Err((Fault::Syntax, start)) };
        if escaped {
            return serde_json::from_str::<String>(quoted).map_err(|_| (Fault::Syntax, start));
        }
        Ok(quoted.get(1..quoted.len() - 1).unwrap_or_default().into())
    }

    /// RFC 8259 §6: no leading zero, no bare point or sign.
    fn number(&mut self) -> Parsed<Json<'static>> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') && self.digits() == 0 {
            return self.fail();
        }
        if self.take(b'.') && self.digits() == 0 {
            return self.fail();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return self.fail();
            }
        }
        Ok(Json::Number(Cow::Owned(self.text.get(start..self.at).unwrap_or_default().to_owned())))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn word(&mut self, word: &str, value: Json<'static>) -> Parsed<Json<'static>> {
        if self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            self.at += word.len();
            return Ok(value);
        }
        self.fail()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Parsed<()> {
        if self.take(byte) { Ok(()) } else { self.fail() }
    }

    fn fail<T>(&self) -> Parsed<T> {
        Err((Fault::Syntax, self.at.min(self.text.len())))
    }
}

/// What is read is at most 64 MiB.
fn span(bytes: Range<usize>) -> Range<u32> {
    bytes.start as u32..bytes.end as u32
}

/// Linear for the usual few members, hashed for many, so that no input makes it quadratic.
fn has_duplicates(members: &[(Key, Json<'_>)]) -> bool {
    if members.len() <= 16 {
        return members.iter().enumerate().any(|(at, (key, _))| members[..at].iter().any(|(k, _)| k == key));
    }
    let mut seen = HashSet::with_capacity(members.len());
    !members.iter().all(|(key, _)| seen.insert(key))
}

impl<'a> Object<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&Json<'a>> {
        self.members.iter().find(|(k, _)| &**k == key).map(|(_, v)| v)
    }

    /// The member `key`, made with `absent` where there is none.
    pub(super) fn member(&mut self, key: &'static str, absent: Json<'a>) -> &mut Json<'a> {
        let at = match self.members.iter().position(|(k, _)| &**k == key) {
            Some(at) => at,
            None => {
                self.members.push((key.into(), absent));
                self.members.len() - 1
            }
        };
        &mut self.members[at].1
    }

    /// Adds a member, unless it is empty.
    pub(super) fn add(&mut self, key: &'static str, value: Json<'a>) {
        if !is_empty(&value) {
            self.members.push((Cow::Borrowed(key), value));
        }
    }

    /// Writes the members, without the braces; `url` gives the address of an entry.
    pub(super) fn write_members<'u>(&self, out: &mut Vec<u8>, url: &impl Fn(usize) -> &'u [u8]) {
        for (at, (key, value)) in self.members.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            match key {
                // Names of ours hold nothing to escape.
                Cow::Borrowed(key) => {
                    out.reserve(key.len() + 3);
                    ["\"", key, "\":"].iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
                }
                Cow::Owned(key) => {
                    write_string(key, out);
                    out.push(b':');
                }
            }
            value.write(out, url);
        }
    }
}

impl<'a> Json<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&Json<'a>> {
        match self {
            Json::Object(object) => object.get(key),
            _ => None,
        }
    }

    pub(super) fn str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Json::String(s) => Some(s),
            _ => None,
        }
    }

    /// The items of the array `key`; none where it is absent.
    pub(super) fn items(&self, key: &str) -> &[Json<'a>] {
        match self.get(key) {
            Some(Json::Array(items)) => items,
            _ => &[],
        }
    }

    /// `url` gives the address of an entry.
    pub(super) fn write<'u>(&self, out: &mut Vec<u8>, url: &impl Fn(usize) -> &'u [u8]) {
        match self {
            Json::Null => out.extend_from_slice(b"null"),
            Json::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Json::Number(digits) => out.extend_from_slice(digits.as_bytes()),
            Json::String(text) => write_string(text, out),
            Json::Array(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.write(out, url);
                }
                out.push(b']');
            }
            Json::Object(object) => {
                out.push(b'{');
                object.write_members(out, url);
                out.push(b'}');
            }
            Json::Entry(place) => write_reference(url(*place), out),
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out, &|_| &[]);
        out
    }
}

/// Writes the members of an object one by one, where a tree would be built to be written once. Each ends with a
/// comma; the object's end takes the last one's place.
pub(super) struct Members<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Members<'o> {
    /// Without the braces; [`end`] writes the second one.
    pub(super) fn of(out: &'o mut Vec<u8>) -> Self {
        Members { out }
    }

    /// With them.
    #[inline]
    pub(super) fn object(out: &mut Vec<u8>, write: impl FnOnce(&mut Members<'_>)) {
        out.push(b'{');
        write(&mut Members::of(out));
        end(out, b'}');
    }

    /// Writes a name, which holds nothing to escape, and then what `write` does.
    #[inline(always)]
    pub(super) fn with(&mut self, key: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.reserve(key.len() + 3);
        ["\"", key, "\":"].iter().for_each(|part| self.out.extend_from_slice(part.as_bytes()));
        write(self.out);
        self.out.push(b',');
    }

    /// Members written before.
    #[inline]
    pub(super) fn written(&mut self, members: &[u8]) {
        self.out.extend_from_slice(members);
    }

    /// Unless it is empty.
    #[inline(always)]
    pub(super) fn text(&mut self, key: &'static str, text: &str) {
        if !text.is_empty() {
            self.with(key, |out| write_string(text, out));
        }
    }

    /// Unless it is empty.
    pub(super) fn tree<'u>(&mut self, key: &'static str, tree: &Json<'_>, url: &impl Fn(usize) -> &'u [u8]) {
        match tree {
            Json::Entry(place) => self.with(key, |out| write_reference(url(*place), out)),
            tree if !is_empty(tree) => self.with(key, |out| tree.write(out, url)),
            _ => {}
        }
    }

    /// Unless there is no item.
    #[inline]
    pub(super) fn array<T>(
        &mut self,
        key: &'static str,
        items: impl IntoIterator<Item = T>,
        write: impl Fn(T, &mut Vec<u8>),
    ) {
        let mut items = items.into_iter().peekable();
        if items.peek().is_none() {
            return;
        }
        self.with(key, |out| {
            out.push(b'[');
            items.for_each(|item| {
                write(item, out);
                out.push(b',');
            });
            end(out, b']');
        });
    }
}

/// Ends an object or array whose last part ends with a comma, unless it has none.
pub(super) fn end(out: &mut Vec<u8>, bracket: u8) {
    match out.last_mut() {
        Some(last) if *last == b',' => *last = bracket,
        _ => out.push(bracket),
    }
}

pub(super) fn write_reference(url: &[u8], out: &mut Vec<u8>) {
    [b"{\"reference\":\"urn:uuid:", url, b"\"}"].iter().for_each(|part| out.extend_from_slice(part));
}

pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    // Most text has nothing to escape.
    if !any_byte(text.as_bytes(), |word| is_below(word, b' ') | is(word, b'"') | is(word, b'\\')) {
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    let special = |b: &u8| matches!(*b, b'"' | b'\\' | 0..=0x1f);
    let mut rest = text;
    while let Some(at) = rest.as_bytes().iter().position(special) {
        let (plain, from) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        match from.as_bytes()[0] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            // No FHIR string may hold it, and an HL7 v2 message may.
            0 => out.extend_from_slice(b"\\ufffd"),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
        rest = &from[1..];
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

/// Builds an object, leaving out what is empty: FHIR allows no empty value (R4 §2.6.2).
pub(super) fn object<'a, const N: usize>(members: [(&'static str, Json<'a>); N]) -> Json<'a> {
    Json::Object(members_of(members))
}

/// As [`object`].
pub(super) fn members_of<'a, const N: usize>(members: [(&'static str, Json<'a>); N]) -> Object<'a> {
    let mut object = Object { members: Vec::with_capacity(N), span: 0..0 };
    members.into_iter().for_each(|(key, value)| object.add(key, value));
    object
}

pub(super) fn array<'a>(items: impl IntoIterator<Item = Json<'a>>) -> Json<'a> {
    let items = items.into_iter();
    let mut array = Vec::with_capacity(items.size_hint().0);
    array.extend(items.filter(|v| !is_empty(v)));
    Json::Array(array)
}

pub(super) fn text<'a>(text: impl Into<Cow<'a, str>>) -> Json<'a> {
    Json::String(trim(text.into()))
}

pub(super) fn number(digits: impl ToString) -> Json<'static> {
    Json::Number(Cow::Owned(digits.to_string()))
}

pub(super) fn is_empty(value: &Json<'_>) -> bool {
    match value {
        Json::Null => true,
        Json::String(s) => s.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(object) => object.members.is_empty(),
        Json::Bool(_) | Json::Number(_) | Json::Entry(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn digits_and_order_survive() {
        let text = r#"{"b":1.00,"a":-0.0e+5,"c":["\u00e4\"\\",true,null,{}]}"#;
        let bytes = parse(text).unwrap().to_bytes();
        assert_eq!(String::from_utf8(bytes).unwrap(), r#"{"b":1.00,"a":-0.0e+5,"c":["ä\"\\",true,null,{}]}"#);
    }

    #[test]
    fn faults_are_told_apart() {
        assert_eq!(parse(r#"{"a":1,"a":2}"#).unwrap_err(), (Fault::DuplicateKey, 0));
        assert_eq!(parse(&"[".repeat(100_000)).unwrap_err().0, Fault::Depth);
        assert_eq!(parse("{\"a\":1} x").unwrap_err(), (Fault::Syntax, 8));
        let many = format!("[{}0]", "0,".repeat(VALUES_MAX));
        assert_eq!(parse(&many).unwrap_err().0, Fault::TooManyValues);
        for bad in [
            "",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "NaN",
            "tru",
            "\"",
            "\"\\",
            "\"\n\"",
            "[1,]",
            "{\"a\"}",
            "\"\\ud800\"",
        ] {
            assert_eq!(parse(bad).unwrap_err().0, Fault::Syntax, "{bad}");
        }
    }

    #[test]
    fn what_no_fhir_string_may_hold_is_replaced() {
        assert_eq!(Json::String("a\0b\u{1}".into()).to_bytes(), br#""a\ufffdb\u0001""#);
    }

    fn any_json() -> impl Strategy<Value = Json<'static>> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            any::<i64>().prop_map(number),
            "\\PC{0,8}|[\"\\\\\n\u{1}]{0,3}".prop_map(|s: String| Json::String(s.into())),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Json::Array),
                prop::collection::btree_map("[a-z]{1,4}", inner, 0..24).prop_map(|members| {
                    let members = members.into_iter().map(|(k, v)| (k.into(), v)).collect();
                    Json::Object(Object { members, span: 0..0 })
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(json in any_json()) {
            let text = String::from_utf8(json.to_bytes()).unwrap();
            prop_assert_eq!(parse(&text).unwrap(), json);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }

        /// serde_json as the oracle of what is JSON at all (it lets duplicate keys pass).
        #[test]
        fn agrees_with_serde_json(text in "[\\[\\]{}:, \"a\\\\u0-9eE.+tfn-]{0,12}") {
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            let ours = parse(&text);
            prop_assert!(ours.is_ok() == theirs || matches!(ours, Err((Fault::DuplicateKey, _))), "{text}");
        }
    }
}
