//! AMQP → ledger → alert → AMQP, on a real broker.

use integration_tests::skip;

use crate::brokers::{AMQP, Bus, Fault, Load, flow};

const SMALL: Load = Load { patients: 95, messages_min: 2_500, rate: Some(250) };

#[tokio::test]
async fn amqp_ten_thousand_messages() -> anyhow::Result<()> {
    let _broker = AMQP.read().await;
    let Some(bus) = Bus::amqp("amqp_ten_thousand_messages").await? else { return Ok(()) };
    flow(&bus, &Load { patients: 375, messages_min: 10_000, rate: None }, Fault::None).await
}

#[tokio::test]
async fn amqp_consumer_killed() -> anyhow::Result<()> {
    let _broker = AMQP.read().await;
    let Some(bus) = Bus::amqp("amqp_consumer_killed").await? else { return Ok(()) };
    flow(&bus, &SMALL, Fault::KillConsumer).await
}

#[tokio::test]
async fn amqp_leader_killed() -> anyhow::Result<()> {
    let _broker = AMQP.read().await;
    let Some(bus) = Bus::amqp("amqp_leader_killed").await? else { return Ok(()) };
    flow(&bus, &SMALL, Fault::KillLeader).await
}

#[tokio::test]
async fn amqp_broker_restarted() -> anyhow::Result<()> {
    let _broker = AMQP.write().await;
    let Some(bus) = Bus::amqp("amqp_broker_restarted").await? else { return Ok(()) };
    let Ok(command) = std::env::var("AMQP_RESTART") else {
        skip("amqp_broker_restarted", "AMQP_RESTART is not set");
        return Ok(());
    };
    flow(&bus, &SMALL, Fault::Broker(command)).await
}
