//! What is held waits for a person: refused messages of a feed, and a sink whose receiver refuses. What is retried by
//! itself is so when it can help, and as often as was said.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Heard, Line, Receiver, Reply, Site, SiteOptions, eventually, medulla, run, text};
use serde_json::Value;

use crate::board_browser::{Screen, with_browser};
use crate::board_patients::send_sick;

const WAIT: Duration = Duration::from_secs(60);

fn msh(type_: &str, control_id: &str) -> String {
    format!("MSH|^~\\&|ADT|SIM|||20260301080000||{type_}|{control_id}|P|2.5\rEVN||20260301080000\r")
}

/// An admission; without an id nobody can tell whose it is.
fn admission(control_id: &str, patient: &str) -> String {
    let head = msh("ADT^A01", control_id);
    format!("{head}PID|1||{patient}^^^SIMHOSP^MR||Doe^Jane||19700101|F\rPV1|1|I|ICU^1^1\r")
}

/// Merges 8 into 7 and a 7 that names no authority into 8: a circle, where the feed's own authority is SIMHOSP.
fn merge(control_id: &str) -> String {
    let head = msh("ADT^A40^ADT_A39", control_id);
    format!("{head}PID|1||7^^^SIMHOSP\rMRG|8^^^SIMHOSP\rPID|2||8^^^SIMHOSP\rMRG|7\r")
}

fn options(feed: &str, sinks: &str) -> SiteOptions {
    let extra = format!(
        "[[feed]]\nname = \"adt\"\nkind = \"mllp\"\nlisten = \"127.0.0.1:{{mllp}}\"\nicu_wards = [\"ICU*\"]\n\
         {feed}\n{sinks}"
    );
    SiteOptions { extra, ..SiteOptions::default() }
}

async fn refused(site: &Site, messages: &[String]) -> anyhow::Result<()> {
    let mut line = Line::open(site.mllp).await?;
    for message in messages {
        line.send(message).await?;
    }
    let answers = line.answers(Duration::from_secs(20), messages.len()).await;
    ensure!(answers.len() == messages.len(), "{answers:?}");
    ensure!(answers.iter().all(|answer| answer.starts_with("AE")), "held or not, it is refused: {answers:?}");
    Ok(())
}

struct Desk {
    config: String,
}

impl Desk {
    fn of(site: &Site) -> anyhow::Result<Desk> {
        Ok(Desk { config: site.config().to_str().context("a plain name")?.to_owned() })
    }

    /// Whether it ended well, the objects printed, and all that was printed.
    fn ask(&self, arguments: &[&str]) -> anyhow::Result<(bool, Vec<Value>, String)> {
        let output = run(&[arguments, &["--config", &self.config, "--json"]].concat())?;
        let printed = String::from_utf8(output.stdout)?;
        let rows = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok((output.status.success(), rows, format!("{printed}{}", String::from_utf8_lossy(&output.stderr))))
    }

    /// Index and state of each.
    fn listed(&self, filter: &[&str]) -> anyhow::Result<Vec<(u64, String)>> {
        let (fine, rows, said) = self.ask(&[&["errors", "list"], filter].concat())?;
        ensure!(fine, "{said}");
        let row = |row: &Value| Some((row["index"].as_u64()?, row["state"].as_str()?.to_owned()));
        Ok(rows.iter().filter_map(row).collect())
    }

    fn states(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.listed(&["--all"])?.into_iter().map(|(_, state)| state).collect())
    }
}

