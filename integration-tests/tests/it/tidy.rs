//! The absences that ARCHITECTURE.md states, held against manifests and sources.

use std::path::{Path, PathBuf};

use integration_tests::workspace_root;

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            found.push((path, text));
        }
    }
    found
}

/// Lines of a crate's sources that hold one of these words, comments left out.
fn lines_with(crate_: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let files = sources(&workspace_root().join(crate_).join("src"));
    assert!(!files.is_empty(), "{crate_} has sources");
    for (path, text) in files {
        // Unit tests stand at the end of a file and may speak of anything.
        let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (number, line) in shipped.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    found
}

/// Names in a manifest's `[dependencies]`.
fn dependencies(crate_: &str) -> Vec<String> {
    let text = std::fs::read_to_string(workspace_root().join(crate_).join("Cargo.toml")).expect("a manifest");
    let manifest: toml::Table = text.parse().expect("TOML");
    manifest["dependencies"].as_table().expect("a table").keys().cloned().collect()
}

#[test]
fn arrows_point_one_way() {
    let order = ["clinical", "ml-scoring", "connectors", "raft-ledger", "actors", "node"];
    for (at, crate_) in order.iter().enumerate() {
        let used = dependencies(crate_);
        for later in &order[at..] {
            assert!(!used.iter().any(|name| name == later), "{crate_} must not use {later}");
        }
    }
    for crate_ in ["connectors", "raft-ledger"] {
        let used = dependencies(crate_);
        assert!(!used.iter().any(|name| order.contains(&name.as_str())), "{crate_} stands alone");
    }
    assert_eq!(dependencies("ml-scoring").iter().filter(|name| order.contains(&name.as_str())).count(), 1);
}

/// Who judges the ledger shares nothing with it: one mistake cannot be made on both sides.
#[test]
fn the_verifier_stands_alone() {
    let order =
        ["clinical", "ml-scoring", "connectors", "raft-ledger", "actors", "node", "integration-tests"];
    let text =
        std::fs::read_to_string(workspace_root().join("raft-ledger/verifier/Cargo.toml")).expect("one");
    let manifest: toml::Table = text.parse().expect("TOML");
    for section in ["dependencies", "dev-dependencies"] {
        let used: Vec<_> = manifest[section].as_table().expect("a table").keys().collect();
        assert!(!used.iter().any(|name| order.contains(&name.as_str())), "{section}: {used:?}");
    }
    assert!(!manifest.contains_key("build-dependencies"));
    let found = lines_with("raft-ledger/verifier", &["raft_ledger", "#[path", "include!"]);
    assert!(found.is_empty(), "{found:#?}");
    assert!(
        !dependencies("raft-ledger").iter().any(|name| name == "ledger-verifier"),
        "the writer judges itself"
    );
}

#[test]
fn the_pure_crates_have_no_io_clock_or_randomness() {
    let impure = [
        "tokio",
        "actix",
        "std::fs",
        "std::net",
        "SystemTime::now",
        "Instant::now",
        "Timestamp::now",
        "rand::",
    ];
    assert_eq!(lines_with("clinical", &impure), [""; 0]);
    let scoring = lines_with("ml-scoring", &impure);
    let scoring: Vec<_> =
        scoring.iter().filter(|line| !line.contains("/src/train/") && !line.contains("/src/bin/")).collect();
    assert!(scoring.is_empty(), "{scoring:#?}");
    for crate_ in ["clinical", "ml-scoring"] {
        let used = dependencies(crate_);
        assert!(
            !used.iter().any(|name| ["tokio", "actix", "rand"].contains(&name.as_str())),
            "{crate_}: {used:?}"
        );
    }
}

#[test]
fn the_ledger_knows_no_patients() {
    let found = lines_with("raft-ledger", &["patient", "Patient", "HL7", "hl7", "FHIR", "fhir"]);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn foreign_types_stop_at_their_wrapper() {
    for (library, home) in [
        ("openraft", "raft-ledger"),
        ("rocksdb", "raft-ledger"),
        ("rdkafka", "connectors"),
        ("lapin", "connectors"),
        ("xgb", "ml-scoring"),
    ] {
        for crate_ in ["clinical", "ml-scoring", "connectors", "raft-ledger", "actors", "node"] {
            if crate_ != home {
                assert!(
                    !dependencies(crate_).iter().any(|name| name == library),
                    "{crate_} must not use {library}"
                );
            }
        }
    }
}

#[test]
fn data_paths_send_and_wait() {
    let found = lines_with("actors", &[".do_send(", ".try_send("]);
    assert!(found.is_empty(), "{found:#?}");
}
