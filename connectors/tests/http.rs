//! FHIR REST and HL7 over HTTP against a real server, and the webhook sink against another.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};
use async_trait::async_trait;
use connectors::fhir_rest::{Config, Door, Lookup, Source, routes};
use connectors::{
    Format, Inbound, Outbound, Refusal, Reply, Secret, Sink as _, SinkError, Source as _, webhook,
};
use reqwest::{Client, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Fixed;

#[async_trait]
impl Lookup for Fixed {
    async fn metadata(&self) -> Reply {
        reply(200, "{\"resourceType\":\"CapabilityStatement\"}")
    }

    async fn read(&self, resource_type: &str, id: &str, version: Option<&str>) -> Reply {
        match (id, version) {
            ("1", None) => reply(200, &format!("{resource_type}/1")),
            ("1", Some(version)) => reply(200, &format!("{resource_type}/1 as of {version}")),
            _ => reply(404, "nothing"),
        }
    }
}

fn reply(status: u16, body: &str) -> Reply {
    Reply { status, content_type: "application/fhir+json", location: None, body: body.to_owned().into() }
}

struct Site {
    source: Source,
    door: Door,
    client: Client,
    url: String,
    server: ServerHandle,
}

async fn site(change: impl FnOnce(&mut Config)) -> Site {
    let mut config = Config::default();
    change(&mut config);
    let (source, endpoint) = Source::new(config, Arc::new(Fixed));
    let door = Door::default();
    door.open(endpoint);
    let behind = door.clone();
    let app = move || App::new().app_data(web::Data::new(behind.clone())).configure(routes);
    let server = HttpServer::new(app).workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.addrs()[0]);
    let server = server.run();
    let handle = server.handle();
    tokio::spawn(server);
    let _ = rustls::crypto::ring::default_provider().install_default();
    Site { source, door, client: Client::new(), url, server: handle }
}

impl Site {
    fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> tokio::task::JoinHandle<Response> {
        let request = self.client.post(format!("{}{path}", self.url)).body(body);
        tokio::spawn(async move { request.send().await.unwrap() })
    }

    async fn next(&mut self) -> Inbound {
        tokio::time::timeout(Duration::from_secs(10), self.source.next()).await.unwrap().unwrap()
    }
}

#[actix_web::test]
async fn verdicts_become_answers() {
    let mut site = site(|_| {}).await;
    let answer = site.post("/fhir/Patient", "{}");
    let inbound = site.next().await;
    assert_eq!(
        (inbound.headers["method"].as_str(), inbound.headers["path"].as_str()),
        ("POST", "/fhir/Patient")
    );
    assert_eq!((inbound.format, &inbound.payload[..]), (Some(Format::FhirJson), b"{}".as_slice()));
    let location = Some("Patient/7/_history/1".to_owned());
    inbound.receipt.committed(Reply { location, ..reply(201, "created") });
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(answer.headers()["location"], format!("{}/fhir/Patient/7/_history/1", site.url));
    assert_eq!(answer.text().await.unwrap(), "created");

    let answer = site.post("/hl7", "MSH|");
    let inbound = site.next().await;
    assert_eq!(inbound.format, Some(Format::Hl7v2));
    let refusal = Refusal { code: "x".into(), reason: "y".into() };
    // A refusal never looks like a success.
    inbound.receipt.rejected(refusal, reply(200, "AE"));
    let answer = answer.await.unwrap();
    assert_eq!(
        (answer.status(), answer.text().await.unwrap()),
        (StatusCode::UNPROCESSABLE_ENTITY, "AE".into())
    );

    let answer = site.post("/fhir", "{}");
    site.next().await.receipt.retry("no quorum");
    let answer = answer.await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"5".parse().unwrap())
    );
    assert!(answer.text().await.unwrap().contains("OperationOutcome"));
    let status = site.source.status();
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!([count(&status.committed), count(&status.rejected), count(&status.retried)], [1, 1, 1]);
}

