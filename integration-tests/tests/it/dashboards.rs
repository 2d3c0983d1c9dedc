//! The dashboard and the rules against a real Prometheus that scrapes three real sites under load.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{
    Consortium, Line, Process, SiteOptions, eventually, free_port, medulla, program, skip, text,
    workspace_root,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::shadow::challenger;

/// What Grafana would put in for a scrape each second.
const RATE_INTERVAL: &str = "5s";
const LOAD: Duration = Duration::from_secs(120);
/// Queries whose value may stand still while all goes well. None: the leader is killed while we look.
const CONSTANT: [&str; 0] = [];
/// Not there before 200 stays have begun; `drift.rs` looks at it.
const AFTER_LONGER: &str = "medulla_model_drift_psi";

/// Every query of the dashboard, under the title of its panel.
fn queries() -> Vec<(String, String)> {
    let text =
        std::fs::read_to_string(workspace_root().join("deploy/grafana/medulla.json")).expect("dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("an expression");
            let expression = expression.replace("$__rate_interval", RATE_INTERVAL).replace("$site", ".*");
            found.push((panel["title"].as_str().expect("a title").to_owned(), expression));
        }
    }
    found
}

/// Names of metrics in a text, without what a histogram adds to them.
fn metric_names(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_lowercase() || c == '_');
    let names = text.split(word).filter(|name| name.starts_with("medulla_") && !name.ends_with("_token"));
    let family = |name: &str| {
        let suffixes = ["_bucket", "_count", "_sum"];
        suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name).to_owned()
    };
    names.map(family).collect()
}

#[test]
fn names_are_found_in_expressions() {
    let names =
        metric_names("sum by (le) (rate(medulla_commit_seconds_bucket{site=~\"a\"}[5s])) / medulla_tail_lag");
    assert_eq!(names, ["medulla_commit_seconds", "medulla_tail_lag"].map(str::to_owned).into());
    assert!(queries().len() > 30, "{} queries", queries().len());
}

