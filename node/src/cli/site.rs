//! `medulla site …`: the sites that take part.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use raft_ledger::{MemberRole, MemberStatus};
use serde_json::json;

use super::at::At;
use super::{Verdict, ledger, out, progress};

/// Which sites take part, and letting them come and go while the others run
#[derive(clap::Subcommand)]
pub enum Command {
    /// The sites, their roles, and how far each is behind
    #[command(after_help = "Example:\n  medulla site list --config site.toml --json\n\n\
        --json prints one object a site: {\"site\",\"node\",\"role\",\"address\",\"reachable\",\"matched\",\"lag\",\"apply_version\"}. \
        A site that comes with another disk is another node. \"rules\": the latest that the site's release applies entries \
        by; `medulla ledger status` says which hold now, `medulla ledger upgrade` raises them.")]
    List(List),
    /// Let a running site join: it receives everything and does not vote yet
    #[command(after_help = "Example:\n  medulla site add d --address 10.0.0.4:7001 --config site.toml\n\n\
        The site must run, with `initialise = false` and the others among its [ledger] peers, and its keys must be \
        of this consortium. For a site that `keys init` was not told of, `keys init --join` makes them, `keys admit` signs \
        them with the consortium's authority, and --keys names the site-admission.txt that it wrote: every site checks it, \
        from then on they are in the ledger, and `ledger keys` prints them at every site.\n\
        Name it among the [ledger] peers of the others, too, before they next start. A site whose \
        disk was wiped or damaged joins in the same way; its former disk keeps its vote until `medulla site promote`.")]
    Add(Add),
    /// Give a site that has caught up its vote; its former disk, if it lost one, loses its own
    #[command(after_help = "Example:\n  medulla site promote d --config site.toml\n\n\
        Refused while the site is far behind: try again.")]
    Promote(Change),
    /// End a site's membership: it votes and writes no more, its entries stay
    #[command(after_help = "Example:\n  medulla site remove d --config site.toml\n\n\
        Refused where no majority of the sites that would be left answers. A leader hands over first.")]
    Remove(Change),
    /// Hand the lead to a site, for example before another is stopped for an upgrade
    #[command(after_help = "Example:\n  medulla site lead b --config site.toml\n\n\
        Nothing acknowledged is lost; messages under way take a moment longer.")]
    Lead(Change),
}

#[derive(clap::Args)]
pub struct List {
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args)]
pub struct Add {
    /// Its name
    site: String,
    /// Its raft port; without it, where the leader's configuration says
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// Of a site that `keys init` was not told of: its admission, which `keys admit` wrote
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args)]
pub struct Change {
    /// Its name
    site: String,
    #[command(flatten)]
    at: At,
}

pub fn execute(command: &Command) -> anyhow::Result<Verdict> {
    match command {
        Command::List(args) => {
            let (client, runtime) = ledger::connect_to(&args.at.config)?;
            let members: Vec<MemberStatus> = runtime.block_on(client.get("/api/sites"))?;
            show(&members, args.at.json)?;
            if members.is_empty() {
                eprintln!("this site knows of no members; `medulla ledger status` says why, and what to do");
                return Ok(Verdict::Wrong);
            }
        }
        Command::Add(args) => {
            let read = |path: &PathBuf| {
                std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
            };
            let keys = args.keys.as_ref().map(read).transpose()?;
            let body = json!({ "site": args.site, "address": args.address, "keys": keys });
            ask(&args.at, "/api/sites", &body)?;
        }
        Command::Promote(args) => change(args, "promote")?,
        Command::Remove(args) => change(args, "remove")?,
        Command::Lead(args) => change(args, "lead")?,
    }
    Ok(Verdict::Fine)
}

fn change(args: &Change, what: &str) -> anyhow::Result<()> {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if !args.site.chars().all(valid) {
        return Err(super::Usage(format!("{:?} is no site name", args.site)).into());
    }
    ask(&args.at, &format!("/api/sites/{}/{what}", args.site), &json!({}))
}

fn ask(at: &At, path: &str, body: &serde_json::Value) -> anyhow::Result<()> {
    let (client, runtime) = ledger::connect_to(&at.config)?;
    let bar = progress::waiting("the sites agree on it");
    let members: Result<Vec<MemberStatus>, _> = runtime.block_on(client.post(path, body));
    bar.finish_and_clear();
    show(&members?, at.json)
}

fn show(members: &[MemberStatus], json: bool) -> anyhow::Result<()> {
    let mut out = out::stdout();
    if !json {
        writeln!(
            out,
            "{:<16} {:<8} {:>10} {:>10} {:>5}  address",
            "site", "role", "node", "behind", "rules"
        )?;
    }
    for member in members {
        if json {
            out::json_line(&mut out, member)?;
            continue;
        }
        let role = match member.role {
            MemberRole::Leader => "leader",
            MemberRole::Voter => "voter",
            MemberRole::Learner => "learner",
        };
        let behind = match (member.reachable, member.lag) {
            (false, _) => "away".to_owned(),
            (true, Some(lag)) => lag.to_string(),
            (true, None) => "?".to_owned(),
        };
        let rules = member.apply_version.map_or_else(|| "?".to_owned(), |version| version.to_string());
        let MemberStatus { site, node, address, .. } = member;
        writeln!(out, "{site:<16} {role:<8} {node:>10} {behind:>10} {rules:>5}  {address}")?;
    }
    Ok(out.flush()?)
}
