//! The site's clock in the ledger: hours close for patients who send nothing.

use std::time::Duration;

use actix::prelude::*;
use raft_ledger::Ledger;

use crate::entry::{self, Kind, Tick};
use crate::{clock, outgoing};

pub(crate) struct Ticker {
    ledger: Ledger,
    site: String,
    every: Duration,
}

impl Ticker {
    pub fn new(ledger: Ledger, site: String, every: Duration) -> Ticker {
        Ticker { ledger, site, every: every.max(Duration::from_secs(1)) }
    }
}

impl Actor for Ticker {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let (ledger, site, every) = (self.ledger.clone(), self.site.clone(), self.every);
        context.spawn(tick(ledger, site, every).into_actor(self));
    }
}

/// Ticks stand on whole multiples of the interval, so that a restart within one repeats none.
async fn tick(ledger: Ledger, site: String, every: Duration) {
    let every_ms = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
    loop {
        let now = clock::now().0;
        let next = (now.div_euclid(every_ms) + 1).saturating_mul(every_ms);
        tokio::time::sleep(Duration::from_millis(next.saturating_sub(now).unsigned_abs())).await;
        let at = clinical::Time(next);
        let mut draft = outgoing::draft(&ledger, Kind::Tick, b"tick", entry::encode(&Tick { at }, b""), at);
        draft.dedupe = Some(ledger.keyed_hash("tick", &[site.as_bytes(), &next.to_be_bytes()]));
        outgoing::append(&ledger, draft).await;
    }
}
