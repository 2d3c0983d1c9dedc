//! Kafka → ledger → alert → Kafka, on a real broker.

use integration_tests::skip;

use crate::brokers::{KAFKA, Bus, Fault, Load, flow};

const SMALL: Load = Load { patients: 95, messages_min: 2_500, rate: Some(250) };

#[tokio::test]
async fn kafka_ten_thousand_messages() -> anyhow::Result<()> {
    let _broker = KAFKA.read().await;
    let Some(bus) = Bus::kafka("kafka_ten_thousand_messages").await? else { return Ok(()) };
    flow(&bus, &Load { patients: 375, messages_min: 10_000, rate: None }, Fault::None).await
}

#[tokio::test]
async fn kafka_consumer_killed() -> anyhow::Result<()> {
    let _broker = KAFKA.read().await;
    let Some(bus) = Bus::kafka("kafka_consumer_killed").await? else { return Ok(()) };
    flow(&bus, &SMALL, Fault::KillConsumer).await
}

#[tokio::test]
async fn kafka_leader_killed() -> anyhow::Result<()> {
    let _broker = KAFKA.read().await;
    let Some(bus) = Bus::kafka("kafka_leader_killed").await? else { return Ok(()) };
    flow(&bus, &SMALL, Fault::KillLeader).await
}

#[tokio::test]
async fn kafka_broker_restarted() -> anyhow::Result<()> {
    let _broker = KAFKA.write().await;
    let Some(bus) = Bus::kafka("kafka_broker_restarted").await? else { return Ok(()) };
    let Ok(command) = std::env::var("KAFKA_RESTART") else {
        skip("kafka_broker_restarted", "KAFKA_RESTART is not set");
        return Ok(());
    };
    flow(&bus, &SMALL, Fault::Broker(command)).await
}
