//! Three sites of an earlier release go on to this one, one after the other, while they are written to.
//! `integration-tests/upgrade.sh` builds the earlier one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{
    Consortium, Line, Listing, Network, Shim, Site, SiteOptions, admission, eventually, medulla, medulla_as,
    program, run_as, skip, text, workspace_root,
};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde_json::Value;
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(120);
/// Errors (EIO, EROFS, ENOSPC) and the operations that meet them: syncs, writes, reads.
const FAILING: [(i32, &str); 5] = [(5, "s"), (5, "ws"), (5, "r"), (30, "ws"), (28, "w")];

/// `MEDULLA_UPGRADE_SEED` replays order, victims, disks, weather and the learner's release.
// The network between the sites runs in the test, also while the test waits for a command.
#[tokio::test(flavor = "multi_thread")]
async fn sites_of_an_earlier_release_go_on_to_this_one_under_load() -> anyhow::Result<()> {
    let Some(earlier) = std::env::var_os("MEDULLA_EARLIER").map(PathBuf::from) else {
        skip(
            "upgrade",
            "MEDULLA_EARLIER names no earlier program; integration-tests/upgrade.sh REV builds one",
        );
        return Ok(());
    };
    let seed = std::env::var("MEDULLA_UPGRADE_SEED").map_or(Ok(rand::random()), |text| text.parse())?;
    println!("MEDULLA_UPGRADE_SEED={seed}");
    let mut chance = ChaCha12Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir()?;
    let (mut sites, mut learner, network) = founded(folder.path(), &earlier).await?;
    let kept = Kept::of(&sites, folder.path()).await?;
    let mut mishaps = Mishaps::to(&mut sites, folder.path()).await?;
    let load = Load::on(&sites);
    let weather = Weather::over(network, ChaCha12Rng::seed_from_u64(seed ^ 1));

    let mut order = [0, 1, 2];
    order.shuffle(&mut chance);
    exchange(&mut sites.sites[order[0]], &program(), &load).await?;
    mishaps.one(&mut sites, &mut chance, &load).await?;
    learner.program = if chance.gen_bool(0.5) { program() } else { earlier.clone() };
    println!("learner d as {}", learner.program.display());
    join(&sites, &mut learner, folder.path()).await?;
    let rules = rules_known(&sites.sites[order[0]])?;
    let (old, new) = (rules[&sites.sites[order[1]].name], rules[&sites.sites[order[0]].name]);
    println!("rules known: {old} by the earlier release, {new} by this one");
    if old < new {
        refused_while_mixed(&sites.sites[order[0]], &sites.sites[order[1]])?;
    }
    // Back again, as an operator would who found something wrong with it.
    exchange(&mut sites.sites[order[0]], &earlier, &load).await?;
    exchange(&mut sites.sites[order[1]], &program(), &load).await?;
    mishaps.one(&mut sites, &mut chance, &load).await?;
    for at in [0, 2] {
        exchange(&mut sites.sites[order[at]], &program(), &load).await?;
        mishaps.one(&mut sites, &mut chance, &load).await?;
    }
    exchange(&mut learner, &program(), &load).await?;
    sites.sites.push(learner);

    let acknowledged = load.end().await?;
    mishaps.had_all()?;
    // The sites reach one another through it to the end.
    let _network = weather.end().await?;
    holds(&sites, &acknowledged).await?;
    kept.holds(&sites.sites[0], &earlier)?;
    raised(&mut sites, new, &earlier, old < new).await?;
    kept.holds(&sites.sites[0], &program())?;
    holds(&sites, &acknowledged).await
}