#[tokio::test]
async fn a_held_message_waits_for_a_person() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let feed = "authority = \"SIMHOSP\"\non_error = \"hold\"";
    let mut site = Site::alone(folder.path(), &options(feed, "")).await?;
    let desk = Desk::of(&site)?;
    refused(&site, &["H1", "H2", "H3"].map(|id| admission(id, ""))).await?;
    let held = desk.listed(&["--held"])?;
    ensure!(held.len() == 3 && held.iter().all(|(_, state)| state == "held"), "{held:?}");
    ensure!(desk.listed(&[])? == held, "what waits is listed");
    let [first, second, third] = [0, 1, 2].map(|n: usize| held[n].0.to_string());

    // No query takes it, unless it asks for what is held.
    let (_, told, said) = desk.ask(&["errors", "retry", "--feed", "adt", "--yes"])?;
    ensure!(told.is_empty() && said.contains("0 of 0 done"), "{said}");
    let (fine, rows, said) = desk.ask(&["replay", "--kind", "rejected", "--dry-run"])?;
    ensure!(fine && rows.len() == 1 && rows[0]["messages"] == 0, "its totals alone: {said}");
    let (fine, told, said) = desk.ask(&["errors", "retry", "--held", "--yes"])?;
    ensure!(
        !fine && told.len() == 3 && desk.states()? == ["held"; 3],
        "refused again, it is still held: {said}"
    );

    // Let go and mended it is taken; let go as it is, it is refused again and stands in the error queue.
    let file = folder.path().join("edited.hl7");
    std::fs::write(&file, admission("H1", "4711"))?;
    let file = file.to_str().context("a plain name")?;
    let (fine, _, said) = desk.ask(&["errors", "release", &first, "--edit", file, "--reason", "id"])?;
    ensure!(fine && desk.states()? == ["repaired", "held", "held"], "{said}");
    let (fine, told, said) = desk.ask(&["errors", "release", &second, "--dry-run"])?;
    ensure!(!fine && told[0]["outcome"]["accepted"] == false, "{said}");
    ensure!(desk.states()? == ["repaired", "held", "held"], "nothing is written");
    let (fine, _, said) = desk.ask(&["errors", "release", &second, "--reason", "look again"])?;
    ensure!(!fine && desk.states()? == ["repaired", "open", "held"], "{said}");
    let (fine, _, said) = desk.ask(&["errors", "release", &second])?;
    ensure!(!fine && said.contains("not-held"), "{said}");
    let (fine, told, said) = desk.ask(&["errors", "retry", "--feed", "adt", "--yes"])?;
    ensure!(!fine && told.len() == 1 && told[0]["original"] == held[1].0, "{said}");
    let (fine, _, said) = desk.ask(&["errors", "discard", &third, "--reason", "test message"])?;
    ensure!(fine && desk.states()? == ["repaired", "open", "discarded"], "{said}");

    // Who did what is told, and a start forgets nothing.
    let shown: Value =
        serde_json::from_str(&medulla(&["errors", "show", &second, "--config", &desk.config])?)?;
    let acts: Vec<_> = shown["acts"].as_array().into_iter().flatten().map(|act| &act[1]).collect();
    let released: Vec<bool> = acts.iter().map(|act| act["released"] == true).collect();
    ensure!(released == [false, true, true] && acts[1]["reason"] == "look again", "{shown}");
    site.stop()?;
    site.start()?;
    site.ready().await?;
    ensure!(desk.states()? == ["repaired", "open", "discarded"]);
    Ok(())
}

#[tokio::test]
async fn the_page_of_errors_releases_what_was_edited() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let feed = "authority = \"SIMHOSP\"\non_error = \"hold\"";
    let site = Site::alone(folder.path(), &options(feed, "")).await?;
    let desk = Desk::of(&site)?;
    refused(&site, &["H1", "H2"].map(|id| admission(id, ""))).await?;
    let index = desk.listed(&[])?[0].0;
    let mut seen = false;
    let test = "the_page_of_errors_releases_what_was_edited";
    with_browser(test, folder.path(), Screen::Desk, async |browser| {
        browser.open_live(&site.url("/errors")).await?;
        browser.until("two held ones", "return document.querySelectorAll('.pill.amber').length === 2").await?;
        browser.open_live(&site.url(&format!("/errors?index={index}"))).await?;
        let click = |name: &str| {
            format!("[...document.querySelectorAll('button')].find((b) => b.textContent === '{name}').click()")
        };
        browser.until("the editor", "return document.querySelector('textarea')").await?;
        browser.run::<Value>(&format!("{}; return null", click("Try"))).await?;
        let told = |text: &str| format!("return document.querySelector('#told').textContent.includes('{text}')");
        browser.until("what a try comes to", &told("It would be refused again: PID")).await?;
        let edit = "const area = document.querySelector('textarea'); area.value = area.value.replace('PID|1||', 'PID|1||4711');";
        browser.run::<Value>(&format!("{edit} {}; return null", click("Release"))).await?;
        browser.until("the release", &told("Taken, as entry #")).await?;
        browser.until("its new state", "return document.querySelector('.facts').textContent.includes('repaired')").await?;
        seen = true;
        Ok(())
    })
    .await?;
    if !seen {
        return Ok(());
    }
    ensure!(desk.states()? == ["repaired", "held"]);
    let shown: Value =
        serde_json::from_str(&medulla(&["errors", "show", &index.to_string(), "--config", &desk.config])?)?;
    let became = site.get(&format!("/api/messages/{}", shown["row"]["became"][0])).await?;
    ensure!(became["raw"] == admission("H1", "4711"), "byte for byte what was edited: {became}");
    with_browser(test, folder.path(), Screen::Phone, async |browser| {
        browser.open_live(&site.url(&format!("/errors?index={}", index + 1))).await?;
        browser.until("the editor", "return document.querySelector('textarea')").await?;
        browser.fits("one error").await?;
        browser.open_live(&site.url("/errors")).await?;
        browser.until("the list", "return document.querySelector('.pill.amber')").await?;
        browser.fits("errors").await
    })
    .await
}

