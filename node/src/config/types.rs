//! The configuration once it is read and found right.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use actors::Silence;
use connectors::TokenSource;
use connectors::amqp::Broker;
use ml_scoring::AlertPolicy;
use raft_ledger::MasterKey;

use super::Secret;
use super::contents::Contents;

#[derive(Clone, Debug)]
pub struct Config {
    pub site: Site,
    pub http: Http,
    pub ledger: Ledger,
    pub log: Option<Log>,
    pub feeds: Vec<Feed>,
    pub sinks: Vec<Sink>,
    pub scoring: Scoring,
    pub alerts: Alerts,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Also the subject alternative name of the site's certificate.
    pub name: String,
    pub data: PathBuf,
    /// IANA name.
    pub zone: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    pub listen: SocketAddr,
    pub tls: Option<Tls>,
    pub users: Vec<User>,
    pub tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// PEM, the site's certificate first.
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// What a signed-in person or program may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees patients and alerts, answers alerts.
    Care,
    /// Sees feeds and messages.
    Engineer,
    /// All of it.
    Admin,
    /// A program that may post to `/fhir` and `/hl7`, and nothing else.
    Feed,
}

impl Role {
    pub const ALL: [(&'static str, Role); 4] =
        [("care", Role::Care), ("engineer", Role::Engineer), ("admin", Role::Admin), ("feed", Role::Feed)];
}

#[derive(Clone, Debug, PartialEq)]
pub struct User {
    pub name: String,
    /// PHC string, made by `medulla password hash`.
    pub password_hash: Secret,
    pub roles: Vec<Role>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub name: String,
    /// PHC string, made by `medulla password hash`.
    pub token_hash: Secret,
    pub roles: Vec<Role>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Ledger {
    /// Raft over mutually authenticated TLS.
    pub listen: SocketAddr,
    /// This site's folder as `medulla keys init` made it.
    pub keys: PathBuf,
    /// Where the master key is, if not in `keys`.
    pub master: Option<MasterKey>,
    /// True at exactly one site of a consortium.
    pub initialise: bool,
    pub peers: Vec<Peer>,
    /// The peer that holds this site's keys, too, and stands in for it when it is gone; the next voter in the order of the
    /// names unless given.
    pub takeover: Option<String>,
    /// What messages of feeds with `ack = "site"` may take on the disk until a quorum has them.
    pub outbox_max_bytes: u64,
    /// After so long without a word from a site the leader says that it is gone.
    pub takeover_after_s: u64,
    pub retention: Retention,
}

/// Sealed history that moves out of the database into cold files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retention {
    /// By itself after so many days; without it when `medulla ledger archive` asks.
    pub after_days: Option<u64>,
    /// Folder of the cold files; in the site's data without it.
    pub dir: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    pub name: String,
    /// `host:port`.
    pub address: String,
}

/// A listener for `/log/` alone, open to everybody.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub listen: SocketAddr,
    pub tls: Option<Tls>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    pub name: String,
    pub kind: FeedKind,
    /// Assigning authority where a message names none.
    pub authority: String,
    /// IANA name; the site's unless given.
    pub zone: String,
    /// Encoding label where MSH-18 is empty.
    pub charset: Option<String>,
    pub codes: Option<PathBuf>,
    /// Ward names, `*` at the end matches any rest.
    pub icu_wards: Vec<String>,
    /// MSH-11: `P`, `T`, `D`; at least one.
    pub processing_ids: Vec<String>,
    pub on_error: OnError,
    pub ack: Ack,
    pub silence: Silence,
    pub max_message_bytes: usize,
    pub contents: Contents,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// It waits in the ledger for a person.
    Hold,
    DeadLetter,
    /// It is read again by itself at a start of the feed that brings another way to read it, at most so often.
    Retry(u8),
}

/// What becomes of an alert that its receiver refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnNack {
    Skip,
    /// Nothing follows it until a person lets it go.
    Hold,
    Retry(u8),
}

/// The point before which no positive answer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    Quorum,
    Site,
}

