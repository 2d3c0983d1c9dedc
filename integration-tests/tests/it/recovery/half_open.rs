//! Peers vanish without a word: nothing passes in either direction, and no connection ends. Then what was under way arrives
//! late, or the connections are gone.

use std::time::Duration;

use anyhow::{Context, ensure};
use integration_tests::{Link, Receiver, skip};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::scene::{Scene, Ways};
use super::{judge, storms};
use crate::brokers::{AMQP, KAFKA};

#[tokio::test]
async fn peers_that_vanish_without_a_word_cost_nothing() -> anyhow::Result<()> {
    const TEST: &str = "peers_that_vanish_without_a_word_cost_nothing";
    let (_kafka, _amqp) = tokio::join!(KAFKA.write(), AMQP.read());
    let Ok(linked) = std::env::var("KAFKA_LINKED") else {
        skip(TEST, "KAFKA_LINKED is not set");
        return Ok(());
    };
    for (seed, mut random) in storms(TEST) {
        let Some(buses) = Scene::buses(TEST).await? else { return Ok(()) };
        let (mut scene, links) = linked_scene(buses, &linked).await?;
        scene.mllp = links.last().context("the sender's link")?.port;
        let sent = scene.sent_during(cut_each(&links, &mut random)).await;
        let sent = sent.with_context(|| format!("seed {seed}"))?;
        judge::all_is_well(&scene, &sent).await.with_context(|| format!("seed {seed}"))?;
        println!("seed {seed}");
    }
    Ok(())
}

/// Everything that the site has to do with others goes over a link: Kafka, AMQP's feed and sink, the receiver, the sender.
async fn linked_scene(
    buses: (integration_tests::KafkaTopics, integration_tests::AmqpQueues),
    linked: &str,
) -> anyhow::Result<(Scene, Vec<Link>)> {
    let ports: Vec<u16> = linked.split(':').map(str::parse).collect::<Result<_, _>>()?;
    let [listens, says] = ports[..] else { anyhow::bail!("KAFKA_LINKED is LISTENS:SAYS, not {linked}") };
    let url = std::env::var("AMQP_URL")?;
    let broker = url.rsplit_once(':').and_then(|(_, rest)| rest.split('/').next()).context("a port")?;
    let receiver = Receiver::willing().await?;
    let kafka = Link::from(says, listens).await?;
    let amqp = [Link::to(broker.parse()?).await?, Link::to(broker.parse()?).await?];
    let pager = Link::to(receiver.port).await?;
    // Heartbeats find a dead connection; RabbitMQ proposes one a minute.
    let over = |link: &Link| {
        format!("{}?heartbeat=2", url.replace(&format!(":{broker}/"), &format!(":{}/", link.port)))
    };
    let ways = Ways {
        kafka: Some(format!("127.0.0.1:{says}")),
        amqp: Some([over(&amqp[0]), over(&amqp[1])]),
        receiver: Some(pager.port),
        timeout_s: Some(2),
    };
    let scene = Scene::start(buses, receiver, &ways).await?;
    let adt = Link::to(scene.site.mllp).await?;
    Ok((scene, [kafka].into_iter().chain(amqp).chain([pager, adt]).collect()))
}

async fn cut_each(links: &[Link], random: &mut ChaCha8Rng) -> anyhow::Result<()> {
    ensure!(links.len() == 5);
    let mut order: Vec<usize> = (0..links.len()).chain(0..links.len()).collect();
    order.shuffle(random);
    for pair in order.chunks(2) {
        tokio::time::sleep(Duration::from_millis(random.gen_range(300..1500))).await;
        pair.iter().for_each(|at| links[*at].cut());
        tokio::time::sleep(Duration::from_millis(random.gen_range(2500..9000))).await;
        for at in pair {
            if random.gen_bool(0.5) {
                links[*at].break_off();
                tokio::time::sleep(Duration::from_millis(random.gen_range(50..500))).await;
            }
            links[*at].heal();
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok(())
}
