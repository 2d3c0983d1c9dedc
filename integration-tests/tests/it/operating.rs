//! What integration engineers look at while a site runs: dry-run, tap, top, graph, and feeds that fall silent.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Process, Site, SiteOptions, eventually, free_port, medulla, program, run, text};
use serde_json::Value;

const WAIT: Duration = Duration::from_secs(30);

fn message(control_id: &str, second: u32) -> String {
    format!(
        "MSH|^~\\&|LAB|SIMHOSP|||202601011200{second:02}||ADT^A08|{control_id}|P|2.5\r\
         EVN||20260101120000\rPID|||4711^^^SIMHOSP||Doe^Jo||19700101|F\rPV1||I|W1^1\r"
    )
}

/// Messages of a file, over MLLP; whether all were taken.
fn send(site: &Site, name: &str, messages: &[String]) -> anyhow::Result<bool> {
    let file = site.folder.join(name);
    std::fs::write(&file, messages.concat())?;
    Ok(run(&["send", text(&file), "--to", &format!("127.0.0.1:{}", site.mllp)])?.status.success())
}

fn json_lines(text: &str) -> anyhow::Result<Vec<Value>> {
    text.lines().filter(|line| line.starts_with('{')).map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[tokio::test]
async fn a_feed_is_followed_and_its_silence_is_flagged_and_cleared() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut options = SiteOptions::default();
    options.extra = options.extra.replace("kind = \"mllp\"\n", "kind = \"mllp\"\nsilence = \"1s\"\n");
    let site = Site::alone(folder.path(), &options).await?;
    let feed = async || {
        let feeds = site.get("/api/feeds").await.ok()?;
        feeds["feeds"].as_array()?.iter().find(|feed| feed["name"] == "adt").cloned()
    };
    let silent = async || feed().await.filter(|feed| !feed["silent"].is_null());
    let flagged = eventually("a silent feed", WAIT, silent).await?;
    ensure!(flagged["silent"]["why"] == "no message for 1s (silence = \"1s\")", "{flagged}");
    ensure!(site.metric("medulla_feed_silent{feed=\"adt\"}").await? == 1.0, "the metric says so, too");
    ensure!(
        site.metric("medulla_feed_silent{feed=\"rest\"}").await? == 0.0,
        "the other feed is not watched so"
    );

    let log = folder.path().join("tap.log");
    let mut command = Command::new(program());
    command.args(["tap", "adt", "--json", "--content", "--limit", "3", "--config", text(&site.config())]);
    let mut tap = Process::spawn(&mut command, &log)?;
    let following = async || std::fs::read_to_string(&log).ok()?.contains("following adt").then_some(());
    eventually("a tap that follows", WAIT, following).await?;
    ensure!(send(&site, "first.hl7", &[message("T1", 0)])?, "taken");
    let since_then = async || feed().await.filter(|feed| !feed["last_message_ms"].is_null());
    eventually("the time of the last message", WAIT, since_then).await?;
    ensure!(send(&site, "again.hl7", &[message("T1", 1)])?, "a duplicate is taken, too");
    ensure!(
        !send(
            &site,
            "bad.hl7",
            &["MSH|^~\\&|LAB|SIMHOSP|||20260101||ORU^R01|T2|P|2.5\rPID|||\rOBX|1|NM|x||1\r".into()]
        )?,
        "refused"
    );
    let ended = eventually("the end after three", WAIT, async || (!tap.is_running()).then_some(())).await;
    let printed = std::fs::read_to_string(&log)?;
    ended.with_context(|| printed.clone())?;
    let told = json_lines(&printed)?;
    let outcomes: Vec<&str> = told.iter().filter_map(|told| told["outcome"].as_str()).collect();
    ensure!(outcomes == ["committed", "duplicate", "rejected"], "{printed}");
    ensure!(told[0]["control_id"] == "T1" && told[0]["type"] == "ADT^A08", "{printed}");
    ensure!(told[0]["index"] == told[1]["index"], "a duplicate names the first one's entry: {printed}");
    ensure!(told[2]["code"].is_string() && told[2]["control_id"] == "T2", "{printed}");
    ensure!(told[0]["content"] == message("T1", 0), "{printed}");

    let log = std::fs::read_to_string(folder.path().join("a.log"))?;
    ensure!(log.contains("the feed is silent") && log.contains("the feed brings messages again"), "{log}");
    let unknown = run(&["tap", "nobody", "--config", text(&site.config())])?;
    ensure!(unknown.status.code() == Some(1), "{unknown:?}");
    Ok(())
}

