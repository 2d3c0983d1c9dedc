//! What an SRE watches of the listeners' certificates.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use connectors::ServerTls;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};
use raft_ledger::Ledger;

/// Every certificate that the site shows, by its listener's name. Listeners come and go with their feeds.
#[derive(Clone)]
pub struct Certificates {
    /// Held while they are told: two who ask at once must not both count the same failure.
    of: Arc<Mutex<BTreeMap<String, ServerTls>>>,
    ledger: Ledger,
    expiry: IntGaugeVec,
    failed: IntCounterVec,
}

impl Certificates {
    pub fn new(ledger: Ledger) -> Result<Certificates, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help).namespace("medulla");
        let expiry = opts(
            "tls_certificate_expiry_timestamp_seconds",
            "Unix time at which a listener's certificate expires",
        );
        let failed =
            opts("tls_certificate_reload_failures_total", "changed TLS files that could not be used");
        Ok(Certificates {
            of: Arc::default(),
            ledger,
            expiry: IntGaugeVec::new(expiry, &["listener"])?,
            failed: IntCounterVec::new(failed, &["listener"])?,
        })
    }

    /// `None`: the listener has none, or is there no more.
    pub fn set(&self, listener: String, tls: Option<ServerTls>) {
        let mut of = self.lock();
        // A new certificate's failures are counted from 0 again. One that had none has nothing to remove.
        let _ = self.expiry.remove_label_values(&[&listener]);
        let _ = self.failed.remove_label_values(&[&listener]);
        match tls {
            Some(tls) => of.insert(listener, tls),
            None => of.remove(&listener),
        };
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ServerTls>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Certificates {
    fn desc(&self) -> Vec<&Desc> {
        [self.expiry.desc(), self.failed.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let listeners = self.lock();
        let ledger = self.ledger.certificate();
        let of =
            listeners.iter().map(|(name, tls)| (name.as_str(), tls.expires_at_s(), tls.failed_reloads()));
        for (listener, expires_at_s, failed) in
            of.chain([("ledger", ledger.expires_at_s, ledger.failed_reloads)])
        {
            self.expiry.with_label_values(&[listener]).set(expires_at_s);
            let counter = self.failed.with_label_values(&[listener]);
            counter.inc_by(failed.saturating_sub(counter.get()));
        }
        [self.expiry.collect(), self.failed.collect()].concat()
    }
}
