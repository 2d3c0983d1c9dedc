//! The server as a browser, a program and the command line meet it, over a site that needs no ledger.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actors::entry::Release;
use actors::{
    AlertExplained, AlertRow, DriftReport, ErrorDetail, Errors, ExplainError, FeedStatus, Found, Listed,
    ModelDecision, ModelDetail, ModelsListed, PatientDetail, PatientRow, PatientShredded, Promotion,
    RegistryError, ReleaseError, RepairError, Repairs, Replay, Replays, Retried, Search, ShadowReport,
    SinkStatus, Tapped, Tried, View,
};
use argon2::password_hash::{PasswordHasher, SaltString};
use async_trait::async_trait;
use clinical::PatientId;
use futures_util::StreamExt;
use ml_scoring::Answered;
use raft_ledger::{
    Archived, Backup, CosignedCheckpoint, Entry, KeyBackup, KeysRotated, LedgerError, MemberChange,
    MemberStatus, Payload, Progress, Report, Status, Watch,
};
use reqwest::{Client, StatusCode, redirect};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use super::{AdminClient, Server, sample, socket_path};
use crate::api::{AcknowledgeError, BoardEvent, BoardStream, Lagged, Site};
use crate::config::{Http, Role, Secret, Token, User};

struct Sample {
    events: broadcast::Sender<BoardEvent>,
    tapped: broadcast::Sender<Arc<Tapped>>,
    kept: Mutex<Vec<BoardEvent>>,
    answers: Mutex<Vec<(String, String)>>,
    wanted: Mutex<Vec<Answered>>,
}

impl Sample {
    fn new() -> Arc<Sample> {
        Arc::new(Sample {
            events: broadcast::channel(64).0,
            tapped: broadcast::channel(4).0,
            kept: Mutex::default(),
            answers: Mutex::default(),
            wanted: Mutex::default(),
        })
    }

    fn publish(&self, seq: u64) {
        let event = BoardEvent { seq, name: "alert".into(), json: format!("{{\"n\":{seq}}}") };
        self.kept.lock().unwrap().push(event.clone());
        let _ = self.events.send(event);
    }
}

