//! The program as a script calls it: stdout, stderr and exit codes as DESIGN §10 promises.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const ADT: &str = "MSH|^~\\&|ADT|HOSP|MED|SITE|20240715120000||ADT^A01^ADT_A01|C1|P|2.5.1||||||UNICODE UTF-8\r\
EVN|A01|20240715120000\r\
PID|1||4711^^^HOSP^MR||M\u{fc}ller\\T\\Co^Anna||19510423|F\r\
PV1|1|I|ICU^1^2^HOSP||||||||||||||||V1|||||||||||||||||||||||||20240715113000\r\
ZXX|own|segment\\.br\\\r";
const BROKEN: &str = "MSH|^~\\&|ADT|HOSP|MED|SITE|20240715120000||ADT^A01^ADT_A01|C2|P|2.5.1\rPV1|1|I|ICU\r";

fn medulla(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_medulla")).args(args).output().expect("medulla starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn file(folder: &Path, name: &str, content: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("file");
    path.to_str().expect("path").to_owned()
}

#[test]
fn cat_gives_the_same_bytes() {
    let folder = tempfile::tempdir().expect("folder");
    let batch =
        format!("FHS|^~\\&|A\rBHS|^~\\&|A\r{ADT}\r\n{BROKEN}BTS|2\rFTS|1\r").replace("V1|", "V\u{1}|");
    let path = file(folder.path(), "batch.hl7", batch.as_bytes());
    let output = medulla(&["hl7", "cat", &path]);
    assert_eq!(output.stdout, batch.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));

    let stray = file(folder.path(), "stray.hl7", b"noise\xff\n");
    let output = medulla(&["hl7", "cat", &stray]);
    assert_eq!((output.stdout.as_slice(), output.status.code()), (&b"noise\xff\n"[..], Some(1)));
}

#[test]
fn get_prints_one_decoded_value() {
    let folder = tempfile::tempdir().expect("folder");
    let path = file(folder.path(), "two.hl7", format!("{ADT}{BROKEN}").as_bytes());
    let check = |args: &[&str], expected: &str, code: i32| {
        let output = medulla(&[&["hl7", "get", path.as_str()], args].concat());
        assert_eq!((text(&output.stdout), output.status.code()), (expected, Some(code)), "{args:?}");
    };
    check(&["PID-5.1"], "Müller&Co\n", 0);
    check(&["PID-3.4"], "HOSP\n", 0);
    check(&["MSH-10", "--message", "2"], "C2\n", 0);
    check(&["PID-99"], "", 1);
    check(&["MSH-10", "--message", "3"], "", 1);
    check(&["PID"], "", 2);
    check(&["PID-5", "--message", "0"], "", 2);
}

#[test]
fn coverage_tells_what_became_of_each_field() {
    let folder = tempfile::tempdir().expect("folder");
    file(folder.path(), "a.hl7", ADT.as_bytes());
    file(folder.path(), "b.hl7", ADT.as_bytes());
    let output = medulla(&["hl7", "coverage", folder.path().to_str().expect("path"), "--json"]);
    let lines: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    let line = |field: &str| lines.iter().find(|line| line["field"] == field).expect("the field").clone();
    let expected = |field: &str, mapped: u64, kept: u64| serde_json::json!({"field": field, "count": 2, "mapped": mapped, "kept": kept, "dropped": 0});
    assert_eq!(line("PID-5"), expected("PID-5", 2, 0));
    assert_eq!(line("ZXX-1"), expected("ZXX-1", 0, 2));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("ller"), "fields, and no patient data");
}

