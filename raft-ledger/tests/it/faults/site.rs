//! One site as a process of its own, asked through its standard input.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raft_ledger::{AppendError, Config, Ledger, MemberChange, PeerConfig};
use tokio::sync::oneshot;

use crate::common::{draft, entries};

const CHILD: &str = "MEDULLA_FAULT_CHILD";
/// Begins each answer; the test harness writes its own words before the first.
const TOLD: &str = "=> ";
/// For what reads everything.
pub const LONG: Duration = Duration::from_secs(600);

/// How a site is started.
#[derive(Clone)]
pub struct Spec {
    pub name: String,
    pub dir: PathBuf,
    pub listen: String,
    /// Where this site dials the others.
    pub peers: Vec<(String, String)>,
    pub snapshot_entries: u64,
    pub reserve_bytes: u64,
    /// What the process is started by, before its own name: `ip netns exec …`.
    pub through: Vec<String>,
    pub environment: BTreeMap<String, String>,
}

impl Spec {
    pub fn data(&self) -> PathBuf {
        self.dir.join("data").join(&self.name)
    }

    pub fn config(&self) -> Config {
        let mut config = Config::new(&self.name, self.data(), self.dir.join("keys").join(&self.name));
        config.listen = self.listen.clone();
        config.initialise = self.name == "a";
        config.free_space_reserve_bytes = self.reserve_bytes;
        config.snapshot_log_entries = self.snapshot_entries;
        config.append_wait = Duration::from_secs(3);
        let peer =
            |(name, address): &(String, String)| PeerConfig { name: name.clone(), address: address.clone() };
        config.peers = self.peers.iter().map(peer).collect();
        config
    }

    fn to_text(&self) -> String {
        let peers: Vec<String> =
            self.peers.iter().map(|(name, address)| format!("{name}={address}")).collect();
        [
            self.name.clone(),
            self.dir.display().to_string(),
            self.listen.clone(),
            peers.join(","),
            self.snapshot_entries.to_string(),
            self.reserve_bytes.to_string(),
        ]
        .join("|")
    }

    fn from_text(text: &str) -> Spec {
        let fields: Vec<&str> = text.split('|').collect();
        let peers = fields[3].split(',').filter_map(|peer| peer.split_once('='));
        Spec {
            name: fields[0].into(),
            dir: fields[1].into(),
            listen: fields[2].into(),
            peers: peers.map(|(name, address)| (name.to_owned(), address.to_owned())).collect(),
            snapshot_entries: fields[4].parse().unwrap(),
            reserve_bytes: fields[5].parse().unwrap(),
            through: Vec::new(),
            environment: BTreeMap::new(),
        }
    }
}

pub struct Site {
    pub spec: Spec,
    running: Mutex<Option<Running>>,
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<String>>>>;

struct Running {
    child: Child,
    stdin: ChildStdin,
    waiting: Waiting,
    next: u64,
}

impl Site {
    pub fn new(spec: Spec) -> Site {
        Site { spec, running: Mutex::new(None) }
    }

    pub fn start(&self) {
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let own = std::env::current_exe().unwrap().display().to_string();
        let line = [&self.spec.through[..], &[own]].concat();
        let mut child = Command::new(&line[0])
            .args(&line[1..])
            .args(["--exact", "faults::site::runs_as_it_is_told", "--nocapture"])
            .env(CHILD, self.spec.to_text())
            .envs(&self.spec.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let waiting = Waiting::default();
        let answered = waiting.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let told = line.split_once(TOLD).and_then(|(_, told)| told.split_once(' '));
                let Some((id, text)) = told else { continue };
                let waiting = answered.lock().unwrap().remove(&id.parse().unwrap());
                if let Some(waiting) = waiting {
                    let _ = waiting.send(text.to_owned());
                }
            }
            // Whoever still waits learns that nobody answers.
            answered.lock().unwrap().clear();
        });
        *self.running.lock().unwrap() = Some(Running { child, stdin, waiting, next: 1 });
    }

    fn log(&self) -> PathBuf {
        self.spec.dir.join(format!("{}.log", self.spec.name))
    }

    /// What the process said on its standard error, at all starts.
    pub fn words(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// `None`: it does not answer within 20 s, or is gone.
    pub async fn ask(&self, what: &str) -> Option<String> {
        self.ask_within(Duration::from_secs(20), what).await
    }

    /// The same for what takes long.
    pub async fn ask_within(&self, limit: Duration, what: &str) -> Option<String> {
        let (answer, waits) = oneshot::channel();
        {
            let mut running = self.running.lock().unwrap();
            let running = running.as_mut()?;
            running.next += 1;
            running.waiting.lock().unwrap().insert(running.next, answer);
            writeln!(running.stdin, "{} {what}", running.next).ok()?;
        }
        tokio::time::timeout(limit, waits).await.ok()?.ok()
    }

    pub fn kill_9(&self) {
        if let Some(mut running) = self.running.lock().unwrap().take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }

    pub fn signal(&self, name: &str) {
        let id = self.running.lock().unwrap().as_ref().unwrap().child.id().to_string();
        assert!(Command::new("kill").arg(format!("-{name}")).arg(id).status().unwrap().success());
    }

    /// Whether the process has ended by itself, and then whether by a signal, as `abort` does.
    pub fn has_ended(&self) -> Option<bool> {
        let ended = self.running.lock().unwrap().as_mut().unwrap().child.try_wait().unwrap();
        ended.map(|status| status.code().is_none())
    }

    /// Waits for that.
    pub async fn ends(&self) -> bool {
        until("the process ends", async || self.has_ended().is_some()).await;
        self.has_ended().unwrap_or_default()
    }

    /// Lets it flush and end.
    pub async fn close(&self) {
        assert_eq!(self.ask("close").await.as_deref(), Some("closed"), "{}", self.words());
        self.running.lock().unwrap().take().unwrap().child.wait().unwrap();
    }

    /// Its ledger is open.
    pub async fn up(&self) {
        assert_eq!(self.ask("up").await.as_deref(), Some("up"), "site {}: {}", self.spec.name, self.words());
    }

    pub async fn number(&self, what: &str) -> Option<u64> {
        self.ask(what).await?.split(' ').nth(1)?.parse().ok()
    }

    /// All values in its own replica.
    pub async fn log_values(&self) -> Vec<u64> {
        let text = self
            .ask_within(LONG, "log")
            .await
            .unwrap_or_else(|| panic!("site {}: {}", self.spec.name, self.words()));
        text.split_whitespace().skip(1).map(|value| value.parse().unwrap()).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill_9();
    }
}