#[async_trait]
impl Site for Sample {
    fn name(&self) -> String {
        "a".into()
    }
    fn is_ready(&self) -> bool {
        true
    }
    fn outbox(&self) -> raft_ledger::OutboxStatus {
        raft_ledger::OutboxStatus::default()
    }
    fn metrics(&self) -> Vec<prometheus::proto::MetricFamily> {
        Vec::new()
    }
    fn feeds(&self) -> Vec<FeedStatus> {
        vec![sample::feed()]
    }
    fn tap(&self) -> broadcast::Receiver<Arc<Tapped>> {
        self.tapped.subscribe()
    }
    fn sinks(&self) -> Vec<SinkStatus> {
        vec![sample::sink()]
    }
    async fn release_sink(
        &self,
        name: &str,
        index: Option<u64>,
        how: Release,
        by: &str,
        reason: &str,
    ) -> Result<u64, ReleaseError> {
        let sink = sample::sink();
        if name != sink.name {
            return Err(ReleaseError::UnknownSink(name.into()));
        }
        if let Some(named) = index.filter(|named| *named != 7) {
            return Err(ReleaseError::Another { sink: sink.name, held: 7, named });
        }
        self.answers.lock().unwrap().push((by.into(), format!("{how:?} {reason}")));
        Ok(9)
    }
    fn board(&self) -> (Vec<PatientRow>, u64) {
        (vec![sample::patient()], self.kept.lock().unwrap().len() as u64)
    }
    async fn patient(&self, key: &str) -> Option<PatientDetail> {
        let row = Some(sample::patient()).filter(|row| row.key == key)?;
        Some(PatientDetail { row, curves: Default::default(), alerts: vec![] })
    }
    fn alerts(&self, limit: usize) -> Vec<AlertRow> {
        vec![sample::alert(); limit.min(1)]
    }
    async fn shred(&self, patient: &PatientId, by: &str) -> Result<PatientShredded, LedgerError> {
        self.answers.lock().unwrap().push((by.into(), "shred".into()));
        match patient.id.as_str() {
            "4712" => Err(LedgerError::Unconfirmed("the shredding".into())),
            "4711" => Ok(PatientShredded { index: Some(8), keys: 1, shredded: 3, ..Default::default() }),
            _ => Err(LedgerError::Unavailable("no quorum".into())),
        }
    }
    async fn acknowledge(
        &self,
        alert: &str,
        by: &str,
        reason: &str,
        then: Answered,
    ) -> Result<u64, AcknowledgeError> {
        if alert != "a1" {
            return Err(AcknowledgeError::NotFound);
        }
        self.wanted.lock().unwrap().push(then);
        self.answers.lock().unwrap().push((by.into(), reason.into()));
        Ok(9)
    }
    fn trace(&self, _: u64, _: bool) -> Result<Option<actors::Trace>, actors::TraceError> {
        Ok(None)
    }
    fn explain(&self, alert: &str) -> Result<AlertExplained, ExplainError> {
        match alert {
            "a1" => Ok(sample::explained()),
            "b1" => Err(ExplainError::Sealed { index: 7, site: "b".into() }),
            _ => Err(ExplainError::UnknownAlert),
        }
    }
    fn models(&self) -> Result<ModelsListed, LedgerError> {
        let model = sample::model().model;
        Ok(ModelsListed { as_of: 8, models: vec![model], sealed: [("b".to_owned(), 1)].into() })
    }
    fn model(&self, hash: &str) -> Result<Option<ModelDetail>, LedgerError> {
        Ok(Some(sample::model()).filter(|detail| detail.model.hash == hash))
    }
    fn shadow(&self, hash: &str) -> Option<ShadowReport> {
        Some(sample::shadow()).filter(|report| report.hash == hash)
    }
    fn drift(&self, hash: &str) -> Option<DriftReport> {
        Some(sample::drifted()).filter(|report| report.hash == hash)
    }
    async fn decide_model(&self, decision: ModelDecision, by: &str, why: &str) -> Result<u64, RegistryError> {
        let hash = match decision {
            ModelDecision::Register { .. } => {
                return Err(RegistryError::Refused("registered already".into()));
            }
            ModelDecision::Retire { hash } => hash,
            ModelDecision::Promote(Promotion { hash, threshold, interruptive_threshold, replaces }) => {
                let why = format!("{threshold} {interruptive_threshold:?} {replaces:?} {why}");
                self.answers.lock().unwrap().push((by.into(), why));
                return if hash == sample::model().model.hash {
                    Ok(9)
                } else {
                    Err(RegistryError::Unknown(hash))
                };
            }
        };
        if hash != sample::model().model.hash {
            return Err(RegistryError::Unknown(hash));
        }
        self.answers.lock().unwrap().push((by.into(), why.into()));
        Ok(9)
    }
    fn search(&self, search: &Search) -> Result<Found, LedgerError> {
        let entries = self.entries(search.from, search.limit).unwrap();
        Ok(Found { as_of: 8, entries, next: Some((None, search.from + 1)) })
    }
    fn errors(&self, _: &Search, _: Option<&str>, listed: Listed) -> Result<Errors, LedgerError> {
        let rows = if listed == Listed::Open { vec![] } else { vec![sample::error_row()] };
        Ok(Errors { as_of: 8, rows, next: None })
    }
    fn error(&self, index: u64) -> Result<ErrorDetail, RepairError> {
        Err(RepairError::Unknown(index))
    }
    fn error_view(&self, index: u64, _: View) -> Result<String, RepairError> {
        Err(RepairError::Unknown(index))
    }
    fn try_error(&self, index: u64, _: &Repairs) -> Result<Tried, RepairError> {
        Err(RepairError::Unknown(index))
    }
    async fn replay(&self, how: Replay, _: &str) -> Result<Replays, RepairError> {
        how.indices.first().map_or(Ok(Replays { as_of: 8, rows: Vec::new(), next: None }), |index| {
            Err(RepairError::Unknown(*index))
        })
    }
    async fn retry_error(&self, index: u64, how: Repairs, _: &str) -> Result<Retried, RepairError> {
        Err(if how.release { RepairError::NotHeld(index) } else { RepairError::Closed(index) })
    }
    async fn discard_error(&self, index: u64, reason: &str, by: &str) -> Result<u64, RepairError> {
        self.answers.lock().unwrap().push((by.into(), reason.into()));
        Ok(index + 1)
    }
    async fn catch_up(&self) -> Result<(), LedgerError> {
        Err(LedgerError::Unavailable("no majority".into()))
    }
    fn entries(&self, from: u64, _: usize) -> Result<Vec<Entry>, LedgerError> {
        if from == 256 {
            return Err(LedgerError::Cold("000000000256 is missing".into()));
        }
        Ok((from == 0)
            .then(|| Entry {
                index: from,
                kind: 1,
                site: "b".into(),
                epoch: 1,
                site_seq: 0,
                event_time_ms: 1,
                message_time_ms: 1,
                received_time_ms: 1,
                payload: Payload::Sealed,
            })
            .into_iter()
            .collect())
    }
    fn leases(&self) -> Result<Vec<raft_ledger::Lease>, LedgerError> {
        Ok(sample::leases())
    }

