//! Receipts and `/log/` of three real sites: judged by an unrelated client, and through kills.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use integration_tests::{
    Consortium, Site, SiteOptions, eventually, medulla, run, skip, text, workspace_root,
};
use ledger_verifier::{Keys, judge_consistency, judge_export, judge_receipt};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// A receipt with its leaf and two cosignatures.
const RECEIPT_BYTES_MAX: usize = 2048;

#[tokio::test]
async fn an_unrelated_client_follows_the_log() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let sites = Consortium::start(folder.path(), |_| SiteOptions::default()).await?;
    let keys = write_keys(&sites.sites[0], folder.path())?;
    send(&sites.sites[0], 3).await?;
    let client = match C2spClient::build(folder.path())? {
        Some(client) => client,
        None => return Ok(()),
    };
    let earlier = folder.path().join("earlier");
    covered(&sites.sites[0], 1).await?;
    let first = client.follow(&sites.sites[0], &keys, &["-keep", text(&earlier)])?;
    send(&sites.sites[1], 5).await?;
    let (size, _) = sites.agree().await?;
    for site in &sites.sites {
        covered(site, size).await?;
        let receipt = folder.path().join(format!("{}.tlog-proof", site.name));
        prove(site, "0", &receipt)?;
        let found = client.follow(site, &keys, &["-earlier", text(&earlier), "-receipt", text(&receipt)])?;
        println!("site {}: {found}", site.name);
        ensure!(found["size"] == size && found["entries"] == size, "{found}");
        ensure!(found["consistent_from"] == first["size"] && found["receipt"] == 0, "{found}");
        ensure!(found["cosigners"].as_u64() >= Some(2), "{found}");
    }
    // The client judges: with another consortium's keys nothing holds.
    let others = folder.path().join("others");
    medulla(&["keys", "init", "--dir", text(&others), "--site", "a", "--site", "b", "--site", "c"])?;
    let config = std::fs::read_to_string(sites.sites[0].config())?;
    // No site runs there that could be asked.
    let config =
        config.replace("keys = \"keys/a\"", "keys = \"others/a\"").replace("data-a", "data-of-others");
    std::fs::write(folder.path().join("others.toml"), config)?;
    let strangers = folder.path().join("strangers.txt");
    let printed = medulla(&["ledger", "keys", "--config", text(&folder.path().join("others.toml"))])?;
    std::fs::write(&strangers, printed)?;
    ensure!(client.follow(&sites.sites[0], &strangers, &[]).is_err(), "judged by other keys");
    Ok(())
}

#[tokio::test]
async fn receipts_are_small_and_judged_by_keys_one_brings() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let sites = Consortium::start(folder.path(), |_| SiteOptions::default()).await?;
    let (a, b) = (&sites.sites[0], &sites.sites[1]);
    let keys = write_keys(a, folder.path())?;
    let beyond = run(&["ledger", "prove", "999999", "--config", text(&a.config())])?;
    ensure!(beyond.status.code() == Some(1), "there is no such entry to prove");
    send(a, 4).await?;
    let (size, _) = sites.agree().await?;
    covered(b, size).await?;
    let receipt = folder.path().join("last.tlog-proof");
    prove(b, &(size - 1).to_string(), &receipt)?;
    let bytes = std::fs::read(&receipt)?;
    let cosigned = bytes.windows(b"/site/".len()).filter(|w| w == b"/site/").count();
    println!(
        "a receipt in a ledger of {size}, with its leaf and {cosigned} cosignatures: {} bytes",
        bytes.len()
    );
    ensure!(bytes.len() <= RECEIPT_BYTES_MAX);

    let verify = |file: &Path, more: &[&str]| {
        let mut arguments = vec!["ledger", "verify", text(file), "--json", "--keys", text(&keys)];
        arguments.extend(more);
        run(&arguments)
    };
    let judged = verify(&receipt, &["-k", "2"])?;
    let said: serde_json::Value = serde_json::from_slice(&judged.stdout)?;
    ensure!(judged.status.success() && said["ok"] == true && said["index"] == size - 1, "{said}");
    ensure!(said["leaf"]["site"] == "a", "{said}");
    ensure!(verify(&receipt, &["-k", "4"])?.status.code() == Some(1), "four of three cosigners");
    let without = run(&["ledger", "verify", text(&receipt)])?;
    ensure!(without.status.code() == Some(2), "a receipt without keys is wrong usage");
    for at in (0..bytes.len()).step_by(41) {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        let changed = folder.path().join("changed");
        std::fs::write(&changed, bad)?;
        ensure!(verify(&changed, &["-k", &cosigned.to_string()])?.status.code() == Some(1), "byte {at}");
    }

    let checkpoint = medulla(&["ledger", "checkpoint", "--config", text(&b.config())])?;
    ensure!(checkpoint == b.text("/log/checkpoint").await?, "the same over both ways");
    let brought = Keys::parse(&std::fs::read_to_string(&keys)?)?;
    let newest = size.to_string();
    let proof = medulla(&["ledger", "prove", "--consistency", "1", &newest, "--config", text(&b.config())])?;
    let old = medulla(&["ledger", "prove", "--consistency", "1", "1", "--config", text(&a.config())])?;
    let old = old.split_once("\n\n").context("a checkpoint")?.1;
    judge_consistency(proof.as_bytes(), old.as_bytes(), &brought, 0)?;
    let export = folder.path().join("export");
    a.export(&export)?;
    let report = judge_export(&export, &brought, &mut |_| {})?;
    ensure!(report.ok && report.size == size, "{:?}", report.findings);
    Ok(())
}

