//! Golden findings: one file with many mistakes, each found at its place.

mod amqp;
mod kafka;

use std::path::Path;
use std::time::Duration;

use actors::Silence;

use super::finding::Finding;
use super::load::{load_with, place};
use super::types::{Ack, Config, FeedKind, OnError, OnNack, Receiver, SinkKind};

const RIGHT: &str = r#"
[site]
name = "a"
data = "data/a"
zone = "Europe/Zurich"

[http]
listen = "127.0.0.1:${HTTP_PORT}"

[ledger]
listen = "127.0.0.1:7001"
keys = "keys/a"
initialise = true
outbox_max_bytes = 100_000_000
retention = { after_days = 365, dir = "cold" }
takeover = "c"
peers = [ { name = "b", address = "127.0.0.1:7002" }, { name = "c", address = "127.0.0.1:7003" } ]

[[feed]]
name = "adt"
kind = "mllp"
listen = "127.0.0.1:2575"
authority = "HOSP"
charset = "windows-1252"
icu_wards = ["ICU*", "MICU"]
ack = "quorum"
on_error = "hold"

[[feed]]
name = "lab"
kind = "kafka"
authority = "LAB"
zone = "UTC"
brokers = "k1:9092"
topics = ["lab"]
group = "medulla"
options = { "sasl.password" = "${SASL_PASSWORD}" }
max_message_bytes = "${BYTES:-1000}"
ack = "site"

[[sink]]
name = "ehr"
kind = "webhook"
url = "https://ehr.example/${SASL_PASSWORD}"
takeover_for = ["b"]

[scoring]
rules = ["news2"]

[log]
listen = "0.0.0.0:8090"
"#;