    fn ledger(&self) -> Status {
        sample::ledger()
    }
    async fn members(&self) -> Vec<MemberStatus> {
        vec![sample::member()]
    }
    async fn change_members(&self, change: MemberChange, by: &str) -> Result<Vec<MemberStatus>, LedgerError> {
        if !matches!(&change, MemberChange::Add { site, .. } if site == "d") {
            return Err(LedgerError::Refused("no majority".into()));
        }
        self.answers.lock().unwrap().push((by.into(), format!("{change:?}")));
        Ok(vec![sample::member()])
    }
    fn verifier_keys(&self) -> String {
        String::new()
    }
    fn admissions(&self) -> String {
        String::new()
    }
    async fn upgrade_ledger(&self, _: &str) -> Result<u32, LedgerError> {
        Err(LedgerError::Refused("site b cannot be reached".into()))
    }
    fn checkpoint(&self) -> Option<CosignedCheckpoint> {
        Some(sample::checkpoint())
    }
    fn prove(&self, index: u64) -> Result<String, LedgerError> {
        match index {
            0 => Ok("c2sp.org/tlog-proof@v1\n".into()),
            _ => Err(LedgerError::NotProven(format!("entry {index} is not covered"))),
        }
    }
    fn prove_consistency(&self, old: u64, new: u64) -> Result<String, LedgerError> {
        Ok(format!("old {old}\n\n{new}\n"))
    }
    fn verify(&self, _watch: Watch<'_>) -> anyhow::Result<Report> {
        Ok(Report { ok: true, size: 8, ..Report::default() })
    }
    fn export(&self, folder: &Path, _watch: Watch<'_>) -> anyhow::Result<(u64, [u8; 32])> {
        std::fs::create_dir(folder)?;
        Ok((8, [1; 32]))
    }
    fn archive(&self, older_than: Duration, _watch: Watch<'_>) -> Result<Archived, LedgerError> {
        match older_than.as_secs() / 86_400 {
            30 => Ok(Archived { files: 1, entries: 256, bytes: 9, cold_entries: 256 }),
            _ => Err(LedgerError::Storage("the disk is full".into())),
        }
    }
    fn backup(&self, folder: &Path, watch: Watch<'_>) -> Result<Backup, LedgerError> {
        watch("leaves checked", Progress { done: 3, total: 8 });
        // Until somebody has seen how far it is.
        while folder.ends_with("slow") && !folder.with_extension("seen").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::fs::create_dir(folder).unwrap();
        Ok(sample::backup())
    }
    fn rotate_keys(&self, subjects: bool) -> Result<KeysRotated, LedgerError> {
        if subjects { Ok(sample::keys_rotated()) } else { Err(LedgerError::Refused("another place".into())) }
    }
    fn backup_keys(&self, file: &Path, days: u32) -> Result<KeyBackup, LedgerError> {
        std::fs::write(file, format!("{days}")).unwrap();
        Ok(sample::key_backup())
    }
    fn subscribe(&self, seq: u64) -> (Vec<BoardEvent>, BoardStream) {
        let coming =
            BroadcastStream::new(self.events.subscribe()).map(|event| event.map_err(|_| Lagged)).boxed();
        let missed = self.kept.lock().unwrap().iter().filter(|event| event.seq > seq).cloned().collect();
        (missed, coming)
    }
}

/// A running server; `check` gets its base URL.
struct Running {
    site: Arc<Sample>,
    server: Server,
    base: String,
    data: tempfile::TempDir,
}

async fn start(users: Vec<User>, tokens: Vec<Token>) -> Running {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let data = tempfile::tempdir().unwrap();
    let site = Sample::new();
    let http = Http { listen: "127.0.0.1:0".parse().unwrap(), tls: None, users, tokens };
    let server = Server::start(&http, data.path(), site.clone(), Arc::new(|_| ())).await.unwrap();
    Running { base: format!("http://{}", server.address), site, server, data }
}

fn client() -> Client {
    Client::builder().redirect(redirect::Policy::none()).build().unwrap()
}

fn hash(password: &str) -> Secret {
    // The cheapest parameters: what is tested is the way, not the strength.
    let params = argon2::Params::new(8, 1, 1, None).unwrap();
    let argon = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let salt = SaltString::from_b64("c29tZXNhbHQ").unwrap();
    Secret::new(argon.hash_password(password.as_bytes(), &salt).unwrap().to_string())
}

fn people() -> (Vec<User>, Vec<Token>) {
    let users =
        vec![User { name: "n.meier".into(), password_hash: hash("pass phrase"), roles: vec![Role::Care] }];
    let tokens = vec![Token { name: "prom".into(), token_hash: hash("t0ken"), roles: vec![Role::Engineer] }];
    (users, tokens)
}

