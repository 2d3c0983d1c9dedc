//! `medulla judge`: a site's ledger and alerts held against what the simulated hospital says truly happened.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clinical::Time;
use serde::{Deserialize, Serialize};

use super::{Verdict, ledger, out};
use crate::http::AdminClient;

/// Hold a running site's ledger and alerts against the truth that `medulla simulate --truth` wrote
#[derive(clap::Args)]
#[command(after_help = "Example:\n  medulla judge --config site.toml --truth truth.jsonl\n\n\
    Exits with 1 when a message is missing or stands twice. Alerts are reported, not judged.")]
pub struct Args {
    /// The site's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// What `medulla simulate --truth` wrote; may be given more than once
    #[arg(long, value_name = "FILE", required = true)]
    truth: Vec<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Patient { id: String, septic_onset_at: Option<String> },
    Message { control_id: String, expected: String, sha256: String },
}

#[derive(Default)]
struct Truth {
    /// Control id of each message that must be committed once.
    committed: BTreeSet<String>,
    /// SHA-256 of each message that must be refused.
    rejected: BTreeSet<String>,
    duplicates: u64,
    /// When sepsis is manifest, by patient; `None`: never.
    onsets: BTreeMap<String, Option<Time>>,
}

#[derive(Deserialize)]
struct Page {
    as_of: u64,
    entries: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    index: u64,
    kind: String,
    site: String,
    control_id: Option<String>,
    code: Option<String>,
    sha256: Option<String>,
}