fn lookup(name: &str) -> Option<String> {
    match name {
        "HTTP_PORT" => Some("8181".into()),
        "SASL_PASSWORD" => Some("hunter2-hunter2".into()),
        "MASTER" => Some("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into()),
        "PATH" => Some("/usr/bin:/bin".into()),
        _ => None,
    }
}

fn load(text: &str, folder: &Path) -> Result<Config, Vec<Finding>> {
    std::fs::create_dir_all(folder.join("keys/a")).expect("keys folder");
    let file = folder.join("site.toml");
    std::fs::write(&file, text).expect("configuration file");
    load_with(&file, &lookup)
}

/// Findings as `line field code`, against one expected line each.
fn check(text: &str, expected: &str) -> Vec<Finding> {
    let folder = tempfile::tempdir().expect("folder");
    let findings = load(text, folder.path()).expect_err("findings");
    let shown: Vec<String> = findings.iter().map(|f| format!("{} {} {}", f.line, f.field, f.code)).collect();
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(shown, expected, "{findings:#?}");
    findings
}

#[test]
fn reads_a_right_file() {
    let folder = tempfile::tempdir().expect("folder");
    let config = load(RIGHT, folder.path()).expect("no findings");
    assert_eq!(config.http.listen.port(), 8181);
    assert_eq!(config.site.data, folder.path().join("data/a"));
    assert_eq!(config.ledger.peers.len(), 2);
    assert_eq!(config.feeds[0].zone, "Europe/Zurich", "the site's zone is the feed's default");
    assert_eq!(config.feeds[0].on_error, OnError::Hold);
    assert_eq!(config.feeds[1].on_error, OnError::DeadLetter);
    assert_eq!(config.sinks[0].on_nack, OnNack::Skip);
    assert_eq!(config.feeds[1].max_message_bytes, 1000);
    assert_eq!(config.alerts.refractory_h, 12);
    assert_eq!((config.feeds[0].ack, config.feeds[1].ack), (Ack::Quorum, Ack::Site));
    assert_eq!(config.ledger.outbox_max_bytes, 100_000_000);
    assert_eq!(config.ledger.retention.after_days, Some(365));
    assert!(config.ledger.retention.dir.as_ref().is_some_and(|dir| dir.is_absolute()));
    assert_eq!((config.ledger.takeover.as_deref(), config.ledger.takeover_after_s), (Some("c"), 60));
    assert_eq!(config.sinks[0].takeover_for, ["b"]);
    let log = config.log.as_ref().expect("[log]");
    assert_eq!((log.listen.port(), log.tls.is_none()), (8090, true), "open to everybody on purpose");
    let FeedKind::Kafka { options, .. } = &config.feeds[1].kind else { panic!("kafka feed") };
    assert_eq!(options["sasl.password"].expose(), "hunter2-hunter2");
    let SinkKind::Webhook { url, .. } = &config.sinks[0].kind else { panic!("webhook sink") };
    assert_eq!(url.expose(), "https://ehr.example/hunter2-hunter2");
    assert!(!format!("{config:?}").contains("hunter2"), "secrets are never shown");
}

#[test]
fn an_option_that_kafka_does_not_know_is_named_without_its_value() {
    let mistyped = RIGHT.replace("\"sasl.password\"", "\"sasl.pasword\"");
    let findings = check(&mistyped, "29 feed[1] value-invalid");
    let text = &findings[0].text;
    assert!(text.contains("sasl.pasword") && !text.contains("hunter2"), "{text}");
}

#[test]
fn a_password_that_cuts_its_url_is_refused_and_not_shown() {
    let sink = |url: &str| {
        format!("{RIGHT}\n[[sink]]\nname = \"bus\"\nkind = \"amqp\"\nurl = \"{url}\"\nrouting_key = \"q\"\n")
    };
    let line = RIGHT.lines().count() + 5;
    for url in [
        "amqp://medulla:hunter@2/hunter2@bus.example:5672/%2f",
        "amqp://medulla:2?hunter2@bus.example/%2f",
        "amqp://medulla:2#hunter2@bus.example/%2f",
    ] {
        let findings = check(&sink(url), &format!("{line} sink[1].url value-invalid"));
        assert!(findings[0].text.contains("%40") && !findings[0].text.contains("hunter"), "{findings:?}");
    }
    let folder = tempfile::tempdir().expect("folder");
    for url in ["amqp://medulla:hunter%402%2Fhunter2@bus.example:5672/%2f", "amqps://bus.example/v"] {
        assert!(load(&sink(url), folder.path()).is_ok(), "{url}");
    }
    let webhook = |url: &str| RIGHT.replace("https://ehr.example/${SASL_PASSWORD}", url);
    assert!(load(&webhook("https://ehr.example/@alerts"), folder.path()).is_ok());
    check(&webhook("https://u:p@2/hunter2@ehr.example/"), "44 sink[0].url value-invalid");
}

#[test]
fn reads_what_follows_a_refusal() {
    let folder = tempfile::tempdir().expect("folder");
    let retried = RIGHT.replace("ack = \"site\"\n", "ack = \"site\"\non_error = { retry = 3 }\n");
    let sink = |name: &str, on_nack: &str| {
        format!(
            "[[sink]]\nname = \"{name}\"\nkind = \"mllp\"\naddress = \"pager:2576\"\non_nack = {on_nack}\n"
        )
    };
    let sinks = sink("pager", "\"hold\"") + &sink("bus", "{ retry = 5 }") + &sink("old", "\"skip\"");
    let config = load(&(retried + &sinks), folder.path()).expect("no findings");
    assert_eq!(config.feeds[1].on_error, OnError::Retry(3));
    let on_nack: Vec<OnNack> = config.sinks.iter().map(|sink| sink.on_nack).collect();
    assert_eq!(on_nack, [OnNack::Skip, OnNack::Hold, OnNack::Retry(5), OnNack::Skip]);
}

#[test]
fn names_every_mistake_with_its_line() {
    let text = r#"[site]
name = "a"
data = "data/a"
zone = "Europe/Zürich"
colour = 1
[http]
listen = "0.0.0.0:8080"
[[http.user]]
name = "n.meier"
password_hash = "secret-in-clear"
roles = ["care", "doctor"]
[ledger]
lisen = "127.0.0.1:7001"
keys = "keys/none"
initialise = "yes"
peers = [
  { name = "a", address = "127.0.0.1:7002" },
  { name = "b", address = "nowhere" },
  { name = "b", address = "127.0.0.1:${PORT}" },
]
[[feed]]
name = "adt"
kind = "mllp"
listen = "0.0.0.0:2575"
authority = "HOSP"
ack = "disk"
on_error = { retry = 0 }
[[feed]]
name = "adt"
kind = "kafca"
authority = ""
[[feed]]
name = "files"
kind = "file"
path = "not-there"
authority = "HOSP"
codes = "codes.csv"
brokers = "k:9092"
on_error = "ignore"
max_message_bytes = 99999999999
[[sink]]
name = "ehr"
kind = "webhook"
url = "ftp://x/${SASL_PASSWORD}"
on_nack = "drop"
[[sink]]
name = "pager"
kind = "mllp"
address = "pager.example:2576"
on_nack = { times = 3 }
[scoring]
rules = ["news3"]
models = ["models/none"]
[alert]
"#;
    let findings = check(
        text,
        r#"
        4 site.zone zone-unknown
        5 site.colour unknown-field
        7 http.listen insecure-listen
        10 http.user[0].password_hash value-invalid
        11 http.user[0].roles[1] value-invalid
        12 ledger.listen missing-field
        13 ledger.lisen unknown-field
        14 ledger.keys file-unreadable
        15 ledger.initialise wrong-type
        17 ledger.peers[0].name peer-is-self
        18 ledger.peers[1].address value-invalid
        19 ledger.peers[2].address env-missing
        19 ledger.peers[2].name duplicate-name
        24 feed[0].listen insecure-listen
        26 feed[0].ack value-invalid
        27 feed[0].on_error.retry value-invalid
        29 feed[1].name duplicate-name
        30 feed[1].kind kind-unknown
        31 feed[1].authority value-invalid
        35 feed[2].path file-unreadable
        37 feed[2].codes file-unreadable
        38 feed[2].brokers unknown-field
        39 feed[2].on_error value-invalid
        40 feed[2].max_message_bytes value-invalid
        44 sink[0].url value-invalid
        45 sink[0].on_nack value-invalid
        50 sink[1].on_nack missing-field
        50 sink[1].on_nack.times unknown-field
        52 scoring.rules[0] rule-unknown
        53 scoring.models[0] model-invalid
        54 alert unknown-field
        "#,
    );
    let all = format!("{findings:?}");
    assert!(!all.contains("hunter2") && !all.contains("secret-in-clear"), "{all}");
    let text = |field: &str| findings.iter().find(|f| f.field == field).map_or("", |f| f.text.as_str());
    assert!(text("ledger.lisen").contains("did you mean `listen`"), "{all}");
    assert!(text("alert").contains("did you mean `alerts`"), "{all}");
    assert!(text("feed[1].kind").contains("did you mean `kafka`"), "{all}");
    assert!(text("ledger.peers[2].address").contains("PORT"), "{all}");
}

#[test]
fn names_syntax_errors() {
    check("[site]\nname = \n[ledger\n", "2  toml-syntax\n3  toml-syntax");
}

#[test]
fn names_missing_sections() {
    check("\n", "1 ledger missing-field\n1 site missing-field");
}

#[test]
fn names_a_file_that_is_not_there() {
    let findings = load_with(Path::new("/nowhere/site.toml"), &lookup).expect_err("findings");
    assert_eq!((findings[0].line, findings[0].code), (0, "file-unreadable"));
}

#[test]
fn a_receiver_over_tls_is_trusted_by_an_authority() {
    let sink = |tls: &str| format!("[[sink]]\nname = \"ward\"\nkind = \"mllp\"\naddress = \"h:2576\"\n{tls}");
    let folder = tempfile::tempdir().expect("folder");
    let keys = raft_ledger::keys::init(&folder.path().join("tls"), &[("a", "h")]).expect("keys");
    let (ca, own) = (keys[0].join("ca-cert.pem"), keys[0].join("tls-cert.pem"));
    let tls = format!("tls_ca = {ca:?}\ntls_name = \"ehr\"\ntls_cert = {own:?}\n");
    let text = |tls: &str| RIGHT.replace("[scoring]", &(sink(tls) + "[scoring]"));
    let whole = format!("{tls}tls_key = {:?}\n", keys[0].join("tls-key.pem"));
    let config = load(&text(&whole), folder.path()).expect("no findings");
    let SinkKind::Mllp(Receiver { tls: Some(read), .. }) = &config.sinks[1].kind else {
        panic!("an MLLP sink over TLS")
    };
    assert_eq!((&read.ca, read.name.as_deref()), (&ca, Some("ehr")));
    assert!(read.identity.as_ref().is_some_and(|identity| identity.cert == own));
    check(&text(&tls), "53 sink[1].tls_cert missing-field");
    check(&text("tls_name = \"ehr\"\n"), "47 sink[1] missing-field");
}

#[test]
fn application_answers_leave_the_machine_over_tls_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let keys = raft_ledger::keys::init(&folder.path().join("tls"), &[("a", "h")]).expect("keys");
    let ca = keys[0].join("ca-cert.pem");
    let text = |acks: &str| {
        RIGHT.replace("127.0.0.1:2575\"\n", &format!("127.0.0.1:2575\"\napplication_acks = {acks}\n"))
    };
    let read = |acks: &str| {
        let config = load(&text(acks), folder.path()).expect("no findings");
        let FeedKind::Mllp { application_acks: Some(to), .. } = config.feeds[0].kind.clone() else {
            panic!("an MLLP feed with application_acks")
        };
        to
    };
    let here = Receiver { address: "127.0.0.1:2577".into(), timeout_s: 30, tls: None };
    assert_eq!(read("\"127.0.0.1:2577\""), here);
    let slow = read("{ address = \"localhost:2577\", timeout_s = 5 }");
    assert_eq!((slow.address.as_str(), slow.timeout_s, slow.tls), ("localhost:2577", 5, None));
    let there = read(&format!("{{ address = \"his:2577\", tls_ca = {ca:?}, tls_name = \"ehr\" }}"));
    let tls = there.tls.expect("TLS");
    assert_eq!((&tls.ca, tls.name.as_deref()), (&ca, Some("ehr")));

    check(&text("\"his.example:2577\""), "23 feed[0].application_acks insecure-receiver");
    check(&text("{ address = \"his:2577\" }"), "23 feed[0].application_acks.address insecure-receiver");
    check(
        &text("{ tls_ac = \"ca.pem\", address = \"his\" }"),
        "23 feed[0].application_acks.address value-invalid\n23 feed[0].application_acks.tls_ac unknown-field",
    );
    check(&text("7"), "23 feed[0].application_acks wrong-type");
}

