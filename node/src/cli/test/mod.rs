//! `medulla test`: captured messages against what a feed must make of them.

mod fact;
mod tree;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clinical::hl7::{Limits, Message, messages, to_events};
use clinical::{Feed, Time, fhir};
use serde::Serialize;
use serde_json::{Value, json};

use super::hl7::{files, reader};
use super::{Verdict, out};
use fact::Fact;

/// Test mappings and code tables: captured messages against what is expected of them
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  medulla test messages/ --codes lab.csv --authority HOSP --zone Europe/Zurich\n\n\
    Beside each file of messages (NAME.hl7) stand its expectations, one of them or both:\n\
    \x20 NAME.facts   one a line; `message 2` says that what follows is of the second message:\n\
    \x20                Patient.birthDate = 1951-04-23\n\
    \x20                Observation[code.coding.code=8867-4].valueQuantity.value = 72\n\
    \x20                Event[kind.observed.code.code=8867-4].kind.observed.value.quantity.unit = /min\n\
    \x20                Observation # 12        so many of them\n\
    \x20                ! issue = unit-mismatch  (not so)\n\
    \x20 NAME.fhir    the Bundles as `medulla hl7 to-fhir` prints them; --accept writes them\n\
    It exits with 1 where something differs, or where there is nothing to hold a message against."
)]
pub struct Args {
    /// Files of messages, or folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Write NAME.fhir from what is made of the messages now; look through the change before keeping it
    #[arg(long)]
    accept: bool,
    /// One JSON object a file: {"file","messages","expected","differences":[{"message","line","expected","found"}]}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reader: reader::Reader,
}