/// Each site is killed again and again while checkpoints are made: nobody ever signs backwards or two roots, all
/// checkpoints are of one ledger, and what was proven stays proven. `MEDULLA_KILL_SEED` replays.
#[tokio::test]
async fn no_kill_makes_a_site_sign_backwards() -> anyhow::Result<()> {
    let number = |name: &str, default: u64| std::env::var(name).map_or(Ok(default), |text| text.parse());
    let (cycles, seed) = (number("MEDULLA_KILL_CYCLES", 6)?, number("MEDULLA_KILL_SEED", rand::random())?);
    println!("MEDULLA_KILL_SEED={seed} MEDULLA_KILL_CYCLES={cycles}");
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir()?;
    let mut sites = Consortium::start(folder.path(), |_| SiteOptions::default()).await?;
    let keys = Keys::parse(&std::fs::read_to_string(write_keys(&sites.sites[0], folder.path())?)?)?;
    send(&sites.sites[0], 2).await?;
    let mut receipts = Vec::new();
    let mut collected = Collected::default();
    for cycle in 0..cycles {
        let victim = rng.gen_range(0..3);
        let survivor = (victim + 1) % 3;
        let (target, number) = (sites.sites[survivor].mllp_target(), cycle.to_string());
        let first = (1000 * (cycle + 1)).to_string();
        let load = tokio::task::spawn_blocking(move || {
            let common = ["simulate", "--to", &target, "--patients", "8", "--rate", "120", "--json"];
            medulla(&[&common[..], &["--seed", &number, "--first-patient", &first]].concat())
        });
        let until = tokio::time::Instant::now() + Duration::from_millis(rng.gen_range(200..2500));
        while tokio::time::Instant::now() < until {
            collected.collect(&sites).await?;
        }
        sites.sites[victim].kill_9()?;
        collected.collect(&sites).await?;
        sites.sites[victim].start()?;
        while !load.is_finished() {
            collected.collect(&sites).await?;
        }
        load.await??;
        sites.sites[victim].ready().await?;
        let (size, _) = sites.agree().await?;
        covered(&sites.sites[victim], size).await?;
        collected.collect(&sites).await?;
        let receipt = folder.path().join(format!("{cycle}.tlog-proof"));
        prove(&sites.sites[victim], &(size - 1).to_string(), &receipt)?;
        receipts.push(std::fs::read(receipt)?);
    }
    for receipt in &receipts {
        judge_receipt(receipt, &keys, 2)?;
    }
    collected.judge(&sites.sites[0], &keys)?;
    println!("{} checkpoints of {} sizes", collected.notes.len(), collected.sizes());
    for site in &mut sites.sites {
        site.stop()?;
    }
    Ok(())
}

/// Every checkpoint that any site has served.
#[derive(Default)]
struct Collected {
    notes: BTreeSet<String>,
    last_size: BTreeMap<String, u64>,
}

impl Collected {
    async fn collect(&mut self, sites: &Consortium) -> anyhow::Result<()> {
        tokio::time::sleep(Duration::from_millis(100)).await;
        for site in &sites.sites {
            let Ok(note) = site.text("/log/checkpoint").await else { continue };
            let size = size_of(&note)?;
            let last = self.last_size.insert(site.name.clone(), size).unwrap_or(0);
            ensure!(size >= last, "site {} served size {size} after {last}", site.name);
            self.notes.insert(note);
        }
        Ok(())
    }

    fn sizes(&self) -> usize {
        self.notes.iter().filter_map(|note| size_of(note).ok()).collect::<BTreeSet<_>>().len()
    }

