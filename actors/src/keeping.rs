//! Alerts on their way into the ledger while the tail reads on: those of one commit go together, in their order.

use actix::prelude::*;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use crate::alerter::{Alerter, Keep};
use crate::entry::Alert;

/// With more, the tail waits: without a quorum it must not go on for ever.
const WAITING_MAX: usize = 1024;

pub(crate) struct Keeping {
    alerter: Addr<Alerter>,
    /// And how many.
    under_way: Option<(LocalBoxFuture<'static, ()>, usize)>,
    waiting: Vec<Alert>,
}

impl Keeping {
    pub fn new(alerter: Addr<Alerter>) -> Keeping {
        Keeping { alerter, under_way: None, waiting: Vec::new() }
    }

    /// Oldest first.
    pub async fn add(&mut self, alerts: Vec<Alert>) {
        self.waiting.extend(alerts);
        if self.under_way.as_mut().is_none_or(|(kept, _)| kept.now_or_never().is_some()) {
            self.start();
        }
        while self.waiting.len() > WAITING_MAX {
            self.next().await;
        }
    }

    /// Drops those that are not on their way yet and meant by this.
    pub fn forget(&mut self, is_meant: impl Fn(&Alert) -> bool) {
        self.waiting.retain(|alert| !is_meant(alert));
    }

    /// Alerts that are not committed yet.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.under_way.as_ref().map_or(0, |(_, count)| *count)
    }

    /// Waits for the commit that is under way, and begins the next one.
    pub async fn next(&mut self) {
        if let Some((kept, _)) = &mut self.under_way {
            kept.await;
            self.start();
        }
    }

    /// Waits until every alert is in the ledger.
    pub async fn all(&mut self) {
        while self.len() > 0 {
            self.next().await;
        }
    }

    fn start(&mut self) {
        let alerts = std::mem::take(&mut self.waiting);
        let count = alerts.len();
        // The alerter is gone only when the site stops: the next start folds this part of the ledger again.
        let keep = |alerts| self.alerter.send(Keep(alerts)).map(drop).boxed_local();
        self.under_way = (count > 0).then(|| (keep(alerts), count));
    }
}