/// By the earlier release: a consortium that goes on from a backup, so that its raft log does not hold its beginning
/// and whoever joins needs a snapshot; and a site that has not joined yet.
async fn founded(folder: &Path, earlier: &Path) -> anyhow::Result<(Consortium, Site, Network)> {
    let model = std::env::var_os("MEDULLA_EARLIER_MODEL")
        .map_or_else(|| workspace_root().join("ml-scoring/models/sepsis"), PathBuf::from);
    let options = SiteOptions {
        scoring: format!("[scoring]\nrules = [\"news2\"]\nmodels = [{:?}]\n", model.display().to_string()),
        ..SiteOptions::default()
    };
    let (former, backup) = (folder.join("former"), folder.join("backup"));
    std::fs::create_dir(&former)?;
    medulla_as(earlier, &["keys", "init", "--dir", text(&former.join("keys")), "--site", "a"])?;
    let mut alone = Site::new("a", &former);
    alone.program = earlier.to_owned();
    alone.write_config(&[], true, &options)?;
    alone.start()?;
    alone.ready().await?;
    medulla(&["simulate", "--to", &alone.mllp_target(), "--patients", "5", "--seed", "4"])?;
    ask(&alone, &["ledger", "backup", text(&backup)])?;
    alone.stop()?;

    let (keys, old_keys) = (folder.join("keys"), former.join("keys"));
    let init = ["keys", "init", "--dir", text(&keys), "--continue", text(&old_keys)];
    medulla_as(
        earlier,
        &[&init[..], &["--site", "a", "--site", "b", "--site", "c", "--site", "d"]].concat(),
    )?;
    let mut sites: Vec<Site> = ["a", "b", "c", "d"].iter().map(|name| Site::new(name, folder)).collect();
    let network = Network::between(&sites).await?;
    for at in 0..sites.len() {
        let site = &sites[at];
        let others = sites[..3].iter().filter(|peer| peer.name != site.name);
        let peers: Vec<_> = others.map(|peer| (peer.name.clone(), network.port(site, peer))).collect();
        site.write_config(&peers, site.name == "a", &options)?;
        sites[at].program = earlier.to_owned();
    }
    ask(&sites[0], &["ledger", "restore", text(&backup), "--new-consortium"])?;
    let learner = sites.pop().context("d")?;
    for site in &mut sites {
        site.start()?;
    }
    for site in &mut sites {
        site.ready().await?;
    }
    Ok((Consortium { sites }, learner, network))
}

/// Now and then one of the founders cannot be reached, or only slowly, whatever release it is of.
struct Weather {
    stop: Arc<AtomicBool>,
    blowing: JoinHandle<(Network, usize, usize)>,
}

impl Weather {
    fn over(network: Network, mut chance: ChaCha12Rng) -> Weather {
        let stop = Arc::new(AtomicBool::new(false));
        let ends = stop.clone();
        let blowing = tokio::spawn(async move {
            let (mut cut, mut slow) = (0, 0);
            while !ends.load(Ordering::Relaxed) {
                let site = ["a", "b", "c"][chance.gen_range(0..3)];
                if chance.gen_bool(0.5) {
                    network.cut_off(site);
                    cut += 1;
                } else {
                    network.slow(site, Duration::from_millis(chance.gen_range(10..80)));
                    slow += 1;
                }
                tokio::time::sleep(Duration::from_millis(chance.gen_range(500..3_000))).await;
                network.heal(site);
                tokio::time::sleep(Duration::from_millis(chance.gen_range(1_000..4_000))).await;
            }
            (network, cut, slow)
        });
        Weather { stop, blowing }
    }

    async fn end(self) -> anyhow::Result<Network> {
        self.stop.store(true, Ordering::Relaxed);
        let (network, cut, slow) = self.blowing.await?;
        println!("{cut} times a site was cut off, {slow} times it was slow");
        ensure!(cut + slow > 0, "no fault met the upgrade");
        Ok(network)
    }
}

/// What the earlier release gave out.
struct Kept {
    keys: PathBuf,
    receipts: Vec<PathBuf>,
    alerts: Vec<Value>,
}

