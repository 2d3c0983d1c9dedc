use std::path::Path;

use crate::config::Config;
use crate::config::load::load_with;

const SITE: &str = r#"
[site]
name = "a"
data = "data"

[http]
listen = "127.0.0.1:8181"
[[http.user]]
name = "ann"
password_hash = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"
roles = ["care"]

[ledger]
listen = "127.0.0.1:7001"
keys = "keys"

[[feed]]
name = "adt"
kind = "mllp"
listen = "127.0.0.1:2575"
authority = "HOSP"
codes = "codes.csv"

[[feed]]
name = "lab"
kind = "kafka"
authority = "LAB"
brokers = "k1:9092"
topics = ["lab"]
group = "medulla"

[[sink]]
name = "ehr"
kind = "webhook"
url = "https://ehr.example/"
"#;

fn load(text: &str, folder: &Path) -> Config {
    std::fs::create_dir_all(folder.join("keys")).expect("keys folder");
    let file = folder.join("site.toml");
    std::fs::write(&file, text).expect("configuration file");
    load_with(&file, &|_| None).expect("no findings")
}

/// What differs after each `(old, new)` replacement, as it is told.
fn check(replaced: &[(&str, &str)], expected: &[&str]) {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("codes.csv"), "local_code,loinc\n").expect("codes");
    let old = load(SITE, folder.path());
    let mut text = SITE.to_owned();
    for (from, to) in replaced {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let new = load(&text, folder.path());
    let told: Vec<String> = old.changes_to(&new).iter().map(ToString::to_string).collect();
    assert_eq!(told, expected);
}

#[test]
fn the_same_file_has_no_changes_and_neither_has_its_order() {
    check(&[], &[]);
    let name = ("name = \"ehr\"\nkind = \"webhook\"\n", "kind = \"webhook\"\nname = \"ehr\"\n");
    check(&[name], &[]);
}

#[test]
fn feeds_and_sinks_are_told_by_name_and_field() {
    check(
        &[
            ("2575", "2576"),
            ("\"HOSP\"", "\"CLINIC\"\nprocessing_ids = [\"T\"]"),
            ("name = \"lab\"", "name = \"laboratory\""),
            (
                "kind = \"webhook\"\nurl = \"https://ehr.example/\"",
                "kind = \"mllp\"\naddress = \"ehr:2577\"\non_nack = \"hold\"",
            ),
        ],
        &[
            "feed adt changed: listen, authority, processing_ids",
            "feed laboratory added",
            "feed lab removed",
            "sink ehr changed: kind, on_nack",
        ],
    );
}

#[test]
fn a_zone_is_its_feeds() {
    check(
        &[
            ("data = \"data\"", "data = \"data\"\nzone = \"Europe/Zurich\""),
            ("authority = \"LAB\"", "authority = \"LAB\"\nzone = \"UTC\""),
        ],
        &["feed adt changed: zone"],
    );
}

#[test]
fn what_stands_in_a_code_table_counts() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("codes.csv"), "local_code,loinc\n").expect("codes");
    let old = load(SITE, folder.path());
    std::fs::write(folder.path().join("codes.csv"), "local_code,loinc\n# another\n").expect("codes");
    let changes = old.changes_to(&load(SITE, folder.path()));
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].to_string(), "feed adt changed: codes");
}

#[test]
fn what_stands_in_the_files_of_kafkas_options_counts() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("codes.csv"), "local_code,loinc\n").expect("codes");
    let ca = folder.path().join("ca.pem");
    let options = format!("options = {{ \"ssl.ca.location\" = \"{}\" }}\n", ca.display());
    let text = SITE.replace("group = \"medulla\"\n", &format!("group = \"medulla\"\n{options}"));
    std::fs::write(&ca, "one authority").expect("ca");
    let old = load(&text, folder.path());
    assert_eq!(old.changes_to(&load(&text, folder.path())), []);
    std::fs::write(&ca, "another one").expect("ca");
    let told: Vec<String> =
        old.changes_to(&load(&text, folder.path())).iter().map(ToString::to_string).collect();
    assert_eq!(told, ["feed lab changed: options"]);
}

#[test]
fn people_change_at_once_unless_where_they_sign_in_needs_a_restart() {
    let roles = ("roles = [\"care\"]", "roles = [\"engineer\"]");
    check(&[roles], &["user ann changed: roles"]);
    check(
        &[roles, ("8181", "8182")],
        &["user ann changed: roles (needs a restart)", "[http] changed: listen (needs a restart)"],
    );
}

#[test]
fn sections_but_for_alerts_need_a_restart() {
    check(
        &[
            ("name = \"a\"", "name = \"b\""),
            ("7001", "7002"),
            (
                "[[sink]]",
                "[scoring]\nrules = [\"news2\"]\n[alerts]\nrefractory_h = 6\nscorer_budgets = { news2 = 2 }\n[log]\nlisten = \"127.0.0.1:8090\"\n[[sink]]",
            ),
        ],
        &[
            "[site] changed: name (needs a restart)",
            "[ledger] changed: listen (needs a restart)",
            "[log] changed: listen, tls_cert and tls_key (needs a restart)",
            "[scoring] changed: rules (needs a restart)",
            "[alerts] changed: scorer_budgets, refractory_h",
        ],
    );
}
