//! Against a real broker: `eval "$(integration-tests/brokers/kafka.sh start)"`. Says so and passes when
//! KAFKA_BROKERS is not set. KAFKA_RESTART, a command, lets the broker be restarted.

mod common;
#[path = "common/token.rs"]
mod token;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{commit, next, number, running};
use connectors::kafka::{self, Config, Sink, SinkConfig};
use connectors::{Background, Outbound, Refusal, Reply, Sink as _, Source as _, SourceState, TokenSource};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use token::{now_s, unsecured};
use tokio::sync::RwLock;

/// Tests share the broker; the one that restarts it takes it alone.
static BROKER: RwLock<()> = RwLock::const_new(());

/// One test's topic on the real broker.
struct Topic {
    brokers: String,
    name: String,
}

impl Topic {
    async fn new(name: &str, partitions: i32) -> Option<Topic> {
        let Ok(brokers) = std::env::var("KAFKA_BROKERS") else {
            println!("skipped: set KAFKA_BROKERS (integration-tests/brokers/kafka.sh start)");
            return None;
        };
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let unique = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let name = format!("{name}-{unique}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let topic = Topic { brokers, name };
        let admin: AdminClient<_> = topic.client().create().unwrap();
        let new = NewTopic::new(&topic.name, partitions, TopicReplication::Fixed(1));
        admin.create_topics([&new], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
        Some(topic)
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    /// Messages `from..to`, the text their number, spread over the partitions by number.
    async fn produce(&self, numbers: std::ops::Range<usize>, partitions: usize, pad: usize) {
        let producer: FutureProducer = self.client().set("linger.ms", "5").create().unwrap();
        let mut sent = Vec::new();
        for number in numbers {
            let payload = format!("{number:<pad$}");
            let partition = i32::try_from(number % partitions).unwrap();
            let record = FutureRecord::<str, _>::to(&self.name).payload(&payload).partition(partition);
            sent.push(producer.send_result(record).unwrap());
        }
        for delivered in sent {
            delivered.await.unwrap().unwrap();
        }
    }

    fn config(&self) -> Config {
        let mut config = Config::new(&self.brokers, &[&self.name], format!("group-{}", self.name));
        config.options.insert("session.timeout.ms".into(), connectors::Secret::new("6000"));
        config
    }

    fn sink(&self, options: BTreeMap<String, connectors::Secret>) -> SinkConfig {
        SinkConfig { brokers: self.brokers.clone(), topic: self.name.clone(), options, token: None }
    }

    /// The group's committed offset of a partition, as the broker knows it; -1 if there is none.
    fn committed(&self, partition: i32) -> i64 {
        let consumer: BaseConsumer =
            self.client().set("group.id", format!("group-{}", self.name)).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.name, partition);
        let committed = consumer.committed_offsets(list, Duration::from_secs(10)).unwrap();
        committed.elements()[0].offset().to_raw().filter(|offset| *offset >= 0).unwrap_or(-1)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_offset_never_passes_what_is_not_settled() {
    let _broker = BROKER.read().await;
    let Some(topic) = Topic::new("low", 1).await else { return };
    topic.produce(0..10, 1, 1).await;
    let mut source = kafka::source(topic.config()).unwrap();
    let mut held = None;
    for expected in 0..10 {
        let inbound = next(&mut source).await;
        assert_eq!(number(&inbound), expected);
        match expected {
            3 => held = Some(inbound),
            _ => commit(inbound),
        }
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(topic.committed(0), 3);
    commit(held.unwrap());
    source.finish().await;
    assert_eq!(source.status().get().0, SourceState::Stopped);
    assert_eq!(topic.committed(0), 10, "committed by finish");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loses_nothing_and_repeats_only_what_was_not_settled_in_a_row() {
    let _broker = BROKER.read().await;
    let Some(topic) = Topic::new("restart", 3).await else { return };
    topic.produce(0..3000, 3, 200).await;
    let mut kept = vec![0u32; 3000];
    let mut source = kafka::source(topic.config()).unwrap();
    let mut open = Vec::new();
    for count in 0..1500 {
        let inbound = next(&mut source).await;
        match count % 100 {
            99 => open.push(inbound),
            _ => {
                kept[number(&inbound)] += 1;
                commit(inbound);
            }
        }
    }
    // Gone without a word, with messages out and others read ahead.
    drop(source);
    drop(open);
    let mut source = kafka::source(topic.config()).unwrap();
    while kept.contains(&0) {
        let inbound = next(&mut source).await;
        kept[number(&inbound)] += 1;
        commit(inbound);
    }
    let repeats: u32 = kept.iter().map(|count| count - 1).sum();
    println!("restart: 3000 messages kept, {repeats} of them twice");
    assert!(repeats < 1500, "the first consumer's offsets counted for something");
    source.finish().await;
    assert_eq!((0..3).map(|partition| topic.committed(partition)).sum::<i64>(), 3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_messages_are_dead_lettered_with_their_reason() {
    let _broker = BROKER.read().await;
    let Some(topic) = Topic::new("refused", 1).await else { return };
    let dead = Topic::new("dead", 1).await.unwrap();
    topic.produce(0..3, 1, 1).await;
    let mut config = topic.config();
    config.dead_letter_topic = Some(dead.name.clone());
    let mut source = kafka::source(config).unwrap();
    for _ in 0..3 {
        let inbound = next(&mut source).await;
        match number(&inbound) {
            1 => {
                let refusal = Refusal { code: "hl7-no-msh".into(), reason: "does not start with MSH".into() };
                inbound.receipt.rejected(refusal, Reply::default());
            }
            _ => commit(inbound),
        }
    }
    source.finish().await;
    assert_eq!(topic.committed(0), 3);
    let reader: BaseConsumer =
        dead.client().set("group.id", "reader").set("auto.offset.reset", "earliest").create().unwrap();
    reader.subscribe(&[&dead.name]).unwrap();
    let letter = (0..60).find_map(|_| reader.poll(Duration::from_millis(500))).unwrap().unwrap();
    assert_eq!(letter.payload().unwrap(), b"1");
    let header = |header: rdkafka::message::Header<'_, &[u8]>| {
        (header.key.to_owned(), String::from_utf8(header.value.unwrap().to_vec()).unwrap())
    };
    let headers: BTreeMap<_, _> = letter.headers().unwrap().iter().map(header).collect();
    assert_eq!(headers["medulla-code"], "hl7-no-msh");
    assert_eq!(headers["medulla-reason"], "does not start with MSH");
    assert_eq!(
        (headers["medulla-topic"].as_str(), headers["medulla-offset"].as_str()),
        (topic.name.as_str(), "1")
    );
    assert!(reader.poll(Duration::from_secs(2)).is_none(), "one letter only");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_now_comes_again_in_order() {
    let _broker = BROKER.read().await;
    let Some(topic) = Topic::new("retry", 1).await else { return };
    topic.produce(0..200, 1, 1).await;
    let mut source = kafka::source(topic.config()).unwrap();
    let mut kept = Vec::new();
    let mut retries = 0;
    while kept.len() < 200 {
        let inbound = next(&mut source).await;
        let number = number(&inbound);
        if matches!(number, 5 | 6 | 120) && retries < 6 {
            retries += 1;
            inbound.receipt.retry("no quorum");
            continue;
        }
        kept.push(number);
        commit(inbound);
    }
    assert_eq!(kept, (0..200).collect::<Vec<_>>(), "each once, in order");
    assert_eq!(retries, 6);
    source.finish().await;
    assert_eq!(topic.committed(0), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_took_before_it_came_again_is_told_of_and_holds_nothing_up() {
    let _broker = BROKER.read().await;
    let Some(topic) = Topic::new("gone", 1).await else { return };
    topic.produce(0..5, 1, 1).await;
    let mut source = kafka::source(topic.config()).unwrap();
    let first = next(&mut source).await;
    for _ in 1..5 {
        commit(next(&mut source).await);
    }
    let admin: AdminClient<_> = topic.client().create().unwrap();
    let mut begins = TopicPartitionList::new();
    begins.add_partition_offset(&topic.name, 0, Offset::Offset(3)).unwrap();
    admin.delete_records(&begins, &AdminOptions::new()).await.unwrap();
    first.receipt.retry("no quorum");
    let told = format!("message {}/0@0 is lost", topic.name);
    let is_told = async {
        while !source.status().get().1.is_some_and(|error| error.contains(&told)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), is_told).await.unwrap();
    assert_eq!(source.status().faults.load(Ordering::Relaxed), 1);
    topic.produce(5..6, 1, 1).await;
    let next = next(&mut source).await;
    assert_eq!(number(&next), 5);
    commit(next);
    source.finish().await;
    assert_eq!(topic.committed(0), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_ledger_pauses_reading_and_costs_no_memory() {
    let _broker = BROKER.read().await;
    let Some(topic) = Topic::new("slow", 2).await else { return };
    topic.produce(0..4000, 2, 2000).await;
    let mut config = topic.config();
    config.max_in_flight = 100;
    let mut source = kafka::source(config).unwrap();
    // One through: it is assigned.
    commit(next(&mut source).await);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let status = source.status();
    assert_eq!(status.get().0, SourceState::Paused);
    assert!(status.in_flight.load(Ordering::Relaxed) <= 110, "{status:?}");
    let lag = status.lag.load(Ordering::Relaxed);
    assert!((3990..=4000).contains(&lag), "lag {lag}");
    // Longer than the session lasts: the consumer is still in its group.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let mut last = [None, None];
    for _ in 1..4000 {
        let inbound = next(&mut source).await;
        let number = number(&inbound);
        assert!(last[number % 2].is_none_or(|last| last < number), "{number} again or out of order");
        last[number % 2] = Some(number);
        commit(inbound);
    }
    source.finish().await;
    assert_eq!(topic.committed(0) + topic.committed(1), 4000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_consumer_takes_over_partitions_and_none_is_lost() {
    let _broker = BROKER.read().await;
    let Some(topic) = Topic::new("rebalance", 4).await else { return };
    topic.produce(0..4000, 4, 50).await;
    let (sender, mut kept) = tokio::sync::mpsc::unbounded_channel();
    let work = |name: &'static str, mut source: Background, sender: tokio::sync::mpsc::UnboundedSender<_>| {
        tokio::spawn(async move {
            while let Some(inbound) = source.next().await {
                sender.send((name, number(&inbound))).unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
                commit(inbound);
            }
        })
    };
    let first = work("first", kafka::source(topic.config()).unwrap(), sender.clone());
    let mut seen = vec![0u32; 4000];
    let mut by = BTreeMap::new();
    let mut second = None;
    while seen.contains(&0) {
        let waited = tokio::time::timeout(Duration::from_secs(60), kept.recv()).await;
        let (name, number) = waited.expect("some message was lost").unwrap();
        seen[number] += 1;
        *by.entry(name).or_insert(0) += 1;
        if by[&"first"] == 1000 && second.is_none() {
            second = Some(work("second", kafka::source(topic.config()).unwrap(), sender.clone()));
        }
    }
    let repeats: u32 = seen.iter().map(|count| count - 1).sum();
    println!("rebalance: 4000 messages, by consumer {by:?}, {repeats} twice");
    assert!(by.contains_key("second"), "{by:?}");
    first.abort();
    second.unwrap().abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sink_confirms_and_keeps_key_and_id() {
    let _broker = BROKER.read().await;
    let Some(topic) = Topic::new("sink", 1).await else { return };
    let mut sink = Sink::new(&topic.sink(BTreeMap::new())).unwrap();
    for i in 0..3 {
        let id = format!("id-{i}");
        let body = format!("alert {i}").into();
        let out = Outbound { id, key: "ward".into(), content_type: "application/fhir+json", body };
        sink.deliver(&out).await.unwrap();
    }
    let mut source = kafka::source(topic.config()).unwrap();
    for i in 0..3 {
        let inbound = next(&mut source).await;
        assert_eq!(inbound.payload, format!("alert {i}"));
        assert_eq!(inbound.headers["id"], format!("id-{i}"));
        commit(inbound);
    }
    source.finish().await;
    let nowhere = SinkConfig {
        brokers: "127.0.0.1:1".into(),
        topic: "x".into(),
        options: [("message.timeout.ms".to_owned(), connectors::Secret::new("1500"))].into(),
        token: None,
    };
    let out = Outbound { id: "1".into(), key: "k".into(), content_type: "x", body: "x".into() };
    let failed = Sink::new(&nowhere).unwrap().deliver(&out).await;
    assert!(matches!(failed, Err(connectors::SinkError::Unreachable(_))), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_restart_loses_and_repeats_nothing_that_was_settled() {
    let _broker = BROKER.write().await;
    let Ok(restart) = std::env::var("KAFKA_RESTART") else {
        return println!("skipped: set KAFKA_RESTART to a command that restarts the broker");
    };
    let Some(topic) = Topic::new("broker-restart", 1).await else { return };
    topic.produce(0..500, 1, 1).await;
    let mut source = kafka::source(topic.config()).unwrap();
    let mut kept = Vec::new();
    for _ in 0..250 {
        let inbound = next(&mut source).await;
        kept.push(number(&inbound));
        commit(inbound);
    }
    // What is committed is not read again, though the group is joined anew.
    for _ in 0..20 {
        if topic.committed(0) == 250 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let status = tokio::process::Command::new("sh").arg("-c").arg(restart).status().await.unwrap();
    assert!(status.success());
    topic.produce(500..600, 1, 1).await;
    while kept.len() < 600 {
        let inbound = next(&mut source).await;
        kept.push(number(&inbound));
        commit(inbound);
    }
    assert_eq!(kept, (0..600).collect::<Vec<_>>());
    assert!(source.status().faults.load(Ordering::Relaxed) > 0, "the restart was noticed");
    source.finish().await;
    assert_eq!(topic.committed(0), 600);
}

/// The README's example: options go to librdkafka as they are.
#[tokio::test(flavor = "multi_thread")]
async fn tls_and_scram_are_spoken_as_configured() {
    let _broker = BROKER.read().await;
    let (Ok(brokers), Ok(ca)) = (std::env::var("KAFKA_SASL_BROKERS"), std::env::var("KAFKA_CA")) else {
        return println!("skipped: set KAFKA_SASL_BROKERS and KAFKA_CA");
    };
    let Some(topic) = Topic::new("scram", 1).await else { return };
    let options = |password: &str| -> BTreeMap<String, connectors::Secret> {
        let options = [
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", &ca),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "medulla"),
            ("sasl.password", password),
            ("message.timeout.ms", "10000"),
        ];
        options.map(|(name, value)| (name.to_owned(), connectors::Secret::new(value))).into()
    };
    let sink = |password| {
        Sink::new(&SinkConfig { brokers: brokers.clone(), ..topic.sink(options(password)) }).unwrap()
    };
    let out = Outbound { id: "1".into(), key: "k".into(), content_type: "x", body: "7".into() };
    assert!(sink("wrong").deliver(&out).await.is_err(), "a wrong password is not let in");
    sink("of-the-tests").deliver(&out).await.unwrap();
    let mut config = topic.config();
    config.brokers = brokers.clone();
    config.options = options("of-the-tests");
    config.options.remove("message.timeout.ms");
    let mut source = kafka::source(config).unwrap();
    let inbound = next(&mut source).await;
    assert_eq!(number(&inbound), 7);
    commit(inbound);
    source.finish().await;
    assert_eq!(topic.committed(0), 1);
}

fn oauth_options(ca: &str) -> BTreeMap<String, connectors::Secret> {
    let options = [
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", ca),
        ("sasl.mechanism", "OAUTHBEARER"),
        // The broker of the tests listens on 127.0.0.1, and a refused ::1 is a fault, too.
        ("broker.address.family", "v4"),
        ("message.timeout.ms", "10000"),
    ];
    options.map(|(name, value)| (name.to_owned(), connectors::Secret::new(value))).into()
}

/// The broker ends connections whose token has ended, unless they sign in once more: the source outlives several.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_signs_in_feed_dead_letters_and_sink_and_the_next_one_after_it() {
    const LIFE_S: u64 = 8;
    let _broker = BROKER.read().await;
    let (Ok(brokers), Ok(ca)) = (std::env::var("KAFKA_SASL_BROKERS"), std::env::var("KAFKA_CA")) else {
        return println!("skipped: set KAFKA_SASL_BROKERS and KAFKA_CA");
    };
    let Some(topic) = Topic::new("oauth", 1).await else { return };
    let dead = Topic::new("oauth-dead", 1).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let renew = |file: &std::path::Path| {
        let claims = serde_json::json!({ "sub": "medulla", "iat": now_s(), "exp": now_s() + LIFE_S });
        let next = file.with_extension("next");
        std::fs::write(&next, unsecured(&claims)).unwrap();
        std::fs::rename(next, file).unwrap();
    };
    renew(&file);
    let renewing = {
        let file = file.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                renew(&file);
            }
        })
    };
    let mut config = topic.config();
    config.brokers = brokers.clone();
    config.options = oauth_options(&ca);
    config.options.remove("message.timeout.ms");
    config.token = Some(TokenSource::File(file.clone()));
    config.dead_letter_topic = Some(dead.name.clone());
    let arguments = vec![connectors::Secret::new(file.display().to_string())];
    let command = TokenSource::Command { program: "cat".into(), arguments, timeout: Duration::from_secs(10) };
    let target =
        SinkConfig { brokers: brokers.clone(), token: Some(command), ..topic.sink(oauth_options(&ca)) };
    let mut sink = Sink::new(&target).unwrap();
    let mut source = kafka::source(config).unwrap();
    let out = |i: u64| Outbound {
        id: i.to_string(),
        key: "k".into(),
        content_type: "x",
        body: i.to_string().into(),
    };
    let begun = std::time::Instant::now();
    let mut count = 0;
    while begun.elapsed() < Duration::from_secs(3 * LIFE_S) {
        sink.deliver(&out(count)).await.unwrap();
        let inbound = next(&mut source).await;
        assert_eq!(number(&inbound), usize::try_from(count).unwrap());
        match count {
            3 => inbound.receipt.rejected(Refusal { code: "x".into(), reason: "y".into() }, Reply::default()),
            _ => commit(inbound),
        }
        count += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // librdkafka signs in again in the last tenth of a session. Of tokens as short as these that is less than a second: a
    // connection may be lost with its token, and comes back with the next one.
    running(&source).await;
    source.finish().await;
    assert_eq!(topic.committed(0), i64::try_from(count).unwrap());
    let reader: BaseConsumer =
        dead.client().set("group.id", "reader").set("auto.offset.reset", "earliest").create().unwrap();
    reader.subscribe(&[&dead.name]).unwrap();
    let letter = (0..60).find_map(|_| reader.poll(Duration::from_millis(500))).unwrap().unwrap();
    assert_eq!(letter.payload().unwrap(), b"3");
    renewing.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_sign_in_is_told_of_and_never_shown() {
    let _broker = BROKER.read().await;
    let (Ok(brokers), Ok(ca)) = (std::env::var("KAFKA_SASL_BROKERS"), std::env::var("KAFKA_CA")) else {
        return println!("skipped: set KAFKA_SASL_BROKERS and KAFKA_CA");
    };
    let Some(topic) = Topic::new("oauth-wrong", 1).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let probe = || {
        let (brokers, name, options) = (brokers.clone(), topic.name.clone(), oauth_options(&ca));
        let token = TokenSource::File(file.clone());
        tokio::task::spawn_blocking(move || {
            let found = kafka::probe(&brokers, &[&name], &options, Some(&token), Duration::from_secs(8));
            found.map_err(|error| error.to_string())
        })
    };
    let missing = probe().await.unwrap().unwrap_err();
    assert!(missing.contains("token_file") && missing.contains("cannot be read"), "{missing}");
    for (claims, expected) in [
        (serde_json::json!({ "sub": "medulla", "exp": now_s() - 60 }), "ended 6"),
        // Nobody is named: the broker refuses it.
        (serde_json::json!({ "exp": now_s() + 600 }), "invalid_token"),
    ] {
        let text = unsecured(&claims);
        std::fs::write(&file, &text).unwrap();
        let error = probe().await.unwrap().unwrap_err();
        println!("{error}");
        assert!(error.contains(expected) && !error.contains(&text), "{expected}: {error}");
    }
    std::fs::write(&file, unsecured(&serde_json::json!({ "sub": "medulla", "exp": now_s() + 600 }))).unwrap();
    let found = probe().await.unwrap().unwrap();
    assert!(found.contains("1 partitions"), "{found}");
}
