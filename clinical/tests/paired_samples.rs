//! Messages that others have mapped to FHIR beside ours: ReportStream's and Microsoft's samples. Facts must agree; each
//! kind of difference is a row of `paired_samples.txt` with its reason. Skipped, with a message, where the corpora are
//! absent.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clinical::hl7::{Limits, Message, messages};
use clinical::{Feed, Time, fhir};
use common::{files, shared};
use serde_json::Value;

const REASONS: &str = include_str!("paired_samples.txt");
const NOW: Time = Time(1_767_225_600_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Identifier,
    Name,
    Code,
    Value,
    Unit,
    Time,
}

/// Something that a Bundle says, and where: `Patient.identifier.value`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fact {
    kind: Kind,
    /// In one form for numbers and times.
    said: String,
    /// As it may stand in a message: of a time the day's digits.
    written: String,
    path: String,
}

/// What differs: whose it is, the corpus, and the path of the side that has it.
type Difference = (&'static str, &'static str, String);

#[test]
fn facts_agree_or_differ_as_explained() {
    let Some(corpora) = shared("corpora") else { return };
    let mut seen: BTreeMap<Difference, BTreeSet<String>> = BTreeMap::new();
    let (mut pairs, mut agreed, mut elsewhere, mut kept, mut unsaid) = (0, 0, 0, 0, 0);
    for (corpus, hl7, json) in pairs_in(&corpora) {
        let Some((message, bundle)) = ours(&hl7) else { continue };
        let (ours, as_sent) = (facts(&bundle), kept_fields(&bundle));
        let mut words = BTreeSet::new();
        resources(&bundle).filter(|r| r["resourceType"] != "Basic").for_each(|r| strings(r, &mut words));
        let text = std::fs::read_to_string(&json).unwrap();
        let Ok(theirs) = serde_json::from_str::<Value>(text.trim_start_matches('\u{feff}')) else { continue };
        let theirs = facts(&theirs);
        pairs += 1;
        let said = |facts: &[Fact]| facts.iter().map(|f| (f.kind, f.said.clone())).collect::<BTreeSet<_>>();
        let (our_words, their_words) = (said(&ours), said(&theirs));
        agreed += our_words.intersection(&their_words).count();
        let mut differ = |side, of: &[Fact], other: &BTreeSet<(Kind, String)>| {
            for fact in of.iter().filter(|f| !other.contains(&(f.kind, f.said.clone()))) {
                let in_message = message.contains(&fact.written);
                match side {
                    // What we alone have, and the message says word for word, is more than they have mapped.
                    "ours" if in_message => continue,
                    // A code may be made of another one; all else that the message does not say is not of it.
                    "theirs" if !in_message && fact.kind != Kind::Code => unsaid += 1,
                    // Another element of ours says the same words.
                    "theirs" if fact.kind != Kind::Code && words.contains(fact.said.as_str()) => {
                        elsewhere += 1
                    }
                    // It has no place in R4's own elements: it stands in the Bundle as it was sent.
                    "theirs" if as_sent.iter().any(|value| value.contains(&fact.written)) => kept += 1,
                    _ => {
                        let file = hl7.file_name().unwrap().to_string_lossy();
                        let example = format!(
                            "{} in {file}{}",
                            fact.said,
                            if in_message { "" } else { ", not in the message" }
                        );
                        seen.entry((side, corpus, fact.path.clone())).or_default().insert(example);
                    }
                }
            }
        };
        differ("theirs", &theirs, &our_words);
        differ("ours", &ours, &their_words);
    }
    let reasons: Vec<Vec<&str>> = REASONS
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.splitn(4, ' ').collect())
        .collect();
    let explains = |row: &[&str], (side, corpus, path): &Difference| {
        matches(row[0], side) && matches(row[1], corpus) && matches(row[2], path)
    };
    let unexplained: Vec<_> =
        seen.iter().filter(|(d, _)| !reasons.iter().any(|row| explains(row, d))).collect();
    println!(
        "{pairs} pairs, {agreed} facts agree; of theirs {elsewhere} stand in another element of ours, {kept} are kept by us as sent, {unsaid} are not in the message; \
         {} other kinds of difference",
        seen.len()
    );
    for ((side, corpus, path), examples) in &unexplained {
        let first: Vec<_> = examples.iter().take(3).collect();
        println!("unexplained: {side} {corpus} {path}: {} times, {first:?}", examples.len());
    }
    assert!(unexplained.is_empty(), "{} differences have no row in paired_samples.txt", unexplained.len());
    let needless: Vec<_> = reasons.iter().filter(|row| !seen.keys().any(|d| explains(row, d))).collect();
    assert!(needless.is_empty(), "rows that explain nothing: {needless:#?}");
    assert!(pairs > 250 && agreed > 5_000);
}

