//! What an SRE watches of the listeners' certificates.

use connectors::ServerTls;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};
use raft_ledger::Ledger;

/// Every certificate that the site shows, by its listener's name.
pub struct Certificates {
    of: Vec<(String, ServerTls)>,
    ledger: Ledger,
    expiry: IntGaugeVec,
    failed: IntCounterVec,
}

impl Certificates {
    pub fn new(of: Vec<(String, ServerTls)>, ledger: Ledger) -> Result<Certificates, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help).namespace("medulla");
        let expiry = opts(
            "tls_certificate_expiry_timestamp_seconds",
            "Unix time at which a listener's certificate expires",
        );
        let failed =
            opts("tls_certificate_reload_failures_total", "changed TLS files that could not be used");
        Ok(Certificates {
            of,
            ledger,
            expiry: IntGaugeVec::new(expiry, &["listener"])?,
            failed: IntCounterVec::new(failed, &["listener"])?,
        })
    }
}

impl Collector for Certificates {
    fn desc(&self) -> Vec<&Desc> {
        [self.expiry.desc(), self.failed.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let ledger = self.ledger.certificate();
        let of = self.of.iter().map(|(name, tls)| (name.as_str(), tls.expires_at_s(), tls.failed_reloads()));
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
