//! Receivers that refuse, answer other messages, too late, twice or nonsense. Each `on_nack` does what it says, nothing is
//! sent before what comes before it is settled, and what was taken is not sent again.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Heard, Listing, Receiver, Reply, Site, SiteOptions, eventually, run};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;

use super::scene::ALERTS;
use super::{judge, senders, storms};

const RETRIES: usize = 2;
const SINKS: [(&str, &str); 3] = [("hold", "\"hold\""), ("retry", "{ retry = 2 }"), ("skip", "\"skip\"")];
const ALERTS_MIN: usize = 25;
const WAIT: Duration = Duration::from_secs(240);
/// The sinks wait for an answer so long.
const TIMEOUT_S: u64 = 2;

#[tokio::test]
async fn a_storm_of_refusals_and_nonsense() -> anyhow::Result<()> {
    for (seed, _) in storms("a_storm_of_refusals_and_nonsense") {
        storm(seed).await.with_context(|| format!("seed {seed}"))?;
        println!("seed {seed}");
    }
    Ok(())
}

async fn storm(seed: u64) -> anyhow::Result<()> {
    let mut receivers = Vec::new();
    let mut extra = format!(
        "[[feed]]\nname = \"mllp\"\nkind = \"mllp\"\nlisten = \"127.0.0.1:{{mllp}}\"\nauthority = \"SIMHOSP\"\n{ALERTS}"
    );
    for (number, (name, on_nack)) in (0..).zip(SINKS) {
        let receiver = moody(ChaCha8Rng::seed_from_u64(seed * 10 + number)).await?;
        extra += &format!(
            "[[sink]]\nname = \"{name}\"\nkind = \"mllp\"\naddress = \"127.0.0.1:{}\"\ntimeout_s = {TIMEOUT_S}\n\
             on_nack = {on_nack}\n",
            receiver.port
        );
        receivers.push(receiver);
    }
    let folder = tempfile::tempdir()?;
    let site = Site::alone(folder.path(), &SiteOptions { extra, ..SiteOptions::default() }).await?;
    let flowing = watch::Sender::new(true);
    let (_stay, hang_up) = watch::channel(());
    let enough = async {
        let enough = eventually("alerts", WAIT, async || {
            let listing = Listing::of(&site).await.ok()?;
            (listing.of_kind("alert", &site.name).count() >= ALERTS_MIN).then_some(())
        });
        let enough = enough.await;
        flowing.send_replace(false);
        enough
    };
    let (enough, sent) = tokio::join!(enough, senders::mllp(site.mllp, flowing.subscribe(), hang_up));
    enough?;
    let listing = judge::ledger_holds(&[&site], &[sent?]).await?;
    let kept = judge::alerts_kept(&site, &listing).await?;
    let delivered = delivered(&site, kept.len() * SINKS.len()).await?;
    for ((sink, _), receiver) in SINKS.iter().zip(&receivers) {
        let tries = tries(sink, &receiver.heard())?;
        let full = |short: &str| kept.keys().find(|id| id.starts_with(short)).cloned();
        let order: Vec<String> = tries.iter().filter_map(|(id, _)| full(id)).collect();
        judge::told(sink, &order, &kept)?;
        for (id, said) in &tries {
            let refused = delivered.get(&((*sink).to_owned(), full(id).context("an alert")?));
            settled(sink, said, refused.context("a delivery")?.as_deref())
                .with_context(|| format!("sink {sink}, alert {id}: {said:?}, {refused:?}"))?;
        }
        let count: usize = tries.iter().map(|(_, said)| said.len()).sum();
        println!("sink {sink}: {} alerts in {count} tries", tries.len());
    }
    Ok(())
}

