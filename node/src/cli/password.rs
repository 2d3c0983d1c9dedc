//! `medulla password hash`: what `password_hash` and `token_hash` hold.

use std::io::{IsTerminal, Read, Write};

use anyhow::Context;
use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, SaltString};
use rand::rngs::OsRng;

use super::{Usage, Verdict, out};

/// Far more than anybody types; bounds what is read from a pipe.
const LENGTH_MAX: u64 = 1024;
const LENGTH_MIN: usize = 8;

/// Passwords of the people and tokens of the programs that sign in
#[derive(clap::Subcommand)]
pub enum Command {
    /// Read a password or token from stdin and print its argon2id hash
    #[command(after_help = "Example:\n  printf %s 'a long pass phrase' | medulla password hash\n\n\
        Put the line into password_hash of [[http.user]] or token_hash of [[http.token]].")]
    Hash,
}

pub fn execute(command: &Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Hash => hash(),
    }
}

fn hash() -> anyhow::Result<Verdict> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("Password (it shows while you type; end with Enter and Ctrl-D):");
    }
    let mut text = String::new();
    stdin.lock().take(LENGTH_MAX).read_to_string(&mut text).context("cannot read the password from stdin")?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.len() < LENGTH_MIN {
        return Err(Usage(format!("the password needs at least {LENGTH_MIN} bytes; give it on stdin")).into());
    }
    let salt = SaltString::generate(&mut OsRng);
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    let hash = hash.map_err(|error| anyhow::anyhow!("cannot hash the password: {error}"))?;
    let mut out = out::stdout();
    writeln!(out, "{hash}")?;
    out.flush()?;
    Ok(Verdict::Fine)
}