/// What became of one file.
#[derive(Serialize)]
struct Outcome {
    file: String,
    messages: usize,
    /// Facts, and Bundles, that were held against it.
    expected: usize,
    differences: Vec<Difference>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Difference {
    /// Counts from 1.
    message: usize,
    /// Of the facts; of a Bundle there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    expected: String,
    /// What stands there instead; empty: nothing.
    found: Vec<String>,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let feed = args.reader.feed()?;
    let mut out = out::stdout();
    let (mut tested, mut wrong) = (0, 0);
    for file in files::expand(&args.paths)? {
        if file.extension().is_none_or(|extension| extension != "hl7") {
            continue;
        }
        let outcome = test(&file, &feed, args.accept)?;
        tested += 1;
        wrong += usize::from(!outcome.differences.is_empty());
        match args.json {
            true => out::json_line(&mut out, &outcome)?,
            false => print(&mut out, &outcome)?,
        }
    }
    out.flush()?;
    anyhow::ensure!(
        tested > 0,
        "no file NAME.hl7 is named or lies in a folder that is named: nothing was tested"
    );
    eprintln!("{tested} files tested, {wrong} differ");
    Ok(if wrong == 0 { Verdict::Fine } else { Verdict::Wrong })
}

fn test(file: &Path, feed: &Feed, accept: bool) -> anyhow::Result<Outcome> {
    let made = make(file, feed)?;
    let (facts, bundles) = (file.with_extension("facts"), file.with_extension("fhir"));
    if accept {
        let lines: Vec<String> = made.iter().map(|made| format!("{}\n", made.bundle)).collect();
        std::fs::write(&bundles, lines.concat())
            .with_context(|| format!("cannot write {}", bundles.display()))?;
    }
    let mut outcome = Outcome {
        file: file.display().to_string(),
        messages: made.len(),
        expected: 0,
        differences: Vec::new(),
    };
    if let Some(text) = optional(&facts)? {
        let facts = Fact::read_all(&text).with_context(|| facts.display().to_string())?;
        outcome.expected += facts.len();
        outcome.differences.extend(facts.iter().filter_map(|fact| {
            let found =
                made.get(fact.message - 1).map_or(Err(Vec::new()), |made| fact.holds(&made.told)).err()?;
            Some(Difference {
                message: fact.message,
                line: Some(fact.line),
                expected: fact.text.clone(),
                found,
            })
        }));
    }
    if let Some(text) = optional(&bundles)? {
        let expected: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        let expected = expected.with_context(|| format!("{}: not one Bundle a line", bundles.display()))?;
        outcome.expected += expected.len();
        for at in 0..expected.len().max(made.len()) {
            let nothing = Value::Null;
            let ours = made.get(at).map_or(&nothing, |made| &made.bundle);
            let differ = tree::differences(expected.get(at).unwrap_or(&nothing), ours);
            outcome.differences.extend(differ.into_iter().map(|(expected, found)| Difference {
                message: at + 1,
                line: None,
                expected,
                found,
            }));
        }
    }
    if outcome.expected == 0 {
        let expected = "expectations in NAME.facts or NAME.fhir; --accept writes the latter".to_owned();
        outcome.differences.push(Difference { message: 1, line: None, expected, found: Vec::new() });
    }
    Ok(outcome)
}

/// What one message becomes.
struct Made {
    bundle: Value,
    /// Resources, events and issues: what facts speak of.
    told: Vec<Value>,
}

fn make(file: &Path, feed: &Feed) -> anyhow::Result<Vec<Made>> {
    // A message without a time takes that of receipt, which must not change from test to test.
    let received_at = Time(0);
    let each = |bytes| match Message::parse(bytes, &Limits::default()) {
        Ok(message) => {
            let bundle: Value = serde_json::from_slice(&fhir::from_hl7(&message, feed, received_at))?;
            let (events, issues) = to_events(&message, feed, received_at);
            let resources = bundle["entry"].as_array().into_iter().flatten();
            let mut told: Vec<Value> = resources.map(|entry| entry["resource"].clone()).collect();
            for event in &events {
                let mut event = serde_json::to_value(event)?;
                event["resourceType"] = json!("Event");
                told.push(event);
            }
            told.extend(issues.iter().map(|issue| json!({"resourceType": "issue", "issue": issue.code})));
            Ok(Made { bundle, told })
        }
        Err(error) => {
            let told = vec![json!({"resourceType": "issue", "issue": error.code()})];
            Ok(Made { bundle: Value::Null, told })
        }
    };
    messages(files::read(file)?).map(|piece| each(piece.bytes)).collect()
}

fn optional(file: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

fn print(out: &mut impl Write, outcome: &Outcome) -> anyhow::Result<()> {
    let Outcome { file, messages, expected, differences } = outcome;
    if differences.is_empty() {
        writeln!(out, "ok      {file}: {messages} messages, {expected} expectations")?;
    }
    for Difference { message, line, expected, found } in differences {
        let line = line.map(|line| format!(", line {line} of its facts")).unwrap_or_default();
        let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
        writeln!(out, "differs {file}: message {message}{line}: expected {expected}; found {found}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clinical::CodeTable;

    use super::*;

    const ORU: &str = "MSH|^~\\&|LAB|HOSP|M|S|20260702030405||ORU^R01|2|P|2.5\rPID|1||42^^^HOSP^MR||Muster^Anna\r\
        OBR|1|P1|F1|BMP^Panel^L|||20260702030000\rOBX|1|NM|KREA^Creatinine^L||88.4|umol/L|||||F\r";

    fn folder(codes: &str) -> (tempfile::TempDir, Feed) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.hl7"), format!("{ORU}{ORU}")).unwrap();
        let feed = Feed { codes: CodeTable::parse(codes).unwrap(), ..Feed::default() };
        (folder, feed)
    }

    const CODES: &str = "local_code,local_system,loinc,ucum,local_unit\nKREA,L,2160-0,mg/dL,umol/L\n";

    #[test]
    fn facts_hold_or_say_what_is_there() {
        let (folder, feed) = folder(CODES);
        let file = folder.path().join("a.hl7");
        std::fs::write(
            folder.path().join("a.facts"),
            "# creatinine\nObservation[code.coding.code=2160-0].valueQuantity.value = 88.40\n\
             Event[kind.observed.code.code=2160-0].kind.observed.value.quantity.unit = mg/dL\n\
             Observation # 1\n! issue = unit-mismatch\nmessage 2\nPatient.name.family = Master\n",
        )
        .unwrap();
        let outcome = test(&file, &feed, false).unwrap();
        assert_eq!((outcome.messages, outcome.expected), (2, 5));
        let expected = "Patient.name.family = Master".to_owned();
        let differs = Difference { message: 2, line: Some(7), expected, found: vec!["Muster".into()] };
        assert_eq!(outcome.differences, [differs]);
        // A code table that loses the code is found out.
        let told = test(&file, &Feed::default(), false).unwrap().differences;
        assert_eq!(told.iter().map(|d| d.line).collect::<Vec<_>>(), [Some(2), Some(3), Some(7)]);
    }

    #[test]
    fn bundles_are_accepted_and_then_held() {
        let (folder, feed) = folder(CODES);
        let file = folder.path().join("a.hl7");
        assert_eq!(test(&file, &feed, false).unwrap().differences.len(), 1, "nothing to hold it against");
        assert_eq!(test(&file, &feed, true).unwrap().differences, []);
        let told = test(&file, &Feed::default(), false).unwrap().differences;
        let first = "entry[4].resource.code.coding[0].code = 2160-0";
        assert!(
            told.iter().any(|d| d.message == 1 && d.expected.ends_with("code = 2160-0")),
            "{first}: {told:?}"
        );
        std::fs::write(folder.path().join("a.fhir"), "{}\n").unwrap();
        let told = test(&file, &feed, false).unwrap().differences;
        assert!(told.iter().any(|d| d.message == 2), "a message that nobody expected");
    }
}
