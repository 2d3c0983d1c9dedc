//! Clients at every site: they append values, read them, ask how many there are, and note what they were told and when.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::history::{Answer, Call, Op, check};
use super::site::{LONG, Site, until};

const CLIENTS_PER_SITE: u64 = 3;

pub type Sites = Arc<Vec<Site>>;

#[derive(Default)]
struct Seen {
    ops: Mutex<Vec<Op>>,
    clock: AtomicU64,
    answered: AtomicU64,
    stop: AtomicBool,
}

pub struct Load {
    sites: Sites,
    seen: Arc<Seen>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

/// `MEDULLA_FAULT_SEED`, or one at random; it is shown.
pub fn seed() -> u64 {
    let seed =
        std::env::var("MEDULLA_FAULT_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("MEDULLA_FAULT_SEED={seed}");
    seed
}

pub fn is_long() -> bool {
    std::env::var_os("MEDULLA_LONG").is_some()
}

impl Load {
    pub fn start(sites: &Sites, seed: u64) -> Load {
        let seen = Arc::new(Seen::default());
        let client = |number: u64| {
            let client = Client {
                name: format!("client {number}"),
                sites: sites.clone(),
                site: number as usize % sites.len(),
                seen: seen.clone(),
                rng: ChaCha12Rng::seed_from_u64(seed ^ (number << 32)),
                values: number * 1_000_000..,
                known: 0,
            };
            tokio::spawn(client.run())
        };
        let clients = (0..CLIENTS_PER_SITE * sites.len() as u64).map(client).collect();
        Load { sites: sites.clone(), seen, clients }
    }

    /// Operations that were answered so far.
    pub fn answered(&self) -> u64 {
        self.seen.answered.load(Ordering::SeqCst)
    }

    /// Goes on until so many more were answered.
    pub async fn more(&self, count: u64) {
        let enough = self.answered() + count;
        until("load", async || self.answered() >= enough).await;
    }

    /// Ends the load once all faults are over, and checks what was seen against what all sites hold.
    pub async fn judge(self) -> Vec<u64> {
        self.seen.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.unwrap();
        }
        let log = agreed(&self.sites).await;
        let ops = std::mem::take(&mut *self.seen.ops.lock().unwrap());
        let unanswered = ops.iter().filter(|op| op.answer.is_none()).count();
        println!(
            "{} operations, {unanswered} of them never answered, {} values in the log",
            ops.len(),
            log.len()
        );
        if let Err(why) = check(&ops, &log) {
            panic!("what clients saw is not one log: {why}");
        }
        log
    }
}

/// What all sites hold once they hold the same; each is whole, and blames nobody.
pub async fn agreed(sites: &[Site]) -> Vec<u64> {
    let mut size = 0;
    until("all sites hold the same", async || {
        let mut sizes = Vec::new();
        for site in sites {
            sizes.push(site.number("size").await);
        }
        size = sizes[0].unwrap_or_default();
        sizes.iter().all(|one| *one == Some(size))
    })
    .await;
    // What nobody waited for any more may still come, behind that.
    let upto = async |site: &Site| {
        let mut log = site.log_values().await;
        log.truncate(size as usize);
        log
    };
    let (root, log) = (sites[0].ask(&format!("root {size}")).await, upto(&sites[0]).await);
    assert!(root.is_some() && log.len() as u64 == size, "{root:?} {size}");
    for site in sites {
        assert_eq!(site.ask(&format!("root {size}")).await, root, "site {}", site.spec.name);
        assert_eq!(upto(site).await, log, "site {}", site.spec.name);
        let report = site.ask_within(LONG, "verify").await;
        assert_eq!(report.as_deref(), Some("verify true []"), "site {}", site.spec.name);
        assert_eq!(site.ask("blamed").await.as_deref(), Some("blamed {}"), "site {}", site.spec.name);
    }
    until("all sites have cosigned it", async || {
        for site in sites {
            if site.number("cosigned").await < Some(size) {
                return false;
            }
        }
        true
    })
    .await;
    log
}

struct Client {
    name: String,
    sites: Sites,
    site: usize,
    seen: Arc<Seen>,
    rng: ChaCha12Rng,
    values: std::ops::RangeFrom<u64>,
    /// The largest size that it has heard of.
    known: u64,
}

impl Client {
    async fn run(mut self) {
        while !self.seen.stop.load(Ordering::SeqCst) {
            match self.rng.gen_range(0..10) {
                0..6 => self.append().await,
                6..8 => self.once(Call::Size).await,
                _ => {
                    let index = self.rng.gen_range(0..self.known + 3);
                    self.once(Call::Read(index)).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(self.rng.gen_range(0..30))).await;
        }
    }

    /// Insists until it knows what became of the value; now and then it gives up.
    async fn append(&mut self) {
        let value = self.values.next().unwrap();
        let gives_up = self.rng.gen_ratio(1, 20);
        let op = self.begin(Call::Append(value));
        let mut is_first = true;
        while !self.ask(op, &format!("append {value}"), is_first).await && !gives_up {
            tokio::time::sleep(Duration::from_millis(100)).await;
            is_first = false;
        }
    }

    async fn once(&mut self, call: Call) {
        let text = match call {
            Call::Read(index) => format!("read {index}"),
            _ => "size".into(),
        };
        let op = self.begin(call);
        self.ask(op, &text, true).await;
    }

    fn begin(&self, call: Call) -> usize {
        let mut ops = self.seen.ops.lock().unwrap();
        let from = self.seen.clock.fetch_add(1, Ordering::SeqCst);
        ops.push(Op { who: self.name.clone(), call, from, answer: None });
        ops.len() - 1
    }

    /// Whether it is known now what became of it.
    async fn ask(&mut self, op: usize, text: &str, is_first: bool) -> bool {
        let Some(answer) = self.sites[self.site].ask(text).await.as_deref().and_then(parse) else {
            return false;
        };
        // It may have been taken by an earlier call that nobody answered.
        if answer == Answer::Refused && !is_first {
            return false;
        }
        if let Answer::At(index) | Answer::Size(index) = answer {
            self.known = self.known.max(index);
        }
        let mut ops = self.seen.ops.lock().unwrap();
        ops[op].answer = Some((self.seen.clock.fetch_add(1, Ordering::SeqCst), answer));
        self.seen.answered.fetch_add(1, Ordering::SeqCst);
        true
    }
}

fn parse(text: &str) -> Option<Answer> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match word {
        "at" => rest.parse().ok().map(Answer::At),
        "size" => rest.parse().ok().map(Answer::Size),
        "value" => rest.parse().ok().map(Answer::Value),
        "nothing" => Some(Answer::Nothing),
        "refused" => Some(Answer::Refused),
        _ => None,
    }
}
