//! What one configuration has that another has not, by the names that people gave. Values are never told: some are
//! secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use connectors::amqp::Broker;
use serde::Serialize;
use utoipa::ToSchema;

use super::Secret;
use super::contents::Contents;
use super::types::{Alerts, Config, Feed, FeedKind, Ledger, Scoring, Sink, SinkKind};

/// The one section that is taken over as a whole.
const ALERTS: &str = "alerts";

/// Of a feed: what its connections do not depend on.
const HOW_IT_READS: [&str; 7] =
    ["authority", "charset", "codes", "icu_wards", "processing_ids", "silence", "zone"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    Feed,
    Sink,
    User,
    Token,
    /// `[alerts]`, `[ledger]`, `[scoring]` …
    Section,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Difference {
    Added,
    Removed,
    Changed,
}

/// One difference between the configuration that runs and a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Change {
    pub subject: Subject,
    pub name: String,
    pub difference: Difference,
    /// Of what changed; a file's name where the file is the same and its content is not.
    #[schema(value_type = Vec<String>)]
    pub fields: Vec<&'static str>,
    /// The running site goes on with what it has.
    pub needs_restart: bool,
}

impl Change {
    /// A feed that reads otherwise, or is watched otherwise, and goes on with its connections.
    pub fn is_of_reading(&self) -> bool {
        self.subject == Subject::Feed
            && self.difference == Difference::Changed
            && self.fields.iter().all(|field| HOW_IT_READS.contains(field))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { subject, name, difference, fields, needs_restart } = self;
        match subject {
            Subject::Section => write!(f, "[{name}]")?,
            Subject::Feed => write!(f, "feed {name}")?,
            Subject::Sink => write!(f, "sink {name}")?,
            Subject::User => write!(f, "user {name}")?,
            Subject::Token => write!(f, "token {name}")?,
        }
        f.write_str(match difference {
            Difference::Added => " added",
            Difference::Removed => " removed",
            Difference::Changed => " changed",
        })?;
        if !fields.is_empty() {
            write!(f, ": {}", fields.join(", "))?;
        }
        f.write_str(if *needs_restart { " (needs a restart)" } else { "" })
    }
}

impl Config {
    /// What is otherwise in `new`: feeds first, then sinks, who may sign in, and the sections.
    pub fn changes_to(&self, new: &Config) -> Vec<Change> {
        let http = differing([
            ("listen", self.http.listen == new.http.listen),
            ("tls_cert and tls_key", self.http.tls == new.http.tls),
        ]);
        let mut changes = named(Subject::Feed, &self.feeds, &new.feeds, |feed| &feed.name, feed_fields);
        changes.extend(named(Subject::Sink, &self.sinks, &new.sinks, |sink| &sink.name, sink_fields));
        // Who may sign in and where from belong together: without anybody, only loopback is safe.
        let (users, tokens) = (&self.http.users, &self.http.tokens);
        let mut people = named(
            Subject::User,
            users,
            &new.http.users,
            |user| &user.name,
            |old, new| {
                differing([
                    ("password_hash", old.password_hash == new.password_hash),
                    ("roles", old.roles == new.roles),
                ])
            },
        );
        people.extend(named(
            Subject::Token,
            tokens,
            &new.http.tokens,
            |token| &token.name,
            |old, new| {
                differing([
                    ("token_hash", old.token_hash == new.token_hash),
                    ("roles", old.roles == new.roles),
                ])
            },
        ));
        people.iter_mut().for_each(|change| change.needs_restart = !http.is_empty());
        changes.extend(people);
        let sections = [
            ("site", site_fields(self, new)),
            ("http", http),
            ("ledger", ledger_fields(&self.ledger, &new.ledger)),
            ("log", differing([("listen, tls_cert and tls_key", self.log == new.log)])),
            ("scoring", scoring_fields(&self.scoring, &new.scoring)),
            (ALERTS, alert_fields(&self.alerts, &new.alerts)),
        ];
        let sections = sections.into_iter().filter(|(_, fields)| !fields.is_empty());
        changes.extend(sections.map(|(name, fields)| Change {
            subject: Subject::Section,
            name: name.to_owned(),
            difference: Difference::Changed,
            fields,
            needs_restart: name != ALERTS,
        }));
        changes
    }
}

