//! Some feeds and sinks of a running site exchanged for others. Whatever can fail is tried before anything ends, as far as
//! that is possible; what fails later brings the former feeds back.

use std::collections::BTreeMap;
use std::time::Duration;

use actors::Handle;
use connectors::fhir_rest::Door;
use raft_ledger::Ledger;

use super::certificates::Certificates;
use super::feeds::{self, Made};
use super::sinks;
use crate::config::{Change, Config, Difference, Feed, FeedKind, SinkKind, Subject};

/// An answer of a receiver without a limit of its own, and a quorum for its entry.
const SETTLE_MIN: Duration = Duration::from_secs(70);

/// For one that was begun and is not needed.
const GIVE_UP_MAX: Duration = Duration::from_secs(60);

/// Where the parts of a running site are.
pub struct Places<'a> {
    pub ledger: &'a Ledger,
    pub handle: &'a Handle,
    pub door: &'a Door,
    pub certificates: &'a Certificates,
}

/// Nothing was taken over.
pub enum Lost {
    Former(Former),
    /// The site stops, and what was written down is so from its next start on.
    Stopping,
}

/// The former configuration stayed.
pub struct Former {
    pub why: String,
    /// Of its feeds and sinks, those that could not be started again, or have not ended yet.
    pub feeds: Vec<String>,
    pub sinks: Vec<String>,
}

pub struct Exchange {
    /// Removed ones, and the former ones of those that changed.
    ending_feeds: Vec<String>,
    starting_feeds: Vec<Feed>,
    /// Of the starting ones, those that listen where none of the ending ones does: they listen already.
    early: BTreeMap<String, Made>,
    ending_sinks: Vec<String>,
    starting_sinks: Vec<actors::Sink>,
    /// Feeds that stay and read otherwise.
    reading: Vec<(String, clinical::Feed, actors::Silence)>,
}

impl Exchange {
    /// Ends nothing yet.
    pub async fn prepare(
        old: &Config,
        new: &Config,
        changes: &[Change],
        ledger: &Ledger,
    ) -> anyhow::Result<Exchange> {
        let named = |subject, without| -> Vec<String> {
            let of = |change: &&Change| {
                change.subject == subject && change.difference != without && !change.is_of_reading()
            };
            changes.iter().filter(of).map(|change| change.name.clone()).collect()
        };
        let starting = named(Subject::Sink, Difference::Removed);
        let starting_sinks = new.sinks.iter().filter(|sink| starting.contains(&sink.name));
        let starting_sinks =
            starting_sinks.map(|sink| sinks::make(sink, &old.site.name)).collect::<Result<_, _>>()?;
        let starting = named(Subject::Feed, Difference::Removed);
        let reads_otherwise =
            |feed: &&Feed| changes.iter().any(|change| change.is_of_reading() && change.name == feed.name);
        let reading = new.feeds.iter().filter(reads_otherwise);
        let reading = reading.map(|feed| Ok((feed.name.clone(), feeds::reader(feed)?, feed.silence)));
        let reading = reading.collect::<anyhow::Result<_>>()?;
        let mut exchange = Exchange {
            ending_feeds: named(Subject::Feed, Difference::Added),
            starting_feeds: new.feeds.iter().filter(|feed| starting.contains(&feed.name)).cloned().collect(),
            early: BTreeMap::new(),
            ending_sinks: named(Subject::Sink, Difference::Added),
            starting_sinks,
            reading,
        };
        if let Err(error) = exchange.listen_early(old, ledger).await {
            exchange.give_up().await;
            return Err(error);
        }
        Ok(exchange)
    }

    async fn listen_early(&mut self, old: &Config, ledger: &Ledger) -> anyhow::Result<()> {
        let ending = old.feeds.iter().filter(|feed| self.ending_feeds.contains(&feed.name));
        let held: Vec<u16> = ending.filter_map(port).collect();
        for feed in &self.starting_feeds {
            // An address of a machine and all of its addresses are in each other's way.
            if port(feed).is_some_and(|port| !held.contains(&port)) {
                self.early.insert(feed.name.clone(), feeds::make(feed, ledger).await?);
            }
        }
        Ok(())
    }

    /// Nothing comes of it.
    pub async fn give_up(self) {
        give_up(self.early.into_values()).await;
    }

    /// Nothing new begins before all that it replaces has ended: two that read the same queue would mix up its order. The
    /// sinks end first, since their alerts wait in the ledger, and messages at their senders.
    pub async fn carry_out(mut self, old: &Config, new: &Config, at: &Places<'_>) -> Result<(), Lost> {
        let wait = self.receivers_take(old);
        let still = at.handle.end_sinks(&self.sinks_to_end(), wait).await.map_err(stopping)?;
        if !still.is_empty() {
            give_up(self.early.into_values()).await;
            let lost = Former { sinks: still.clone(), ..Former::new(not_ended("sink", &still)) };
            return Err(bring_back(old, at, &[], &self.ending_sinks, lost).await);
        }
        let still = at.handle.end_feeds(&self.feeds_to_end()).await.map_err(stopping)?;
        if !still.is_empty() {
            give_up(self.early.into_values()).await;
            let lost = Former { feeds: still.clone(), ..Former::new(not_ended("feed", &still)) };
            return Err(bring_back(old, at, &self.ending_feeds, &self.ending_sinks, lost).await);
        }
        let mut made = Vec::new();
        for feed in &self.starting_feeds {
            let one = match self.early.remove(&feed.name) {
                Some(one) => Ok(one),
                None => feeds::make(feed, at.ledger).await,
            };
            match one {
                Ok(one) => made.push(one),
                Err(error) => {
                    give_up(made.into_iter().chain(self.early.into_values())).await;
                    let lost = Former::new(format!("{error:#}"));
                    return Err(bring_back(old, at, &self.ending_feeds, &self.ending_sinks, lost).await);
                }
            }
        }
        start(made, at).await.map_err(stopping)?;
        self.close_behind(new, at);
        at.handle.start_sinks(self.starting_sinks).await.map_err(stopping)?;
        at.handle.arrange_sinks(new.sinks.iter().map(|sink| sink.name.as_str()));
        for (feed, reader, silence) in self.reading {
            at.handle.read_otherwise(&feed, reader, silence);
        }
        Ok(())
    }

