//! A JWT that a broker takes in the place of a password. Somebody else renews it, so it is read anew each time.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::{ConnectorError, Secret};

/// More than any broker takes.
const TEXT_MAX: u64 = 64 * 1024;
const POLL: Duration = Duration::from_millis(5);

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenSource {
    File(PathBuf),
    /// What it writes to stdout is the token. Its arguments may be secret.
    Command {
        program: String,
        arguments: Vec<Secret>,
        timeout: Duration,
    },
}

#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) text: Secret,
    /// Whom it names (`sub`), if anybody.
    pub(crate) subject: String,
    pub(crate) ends_at: SystemTime,
}

/// Where it comes from, without what may be secret.
impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenSource::File(path) => write!(f, "token_file {}", path.display()),
            TokenSource::Command { program, .. } => write!(f, "token_command `{program}`"),
        }
    }
}

impl TokenSource {
    /// Blocks; a command for as long as its timeout. What failed is told; what was read never is.
    pub(crate) fn read(&self) -> Result<Token, ConnectorError> {
        let text = match self {
            TokenSource::File(path) => {
                std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
            }
            TokenSource::Command { program, arguments, timeout } => run(program, arguments, *timeout),
        };
        text.and_then(|text| parse(&text, SystemTime::now()))
            .map_err(|what| ConnectorError::Token(format!("{self} {what}")))
    }

    /// The same, off the runtime's threads.
    pub(crate) async fn fetch(&self) -> Result<Token, ConnectorError> {
        let source = self.clone();
        let read = tokio::task::spawn_blocking(move || source.read()).await;
        read.unwrap_or_else(|error| Err(ConnectorError::Token(format!("{self} was not read: {error}"))))
    }
}

fn run(program: &str, arguments: &[Secret], timeout: Duration) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments.iter().map(Secret::expose));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("does not start: {error}"))?;
    let (told, printed) = mpsc::channel();
    let stdout = child.stdout.take();
    // On a thread of its own: a program may go on printing, or leave another one that keeps the pipe open.
    std::thread::spawn(move || {
        let mut text = String::new();
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
                return Err(format!("did not end within {} s and was stopped", timeout.as_secs_f32()));
            }
            Err(error) => return Err(format!("cannot be waited for: {error}")),
        }
    };
    if !status.success() {
        return Err(format!("failed: {status}"));
    }
    let text = printed.recv_timeout(until.saturating_duration_since(Instant::now()).max(POLL));
    text.ok().flatten().ok_or_else(|| "printed no text".to_owned())
}

#[derive(Deserialize)]
struct Claims {
    /// Seconds since 1970, perhaps with a fraction (RFC 7519).
    exp: Option<f64>,
    sub: Option<String>,
}

/// Signature and audience are for the broker to check.
fn parse(text: &str, now: SystemTime) -> Result<Token, String> {
    let no_jwt = || "holds no JWT (header.claims.signature in base64url)".to_owned();
    let text = text.trim();
    let is_taken = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let parts: Vec<&str> = text.split('.').collect();
    let [_, claims, _] = parts[..] else { return Err(no_jwt()) };
    if !text.chars().all(is_taken) {
        return Err(no_jwt());
    }
    let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| no_jwt())?;
    let claims: Claims = serde_json::from_slice(&claims).map_err(|_| no_jwt())?;
    let exp = claims.exp.ok_or("holds a JWT that does not say when it ends (exp)")?;
    let ends_at = Duration::try_from_secs_f64(exp).ok().and_then(|since| UNIX_EPOCH.checked_add(since));
    let ends_at = ends_at.ok_or("holds a JWT whose end (exp) is no time")?;
    if let Ok(since) = now.duration_since(ends_at) {
        let ended = format!("holds a JWT that ended {} s ago", since.as_secs());
        return Err(format!("{ended}; look at what renews it, and at the clocks"));
    }
    Ok(Token { text: Secret::new(text), subject: claims.sub.unwrap_or_default(), ends_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part(r#"{"alg":"HS256"}"#), part(claims), part("s3cr3t"))
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000)
    }

    fn sh(script: &str, timeout_ms: u64) -> TokenSource {
        let arguments = ["-c", script].map(Secret::new).to_vec();
        TokenSource::Command { program: "sh".into(), arguments, timeout: Duration::from_millis(timeout_ms) }
    }

    #[test]
    fn a_jwt_says_whom_it_names_and_when_it_ends() {
        let text = jwt(r#"{"sub":"medulla","exp":1060.5,"aud":["kafka"]}"#);
        let token = parse(&format!("{text}\n"), now()).unwrap();
        assert_eq!((token.text.expose(), token.subject.as_str()), (text.as_str(), "medulla"));
        assert_eq!(token.ends_at, now() + Duration::from_millis(60_500));
        assert!(!format!("{token:?}").contains(&text), "tokens are never shown");
        for (text, expected) in [
            (jwt(r#"{"sub":"medulla"}"#), "does not say when it ends"),
            (jwt(r#"{"exp":-1}"#), "is no time"),
            (jwt(r#"{"exp":1e300}"#), "is no time"),
            (jwt(r#"{"exp":940}"#), "ended 60 s ago"),
            (jwt(r#"{"exp":"soon"}"#), "holds no JWT"),
            (jwt(r#"{"exp":2000}"#) + ".e30", "holds no JWT"),
            (jwt(r#"{"exp":2000}"#) + "\u{1}", "holds no JWT"),
            ("e30.e30".into(), "holds no JWT"),
            (String::new(), "holds no JWT"),
        ] {
            let error = parse(&text, now()).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
            assert!(text.is_empty() || !error.contains(&text), "an error shows what it read: {error}");
        }
    }

    #[tokio::test]
    async fn what_went_wrong_is_told_and_what_was_printed_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let missing = TokenSource::File(file.clone()).fetch().await.unwrap_err().to_string();
        assert!(missing.contains("token_file") && missing.contains("cannot be read"), "{missing}");
        let text = jwt(r#"{"exp":4e9}"#);
        std::fs::write(&file, &text).unwrap();
        assert_eq!(TokenSource::File(file).read().unwrap().text.expose(), text);
        assert_eq!(sh(&format!("echo {text}"), 10_000).fetch().await.unwrap().text.expose(), text);
        for (script, expected) in [
            ("echo s3cr3t; echo s3cr3t >&2; exit 7", "exit status: 7"),
            ("echo s3cr3t", "holds no JWT"),
            ("printf '\\377s3cr3t'", "printed no text"),
        ] {
            let source = sh(script, 10_000);
            let error = source.read().unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("token_command `sh`"), "{error}");
            assert!(!format!("{error}{source:?}").contains("s3cr3t"), "{error}");
        }
        let slow = sh("exec sleep 600", 50).read().unwrap_err().to_string();
        assert!(slow.contains("did not end within 0.05 s"), "{slow}");
    }
}