#[derive(Deserialize)]
struct Alert {
    patient_id: String,
    model: String,
    tier: String,
    at: i64,
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Judgement {
    site: String,
    expected: usize,
    committed: usize,
    missing: usize,
    twice: usize,
    duplicates_sent: u64,
    rejected_expected: usize,
    rejected: usize,
    /// By stable code.
    reasons: BTreeMap<String, usize>,
    /// By scorer; interruptive alerts.
    alerts: BTreeMap<String, Alerted>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Alerted {
    septic: usize,
    septic_alerted: usize,
    before_onset: usize,
    /// Of those alerted before onset.
    median_lead_h: Option<f64>,
    well: usize,
    well_alerted: usize,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let mut truth = Truth::default();
    for path in &args.truth {
        truth.read(path).with_context(|| path.display().to_string())?;
    }
    let (client, runtime) = ledger::connect_to(&args.config)?;
    let (site, rows, alerts) = runtime.block_on(fetch(&client))?;
    let judgement = judge(&truth, site, &rows, &alerts);
    let mut out = out::stdout();
    if args.json {
        out::json_line(&mut out, &judgement)?;
    } else {
        show(&mut out, &judgement)?;
    }
    out.flush()?;
    let wrong = judgement.missing > 0 || judgement.twice > 0;
    Ok(if wrong { Verdict::Wrong } else { Verdict::Fine })
}

impl Truth {
    fn read(&mut self, path: &Path) -> anyhow::Result<()> {
        for (number, line) in BufReader::new(std::fs::File::open(path)?).lines().enumerate() {
            let line = serde_json::from_str(&line?).with_context(|| format!("line {}", number + 1))?;
            match line {
                Line::Patient { id, septic_onset_at } => {
                    let onset = septic_onset_at.map(|at| at.parse::<jiff::Timestamp>()).transpose()?;
                    self.onsets.insert(id, onset.map(|at| Time(at.as_millisecond())));
                }
                Line::Message { control_id, expected, sha256 } => match expected.as_str() {
                    "committed" => drop(self.committed.insert(control_id)),
                    "rejected" => drop(self.rejected.insert(sha256)),
                    _ => self.duplicates += 1,
                },
            }
        }
        Ok(())
    }
}

/// The site's name, all rows of its listing, its alerts.
async fn fetch(client: &AdminClient) -> anyhow::Result<(String, Vec<Row>, Vec<Alert>)> {
    let status: serde_json::Value = client.get("/api/ledger").await?;
    let site = status["site"].as_str().unwrap_or_default().to_owned();
    let mut rows: Vec<Row> = Vec::new();
    let mut end = None;
    loop {
        let from = rows.last().map_or(0, |row| row.index + 1);
        let page: Page = client.get(&format!("/api/messages?from={from}&limit=1000")).await?;
        // What comes while this reads is not followed: under load there would be no end.
        let end = *end.get_or_insert(page.as_of);
        let done = page.entries.last().is_none_or(|last| last.index + 1 >= end);
        rows.extend(page.entries);
        if done {
            break;
        }
    }
    rows.retain(|row| row.site == site);
    Ok((site, rows, client.get("/api/alerts?limit=2000").await?))
}

fn judge(truth: &Truth, site: String, rows: &[Row], alerts: &[Alert]) -> Judgement {
    let mut judgement = Judgement { site, duplicates_sent: truth.duplicates, ..Judgement::default() };
    let messages: Vec<&Row> = rows.iter().filter(|row| row.kind == "message").collect();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &messages {
        *seen.entry(row.control_id.as_deref().unwrap_or_default()).or_default() += 1;
    }
    judgement.expected = truth.committed.len();
    // FHIR Bundles carry no control id: then numbers are compared.
    if seen.keys().all(|id| id.is_empty()) {
        judgement.committed = messages.len();
        judgement.missing = judgement.expected.saturating_sub(judgement.committed);
        judgement.twice = judgement.committed.saturating_sub(judgement.expected);
    } else {
        let found = |id: &&String| seen.get(id.as_str()).copied().unwrap_or_default();
        judgement.committed = truth.committed.iter().filter(|id| found(id) > 0).count();
        judgement.missing = judgement.expected - judgement.committed;
        judgement.twice = truth.committed.iter().filter(|id| found(id) > 1).count();
    }
    judgement.rejected_expected = truth.rejected.len();
    for row in rows.iter().filter(|row| row.kind == "rejected") {
        if row.sha256.as_ref().is_some_and(|hash| truth.rejected.contains(hash)) {
            judgement.rejected += 1;
            *judgement.reasons.entry(row.code.clone().unwrap_or_default()).or_default() += 1;
        }
    }
    let scorers: BTreeSet<&str> = alerts.iter().map(|alert| alert.model.as_str()).collect();
    judgement.alerts =
        scorers.into_iter().map(|scorer| (scorer.to_owned(), alerted(truth, alerts, scorer))).collect();
    judgement
}

fn alerted(truth: &Truth, alerts: &[Alert], scorer: &str) -> Alerted {
    let mut first: BTreeMap<&str, i64> = BTreeMap::new();
    for alert in alerts.iter().filter(|alert| alert.model == scorer && alert.tier == "interruptive") {
        let at = first.entry(&alert.patient_id).or_insert(alert.at);
        *at = (*at).min(alert.at);
    }
    let mut result = Alerted::default();
    let mut leads_h = Vec::new();
    for (patient, onset) in &truth.onsets {
        let alert = first.get(patient.as_str());
        match onset {
            None => {
                result.well += 1;
                result.well_alerted += usize::from(alert.is_some());
            }
            Some(onset) => {
                result.septic += 1;
                let Some(at) = alert else { continue };
                result.septic_alerted += 1;
                if *at < onset.0 {
                    result.before_onset += 1;
                    leads_h.push((onset.0 - at) as f64 / Time::HOUR_MS as f64);
                }
            }
        }
    }
    leads_h.sort_by(f64::total_cmp);
    result.median_lead_h = leads_h.get(leads_h.len() / 2).copied();
    result
}

fn show(out: &mut impl Write, j: &Judgement) -> anyhow::Result<()> {
    writeln!(out, "site {}", j.site)?;
    writeln!(
        out,
        "  to be committed {:>6}   committed {:>6}   missing {}   twice {}",
        j.expected, j.committed, j.missing, j.twice
    )?;
    writeln!(out, "  sent twice      {:>6}   (each acknowledged, none kept twice)", j.duplicates_sent)?;
    writeln!(out, "  broken          {:>6}   refused   {:>6}", j.rejected_expected, j.rejected)?;
    for (code, count) in &j.reasons {
        writeln!(out, "    {count:>5} {code}")?;
    }
    for (scorer, a) in &j.alerts {
        let lead = a.median_lead_h.map(|h| format!(", median {h:.1} h ahead")).unwrap_or_default();
        writeln!(
            out,
            "  {scorer}: {} of {} septic patients alerted, {} before onset{lead}; {} of {} others alerted",
            a.septic_alerted, a.septic, a.before_onset, a.well_alerted, a.well
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: &str, control_id: &str) -> Row {
        let control_id = Some(control_id.to_owned());
        Row { index: 0, kind: kind.into(), site: "a".into(), control_id, code: None, sha256: None }
    }

    #[test]
    fn what_is_missing_or_stands_twice_is_counted() {
        let mut truth = Truth::default();
        truth.committed.extend(["1".to_owned(), "2".to_owned(), "3".to_owned()]);
        let rows = [row("message", "1"), row("message", "2"), row("message", "2"), row("alert", "3")];
        let judgement = judge(&truth, "a".into(), &rows, &[]);
        assert_eq!((judgement.committed, judgement.missing, judgement.twice), (2, 1, 1));
    }

    #[test]
    fn alerts_are_held_against_onset() {
        let mut truth = Truth::default();
        let hour = |h: i64| Time(h * Time::HOUR_MS);
        truth.onsets.extend([
            ("early".to_owned(), Some(hour(10))),
            ("late".to_owned(), Some(hour(10))),
            ("never".to_owned(), Some(hour(10))),
            ("well".to_owned(), None),
        ]);
        let alert = |patient: &str, h: i64| Alert {
            patient_id: patient.into(),
            model: "m".into(),
            tier: "interruptive".into(),
            at: hour(h).0,
        };
        let alerts = [alert("early", 9), alert("early", 6), alert("late", 12), alert("well", 1)];
        let expected = Alerted {
            septic: 3,
            septic_alerted: 2,
            before_onset: 1,
            median_lead_h: Some(4.0),
            well: 1,
            well_alerted: 1,
        };
        assert_eq!(alerted(&truth, &alerts, "m"), expected);
    }
}