    /// Also those of a starting one's name that an earlier reload left to end by themselves.
    fn feeds_to_end(&self) -> Vec<String> {
        let starting = self.starting_feeds.iter().map(|feed| &feed.name);
        self.ending_feeds.iter().chain(starting).cloned().collect()
    }

    fn sinks_to_end(&self) -> Vec<String> {
        let starting = self.starting_sinks.iter().map(|sink| &sink.name);
        self.ending_sinks.iter().chain(starting).cloned().collect()
    }

    /// At most, until they have taken or refused what they are sent.
    fn receivers_take(&self, old: &Config) -> Duration {
        let ending = old.sinks.iter().filter(|sink| self.ending_sinks.contains(&sink.name));
        let timeouts = ending.map(|sink| match &sink.kind {
            SinkKind::Mllp(to) => Duration::from_secs(to.timeout_s),
            SinkKind::Webhook { .. } | SinkKind::Kafka { .. } | SinkKind::Amqp { .. } => Duration::ZERO,
        });
        // To connect, to write and for the answer; then that is written down.
        SETTLE_MIN + timeouts.max().unwrap_or_default() * 3
    }

    /// What the feeds that are gone leave behind.
    fn close_behind(&self, new: &Config, at: &Places<'_>) {
        at.handle.arrange_feeds(new.feeds.iter().map(|feed| feed.name.as_str()));
        for name in self.ending_feeds.iter().filter(|name| new.feeds.iter().all(|feed| feed.name != **name)) {
            at.certificates.set(feeds::listener(name), None);
        }
        if !new.feeds.iter().any(|feed| matches!(feed.kind, FeedKind::Http)) {
            at.door.close();
        }
    }
}

/// Starts those again that were told to end, but for those that are lost already.
async fn bring_back(
    old: &Config,
    at: &Places<'_>,
    feeds: &[String],
    sinks: &[String],
    mut lost: Former,
) -> Lost {
    lost.why.push_str("; the former feeds and sinks run again");
    for sink in old.sinks.iter().filter(|sink| sinks.contains(&sink.name)) {
        if lost.sinks.contains(&sink.name) {
            continue;
        }
        match sinks::make(sink, &old.site.name) {
            Ok(made) => {
                if at.handle.start_sinks(vec![made]).await.is_err() {
                    return Lost::Stopping;
                }
            }
            Err(error) => {
                lost.but_for(&error);
                lost.sinks.push(sink.name.clone());
            }
        }
    }
    for feed in old.feeds.iter().filter(|feed| feeds.contains(&feed.name)) {
        if lost.feeds.contains(&feed.name) {
            continue;
        }
        match feeds::make(feed, at.ledger).await {
            Ok(made) => {
                if start(vec![made], at).await.is_err() {
                    return Lost::Stopping;
                }
            }
            Err(error) => {
                lost.but_for(&error);
                lost.feeds.push(feed.name.clone());
            }
        }
    }
    // What listens no more shows no certificate.
    lost.feeds.iter().for_each(|name| at.certificates.set(super::feeds::listener(name), None));
    Lost::Former(lost)
}

impl Former {
    fn new(why: String) -> Former {
        Former { why, feeds: Vec::new(), sinks: Vec::new() }
    }

    fn but_for(&mut self, error: &anyhow::Error) {
        self.why.push_str(&format!(", but for one: {error:#}; mend that and reload"));
    }
}

fn not_ended(subject: &str, names: &[String]) -> String {
    let names = names.join(", ");
    format!(
        "{subject} {names} did not end; it goes on ending: reload once it has, until then it is not there"
    )
}

async fn start(made: Vec<Made>, at: &Places<'_>) -> Result<(), actors::Stopping> {
    let mut starting = Vec::with_capacity(made.len());
    for Made { feed, endpoint, tls } in made {
        if let Some(endpoint) = endpoint {
            at.door.open(endpoint);
        }
        at.certificates.set(feeds::listener(&feed.name), tls);
        starting.push(feed);
    }
    at.handle.start_feeds(starting).await
}

fn stopping(_: actors::Stopping) -> Lost {
    Lost::Stopping
}

async fn give_up(made: impl Iterator<Item = Made>) {
    for mut one in made {
        // Nothing of it was taken: dropped, it ends by itself.
        let _ = tokio::time::timeout(GIVE_UP_MAX, one.feed.source.finish()).await;
    }
}

fn port(feed: &Feed) -> Option<u16> {
    match &feed.kind {
        FeedKind::Mllp { listen, .. } => Some(listen.port()),
        FeedKind::Kafka { .. } | FeedKind::Amqp { .. } | FeedKind::Http | FeedKind::File { .. } => None,
    }
}
