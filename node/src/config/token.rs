//! `token_file` or `token_command`: the JWT that a broker takes in the place of a password.

use std::time::Duration;

use connectors::{Secret, TokenSource};

use super::check;
use super::table::{Spot, Table};

const TIMEOUT_DEFAULT_S: u64 = 10;
const TIMEOUT_MAX_S: u64 = 120;

/// Nothing is read or run: a token may come after the configuration, and a command may cost or leave a trace.
/// `Err`: a finding was made.
pub fn read(table: &Table) -> Result<Option<Spot<TokenSource>>, ()> {
    let file = table.path("token_file");
    let mut argv = table.texts("token_command").into_iter();
    let timeout_s = table.number("token_timeout_s", 1..=TIMEOUT_MAX_S).unwrap_or(TIMEOUT_DEFAULT_S);
    match (file, argv.next()) {
        (None, None) => Ok(None),
        (Some(file), None) => {
            check::exists(table.report(), &file);
            Ok(Some(file.map(TokenSource::File)))
        }
        (None, Some(program)) => {
            check::program(table, &program);
            let arguments = argv.map(|argument| Secret::new(argument.value)).collect();
            let timeout = Duration::from_secs(timeout_s);
            Ok(Some(program.map(|program| TokenSource::Command { program, arguments, timeout })))
        }
        (Some(_), Some(program)) => {
            program.refuse(table.report(), "token-twice", "the token comes from one place; name one");
            Err(())
        }
    }
}