impl Kept {
    async fn of(sites: &Consortium, folder: &Path) -> anyhow::Result<Kept> {
        let a = &sites.sites[0];
        let hospital = ["--patients", "20", "--septic", "0.4", "--seed", "5"];
        medulla(&[&["simulate", "--to", &a.mllp_target()], &hospital[..]].concat())?;
        let alerts = eventually("alerts of all messages", LONG, async || {
            let before = alerts(a).await.ok().filter(|alerts| !alerts.is_empty())?;
            tokio::time::sleep(Duration::from_secs(2)).await;
            alerts(a).await.ok().filter(|after| after.len() == before.len())
        });
        let alerts = alerts.await?;
        let keys = folder.join("keys.txt");
        std::fs::write(&keys, ask(a, &["ledger", "keys"])?)?;
        let (size, _) = sites.agree().await?;
        let mut receipts = Vec::new();
        // The first one is of the former consortium.
        for (site, index) in sites.sites.iter().zip([0, size / 2, size - 1]) {
            let file = folder.join(format!("{index}.tlog-proof"));
            let prove = ["ledger", "prove", &index.to_string(), "--out", text(&file)];
            eventually("a receipt", LONG, async || ask(site, &prove).ok()).await?;
            receipts.push(file);
        }
        println!("the earlier release: size {size}, {} alerts, {} receipts", alerts.len(), receipts.len());
        Ok(Kept { keys, receipts, alerts })
    }

    /// `judge`: the program that verifies, with the keys that were had then, what the earlier one and `site` prove.
    fn holds(&self, site: &Site, judge: &Path) -> anyhow::Result<()> {
        let later = self.keys.with_file_name("later.tlog-proof");
        ask(site, &["ledger", "prove", "0", "--out", text(&later)])?;
        for receipt in self.receipts.iter().chain([&later]) {
            for program in [judge, &program()] {
                let verify = ["ledger", "verify", text(receipt), "--keys", text(&self.keys), "-k", "2"];
                medulla_as(program, &verify)?;
            }
        }
        for alert in &self.alerts {
            let id = alert["id"].as_str().context("an id")?;
            let config = site.config();
            let explain = ["alert", "explain", id, "--json", "--config", text(&config)];
            let Output { status, stdout, stderr } = run_as(&site.program, &explain)?;
            let said = String::from_utf8_lossy(&stderr).into_owned();
            let explained: Value = serde_json::from_slice(&stdout).context(said)?;
            ensure!(status.success() && explained["equal"] == true, "{explained}");
            ensure!(explained["risk_recomputed"] == alert["risk"], "{explained}");
        }
        println!("{} alerts explained", self.alerts.len());
        Ok(())
    }
}

async fn alerts(site: &Site) -> anyhow::Result<Vec<Value>> {
    Ok(site.get("/api/alerts?limit=1000").await?.as_array().cloned().unwrap_or_default())
}

/// A sender at each site; what is not answered is sent again.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    senders: Vec<(String, JoinHandle<anyhow::Result<Vec<String>>>)>,
}

impl Load {
    fn on(sites: &Consortium) -> Load {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let sender = |site: &Site| {
            let send = send(site.name.clone(), site.mllp, stop.clone(), answered.clone());
            (site.name.clone(), tokio::spawn(send))
        };
        let senders = sites.sites.iter().map(sender).collect();
        Load { stop, answered, senders }
    }

    /// Until traffic was seen to go on.
    async fn more(&self) -> anyhow::Result<()> {
        let before = self.answered.load(Ordering::Relaxed);
        let more = async || (self.answered.load(Ordering::Relaxed) > before + 20).then_some(());
        eventually("answers", LONG, more).await
    }

    /// Control ids of what each site acknowledged.
    async fn end(self) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
        self.more().await?;
        self.stop.store(true, Ordering::Relaxed);
        let mut acknowledged = BTreeMap::new();
        for (site, sender) in self.senders {
            acknowledged.insert(site, tokio::time::timeout(LONG, sender).await???);
        }
        Ok(acknowledged)
    }
}