#[actix_web::test]
async fn without_users_loopback_is_the_local_administrator() {
    let running = start(vec![], vec![]).await;
    let (client, base) = (client(), &running.base);
    let status: Value = client.get(format!("{base}/api/status")).send().await.unwrap().json().await.unwrap();
    assert_eq!(status["user"], "local");
    assert_eq!(status["roles"], json!(["admin"]));
    for path in ["/healthz", "/readyz", "/metrics", "/api/feeds", "/api/patients", "/api/openapi.json"] {
        assert_eq!(client.get(format!("{base}{path}")).send().await.unwrap().status(), 200, "{path}");
    }
    for made in ["export", "backup"] {
        let post = client.post(format!("{base}/api/ledger/{made}")).json(&json!({"folder": "/tmp/x"}));
        assert_eq!(
            post.send().await.unwrap().status(),
            StatusCode::FORBIDDEN,
            "files are written for the socket alone"
        );
    }
    let foreign =
        client.get(format!("{base}/api/status")).header("Host", "evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN, "a name that resolves to loopback is not local");
    running.server.stop().await;
}

#[actix_web::test]
async fn answers_carry_the_signed_in_name() {
    let (users, tokens) = people();
    let running = start(users, tokens).await;
    let (client, base) = (client(), &running.base);
    let url = format!("{base}/api/alerts/a1/acknowledge");
    let answer = || client.post(&url).json(&json!({"reason": "seen"}));
    assert_eq!(answer().send().await.unwrap().status(), StatusCode::UNAUTHORIZED);

    let page = client.get(format!("{base}/?a=1")).header("Accept", "text/html").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::SEE_OTHER);
    assert_eq!(page.headers()["location"], "/login?next=/%3Fa%3D1");

    let sign_in = |password: &'static str| {
        let login = client.post(format!("{base}/login?next=//evil.example"));
        login
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(format!("name=n.meier&password={password}"))
    };
    assert_eq!(sign_in("wrong").send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let signed_in = sign_in("pass+phrase").send().await.unwrap();
    assert_eq!(signed_in.status(), StatusCode::SEE_OTHER);
    assert_eq!(signed_in.headers()["location"], "/", "never to another site");
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();

    let kept: Value = answer().header("Cookie", &cookie).send().await.unwrap().json().await.unwrap();
    assert_eq!(kept, json!({"index": 9, "by": "n.meier"}));
    assert_eq!(*running.site.answers.lock().unwrap(), [("n.meier".to_owned(), "seen".to_owned())]);

    let snoozed = |wanted: Value| client.post(&url).json(&wanted).header("Cookie", &cookie).send();
    for wanted in [json!({"reason": "r", "snooze_h": 4}), json!({"reason": "r", "confirmed": true})] {
        assert_eq!(snoozed(wanted).await.unwrap().status(), StatusCode::OK);
    }
    let wanted = running.site.wanted.lock().unwrap().clone();
    assert_eq!(wanted, [Answered::Seen, Answered::Snoozed { hours: 4 }, Answered::Confirmed]);
    for wanted in [
        json!({"reason": "r", "snooze_h": 0}),
        json!({"reason": "r", "snooze_h": 73}),
        json!({"reason": "r", "snooze_h": 4, "confirmed": true}),
    ] {
        let refused = snoozed(wanted).await.unwrap();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        assert_eq!(refused.json::<Value>().await.unwrap()["code"], "snooze-invalid");
    }

    let foreign =
        answer().header("Cookie", &cookie).header("Origin", "https://evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN, "a form on another site's page");
    for (id, status, code) in [("b1", 409, "sealed"), ("c1", 404, "not-found")] {
        let url = format!("{base}/api/alerts/{id}/explain");
        let refused = client.get(url).header("Cookie", &cookie).send().await.unwrap();
        assert_eq!(refused.status(), status, "{id}");
        assert_eq!(refused.json::<Value>().await.unwrap()["code"], code, "{id}");
    }
    let feeds = client.get(format!("{base}/api/feeds")).header("Cookie", &cookie).send().await.unwrap();
    assert_eq!(feeds.status(), StatusCode::FORBIDDEN, "care is not engineering");

    client.post(format!("{base}/logout")).header("Cookie", &cookie).send().await.unwrap();
    assert_eq!(answer().header("Cookie", &cookie).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    running.server.stop().await;
}

/// What was sent is not even read of one who may not do it.
#[actix_web::test]
async fn who_may_not_repair_is_told_so_before_anything_is_read() {
    let (_, mut tokens) = people();
    tokens.push(Token { name: "board".into(), token_hash: hash("ward"), roles: vec![Role::Care] });
    let running = start(vec![], tokens).await;
    let (client, base) = (client(), &running.base);
    for path in ["errors/4/retry", "errors/4/release", "errors/4/discard", "sinks/pager/release"] {
        let post = |token: &str, body: &'static str| {
            let post = client.post(format!("{base}/api/{path}")).bearer_auth(token);
            post.header("Content-Type", "application/json").body(body).send()
        };
        assert_eq!(post("ward", "no json").await.unwrap().status(), StatusCode::FORBIDDEN, "{path}");
        assert_eq!(post("t0ken", "no json").await.unwrap().status(), StatusCode::BAD_REQUEST, "{path}");
    }
    running.server.stop().await;
}

#[actix_web::test]
async fn what_is_held_is_listed_and_let_go() {
    let (_, tokens) = people();
    let running = start(vec![], tokens).await;
    let (client, base) = (client(), &running.base);
    let get = |path: &str| client.get(format!("{base}{path}")).bearer_auth("t0ken").send();
    let errors = async |query: &str| {
        let answer = get(&format!("/api/errors{query}")).await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap()["errors"].clone())
    };
    assert_eq!(errors("").await.1[0]["state"], "held");
    assert_eq!(errors("?held=true").await.1[0]["state"], "held");
    assert_eq!(errors("?held=false").await, (StatusCode::OK, json!([])));
    assert_eq!(errors("?held=true&all=true").await.0, StatusCode::BAD_REQUEST);
    let ready = get("/readyz").await.unwrap().text().await.unwrap();
    assert!(ready.ends_with("sinks held: pager\n"), "{ready}");
    for (path, body, status, code) in [
        ("errors/4/release", json!({}), 409, "not-held"),
        ("sinks/nobody/release", json!({"how": "retry"}), 404, "not-found"),
        ("sinks/pager/release", json!({"how": "retry", "index": 8}), 409, "another-held"),
        ("sinks/pager/release", json!({"how": "skip"}), 400, "reason-invalid"),
        ("sinks/pager/release", json!({"how": "skip", "index": 7, "reason": "told"}), 200, "null"),
    ] {
        let answer = client.post(format!("{base}/api/{path}")).bearer_auth("t0ken").json(&body).send();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), status, "{path} {body}");
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["code"].as_str().unwrap_or("null"), code, "{path} {body}");
    }
    assert_eq!(*running.site.answers.lock().unwrap(), [("prom".to_owned(), "Skip told".to_owned())]);
    running.server.stop().await;
}