#[test]
fn finds_listeners_that_clash() {
    let text = RIGHT.replace("127.0.0.1:2575", "127.0.0.1:7001");
    check(&text, "22 feed[0].listen duplicate-listen");
}

#[test]
fn refuses_a_model_of_whole_stays_by_name() {
    let sepsis = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ml-scoring/models/sepsis");
    let model = tempfile::tempdir().expect("folder");
    for name in ["model.ubj", "golden.json"] {
        std::fs::copy(sepsis.join(name), model.path().join(name)).expect("a copy");
    }
    let card = std::fs::read_to_string(sepsis.join("card.json")).expect("card");
    let of_stays = card.replace("\"intensive care\"", "\"intensive care, once, at the end of hour 48\"");
    assert_ne!(card, of_stays);
    std::fs::write(model.path().join("card.json"), of_stays).expect("card");
    let models = format!("[scoring]\nmodels = [{:?}]", model.path().display().to_string());
    let findings = check(&RIGHT.replace("[scoring]", &models), "48 scoring.models[0] model-invalid");
    let text = &findings[0].text;
    assert!(text.contains("\"sepsis\"") && text.contains("no feed brings"), "{text}");
}

#[test]
fn feeds_take_production_alone_unless_they_name_others() {
    let folder = tempfile::tempdir().expect("folder");
    let config = load(RIGHT, folder.path()).expect("no findings");
    assert_eq!(config.feeds[0].processing_ids, ["P"]);
    let with = |line: &str| RIGHT.replace("zone = \"UTC\"", &format!("zone = \"UTC\"\n{line}"));
    let config = load(&with("processing_ids = [\"P\", \"T\", \"D\"]"), folder.path()).expect("no findings");
    assert_eq!(config.feeds[1].processing_ids, ["P", "T", "D"]);
    let wrong = with("processing_ids = [\"P\", \"X\", \"t\"]");
    let line = 1 + wrong.lines().position(|line| line.contains("processing_ids")).expect("the line");
    check(
        &wrong,
        &format!(
            "{line} feed[1].processing_ids[1] value-invalid\n{line} feed[1].processing_ids[2] value-invalid"
        ),
    );
}