#[tokio::test]
async fn a_refused_message_is_retried_by_itself_when_that_can_help() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let feed = |authority: &str| format!("authority = \"{authority}\"\non_error = {{ retry = 2 }}");
    let mut site = Site::alone(folder.path(), &options(&feed("SIMHOSP"), "")).await?;
    let desk = Desk::of(&site)?;
    refused(&site, &[merge("M1"), admission("M2", "")]).await?;
    ensure!(desk.states()? == ["open", "open"]);
    let tries = || -> anyhow::Result<Vec<u64>> {
        let (_, rows, _) = desk.ask(&["errors", "list", "--all"])?;
        Ok(rows.iter().filter_map(|row| row["retried_by_itself"].as_u64()).collect())
    };
    // What reads alike comes to the same: nothing is tried, and the next change still has both tries.
    restart(&mut site, &options(&feed("SIMHOSP"), "")).await?;
    restart(&mut site, &options(&feed("ELSEWHERE"), "")).await?;
    eventually("the merge that is none of one number any more", WAIT, async || {
        (desk.states().ok()? == ["repaired", "open"] && tries().ok()? == [0, 1]).then_some(())
    })
    .await?;
    let index = desk.listed(&["--all"])?[0].0.to_string();
    let shown: Value =
        serde_json::from_str(&medulla(&["errors", "show", &index, "--config", &desk.config])?)?;
    let acts = shown["acts"].as_array().context("acts")?;
    ensure!(acts.len() == 1 && acts[0][1]["by"] == "medulla (on_error)", "the result alone is told: {shown}");
    ensure!(shown["row"]["became"].as_array().is_some_and(|became| became.len() == 1), "{shown}");

    // Twice and no more; a person still can. A reload is a start of the feed.
    reload(&site, &options(&feed("THIRD"), ""))?;
    eventually("the second try", WAIT, async || (tries().ok()? == [0, 2]).then_some(())).await?;
    restart(&mut site, &options(&feed("FOURTH"), "")).await?;
    // Whatever is due is tried before this message, which is refused under the fourth way, is retried under the fifth.
    refused(&site, &[merge("M3").replace("SIMHOSP", "FOURTH")]).await?;
    reload(&site, &options(&feed("FIFTH"), ""))?;
    eventually("a later one's first try", WAIT, async || {
        (desk.states().ok()? == ["repaired", "open", "repaired"]).then_some(())
    })
    .await?;
    ensure!(tries()? == [0, 2, 0], "{:?}", tries()?);
    let (fine, _, said) = desk.ask(&["errors", "discard", "--feed", "adt", "--reason", "done", "--yes"])?;
    ensure!(fine && desk.states()? == ["repaired", "discarded", "repaired"], "{said}");
    Ok(())
}

async fn restart(site: &mut Site, options: &SiteOptions) -> anyhow::Result<()> {
    site.stop()?;
    site.write_config(&[], true, options)?;
    site.start()?;
    site.ready().await
}

/// The same while it runs.
fn reload(site: &Site, options: &SiteOptions) -> anyhow::Result<()> {
    site.write_config(&[], true, options)?;
    medulla(&["reload", "--config", text(&site.config())]).map(drop)
}

/// An MLLP receiver that answers as it is told to.
struct Pager {
    receiver: Receiver,
    answers: Arc<Mutex<Answers>>,
}

enum Answers {
    All(&'static str),
    /// The first message is refused however often it comes, the others are taken.
    FirstRefused(Option<String>),
}

impl Answers {
    fn code(&mut self, id: &str) -> &'static str {
        match self {
            Answers::All(code) => code,
            Answers::FirstRefused(first) => match first.get_or_insert_with(|| id.to_owned()) == id {
                true => "AR",
                false => "AA",
            },
        }
    }
}

