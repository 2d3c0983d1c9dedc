//! The sites of a bench: processes of this very program, with keys and data in a folder of their own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Stopped, and its folder removed, when dropped.
pub struct Consortium {
    folder: PathBuf,
    pub sites: Vec<Site>,
}

pub struct Site {
    pub name: &'static str,
    pub mllp: String,
    http: String,
    raft: u16,
    child: Option<Child>,
}

impl Consortium {
    /// `models`: folders of models that score beside NEWS2. `folder` must not exist; it decides the disk.
    pub async fn start(
        folder: PathBuf,
        count: usize,
        models: &[PathBuf],
        ack: &str,
    ) -> anyhow::Result<Consortium> {
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let sites = NAMES.iter().take(count).map(|name| Site::new(name)).collect::<anyhow::Result<_>>()?;
        let mut consortium = Consortium { folder, sites };
        let names: Vec<(&str, &str)> = consortium.sites.iter().map(|site| (site.name, "localhost")).collect();
        raft_ledger::keys::init(&consortium.folder.join("keys"), &names)?;
        for position in 0..count {
            let config = consortium.folder.join(format!("{}.toml", consortium.sites[position].name));
            std::fs::write(&config, consortium.config(position, models, ack))?;
            consortium.sites[position].spawn(&config)?;
        }
        for site in &mut consortium.sites {
            site.ready(&consortium.folder).await?;
        }
        Ok(consortium)
    }

    fn config(&self, position: usize, models: &[PathBuf], ack: &str) -> String {
        let own = &self.sites[position];
        let peers: Vec<String> = self
            .sites
            .iter()
            .filter(|site| site.name != own.name)
            .map(|site| format!("{{ name = \"{}\", address = \"127.0.0.1:{}\" }}", site.name, site.raft))
            .collect();
        let models: Vec<String> =
            models.iter().map(|model| format!("{:?}", model.display().to_string())).collect();
        format!(
            "[site]\nname = \"{name}\"\ndata = \"data-{name}\"\n[http]\nlisten = \"{http}\"\n\
             [ledger]\nlisten = \"127.0.0.1:{raft}\"\nkeys = \"keys/{name}\"\ninitialise = {first}\npeers = [{peers}]\n\
             [[feed]]\nname = \"bench\"\nkind = \"mllp\"\nlisten = \"{mllp}\"\nauthority = \"BENCHHOSP\"\nack = \"{ack}\"\n\
             icu_wards = [\"ICU*\"]\n[scoring]\nrules = [\"news2\"]\nmodels = [{models}]\n",
            name = own.name,
            http = own.http,
            raft = own.raft,
            mllp = own.mllp,
            first = position == 0,
            peers = peers.join(", "),
            models = models.join(", "),
        )
    }
}

impl Site {
    fn new(name: &'static str) -> anyhow::Result<Site> {
        let local = |port: u16| format!("127.0.0.1:{port}");
        Ok(Site {
            name,
            mllp: local(free_port()?),
            http: local(free_port()?),
            raft: free_port()?,
            child: None,
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    pub async fn metrics(&self) -> anyhow::Result<String> {
        let answer = reqwest::get(format!("http://{}/metrics", self.http)).await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    fn spawn(&mut self, config: &Path) -> anyhow::Result<()> {
        let log = std::fs::File::create(config.with_extension("log"))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("run").arg("--config").arg(config);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        self.child = Some(child);
        Ok(())
    }

    async fn ready(&mut self, folder: &Path) -> anyhow::Result<()> {
        let began = Instant::now();
        let url = format!("http://{}/readyz", self.http);
        loop {
            if reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            let ended = self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || began.elapsed() > READY_WITHIN {
                let log =
                    std::fs::read_to_string(folder.join(format!("{}.log", self.name))).unwrap_or_default();
                bail!("site {} does not become ready; its log:\n{log}", self.name);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Consortium {
    fn drop(&mut self) {
        for child in self.sites.iter_mut().filter_map(|site| site.child.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