#[test]
fn check_reports_each_message() {
    let folder = tempfile::tempdir().expect("folder");
    file(folder.path(), "a.hl7", ADT.as_bytes());
    file(folder.path(), "b.hl7", BROKEN.as_bytes());
    let output = medulla(&["hl7", "check", folder.path().to_str().expect("path"), "--json"]);
    let reports: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    assert_eq!(reports.len(), 2);
    // Their order depends on which features of serde_json the whole build has.
    let mut keys: Vec<&str> = reports[0].as_object().expect("object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    let mut expected =
        ["file", "offset", "type", "control_id", "version", "segments", "charset", "status", "issues"];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!((&reports[0]["status"], &reports[0]["segments"]), (&"ok".into(), &5.into()), "{}", reports[0]);
    assert_eq!(reports[1]["status"], "rejected", "{}", reports[1]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!text(&output.stdout).contains("ller"), "reports hold no patient data");
}

#[test]
fn to_fhir_prints_one_bundle_a_line() {
    let folder = tempfile::tempdir().expect("folder");
    let path = file(folder.path(), "adt.hl7", format!("{ADT}{ADT}").as_bytes());
    let output = medulla(&["hl7", "to-fhir", &path]);
    let bundles: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    assert_eq!(bundles.len(), 2);
    for bundle in &bundles {
        let entries = bundle["entry"].as_array().expect("entries");
        let patient = entries.iter().find(|entry| entry["resource"]["resourceType"] == "Patient");
        assert_eq!(patient.expect("patient")["resource"]["name"][0]["family"], "Müller&Co");
    }
}

#[test]
fn validate_names_line_and_field() {
    let folder = tempfile::tempdir().expect("folder");
    let path = file(folder.path(), "site.toml", b"[site]\nname = \"a\"\ndata = \"d\"\nzone = \"Nowhere\"\n");
    let output = medulla(&["validate", "--config", &path, "--json"]);
    let lines: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    assert_eq!(output.status.code(), Some(1));
    let zone = lines.iter().find(|line| line["field"] == "site.zone").expect("finding");
    assert_eq!(
        (&zone["file"], &zone["line"], &zone["code"]),
        (&path.as_str().into(), &4.into(), &"zone-unknown".into())
    );
    assert!(zone["text"].is_string());
    let run = medulla(&["run", "--config", &path]);
    assert_eq!(run.status.code(), Some(1), "run makes the same checks");
    assert!(text(&run.stderr).contains("zone-unknown"));
}

#[test]
fn a_pair_of_keys_makes_a_valid_site() {
    let folder = tempfile::tempdir().expect("folder");
    let keys = folder.path().join("keys");
    let made =
        medulla(&["keys", "init", "--dir", keys.to_str().expect("path"), "--site", "a", "--site", "b"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    assert_eq!(text(&made.stdout).lines().count(), 2);
    let site = "[site]\nname = \"a\"\ndata = \"data\"\n[ledger]\nlisten = \"127.0.0.1:0\"\nkeys = \"keys/a\"\n\
                [[feed]]\nname = \"adt\"\nkind = \"mllp\"\nlisten = \"127.0.0.1:0\"\nauthority = \"H\"\ncodes = \"c.csv\"\n";
    let path = file(folder.path(), "site.toml", site.as_bytes());
    let table = file(
        folder.path(),
        "c.csv",
        b"local_code,local_system,loinc,ucum,local_unit,factor,display\nHR,L,8867-4\n",
    );
    let wrong = medulla(&["validate", "--config", &path]);
    assert!(
        text(&wrong.stdout).starts_with(&format!("{table}:2: feed[0].codes: ")),
        "{}",
        text(&wrong.stdout)
    );
    file(
        folder.path(),
        "c.csv",
        b"local_code,local_system,loinc,ucum,local_unit,factor,display\nHR,L,8867-4,/min,/min,,\n",
    );
    let right = medulla(&["validate", "--config", &path]);
    assert_eq!(right.status.code(), Some(0), "{}", text(&right.stdout));
    let listed = medulla(&["ledger", "keys", "--config", &path]);
    assert_eq!(
        text(&listed.stdout).lines().count(),
        7,
        "log, cosigner and batch key of two sites, the authority's"
    );
    let status = medulla(&["ledger", "status", "--config", &path]);
    assert_eq!(status.status.code(), Some(1));
    assert!(text(&status.stderr).contains("no site answers"), "{}", text(&status.stderr));
    let without_keys = medulla(&["ledger", "verify", &path]);
    assert_eq!(without_keys.status.code(), Some(2), "a receipt is judged by keys that one brings");
    let brought = file(folder.path(), "keys.txt", &listed.stdout);
    let judged = medulla(&["ledger", "verify", &path, "--keys", &brought]);
    assert_eq!(judged.status.code(), Some(1));
    assert!(text(&judged.stdout).contains("FAILED: not a C2SP tlog-proof"), "{}", text(&judged.stdout));
    assert_eq!(medulla(&["ledger", "prove", "--config", &path]).status.code(), Some(2));
}

#[test]
fn the_authority_admits_a_further_site_offline() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join("keys").join(name).to_str().expect("path").to_owned();
    let made = medulla(&["keys", "init", "--dir", &path(""), "--site", "a"]);
    assert!(text(&made.stderr).contains("offline"), "{}", text(&made.stderr));
    let index_key = path("a/index-key.hex");
    let joined =
        medulla(&["keys", "init", "--dir", &path(""), "--join", "--site", "d", "--index-key", &index_key]);
    assert_eq!(
        text(&joined.stdout).lines().nth(1),
        Some(&*path("d/site-keys.txt")),
        "{}",
        text(&joined.stderr)
    );
    let (request, authority) = (path("d/site-keys.txt"), path("consortium/authority-key.txt"));
    let admit = |authority: &str, more: &[&str]| {
        medulla(&[&["keys", "admit", &request, "--authority", authority], more].concat())
    };
    let admitted = admit(&authority, &[]);
    assert_eq!(admitted.status.code(), Some(0), "{}", text(&admitted.stderr));
    assert_eq!(text(&admitted.stdout), format!("{}\n", path("d/site-admission.txt")));
    let keys = std::fs::read_to_string(&request).expect("request");
    assert!(text(&admitted.stderr).contains(&keys), "{}", text(&admitted.stderr));
    let again = admit(&authority, &[]);
    assert_eq!(again.status.code(), Some(1), "nothing is overwritten");
    let elsewhere = path("elsewhere.txt");
    let said = admit(&authority, &["--json", "--out", &elsewhere]);
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).expect("one object");
    assert_eq!(
        (&said["site"], &said["file"], said["keys"].as_array().map(Vec::len)),
        (&"d".into(), &elsewhere.into(), Some(3))
    );
    let others = path("others");
    medulla(&["keys", "init", "--dir", &others, "--site", "a"]);
    let stranger = admit(&path("others/consortium/authority-key.txt"), &["--out", &path("never")]);
    assert_eq!(stranger.status.code(), Some(1));
    assert!(text(&stranger.stderr).contains("asks to be admitted to"), "{}", text(&stranger.stderr));
    assert_eq!(medulla(&["keys", "admit", &request]).status.code(), Some(2), "without the authority's key");
}

#[test]
fn a_password_becomes_a_hash() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_medulla"))
        .args(["password", "hash"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("medulla starts");
    child.stdin.take().expect("stdin").write_all(b"a long pass phrase\n").expect("write");
    let output = child.wait_with_output().expect("output");
    assert!(text(&output.stdout).starts_with("$argon2id$v=19$"));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_reader_that_leaves_is_no_panic() {
    let folder = tempfile::tempdir().expect("folder");
    // More than a pipe holds.
    let path = file(folder.path(), "many.hl7", ADT.repeat(5000).as_bytes());
    let mut child = Command::new(env!("CARGO_BIN_EXE_medulla"))
        .args(["hl7", "cat", &path])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("medulla starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("output");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn every_command_explains_itself() {
    for command in [
        &["run"][..],
        &["validate"],
        &["dry-run"],
        &["graph"],
        &["tap"],
        &["top"],
        &["hl7", "cat"],
        &["hl7", "get"],
        &["hl7", "check"],
        &["hl7", "to-fhir"],
        &["model", "train"],
        &["model", "score"],
        &["model", "eval"],
        &["ledger", "status"],
        &["ledger", "keys"],
        &["ledger", "checkpoint"],
        &["ledger", "prove"],
        &["ledger", "verify"],
        &["ledger", "export"],
        &["keys", "init"],
        &["password", "hash"],
        &["errors"],
        &["errors", "list"],
        &["errors", "release"],
        &["sink"],
        &["sink", "list"],
        &["sink", "release"],
    ] {
        let output = medulla(&[command, &["--help"]].concat());
        assert_eq!(output.status.code(), Some(0), "{command:?}");
        assert!(text(&output.stdout).contains("Example"), "{command:?} shows no example");
    }
    assert_eq!(medulla(&["no-such-command"]).status.code(), Some(2));
}

/// Both kinds, short and small: what they say of themselves holds. What is fast is for a quiet machine to say.
#[test]
fn a_bench_of_the_ledger_verifies_what_it_wrote() {
    let folder = tempfile::tempdir().expect("folder");
    let dir = folder.path().to_str().expect("path");
    let run = |args: &[&str]| -> serde_json::Value {
        let output = medulla(&[&["bench", "ledger", "--json", "--dir", dir], args].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON object")
    };
    let steps = run(&["--sites", "1", "--clients", "2", "--seconds", "1", "--warm", "0", "--bytes", "100"]);
    assert_eq!(steps["verified"], true);
    let rates = |n: usize| steps["steps"][n]["ledger"]["events_per_s"].as_f64().expect("a rate");
    assert!(rates(0) > 0.0 && rates(1) > 0.0, "{steps}");
    let grown = run(&["--sites", "3", "--grow", "3000", "--bytes", "64"]);
    assert_eq!(grown["verified"], true);
    assert_eq!(grown["marks"][0]["size"], 3000);
    assert!(grown["marks"][0]["receipt_bytes_max"].as_u64().expect("bytes") > 500, "{grown}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 0, "nothing is left behind");
}
