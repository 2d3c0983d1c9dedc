//! MLLP over real sockets: order, silence without a quorum, faults, backpressure, TLS.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use connectors::mllp::{Answered, Client, ClientConfig, Config, Sink, Source};
use connectors::{Inbound, Outbound, Refusal, Reply, Sink as _, SinkError, Source as _, SourceState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn reply(text: impl Into<String>) -> Reply {
    Reply { body: text.into().into(), ..Reply::default() }
}

async fn listen(change: impl FnOnce(&mut Config)) -> (Source, ClientConfig) {
    let mut config = Config::new("127.0.0.1:0");
    change(&mut config);
    let source = Source::listen(config).await.unwrap();
    let mut client = ClientConfig::new(source.address().to_string());
    client.timeout_s = 5;
    (source, client)
}

fn text(inbound: &Inbound) -> String {
    String::from_utf8(inbound.payload.to_vec()).unwrap()
}

/// Everything the peer sends within `wait`, and whether it closed the connection.
async fn drain(stream: &mut TcpStream, wait: Duration) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let closed = tokio::time::timeout(wait, stream.read_to_end(&mut bytes)).await.is_ok();
    (bytes, closed)
}

#[tokio::test]
async fn answers_come_in_order_though_verdicts_do_not() {
    let (mut source, config) = listen(|_| {}).await;
    let (mut writer, mut reader) = Client::connect(&config).await.unwrap().split();
    for i in 0..5 {
        writer.write(format!("MSH|{i}").as_bytes()).await.unwrap();
    }
    let mut taken = Vec::new();
    for i in 0..5 {
        let inbound = source.next().await.unwrap();
        assert_eq!(text(&inbound), format!("MSH|{i}"));
        assert!(inbound.position.ends_with(&format!("#{}", i + 1)));
        taken.push(inbound);
    }
    while let Some(mut inbound) = taken.pop() {
        let body = text(&inbound);
        inbound.receipt.stored(reply(format!("CA {body}")));
        match taken.len() {
            3 => inbound
                .receipt
                .rejected(Refusal { code: "x".into(), reason: "y".into() }, reply(format!("AE {body}"))),
            _ => inbound.receipt.committed(reply(format!("AA {body}"))),
        }
    }
    for i in 0..5 {
        assert_eq!(reader.answer().await.unwrap(), format!("CA MSH|{i}"));
        let code = if i == 3 { "AE" } else { "AA" };
        assert_eq!(reader.answer().await.unwrap(), format!("{code} MSH|{i}"));
    }
    let status = source.status();
    assert_eq!(status.committed.load(Ordering::Relaxed), 4);
    assert_eq!(status.rejected.load(Ordering::Relaxed), 1);
    assert_eq!(status.in_flight.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_late_second_answer_holds_up_no_first_one() {
    let (mut source, config) = listen(|config| config.hold_s = 1).await;
    let (mut writer, mut reader) = Client::connect(&config).await.unwrap().split();
    let mut taken = Vec::new();
    for i in 0..4 {
        writer.write(format!("MSH|{i}").as_bytes()).await.unwrap();
        let mut inbound = source.next().await.unwrap();
        // The third is in original mode: its only answer comes when it is there.
        if i == 2 {
            inbound.receipt.committed(reply("AA MSH|2"));
            assert_eq!(reader.answer().await.unwrap(), "AA MSH|2");
            continue;
        }
        inbound.receipt.stored(reply(format!("CA MSH|{i}")));
        assert_eq!(reader.answer().await.unwrap(), format!("CA MSH|{i}"));
        taken.push(inbound);
    }
    let last = taken.pop().unwrap();
    while let Some(inbound) = taken.pop() {
        let body = text(&inbound);
        inbound.receipt.committed(reply(format!("AA {body}")));
    }
    assert_eq!(reader.answer().await.unwrap(), "AA MSH|0");
    assert_eq!(reader.answer().await.unwrap(), "AA MSH|1");
    drop((writer, reader));
    // Its sender has gone: the connection does not wait for the quorum with it.
    source.stop().await;
    source.finish().await;
    let status = source.status();
    assert_eq!(status.in_flight.load(Ordering::Relaxed), 0);
    assert_eq!(status.committed.load(Ordering::Relaxed), 4);
    drop(last);
}

#[tokio::test]
async fn what_is_not_kept_has_no_answer_nor_has_anything_after_it() {
    let (mut source, config) = listen(|config| config.hold_s = 2).await;
    let mut stream = TcpStream::connect(&config.address).await.unwrap();
    stream.write_all(b"\x0b1\x1c\r\x0b2\x1c\r\x0b3\x1c\r").await.unwrap();
    let started = Instant::now();
    source.next().await.unwrap().receipt.committed(reply("ok 1"));
    drop(source.next().await.unwrap());
    source.next().await.unwrap().receipt.committed(reply("ok 3"));
    let (bytes, closed) = drain(&mut stream, Duration::from_secs(1)).await;
    assert_eq!((bytes.as_slice(), closed), (b"\x0bok 1\x1c\r".as_slice(), false), "stays open, silent");
    let (bytes, closed) = drain(&mut stream, Duration::from_secs(5)).await;
    assert!(bytes.is_empty() && closed, "closed after the hold");
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert_eq!(source.status().retried.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn framing_faults_are_survived_and_counted() {
    let (mut source, config) = listen(|config| config.max_message_bytes = 100).await;
    let mut stream = TcpStream::connect(&config.address).await.unwrap();
    let large = "x".repeat(5000);
    stream
        .write_all(format!("GET / HTTP\x0bcut\x0b{large}\x1c\r\x0b\x1c\r\x0bok\x1c").as_bytes())
        .await
        .unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let inbound = source.next().await.unwrap();
        seen.push((inbound.payload.len(), inbound.fault.as_ref().map(|f| f.code.clone())));
        inbound.receipt.committed(reply("done"));
    }
    let code = |text: &str| Some(text.to_owned());
    assert_eq!(seen, [(3, code("mllp-unterminated")), (100, code("mllp-too-large")), (2, None)]);
    // Noise, unterminated, too large, empty, missing CR.
    assert_eq!(source.status().faults.load(Ordering::Relaxed), 5);
    let (bytes, _) = drain(&mut stream, Duration::from_millis(200)).await;
    assert_eq!(bytes, b"\x0bdone\x1c\r".repeat(3));
    drop(stream);
    let mut other = TcpStream::connect(&config.address).await.unwrap();
    other.write_all(b"\x0bhal").await.unwrap();
    other.shutdown().await.unwrap();
    let cut = source.next().await.unwrap();
    assert_eq!((cut.payload.len(), cut.fault.as_ref().map(|f| f.code.clone())), (3, code("mllp-cut-short")));
    cut.receipt.committed(reply("refused"));
    let (bytes, closed) = drain(&mut other, Duration::from_secs(2)).await;
    assert!(bytes == b"\x0brefused\x1c\r" && closed, "a sender that only ended its side hears of it");
    assert_eq!(source.status().faults.load(Ordering::Relaxed), 6);
}

#[tokio::test]
async fn what_a_broken_connection_leaves_is_kept_too() {
    let (mut source, config) = listen(|_| ()).await;
    let mut stream = TcpStream::connect(&config.address).await.unwrap();
    stream.write_all(b"\x0bone\x1c\r\x0bhal").await.unwrap();
    let one = source.next().await.unwrap();
    one.receipt.committed(reply("done"));
    // What is closed with an answer unread is reset, not ended.
    let mut first = [0; 1];
    stream.read_exact(&mut first).await.unwrap();
    drop(stream);
    let cut = source.next().await.unwrap();
    assert_eq!((cut.payload.len(), cut.fault.as_ref().map(|f| f.code.as_str())), (3, Some("mllp-cut-short")));
    cut.receipt.committed(reply("refused"));
}

#[tokio::test]
async fn nobody_taking_messages_stops_the_sender() {
    let (mut source, config) = listen(|config| config.read_ahead = 4).await;
    let (mut writer, mut reader) = Client::connect(&config).await.unwrap().split();
    let message = vec![b'x'; 256 * 1024];
    let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = sent.clone();
    let sender = tokio::spawn(async move {
        for _ in 0..200 {
            writer.write(&message).await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
        }
        writer
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    let stuck = sent.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(sent.load(Ordering::Relaxed), stuck, "the window is full");
    assert!(stuck < 60, "50 MB offered, {stuck} of 200 messages taken");
    let answers = tokio::spawn(async move {
        for _ in 0..200 {
            reader.answer().await.unwrap();
        }
    });
    for _ in 0..200 {
        source.next().await.unwrap().receipt.committed(reply("ok"));
    }
    answers.await.unwrap();
    sender.await.unwrap();
}

#[tokio::test]
async fn a_half_closed_sender_gets_its_answers_and_stop_ends_all() {
    let (mut source, config) = listen(|_| {}).await;
    let mut stream = TcpStream::connect(&config.address).await.unwrap();
    stream.write_all(b"\x0b1\x1c\r").await.unwrap();
    stream.shutdown().await.unwrap();
    let inbound = source.next().await.unwrap();
    let mut idle = TcpStream::connect(&config.address).await.unwrap();
    idle.write_all(b"\x0b2\x1c\r").await.unwrap();
    let second = source.next().await.unwrap();
    source.stop().await;
    assert!(source.next().await.is_none());
    inbound.receipt.committed(reply("one"));
    second.receipt.committed(reply("two"));
    source.finish().await;
    assert_eq!(drain(&mut stream, Duration::from_secs(1)).await, (b"\x0bone\x1c\r".to_vec(), true));
    assert_eq!(drain(&mut idle, Duration::from_secs(1)).await, (b"\x0btwo\x1c\r".to_vec(), true));
    assert_eq!(source.status().get().0, SourceState::Stopped);
    assert!(TcpStream::connect(&config.address).await.is_err(), "no longer listens");
}

#[tokio::test]
async fn the_sink_asks_its_judge_and_never_uses_a_late_answer() {
    let (mut source, mut config) = listen(|_| {}).await;
    config.timeout_s = 1;
    let judge: connectors::mllp::Judge = Arc::new(|message, answer| match answer {
        b if b == message.id.as_bytes() => Answered::Taken,
        _ => Answered::Refused(String::from_utf8_lossy(answer).into_owned()),
    });
    let mut sink = Sink::new(config, judge);
    let message = |id: &str| Outbound {
        id: id.into(),
        key: "k".into(),
        content_type: "x",
        body: Bytes::copy_from_slice(id.as_bytes()),
    };
    let receiver = tokio::spawn(async move {
        source.next().await.unwrap().receipt.committed(reply("a"));
        let late = source.next().await.unwrap();
        let again = source.next().await.unwrap();
        assert_eq!(text(&late), text(&again));
        late.receipt.committed(reply("late"));
        again.receipt.committed(reply("b"));
        source.next().await.unwrap().receipt.committed(reply("AE"));
    });
    sink.deliver(&message("a")).await.unwrap();
    assert!(matches!(sink.deliver(&message("b")).await, Err(SinkError::Unanswered(_))));
    sink.deliver(&message("b")).await.unwrap();
    assert!(matches!(sink.deliver(&message("c")).await, Err(SinkError::Refused(text)) if text == "AE"));
    receiver.await.unwrap();
}

#[tokio::test]
async fn new_certificates_are_for_new_connections_and_open_ones_go_on() {
    use rcgen::{CertificateParams, KeyPair};
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    // A certificate that is its own authority, put in place whole.
    let identity = || {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        for (name, text) in [("cert.pem", cert.pem()), ("key.pem", key.serialize_pem())] {
            let beside = pem(dir.path(), "new", text);
            std::fs::rename(beside, path(name)).unwrap();
        }
        cert.pem()
    };
    let former = pem(dir.path(), "former-ca.pem", identity());
    let (mut source, mut config) = listen(|config| {
        (config.tls_cert, config.tls_key) = (Some(path("cert.pem")), Some(path("key.pem")));
    })
    .await;
    config.tls_name = Some("localhost".into());
    config.tls_ca = Some(former);
    let server = tokio::spawn(async move {
        while let Some(inbound) = source.next().await {
            inbound.receipt.committed(reply("ok"));
        }
    });
    let mut open = Client::connect(&config).await.unwrap();
    assert_eq!(open.send(b"MSH|1").await.unwrap(), "ok");
    let latter =
        ClientConfig { tls_ca: Some(pem(dir.path(), "latter-ca.pem", identity())), ..config.clone() };
    let began = Instant::now();
    let mut fresh = loop {
        match Client::connect(&latter).await {
            Ok(client) => break client,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(60), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(fresh.send(b"MSH|2").await.unwrap(), "ok");
    assert_eq!(open.send(b"MSH|3").await.unwrap(), "ok", "an open connection goes on");
    assert!(Client::connect(&config).await.is_err(), "the former certificate is shown no more");
    server.abort();
}

fn pem(dir: &Path, name: &str, text: String) -> std::path::PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn tls_lets_in_only_the_certificates_of_its_authority() {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let dir = tempfile::tempdir().unwrap();
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_path = pem(dir.path(), "ca.pem", params.self_signed(&ca_key).unwrap().pem());
    let ca = Issuer::new(params, ca_key);
    let identity = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
        let cert = pem(dir.path(), &format!("{name}.pem"), cert.pem());
        (Some(cert), Some(pem(dir.path(), &format!("{name}.key"), key.serialize_pem())))
    };
    let (cert, key) = identity("localhost");
    let (mut source, mut config) = listen(|config| {
        (config.tls_cert, config.tls_key) = (cert, key);
        config.tls_client_ca = Some(ca_path.clone());
    })
    .await;
    config.tls_ca = Some(ca_path.clone());
    config.tls_name = Some("localhost".into());
    let nobody = async { Client::connect(&config).await?.send(b"MSH|nobody").await };
    assert!(nobody.await.is_err(), "no client certificate");
    (config.tls_cert, config.tls_key) = identity("feed-x");
    let server = tokio::spawn(async move {
        source.next().await.unwrap().receipt.committed(reply("welcome"));
    });
    let answer = Client::connect(&config).await.unwrap().send(b"MSH|feed-x").await.unwrap();
    assert_eq!(answer, "welcome");
    server.await.unwrap();
}