/// Not a test of its own: what a site's process runs. Does nothing unless a test asks for it.
#[test]
fn runs_as_it_is_told() {
    let Ok(text) = std::env::var(CHILD) else { return };
    let config = Spec::from_text(&text).config();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let ledger = match Ledger::open(config).await {
            Ok(ledger) => ledger,
            Err(error) => {
                eprintln!("not opened: {error}");
                std::process::exit(3);
            }
        };
        let outdated = ledger.clone();
        tokio::spawn(async move {
            outdated.outdated().await;
            eprintln!("to be started again, as a new node");
            std::process::exit(5);
        });
        let (lines, mut told) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        while let Some(line) = told.recv().await {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let (id, what) = line.split_once(' ').unwrap();
                let answer = answer(&ledger, what).await;
                let line = format!("{TOLD}{id} {answer}\n");
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                if answer == "closed" {
                    std::process::exit(0);
                }
            });
        }
        // Whoever asked is gone.
        std::process::exit(4);
    });
}

async fn answer(ledger: &Ledger, what: &str) -> String {
    let words: Vec<&str> = what.split(' ').collect();
    match words[..] {
        ["append", value] => append(ledger, value.parse().unwrap()).await,
        ["size"] => match ledger.catch_up().await {
            Ok(size) => format!("size {size}"),
            Err(_) => "unknown".into(),
        },
        // What is here, whatever others know.
        ["stale"] => format!("size {}", ledger.size()),
        ["read", index] => read(ledger, index.parse().unwrap()).await,
        ["log"] => {
            let mut text = "log".to_owned();
            entries(ledger).iter().for_each(|entry| text += &format!(" {}", entry.event_time_ms));
            text
        }
        ["root", size] => ledger.root_at(size.parse().unwrap()).map_or("unknown".into(), hex::encode),
        ["verify"] => {
            let report = ledger.verify(&mut |_| {}).unwrap();
            format!("verify {} {:?}", report.ok, report.findings)
        }
        ["notice"] => format!("notice {}", ledger.status().notice.unwrap_or_default()),
        ["leader"] => format!("leader {}", ledger.status().leader.unwrap_or_default()),
        ["cosigned"] => format!("cosigned {}", ledger.checkpoint().map_or(0, |checkpoint| checkpoint.size)),
        ["blamed"] => format!("blamed {:?}", ledger.blamed_sites()),
        ["lead" | "add" | "promote" | "remove", site] => change(ledger, words[0], site).await,
        ["close"] => {
            ledger.close().await.unwrap();
            "closed".into()
        }
        ["up"] => "up".into(),
        _ => panic!("what is {what}?"),
    }
}

async fn append(ledger: &Ledger, value: u64) -> String {
    match ledger.append(vec![draft(value)]).await {
        Ok(outcomes) => format!("at {}", outcomes[0].index),
        Err(AppendError::Unavailable { .. } | AppendError::Closed) => "unknown".into(),
        Err(error) => format!("refused {error}"),
    }
}

async fn read(ledger: &Ledger, index: u64) -> String {
    if ledger.catch_up().await.is_err() {
        return "unknown".into();
    }
    match ledger.read_from(index, 1) {
        Ok(entries) => {
            entries.first().map_or("nothing".into(), |entry| format!("value {}", entry.event_time_ms))
        }
        Err(error) => format!("unknown {error}"),
    }
}

async fn change(ledger: &Ledger, what: &str, site: &str) -> String {
    let site = site.to_owned();
    let change = match what {
        "lead" => MemberChange::Lead { site },
        "add" => MemberChange::Add { site, address: None, keys: None },
        "promote" => MemberChange::Promote { site },
        _ => MemberChange::Remove { site },
    };
    match ledger.change_members(change).await {
        Ok(members) => format!("members {}", members.len()),
        Err(error) => format!("failed {error}"),
    }
}

/// Waits, 100 ms apart, for as long as the test may take.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(120), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
