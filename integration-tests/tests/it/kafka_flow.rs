//! Kafka → ledger → alert → Kafka, on a real broker.

use anyhow::Context;
use integration_tests::skip;

use crate::brokers::{Bus, Fault, KAFKA, Load, flow, seeds};

/// Slow enough that a fault finds the sender at work.
const STEADY: Load = Load { patients: 95, messages_min: 2_500, rate: Some(250) };

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
    flow(&bus, &STEADY, Fault::KillConsumer).await
}

#[tokio::test]
async fn kafka_leader_killed() -> anyhow::Result<()> {
    let _broker = KAFKA.read().await;
    let Some(bus) = Bus::kafka("kafka_leader_killed").await? else { return Ok(()) };
    flow(&bus, &STEADY, Fault::KillLeader).await
}

#[tokio::test]
async fn kafka_quorum_lost() -> anyhow::Result<()> {
    let _broker = KAFKA.read().await;
    let Some(bus) = Bus::kafka("kafka_quorum_lost").await? else { return Ok(()) };
    flow(&bus, &STEADY, Fault::LoseQuorum).await
}

#[tokio::test]
async fn kafka_broker_restarted() -> anyhow::Result<()> {
    let _broker = KAFKA.write().await;
    let Some(bus) = Bus::kafka("kafka_broker_restarted").await? else { return Ok(()) };
    let Ok(command) = std::env::var("KAFKA_RESTART") else {
        skip("kafka_broker_restarted", "KAFKA_RESTART is not set");
        return Ok(());
    };
    flow(&bus, &STEADY, Fault::Broker(command)).await
}

/// Only with `MEDULLA_LONG`: many seeds, each with five kills of random sites.
#[tokio::test]
async fn kafka_many_kills() -> anyhow::Result<()> {
    let _broker = KAFKA.read().await;
    let Some(seeds) = seeds("kafka_many_kills") else { return Ok(()) };
    for seed in 0..seeds {
        let Some(bus) = Bus::kafka("kafka_many_kills").await? else { return Ok(()) };
        println!("seed {seed}");
        let load = Load { patients: 190, messages_min: 5_000, rate: Some(100) };
        flow(&bus, &load, Fault::Kills { seed, count: 5 }).await.with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}