#[test]
fn finds_a_model_for_intensive_care_where_no_feed_has_any() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ml-scoring/models/sepsis");
    let text =
        RIGHT.replace("[scoring]", &format!("[scoring]\nmodels = [{:?}]", model.display().to_string()));
    let folder = tempfile::tempdir().expect("folder");
    load(&text, folder.path()).expect("no findings");
    let text = text.replace("icu_wards = [\"ICU*\", \"MICU\"]\n", "");
    check(&text, "47 scoring.models[0] icu-wards-missing");
}

#[test]
fn finds_a_model_that_alerts_and_is_in_shadow() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ml-scoring/models/sepsis");
    let model = model.display().to_string();
    let scoring = |lines: &str| RIGHT.replace("[scoring]", &format!("[scoring]\n{lines}"));
    let folder = tempfile::tempdir().expect("folder");
    let config = load(&scoring(&format!("shadow_models = [{model:?}]")), folder.path()).expect("no findings");
    assert_eq!((config.scoring.models.len(), config.scoring.shadow_models.len()), (0, 1));
    let both = scoring(&format!("models = [{model:?}]\nshadow_models = [{model:?}, \"none\"]"));
    check(&both, "49 scoring.shadow_models[0] duplicate-model\n49 scoring.shadow_models[1] model-invalid");
}