#[actix_web::test]
async fn overload_and_size_have_names() {
    let mut site = site(|config| {
        (config.max_in_flight, config.max_message_bytes, config.answer_timeout_s) = (2, 1000, 1);
    })
    .await;
    let (first, second) = (site.post("/fhir", "1"), site.post("/fhir", "2"));
    let (one, two) = (site.next().await, site.next().await);
    assert_eq!(site.post("/fhir", "3").await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(first.await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE, "no verdict in time");
    assert_eq!(second.await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    one.receipt.committed(reply(200, ""));
    two.receipt.committed(reply(200, ""));
    assert_eq!(site.post("/fhir", "x".repeat(1001)).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(post_chunked(&site.url, "/hl7", &"x".repeat(600), 2).await, "HTTP/1.1 413");
    site.source.finish().await;
    assert_eq!(site.post("/fhir", "1").await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE, "stopped");
    site.server.stop(true).await;
}

/// A body whose length shows only as it comes.
async fn post_chunked(url: &str, path: &str, chunk: &str, times: usize) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let body = format!("{:x}\r\n{chunk}\r\n", chunk.len()).repeat(times);
    stream.write_all(format!("{head}{body}0\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[actix_web::test]
async fn answers_can_be_asked_for_later() {
    let mut site = site(|config| config.max_async_answers = 1).await;
    let post = |site: &Site| {
        site.client
            .post(format!("{}/fhir", site.url))
            .header("prefer", "respond-async, return=minimal")
            .body("{}")
            .send()
    };
    let accepted = post(&site).await.unwrap();
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    let url = accepted.headers()["content-location"].to_str().unwrap().to_owned();
    assert!(url.starts_with(&format!("{}/fhir/$async/", site.url)), "{url}");
    let poll = || async { site.client.get(&url).send().await.unwrap().status() };
    assert_eq!(poll().await, StatusCode::ACCEPTED);
    assert_eq!(post(&site).await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE, "one at a time");
    let inbound = tokio::time::timeout(Duration::from_secs(5), site.source.next()).await.unwrap().unwrap();
    inbound.receipt.committed(reply(200, "kept"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let answer = site.client.get(&url).send().await.unwrap();
    assert_eq!((answer.status(), answer.text().await.unwrap()), (StatusCode::OK, "kept".into()));
    let unknown = format!("{}/fhir/$async/0", site.url);
    assert_eq!(site.client.get(unknown).send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn reads_go_to_the_lookup() {
    let site = site(|_| {}).await;
    let get = async |path: &str| {
        let answer = site.client.get(format!("{}{path}", site.url)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert!(get("/fhir/metadata").await.1.contains("CapabilityStatement"));
    assert_eq!(get("/fhir/Patient/1").await, (200, "Patient/1".into()));
    assert_eq!(get("/fhir/Patient/1/_history/3").await, (200, "Patient/1 as of 3".into()));
    assert_eq!(get("/fhir/Patient/1/_history/%20").await.0, 404);
    assert_eq!(get("/fhir/Patient/2").await.0, 404);
    assert_eq!(get("/fhir/Patient/%2e%2e%20x").await.0, 404);
    // What is not offered is refused by name.
    for path in ["/fhir/Patient?name=x", "/fhir/Patient/1/_history", "/fhir"] {
        let (status, body) = get(path).await;
        assert!(
            status == 405 && body.contains("OperationOutcome") && body.contains("not-supported"),
            "{path}: {body}"
        );
    }
    let deleted = site.client.delete(format!("{}/fhir/Patient/1", site.url)).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(site.post("/fhir/patient%00", "{}").await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn the_webhook_delivers_what_is_taken() {
    let mut site = site(|_| {}).await;
    let mut config = webhook::Config::new(&format!("{}/hl7", site.url));
    config.timeout_s = 2;
    config.headers.insert("x-request-id".into(), Secret::new("42"));
    let mut sink = webhook::Sink::new(config).unwrap();
    let out = Outbound {
        id: "a1".into(),
        key: "k".into(),
        content_type: "application/fhir+json",
        body: "{}".into(),
    };
    let receiver = async {
        for status in [200, 422, 503] {
            let inbound = site.next().await;
            assert_eq!(inbound.headers["content-type"], "application/fhir+json");
            assert_eq!(inbound.headers["x-request-id"], "42");
            inbound.receipt.committed(reply(status, ""));
        }
    };
    let sender = async {
        assert!(sink.deliver(&out).await.is_ok());
        assert!(matches!(sink.deliver(&out).await, Err(SinkError::Refused(_))));
        assert!(matches!(sink.deliver(&out).await, Err(SinkError::Unreachable(_))));
    };
    futures_util::join!(receiver, sender);
    let mut nobody = webhook::Sink::new(webhook::Config::new("http://127.0.0.1:1/secret-token")).unwrap();
    let error = nobody.deliver(&out).await.unwrap_err().to_string();
    assert!(!error.contains("secret-token"), "{error}");
    assert!(webhook::Sink::new(webhook::Config::new("ftp://x")).is_err());
}

#[actix_web::test]
async fn a_feed_is_exchanged_while_the_server_goes_on() {
    let mut site = site(|_| {}).await;
    let later = site.client.post(format!("{}/fhir", site.url)).header("prefer", "respond-async").body("{}");
    let accepted = later.send().await.unwrap();
    let url = accepted.headers()["content-location"].to_str().unwrap().to_owned();
    let taken = site.next().await;
    let (source, endpoint) = Source::new(Config::default(), Arc::new(Fixed));
    site.source = source;
    site.door.open(endpoint);
    let answer = site.post("/hl7", "MSH|^~\\&|");
    site.next().await.receipt.committed(reply(200, "AA"));
    assert_eq!(answer.await.unwrap().text().await.unwrap(), "AA");
    // What the former one took is answered where it was asked for.
    taken.receipt.committed(reply(200, "kept"));
    let kept = loop {
        let answer = site.client.get(&url).send().await.unwrap();
        if answer.status() != StatusCode::ACCEPTED {
            break answer;
        }
    };
    assert_eq!((kept.status(), kept.text().await.unwrap()), (StatusCode::OK, "kept".into()));
    site.door.close();
    for path in ["/hl7", "/fhir", "/fhir/Patient"] {
        assert_eq!(site.post(path, "{}").await.unwrap().status(), StatusCode::NOT_FOUND, "{path}");
    }
}