#[actix_web::test]
async fn tokens_sign_programs_in() {
    let (users, tokens) = people();
    let running = start(users, tokens).await;
    let (client, base) = (client(), &running.base);
    let get = |path: &str, token: &str| client.get(format!("{base}{path}")).bearer_auth(token);
    for _ in 0..2 {
        assert_eq!(get("/metrics", "t0ken").send().await.unwrap().status(), 200);
    }
    assert_eq!(get("/metrics", "wrong").send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(get("/api/patients", "t0ken").send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let explained = get("/api/alerts/a1/explain", "t0ken").send().await.unwrap();
    assert_eq!(explained.status(), StatusCode::FORBIDDEN, "an engineer sees no patient's values");
    let models = get("/api/models", "t0ken").send().await.unwrap();
    assert_eq!(models.status(), StatusCode::OK, "an engineer sees models");
    let retire = client.post(format!("{base}/api/models/{}/retire", "00".repeat(32))).bearer_auth("t0ken");
    let retire = retire.json(&json!({"why": "drifts"})).send().await.unwrap();
    assert_eq!(retire.status(), StatusCode::FORBIDDEN, "an engineer decides nothing about them");
    let of = |act: &str| format!("/api/models/{}/{act}", "00".repeat(32));
    assert_eq!(get(&of("shadow"), "t0ken").send().await.unwrap().status(), StatusCode::OK, "and reads on");
    let promote = client.post(format!("{base}{}", of("promote"))).bearer_auth("t0ken");
    let promote = promote.json(&json!({"threshold": 0.2, "why": "set here"}));
    assert_eq!(promote.send().await.unwrap().status(), StatusCode::FORBIDDEN, "nor has one alert");
    let shred = client.post(format!("{base}/api/patients/shred")).bearer_auth("t0ken");
    let shred = shred.json(&json!({"authority": "HOSP", "id": "4711"}));
    assert_eq!(shred.send().await.unwrap().status(), StatusCode::FORBIDDEN, "an engineer cannot shred");
    let sealed: Value = get("/api/messages/0", "t0ken").send().await.unwrap().json().await.unwrap();
    assert_eq!(
        (&sealed["sealed"], &sealed["kind"], &sealed["raw"]),
        (&json!(true), &json!("message"), &Value::Null)
    );
    assert_eq!(get("/api/messages/1", "t0ken").send().await.unwrap().status(), StatusCode::NOT_FOUND);
    let page: Value =
        get("/api/messages?feed=adt&limit=1", "t0ken").send().await.unwrap().json().await.unwrap();
    assert_eq!((&page["as_of"], &page["linearizable"]), (&json!(8), &json!(false)));
    assert_eq!(page["next"], "/api/messages?from=1&limit=1&feed=adt&linearizable=false");
    assert_eq!(page["entries"][0]["index"], 0);
    for (path, status, code) in [
        ("/api/messages?linearizable=true", 503, "no-quorum"),
        ("/api/messages/0?linearizable=true", 503, "no-quorum"),
        ("/api/messages/256", 503, "cold-file-lost"),
        ("/api/messages?patient=4711", 400, "bad-query"),
    ] {
        let refused = get(path, "t0ken").send().await.unwrap();
        assert_eq!(refused.status(), status, "{path}");
        assert_eq!(refused.json::<Value>().await.unwrap()["code"], code, "{path}");
    }
    running.server.stop().await;
}

#[actix_web::test]
async fn a_stream_resumes_after_the_last_event() {
    let running = start(vec![], vec![]).await;
    for seq in 1..=3 {
        running.site.publish(seq);
    }
    let stream = client().get(format!("{}/api/stream", running.base)).header("Last-Event-ID", "1");
    let mut response = stream.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    running.site.publish(4);
    let mut text = String::new();
    while !text.contains("id: 4") {
        let chunk = tokio::time::timeout(Duration::from_secs(5), response.chunk()).await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
    }
    let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, ["2", "3", "4"], "{text}");
    assert!(text.contains("event: alert\ndata: {\"n\":2}\n\n"), "{text}");
    let stopping = std::time::Instant::now();
    running.server.stop().await;
    assert!(stopping.elapsed() < Duration::from_secs(4), "an open stream does not hold up the stop");
}

#[actix_web::test]
async fn a_stream_ends_for_whoever_may_no_longer_see_it() {
    let wall = || vec![Token { name: "wall".into(), token_hash: hash("t0ken"), roles: vec![Role::Care] }];
    let running = start(vec![], wall()).await;
    let stream = || client().get(format!("{}/api/stream", running.base)).bearer_auth("t0ken").send();
    // Of two, the first begins and ends before the second: what ended one does not end the next.
    for _ in 0..2 {
        let mut open = stream().await.unwrap();
        assert_eq!(open.status(), 200);
        assert!(open.chunk().await.unwrap().is_some(), "it begins");
        let quiet = tokio::time::timeout(Duration::from_millis(100), open.chunk()).await;
        assert!(quiet.is_err(), "and stays: {quiet:?}");
        running.server.auth.replace(&[], &wall());
        let ended = tokio::time::timeout(Duration::from_secs(5), open.chunk()).await.unwrap();
        assert_eq!(ended.unwrap(), None);
    }
    running.server.auth.replace(&people().0, &[]);
    assert_eq!(stream().await.unwrap().status(), 401);
    running.server.stop().await;
}

#[actix_web::test]
async fn the_command_line_speaks_over_the_unix_socket() {
    use std::os::unix::fs::PermissionsExt;
    let (users, tokens) = people();
    let running = start(users, tokens).await;
    let socket = socket_path(running.data.path());
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let client = AdminClient::new(&socket).unwrap();
    let ledger: Value = client.get("/api/ledger").await.unwrap();
    assert_eq!((&ledger["site"], &ledger["size"]), (&json!("a"), &json!(8)));
    let newest: Value = client.get("/api/ledger/checkpoint").await.unwrap();
    assert_eq!((&newest["size"], &newest["cosigners"]), (&json!(8), &json!(["c/site/a", "c/site/b"])));
    let receipt: Value = client.get("/api/ledger/proof/0").await.unwrap();
    assert_eq!(receipt["proof"], "c2sp.org/tlog-proof@v1\n");
    let refused = client.get::<Value>("/api/ledger/proof/9").await.unwrap_err();
    assert!(refused.to_string().contains("not-proven"), "{refused}");
    let proof: Value = client.get("/api/ledger/consistency?old=3&new=8").await.unwrap();
    assert_eq!(proof["proof"], "old 3\n\n8\n");
    let report: Value = client.post("/api/ledger/verify", &json!({})).await.unwrap();
    assert_eq!(report["ok"], true);
    let folder = running.data.path().join("out");
    let exported: Value = client.post("/api/ledger/export", &json!({"folder": folder})).await.unwrap();
    assert_eq!((&exported["size"], folder.is_dir()), (&json!(8), true));
    let failed = client.post::<Value>("/api/ledger/export", &json!({"folder": folder})).await.unwrap_err();
    assert!(failed.to_string().contains("export-failed"), "{failed}");
    let folder = folder.with_extension("backup");
    let made: Value = client.post("/api/ledger/backup", &json!({"folder": folder})).await.unwrap();
    assert_eq!((&made["bytes_reused"], folder.is_dir()), (&json!(15), true));
    let slow = json!({ "folder": folder.with_file_name("slow") });
    let looked = async {
        let seen = loop {
            let seen: Value = client.get("/api/ledger/work").await.unwrap();
            if seen[0]["done"] == 3 {
                break seen;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        std::fs::write(folder.with_file_name("slow.seen"), "").unwrap();
        seen
    };
    let (made, seen) = tokio::join!(client.post::<Value>("/api/ledger/backup", &slow), looked);
    made.unwrap();
    let under_way = json!([{ "work": "backup", "doing": "leaves checked", "done": 3, "total": 8 }]);
    assert_eq!(seen, under_way);
    assert_eq!(client.get::<Value>("/api/ledger/work").await.unwrap(), json!([]));
    let days = |days: u32| json!({ "older_than_days": days });
    let moved: Value = client.post("/api/ledger/archive", &days(30)).await.unwrap();
    assert_eq!(moved["cold_entries"], 256);
    let failed = client.post::<Value>("/api/ledger/archive", &days(31)).await.unwrap_err();
    assert!(failed.to_string().contains("the disk is full"), "{failed}");
    let file = folder.with_extension("keys");
    let made: Value = client.post("/api/keys/backup", &json!({"file": file, "days": 7})).await.unwrap();
    assert_eq!((&made["keys"], std::fs::read_to_string(&file).unwrap().as_str()), (&json!(7), "7"));
    let rotated: Value = client.post("/api/keys/rotate", &json!({"what": "subjects"})).await.unwrap();
    assert_eq!(rotated["keys"], 7);
    let refused = client.post::<Value>("/api/keys/rotate", &json!({"what": "master"})).await.unwrap_err();
    assert!(refused.to_string().contains("not-rotated"), "{refused}");
    let patient = |id: &str| json!({"authority": "HOSP", "id": id});
    let retire = |digits: &str| format!("/api/models/{}/retire", digits.repeat(32));
    let decided: Value = client.post(&retire("00"), &json!({"why": " drifts "})).await.unwrap();
    assert_eq!(decided["index"], 9);
    assert!(matches!(running.site.answers.lock().unwrap().last(), Some((_, why)) if why == "drifts"));
    let register = |hash: String| json!({"hash": hash, "card": "{}", "why": "good"});
    let promote = |digits: &str| format!("/api/models/{}/promote", digits.repeat(32));
    let promotion = json!({"threshold": 0.2, "replaces": "11", "replaced": "off", "why": "set here"});
    client.post::<Value>(&promote("00"), &promotion).await.unwrap();
    let promoted = running.site.answers.lock().unwrap().last().cloned().unwrap();
    assert_eq!(promoted.1, "0.2 None Some(Replaced { hash: \"11\", then: Off }) set here");
    let shadow = |digits: &str| format!("/api/models/{}/shadow", digits.repeat(32));
    let report: Value = client.get(&shadow("00")).await.unwrap();
    assert_eq!((&report["live"]["only_live"], &report["hours_scored"]), (&json!(1), &json!(48)));
    let elsewhere = client.get::<Value>(&shadow("11")).await.unwrap_err().to_string();
    assert!(elsewhere.contains("[not-in-shadow]"), "{elsewhere}");
    let drift = |digits: &str| format!("/api/models/{}/drift", digits.repeat(32));
    let report: Value = client.get(&drift("00")).await.unwrap();
    assert_eq!((&report["status"], &report["findings"][0]["measure"]), (&json!("warn"), &json!("rate")));
    let elsewhere = client.get::<Value>(&drift("11")).await.unwrap_err().to_string();
    assert!(elsewhere.contains("[not-scoring]"), "{elsewhere}");
    for (path, body, code) in [
        (retire("00"), json!({"why": " "}), "why-invalid"),
        (retire("11"), json!({"why": "drifts"}), "not-found"),
        ("/api/models".into(), register("00".repeat(32)), "refused"),
        ("/api/models".into(), register("zz".repeat(32)), "hash-invalid"),
    ] {
        let refused = client.post::<Value>(&path, &body).await.unwrap_err();
        assert!(refused.to_string().contains(&format!("[{code}]")), "{code}: {refused}");
    }
    let shredded: Value = client.post("/api/patients/shred", &patient("4711")).await.unwrap();
    assert_eq!((&shredded["index"], &shredded["shredded"]), (&json!(8), &json!(3)));
    assert!(
        matches!(running.site.answers.lock().unwrap().last(), Some((by, what)) if !by.is_empty() && what == "shred")
    );
    for (id, code) in [("", "patient-invalid"), ("4712", "unconfirmed"), ("4713", "unavailable")] {
        let refused = client.post::<Value>("/api/patients/shred", &patient(id)).await.unwrap_err();
        assert!(refused.to_string().contains(code), "{refused}");
    }
    let refused = client.get::<Value>("/api/patients/none").await.unwrap_err();
    assert!(refused.to_string().contains("not-found"), "{refused}");
    running.server.stop().await;
    let gone = client.get::<Value>("/api/ledger").await.unwrap_err();
    assert!(gone.to_string().contains("medulla run"), "{gone}");
}

#[actix_web::test]
async fn a_tap_shows_its_feed_alone_to_those_who_operate() {
    let (users, tokens) = people();
    let running = start(users, tokens).await;
    let tapped = |feed: &str, control_id: &str| {
        let (feed, control_id) = (feed.to_owned(), control_id.to_owned());
        let (type_, outcome) = ("ADT^A01".to_owned(), "rejected");
        let (code, index) = (Some("x".to_owned()), Some(7));
        Arc::new(Tapped { feed, at_ms: 5, type_, control_id, outcome, code, index, ms: 1.5 })
    };
    let (client, url) = (client(), format!("{}/api/feeds/adt/tap", running.base));
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(client.get(&url).bearer_auth("t0ken").send().await.unwrap().status(), StatusCode::OK);

    let local = AdminClient::new(&socket_path(running.data.path())).unwrap();
    let unknown = local.events("/api/feeds/lab/tap").await.err().unwrap();
    assert!(unknown.to_string().contains("not-found"), "{unknown}");
    let mut events = local.events("/api/feeds/adt/tap").await.unwrap();
    for (feed, control_id) in [("lab", "0"), ("adt", "1")] {
        running.site.tapped.send(tapped(feed, control_id)).unwrap();
    }
    let (name, data) = events.next().await.unwrap().unwrap();
    let expected = json!({"feed": "adt", "at_ms": 5, "type": "ADT^A01", "control_id": "1", "outcome": "rejected",
        "code": "x", "index": 7, "ms": 1.5});
    assert_eq!((name.as_str(), serde_json::from_str::<Value>(&data).unwrap()), ("message", expected));
    running.server.stop().await;
    assert!(events.next().await.is_ok_and(|event| event.is_none()), "the end of the site ends it");
}

#[actix_web::test]
async fn whose_account_is_another_now_is_signed_out() {
    let (users, tokens) = people();
    let running = start(users.clone(), tokens.clone()).await;
    let (client, base) = (client(), &running.base);
    let login = client.post(format!("{base}/login"));
    let login = login.header("Content-Type", "application/x-www-form-urlencoded");
    let signed_in = login.body("name=n.meier&password=pass+phrase").send().await.unwrap();
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let board = async || {
        let asked = client.get(format!("{base}/api/patients")).header("Cookie", &cookie);
        asked.send().await.unwrap().status()
    };
    let feeds = async |token: &str| {
        client.get(format!("{base}/api/feeds")).bearer_auth(token).send().await.unwrap().status()
    };
    assert_eq!((board().await, feeds("t0ken").await), (StatusCode::OK, StatusCode::OK));

    // Somebody else comes: nobody else is disturbed.
    let mut more = users.clone();
    more.push(User { name: "new".into(), password_hash: hash("new"), roles: vec![Role::Care] });
    running.server.auth.replace(&more, &tokens);
    assert_eq!((board().await, feeds("t0ken").await), (StatusCode::OK, StatusCode::OK));

    let changed = [Token { token_hash: hash("other"), ..tokens[0].clone() }];
    running.server.auth.replace(&more, &changed);
    assert_eq!((feeds("t0ken").await, feeds("other").await), (StatusCode::UNAUTHORIZED, StatusCode::OK));
    assert_eq!(board().await, StatusCode::OK);

    let demoted = [User { roles: vec![Role::Engineer], ..users[0].clone() }];
    running.server.auth.replace(&demoted, &changed);
    assert_eq!(board().await, StatusCode::UNAUTHORIZED);
    running.server.stop().await;
}