#[test]
fn reads_budgets_of_scorers_and_finds_those_of_none() {
    let folder = tempfile::tempdir().expect("folder");
    let with =
        |budgets: &str| RIGHT.replace("[log]", &format!("[alerts]\nscorer_budgets = {budgets}\n[log]"));
    let policy = load(&with("{ news2 = 4 }"), folder.path()).expect("no findings").alerts.policy();
    let budget = |scorer: &str| policy.of_scorer(scorer).per_ward_budget_per_day;
    assert_eq!((budget("news2"), budget("sepsis")), (4, 10));
    check(&with("{ news2 = 4, sepis = 2 }"), "51 alerts.scorer_budgets.sepis scorer-unknown");
    check(&with("{ news2 = -1 }"), "51 alerts.scorer_budgets.news2 value-invalid");
}

#[test]
fn finds_takeovers_of_sites_that_are_no_peers() {
    let text = RIGHT.replace("takeover = \"c\"", "takeover = \"a\"\ntakeover_after_s = 1");
    let text = text.replace("takeover_for = [\"b\"]", "takeover_for = [\"b\", \"d\"]");
    check(
        &text,
        "16 ledger.takeover takeover-unknown\n17 ledger.takeover_after_s value-invalid\n46 sink[0].takeover_for[1] takeover-unknown",
    );
}

