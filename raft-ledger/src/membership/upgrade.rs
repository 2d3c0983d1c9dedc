//! When the consortium goes on to later rules of apply.
//!
//! An operator says when: a raise cannot be taken back, and from there on the former release is of no use anywhere.
//! Learners are not asked. One whose release is too old stops at the entry, and is refused until it was upgraded.

use std::time::Duration;

use openraft::errors::{ClientWriteError, RaftError};

use super::change::{Done, refuse, unavailable};
use super::list::reaches;
use super::{Membership, Refusal};
use crate::raft::Proposal;
use crate::record::{ApplyVersion, Command};

const COMMIT_WAIT: Duration = Duration::from_secs(20);

impl Membership {
    /// Raises the apply version to the latest that every voter knows; nothing where that is the present one and nobody
    /// knows a later one.
    pub(super) async fn upgrade(&self) -> Done {
        if self.roster.get().is_joint {
            self.settle().await?;
        }
        let voters = self.versions_of_voters()?;
        let now = self.rules.applied();
        let common = voters.iter().map(|(_, version)| *version).min().unwrap_or(now);
        let behind: Vec<&str> =
            voters.iter().filter(|(_, version)| *version <= now).map(|(site, _)| site.as_str()).collect();
        if common > now {
            tracing::info!(from = now, to = common, "the consortium goes on to later rules of apply");
            return self.raise(common).await;
        }
        if behind.len() == voters.len() {
            return Ok(());
        }
        refuse(format!(
            "entries are applied by the rules of version {now}, and the release of site {} knows no later ones: upgrade \
             it first",
            behind.join(", ")
        ))
    }

    /// What the release of each knows, as of now: who is away may come back as another release.
    fn versions_of_voters(&self) -> Result<Vec<(String, u32)>, Refusal> {
        let (known, metrics) = (self.roster.get(), self.metrics());
        let (mut versions, mut away) = (Vec::new(), Vec::new());
        for (id, member) in known.members.iter().filter(|(id, _)| known.voters.contains(id)) {
            let there =
                |peer: &crate::network::Peer| peer.is_connected() && reaches(&metrics, *id) == Some(true);
            let version = match *id == self.roster.node {
                true => Some(self.rules.known()),
                false => self.peers.get(*id).filter(there).and_then(|peer| peer.apply_version()),
            };
            match version {
                Some(version) => versions.push((member.name.clone(), version)),
                None => away.push(member.name.as_str()),
            }
        }
        if away.is_empty() {
            return Ok(versions);
        }
        let away = away.join(", ");
        refuse(format!(
            "site {away} cannot be reached, so what its release knows is not known; bring it back, or end its membership \
             with `medulla site remove`, and try again"
        ))
    }

    async fn raise(&self, apply_version: u32) -> Done {
        self.write(Command::ApplyVersion(ApplyVersion { apply_version })).await
    }

    /// Returns once this site has applied it.
    pub(super) async fn write(&self, command: Command) -> Done {
        let written = self.raft.client_write(Proposal(command.encode()));
        match tokio::time::timeout(COMMIT_WAIT, written).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => Err(Refusal::NotLeader),
            Ok(Err(error)) => Err(unavailable(error)),
            Err(_) => Err(Refusal::Unavailable(
                "no majority confirmed it in time; it may still come to pass: look at `medulla ledger status`".into(),
            )),
        }
    }
}
