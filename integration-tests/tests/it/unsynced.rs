//! Power cuts: what no sync has reached is gone, and nothing that was acknowledged is.
//!
//! A site runs with a shim that notes each file's synced length; it is killed under load, its files are cut back to
//! those lengths, and it starts again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Consortium, Disk, Site, SiteOptions, build_shim, control_ids, eventually, skip};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const WINDOW: usize = 32;
const REST: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_power_cut_of_one_site_loses_nothing_acknowledged() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(shim) = shim(folder.path(), "a_power_cut_of_one_site")? else { return Ok(()) };
    let mut rng = seeded()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    site.stop()?;
    let disk = Disk::watch(&site.data(), &shim)?;
    site.environment = disk.environment();
    site.start()?;
    let hospital = Hospital::sending_to(&site);
    for cycle in 1..=cycles(5) {
        hospital.load(&mut rng).await?;
        site.kill_9()?;
        let (acknowledged, cut) = (hospital.acknowledged(), disk.cut_power(&mut rng)?);
        ensure!(cut.bytes_cut > 0, "a cut that takes nothing shows nothing");
        site.start()?;
        site.ready().await.with_context(|| format!("cycle {cycle}: {cut:?}"))?;
        println!("cycle {cycle}: {} acknowledged, {cut:?}", acknowledged.len());
        hospital.rest();
        holds_once(&site, &acknowledged).await?;
        verifies(&site)?;
    }
    let acknowledged = hospital.finish().await?;
    holds_once(&site, &acknowledged).await?;
    site.stop()
}

#[tokio::test]
async fn a_power_cut_of_the_whole_city_loses_nothing_acknowledged() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(shim) = shim(folder.path(), "a_power_cut_of_the_whole_city")? else { return Ok(()) };
    let mut rng = seeded()?;
    let mut sites = Consortium::prepare(folder.path(), |_| SiteOptions::default())?.sites;
    let disks: Vec<Disk> =
        sites.iter().map(|site| Disk::watch(&site.data(), &shim)).collect::<anyhow::Result<_>>()?;
    for (site, disk) in sites.iter_mut().zip(&disks) {
        site.environment = disk.environment();
    }
    start(&mut sites, &[0, 1, 2]).await?;
    let hospitals: Vec<Hospital> = sites.iter().map(Hospital::sending_to).collect();
    for cycle in 1..=cycles(4) {
        for hospital in &hospitals {
            hospital.load(&mut rng).await?;
        }
        // Every second time the whole city, else one site, whose peers go on without it.
        let dark: Vec<usize> = if cycle % 2 == 1 { vec![0, 1, 2] } else { vec![rng.gen_range(0..3)] };
        for site in &dark {
            sites[*site].kill_9()?;
        }
        let acknowledged: Vec<_> = hospitals.iter().map(Hospital::acknowledged).collect();
        for site in &dark {
            let cut = disks[*site].cut_power(&mut rng)?;
            println!("cycle {cycle}, site {site}: {} acknowledged, {cut:?}", acknowledged[*site].len());
            ensure!(cut.bytes_cut > 0, "a cut that takes nothing shows nothing");
        }
        start(&mut sites, &dark).await.with_context(|| format!("cycle {cycle}, dark: {dark:?}"))?;
        hospitals.iter().for_each(Hospital::rest);
        for (site, acknowledged) in sites.iter().zip(&acknowledged) {
            holds_once(site, acknowledged).await?;
        }
    }
    for (site, hospital) in sites.iter().zip(hospitals) {
        holds_once(site, &hospital.finish().await?).await?;
    }
    let consortium = Consortium { sites };
    let (size, root) = consortium.agree().await?;
    consortium.sites.iter().try_for_each(verifies)?;
    println!("size {size}, root {root} at all three sites");
    Ok(())
}

/// The same for what only one site has: its peers stand still, so all that it answers is in its outbox alone.
#[tokio::test]
async fn a_power_cut_takes_nothing_acknowledged_out_of_the_outbox() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(shim) = shim(folder.path(), "a_power_cut_takes_nothing_out_of_the_outbox")? else {
        return Ok(());
    };
    let mut rng = seeded()?;
    let mut options = SiteOptions::default();
    options.extra = options.extra.replace("name = \"adt\"", "name = \"adt\"\nack = \"site\"");
    let mut sites = Consortium::prepare(folder.path(), |_| options.clone())?.sites;
    let disk = Disk::watch(&sites[0].data(), &shim)?;
    sites[0].environment = disk.environment();
    sites[0].start()?;
    for other in [1, 2] {
        sites[other].start()?;
    }
    for site in &mut sites {
        site.ready().await?;
    }
    for other in [1, 2] {
        sites[other].process().signal("STOP")?;
    }
    let hospital = Hospital::sending_to(&sites[0]);
    for cycle in 1..=cycles(4) {
        hospital.load(&mut rng).await?;
        sites[0].kill_9()?;
        let (acknowledged, cut) = (hospital.acknowledged().len(), disk.cut_power(&mut rng)?);
        println!("cycle {cycle}: {acknowledged} acknowledged, {cut:?}");
        ensure!(cut.bytes_cut > 0, "a cut that takes nothing shows nothing");
        sites[0].start()?;
        sites[0].up().await.with_context(|| format!("cycle {cycle}: {cut:?}"))?;
    }
    for other in [1, 2] {
        sites[other].process().signal("CONT")?;
    }
    let acknowledged = hospital.finish().await?;
    holds_once(&sites[0], &acknowledged).await?;
    let consortium = Consortium { sites };
    let (size, root) = consortium.agree().await?;
    consortium.sites.iter().try_for_each(verifies)?;
    println!("size {size}, root {root} at all three sites, {} acknowledged", acknowledged.len());
    Ok(())
}

