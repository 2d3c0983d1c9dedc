//! One site as a process.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::expect::eventually;
use crate::process::Process;
use crate::program::{medulla, program, run, workspace_root};

/// What a test's site has beside its ledger.
#[derive(Clone, Debug)]
pub struct SiteOptions {
    /// Further TOML: `[[feed]]`, `[[sink]]`, `[alerts]`. `{mllp}` stands for the site's MLLP port.
    pub extra: String,
    /// Further lines of `[ledger]`.
    pub ledger: String,
    /// `[scoring]` as TOML.
    pub scoring: String,
}

impl Default for SiteOptions {
    /// NEWS2 alone, one MLLP feed `adt` and the HTTP feed `rest` for the simulated hospital.
    fn default() -> SiteOptions {
        SiteOptions {
            extra: "[[feed]]\nname = \"adt\"\nkind = \"mllp\"\nlisten = \"127.0.0.1:{mllp}\"\nauthority = \"SIMHOSP\"\n\
                    codes = \"codes.csv\"\nicu_wards = [\"ICU*\"]\n\
                    [[feed]]\nname = \"rest\"\nkind = \"http\"\nauthority = \"SIMHOSP\"\ncodes = \"codes.csv\"\n\
                    icu_wards = [\"ICU*\"]\n"
                .into(),
            ledger: String::new(),
            scoring: "[scoring]\nrules = [\"news2\"]\n".into(),
        }
    }
}

impl SiteOptions {
    /// The committed sepsis model beside NEWS2.
    pub fn with_sepsis_model() -> SiteOptions {
        let model = workspace_root().join("ml-scoring/models/sepsis");
        let scoring =
            format!("[scoring]\nrules = [\"news2\"]\nmodels = [{:?}]\n", model.display().to_string());
        SiteOptions { scoring, ..SiteOptions::default() }
    }
}

pub struct Site {
    pub name: String,
    pub folder: PathBuf,
    pub http: u16,
    pub mllp: u16,
    pub raft: u16,
    /// What it is started as: another release, perhaps.
    pub program: PathBuf,
    /// Further variables of its environment.
    pub environment: BTreeMap<String, String>,
    process: Option<Process>,
    client: reqwest::Client,
}

/// A port that was free a moment ago and that no other test of this process is given: it stays free while its site is
/// down. Above the brokers' and below those that the system gives to outgoing connections.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Another process begins elsewhere.
    let first = std::process::id().wrapping_mul(97);
    loop {
        let number = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = 27_000 + u16::try_from(number % 5_000).expect("below 5,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Site {
    /// A consortium of one, started and ready.
    pub async fn alone(folder: &Path, options: &SiteOptions) -> anyhow::Result<Site> {
        medulla(&["keys", "init", "--dir", text(&folder.join("keys")), "--site", "a"])?;
        let mut site = Site::new("a", folder);
        site.write_config(&[], true, options)?;
        site.start()?;
        site.ready().await?;
        Ok(site)
    }

    /// With neither configuration nor process.
    pub fn new(name: &str, folder: &Path) -> Site {
        static CRYPTO: Once = Once::new();
        CRYPTO.call_once(|| {
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        Site {
            name: name.to_owned(),
            folder: folder.to_owned(),
            http: free_port(),
            mllp: free_port(),
            raft: free_port(),
            program: program(),
            environment: BTreeMap::new(),
            process: None,
            // A kept connection may be one that the server is about to close.
            client: reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("a client"),
        }
    }

    /// `peers`: name and port that this site dials.
    pub fn write_config(
        &self,
        peers: &[(String, u16)],
        initialise: bool,
        options: &SiteOptions,
    ) -> anyhow::Result<()> {
        medulla(&["simulate", "--codes", text(&self.folder.join("codes.csv"))])?;
        let peers: Vec<String> = peers
            .iter()
            .map(|(name, port)| format!("{{ name = \"{name}\", address = \"127.0.0.1:{port}\" }}"))
            .collect();
        let Site { name, http, mllp, raft, .. } = self;
        let config = format!(
            "[site]\nname = \"{name}\"\ndata = \"data-{name}\"\nzone = \"Europe/Zurich\"\n\
             [http]\nlisten = \"127.0.0.1:{http}\"\n\
             [ledger]\nlisten = \"127.0.0.1:{raft}\"\nkeys = \"keys/{name}\"\ninitialise = {initialise}\n\
             peers = [{}]\n{}{}{}",
            peers.join(", "),
            options.ledger,
            options.scoring,
            options.extra.replace("{mllp}", &mllp.to_string()),
        );
        std::fs::write(self.config(), config).context("configuration not written")
    }

    pub fn config(&self) -> PathBuf {
        self.folder.join(format!("{}.toml", self.name))
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join(format!("data-{}", self.name))
    }

    pub fn start(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command.args(["run", "--config", text(&self.config())]).envs(&self.environment);
        self.process = Some(Process::spawn(&mut command, &self.folder.join(format!("{}.log", self.name)))?);
        Ok(())
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the site was started")
    }

    /// The last lines of its log, if it was started.
    pub fn log_end(&self) -> String {
        self.process.as_ref().map(Process::tail).unwrap_or_default()
    }

    pub fn kill_9(&mut self) -> anyhow::Result<()> {
        self.process().kill_9()
    }

    /// SIGTERM; an error if it does not end with 0.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let graceful = self.process().terminate(Duration::from_secs(40))?;
        if !graceful {
            let log = self.log_end();
            bail!("site {} ended with an error: {log}", self.name);
        }
        Ok(())
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http)
    }

    pub fn mllp_target(&self) -> String {
        format!("mllp://127.0.0.1:{}", self.mllp)
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.client.get(self.url(path)).timeout(Duration::from_secs(10)).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    pub async fn text(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.client.get(self.url(path)).timeout(Duration::from_secs(10)).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// Until it can commit.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let url = self.url("/readyz");
        let client = self.client.clone();
        let is_ready = async || client.get(&url).send().await.ok()?.status().is_success().then_some(());
        let waited = eventually("a site that is ready", Duration::from_secs(60), is_ready).await;
        let log = self.log_end();
        waited.with_context(|| format!("site {}: {log}", self.name))
    }

    /// Until it answers, whether or not it can commit.
    pub async fn up(&mut self) -> anyhow::Result<()> {
        let answers = async || self.text("/healthz").await.ok();
        let waited = eventually("a site that answers", Duration::from_secs(60), answers).await;
        let log = self.log_end();
        waited.map(drop).with_context(|| format!("site {}: {log}", self.name))
    }

    /// The value of one sample of `/metrics`, by its text before the value; 0 where there is none.
    pub async fn metric(&self, sample: &str) -> anyhow::Result<f64> {
        let text = self.text("/metrics").await?;
        let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        Ok(value.map_or(Ok(0.0), str::parse)?)
    }

    /// `medulla ledger status --json`.
    pub fn ledger_status(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&medulla(&[
            "ledger",
            "status",
            "--config",
            text(&self.config()),
            "--json",
        ])?)?)
    }

    /// `medulla ledger verify` on the running site: whether it passed, and what it said.
    pub fn ledger_verify(&self) -> anyhow::Result<(bool, String)> {
        let output = run(&["ledger", "verify", "--config", text(&self.config()), "--json"])?;
        Ok((output.status.success(), String::from_utf8(output.stdout)?))
    }

    pub fn export(&self, folder: &Path) -> anyhow::Result<()> {
        medulla(&["ledger", "export", text(folder), "--config", text(&self.config())]).map(drop)
    }
}

/// As an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("test folders have plain names")
}
