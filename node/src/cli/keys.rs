//! `medulla keys init`: the keys of a consortium, for trials.

use std::io::Write;
use std::path::PathBuf;

use super::{Usage, Verdict, out};

/// Make the keys of sites
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make keys and a consortium CA: one folder a site, and one to keep offline
    #[command(after_help = "Example:\n  medulla keys init --dir keys --site a --site b --site c \
        --host 10.0.0.1 --host 10.0.0.2 --host 10.0.0.3\n\n\
        Prints the sites' folders (with --join also the files for `site add --keys`). Overwrites \
        nothing. Keep DIR/consortium offline: it admits further sites.\n\n\
        A new consortium that goes on with the ledger of a lost one (`medulla ledger restore --new-consortium`):\n  \
        medulla keys init --dir keys-2 --site a --site b --site c --continue keys\n\
        takes its index key and each site's master key over, so that entries are found and read, and keeps its \
        batch keys to judge old batches by.\n\n\
        A further site of a running consortium:\n  \
        medulla keys init --dir keys --join --site d --host 10.0.0.4 --index-key keys/a/index-key.hex\n\
        where DIR/consortium is, whose authority signs its certificate. The index key, which all sites share, comes \
        from the folder of any site. Bring the folder to the new site as you brought the others' theirs, start it, and \
        let it in with `medulla site add d --address HOST:PORT --keys keys/d/site-keys.txt`.")]
    Init(Init),
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
    /// Further sites of the consortium whose authority is DIR/consortium
    #[arg(long, requires = "index_key", conflicts_with = "former")]
    join: bool,
    /// With --join: the index key of the consortium, from the folder of any site
    #[arg(long, value_name = "FILE", requires = "join")]
    index_key: Option<PathBuf>,
}

pub fn execute(command: &Command) -> anyhow::Result<Verdict> {
    let Command::Init(init) = command;
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
            let join =
                |(site, host): &(&str, &str)| raft_ledger::keys::join(&init.dir, site, host, index_key);
            sites
                .iter()
                .map(join)
                .collect::<Result<Vec<_>, _>>()?
                .into_iter()
                .flat_map(|(dir, file)| [dir, file])
                .collect()
        }
        (None, None) => raft_ledger::keys::init(&init.dir, &sites)?,
    };
    let mut out = out::stdout();
    for folder in made {
        writeln!(out, "{}", folder.display())?;
    }
    out.flush()?;
    Ok(Verdict::Fine)
}