/// The tests above can fail: where the syncs of write-ahead logs only pretend, a power cut takes acknowledged
/// messages.
#[tokio::test]
async fn a_sync_that_lies_is_seen() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(shim) = shim(folder.path(), "a_sync_that_lies_is_seen")? else { return Ok(()) };
    let mut rng = seeded()?;
    let mut site = Site::alone(folder.path(), &SiteOptions::default()).await?;
    site.stop()?;
    let disk = Disk::watch(&site.data(), &shim)?;
    site.environment = disk.environment_lying_about(".log");
    site.start()?;
    let hospital = Hospital::sending_to(&site);
    hospital.load(&mut rng).await?;
    site.kill_9()?;
    let acknowledged = hospital.acknowledged();
    hospital.stop();
    disk.cut_power(&mut rng)?;
    site.environment.clear();
    site.start()?;
    let begins = eventually("a site that begins or ends", Duration::from_secs(60), async || {
        let is_ready = site.text("/readyz").await.is_ok();
        (is_ready || !site.process().is_running()).then_some(is_ready)
    });
    if !begins.await? {
        // How far the log had reached is kept about once a second.
        let said = site.process().tail();
        ensure!(said.contains("the raft log has lost its end"), "{said}");
        println!("seen by the site itself");
        return Ok(());
    }
    // What the log still had would be applied by now.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let kept: BTreeSet<String> = control_ids(&site, "message").await?.into_iter().collect();
    let missing = acknowledged.difference(&kept).count();
    ensure!(missing > 0, "syncs lied, and nothing was missing");
    println!("seen: {missing} of {} acknowledged are missing", acknowledged.len());
    Ok(())
}

fn shim(folder: &Path, test: &str) -> anyhow::Result<Option<std::path::PathBuf>> {
    Ok(build_shim(folder)?.map_err(|reason| skip(test, &reason)).ok())
}

/// `MEDULLA_SEED` replays a run.
fn seeded() -> anyhow::Result<ChaCha8Rng> {
    let seed = match std::env::var("MEDULLA_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => rand::random(),
    };
    println!("MEDULLA_SEED={seed}");
    Ok(ChaCha8Rng::seed_from_u64(seed))
}

/// `MEDULLA_CYCLES` for long runs.
fn cycles(usual: usize) -> usize {
    std::env::var("MEDULLA_CYCLES").ok().and_then(|cycles| cycles.parse().ok()).unwrap_or(usual)
}

async fn start(sites: &mut [Site], which: &[usize]) -> anyhow::Result<()> {
    for site in which {
        sites[*site].start()?;
    }
    for site in which {
        sites[*site].ready().await?;
    }
    Ok(())
}

/// What was acknowledged is there, and nothing is there twice. A site that just came back may still catch up.
async fn holds_once(site: &Site, acknowledged: &BTreeSet<String>) -> anyhow::Result<()> {
    let mut last = String::new();
    let complete = eventually("all that was acknowledged", Duration::from_secs(20), async || {
        let kept = control_ids(site, "message").await.ok()?;
        let mut times: BTreeMap<&String, usize> = BTreeMap::new();
        kept.iter().for_each(|id| *times.entry(id).or_default() += 1);
        let missing = acknowledged.iter().filter(|id| !times.contains_key(id)).count();
        let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).map(|(id, _)| *id).collect();
        last = format!("{} kept, {missing} of {} missing, twice: {twice:?}", kept.len(), acknowledged.len());
        (missing == 0 && twice.is_empty()).then_some(())
    });
    let complete = complete.await;
    complete.with_context(|| format!("site {}: {last}", site.name))
}

fn verifies(site: &Site) -> anyhow::Result<()> {
    let (passed, said) = site.ledger_verify()?;
    ensure!(passed, "site {}: {said}", site.name);
    Ok(())
}