#[tokio::test]
async fn top_shows_a_running_site() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    ensure!(send(&site, "one.hl7", &[message("T1", 0)])?, "taken");
    let config = site.config();
    let arguments = ["top", "--once", "--config", text(&config)];
    let view = json_lines(&medulla(&[&arguments[..], &["--json"]].concat())?)?;
    let [view] = view.as_slice() else { anyhow::bail!("one object: {view:?}") };
    ensure!(view["site"] == "a" && view["ready"] == true && view["ledger"]["role"].is_string(), "{view}");
    ensure!(view["feeds"][0]["received"] == 1 && view["sites"][0]["site"] == "a", "{view}");
    let screen = medulla(&arguments)?;
    ensure!(screen.contains("FEED") && screen.contains("adt") && screen.contains("a leads"), "{screen}");
    Ok(())
}

#[tokio::test]
async fn a_dry_run_tries_everything_and_takes_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut options = SiteOptions::default();
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let inbox = folder.path().join("inbox");
    std::fs::create_dir(&inbox)?;
    std::fs::write(inbox.join("waiting.hl7"), message("T1", 0))?;
    options.extra.push_str(&format!(
        "[[feed]]\nname = \"folder\"\nkind = \"file\"\npath = {inbox:?}\nwatch = true\nauthority = \"SIMHOSP\"\n\
         [[sink]]\nname = \"ehr\"\nkind = \"webhook\"\nurl = \"http://{}/hunter2\"\n",
        listener.local_addr()?
    ));
    medulla(&["keys", "init", "--dir", text(&folder.path().join("keys")), "--site", "a"])?;
    let mut site = Site::new("a", folder.path());
    site.write_config(&[], true, &options)?;
    let config = site.config();
    let dry_run = || run(&["dry-run", "--json", "--config", text(&config)]);
    let before = dry_run()?;
    let found = json_lines(&String::from_utf8(before.stdout.clone())?)?;
    ensure!(before.status.success() && found.iter().all(|found| found["ok"] == true), "{found:?}");
    for check in [
        "data folder",
        "master key",
        "ledger listener",
        "codes of feed adt",
        "feed adt",
        "feed folder",
        "sink ehr",
    ] {
        ensure!(found.iter().any(|found| found["check"] == check), "{check}: {found:?}");
    }
    let left: Vec<_> = std::fs::read_dir(&inbox)?.flatten().map(|entry| entry.file_name()).collect();
    ensure!(left == ["waiting.hl7"] && !site.data().exists(), "nothing was taken or made: {left:?}");

    site.start()?;
    site.ready().await?;
    let running = dry_run()?;
    ensure!(running.status.success(), "{}", String::from_utf8_lossy(&running.stdout));

    // Another configuration of it: a port that this site holds, and nobody at the other end.
    drop(listener);
    let wrong = std::fs::read_to_string(&config)?.replace("data-a", "data-other").replace(
        "peers = []",
        &format!("peers = [ {{ name = \"b\", address = \"127.0.0.1:{}\" }} ]", free_port()),
    );
    let other = folder.path().join("other.toml");
    std::fs::write(&other, wrong)?;
    let failed = run(&["dry-run", "--json", "--timeout", "5", "--config", text(&other)])?;
    let printed = String::from_utf8(failed.stdout)?;
    let found = json_lines(&printed)?;
    let bad: Vec<&str> = found
        .iter()
        .filter(|found| found["ok"] == false)
        .filter_map(|found| found["check"].as_str())
        .collect();
    ensure!(failed.status.code() == Some(1), "{printed}");
    ensure!(bad == ["ledger listener", "http listener", "peer b", "feed adt", "sink ehr"], "{bad:?}");
    ensure!(!printed.contains("hunter2"), "a URL may hold a token: {printed}");
    let picture = medulla(&["graph", "--svg", "--config", text(&config)])?;
    ensure!(picture.starts_with("<svg") && picture.contains(">folder</text>"), "{picture}");
    Ok(())
}
