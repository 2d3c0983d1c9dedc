//! The wiring of one site, last to first, on one page.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use ml_scoring::Tier;
use raft_ledger::Ledger;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::alerter::Alerter;
use crate::board::Board;
use crate::checkpoint;
use crate::clock;
use crate::committer::Committer;
use crate::delivery::Common;
use crate::drift::Windows;
use crate::feeds::Feeds;
use crate::handle::{Endings, Handle, Inner, Threads};
use crate::metrics::Metrics;
use crate::parts::Parts;
use crate::patient::Assessor;
use crate::registry;
use crate::shadow::Tallies;
use crate::shard::Shard;
use crate::silence::Sitter;
use crate::sinks::Sinks;
use crate::tail::{Tail, TailParts};
use crate::ticker::Ticker;
use crate::told::Told;

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

        show_from_zero(&metrics, &scorers, &ledger);
        let (policy_sender, policies) = watch::channel(policy.clone());
        let told = Told::new(ledger.clone(), policies.clone());
        let (alerts_sender, alerts) = watch::channel(0);
        let (settled_sender, settled) = watch::channel(0);
        let (of_site, of_metrics, of_told) = (site.clone(), metrics.clone(), told.clone());
        let running_sinks = Sinks::new(Common {
            ledger: ledger.clone(),
            told: of_told,
            site: of_site,
            alerts,
            metrics: of_metrics,
        });
        // It cannot stop yet.
        let _ = running_sinks.start(sinks).await;

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
            policy: policies,
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
        let running_feeds = Arc::new(Feeds::new(site.clone(), ledger.clone(), committer, metrics.clone()));
        let sitter = Sitter { ledger: ledger.clone(), feeds: running_feeds.clone() };
        actix::spawn(running_feeds.stop().clone().run_until_cancelled_owned(sitter.run()));

        let endings = Endings { tail: tail_ending, threads };
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
                feeds: running_feeds,
                sinks: running_sinks,
                policy: policy_sender,
                metrics,
                repairing: tokio::sync::Mutex::default(),
                deciding: tokio::sync::Mutex::default(),
                settled,
                stop_tail,
                endings: Mutex::new(Some(endings)),
            }),
        };
        let _ = handle.start_feeds(feeds).await;
        Ok(handle)
    }
}

/// A counter that first appears at 1 was never seen to rise: what people are alerted by exists from the start.
fn show_from_zero(metrics: &Metrics, scorers: &[ml_scoring::Scorer], ledger: &Ledger) {
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
}
