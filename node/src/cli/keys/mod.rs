//! `medulla keys …`: making the keys of a consortium, and looking after the key store of a site.

mod store;

use std::io::Write;
use std::path::PathBuf;

use serde_json::json;

use super::{Usage, Verdict, out};

/// Make the keys of sites, and look after the store of patients' keys
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make keys and a consortium CA: one folder a site, and one to keep offline
    #[command(after_help = "Example:\n  medulla keys init --dir keys --site a --site b --site c \
        --host 10.0.0.1 --host 10.0.0.2 --host 10.0.0.3\n\n\
        Prints the sites' folders (with --join also the files for `keys admit`). Overwrites nothing. Keep DIR/consortium \
        offline, best of all its authority-key.txt: without that key nobody can admit a further site, with it anybody \
        can.\n\n\
        A new consortium that goes on with the ledger of a lost one (`medulla ledger restore --new-consortium`):\n  \
        medulla keys init --dir keys-2 --site a --site b --site c --continue keys\n\
        takes its index key and each site's master key over, so that entries are found and read, and keeps its \
        batch keys to judge old batches by.\n\n\
        A further site of a running consortium:\n  \
        medulla keys init --dir keys --join --site d --host 10.0.0.4 --index-key keys/a/index-key.hex\n\
        where DIR/consortium is, whose ca-key.pem signs its certificate. The index key, which all sites share, comes \
        from the folder of any site. Then `medulla keys admit` where the authority's key is. Bring the folder to the new \
        site as you brought the others' theirs, start it, and let it in with `medulla site add d --address HOST:PORT --keys \
        keys/d/site-admission.txt`.")]
    Init(Init),
    /// Sign a further site's keys with the consortium's authority, offline
    #[command(
        after_help = "Example:\n  medulla keys admit keys/d/site-keys.txt --authority keys/consortium/authority-key.txt\n\n\
        REQUEST is what `keys init --join` made for the site. Needs no running site and no network: it can run where the \
        authority's key is kept. Writes the admission beside the request (or to --out) and prints where; on stderr which \
        site and which keys it admits: compare them with what the site has. The file is public; `medulla site add d --keys \
        FILE` brings it into the ledger, and every site checks it. It is good for this name, these keys and this \
        consortium alone."
    )]
    Admit(Admit),
    /// Change the master key, or begin new keys for patients; nothing is sealed anew, and all of it still opens
    #[command(after_help = "Examples:\n  medulla keys rotate --config site.toml\n  \
        medulla keys rotate --subjects --config site.toml --json\n  \
        medulla keys rotate --config site.toml --to-command kms-decrypt master.enc\n\n\
        The master key encrypts the key store (subjects.keys). In a file it is replaced by a new one, at a site that \
        runs or at one that does not; where a command prints it, change it there first. With --to-… it moves to another \
        place: of a site that does not run, whose configuration names that place afterwards. The key store is written \
        anew as a whole; a crash leaves the former one or the new one. Backups of the key store made before need the \
        former master key.\n\
        With --subjects the next entry of every patient and feed is sealed under a new key, once it is at the partner; \
        what was sealed before opens with the former ones, and shredding destroys them all.")]
    Rotate(store::Rotate),
    /// Back the key store up, encrypted and for a few days
    #[command(after_help = "Example:\n  medulla keys backup /media/key/a.keys --config site.toml\n\n\
        Short-lived, because whoever has it and the master key reads what was shredded since. It is encrypted under the \
        present master key, which is not in it. The site may run.")]
    Backup(store::Backup),
    /// Put keys that a stopped site has lost back from a backup
    #[command(after_help = "Example:\n  medulla keys restore /media/key/a.keys --config site.toml\n\n\
        A backup that has expired, is damaged, another site's, or under another master key is refused. What the key \
        store has stays; of a damaged one, move subjects.keys away first. What the ledger says was shredded is destroyed \
        again when the site starts. A site that has a partner gets its keys from there by itself.")]
    Restore(store::Restore),
}

#[derive(clap::Args)]
pub struct Init {
    /// Where the folders are made
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// A site's name; give it once a site
    #[arg(long = "site", value_name = "NAME", required = true)]
    sites: Vec<String>,
    /// The sites' host names or addresses, in the same order; without them localhost
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Folder of the keys of a former consortium whose ledger this one goes on with
    #[arg(long = "continue", value_name = "DIR")]
    former: Option<PathBuf>,
    /// Further sites of the consortium that DIR/consortium is of
    #[arg(long, requires = "index_key", conflicts_with = "former")]
    join: bool,
    /// With --join: the index key of the consortium, from the folder of any site
    #[arg(long, value_name = "FILE", requires = "join")]
    index_key: Option<PathBuf>,
}

#[derive(clap::Args)]
pub struct Admit {
    /// The site's site-keys.txt
    request: PathBuf,
    /// The authority's private key: authority-key.txt
    #[arg(long, value_name = "FILE")]
    authority: PathBuf,
    /// Instead of site-admission.txt beside the request
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn execute(command: &Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Init(args) => init(args),
        Command::Admit(args) => admit(args),
        Command::Rotate(args) => store::rotate(args),
        Command::Backup(args) => store::backup(args),
        Command::Restore(args) => store::restore(args),
    }
}

fn init(init: &Init) -> anyhow::Result<Verdict> {
    if !init.hosts.is_empty() && init.hosts.len() != init.sites.len() {
        let text = format!(
            "{} sites and {} hosts; give one host a site or none",
            init.sites.len(),
            init.hosts.len()
        );
        return Err(Usage(text).into());
    }
    let host = |position: usize| init.hosts.get(position).map_or("localhost", String::as_str);
    let sites: Vec<(&str, &str)> =
        init.sites.iter().enumerate().map(|(position, site)| (site.as_str(), host(position))).collect();
    let made = match (&init.former, &init.index_key) {
        (Some(former), _) => raft_ledger::keys::init_continuing(&init.dir, &sites, former)?,
        (None, Some(index_key)) => {
            let mut made = Vec::new();
            for (site, host) in &sites {
                let (folder, file) = raft_ledger::keys::join(&init.dir, site, host, index_key)?;
                made.extend([folder, file]);
            }
            made
        }
        (None, None) => raft_ledger::keys::init(&init.dir, &sites)?,
    };
    if !init.join {
        let folder = init.dir.join("consortium");
        eprintln!(
            "keep {} offline: it makes certificates, and its authority-key.txt alone admits further sites",
            folder.display()
        );
    }
    let mut out = out::stdout();
    for path in made {
        writeln!(out, "{}", path.display())?;
    }
    out.flush()?;
    Ok(Verdict::Fine)
}

fn admit(args: &Admit) -> anyhow::Result<Verdict> {
    let admitted = raft_ledger::keys::admit(&args.request, &args.authority, args.out.as_deref())?;
    let mut out = out::stdout();
    if args.json {
        let keys: Vec<&str> = admitted.keys.lines().collect();
        let (site, consortium, file) = (&admitted.site, &admitted.consortium, &admitted.file);
        out::json_line(
            &mut out,
            &json!({ "site": site, "consortium": consortium, "keys": keys, "file": file }),
        )?;
    } else {
        eprint!("admits site {} to {} with\n{}", admitted.site, admitted.consortium, admitted.keys);
        writeln!(out, "{}", admitted.file.display())?;
    }
    out.flush()?;
    Ok(Verdict::Fine)
}