/// Added and changed in the order of the new ones, then removed.
fn named<T>(
    subject: Subject,
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> &String,
    fields: impl Fn(&T, &T) -> Vec<&'static str>,
) -> Vec<Change> {
    let change = |of: &T, difference, fields| {
        let name = name(of).clone();
        Change { subject, name, difference, fields, needs_restart: false }
    };
    let mut changes = Vec::new();
    for item in new {
        match old.iter().find(|former| name(former) == name(item)) {
            None => changes.push(change(item, Difference::Added, Vec::new())),
            Some(former) => {
                let fields = fields(former, item);
                if !fields.is_empty() {
                    changes.push(change(item, Difference::Changed, fields));
                }
            }
        }
    }
    let kept: BTreeSet<&String> = new.iter().map(&name).collect();
    let removed = old.iter().filter(|former| !kept.contains(name(former)));
    changes.extend(removed.map(|former| change(former, Difference::Removed, Vec::new())));
    changes
}

/// The names of what is not the same.
fn differing<const N: usize>(same: [(&'static str, bool); N]) -> Vec<&'static str> {
    same.into_iter().filter(|(_, is_same)| !is_same).map(|(name, _)| name).collect()
}

// Taken apart whole, so that a new field cannot be forgotten.
fn feed_fields(old: &Feed, new: &Feed) -> Vec<&'static str> {
    let Feed {
        name: _,
        kind,
        authority,
        zone,
        charset,
        codes,
        icu_wards,
        processing_ids,
        on_error,
        ack,
        silence,
        max_message_bytes,
        contents,
    } = old;
    let same_content = |file: Option<&Path>| contents.is_same(&new.contents, file);
    let same_codes = *codes == new.codes && same_content(new.codes.as_deref());
    let mut fields = kind_fields(kind, &new.kind, same_content);
    fields.extend(differing([
        ("authority", *authority == new.authority),
        ("zone", *zone == new.zone),
        ("charset", *charset == new.charset),
        ("codes", same_codes),
        ("icu_wards", *icu_wards == new.icu_wards),
        ("processing_ids", *processing_ids == new.processing_ids),
        ("on_error", *on_error == new.on_error),
        ("ack", *ack == new.ack),
        ("silence", *silence == new.silence),
        ("max_message_bytes", *max_message_bytes == new.max_message_bytes),
    ]));
    fields
}

fn kind_fields(
    old: &FeedKind,
    new: &FeedKind,
    same_content: impl Fn(Option<&Path>) -> bool,
) -> Vec<&'static str> {
    use FeedKind::{Amqp, File, Http, Kafka, Mllp};
    let same_files = |options: &BTreeMap<String, Secret>| {
        Contents::files_of_kafka(options).all(|file| same_content(Some(&file)))
    };
    match (old, new) {
        (
            Mllp { listen, tls, tls_client_ca, application_acks },
            Mllp { listen: at, tls: shown, tls_client_ca: asked, application_acks: to },
        ) => differing([
            ("listen", listen == at),
            ("tls_cert and tls_key", tls == shown),
            ("tls_client_ca", tls_client_ca == asked),
            ("application_acks", application_acks == to),
        ]),
        (
            Kafka { brokers, topics, group, dead_letter_topic, options, token },
            Kafka { brokers: b, topics: t, group: g, dead_letter_topic: d, options: o, token: k },
        ) => differing([
            ("brokers", brokers == b),
            ("topics", topics == t),
            ("group", group == g),
            ("dead_letter_topic", dead_letter_topic == d),
            ("options", options == o && same_files(o)),
            ("token_file or token_command", token == k),
        ]),
        (
            Amqp { broker, queue, prefetch, dead_letter_exchange, declare },
            Amqp { broker: b, queue: q, prefetch: p, dead_letter_exchange: e, declare: d },
        ) => {
            let mut fields = broker_fields(broker, b, same_content(b.tls_ca.as_deref()));
            fields.extend(differing([
                ("queue", queue == q),
                ("prefetch", prefetch == p),
                ("dead_letter_exchange", dead_letter_exchange == e),
                ("declare", declare == d),
            ]));
            fields
        }
        (Http, Http) => Vec::new(),
        (File { path, watch }, File { path: p, watch: w }) => {
            differing([("path", path == p), ("watch", watch == w)])
        }
        (Mllp { .. } | Kafka { .. } | Amqp { .. } | Http | File { .. }, _) => vec!["kind"],
    }
}

/// Certificate, key and token are read for each connection: only their names count.
fn broker_fields(old: &Broker, new: &Broker, same_ca: bool) -> Vec<&'static str> {
    let Broker { url, tls_ca, tls_cert, tls_key, auth, token } = old;
    differing([
        ("url", *url == new.url),
        ("tls_ca", *tls_ca == new.tls_ca && same_ca),
        ("tls_cert and tls_key", *tls_cert == new.tls_cert && *tls_key == new.tls_key),
        ("auth", *auth == new.auth),
        ("token_file or token_command", *token == new.token),
    ])
}