async fn send(
    site: String,
    mllp: u16,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> anyhow::Result<Vec<String>> {
    let (mut acknowledged, mut line) = (Vec::new(), None);
    while !stop.load(Ordering::Relaxed) {
        let id = format!("{site}{}", acknowledged.len());
        loop {
            tokio::time::sleep(Duration::from_millis(30)).await;
            let mut open: Line = match line.take() {
                Some(open) => open,
                None => match Line::open(mllp).await {
                    Ok(open) => open,
                    Err(_) => continue,
                },
            };
            if open.send(&admission(&id)).await.is_err() {
                continue;
            }
            let answers = open.answers(Duration::from_secs(5), 1).await;
            if answers.is_empty() {
                continue;
            }
            ensure!(answers == [format!("AA {id}")], "{answers:?}");
            line = Some(open);
            break;
        }
        acknowledged.push(id);
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(acknowledged)
}

/// Stopped, and started as another release on the same data, while the others go on.
async fn exchange(site: &mut Site, release: &Path, load: &Load) -> anyhow::Result<()> {
    load.more().await?;
    println!("site {} goes on as {}", site.name, release.display());
    site.stop()?;
    site.program = release.to_owned();
    site.start()?;
    site.ready().await?;
    load.more().await
}

/// What meets one of the founders, whatever release it is of: kill -9, every second time after its disk has failed.
struct Mishaps {
    /// By founder.
    disks: Vec<Shim>,
    kills: usize,
    failures: usize,
}

impl Mishaps {
    /// Starts the founders again, on disks that can fail.
    async fn to(sites: &mut Consortium, folder: &Path) -> anyhow::Result<Mishaps> {
        let mut disks = Vec::new();
        for site in &mut sites.sites {
            let disk = Shim::build(folder, &site.name).map_err(anyhow::Error::msg)?;
            site.environment = disk.environment(&site.data());
            site.stop()?;
            site.start()?;
            site.ready().await?;
            disks.push(disk);
        }
        Ok(Mishaps { disks, kills: 0, failures: 0 })
    }

    async fn one(
        &mut self,
        sites: &mut Consortium,
        chance: &mut ChaCha12Rng,
        load: &Load,
    ) -> anyhow::Result<()> {
        let victim = chance.gen_range(0..sites.sites.len());
        let (site, disk) = (&mut sites.sites[victim], &self.disks[victim]);
        tokio::time::sleep(Duration::from_millis(chance.gen_range(0..1_000))).await;
        if self.failures < self.kills {
            let (errno, operations) = *FAILING.choose(chance).context("a failure")?;
            disk.disk_fails(errno, operations);
            tokio::time::sleep(Duration::from_millis(chance.gen_range(100..3_000))).await;
            disk.disk_works();
            let ended = if site.process().is_running() { "still runs" } else { "ended by itself" };
            println!("site {}: its disk failed, error {errno} on {operations}; it {ended}", site.name);
            self.failures += 1;
        } else {
            self.kills += 1;
        }
        println!("site {} is killed", site.name);
        site.kill_9()?;
        site.start()?;
        site.ready().await?;
        load.more().await
    }

    fn had_all(&self) -> anyhow::Result<()> {
        println!("{} kills, {} disks that failed", self.kills, self.failures);
        ensure!(self.kills > 0 && self.failures > 0, "a mishap was missing");
        Ok(())
    }
}

/// From here on it receives everything, the former consortium's part by a snapshot.
async fn join(sites: &Consortium, learner: &mut Site, folder: &Path) -> anyhow::Result<()> {
    let before = snapshots_sent(sites, folder);
    learner.start()?;
    learner.up().await?;
    let address = format!("127.0.0.1:{}", learner.raft);
    let added = async || ask(&sites.sites[0], &["site", "add", "d", "--address", &address]).ok();
    eventually("site d as a learner", LONG, added).await?;
    let size = sites.sites[0].get("/api/ledger").await?["size"].as_u64();
    let caught_up = async || (learner.get("/api/ledger").await.ok()?["size"].as_u64() >= size).then_some(());
    eventually("everything at site d", LONG, caught_up).await?;
    ensure!(snapshots_sent(sites, folder) > before, "nobody sent site d a snapshot");
    Ok(())
}

fn snapshots_sent(sites: &Consortium, folder: &Path) -> usize {
    let log = |site: &Site| std::fs::read_to_string(folder.join(format!("{}.log", site.name)));
    let logs = sites.sites.iter().filter_map(|site| log(site).ok());
    logs.map(|log| log.matches("sending a snapshot").count()).sum()
}

/// The latest that each site's release knows.
fn rules_known(site: &Site) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut known = BTreeMap::new();
    for line in ask(site, &["site", "list", "--json"])?.lines() {
        let member: Value = serde_json::from_str(line)?;
        let name = member["site"].as_str().context("a name")?.to_owned();
        known.insert(name, member["apply_version"].as_u64().context("the rules it knows")?);
    }
    Ok(known)
}

fn refused_while_mixed(new: &Site, old: &Site) -> anyhow::Result<()> {
    let config = new.config();
    let output = run_as(&new.program, &["ledger", "upgrade", "--config", text(&config)])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    println!("{}", said.trim());
    ensure!(!output.status.success() && said.contains("upgrade it first"), "{said}");
    ensure!(said.contains(&old.name), "it names who is behind: {said}");
    Ok(())
}

/// Equal roots, everything that was acknowledged once, and each site's own verdict.
async fn holds(sites: &Consortium, acknowledged: &BTreeMap<String, Vec<String>>) -> anyhow::Result<()> {
    let (size, root) = sites.agree().await?;
    for site in &sites.sites {
        ask(site, &["ledger", "verify"])?;
        let listing = Listing::of(site).await?;
        ensure!(listing.rows.len() as u64 >= size, "site {} shows {}", site.name, listing.rows.len());
        let Some(expected) = acknowledged.get(&site.name) else { continue };
        let sent = listing.of_kind("message", &site.name).filter_map(|row| row.control_id.as_ref());
        let mut sent: Vec<&String> = sent.filter(|id| id.starts_with(&site.name)).collect();
        sent.sort_by_key(|id| id[site.name.len()..].parse::<usize>().ok());
        ensure!(sent == expected.iter().collect::<Vec<_>>(), "kept at {}: {sent:?}", site.name);
        println!("site {}: {} acknowledged, each there once", site.name, expected.len());
    }
    println!("size {size}, root {root} at all sites");
    Ok(())
}

/// Once this is done the earlier release is of no use, if it knows other rules.
async fn raised(sites: &mut Consortium, to: u64, earlier: &Path, is_older: bool) -> anyhow::Result<()> {
    let raised = async || ask(&sites.sites[1], &["ledger", "upgrade", "--json"]).ok();
    let raised: Value = serde_json::from_str(&eventually("the later rules", LONG, raised).await?)?;
    ensure!(raised["apply_version"] == to, "{raised}");
    sites.agree().await?;
    let site = &mut sites.sites[2];
    site.stop()?;
    site.program = earlier.to_owned();
    site.start()?;
    if is_older {
        let ended = async || (!site.process().is_running()).then_some(());
        eventually("an end of the earlier release", LONG, ended).await?;
        let log = site.process().tail();
        ensure!(log.contains("run the later release that the other sites run"), "{log}");
        println!("{}", log.lines().last().unwrap_or_default());
    } else {
        // Since all voters sign what they send, a build that does not may be one no more.
        let (url, refused) = ("/readyz", "run the release there that it ran before");
        let over = async || {
            let log = site.process().tail();
            match site.text(url).await {
                Ok(_) => Some("it runs".to_owned()),
                Err(_) => log.lines().find(|line| line.contains(refused)).map(str::to_owned),
            }
        };
        println!("the earlier release, back: {}", eventually("its start, or a reason", LONG, over).await?);
        site.stop()?;
    }
    site.program = program();
    site.start()?;
    site.ready().await
}

/// By the release that the site is of.
fn ask(site: &Site, words: &[&str]) -> anyhow::Result<String> {
    let config = site.config();
    medulla_as(&site.program, &[words, &["--config", text(&config)]].concat())
}