impl Pager {
    async fn start(answers: Answers) -> anyhow::Result<Pager> {
        let answers = Arc::new(Mutex::new(answers));
        let told = answers.clone();
        let answer = move |heard: &Heard| {
            let code = told.lock().expect("answers").code(heard.control_id());
            (code.to_owned(), Reply::ack(code, heard.control_id()))
        };
        Ok(Pager { receiver: Receiver::start(answer).await?, answers })
    }

    fn sink(&self, name: &str, on_nack: &str) -> String {
        format!(
            "[[sink]]\nname = \"{name}\"\nkind = \"mllp\"\naddress = \"127.0.0.1:{}\"\non_nack = {on_nack}\n",
            self.receiver.port
        )
    }

    fn now_answers(&self, answers: Answers) {
        *self.answers.lock().expect("answers") = answers;
    }

    /// MSH-10 of each message, as they came.
    fn heard(&self) -> Vec<String> {
        self.receiver.heard().iter().map(|heard| heard.control_id().to_owned()).collect()
    }

    /// Until so many have come.
    async fn hears(&self, count: usize) -> anyhow::Result<Vec<String>> {
        eventually("messages at the receiver", WAIT, async || (self.heard().len() >= count).then_some(()))
            .await?;
        Ok(self.heard())
    }
}

/// The sink as the API shows it.
async fn sink(site: &Site, name: &str) -> Option<Value> {
    let feeds = site.get("/api/feeds").await.ok()?;
    feeds["sinks"].as_array()?.iter().find(|sink| sink["name"] == name).cloned()
}

/// Until the sink holds an alert; its index.
async fn held(site: &Site, name: &str) -> anyhow::Result<u64> {
    eventually("a sink that holds", WAIT, async || {
        let sink = sink(site, name).await?;
        (sink["state"] == "held").then(|| sink["held"]["index"].as_u64()).flatten()
    })
    .await
}

#[tokio::test]
async fn a_sink_holds_until_somebody_lets_it_go() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let pager = Pager::start(Answers::All("AE")).await?;
    let ehr = Pager::start(Answers::FirstRefused(None)).await?;
    let sinks = [pager.sink("pager", "\"hold\""), ehr.sink("ehr", "{ retry = 2 }")].concat();
    let mut site = Site::alone(folder.path(), &options("authority = \"SIMHOSP\"", &sinks)).await?;
    let desk = Desk::of(&site)?;
    send_sick(&site, 1..4).await?;

    // Retried twice, then left out: the others follow, in order.
    let told = ehr.hears(5).await?;
    ensure!(told[0] == told[1] && told[0] == told[2], "three times the same: {told:?}");
    ensure!(
        told[3..].iter().collect::<BTreeSet<_>>().len() == 2 && !told[3..].contains(&told[0]),
        "{told:?}"
    );

    // Held, nothing follows, and everybody can see it.
    let index = held(&site, "pager").await?;
    ensure!(site.text("/readyz").await?.contains("sinks held: pager"));
    ensure!(site.metric("medulla_sink_held{sink=\"pager\"}").await? == 1.0);
    ensure!(site.metric("medulla_sink_held{sink=\"ehr\"}").await? == 0.0);
    let (fine, rows, said) = desk.ask(&["sink", "list"])?;
    let row = rows.iter().find(|row| row["name"] == "pager").context("pager")?;
    ensure!(!fine && row["held"]["reason"] == "AE" && row["held"]["index"] == index, "{said}");
    ensure!(pager.heard() == told[..1], "the first one alone, once: {:?}", pager.heard());

    // Let go to try again it is refused again; a start holds it again as well.
    let (fine, _, said) = desk.ask(&["sink", "release", "pager", "--retry", "--alert", "0"])?;
    ensure!(!fine && said.contains("another-held"), "{said}");
    let (fine, _, said) = desk.ask(&["sink", "release", "pager", "--retry"])?;
    ensure!(fine, "{said}");
    pager.hears(2).await?;
    ensure!(held(&site, "pager").await? == index);
    site.stop()?;
    site.start()?;
    site.ready().await?;
    pager.hears(3).await?;
    ensure!(held(&site, "pager").await? == index && pager.heard() == [&*told[0]; 3]);

    // The receiver is mended: all follow, in order, each once.
    pager.now_answers(Answers::All("AA"));
    let (fine, _, said) = desk.ask(&["sink", "release", "pager", "--retry", "--reason", "EHR is back"])?;
    ensure!(fine, "{said}");
    let delivered = pager.hears(6).await?;
    ensure!(delivered[3..] == [told[0].clone(), told[3].clone(), told[4].clone()], "{delivered:?}");
    eventually("the gauge to fall", WAIT, async || {
        (site.metric("medulla_sink_held{sink=\"pager\"}").await.ok()? == 0.0).then_some(())
    })
    .await?;
    let (fine, _, said) = desk.ask(&["sink", "release", "pager", "--retry"])?;
    ensure!(!fine && said.contains("not-held"), "{said}");

    // Left out by a person: the next one follows.
    pager.now_answers(Answers::All("AR"));
    send_sick(&site, 4..5).await?;
    held(&site, "pager").await?;
    let (fine, _, said) = desk.ask(&["sink", "release", "pager", "--skip"])?;
    ensure!(!fine, "a reason is needed: {said}");
    pager.now_answers(Answers::All("AA"));
    let (fine, _, said) =
        desk.ask(&["sink", "release", "pager", "--skip", "--reason", "told by telephone"])?;
    ensure!(fine, "{said}");
    send_sick(&site, 5..6).await?;
    let delivered = pager.hears(8).await?;
    ensure!(delivered[6] != delivered[7] && delivered.len() == 8, "not sent again: {delivered:?}");

    // Who let what go is in the ledger.
    let entries = site.get("/api/messages?kind=released").await?;
    let mut acts = Vec::new();
    for entry in entries["entries"].as_array().context("entries")? {
        let shown = site.get(&format!("/api/messages/{}", entry["index"])).await?;
        let content = &shown["content"];
        ensure!(content["by"] == "local" && content["sink"] == "pager", "{shown}");
        acts.push(format!("{} {}", content["how"], content["reason"]));
    }
    let expected = [r#""retry" null"#, r#""retry" "EHR is back""#, r#""skip" "told by telephone""#];
    ensure!(acts == expected, "{acts:?}");
    Ok(())
}