    /// One root a size; each cosigner's sizes grow with the times it signed at; each is the beginning of the next.
    fn judge(&self, site: &Site, keys: &Keys) -> anyhow::Result<()> {
        let mut by_size = BTreeMap::new();
        let mut signed: BTreeMap<String, BTreeMap<u64, BTreeSet<u64>>> = BTreeMap::new();
        for note in &self.notes {
            let size = size_of(note)?;
            let text = note.split_once("\n\n").context("a note")?.0;
            let before: &mut &str = by_size.entry(size).or_insert(text);
            ensure!(*before == text, "two roots of size {size}");
            for (name, at) in cosignatures(note) {
                signed.entry(name).or_default().entry(at).or_default().insert(size);
            }
        }
        for (name, sizes) in &signed {
            let largest = |sizes: &BTreeSet<u64>| sizes.last().copied().unwrap_or(0);
            let pairs = sizes.values().zip(sizes.values().skip(1));
            let backwards = pairs.filter(|(before, after)| after.first() < before.last()).count();
            ensure!(backwards == 0, "{name} signed a smaller size at a later second");
            println!(
                "{name}: {} seconds of signing up to size {}",
                sizes.len(),
                sizes.values().map(largest).max().unwrap_or(0)
            );
        }
        let sizes: Vec<u64> = by_size.keys().copied().collect();
        for pair in sizes.windows(2) {
            let [old, new] = pair else { bail!("windows of two") };
            let old_note =
                self.notes.iter().find(|note| size_of(note).ok() == Some(*old)).context("a note")?;
            let sizes = [old.to_string(), new.to_string()];
            let config = site.config();
            let proof = medulla(&[
                "ledger",
                "prove",
                "--consistency",
                &sizes[0],
                &sizes[1],
                "--config",
                text(&config),
            ])?;
            judge_consistency(proof.as_bytes(), old_note.as_bytes(), keys, 0)
                .with_context(|| format!("from {old} to {new}"))?;
        }
        Ok(())
    }
}

/// Name and time of each 0x04 signature: 4 bytes of key id, 8 of time, 64 of signature.
fn cosignatures(note: &str) -> Vec<(String, u64)> {
    let lines = note.lines().filter_map(|line| line.strip_prefix("\u{2014} ")?.split_once(' '));
    let parsed = lines.filter_map(|(name, encoded)| {
        let bytes = STANDARD.decode(encoded).ok().filter(|bytes| bytes.len() == 76)?;
        Some((name.to_owned(), u64::from_be_bytes(bytes.get(4..12)?.try_into().ok()?)))
    });
    parsed.collect()
}

fn size_of(note: &str) -> anyhow::Result<u64> {
    Ok(note.lines().nth(1).context("a checkpoint")?.parse()?)
}

/// What a few simulated patients bring.
async fn send(site: &Site, patients: u32) -> anyhow::Result<()> {
    let (target, patients) = (site.mllp_target(), patients.to_string());
    let first = if site.name == "a" { "1" } else { "500" };
    let sent = tokio::task::spawn_blocking(move || {
        medulla(&[
            "simulate",
            "--to",
            &target,
            "--patients",
            &patients,
            "--rate",
            "300",
            "--first-patient",
            first,
        ])
    });
    sent.await?.map(drop)
}

/// Until the site serves a checkpoint over so many entries.
async fn covered(site: &Site, size: u64) -> anyhow::Result<()> {
    let newest = async || {
        let note = site.text("/log/checkpoint").await.ok()?;
        (size_of(&note).ok()? >= size).then_some(())
    };
    eventually("a checkpoint over all entries", Duration::from_secs(60), newest).await
}

fn prove(site: &Site, index: &str, file: &Path) -> anyhow::Result<()> {
    medulla(&["ledger", "prove", index, "--out", text(file), "--config", text(&site.config())]).map(drop)
}

fn write_keys(site: &Site, folder: &Path) -> anyhow::Result<PathBuf> {
    let file = folder.join("keys.txt");
    std::fs::write(&file, medulla(&["ledger", "keys", "--config", text(&site.config())])?)?;
    Ok(file)
}

/// `integration-tests/c2sp-client`: Go's own note and tlog.
struct C2spClient(PathBuf);

impl C2spClient {
    /// `None`, and a line that says why, where it cannot be built here.
    fn build(folder: &Path) -> anyhow::Result<Option<C2spClient>> {
        let source = workspace_root().join("integration-tests/c2sp-client");
        let name = "an_unrelated_client_follows_the_log";
        let go = |arguments: &[&str]| Command::new("go").args(arguments).current_dir(&source).output();
        match go(&["mod", "download"]) {
            Err(_) => {
                skip(name, "go is not installed");
                return Ok(None);
            }
            Ok(Output { status, stderr, .. }) if !status.success() => {
                let why = String::from_utf8_lossy(&stderr).lines().next().unwrap_or_default().to_owned();
                skip(name, &format!("golang.org/x/mod cannot be fetched: {why}"));
                return Ok(None);
            }
            Ok(_) => {}
        }
        let program = folder.join("c2sp-client");
        let built = go(&["build", "-buildvcs=false", "-o", text(&program), "."])?;
        ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Ok(Some(C2spClient(program)))
    }

    fn follow(&self, site: &Site, keys: &Path, more: &[&str]) -> anyhow::Result<serde_json::Value> {
        let url = site.url("/log");
        let output = Command::new(&self.0)
            .args(["-url", &url, "-keys", text(keys), "-cosigners", "2"])
            .args(more)
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}
