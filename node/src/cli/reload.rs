//! `medulla reload`: a running site takes over its changed configuration.

use std::io::Write;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};
use tokio::runtime;

use super::at::At;
use super::{Verdict, out};
use crate::config;
use crate::http::{AdminClient, ClientError, socket_path};

/// Before it is told that the site waits.
const QUIET: Duration = Duration::from_secs(5);

/// Have a running site take over its changed configuration, without dropping a connection that did not change
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  medulla reload --config site.toml --dry-run\n  medulla reload --config site.toml\n  \
    medulla reload --config site.toml --json | jq -r '.changes[] | select(.needs_restart) | .name'\n\n\
    The site reads the file and checks it whole, as `validate` does. With a mistake in it, nothing changes. Else feeds, \
    sinks, users, tokens and [alerts] that differ are exchanged: one that is changed or removed takes no more, answers what it took, \
    and ends; a changed one then begins with its new settings. Where one does not end (100 s, or what its receiver \
    may take), nothing takes its place: the former ones run again, and it is there again with the reload after its end. Those \
    that are the same keep their connections. A changed sink goes on where it was; one that was removed and is added again later \
    hears of what happens from then on. Sections that need a restart are named and left as they are.\n\
    ${...} are filled in from the environment that the site was started with. Who did so is an entry of the ledger. SIGHUP \
    does the same.\n\
    --json prints one object: {\"outcome\",\"file\",\"sha256\",\"index\",\"changes\",\"unchanged\"}, outcome \"planned\" \
    (--dry-run), \"done\" or \"unchanged\", a change {\"subject\",\"name\",\"difference\",\"fields\",\"needs_restart\"}; or one \
    object a mistake, as `validate` does. Exits with 1 where nothing was taken over because something is wrong."
)]
pub struct Args {
    /// Tell what would be taken over, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    at: At,
}

pub fn execute(args: &Args) -> anyhow::Result<Verdict> {
    let At { config: file, json } = &args.at;
    let mut out = out::stdout();
    let place = match config::place(file) {
        Ok(place) => place,
        // Where it is so broken that it does not say which site is meant.
        Err(findings) => {
            for finding in &findings {
                tell(&mut out, &serde_json::to_value(finding)?, *json)?;
            }
            out.flush()?;
            return Ok(Verdict::Wrong);
        }
    };
    let client = AdminClient::new(&socket_path(&place.data))?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let body = json!({ "dry_run": args.dry_run, "file": std::path::absolute(file)? });
    let done: Value = match runtime.block_on(patiently(client.post("/api/reload", &body))) {
        Ok(done) => done,
        Err(error @ ClientError::NotRunning { .. }) => {
            bail!(
                "{error}. If `data` of [site] is not what the running site was started with: that needs a restart, and SIGHUP \
                 has the site take over what does not"
            )
        }
        Err(ClientError::Refused { findings, text, .. }) if !findings.is_empty() => {
            for finding in &findings {
                tell(&mut out, finding, *json)?;
            }
            out.flush()?;
            eprintln!("medulla: {text}");
            return Ok(Verdict::Wrong);
        }
        Err(error) => return Err(error.into()),
    };
    match json {
        true => out::json_line(&mut out, &done)?,
        false => show(&mut out, &done)?,
    }
    out.flush()?;
    Ok(Verdict::Fine)
}

/// Says so where the site waits.
async fn patiently<T>(answer: impl Future<Output = T>) -> T {
    tokio::pin!(answer);
    if let Ok(answer) = tokio::time::timeout(QUIET, &mut answer).await {
        return answer;
    }
    eprintln!(
        "medulla: the site waits until the feeds and sinks that end have settled what they took; its log names them"
    );
    answer.await
}

fn tell(out: &mut out::Out, finding: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        return out::json_line(out, finding);
    }
    let text = |field: &str| finding[field].as_str().unwrap_or_default();
    write!(out, "{}:{}: ", text("file"), finding["line"])?;
    if !text("field").is_empty() {
        write!(out, "{}: ", text("field"))?;
    }
    writeln!(out, "{} [{}]", text("text"), text("code"))?;
    Ok(())
}

fn show(out: &mut out::Out, done: &Value) -> anyhow::Result<()> {
    let list = |of: &Value| -> Vec<String> {
        of.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    for change in done["changes"].as_array().into_iter().flatten() {
        let text = |field: &str| change[field].as_str().unwrap_or_default();
        let (subject, name) = match text("subject") {
            "section" => ("", format!("[{}]", text("name"))),
            subject => (subject, text("name").to_owned()),
        };
        let restart = if change["needs_restart"] == true { "  needs a restart" } else { "" };
        let fields = list(&change["fields"]).join(", ");
        let line = format!("{:<8} {subject:<8} {name:<20} {fields}{restart}", text("difference"));
        writeln!(out, "{}", line.trim_end())?;
    }
    for same in list(&done["unchanged"]) {
        let (subject, name) = same.split_once(' ').unwrap_or(("", &same));
        writeln!(out, "{:<8} {subject:<8} {name}", "same")?;
    }
    match done["outcome"].as_str() {
        Some("planned") => writeln!(out, "nothing was done: --dry-run")?,
        Some("unchanged") => writeln!(out, "there was nothing to take over")?,
        _ => writeln!(out, "taken over, as entry {} says", done["index"])?,
    }
    Ok(())
}
