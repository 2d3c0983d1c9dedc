//! Who reads slowly, or not at all for a while, stands alone: the other feeds and sinks go on, and when it reads
//! on it gets everything, in order.

use std::time::Duration;

use anyhow::ensure;
use integration_tests::{Receiver, Site, eventually, msa};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::judge;
use super::scene::{Scene, Ways};
use crate::brokers::{AMQP, KAFKA};

const WAIT: Duration = Duration::from_secs(60);
/// Messages of another feed, and alerts at another sink, that must come while somebody stands.
const MEANWHILE: f64 = 30.0;
const MEANWHILE_ALERTS: f64 = 4.0;
/// Less than the site waits for a sender that reads none of its answers, before it gives the connection up (30 s).
const STALL_MAX: Duration = Duration::from_secs(20);
/// What others must bring in that time.
const IN_A_STALL: [f64; 5] = [5.0, 5.0, 5.0, 1.0, 1.0];
/// A sender that reads none of its answers: more of them than the sockets on the way hold.
const UNREAD: usize = 3_000;
const CONTROL_ID_BYTES: usize = 4_000;

#[tokio::test]
async fn a_receiver_that_reads_slowly_holds_up_nobody() -> anyhow::Result<()> {
    const TEST: &str = "a_receiver_that_reads_slowly_holds_up_nobody";
    let (_kafka, _amqp) = tokio::join!(KAFKA.read(), AMQP.read());
    let Some(buses) = Scene::buses(TEST).await? else { return Ok(()) };
    let ways = Ways { timeout_s: Some(10), ..Ways::default() };
    let scene = Scene::start(buses, Receiver::willing().await?, &ways).await?;
    let storm = async {
        others_go_on(&scene.site).await?;
        scene.receiver.read_nothing();
        others_go_on(&scene.site).await?;
        let before = scene.receiver.heard().len();
        // An alert takes a second or two.
        scene.receiver.read_bytewise(Duration::from_millis(1));
        others_go_on(&scene.site).await?;
        let heard = async || (scene.receiver.heard().len() > before + 1).then_some(());
        eventually("alerts, byte by byte", WAIT, heard).await?;
        scene.receiver.read_on();
        Ok(())
    };
    let sent = scene.sent_during(storm).await?;
    judge::all_is_well(&scene, &sent).await
}

/// Every feed brings more, and the sinks at the brokers tell of more.
async fn others_go_on(site: &Site) -> anyhow::Result<()> {
    others_bring(site, [MEANWHILE, MEANWHILE, MEANWHILE, MEANWHILE_ALERTS, MEANWHILE_ALERTS], WAIT).await
}

async fn others_bring(site: &Site, wanted: [f64; 5], within: Duration) -> anyhow::Result<()> {
    let before = progress(site).await?;
    let more = eventually("progress of the others", within, async || {
        let now = progress(site).await.ok()?;
        let went_on = |at: usize| now[at] >= before[at] + wanted[at];
        (0..wanted.len()).all(went_on).then_some(())
    });
    more.await
}

/// Messages by feed, alerts by sink.
async fn progress(site: &Site) -> anyhow::Result<[f64; 5]> {
    let text = site.text("/metrics").await?;
    let sum = |name: &str, labels: &[&str]| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(name));
        let lines = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    let feed =
        |name: &str| sum("medulla_messages_total", &[&format!("feed=\"{name}\""), "outcome=\"committed\""]);
    let sink =
        |name: &str| sum("medulla_deliveries_total", &[&format!("sink=\"{name}\""), "outcome=\"delivered\""]);
    Ok([feed("kafka"), feed("amqp"), feed("mllp"), sink("kafka"), sink("amqp")])
}

#[tokio::test]
async fn a_sender_that_reads_no_answers_holds_up_nobody() -> anyhow::Result<()> {
    const TEST: &str = "a_sender_that_reads_no_answers_holds_up_nobody";
    let (_kafka, _amqp) = tokio::join!(KAFKA.read(), AMQP.read());
    let Some(buses) = Scene::buses(TEST).await? else { return Ok(()) };
    let scene = Scene::start(buses, Receiver::willing().await?, &Ways::default()).await?;
    let port = scene.mllp;
    let storm = async {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4096)?;
        let (mut answers, mut messages) = socket.connect(([127, 0, 0, 1], port).into()).await?.into_split();
        let sending = tokio::spawn(async move {
            for number in 0..UNREAD {
                messages.write_all(&unread(number)).await?;
            }
            messages.shutdown().await
        });
        let stuck = eventually("a sender that stands", WAIT, async || {
            let before = unread_committed(&scene.site).await?;
            tokio::time::sleep(Duration::from_secs(2)).await;
            (before > 0.0 && unread_committed(&scene.site).await? == before).then_some(before)
        });
        let stuck = stuck.await?;
        ensure!(stuck < UNREAD as f64, "{stuck} were taken: nobody stands");
        others_bring(&scene.site, IN_A_STALL, STALL_MAX).await?;
        let mut bytes = Vec::new();
        tokio::time::timeout(WAIT, answers.read_to_end(&mut bytes)).await??;
        sending.await??;
        let text = String::from_utf8(bytes)?;
        let said: Vec<String> =
            text.split_terminator("\x1c\r").map(|frame| msa(frame.trim_start_matches('\x0b'))).collect();
        ensure!(said.len() == UNREAD, "{} answers of {UNREAD}", said.len());
        for (number, said) in said.iter().enumerate() {
            ensure!(*said == format!("AA {}", long_id(number)), "answer {number} is to another message");
        }
        println!("it stood at {stuck} of {UNREAD}");
        Ok(())
    };
    let sent = scene.sent_during(storm).await?;
    judge::all_is_well(&scene, &sent).await
}

async fn unread_committed(site: &Site) -> Option<f64> {
    let sample = "medulla_messages_total{feed=\"mllp\",outcome=\"committed\",type=\"ADT^A08\"}";
    site.metric(sample).await.ok()
}

/// An answer repeats it.
fn long_id(number: usize) -> String {
    format!("{number:0>CONTROL_ID_BYTES$}")
}

fn unread(number: usize) -> Vec<u8> {
    let id = long_id(number);
    format!(
        "\x0bMSH|^~\\&|TEST|TEST|MEDULLA|TEST|20260101120000||ADT^A08|{id}|P|2.5\rPID|1||UNREAD^^^SIMHOSP\r\x1c\r"
    )
    .into_bytes()
}
