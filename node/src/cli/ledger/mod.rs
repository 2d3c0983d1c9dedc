//! `medulla ledger …`: this site's replica, what it proves to others, and judging that.

mod archive;
mod ask;
mod backup;
mod proof;
mod verify;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use raft_ledger::keys::SiteKeys;
use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Runtime;

use self::ask::ask;
use super::{Verdict, out, progress};
use crate::config;
use crate::http::{AdminClient, ClientError, socket_path};

/// Look at a site's ledger, back it up and restore it, verify exports
#[derive(clap::Subcommand)]
pub enum Command {
    /// Role, term, size and root of the running site's replica
    #[command(after_help = "Example:\n  medulla ledger status --config site.toml --json\n\n\
        apply_version: the rules that the consortium applies entries by; apply_version_known: the latest that this \
        site's release knows. `medulla site list` shows them of all sites.")]
    Status(Status),
    /// Go on to the latest rules that every voter's release knows, once all sites run it
    #[command(after_help = "Example:\n  medulla site list --config site.toml\n  \
        medulla ledger upgrade --config site.toml\n\n\
        Sites of different releases keep equal ledgers because all apply entries by the same rules: by those of the \
        older release, until this command. Upgrade the sites one by one; when `medulla site list` shows the same later \
        number under \"rules\" for every voter, give it once, at any site.\n\
        Refused while a voter's release does not know later rules, or a voter cannot be reached. It cannot be taken \
        back: afterwards a site that runs the former release is refused and told so, and so is a backup restored with \
        it. A learner is not waited for. Where there is nothing to raise it says so and exits with 0.")]
    Upgrade(Status),
    /// C2SP verifier keys of all sites, one a line: what a verifier brings along
    #[command(after_help = "Example:\n  medulla ledger keys --config site.toml > keys.txt\n\n\
        Of every site that takes or took part, and of the authority that admits further ones. Where the site does not run: \
        of the founding sites and itself, which it says on stderr.\n\
        --admissions prints, instead of keys, the authority's word for each site that joined after the founding, as far as \
        the site runs. A verifier who has had these keys from the founding on need not believe anybody for the later \
        sites': it adds these lines to its file of keys, and each counts if the authority has signed it.")]
    Keys(PublicKeys),
    /// The newest checkpoint that a majority of the sites has cosigned: a C2SP signed note
    #[command(after_help = "Example:\n  medulla ledger checkpoint --config site.toml > checkpoint.txt\n\n\
        A site alone signs its own, and nobody cosigns it.")]
    Checkpoint(proof::Checkpoint),
    /// A receipt for an entry, or that an earlier ledger is the beginning of a later one
    #[command(after_help = "Examples:\n  medulla ledger prove 17 --out 17.tlog-proof --config site.toml\n  \
        medulla ledger prove --consistency 100 250 --out 100-250.txt --config site.toml\n\n\
        Receipts are C2SP tlog-proofs with the leaf record in the extra line. `medulla ledger verify` and \
        `medulla-verify` judge them.")]
    Prove(proof::Prove),
    /// Recompute a running site's ledger or an export, or judge a receipt, and name what is wrong
    #[command(after_help = "Examples:\n  medulla ledger verify --config site.toml\n  \
        medulla ledger verify export/ --keys keys.txt\n  \
        medulla ledger verify 17.tlog-proof --keys keys.txt\n\n\
        Exits with 1 when something is wrong. A receipt is judged by the keys that you bring. An export without \
        --keys is judged by the keys in it: that shows that it is whole, not who made it.")]
    Verify(verify::Verify),
    /// Write the running site's ledger into a folder that proves itself
    #[command(after_help = "Example:\n  medulla ledger export export/ --config site.toml\n\n\
        Payloads stay sealed: an export can be given to anybody who shall judge it.")]
    Export(Export),
    /// Back the ledger up into a folder, verified; what an earlier backup there holds is not copied again
    #[command(after_help = "Examples:\n  medulla ledger backup /backup/a --config site.toml\n  \
        medulla ledger backup /backup/a --config site.toml --json\n\n\
        Every leaf and payload is checked and the root recomputed before the backup counts. A site that does not run \
        is backed up as it was flushed when it stopped.\n\
        The key store (subjects.keys), the master key and the site's other keys are never in it: a backup cannot bring \
        a shredded patient back, and without its keys a payload cannot be read. `medulla keys backup` backs them up.")]
    Backup(backup::Backup),
    /// Make a stopped site's ledger from a backup
    #[command(after_help = "Examples:\n  medulla ledger restore /backup/a --config site.toml\n  \
        medulla ledger restore /backup/a --config site.toml --new-consortium\n\n\
        Without --new-consortium the site goes on in its own consortium: what came after the backup comes from its own \
        raft log or from its peers.\n\
        With it a new consortium begins with the leaves of the backup; size and root continue. It needs keys of its own \
        (`medulla keys init --continue OLD`), because the lost one may have signed more than the backup holds. Restore \
        at the site that says `initialise = true`; the others may be restored from the same backup, or begin empty.\n\
        Keys are in no backup of the ledger: `medulla keys restore` brings them before the site starts, or a partner does, \
        or its old entries stay sealed.")]
    Restore(backup::Restore),
    /// Move the sealed payloads of old entries out of the running site's database into files that may lie elsewhere
    #[command(after_help = "Examples:\n  medulla ledger archive --older-than 365 --config site.toml\n  \
        medulla ledger archive --config site.toml --json\n\n\
        The files (cold files) are in the folder that `dir` of [ledger.retention] names. They hold the payloads, still \
        sealed, and the leaves; everything that proves stays in the database as well. Each file is written, synced and \
        read back before anything is removed. Only whole files are moved (64 MiB of payloads or 65,536 entries), and only \
        what a cosigned checkpoint covers.\n\
        Without --older-than `after_days` of [ledger.retention] counts; a site that has it does this by itself.\n\
        Messages, receipts, exports, backups and `verify` go on working as before. Never change or delete a cold file: one \
        that is lost comes back from a peer, and `ledger status` names it until then.")]
    Archive(archive::Archive),
}

