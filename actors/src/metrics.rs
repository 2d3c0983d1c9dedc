//! What an SRE watches. Labels are configuration (feed, sink, scorer) or stable codes, never patient data.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use crate::tap::Tap;

/// Every metric of a site, registered under `medulla_…`.
#[derive(Clone)]
pub struct Metrics {
    pub registry: Registry,
    /// Hears of each message where it is counted.
    pub(crate) tap: Tap,
    /// By feed, type and outcome (`committed`, `stored`, `duplicate`, `rejected`, `retry`).
    pub messages: IntCounterVec,
    /// By feed and stable code.
    pub rejected: IntCounterVec,
    /// By feed: messages whose control id had named another one.
    pub control_ids_reused: IntCounterVec,
    /// Of messages that were taken, by feed and the issue's stable code, each once a message.
    pub issues: IntCounterVec,
    /// Of patients, by why they were kept and not followed.
    pub merges_refused: IntCounterVec,
    /// Receipt to the feed's ack point.
    pub commit_seconds: HistogramVec,
    /// Messages between receipt and settling, by feed.
    pub queue_depth: IntGaugeVec,
    /// Age of the oldest of them.
    pub queue_age_seconds: GaugeVec,
    /// Messages waiting at the sender's side, where the transport can tell.
    pub feed_lag: IntGaugeVec,
    /// Bad frames, lost connections: survived.
    pub feed_faults: IntCounterVec,
    /// 1 while the feed brings nothing and should.
    pub feed_silent: IntGaugeVec,
    /// 1 while the feed runs.
    pub feed_up: IntGaugeVec,
    /// By scorer and outcome (`scored`, `insufficient`).
    pub scores: IntCounterVec,
    /// By scorer and tier.
    pub alerts: IntCounterVec,
    /// Of models in shadow, as counted since each began to be: by model and the beginning of its hash.
    pub shadow_hours: IntGaugeVec,
    /// And by tier.
    pub shadow_alerts: IntGaugeVec,
    /// And by who reached its threshold (`both`, `only_live`, `only_shadow`, `neither`).
    pub shadow_agreement: IntGaugeVec,
    /// Population stability index against a model's training data: by model, the beginning of its hash, column, and whether
    /// of values or of how often they are measured. At most two a column and model; absent until there are enough patients.
    pub drift_psi: GaugeVec,
    /// Stays in the window that is compared.
    pub drift_stays: IntGaugeVec,
    /// Receipt of the trigger to the alert's commit.
    pub alert_seconds: Histogram,
    pub acknowledge_seconds: Histogram,
    /// By sink and outcome (`delivered`, `refused`, `retry`).
    pub deliveries: IntCounterVec,
    /// Of HL7 enhanced mode that are messages of their own, by feed and outcome (`delivered`, `refused`, `retry`,
    /// `unanswered`, `unreadable`).
    pub application_acks: IntCounterVec,
    /// 1 while a sink stands at an alert that its receiver refused, until a person lets it go.
    pub sink_held: IntGaugeVec,
    /// Entries committed and not scored yet, and alerts decided and not committed yet.
    pub tail_lag: IntGauge,
    pub ledger_size: IntGauge,
    /// Leaves under the newest cosigned checkpoint.
    pub checkpoint_size: IntGauge,
    pub checkpoint_age_seconds: Gauge,
    /// 1 while this site stands in for that one. Not `site`: by this name Prometheus knows who was scraped.
    pub takeover_active: IntGaugeVec,
    /// Sites that have signed what contradicts themselves or the majority, as this site can prove.
    pub evidence_sites: IntGauge,
    /// 1 once the site's ledger database was found damaged, until it is healed.
    pub ledger_damaged: IntGauge,
    /// 0 here: while a ledger is healed there is no pipeline, and the site says 1 for itself.
    pub ledger_healing: IntGauge,
    pub ledger_in_flight_bytes: IntGauge,
    pub cold_entries: IntGauge,
    pub cold_bytes: IntGauge,
    pub cold_files_lost: IntGauge,
    pub keys_not_at_partner: IntGauge,
    /// Drafts that wait in the outbox, their bytes, and the bytes that it may hold.
    pub outbox_entries: IntGauge,
    pub outbox_bytes: IntGauge,
    pub outbox_limit_bytes: IntGauge,
    /// Age of the oldest of them.
    pub outbox_oldest_seconds: Gauge,
    /// 1 for the state that the outbox has (`normal`, `warn`, `slow`, `refuse`).
    pub outbox_state: IntGaugeVec,
    /// By what the ledger said (`committed`, `duplicate`).
    pub outbox_forwarded: IntCounterVec,
    /// 1 for the role that this site has.
    pub raft_role: IntGaugeVec,
    pub raft_term: IntGauge,
    pub raft_lag: IntGaugeVec,
    pub peers_connected: Gauge,
}