#[tokio::test]
async fn a_reload_changes_a_sink_and_lets_the_others_be() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let pager = Pager::start(Answers::All("AE")).await?;
    let (ehr, board) = (Pager::start(Answers::All("AA")).await?, Pager::start(Answers::All("AA")).await?);
    let sinks = |on_nack: &str, more: &str| {
        [&pager.sink("pager", on_nack), &ehr.sink("ehr", "\"skip\""), more].concat()
    };
    let feed = "authority = \"SIMHOSP\"";
    let site = Site::alone(folder.path(), &options(feed, &sinks("\"hold\"", ""))).await?;
    send_sick(&site, 1..4).await?;
    let told = ehr.hears(3).await?;
    held(&site, "pager").await?;
    ensure!(pager.heard() == told[..1], "{:?}", pager.heard());

    // The sink that held begins with the same alert, under its new rule, and then goes on. A new one hears of what comes.
    reload(&site, &options(feed, &sinks("{ retry = 1 }", &board.sink("board", "\"skip\""))))?;
    let twice: Vec<String> = told.iter().flat_map(|id| [id.clone(), id.clone()]).collect();
    let heard = pager.hears(7).await?;
    ensure!(heard[1..] == twice, "once, and after the reload each twice: {heard:?}");
    ensure!(site.metric("medulla_sink_held{sink=\"pager\"}").await? == 0.0);
    pager.now_answers(Answers::All("AA"));
    send_sick(&site, 4..5).await?;
    let (new, all) = (board.hears(1).await?, ehr.hears(4).await?);
    ensure!(all[..3] == told && all[3..] == new && new.len() == 1, "each once: {all:?}, {new:?}");
    pager.hears(8).await?;

    // A removed one hears nothing more, and is shown no more.
    reload(&site, &options(feed, &ehr.sink("ehr", "\"skip\"")))?;
    send_sick(&site, 5..6).await?;
    ehr.hears(5).await?;
    ensure!((pager.heard().len(), board.heard().len()) == (8, 1), "{:?}", pager.heard());
    ensure!(sink(&site, "pager").await.is_none() && sink(&site, "ehr").await.is_some());
    ensure!(!site.text("/metrics").await?.contains("medulla_sink_held{sink=\"pager\"}"));
    Ok(())
}