#[derive(Clone, Debug, PartialEq)]
pub enum FeedKind {
    Mllp {
        listen: SocketAddr,
        tls: Option<Tls>,
        /// PEM: only clients with a certificate of this authority are let in.
        tls_client_ca: Option<PathBuf>,
        /// HL7 enhanced mode's application answers go there, as messages of their own.
        application_acks: Option<Receiver>,
    },
    Kafka {
        brokers: String,
        topics: Vec<String>,
        group: String,
        dead_letter_topic: Option<String>,
        /// Passed to librdkafka as they are; may hold passwords.
        options: BTreeMap<String, Secret>,
        token: Option<TokenSource>,
    },
    Amqp {
        broker: Broker,
        queue: String,
        prefetch: u16,
        dead_letter_exchange: Option<String>,
        /// Make the queue and the dead-letter exchange where they are missing.
        declare: bool,
    },
    /// Authority, zone and codes for what is posted to `/fhir` and `/hl7`.
    Http,
    File {
        path: PathBuf,
        watch: bool,
    },
}

impl FeedKind {
    pub const NAMES: [&'static str; 5] = ["mllp", "kafka", "amqp", "http", "file"];

    pub fn name(&self) -> &'static str {
        match self {
            FeedKind::Mllp { .. } => "mllp",
            FeedKind::Kafka { .. } => "kafka",
            FeedKind::Amqp { .. } => "amqp",
            FeedKind::Http => "http",
            FeedKind::File { .. } => "file",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sink {
    pub name: String,
    pub kind: SinkKind,
    /// Sites whose alerts it also gets while this site stands in for them.
    pub takeover_for: Vec<String>,
    pub on_nack: OnNack,
    pub contents: Contents,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SinkKind {
    Webhook { url: Secret, tls_ca: Option<PathBuf>, headers: BTreeMap<String, Secret> },
    Kafka { brokers: String, topic: String, options: BTreeMap<String, Secret>, token: Option<TokenSource> },
    Amqp { broker: Broker, exchange: String, routing_key: String },
    Mllp(Receiver),
}

/// Who takes HL7 v2 over MLLP: alerts as ORU^R01, or a feed's application answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Receiver {
    pub address: String,
    /// For connecting and for each answer.
    pub timeout_s: u64,
    pub tls: Option<ReceiverTls>,
}

/// How it is spoken to over TLS.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiverTls {
    /// PEM: authorities to trust.
    pub ca: PathBuf,
    /// Expected in the receiver's certificate; without it the host of its address.
    pub name: Option<String>,
    /// Shown to a receiver that asks for a certificate.
    pub identity: Option<Tls>,
}

impl SinkKind {
    pub const NAMES: [&'static str; 4] = ["webhook", "kafka", "amqp", "mllp"];
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scoring {
    /// Bedside scores by name: `news2` …
    pub rules: Vec<String>,
    /// Folders with `model.json` or `model.ubj`, and `card.json`.
    pub models: Vec<PathBuf>,
    /// The same, of models that score and alert nobody.
    pub shadow_models: Vec<PathBuf>,
    pub contents: Contents,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Alerts {
    /// Interruptive alerts of each scorer; further ones go to the watch list.
    pub per_ward_budget_per_day: u32,
    /// The same of scorers that have another one, by name.
    pub scorer_budgets: BTreeMap<String, u32>,
    /// Event time during which a patient's further crossings are silent.
    pub refractory_h: u32,
    /// Share of its threshold below which a risk must fall before it alerts again.
    pub rearm_below_percent: u32,
    /// How long further alerts of the same scorer are silent once a person has confirmed one.
    pub quiet_after_confirmation_h: u32,
}

impl Alerts {
    /// As the stream and evaluation run it.
    pub fn policy(&self) -> AlertPolicy {
        AlertPolicy {
            refractory_h: self.refractory_h,
            rearm_below: f64::from(self.rearm_below_percent) / 100.0,
            per_ward_budget_per_day: self.per_ward_budget_per_day,
            scorer_budgets: self.scorer_budgets.clone(),
            quiet_after_confirmation_h: self.quiet_after_confirmation_h,
        }
    }
}

impl Default for Alerts {
    fn default() -> Alerts {
        Alerts {
            per_ward_budget_per_day: 10,
            scorer_budgets: BTreeMap::new(),
            refractory_h: 12,
            rearm_below_percent: 80,
            quiet_after_confirmation_h: 72,
        }
    }
}
