//! Over a real ledger of one site.

use std::time::Duration;

use actix_web::body::to_bytes;
use actix_web::http::StatusCode;
use actix_web::{App, test};
use raft_ledger::{Config, Draft, Subject};

use super::*;

async fn ledger(dir: &std::path::Path, leaves: u64) -> Ledger {
    let keys = raft_ledger::keys::init(&dir.join("keys"), &[("a", "127.0.0.1")]).unwrap();
    let mut config = Config::new("a", dir.join("data"), &keys[0]);
    config.initialise = true;
    config.free_space_reserve_bytes = 1 << 20;
    let ledger = Ledger::open(config).await.unwrap();
    let draft = |n: u64| Draft {
        kind: 1,
        subject: Subject([1; 32]),
        tags: Vec::new(),
        dedupe: None,
        event_time_ms: n as i64,
        message_time_ms: 0,
        received_time_ms: 0,
        payload: "payload".into(),
    };
    ledger.append((0..leaves).map(draft).collect()).await.unwrap();
    while ledger.checkpoint().is_none_or(|checkpoint| checkpoint.size < leaves) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ledger
}

#[actix_web::test]
async fn serves_what_the_checkpoint_covers_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = ledger(dir.path(), 300).await;
    let app = test::init_service(App::new().configure(|config| routes(config, &ledger))).await;
    let get = async |path: &str| {
        let response = test::call_service(&app, test::TestRequest::get().uri(path).to_request()).await;
        let header = |name: &str| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let headers = [header("content-type"), header("cache-control")];
        (response.status(), headers, to_bytes(response.into_body()).await.unwrap())
    };
    let (status, headers, note) = get("/log/checkpoint").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers, ["text/plain; charset=utf-8", "no-cache"]);
    assert_eq!(note, ledger.checkpoint().unwrap().note);
    for (path, bytes) in
        [("/log/tile/0/000", 256 * 32), ("/log/tile/0/001.p/44", 44 * 32), ("/log/tile/1/000.p/1", 32)]
    {
        let (status, headers, body) = get(path).await;
        assert_eq!((status, body.len()), (StatusCode::OK, bytes), "{path}");
        assert_eq!(headers, ["application/octet-stream", "max-age=31536000, immutable"]);
    }
    let (_, headers, tile) = get("/log/tile/0/001.p/44").await;
    assert!(headers[1].contains("immutable"));
    let (status, _, bundle) = get("/log/tile/entries/001.p/44").await;
    assert_eq!(status, StatusCode::OK);
    let (mut rest, mut entries) = (&bundle[..], 0);
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (entry, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
        assert_eq!(raft_ledger::merkle::leaf_hash(entry), tile[entries * 32..][..32], "entry {entries}");
        (rest, entries) = (after, entries + 1);
    }
    assert_eq!((entries, rest.len()), (44, 0));
    for path in [
        "/log/tile/0/001",
        "/log/tile/0/001.p/45",
        "/log/tile/0/002.p/1",
        "/log/tile/1/000",
        "/log/tile/2/000.p/1",
        "/log/tile/entries/001.p/45",
        "/log/tile/entries/x001/000",
        "/log/tile/0/1",
        "/log/tile/00/000",
        "/log/tile/64/000",
        "/log/tile/entries/../checkpoint",
        "/log/",
        "/api/ledger",
    ] {
        assert_eq!(get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    ledger.close().await.unwrap();
}

#[actix_web::test]
async fn the_public_listener_has_the_log_alone() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = ledger(dir.path(), 3).await;
    let log = crate::config::Log { listen: "127.0.0.1:0".parse().unwrap(), tls: None };
    let public = PublicLog::start(&log, ledger.clone()).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    let get = async |path: &str| client.get(format!("http://{}{path}", public.address)).send().await.unwrap();
    let note = get("/log/checkpoint").await;
    assert_eq!(note.status(), 200);
    assert_eq!(note.text().await.unwrap(), ledger.checkpoint().unwrap().note);
    for path in ["/", "/api/ledger", "/metrics", "/healthz", "/fhir/Patient/1"] {
        assert_eq!(get(path).await.status(), 404, "{path}");
    }
    public.stop().await;
    ledger.close().await.unwrap();
}
