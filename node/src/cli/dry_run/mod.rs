//! `medulla dry-run`: every connection of a configuration, tried without taking or sending a message.

mod disk;
mod ends;
mod site;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::BoxFuture;
use serde::Serialize;

use super::{Verdict, out, validate};
use crate::config::Config;

/// Try every connection of a configuration without taking or sending a message
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  medulla dry-run --config site.toml\n  medulla dry-run --config site.toml --json | jq 'select(.ok | not)'\n\n\
    What `validate` reads in files, and beyond that: folders are writable and have room, keys and certificates belong \
    together, the master key is to be had, ports are free, peers show their certificates and take this site's, brokers \
    let it sign in and have topic, queue and exchange, receivers answer. No consumer group is joined, nothing is \
    declared or consumed, no request and no message leaves. On a running site the ports that it holds count as free. \
    Exits with 1 when something fails."
)]
pub struct Args {
    /// The site's configuration
    #[arg(long, value_name = "FILE", env = "MEDULLA_CONFIG")]
    config: PathBuf,
    /// How long one check may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
    /// One JSON object a check: {"check","ok","text","ms"}
    #[arg(long)]
    json: bool,
}

/// One line: what was tried, and what was found or what to do.
struct Check {
    name: String,
    tried: BoxFuture<'static, anyhow::Result<String>>,
}

impl Check {
    fn new<F>(name: impl Into<String>, tried: F) -> Check
    where
        F: Future<Output = anyhow::Result<String>> + Send + 'static,
    {
        Check { name: name.into(), tried: Box::pin(tried) }
    }

    fn blocking(
        name: impl Into<String>,
        tried: impl FnOnce() -> anyhow::Result<String> + Send + 'static,
    ) -> Check {
        Check::new(name, async { tokio::task::spawn_blocking(tried).await? })
    }
}

#[derive(Serialize)]
struct Found {
    check: String,
    ok: bool,
    text: String,
    ms: u64,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let Some(config) = validate::load_or_tell(&args.config)? else { return Ok(Verdict::Wrong) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let wait = Duration::from_secs(args.timeout);
    let checks = checks(config, wait);
    let (total, mut failed, mut out) = (checks.len(), 0, out::stdout());
    for check in checks {
        let found = runtime.block_on(run(check, wait));
        failed += usize::from(!found.ok);
        show(&mut out, &found, args.json)?;
        // As it goes: a broker that does not answer takes its time.
        out.flush()?;
    }
    // What did not end in its time is left behind.
    runtime.shutdown_background();
    eprintln!("{} of {total} checks are fine", total - failed);
    Ok(if failed == 0 { Verdict::Fine } else { Verdict::Wrong })
}

fn checks(config: Config, wait: Duration) -> Vec<Check> {
    let mut checks = disk::checks(&config);
    checks.extend(site::checks(&config));
    checks.extend(config.feeds.iter().map(|feed| ends::feed(feed, &config.site.data, wait)));
    checks.extend(config.feeds.iter().filter_map(ends::application_acks));
    checks.extend(config.sinks.iter().map(|sink| ends::sink(sink, wait)));
    checks
}

async fn run(check: Check, wait: Duration) -> Found {
    let started = Instant::now();
    let result = match tokio::time::timeout(wait, check.tried).await {
        Ok(result) => result,
        Err(_) => Err(anyhow::anyhow!("no answer within {} s; look at address and network", wait.as_secs())),
    };
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (ok, text) = match result {
        Ok(text) => (true, text),
        Err(error) => (false, whole(&error)),
    };
    Found { check: check.name, ok, text, ms }
}

/// With its causes, each said once: some errors tell their cause's words themselves.
fn whole(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(&format!(": {cause}"));
        }
    }
    text
}

fn show(out: &mut out::Out, found: &Found, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return out::json_line(out, found);
    }
    let word = if found.ok { "ok    " } else { "FAILED" };
    writeln!(out, "{word} {:<28} {}", found.check, found.text).context("cannot write")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_check_has_a_time_and_its_failure_says_what() {
        let wait = Duration::from_millis(20);
        let late = Check::new("late", std::future::pending());
        let found = run(late, wait).await;
        assert!(!found.ok && found.text.contains("no answer within"), "{}", found.text);
        let wrong = Check::blocking("wrong", || {
            Err(anyhow::anyhow!("inner").context("outer").context("said before: outer"))
        });
        let found = run(wrong, Duration::from_secs(60)).await;
        assert_eq!(
            (found.check.as_str(), found.ok, found.text.as_str()),
            ("wrong", false, "said before: outer: inner")
        );
        let fine = run(Check::blocking("fine", || Ok("so it is".into())), Duration::from_secs(60)).await;
        assert!(fine.ok && fine.text == "so it is");
    }
}