impl Metrics {
    pub fn new() -> Result<Metrics, prometheus::Error> {
        let make = Maker(Registry::new());
        Ok(Metrics {
            messages: make.counters("messages_total", "messages by outcome", &["feed", "type", "outcome"])?,
            rejected: make.counters("rejected_total", "refused messages by reason", &["feed", "code"])?,
            control_ids_reused: make.counters(
                "control_ids_reused_total",
                "messages whose control id (MSH-10) had named another message of their sender; both are kept",
                &["feed"],
            )?,
            issues: make.counters(
                "issues_total",
                "messages taken with something to look at, by its code",
                &["feed", "code"],
            )?,
            merges_refused: make.counters(
                "merges_refused_total",
                "merges of patients that contradict earlier ones",
                &["code"],
            )?,
            commit_seconds: make.histograms(
                "commit_seconds",
                "receipt to the feed's ack point",
                &["feed"],
            )?,
            queue_depth: make.gauges("queue_depth", "messages received and not settled", &["feed"])?,
            queue_age_seconds: make.float_gauges(
                "queue_age_seconds",
                "age of the oldest unsettled message",
                &["feed"],
            )?,
            feed_lag: make.gauges("feed_lag", "messages waiting at the sender's side", &["feed"])?,
            feed_faults: make.counters(
                "feed_faults_total",
                "bad frames and lost connections that were survived",
                &["feed"],
            )?,
            feed_silent: make.gauges(
                "feed_silent",
                "1 while the feed brings nothing and should",
                &["feed"],
            )?,
            feed_up: make.gauges("feed_up", "1 while the feed runs", &["feed", "kind"])?,
            scores: make.counters("scores_total", "assessments by outcome", &["scorer", "outcome"])?,
            alerts: make.counters("alerts_total", "alerts kept in the ledger", &["scorer", "tier"])?,
            shadow_hours: make.gauges(
                "shadow_hours",
                "patients' hours by what a model in shadow said",
                &["model", "hash", "outcome"],
            )?,
            shadow_alerts: make.gauges(
                "shadow_alerts",
                "alerts that a model in shadow would have made",
                &["model", "hash", "tier"],
            )?,
            shadow_agreement: make.gauges(
                "shadow_agreement_hours",
                "patients' hours by who reached its threshold",
                &["model", "hash", "agreement"],
            )?,
            drift_psi: make.float_gauges(
                "model_drift_psi",
                "population stability index against the training data, 0.1 warns, 0.25 alarms",
                &["model", "hash", "feature", "kind"],
            )?,
            drift_stays: make.gauges(
                "model_drift_stays",
                "patients' stays in the window that is compared with the training data",
                &["model", "hash"],
            )?,
            alert_seconds: make.histogram(
                "alert_seconds",
                "receipt of the trigger to the alert's commit",
                &LATENCY,
            )?,
            acknowledge_seconds: make.histogram(
                "acknowledge_seconds",
                "alert to a person's answer",
                &PEOPLE,
            )?,
            deliveries: make.counters("deliveries_total", "alerts handed to sinks", &["sink", "outcome"])?,
            application_acks: make.counters(
                "application_acks_total",
                "application answers to addresses of their own by outcome",
                &["feed", "outcome"],
            )?,
            sink_held: make.gauges(
                "sink_held",
                "1 while the sink stands at an alert that its receiver refused",
                &["sink"],
            )?,
            tail_lag: make.gauge("tail_lag", "entries committed and not scored yet")?,
            ledger_size: make.gauge("ledger_size", "leaves applied at this site")?,
            checkpoint_size: make.gauge("checkpoint_size", "leaves under the newest cosigned checkpoint")?,
            checkpoint_age_seconds: make
                .float_gauge("checkpoint_age_seconds", "since the newest cosigned checkpoint")?,
            takeover_active: make.gauges(
                "takeover_active",
                "1 while this site stands in for that one",
                &["origin"],
            )?,
            evidence_sites: make
                .gauge("evidence_sites", "sites that signed what contradicts themselves or the majority")?,
            ledger_damaged: make.gauge("ledger_damaged", "1 while this site's ledger database is damaged")?,
            ledger_healing: make
                .gauge("ledger_healing", "1 while the ledger database of this site is made again")?,
            ledger_in_flight_bytes: make
                .gauge("ledger_in_flight_bytes", "bytes appended and not applied yet")?,
            cold_entries: make.gauge("cold_entries", "entries whose payloads were moved to cold files")?,
            cold_bytes: make.gauge("cold_bytes", "bytes of the cold files")?,
            cold_files_lost: make.gauge("cold_files_lost", "cold files that are missing or damaged")?,
            keys_not_at_partner: make
                .gauge("keys_not_at_partner", "keys of subjects not known to be at the takeover partner")?,
            outbox_entries: make.gauge("outbox_entries", "entries that wait in the outbox")?,
            outbox_bytes: make.gauge("outbox_bytes", "bytes that wait in the outbox")?,
            outbox_limit_bytes: make.gauge("outbox_limit_bytes", "bytes that the outbox may hold")?,
            outbox_oldest_seconds: make
                .float_gauge("outbox_oldest_seconds", "age of the oldest entry in the outbox")?,
            outbox_state: make.gauges("outbox_state", "1 for the state of the outbox", &["state"])?,
            outbox_forwarded: make.counters(
                "outbox_forwarded_total",
                "entries that the outbox brought to the ledger",
                &["outcome"],
            )?,
            raft_role: make.gauges("raft_role", "1 for the role of this site", &["role"])?,
            raft_term: make.gauge("raft_term", "raft term")?,
            raft_lag: make.gauges("raft_lag", "raft entries a peer has yet to receive", &["peer"])?,
            peers_connected: make.float_gauge("peers_connected", "peers with a live connection")?,
            tap: Tap::default(),
            registry: make.0,
        })
    }
}

/// Seconds: half a millisecond to half a minute.
const LATENCY: [f64; 15] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
/// Seconds: a minute to half a day.
const PEOPLE: [f64; 9] = [10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 43_200.0];

struct Maker(Registry);

impl Maker {
    fn register<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        metric: C,
    ) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(opts(name, help), labels)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(opts(name, help), labels)?)
    }

    fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
        self.register(GaugeVec::new(opts(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::with_opts(opts(name, help))?)
    }

    fn float_gauge(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.register(Gauge::with_opts(opts(name, help))?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
        let opts = HistogramOpts { common_opts: opts(name, help), buckets: buckets.to_vec() };
        self.register(Histogram::with_opts(opts)?)
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, prometheus::Error> {
        let opts = HistogramOpts { common_opts: opts(name, help), buckets: LATENCY.to_vec() };
        self.register(HistogramVec::new(opts, labels)?)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("medulla")
}
