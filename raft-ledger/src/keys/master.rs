//! Where a site's master key comes from. It encrypts the site's key store and nothing else.
//!
//! As text: 64 hexadecimal digits, or base64 of 32 bytes, as key management services print it.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::Secret;
use crate::types::LedgerError;

/// More than any text of a key.
const TEXT_MAX: u64 = 4096;
const POLL: Duration = Duration::from_millis(5);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterKey {
    File(PathBuf),
    /// The name of an environment variable.
    Env(String),
    /// A program and its arguments; what it writes to stdout is the key.
    Command {
        argv: Vec<String>,
        timeout: Duration,
    },
}

impl MasterKey {
    /// Blocks; a command for as long as its timeout.
    pub(crate) fn read(&self) -> Result<Secret, LedgerError> {
        let (text, from) = match self {
            MasterKey::File(path) => (read_file(path)?, path.display().to_string()),
            MasterKey::Env(name) => (read_env(name)?, format!("environment variable {name}")),
            MasterKey::Command { argv, timeout } => {
                (run(argv, *timeout)?, format!("what {} printed", shown(argv)))
            }
        };
        parse(&text).ok_or_else(|| {
            let text = format!("{from} is no master key: 64 hexadecimal digits, or base64 of 32 bytes");
            LedgerError::Keys(text)
        })
    }

    /// Whether text is a master key, for whoever checks a configuration.
    pub fn is_key(text: &str) -> bool {
        parse(text).is_some()
    }
}

fn parse(text: &str) -> Option<Secret> {
    let text = text.trim();
    let mut bytes = Zeroizing::new([0; 32]);
    if text.len() == 64 {
        hex::decode_to_slice(text, &mut *bytes).ok()?;
        return Some(Secret::new(*bytes));
    }
    let decoded = Zeroizing::new(STANDARD.decode(text).ok()?);
    Some(Secret::new(decoded.as_slice().try_into().ok()?))
}

fn read_file(path: &std::path::Path) -> Result<Zeroizing<String>, LedgerError> {
    let what = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            "is missing; make keys with `medulla keys init`, or put the file back".to_owned()
        }
        _ => format!("cannot be read: {error}"),
    };
    let text = std::fs::read_to_string(path);
    text.map(Zeroizing::new).map_err(|error| LedgerError::Keys(format!("{} {}", path.display(), what(error))))
}

fn read_env(name: &str) -> Result<Zeroizing<String>, LedgerError> {
    let missing = |_| {
        LedgerError::Keys(format!(
            "environment variable {name}, which holds the master key, is not set; set it"
        ))
    };
    std::env::var(name).map(Zeroizing::new).map_err(missing)
}

/// What failed is told; what the program printed never is.
fn run(argv: &[String], timeout: Duration) -> Result<Zeroizing<String>, LedgerError> {
    let failed = |what: String| LedgerError::Keys(format!("the master key's command {} {what}", shown(argv)));
    let Some((program, arguments)) = argv.split_first() else {
        return Err(failed("names no program".into()));
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| failed(format!("does not start: {error}")))?;
    let (told, printed) = mpsc::channel();
    let stdout = child.stdout.take();
    // On a thread of its own: a program may go on printing, or leave another one that keeps the pipe open.
    std::thread::spawn(move || {
        let mut text = Zeroizing::new(String::new());
        let read = stdout.map(|out| out.take(TEXT_MAX).read_to_string(&mut text));
        let _ = told.send(read.is_some_and(|read| read.is_ok()).then_some(text));
    });
    let until = Instant::now() + timeout;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < until => std::thread::sleep(POLL),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(format!(
                    "did not end within {} s and was stopped",
                    timeout.as_secs_f32()
                )));
            }
            Err(error) => return Err(failed(format!("cannot be waited for: {error}"))),
        }
    };
    if !status.success() {
        return Err(failed(format!("failed: {status}")));
    }
    let text = printed.recv_timeout(until.saturating_duration_since(Instant::now()).max(POLL));
    text.ok().flatten().ok_or_else(|| failed("printed no text".into()))
}

fn shown(argv: &[String]) -> String {
    format!("`{}`", argv.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn sh(script: &str, timeout_ms: u64) -> MasterKey {
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        MasterKey::Command { argv, timeout: Duration::from_millis(timeout_ms) }
    }

    #[test]
    fn a_key_comes_from_a_file_or_a_command_in_hex_or_base64() {
        let expected: [u8; 32] = std::array::from_fn(|n| n as u8);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        for text in [format!("{HEX}\n"), HEX.to_uppercase(), format!("{BASE64}\n")] {
            std::fs::write(&file, &text).unwrap();
            assert_eq!(MasterKey::File(file.clone()).read().unwrap().expose(), &expected);
            let script = format!("cat {}", file.display());
            assert_eq!(sh(&script, 10_000).read().unwrap().expose(), &expected);
            assert!(MasterKey::is_key(&text));
        }
        for text in ["", "00", &HEX[1..], &BASE64[..40], "what else"] {
            std::fs::write(&file, text).unwrap();
            let error = MasterKey::File(file.clone()).read().unwrap_err().to_string();
            assert!(error.contains("is no master key"), "{error}");
            assert!(text.is_empty() || !error.contains(text), "an error shows what it read: {error}");
        }
    }

    #[test]
    fn what_went_wrong_is_told_and_what_was_printed_is_not() {
        let missing = MasterKey::Env("MEDULLA_NO_SUCH_VARIABLE".into()).read().unwrap_err().to_string();
        assert!(missing.contains("MEDULLA_NO_SUCH_VARIABLE") && missing.contains("not set"), "{missing}");
        for (script, expected) in [
            ("echo secret; echo secret >&2; exit 7", "exit status: 7"),
            ("echo secret", "is no master key"),
            ("printf '\\377secret'", "printed no text"),
        ] {
            let error = sh(&script.replace("secret", "\"$(printf s3cr3t)\""), 10_000).read().unwrap_err();
            let error = error.to_string();
            assert!(error.contains(expected) && error.contains("sh -c"), "{error}");
            assert!(!error.replace("printf s3cr3t", "").contains("s3cr3t"), "{error}");
        }
        let slow = sh("exec sleep 600", 50).read().unwrap_err().to_string();
        assert!(slow.contains("did not end within 0.05 s"), "{slow}");
        let none = MasterKey::Command { argv: vec!["/no/such/program".into()], timeout: POLL };
        assert!(none.read().unwrap_err().to_string().contains("does not start"));
    }
}
