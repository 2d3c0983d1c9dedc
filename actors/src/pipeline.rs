//! The wiring of one site, last to first, on one page.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use ml_scoring::{AlertPolicy, Tier};
use raft_ledger::Ledger;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::alerter::Alerter;
use crate::board::Board;
use crate::checkpoint;
use crate::clock;
use crate::committer::Committer;
use crate::delivery::{Delivery, Progress};
use crate::drift::Windows;
use crate::handle::{Endings, Handle, Inner, RunningFeed, RunningSink, Threads};
use crate::intake::Intake;
use crate::metrics::Metrics;
use crate::normaliser::Normaliser;
use crate::parts::{Ack, Parts, Sink};
use crate::patient::Assessor;
use crate::reading::Reader;
use crate::registry;
use crate::shadow::Tallies;
use crate::shard::Shard;
use crate::silence::{Sitter, Watch};
use crate::storer::Storer;
use crate::tail::{Tail, TailParts};
use crate::ticker::Ticker;
use crate::told::Told;
use crate::window::Window;

/// How often the care board is told of patients that changed.
const BOARD_EVERY: Duration = Duration::from_millis(500);
const SHARDS: usize = 2;

pub struct Pipeline;

impl Pipeline {
    /// Must be called inside an actix system. Messages flow when this returns.
    pub async fn start(parts: Parts) -> Result<Handle, prometheus::Error> {
        let Parts { site, ledger, feeds, sinks, mut scorers, shadow_scorers, policy, tick } = parts;
        let configured = registry::configured(&site, &shadow_scorers);
        scorers.extend(shadow_scorers);
        let metrics = Metrics::new()?;
        let board = Arc::new(Mutex::new(Board::new(clock::now())));
        if let Err(error) = registry::announce(&ledger, &configured, &scorers) {
            tracing::error!(%error, "the ledger's entries about models cannot be read; none was written");
        }

        show_from_zero(&metrics, &scorers, &sinks, &ledger);
        let stands_for = sinks.iter().flat_map(|sink| sink.takeover_for.iter().cloned()).collect();
        let told = Told::new(ledger.clone(), refractory(&policy), stands_for);
        let (alerts_sender, alerts) = watch::channel(0);
        let (settled_sender, settled) = watch::channel(0);
        let sinks = sinks
            .into_iter()
            .map(|sink| {
                let progress = Arc::new(Mutex::new(Progress::default()));
                let running = RunningSink {
                    name: sink.name.clone(),
                    kind: sink.kind,
                    on_nack: sink.on_nack,
                    progress: progress.clone(),
                    releasing: tokio::sync::Mutex::default(),
                };
                let (ledger, site) = (ledger.clone(), site.clone());
                let (alerts, metrics, told) = (alerts.clone(), metrics.clone(), told.clone());
                Delivery::start_in_arbiter(&Arbiter::new().handle(), move |_| {
                    Delivery::new(sink, ledger, told, site, alerts, progress, metrics)
                });
                running
            })
            .collect();

        let (tail_finished, tail_ending) = oneshot::channel();
        let stop_tail = CancellationToken::new();
        let scorers = Arc::new(scorers);
        let budgets = Arc::new(Mutex::new(checkpoint::load_budgets(&ledger)));
        let tallies = Arc::new(Mutex::new(Tallies::default()));
        let windows = Arc::new(Mutex::new(Windows::default()));
        let mut threads = Threads::default();
        let shards: Vec<Addr<Shard>> = (0..SHARDS)
            .map(|_| {
                let assessor =
                    Assessor::new(scorers.clone(), policy.clone(), budgets.clone(), metrics.clone());
                let site = site.clone();
                Shard::start_in_arbiter(&threads.start(), move |_| Shard::new(assessor, site))
            })
            .collect();
        let alerter = Alerter::new(ledger.clone(), told, metrics.clone()).start();
        let tail = TailParts {
            site: site.clone(),
            ledger: ledger.clone(),
            shards: shards.clone(),
            alerter,
            board: board.clone(),
            budgets,
            scorers: scorers.clone(),
            configured: configured.clone(),
            policy,
            tallies: tallies.clone(),
            windows: windows.clone(),
            metrics: metrics.clone(),
            alerts: alerts_sender,
            settled: settled_sender,
            stop: stop_tail.clone(),
            finished: tail_finished,
        };
        Tail::start_in_arbiter(&threads.start(), move |_| Tail::new(tail));
        Ticker::new(ledger.clone(), site.clone(), tick).start();
        let flushed = board.clone();
        actix::spawn(async move {
            loop {
                tokio::time::sleep(BOARD_EVERY).await;
                flushed.lock().expect("board lock").flush();
            }
        });

        let committer = {
            let (ledger, metrics) = (ledger.clone(), metrics.clone());
            Committer::start_in_arbiter(&threads.start(), move |_| Committer::new(ledger, metrics))
        };
        let stop_feeds = CancellationToken::new();
        let mut running = Vec::new();
        let mut feed_endings = Vec::new();
        let mut watched = Vec::new();
        for feed in feeds {
            let window = Window::new();
            let (finished, ending) = oneshot::channel();
            let status = feed.source.status();
            let silence = Watch::new(&feed.name, feed.silence, &feed.reader.zone, &ledger);
            watched.push((silence.clone(), status.clone()));
            running.push(RunningFeed {
                reader: Reader::new(&feed, ledger.index_key()),
                name: feed.name.clone(),
                kind: feed.kind,
                ack: feed.ack,
                status,
                silence,
                window: window.clone(),
            });
            feed_endings.push(ending);
            let reader = Reader::new(&feed, ledger.index_key());
            let stop = stop_feeds.clone();
            let thread = threads.start();
            let committer = match feed.ack {
                Ack::Quorum => committer.clone().recipient(),
                Ack::Site => {
                    let (outbox, metrics) = (ledger.outbox().clone(), metrics.clone());
                    let storer = move |_: &mut _| Storer::new(feed.kind, outbox, metrics);
                    Storer::start_in_arbiter(&thread, storer).recipient()
                }
            };
            let normaliser =
                Normaliser::start_in_arbiter(&thread, move |_| Normaliser::new(reader, committer));
            Intake::start_in_arbiter(&thread, move |_| {
                Intake::new(feed.source, window, normaliser, stop, finished)
            });
        }

        let sitter = Sitter { ledger: ledger.clone(), feeds: watched };
        actix::spawn(stop_feeds.clone().run_until_cancelled_owned(sitter.run()));

        let endings = Endings { feeds: feed_endings, tail: tail_ending, threads };
        let stop_retries = stop_feeds.clone();
        let handle = Handle {
            inner: Arc::new(Inner {
                site,
                ledger,
                board,
                shards,
                scorers,
                configured,
                tallies,
                windows,
                feeds: running,
                sinks,
                metrics,
                repairing: tokio::sync::Mutex::default(),
                deciding: tokio::sync::Mutex::default(),
                settled,
                stop_feeds,
                stop_tail,
                endings: Mutex::new(Some(endings)),
            }),
        };
        actix::spawn(handle.clone().retry_by_itself(stop_retries));
        Ok(handle)
    }
}

/// In event time.
fn refractory(policy: &AlertPolicy) -> Duration {
    Duration::from_secs(u64::from(policy.refractory_h) * 3600)
}

/// A counter that first appears at 1 was never seen to rise: what people are alerted by exists from the start.
fn show_from_zero(metrics: &Metrics, scorers: &[ml_scoring::Scorer], sinks: &[Sink], ledger: &Ledger) {
    for peer in ledger.status().peers {
        metrics.takeover_active.with_label_values(&[&peer.name]);
    }
    for code in ["merge-cycle", "merge-contradicts"] {
        metrics.merges_refused.with_label_values(&[code]);
    }
    for scorer in scorers {
        for tier in [Tier::Watch, Tier::Interruptive] {
            metrics.alerts.with_label_values(&[scorer.name(), tier.as_str()]);
        }
    }
    for sink in sinks {
        for outcome in ["delivered", "refused", "retry"] {
            metrics.deliveries.with_label_values(&[sink.name.as_str(), outcome]);
        }
        metrics.sink_held.with_label_values(&[sink.name.as_str()]);
    }
}