#[test]
fn reads_where_keys_are() {
    use std::time::Duration;

    use raft_ledger::MasterKey;

    let folder = tempfile::tempdir().expect("folder");
    let master = |fields: &str| {
        let text = RIGHT.replace("initialise = true", &format!("initialise = true\n{fields}"));
        load(&text, folder.path()).expect("no findings").ledger.master
    };
    std::fs::write(folder.path().join("master"), "00".repeat(32)).expect("key");
    assert_eq!(master(""), None);
    assert_eq!(master("master_key_file = \"master\""), Some(MasterKey::File(folder.path().join("master"))));
    assert_eq!(master("master_key_env = \"MASTER\""), Some(MasterKey::Env("MASTER".into())));
    let argv = ["sh".to_owned(), "-c".to_owned(), "decrypt".to_owned()].to_vec();
    let timeout = Duration::from_secs(3);
    assert_eq!(
        master("master_key_command = [\"sh\", \"-c\", \"decrypt\"]\nmaster_key_timeout_s = 3"),
        Some(MasterKey::Command { argv, timeout })
    );
    let days =
        || place(&folder.path().join("site.toml")).map(|place| place.key_backup_days).expect("a place");
    assert_eq!(days(), 7);
    let text = RIGHT.replace("initialise", "key_backup_days = 30\ninitialise");
    load(&text, folder.path()).expect("right");
    assert_eq!(days(), 30);
}

#[test]
fn finds_keys_that_cannot_be_had() {
    for (fields, expected) in [
        ("takeover = \"d\"", "ledger.takeover takeover-unknown"),
        ("takeover = \"a\"", "ledger.takeover takeover-unknown"),
        ("key_backup_days = 91", "ledger.key_backup_days value-invalid"),
        ("master_key_file = \"nowhere\"", "ledger.master_key_file file-unreadable"),
        ("master_key_file = \"site.toml\"", "ledger.master_key_file value-invalid"),
        ("master_key_env = \"NONE\"", "ledger.master_key_env env-missing"),
        ("master_key_env = \"SASL_PASSWORD\"", "ledger.master_key_env value-invalid"),
        ("master_key_env = \"NO-NAME\"", "ledger.master_key_env value-invalid"),
        ("master_key_command = [\"no-such-program\"]", "ledger.master_key_command[0] command-missing"),
        (
            "master_key_env = \"MASTER\"; master_key_command = [\"sh\"]",
            "ledger.master_key_command[0] master-key-twice",
        ),
    ] {
        let line = 14 + fields.matches("; ").count();
        let text = RIGHT.replace("takeover = \"c\"\n", "");
        let text =
            text.replace("initialise = true", &format!("initialise = true\n{}", fields.replace("; ", "\n")));
        let findings = check(&text, &format!("{line} {expected}"));
        assert!(!findings[0].text.contains("hunter2"), "{findings:?}");
    }
}

#[test]
fn a_silence_is_a_span_or_a_word() {
    let folder = tempfile::tempdir().expect("folder");
    let read = |silence: &str| {
        let text = RIGHT.replace("ack = \"quorum\"", &format!("ack = \"quorum\"\nsilence = \"{silence}\""));
        load(&text, folder.path())
    };
    let default = load(RIGHT, folder.path()).expect("no findings").feeds[0].silence;
    assert_eq!(
        (default, read("auto").expect("no findings").feeds[0].silence),
        (Silence::Auto, Silence::Auto)
    );
    for (text, s) in [("1s", 1), ("90s", 90), ("2h", 7_200), ("30d", 2_592_000)] {
        let silence = read(text).expect("no findings").feeds[0].silence;
        assert_eq!(silence, Silence::After(Duration::from_secs(s)), "{text}");
    }
    assert_eq!(read("off").expect("no findings").feeds[0].silence, Silence::Off);
    for text in ["0s", "31d", "15", "m", "", "1.5h", "15µ", "-1m", "99999999999999999999d"] {
        let findings = read(text).expect_err(text);
        assert_eq!(
            (findings[0].field.as_str(), findings[0].code),
            ("feed[0].silence", "value-invalid"),
            "{text}"
        );
    }
}

#[test]
fn finds_mistakes_of_the_public_log() {
    let text = RIGHT.replace("\"0.0.0.0:8090\"", "\"127.0.0.1:7001\"\ntls_key = \"key.pem\"\nport = 1");
    check(&text, "51 log.listen duplicate-listen\n52 log.tls_key missing-field\n53 log.port unknown-field");
}
