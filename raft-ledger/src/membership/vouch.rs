//! Whether a site that knows a later membership than this one is a member by it.
//!
//! Anybody whose certificate is good may say so: also one that was removed. Whoever else is a member knows better, as
//! far as it can be asked. Where nobody answers its word is taken: this site may be the last that has not heard of the
//! change, and hears of it from that very site.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};

use super::{Membership, Named, Refusal, Request, Told};
use crate::network::Hello;

/// Shorter than the handshake that waits for it.
const ANSWERS_WAIT: Duration = Duration::from_secs(2);

impl Membership {
    pub(crate) async fn is_vouched_for(&self, hello: &Hello) -> bool {
        let named = Named { site: hello.site.clone(), node: hello.node, store: hello.store_id };
        let request = Request::IsMember(named);
        let peers = self.peers.all();
        let others = peers.iter().filter(|(_, peer)| peer.name != hello.site && peer.is_connected());
        let mut answers: FuturesUnordered<_> = others.map(|(_, peer)| peer.membership(&request)).collect();
        let (until, mut is_denied) = (Instant::now() + ANSWERS_WAIT, false);
        while let Ok(Some(answer)) = timeout_at(until, answers.next()).await {
            match answer {
                Ok(Ok(_)) => return true,
                Ok(Err(_)) => is_denied = true,
                // An earlier release does not know the question.
                Err(_) => {}
            }
        }
        !is_denied
    }

    /// What this site answers to another that asks it.
    pub(crate) fn vouches_for(&self, named: &Named) -> Told {
        let known = self.roster.get();
        let is_it = |(id, member): (u64, &crate::raft::Member)| {
            let store = member.store.or_else(|| (self.contacts.store_of)(&named.site));
            named.node == Some(id) && store.is_none_or(|store| store == named.store)
        };
        match known.of_site(&named.site).any(is_it) {
            true => Ok(Vec::new()),
            false => Err(Refusal::Refused(format!("site {} is not known as a member", named.site))),
        }
    }
}
