//! A process that writes and tells what it was answered, until it is killed.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use raft_ledger::Config;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

const CHILD_DIR: &str = "MEDULLA_KILL_CHILD_DIR";
const CHILD_FROM: &str = "MEDULLA_KILL_CHILD_FROM";
/// Begins each line that a child tells.
const TOLD: &str = "answered ";

/// Of a site alone, with snapshots often enough that kills also fall into them.
pub fn config(dir: &Path) -> Config {
    let mut config = Config::new("a", dir.join("data"), dir.join("keys/a"));
    config.initialise = true;
    config.free_space_reserve_bytes = 1 << 20;
    config.snapshot_log_entries = 200;
    config
}

/// A folder with the keys of a site alone.
pub fn founded() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    raft_ledger::keys::init(&dir.path().join("keys"), &[("a", "127.0.0.1")]).unwrap();
    dir
}

/// How long after its first word a child lives, cycle by cycle. `MEDULLA_KILL_CYCLES` (`default` without it) and
/// `MEDULLA_KILL_SEED` choose how often and when.
pub fn lives(default: u64) -> impl Iterator<Item = Duration> {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let cycles = number("MEDULLA_KILL_CYCLES", default);
    let seed = number("MEDULLA_KILL_SEED", rand::random());
    println!("MEDULLA_KILL_SEED={seed} MEDULLA_KILL_CYCLES={cycles}");
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    (0..cycles).map(move |_| Duration::from_millis(rng.gen_range(0..600)))
}

/// In the child: where to write, and the first number. `None`: this process is the parent.
pub fn as_child() -> Option<(PathBuf, u64)> {
    let dir = std::env::var_os(CHILD_DIR).map(PathBuf::from)?;
    Some((dir, std::env::var(CHILD_FROM).unwrap().parse().unwrap()))
}

/// In the child. One write, so that lines stay whole; a partial last line is not counted by the parent.
pub fn tell(numbers: &[u64]) {
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    let line = format!("{TOLD}{}\n", numbers.join(" "));
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

/// Runs the test `child` as a process until it is killed `after` it told something; the numbers of each line.
pub fn run_and_kill(child: &str, dir: &Path, from: u64, after: Duration) -> Vec<Vec<u64>> {
    let mut child = start(child, dir, from);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let (mut line, mut told, mut killer) = (String::new(), Vec::new(), None);
    while reader.read_line(&mut line).unwrap() > 0 {
        // The test harness writes its own words before the first line.
        if let Some(at) = line.find(TOLD).filter(|_| line.ends_with('\n')) {
            told.push(line[at..].split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect());
            killer.get_or_insert_with(|| {
                let id = child.id().to_string();
                std::thread::spawn(move || {
                    std::thread::sleep(after);
                    assert!(Command::new("kill").args(["-9", &id]).status().unwrap().success());
                })
            });
        }
        line.clear();
    }
    killer.expect("the child was answered nothing").join().unwrap();
    assert!(!child.wait().unwrap().success(), "the child was to be killed");
    told
}

fn start(child: &str, dir: &Path, from: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", child, "--nocapture"])
        .env(CHILD_DIR, dir)
        .env(CHILD_FROM, from.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}