/// Corpus, message, and the Bundle that others made of it (or it of the Bundle).
fn pairs_in(corpora: &Path) -> Vec<(&'static str, PathBuf, PathBuf)> {
    let mut found = Vec::new();
    let is_hl7 = |path: &PathBuf| path.extension().is_some_and(|e| e == "hl7");
    for hl7 in files(&corpora.join("reportstream")).into_iter().filter(is_hl7) {
        let json = hl7.with_extension("fhir");
        if json.exists() {
            found.push(("reportstream", hl7, json));
        }
    }
    let expected = files(&corpora.join("ms-fhir-converter/src"));
    for hl7 in files(&corpora.join("ms-fhir-converter/data/SampleData/Hl7v2")).into_iter().filter(is_hl7) {
        let name = format!("{}-expected.json", hl7.file_stem().unwrap().to_string_lossy());
        let of_hl7 =
            |path: &&PathBuf| path.ends_with(&name) && path.to_string_lossy().contains("/Expected/Hl7v2/");
        if let Some(json) = expected.iter().find(of_hl7) {
            found.push(("microsoft", hl7, json.clone()));
        }
    }
    found.sort();
    found
}

/// `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(begin) else { return false };
    (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(rest, &text[at..]))
}

/// The message's text, and our Bundle of it. `None` for a file of several.
fn ours(path: &Path) -> Option<(String, Value)> {
    let mut pieces = messages(Bytes::from(std::fs::read(path).unwrap()));
    let (piece, None) = (pieces.next()?, pieces.next()) else { return None };
    let message = Message::parse(piece.bytes.clone(), &Limits::default()).ok()?;
    let bundle: Value = serde_json::from_slice(&fhir::from_hl7(&message, &Feed::default(), NOW)).unwrap();
    Some((String::from_utf8_lossy(&piece.bytes).into_owned(), bundle))
}

fn resources(bundle: &Value) -> impl Iterator<Item = &Value> {
    bundle["entry"].as_array().into_iter().flatten().map(|entry| &entry["resource"])
}

/// What our Bundle keeps as it was sent.
fn kept_fields(bundle: &Value) -> Vec<String> {
    let basic = resources(bundle).filter(|resource| resource["resourceType"] == "Basic");
    let fields = basic.flat_map(|basic| basic["extension"].as_array()).flatten();
    let values = fields.filter_map(|field| field["extension"][1]["valueString"].as_str());
    values.map(str::to_owned).collect()
}

fn facts(bundle: &Value) -> Vec<Fact> {
    let mut found = BTreeSet::new();
    for resource in resources(bundle).filter(|resource| resource["resourceType"] != "Basic") {
        let type_ = resource["resourceType"].as_str().unwrap_or_default();
        walk(resource, type_, &mut found);
    }
    found.into_iter().collect()
}

fn strings<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
    match value {
        Value::Object(members) => members.values().for_each(|value| strings(value, found)),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::String(text) => found.extend([text.as_str()]),
        _ => {}
    }
}

fn walk(value: &Value, path: &str, found: &mut BTreeSet<Fact>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                // Names of our own and of theirs for resources, texts for people, and what they say of themselves.
                let own = matches!(
                    key.as_str(),
                    "resourceType" | "id" | "reference" | "url" | "system" | "div" | "meta"
                );
                if !own {
                    walk(value, &format!("{path}.{key}"), found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, path, found)),
        Value::String(text) => found.extend(kind(path, text).map(|(kind, said)| {
            let digits = || text.chars().filter(char::is_ascii_digit).take(8).collect();
            let written = if kind == Kind::Time { digits() } else { said.clone() };
            Fact { kind, said, written, path: path.to_owned() }
        })),
        Value::Number(number) => {
            let said = number.as_f64().map(|n| n.to_string()).unwrap_or_default();
            found.insert(Fact {
                kind: Kind::Value,
                written: number.to_string(),
                said,
                path: path.to_owned(),
            });
        }
        Value::Bool(_) | Value::Null => {}
    }
}

/// What sort of fact stands at the path's end; numbers and times in one form.
fn kind(path: &str, said: &str) -> Option<(Kind, String)> {
    let said = said.trim();
    let last = path.rsplit('.').next().unwrap_or_default();
    let is_date =
        said.len() >= 10 && said.as_bytes()[..4].iter().all(u8::is_ascii_digit) && said.as_bytes()[4] == b'-';
    if is_date && let Some(time) = time(said) {
        return Some((Kind::Time, time));
    }
    let kind = match last {
        "value" if path.contains("dentifier") => Kind::Identifier,
        "family" | "given" | "prefix" | "suffix" | "name" => Kind::Name,
        "code" if path.contains("uantity") => Kind::Unit,
        "unit" => Kind::Unit,
        "code" => Kind::Code,
        "valueString" | "valueCode" | "value" | "line" | "city" | "state" | "postalCode" | "country"
        | "district" => Kind::Value,
        _ => return None,
    };
    (!said.is_empty()).then(|| (kind, said.to_owned()))
}

/// A day as it is, a time in UTC to the second.
fn time(said: &str) -> Option<String> {
    if said.len() == 10 {
        return Some(said.to_owned());
    }
    let at: jiff::Timestamp = said.parse().ok()?;
    Some(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