/// A sender as hospitals have them: a window of messages in flight, and what got no answer is sent again.
struct Hospital {
    state: Arc<Mutex<Sending>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Sending {
    acknowledged: BTreeSet<String>,
    open: BTreeSet<String>,
    next: usize,
    refused: Vec<String>,
    /// Nothing new is sent.
    resting: bool,
    closing: bool,
}

impl Hospital {
    fn sending_to(site: &Site) -> Hospital {
        let state = Arc::new(Mutex::new(Sending::default()));
        let (port, name, shared) = (site.mllp, site.name.clone(), state.clone());
        let task = tokio::spawn(async move {
            while !shared.lock().expect("no panic").is_done() {
                // An end of the connection is what the tests are about: connect again.
                let _ = connection(port, &name, &shared).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Hospital { state, task }
    }

    fn acknowledged(&self) -> BTreeSet<String> {
        self.state.lock().expect("no panic").acknowledged.clone()
    }

    /// Sends nothing new until the next `load`: what the ledger holds is then counted in a finite time.
    fn rest(&self) {
        self.state.lock().expect("no panic").resting = true;
    }

    /// Waits for a while of messages answered one after the other.
    async fn load(&self, rng: &mut impl Rng) -> anyhow::Result<()> {
        self.state.lock().expect("no panic").resting = false;
        let more = self.acknowledged().len() + rng.gen_range(50..400);
        let enough = async || (self.acknowledged().len() >= more).then_some(());
        eventually("messages acknowledged", Duration::from_secs(60), enough).await?;
        tokio::time::sleep(Duration::from_millis(rng.gen_range(0..20))).await;
        Ok(())
    }

    /// Everything sent is answered; returns it.
    async fn finish(self) -> anyhow::Result<BTreeSet<String>> {
        self.state.lock().expect("no panic").closing = true;
        tokio::time::timeout(Duration::from_secs(60), self.task).await.context("the last answers")??;
        let state = self.state.lock().expect("no panic");
        ensure!(state.refused.is_empty(), "refused: {:?}", state.refused);
        Ok(state.acknowledged.clone())
    }

    fn stop(self) {
        self.task.abort();
    }
}

impl Sending {
    fn is_done(&self) -> bool {
        self.closing && self.open.is_empty()
    }

    /// What to send now: `again` first, then new ones up to the window.
    fn more(&mut self, again: bool, name: &str) -> Vec<String> {
        let mut ids: Vec<String> = if again { self.open.iter().cloned().collect() } else { Vec::new() };
        while !self.closing && !self.resting && self.open.len() < WINDOW {
            let id = format!("{name}{:08}", self.next);
            self.next += 1;
            self.open.insert(id.clone());
            ids.push(id);
        }
        ids
    }

    fn answered(&mut self, frame: &str) {
        let answer = frame.split('\r').find_map(|segment| segment.strip_prefix("MSA|")).unwrap_or("no MSA");
        match answer.split_once('|') {
            Some(("AA", rest)) => {
                let id = rest.split('|').next().unwrap_or_default();
                self.open.remove(id);
                self.acknowledged.insert(id.to_owned());
            }
            _ => self.refused.push(answer.to_owned()),
        }
    }
}

async fn connection(port: u16, name: &str, state: &Mutex<Sending>) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut read, mut again) = (Vec::new(), true);
    loop {
        let ids = state.lock().expect("no panic").more(again, name);
        again = false;
        let frames: String = ids.iter().map(|id| format!("\x0b{}\x1c\r", admission(id))).collect();
        stream.write_all(frames.as_bytes()).await?;
        if state.lock().expect("no panic").is_done() {
            return Ok(());
        }
        let mut piece = [0; 16384];
        // Comes back also when nothing is owed: there may be something to send again.
        let Ok(length) = tokio::time::timeout(REST, stream.read(&mut piece)).await else { continue };
        let length = length?;
        ensure!(length > 0, "closed");
        read.extend_from_slice(&piece[..length]);
        while let Some(end) = read.iter().position(|byte| *byte == 0x1c) {
            let frame: Vec<u8> = read.drain(..=end).collect();
            state.lock().expect("no panic").answered(&String::from_utf8_lossy(&frame));
        }
    }
}

/// Of varying length, so that cuts fall anywhere in a block.
fn admission(id: &str) -> String {
    let number: usize = id[1..].parse().expect("made here");
    let note = "x".repeat(number * 37 % 3000);
    format!(
        "MSH|^~\\&|TEST|TEST|MEDULLA|TEST|20260101120000||ADT^A01^ADT_A01|{id}|P|2.5\r\
         EVN|A01|20260101120000\rPID|1||{}^^^TEST||Example^Person||19600101|F\rPV1|1|I|ICU^1^1\rZNT|{note}\r",
        number % 300
    )
}
