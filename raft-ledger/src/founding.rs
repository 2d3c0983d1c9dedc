//! Which node a starting site is, and where it finds the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::LedgerError;
use crate::config::Config;
use crate::keys::SiteKeys;
use crate::membership::{Candidate, Contacts};
use crate::network::{self, Identity, Tls};
use crate::raft::{LogId, Member};
use crate::record::SiteName;
use crate::store::LogStore;
use crate::store::applied::Applied;

/// The founding members among this site and its peers, numbered by their places among the sites of `public.json`. Who is
/// not in there has joined later, or is about to: the ledger tells.
pub(crate) fn founders(config: &Config, keys: &SiteKeys) -> Result<BTreeMap<u64, Member>, LedgerError> {
    if config.site != keys.site.as_str() {
        return Err(LedgerError::Config(format!(
            "site {} is configured with the keys of site {} ({})",
            config.site,
            keys.site,
            config.keys.display()
        )));
    }
    // In the order of their names.
    let known: Vec<&SiteName> = keys.ring.founders().keys().collect();
    if config.initialise && !known.contains(&&keys.site) {
        return Err(LedgerError::Config(format!(
            "site {} joins a consortium that there is: set `initialise = false`, and let it in with `medulla site add`",
            config.site
        )));
    }
    let names = std::iter::once(&config.site).chain(config.peers.iter().map(|peer| &peer.name));
    let mut members = BTreeMap::new();
    for name in names {
        let Some(place) = known.iter().position(|site| site.as_str() == name) else {
            continue;
        };
        if members.insert(place as u64, Member::founder(name)).is_some() {
            return Err(LedgerError::Config(format!("site {name} is configured twice")));
        }
    }
    Ok(members)
}

/// The founders and the later sites among the peers, whose nodes only the ledger tells: whoever asks them while it heals
/// goes by their names.
pub(crate) fn configured(config: &Config, founders: &BTreeMap<u64, Member>) -> BTreeMap<u64, Member> {
    let is_founder = |name: &str| founders.values().any(|member| member.name == name);
    let later = config.peers.iter().filter(|peer| peer.name != config.site && !is_founder(&peer.name));
    let later = (0..).zip(later).map(|(n, peer)| (u64::MAX - n, Member::founder(&peer.name)));
    founders.iter().map(|(node, member)| (*node, member.clone())).chain(later).collect()
}

/// Whether the ledger comes from a consortium that has lived. The first entry of one that goes on from a backup
/// (`backup/restore.rs`) stands alone: its sites are founders.
fn has_members(applied: &Applied) -> bool {
    let begins =
        |first: &LogId| first.leader_id.term == 0 && first.index > 0 && applied.last.as_ref() == Some(first);
    applied.membership.log_id().as_ref().is_some_and(|first| !begins(first))
}

/// The node that this site's raft log is, and whether it is a founder's. `applied`: what the ledger holds, if it can be
/// told yet.
pub(crate) fn own_node(
    log: &LogStore,
    founders: &BTreeMap<u64, Member>,
    site: &str,
    applied: Option<&Applied>,
) -> Result<(u64, bool), LedgerError> {
    log.renew()?;
    if let Some(id) = log.node_id()? {
        return Ok((id, false));
    }
    if let Some(applied) = applied.filter(|applied| log.is_blank() && has_members(applied)) {
        let members = applied.membership.membership();
        let mut voters = members.voter_ids().filter_map(|id| members.get_node(&id));
        if voters.all(|voter| voter.name == site) {
            return Err(LedgerError::Damaged(format!(
                "the raft log of site {site} is gone, and no other site votes: nobody can let it in as a new node. Put \
                 its data back, or begin a new consortium with its ledger: `medulla ledger backup`, `medulla keys init \
                 --continue`, `medulla ledger restore --new-consortium`"
            )));
        }
        // Its raft log is gone, and with it the votes that it gave: it must not go on as the old member.
        return Ok((log.set_new_node()?, false));
    }
    match founders.iter().find(|(_, member)| member.name == site) {
        Some((id, _)) => Ok((*id, true)),
        // It joins a consortium that was founded without it.
        None => Ok((log.set_new_node()?, false)),
    }
}

/// Peers that neither the founders nor the ledger know: about to join, or misspelt.
pub(crate) fn tell_unknown(config: &Config, keys: &SiteKeys) {
    for peer in config.peers.iter().filter(|peer| !keys.ring.knows(&peer.name)) {
        tracing::warn!(
            site = %peer.name,
            "a peer in the configuration has no keys yet, neither in public.json nor in the ledger: until `medulla site \
             add` brings them it is nobody"
        );
    }
}

/// Where the configuration says that a site is.
pub(crate) fn address_of(config: &Config) -> impl Fn(&str) -> Option<String> + Send + Sync + use<> {
    let peers = config.peers.clone();
    move |site| peers.iter().find(|peer| peer.name == site).map(|peer| peer.address.clone())
}

pub(crate) fn contacts(config: &Config, tls: &Tls, identity: &Arc<Identity>) -> Contacts {
    let (tls, dialer, known, own) = (tls.clone(), identity.clone(), identity.clone(), config.site.clone());
    let probe = move |site: String, address: String| {
        let (tls, identity) = (tls.clone(), dialer.clone());
        let asked = async move {
            let hello = network::probe(&tls, &identity, &address, &site).await?;
            let older = || "its release cannot join a running consortium; upgrade it".to_owned();
            let (node, store) = (hello.node.ok_or_else(older)?, hello.store_id);
            Ok(Candidate { node, store, apply_version: hello.apply_version, keys: hello.keys })
        };
        Box::pin(asked) as BoxFuture<'static, _>
    };
    let store_of = move |site: &str| match site == own {
        true => Some(known.store_id),
        false => known.known_store(site).ok().flatten(),
    };
    Contacts {
        probe: Box::new(probe),
        store_of: Box::new(store_of),
        address_of: Box::new(address_of(config)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PeerConfig;

    #[test]
    fn a_site_that_heals_asks_later_sites_too() {
        let mut config = Config::new("a", "data", "keys");
        let peer = |name: &&str| PeerConfig { name: (*name).to_owned(), address: String::new() };
        config.peers = ["b", "d", "e"].iter().map(peer).collect();
        let founders = BTreeMap::from([(0, Member::founder("a")), (1, Member::founder("b"))]);
        let all = configured(&config, &founders);
        let names: Vec<_> = all.values().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "e", "d"]);
        assert!(founders.keys().all(|node| all.contains_key(node)));
    }
}