fn sink_fields(old: &Sink, new: &Sink) -> Vec<&'static str> {
    use SinkKind::{Amqp, Kafka, Mllp, Webhook};
    let Sink { name: _, kind, takeover_for, on_nack, contents } = old;
    let same_ca = |was: &Option<PathBuf>, is: &Option<PathBuf>| {
        was == is && contents.is_same(&new.contents, is.as_deref())
    };
    let same_files = |options: &BTreeMap<String, Secret>| {
        Contents::files_of_kafka(options).all(|file| contents.is_same(&new.contents, Some(&file)))
    };
    let mut fields = match (kind, &new.kind) {
        (Webhook { url, tls_ca, headers }, Webhook { url: u, tls_ca: t, headers: h }) => {
            differing([("url", url == u), ("tls_ca", same_ca(tls_ca, t)), ("headers", headers == h)])
        }
        (Kafka { brokers, topic, options, token }, Kafka { brokers: b, topic: t, options: o, token: k }) => {
            differing([
                ("brokers", brokers == b),
                ("topic", topic == t),
                ("options", options == o && same_files(o)),
                ("token_file or token_command", token == k),
            ])
        }
        (Amqp { broker, exchange, routing_key }, Amqp { broker: b, exchange: e, routing_key: r }) => {
            let mut fields = broker_fields(broker, b, same_ca(&broker.tls_ca, &b.tls_ca));
            fields.extend(differing([("exchange", exchange == e), ("routing_key", routing_key == r)]));
            fields
        }
        (Mllp(was), Mllp(is)) => differing([
            ("address", was.address == is.address),
            ("timeout_s", was.timeout_s == is.timeout_s),
            ("tls_ca, tls_name, tls_cert and tls_key", was.tls == is.tls),
        ]),
        (Webhook { .. } | Kafka { .. } | Amqp { .. } | Mllp(_), _) => vec!["kind"],
    };
    fields.extend(differing([
        ("takeover_for", *takeover_for == new.takeover_for),
        ("on_nack", *on_nack == new.on_nack),
    ]));
    fields
}

/// Not the zone: it stands in the feeds that take it from here.
fn site_fields(old: &Config, new: &Config) -> Vec<&'static str> {
    differing([("name", old.site.name == new.site.name), ("data", old.site.data == new.site.data)])
}

fn ledger_fields(old: &Ledger, new: &Ledger) -> Vec<&'static str> {
    let Ledger {
        listen,
        keys,
        master,
        initialise,
        peers,
        takeover,
        outbox_max_bytes,
        takeover_after_s,
        retention,
    } = old;
    differing([
        ("listen", *listen == new.listen),
        ("keys", *keys == new.keys),
        ("master key", *master == new.master),
        ("initialise", *initialise == new.initialise),
        ("peers", *peers == new.peers),
        ("takeover", *takeover == new.takeover),
        ("outbox_max_bytes", *outbox_max_bytes == new.outbox_max_bytes),
        ("takeover_after_s", *takeover_after_s == new.takeover_after_s),
        ("retention", *retention == new.retention),
    ])
}

fn scoring_fields(old: &Scoring, new: &Scoring) -> Vec<&'static str> {
    let Scoring { rules, models, shadow_models, contents } = old;
    let (same_models, same_shadow) = (*models == new.models, *shadow_models == new.shadow_models);
    differing([
        ("rules", *rules == new.rules),
        ("models", same_models),
        ("shadow_models", same_shadow),
        ("files of the models", !same_models || !same_shadow || *contents == new.contents),
    ])
}

fn alert_fields(old: &Alerts, new: &Alerts) -> Vec<&'static str> {
    let Alerts {
        per_ward_budget_per_day,
        scorer_budgets,
        refractory_h,
        rearm_below_percent,
        quiet_after_confirmation_h,
    } = old;
    differing([
        ("per_ward_budget_per_day", *per_ward_budget_per_day == new.per_ward_budget_per_day),
        ("scorer_budgets", *scorer_budgets == new.scorer_budgets),
        ("refractory_h", *refractory_h == new.refractory_h),
        ("rearm_below_percent", *rearm_below_percent == new.rearm_below_percent),
        ("quiet_after_confirmation_h", *quiet_after_confirmation_h == new.quiet_after_confirmation_h),
    ])
}

#[cfg(test)]
mod tests;
