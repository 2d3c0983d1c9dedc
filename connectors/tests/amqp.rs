//! Against a real broker: `eval "$(integration-tests/brokers/rabbitmq.sh start)"`. Says so and passes when
//! AMQP_URL is not set. AMQP_RESTART, a command, lets the broker be restarted.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{commit, next, number, running};
use connectors::amqp::{self, Broker, Config, Sink, SinkConfig, Wanted};
use connectors::{Format, Inbound, Outbound, Refusal, Reply, Sink as _, SinkError, Source as _, SourceState};
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::sync::RwLock;

/// Tests share the broker; the one that restarts it takes it alone.
static BROKER: RwLock<()> = RwLock::const_new(());

/// One test's queue on the real broker.
struct Queue {
    url: String,
    name: String,
    channel: Channel,
    _connection: Connection,
}

impl Queue {
    async fn new(name: &str) -> Option<Queue> {
        let Ok(url) = std::env::var("AMQP_URL") else {
            println!("skipped: set AMQP_URL (integration-tests/brokers/rabbitmq.sh start)");
            return None;
        };
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let unique = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let name = format!("{name}-{unique}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let (connection, channel) = connect(&url).await;
        let durable = QueueDeclareOptions::durable();
        channel.queue_declare(name.as_str().into(), durable, FieldTable::default()).await.unwrap();
        Some(Queue { url, name, channel, _connection: connection })
    }

    fn config(&self) -> Config {
        Config::new(Broker::new(&self.url), &self.name)
    }

    async fn publish(&self, numbers: std::ops::Range<usize>, properties: BasicProperties) {
        let mut sent = Vec::new();
        for number in numbers {
            let (options, payload) = (BasicPublishOptions::default(), number.to_string());
            let (name, properties) = (self.name.as_str().into(), properties.clone().with_delivery_mode(2));
            sent.push(
                self.channel
                    .basic_publish("".into(), name, options, payload.as_bytes(), properties)
                    .await
                    .unwrap(),
            );
        }
        for confirm in sent {
            assert!(confirm.await.unwrap().is_ack());
        }
    }

    async fn declare_exchange(&self, name: &str, kind: ExchangeKind) {
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let made = self.channel.exchange_declare(name.into(), kind, durable, FieldTable::default());
        made.await.unwrap();
    }

    async fn bind(&self, queue: &str, exchange: &str, arguments: FieldTable) {
        let options = QueueBindOptions::default();
        let bound = self.channel.queue_bind(queue.into(), exchange.into(), "".into(), options, arguments);
        bound.await.unwrap();
    }

    /// What is left for others once nobody consumes, ready messages only.
    async fn left(&self) -> u32 {
        let passive = QueueDeclareOptions { passive: true, durable: true, ..Default::default() };
        let queue = self.channel.queue_declare(self.name.as_str().into(), passive, FieldTable::default());
        queue.await.unwrap().message_count()
    }
}

async fn connect(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    (connection, channel)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_settled_leaves_the_queue() {
    let _broker = BROKER.read().await;
    let Some(queue) = Queue::new("settled").await else { return };
    queue.publish(0..1000, BasicProperties::default()).await;
    let mut source = amqp::source(queue.config()).unwrap();
    let mut kept = vec![0u32; 1000];
    let mut open = Vec::new();
    for count in 0..500 {
        let inbound = next(&mut source).await;
        match count % 50 {
            49 => open.push(inbound),
            _ => {
                kept[number(&inbound)] += 1;
                commit(inbound);
            }
        }
    }
    assert_eq!(open.len(), 10);
    source.stop().await;
    assert!(source.next().await.is_none());
    drop(open);
    source.finish().await;
    assert_eq!(queue.left().await, 510);
    let mut source = amqp::source(queue.config()).unwrap();
    while kept.contains(&0) {
        let inbound = next(&mut source).await;
        kept[number(&inbound)] += 1;
        commit(inbound);
    }
    source.finish().await;
    assert!(kept.iter().all(|count| *count == 1), "each exactly once");
    assert_eq!(queue.left().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_now_comes_again_in_order() {
    let _broker = BROKER.read().await;
    let Some(queue) = Queue::new("retry").await else { return };
    queue.publish(0..300, BasicProperties::default()).await;
    let mut source = amqp::source(queue.config()).unwrap();
    let (mut kept, mut retries) = (Vec::new(), 0);
    while kept.len() < 300 {
        let inbound = next(&mut source).await;
        let number = number(&inbound);
        if matches!(number, 5 | 6 | 250) && retries < 5 {
            retries += 1;
            inbound.receipt.retry("no quorum");
            continue;
        }
        kept.push(number);
        commit(inbound);
    }
    assert_eq!(kept, (0..300).collect::<Vec<_>>(), "each once, in order");
    assert_eq!((retries, source.status().retried.load(Ordering::Relaxed) >= 5), (5, true));
    source.finish().await;
    assert_eq!(queue.left().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_messages_are_dead_lettered_with_their_reason() {
    let _broker = BROKER.read().await;
    let Some(queue) = Queue::new("refused").await else { return };
    let mut table = FieldTable::default();
    table.insert("sender".into(), AMQPValue::LongString("lab".into()));
    // The sender's expiry must not let the letter disappear.
    let properties = BasicProperties::default()
        .with_headers(table)
        .with_content_type("application/fhir+json".into())
        .with_expiration("600000".into());
    queue.publish(0..3, properties).await;
    let mut config = queue.config();
    config.declare = true;
    let dead = format!("{}-dead", queue.name);
    config.dead_letter_exchange = Some(dead.clone());
    let mut source = amqp::source(config).unwrap();
    for _ in 0..3 {
        let inbound = next(&mut source).await;
        assert_eq!((inbound.format, inbound.headers["sender"].as_str()), (Some(Format::FhirJson), "lab"));
        match number(&inbound) {
            1 => {
                let refusal = Refusal { code: "fhir-not-json".into(), reason: "is not JSON".into() };
                inbound.receipt.rejected(refusal, Reply::default());
            }
            _ => commit(inbound),
        }
    }
    source.finish().await;
    assert_eq!(queue.left().await, 0);
    let get = || queue.channel.basic_get(dead.as_str().into(), BasicGetOptions::default());
    let letter = get().await.unwrap().unwrap();
    letter.ack(BasicAckOptions::default()).await.unwrap();
    assert_eq!(letter.data, b"1");
    assert_eq!(letter.properties.expiration(), &None);
    let headers = letter.properties.headers().clone().unwrap();
    let header = |name: &str| match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!((header("medulla-code"), header("sender")), ("fhir-not-json".into(), "lab".into()));
    assert_eq!(
        (header("medulla-reason"), header("medulla-queue")),
        ("is not JSON".into(), queue.name.clone())
    );
    assert!(get().await.unwrap().is_none(), "one letter only");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_made_is_used_and_only_what_is_missing_is_made() {
    let _broker = BROKER.read().await;
    let Some(queue) = Queue::new("declared").await else { return };
    // As an operator makes them: a queue with arguments of its own, an exchange of another kind, bound elsewhere.
    let (own, bus) = (format!("{}-own", queue.name), format!("{}-bus", queue.name));
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("amq.fanout".into()));
    let declared =
        queue.channel.queue_declare(own.as_str().into(), QueueDeclareOptions::durable(), arguments);
    declared.await.unwrap();
    queue.declare_exchange(&bus, ExchangeKind::Topic).await;
    let config = |name: &str, exchange: &str| {
        let mut config = Config::new(Broker::new(&queue.url), name);
        (config.declare, config.dead_letter_exchange) = (true, Some(exchange.to_owned()));
        config
    };
    let send = async |name: &str| {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let sent = queue.channel.basic_publish("".into(), name.into(), options, b"1", properties);
        assert!(sent.await.unwrap().await.unwrap().is_ack());
    };
    let probed = async |name: &str, exchange: &str, declare| {
        let wanted = [Wanted::Queue(name), Wanted::Exchange(exchange)];
        amqp::probe(&Broker::new(&queue.url), &wanted, declare).await
    };
    send(&own).await;
    let found = probed(&own, &bus, true).await.unwrap();
    assert!(found.contains("1 messages wait") && !found.contains("will be made"), "{found}");
    let mut source = amqp::source(config(&own, &bus)).unwrap();
    commit(next(&mut source).await);
    source.finish().await;

    let (new, dead) = (format!("{}-new", queue.name), format!("{}-dead", queue.name));
    let missing = probed(&new, &dead, false).await.unwrap_err().to_string();
    assert!(missing.contains(&new) && missing.contains("declare = true"), "{missing}");
    let found = probed(&new, &dead, true).await.unwrap();
    assert_eq!(found.matches("will be made").count(), 2, "{found}");
    let mut source = amqp::source(config(&new, &dead)).unwrap();
    running(&source).await;
    send(&new).await;
    commit(next(&mut source).await);
    source.finish().await;
    assert!(probed(&new, &dead, false).await.is_ok());
    // A classic declaration of the same name tells its kind.
    let classic = queue.channel.queue_declare(
        new.as_str().into(),
        QueueDeclareOptions::durable(),
        FieldTable::default(),
    );
    let refused = classic.await.unwrap_err().to_string();
    assert!(refused.contains("x-queue-type"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_stays_while_its_letter_has_nowhere_to_go() {
    let _broker = BROKER.read().await;
    let Some(queue) = Queue::new("nowhere").await else { return };
    queue.publish(0..1, BasicProperties::default()).await;
    let mut config = queue.config();
    config.dead_letter_exchange = Some("no-such-exchange".into());
    let mut source = amqp::source(config).unwrap();
    let refuse = |inbound: Inbound| {
        inbound.receipt.rejected(Refusal { code: "x".into(), reason: "y".into() }, Reply::default());
    };
    refuse(next(&mut source).await);
    let again = next(&mut source).await;
    assert_eq!(number(&again), 0, "comes again: it is not acknowledged");
    let error = source.status().get().1.unwrap();
    assert!(error.contains("no-such-exchange"), "{error}");
    refuse(again);
    source.finish().await;
    assert_eq!(queue.left().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_nobody_takes_holds_up_no_message_that_has_to_come_again() {
    let _broker = BROKER.read().await;
    let Some(queue) = Queue::new("unbound").await else { return };
    let dead = format!("{}-dead", queue.name);
    queue.declare_exchange(&dead, ExchangeKind::Fanout).await;
    queue.publish(0..2, BasicProperties::default()).await;
    let mut config = queue.config();
    config.dead_letter_exchange = Some(dead.clone());
    let mut source = amqp::source(config).unwrap();
    let refuse = |inbound: Inbound| {
        inbound.receipt.rejected(Refusal { code: "x".into(), reason: "y".into() }, Reply::default());
    };
    refuse(next(&mut source).await);
    let second = next(&mut source).await;
    while !source.status().get().1.is_some_and(|error| error.contains("to no queue")) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    second.receipt.retry("no quorum");
    let again = next(&mut source).await;
    assert_eq!(number(&again), 0, "it has no letter yet");
    queue.bind(&queue.name, &dead, FieldTable::default()).await;
    refuse(again);
    // The letter comes back to the feed's own queue, the only one that is bound.
    for expected in [1, 0] {
        let inbound = next(&mut source).await;
        assert_eq!(number(&inbound), expected);
        commit(inbound);
    }
    source.finish().await;
    assert_eq!(queue.left().await, 0);
}

/// Letters that are returned, between letters that are routed, all under way at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_returned_letter_is_not_taken_for_one_that_was_delivered() {
    const COUNT: usize = 1000;
    let _broker = BROKER.read().await;
    let Some(queue) = Queue::new("returned").await else { return };
    let dead = format!("{}-dead", queue.name);
    // It confirms at once: confirmations come between what is returned.
    let own = QueueDeclareOptions { exclusive: true, ..Default::default() };
    queue.channel.queue_declare(dead.as_str().into(), own, FieldTable::default()).await.unwrap();
    queue.declare_exchange(&dead, ExchangeKind::Headers).await;
    let mut routed = FieldTable::default();
    routed.insert("medulla-code".into(), AMQPValue::LongString("routed".into()));
    queue.bind(&dead, &dead, routed).await;
    queue.publish(0..COUNT, BasicProperties::default()).await;
    let mut config = queue.config();
    (config.prefetch, config.dead_letter_exchange) = (1000, Some(dead.clone()));
    let mut source = amqp::source(config).unwrap();
    let mut taken = Vec::new();
    for _ in 0..COUNT {
        taken.push(next(&mut source).await);
    }
    for inbound in taken {
        let code = if number(&inbound).is_multiple_of(2) { "routed" } else { "unroutable" };
        inbound.receipt.rejected(Refusal { code: code.into(), reason: "y".into() }, Reply::default());
    }
    source.finish().await;
    let mut letters = Vec::new();
    while let Some(letter) =
        queue.channel.basic_get(dead.as_str().into(), BasicGetOptions::default()).await.unwrap()
    {
        letters.push(String::from_utf8_lossy(&letter.data).parse::<usize>().unwrap());
    }
    letters.sort_unstable();
    let expected: Vec<usize> = (0..COUNT).step_by(2).collect();
    let left = usize::try_from(queue.left().await).unwrap();
    println!("returned letters: {} letters, {left} messages kept", letters.len());
    assert_eq!(left, COUNT / 2, "what has no letter stays in the queue");
    assert_eq!(letters, expected, "each letter once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_ledger_holds_no_more_than_the_prefetch() {
    let _broker = BROKER.read().await;
    let Some(queue) = Queue::new("slow").await else { return };
    queue.publish(0..500, BasicProperties::default()).await;
    let mut config = queue.config();
    config.prefetch = 20;
    let mut source = amqp::source(config).unwrap();
    commit(next(&mut source).await);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status = source.status();
    assert_eq!(status.get().0, SourceState::Paused);
    assert_eq!(status.in_flight.load(Ordering::Relaxed), 20);
    assert_eq!(status.lag.load(Ordering::Relaxed), 499);
    for expected in 1..500 {
        let inbound = next(&mut source).await;
        assert_eq!(number(&inbound), expected);
        commit(inbound);
    }
    source.finish().await;
    assert_eq!(queue.left().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sink_waits_for_confirms_and_says_where_nothing_is_bound() {
    let _broker = BROKER.read().await;
    let Some(queue) = Queue::new("sink").await else { return };
    let config = |routing_key: &str| SinkConfig::new(Broker::new(&queue.url), "", routing_key);
    let out = |i: u32| Outbound {
        id: format!("id-{i}"),
        key: "ward".into(),
        content_type: "application/fhir+json",
        body: format!("{i}").into(),
    };
    let mut sink = Sink::new(config(&queue.name)).unwrap();
    for i in 0..3 {
        sink.deliver(&out(i)).await.unwrap();
    }
    let nowhere = Sink::new(config("no-such-queue")).unwrap().deliver(&out(9)).await;
    assert!(
        matches!(&nowhere, Err(SinkError::Unroutable(text)) if text.contains("no-such-queue")),
        "{nowhere:?}"
    );
    let mut source = amqp::source(queue.config()).unwrap();
    for i in 0..3 {
        let inbound = next(&mut source).await;
        assert_eq!(number(&inbound), i);
        assert_eq!(
            (inbound.headers["message-id"].clone(), inbound.format),
            (format!("id-{i}"), Some(Format::FhirJson))
        );
        commit(inbound);
    }
    source.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_restart_is_survived_without_loss() {
    let _broker = BROKER.write().await;
    let Ok(restart) = std::env::var("AMQP_RESTART") else {
        return println!("skipped: set AMQP_RESTART to a command that restarts the broker");
    };
    let Some(queue) = Queue::new("broker-restart").await else { return };
    queue.publish(0..500, BasicProperties::default()).await;
    let out = Outbound { id: "1".into(), key: "k".into(), content_type: "x", body: "600".into() };
    let target = SinkConfig::new(Broker::new(&queue.url), "", &queue.name);
    let mut sink = Sink::new(target).unwrap();
    sink.deliver(&out).await.unwrap();
    let mut source = amqp::source(queue.config()).unwrap();
    let mut kept = vec![0u32; 602];
    let mut held = Vec::new();
    for _ in 0..250 {
        let inbound = next(&mut source).await;
        match number(&inbound) {
            200..210 => held.push(inbound),
            number => {
                kept[number] += 1;
                commit(inbound);
            }
        }
    }
    let status = tokio::process::Command::new("sh").arg("-c").arg(restart).status().await.unwrap();
    assert!(status.success());
    // Their acks come too late: the broker sends them again.
    held.into_iter().for_each(commit);
    let again = Outbound { body: "601".into(), ..out };
    while sink.deliver(&again).await.is_err() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (_connection, channel) = connect(&queue.url).await;
    let queue = Queue { channel, _connection, ..queue };
    queue.publish(500..600, BasicProperties::default()).await;
    while kept.contains(&0) {
        let inbound = next(&mut source).await;
        kept[number(&inbound)] += 1;
        commit(inbound);
    }
    let repeats: u32 = kept.iter().map(|count| count - 1).sum();
    println!("broker restart: 602 messages kept, {repeats} of them twice");
    assert!(source.status().faults.load(Ordering::Relaxed) > 0, "the restart was noticed");
    source.finish().await;
    assert_eq!(queue.left().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_with_the_authority_that_is_configured() {
    let _broker = BROKER.read().await;
    let (Ok(url), Ok(ca)) = (std::env::var("AMQPS_URL"), std::env::var("AMQPS_CA")) else {
        return println!("skipped: set AMQPS_URL and AMQPS_CA");
    };
    let Some(queue) = Queue::new("tls").await else { return };
    let mut target = SinkConfig::new(Broker::new(&url), "", &queue.name);
    let out = Outbound { id: "1".into(), key: "k".into(), content_type: "x", body: "7".into() };
    let untrusted = Sink::new(target.clone()).unwrap().deliver(&out).await;
    assert!(matches!(untrusted, Err(SinkError::Unreachable(_))), "{untrusted:?}");
    target.broker.tls_ca = Some(ca.clone().into());
    Sink::new(target).unwrap().deliver(&out).await.unwrap();
    let mut config = Config::new(Broker::new(&url), &queue.name);
    config.broker.tls_ca = Some(ca.into());
    let mut source = amqp::source(config).unwrap();
    let inbound = next(&mut source).await;
    assert_eq!(number(&inbound), 7);
    commit(inbound);
    source.finish().await;
}