#[tokio::test]
async fn every_query_returns_values_that_change() -> anyhow::Result<()> {
    if Command::new("prometheus").arg("--version").output().is_err() {
        skip("every_query_returns_values_that_change", "prometheus is not installed");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let webhook = webhook().await?;
    let inbox = folder.path().join("inbox");
    std::fs::create_dir(&inbox)?;
    let challenger = challenger(folder.path())?;
    let options = |_: &str| options(&inbox, webhook, &challenger);
    let mut consortium = Consortium::start(folder.path(), options).await?;
    let prometheus = Prometheus::start(folder.path(), &consortium)?;
    let _load: Vec<Process> = consortium
        .sites
        .iter()
        .enumerate()
        .map(|(position, site)| load(folder.path(), &site.mllp_target(), position))
        .collect::<anyhow::Result<_>>()?;

    let mut seen = Seen::default();
    let began = std::time::Instant::now();
    let mut step = 0;
    while began.elapsed() < LOAD && !(step > 3 && seen.complete()) {
        prometheus.look(&mut seen).await?;
        step = disturb(&mut consortium, &inbox, step, began.elapsed()).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    ensure!(seen.answered > 0, "Prometheus answered nothing");
    let still: Vec<String> = seen.standing_still();
    ensure!(still.is_empty(), "no values, or values that never changed:\n{}", still.join("\n"));
    every_metric_exists_and_is_shown(&consortium).await
}

/// Answers alerts, drops files, sends noise, reloads, kills the leader and brings it back: what an afternoon brings.
async fn disturb(
    consortium: &mut Consortium,
    inbox: &Path,
    step: u32,
    elapsed: Duration,
) -> anyhow::Result<u32> {
    let due = [10, 15, 25, 40].get(step as usize).is_some_and(|due| elapsed.as_secs() >= *due);
    match step {
        _ if !due => return Ok(step),
        0 | 1 => {
            for site in &consortium.sites {
                answer_alerts(&site.url(""), 4).await?;
                Line::open(site.mllp).await?.send_bytes(b"no frame").await?;
                medulla(&["reload", "--config", text(&site.config())])?;
            }
            for number in 0..400 {
                std::fs::write(inbox.join(format!("{step}-{number}.hl7")), message(step * 400 + number))?;
            }
        }
        2 => {
            let leader = consortium.leader().await?;
            consortium.sites[leader].kill_9()?;
        }
        _ => {
            for site in &mut consortium.sites {
                if !site.process().is_running() {
                    site.start()?;
                }
            }
        }
    }
    Ok(step + 1)
}

async fn answer_alerts(site: &str, count: usize) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    let alerts: Value = client.get(format!("{site}/api/alerts")).send().await?.json().await?;
    let open = alerts.as_array().context("a list")?.iter().filter(|alert| alert["acknowledged"].is_null());
    for alert in open.take(count) {
        let url = format!("{site}/api/alerts/{}/acknowledge", alert["id"].as_str().context("an id")?);
        let answer = client.post(url).json(&serde_json::json!({ "reason": "seen" })).send().await?;
        ensure!(answer.status().is_success(), "{}", answer.text().await?);
    }
    Ok(())
}

/// What each query returned: its distinct results.
#[derive(Default)]
struct Seen {
    answered: u32,
    results: BTreeMap<(String, String), BTreeSet<String>>,
}

impl Seen {
    fn standing_still(&self) -> Vec<String> {
        let wanted = |query: &str| if CONSTANT.contains(&query) { 1 } else { 2 };
        let queries = queries().into_iter().filter(|(_, query)| !query.contains(AFTER_LONGER));
        let still =
            queries.filter(|query| self.results.get(query).map_or(0, BTreeSet::len) < wanted(&query.1));
        still.map(|(panel, query)| format!("{panel}: {query}")).collect()
    }

    fn complete(&self) -> bool {
        self.standing_still().is_empty()
    }
}

struct Prometheus {
    url: String,
    client: reqwest::Client,
    _process: Process,
}

impl Prometheus {
    /// Scrapes the sites by the configuration that we ship, with their ports and each second.
    fn start(folder: &Path, consortium: &Consortium) -> anyhow::Result<Prometheus> {
        let shipped = workspace_root().join("deploy/prometheus");
        let mut config = std::fs::read_to_string(shipped.join("prometheus.yml"))?;
        let ports = consortium.sites.iter().enumerate();
        let ports =
            ports.map(|(at, site)| (format!("127.0.0.1:1808{at}"), format!("127.0.0.1:{}", site.http)));
        for (from, to) in ports.chain([("scrape_interval: 5s".into(), "scrape_interval: 1s".into())]) {
            ensure!(config.contains(&from), "prometheus.yml has no {from}");
            config = config.replace(&from, &to);
        }
        std::fs::write(folder.join("prometheus.yml"), config)?;
        std::fs::copy(shipped.join("rules.yml"), folder.join("rules.yml"))?;
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new("prometheus");
        command.current_dir(folder).arg("--config.file=prometheus.yml");
        command.arg("--storage.tsdb.path=prometheus").arg(format!("--web.listen-address={address}"));
        let process = Process::spawn(&mut command, &folder.join("prometheus.log"))?;
        Ok(Prometheus { url: format!("http://{address}"), client: reqwest::Client::new(), _process: process })
    }

    async fn look(&self, seen: &mut Seen) -> anyhow::Result<()> {
        for query in queries() {
            // Not up yet in the first second.
            let Ok(samples) = self.query(&query.1).await else { return Ok(()) };
            seen.answered += 1;
            if !samples.is_empty() {
                seen.results.entry(query).or_default().insert(samples);
            }
        }
        Ok(())
    }

    /// The samples as text, without their times; empty where none is a number.
    async fn query(&self, expression: &str) -> anyhow::Result<String> {
        let parameters = [("query", expression)];
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/query", self.url), parameters)?;
        let answer: Value = self.client.get(url).send().await?.json().await?;
        ensure!(answer["status"] == "success", "{expression}: {answer}");
        let samples = answer["data"]["result"].as_array().context("a vector")?.iter();
        let samples = samples.filter(|sample| sample["value"][1] != "NaN");
        let mut samples: Vec<String> =
            samples.map(|sample| format!("{}={}", sample["metric"], sample["value"][1])).collect();
        samples.sort();
        Ok(samples.join("\n"))
    }
}

/// What the rules and the dashboard name is what the sites have, and the other way round.
async fn every_metric_exists_and_is_shown(consortium: &Consortium) -> anyhow::Result<()> {
    let deploy = workspace_root().join("deploy");
    let mut named = metric_names(&std::fs::read_to_string(deploy.join("prometheus/rules.yml"))?);
    named.extend(queries().iter().flat_map(|(_, query)| metric_names(query)));
    named.remove(AFTER_LONGER);
    // A vector without a sample is not in /metrics; after this load each has one at some site.
    let all_there =
        eventually("every metric that rules and dashboard name", Duration::from_secs(20), async || {
            let mut exported = BTreeSet::new();
            for site in &consortium.sites {
                let Ok(text) = site.text("/metrics").await else { continue };
                let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
                exported.extend(types.filter_map(|line| Some(line.split(' ').next()?.to_owned())));
            }
            let exported: BTreeSet<String> =
                exported.into_iter().filter(|name| name.starts_with("medulla_")).collect();
            named.is_subset(&exported).then_some(exported)
        });
    let exported = all_there.await.with_context(|| format!("named: {named:?}"))?;
    let unseen: Vec<_> = exported.difference(&named).collect();
    ensure!(unseen.is_empty(), "in /metrics and on no panel: {unseen:?}");
    Ok(())
}

fn options(inbox: &Path, webhook: u16, challenger: &Path) -> SiteOptions {
    let mut options = SiteOptions::with_sepsis_model();
    options.scoring.push_str(&format!("shadow_models = [{challenger:?}]\n"));
    // Nobody asks for one: what is counted of them is there from zero.
    let acks = "kind = \"mllp\"\napplication_acks = \"127.0.0.1:9\"\n";
    options.extra = options.extra.replace("kind = \"mllp\"\n", acks);
    options.extra.push_str(&format!(
        "[[feed]]\nname = \"folder\"\nkind = \"file\"\npath = {inbox:?}\nwatch = true\nauthority = \"SIMHOSP\"\n\
         ack = \"site\"\n[[sink]]\nname = \"ehr\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{webhook}/\"\n"
    ));
    options
}

fn load(folder: &Path, target: &str, position: usize) -> anyhow::Result<Process> {
    let mut command = Command::new(program());
    command.args(["simulate", "--to", target, "--rate", "60", "--patients", "150", "--septic", "0.4"]);
    command.args(["--broken", "0.05", "--duplicates", "0.05"]);
    command.args(["--seed", &position.to_string(), "--first-patient", &(1 + position * 1000).to_string()]);
    Process::spawn(&mut command, &folder.join(format!("load-{position}.log")))
}

/// Every other one brings a value that nobody has, and what is sent later has the control ids of what came before.
fn message(number: u32) -> String {
    let (type_, id) = (if number.is_multiple_of(2) { "ADT^A08" } else { "ORU^R01" }, number % 400);
    format!(
        "MSH|^~\\&|LAB|SIMHOSP|||20260101120000||{type_}|F{id}|P|2.5\r\
         EVN||20260101120000\rPID|||F{number}^^^SIMHOSP||Doe^Jo||19700101|F\rPV1||I|W1^1\r\
         OBX|1|NM|8867-4^Heart rate^LN||720|/min|||||F|||20260101115900\r"
    )
}

/// A receiver of alerts that turns away every fourth request.
async fn webhook() -> anyhow::Result<u16> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        let mut count = 0u32;
        while let Ok((mut stream, _)) = listener.accept().await {
            count += 1;
            let status = if count.is_multiple_of(4) { "503 Service Unavailable" } else { "200 OK" };
            tokio::spawn(async move {
                read_request(&mut stream).await;
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    Ok(port)
}

/// Head and body of one request.
async fn read_request(stream: &mut tokio::net::TcpStream) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text.split("content-length:").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return;
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
}