/// Which site
#[derive(clap::Args)]
pub struct At {
    /// The site's configuration
    #[arg(long, value_name = "FILE", env = "MEDULLA_CONFIG", default_value = "site.toml")]
    config: PathBuf,
}

#[derive(clap::Args)]
pub struct Status {
    #[command(flatten)]
    at: At,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct Export {
    /// Empty or new
    folder: PathBuf,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args)]
pub struct PublicKeys {
    /// The admissions of the sites that joined later, one a line
    #[arg(long)]
    admissions: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Deserialize)]
struct Keys {
    keys: String,
    #[serde(default)]
    admissions: String,
}

#[derive(Deserialize)]
struct Exported {
    size: u64,
    root: String,
}

pub fn execute(command: &Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Status(args) => status(args),
        Command::Upgrade(args) => upgrade(args),
        Command::Keys(at) => keys(at),
        Command::Checkpoint(args) => proof::checkpoint(args),
        Command::Prove(args) => proof::prove(args),
        Command::Verify(args) => verify::execute(args),
        Command::Export(args) => export(args),
        Command::Backup(args) => backup::backup(args),
        Command::Restore(args) => backup::restore(args),
        Command::Archive(args) => archive::archive(args),
    }
}

fn status(args: &Status) -> anyhow::Result<Verdict> {
    let (client, runtime) = connect(&args.at)?;
    let status: serde_json::Value = runtime.block_on(client.get("/api/ledger"))?;
    let mut out = out::stdout();
    if args.json {
        out::json_line(&mut out, &status)?;
    } else {
        for (name, value) in status.as_object().into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            writeln!(out, "{name:<16} {text}")?;
        }
    }
    out.flush()?;
    Ok(Verdict::Fine)
}

fn upgrade(args: &Status) -> anyhow::Result<Verdict> {
    let (client, runtime) = connect(&args.at)?;
    let bar = progress::waiting("the sites agree on it");
    let raised = runtime.block_on(client.post("/api/ledger/upgrade", &json!({})));
    bar.finish_and_clear();
    let raised: serde_json::Value = raised?;
    let mut out = out::stdout();
    match args.json {
        true => out::json_line(&mut out, &raised)?,
        false => writeln!(out, "entries are applied by the rules of version {}", raised["apply_version"])?,
    }
    out.flush()?;
    Ok(Verdict::Fine)
}

fn connect(at: &At) -> anyhow::Result<(AdminClient, Runtime)> {
    connect_to(&at.config)
}

/// The running site of a configuration.
pub fn connect_to(config: &Path) -> anyhow::Result<(AdminClient, Runtime)> {
    let client = AdminClient::new(&socket_path(&place(config)?.data))?;
    Ok((client, tokio::runtime::Builder::new_current_thread().enable_all().build()?))
}

fn keys(PublicKeys { admissions, at }: &PublicKeys) -> anyhow::Result<Verdict> {
    let (client, runtime) = connect(at)?;
    let text = match runtime.block_on(client.get::<Keys>("/api/ledger/keys")) {
        Ok(keys) if *admissions => keys.admissions,
        Ok(keys) => keys.keys,
        Err(ClientError::NotRunning { .. }) if !admissions => {
            eprintln!(
                "the site does not run: keys of sites that joined later, which are in its ledger, are not among these"
            );
            SiteKeys::load(&place(&at.config)?.keys)?.verifier_keys()
        }
        Err(error) => return Err(error.into()),
    };
    let mut out = out::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(Verdict::Fine)
}

fn export(args: &Export) -> anyhow::Result<Verdict> {
    let (client, runtime) = connect(&args.at)?;
    // The site has another working directory.
    let folder = std::path::absolute(&args.folder)?;
    let body = json!({ "folder": folder });
    let made: Exported = runtime.block_on(ask(&client, "export", &body, "the site writes its ledger"))?;
    let mut out = out::stdout();
    writeln!(out, "{}: {} leaves, root {}", folder.display(), made.size, made.root)?;
    out.flush()?;
    Ok(Verdict::Fine)
}

pub fn place(file: &Path) -> anyhow::Result<config::Place> {
    config::place(file).map_err(|findings| {
        let all: Vec<String> = findings.iter().map(ToString::to_string).collect();
        anyhow!("{}", all.join("\n"))
    })
}