/// Answers by a die.
async fn moody(random: ChaCha8Rng) -> anyhow::Result<Receiver> {
    let random = Mutex::new(random);
    Receiver::start(move |heard| {
        let id = heard.control_id();
        let mut random = random.lock().expect("random");
        let at_once = |bytes: Vec<u8>| Reply::Bytes(Duration::ZERO, bytes);
        let (said, reply) = match random.gen_range(0..100) {
            0..20 => {
                let code = ["AE", "AR", "CE", "CR"][random.gen_range(0..4)];
                (code, Reply::ack(code, id))
            }
            20..24 => ("AE twice", at_once([Reply::frame("AE", id), Reply::frame("AE", id)].concat())),
            24..29 => ("AA to another", Reply::ack("AA", "NOBODY")),
            29..33 => {
                ("AA too late", Reply::Bytes(Duration::from_secs(TIMEOUT_S + 1), Reply::frame("AA", id)))
            }
            33..38 => ("nonsense", at_once(b"\x0bMSH|^~\\&|no answer\r\x1c\r".to_vec())),
            38..41 => ("noise", at_once(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())),
            41..45 => ("nothing", Reply::Close),
            45..60 => ("AA", at_once([Reply::frame("AA", id), Reply::frame("AA", id)].concat())),
            60..70 => ("AA", at_once([Reply::frame("AE", "NOBODY"), Reply::frame("AA", id)].concat())),
            70..80 => ("CA", Reply::ack("CA", id)),
            _ => ("AA", Reply::ack("AA", id)),
        };
        (said.to_owned(), reply)
    })
    .await
}

/// What was said to each alert, in the order of the alerts: none comes back once another has come.
fn tries(sink: &str, heard: &[Heard]) -> anyhow::Result<Vec<(String, Vec<String>)>> {
    let mut tries: Vec<(String, Vec<String>)> = Vec::new();
    for one in heard {
        let id = one.control_id();
        match tries.last_mut() {
            Some((last, said)) if last == id => said.push(one.said.clone()),
            _ => {
                ensure!(tries.iter().all(|(before, _)| before != id), "sink {sink}: {id} came back");
                tries.push((id.to_owned(), vec![one.said.clone()]));
            }
        }
    }
    Ok(tries)
}

fn is_refusal(said: &str) -> bool {
    ["AE", "AR", "CE", "CR", "AE twice"].contains(&said)
}

/// The last word counts, all words before it were none or asked for another try.
fn settled(sink: &str, said: &[String], refused: Option<&str>) -> anyhow::Result<()> {
    let (last, before) = said.split_last().context("a word")?;
    ensure!(!before.iter().any(|said| said == "AA" || said == "CA"), "sent again though taken");
    let refusals = before.iter().filter(|said| is_refusal(said)).count();
    if last == "AA" || last == "CA" {
        ensure!(refused.is_none(), "taken, and the ledger says refused");
        ensure!(sink != "skip" || refusals == 0, "sent again though refused");
        ensure!(sink != "retry" || refusals <= RETRIES, "sent too often");
        return Ok(());
    }
    ensure!(is_refusal(last), "given up without an answer");
    ensure!(refused == last.get(..2), "refused, and the ledger says otherwise");
    match sink {
        "skip" => ensure!(refusals == 0, "sent again though refused"),
        "retry" => ensure!(refusals == RETRIES, "given up too early or too late"),
        _ => anyhow::bail!("nobody let it go without another try"),
    }
    Ok(())
}

/// Until each alert is settled at each sink: by sink and alert, with what it was refused. A sink that holds is let go by
/// somebody who wants it sent again.
async fn delivered(site: &Site, count: usize) -> anyhow::Result<BTreeMap<(String, String), Option<String>>> {
    let config = site.config().display().to_string();
    let mut listing = Listing::default();
    let all = eventually("all alerts settled", WAIT, async || {
        let feeds = site.get("/api/feeds").await.ok()?;
        let holds = |sink: &&serde_json::Value| sink["name"] == "hold" && sink["state"] == "held";
        if feeds["sinks"].as_array()?.iter().any(|sink| holds(&sink)) {
            run(&["sink", "release", "hold", "--retry", "--config", &config]).ok()?;
        }
        listing.read_on(site).await.ok()?;
        (listing.of_kind("delivered", &site.name).count() >= count).then_some(())
    });
    all.await?;
    let mut delivered = BTreeMap::new();
    for row in listing.of_kind("delivered", &site.name) {
        let shown = site.get(&format!("/api/messages/{}", row.index)).await?;
        let text = |name: &str| shown["content"][name].as_str().map(str::to_owned);
        let key = (text("sink").context("sink")?, text("alert").context("alert")?);
        ensure!(delivered.insert(key, text("refused")).is_none(), "settled twice: {shown}");
    }
    Ok(delivered)
}
