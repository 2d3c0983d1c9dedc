//! `[ledger]`: where the master key comes from, if not from the folder of keys.

use std::time::Duration;

use raft_ledger::MasterKey;

use super::table::{Spot, Table};
use super::{check, env};

pub const MASTER_TIMEOUT_S: u64 = 10;

/// The field that says it, for findings about it.
pub type Source = Option<(MasterKey, Spot<()>)>;

/// At most one of three fields. `Err`: it was reported.
pub fn read(table: &Table) -> Result<Source, ()> {
    let file =
        table.path("master_key_file").map(|file| (MasterKey::File(file.value.clone()), file.map(drop)));
    let env = table.text("master_key_env").map(|name| (MasterKey::Env(name.value.clone()), name.map(drop)));
    let timeout = table.number("master_key_timeout_s", 1..=120).unwrap_or(MASTER_TIMEOUT_S);
    let argv = table.texts("master_key_command");
    let first = argv.first().map(|program| program.clone().map(drop));
    let argv = argv.into_iter().map(|part| part.value).collect();
    let command =
        first.map(|spot| (MasterKey::Command { argv, timeout: Duration::from_secs(timeout) }, spot));
    let mut named = [file, env, command].into_iter().flatten();
    let source = named.next();
    if let Some((_, second)) = named.next() {
        second.refuse(table.report(), "master-key-twice", "the master key comes from one place; name one");
        return Err(());
    }
    Ok(source)
}

/// Whether it can be had. A command is not run: it may cost, or leave a trace.
pub fn check(table: &Table, source: &Source) {
    let Some((source, spot)) = source else { return };
    let refuse = |code, text: String| spot.refuse(table.report(), code, text);
    match source {
        MasterKey::File(path) => match std::fs::read_to_string(path) {
            Err(error) => refuse("file-unreadable", format!("{} cannot be read: {error}", spot.written)),
            Ok(text) if !MasterKey::is_key(&text) => refuse("value-invalid", no_key(&spot.written)),
            Ok(_) => {}
        },
        MasterKey::Env(name) if !env::is_name(name) => {
            refuse("value-invalid", "is no variable name; use letters, digits and `_`".into());
        }
        MasterKey::Env(name) => match (table.context.lookup)(name) {
            None => refuse("env-missing", format!("environment variable {name} is not set; set it")),
            Some(text) if !MasterKey::is_key(&text) => refuse("value-invalid", no_key(name)),
            Some(_) => {}
        },
        MasterKey::Command { argv, .. } => {
            let program = argv.first().cloned().unwrap_or_default();
            check::program(table, &spot.clone().map(|()| program));
        }
    }
}

fn no_key(name: &str) -> String {
    format!("{name} holds no master key: 64 hexadecimal digits, or base64 of 32 bytes")
}
