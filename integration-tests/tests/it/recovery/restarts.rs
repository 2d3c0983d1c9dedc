//! Peers restart in the middle of it all.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Receiver, skip};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::scene::{Scene, Ways};
use super::{judge, storms};
use crate::brokers::{AMQP, KAFKA};

#[derive(Clone, Copy, Debug)]
enum Peer {
    Kafka,
    Amqp,
    Sender,
    Receiver,
}

#[tokio::test]
async fn peers_that_restart_cost_nothing() -> anyhow::Result<()> {
    const TEST: &str = "peers_that_restart_cost_nothing";
    let (_kafka, _amqp) = tokio::join!(KAFKA.write(), AMQP.write());
    let (Ok(kafka), Ok(amqp)) = (std::env::var("KAFKA_RESTART"), std::env::var("AMQP_RESTART")) else {
        skip(TEST, "KAFKA_RESTART and AMQP_RESTART are not set");
        return Ok(());
    };
    for (seed, mut random) in storms(TEST) {
        let Some(buses) = Scene::buses(TEST).await? else { return Ok(()) };
        let scene = Scene::start(buses, Receiver::willing().await?, &Ways::default()).await?;
        let storm = restart_all(&scene, [&kafka, &amqp], &mut random);
        let sent = scene.sent_during(storm).await.with_context(|| format!("seed {seed}"))?;
        judge::all_is_well(&scene, &sent).await.with_context(|| format!("seed {seed}"))?;
        println!("seed {seed}");
    }
    Ok(())
}

async fn restart_all(scene: &Scene, [kafka, amqp]: [&str; 2], random: &mut ChaCha8Rng) -> anyhow::Result<()> {
    let mut peers = vec![Peer::Kafka, Peer::Amqp, Peer::Sender, Peer::Sender, Peer::Receiver, Peer::Receiver];
    peers.shuffle(random);
    for peer in peers {
        tokio::time::sleep(Duration::from_millis(random.gen_range(500..2500))).await;
        match peer {
            Peer::Kafka => shell(kafka).await?,
            Peer::Amqp => shell(amqp).await?,
            Peer::Sender => scene.hang_up(),
            Peer::Receiver => {
                scene.receiver.go().await;
                tokio::time::sleep(Duration::from_millis(random.gen_range(200..3000))).await;
                scene.receiver.come_back().await?;
            }
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok(())
}

async fn shell(command: &str) -> anyhow::Result<()> {
    let command = command.to_owned();
    let run = tokio::task::spawn_blocking(move || Command::new("sh").args(["-c", &command]).status());
    ensure!(run.await??.success(), "the broker's restart command failed");
    Ok(())
}
