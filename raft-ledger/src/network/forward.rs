//! What a member hands to this site to propose.

use bytes::Bytes;
use futures_util::FutureExt;
use openraft::Raft;
use openraft::errors::{ClientWriteError, ForwardReason};
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use openraft::type_config::alias::OneshotReceiverOf;

use super::frame::Frame;
use super::server::{Connection, send};
use crate::raft::{Proposal, Types};
use crate::record::{Command, SiteName};
use crate::store::state_machine::StateMachine;

/// On its way into the raft log.
struct HandedIn {
    raft: Raft<Types, StateMachine>,
    result: WhatCame,
}

/// Of what is in the log. Waited for to the end: consensus complains of who does not.
type WhatCame = OneshotReceiverOf<Types, ClientWriteResult<Types>>;

impl Connection {
    /// In the order of arrival: the batches of a site follow one another. The answer, once it is certain, says whether
    /// this site has put it into its log: whoever hands it in may hold a yes against it (`passed_over.rs`), and consensus
    /// takes nothing for a while where no majority answers, or the lead goes elsewhere.
    pub(super) async fn forward(&self, request: Frame) -> Result<(), String> {
        let handed_in = match self.hand_in(request.body).await {
            Ok(Some(handed_in)) => handed_in,
            Ok(None) => return self.answer(request.id, Ok(Bytes::new())).await,
            Err(why) => return self.answer(request.id, Err(why)).await,
        };
        let permit = self.at_once.clone().acquire_owned().await.map_err(|e| e.to_string())?;
        let answers = self.answers.clone();
        self.served.tasks.spawn(async move {
            let (answer, to_come) = match handed_in.when_proposed().await {
                Ok(to_come) => (Ok(Bytes::new()), to_come),
                Err(why) => (Err(why), None),
            };
            let _ = send(&answers, request.id, answer).await;
            drop((permit, answers));
            if let Some(to_come) = to_come {
                let _ = to_come.await;
            }
        });
        Ok(())
    }

    /// `None`: where a test has this site lie, and it says that it took it.
    async fn hand_in(&self, command: Bytes) -> Result<Option<HandedIn>, String> {
        let raft = &self.served.raft;
        if !raft.is_leader() {
            return Err("this site does not lead".into());
        }
        let caller = &self.caller;
        if !self.served.membership.is_member(&caller.site, caller.node) {
            return Err(format!("site {} is no member of this consortium", caller.site));
        }
        self.is_made_by_a_site(&command)?;
        #[cfg(test)]
        if self.served.observer.leaves_out(&command) {
            return Ok(None);
        }
        let (responder, result) = ProgressResponder::complete_only();
        let taken = raft.client_write_ff(Proposal(command), Some(responder)).await;
        taken.map_err(|error| error.to_string())?;
        Ok(Some(HandedIn { raft: raft.clone(), result }))
    }

    /// Whether a site has made what the caller wants to have proposed: what is in somebody's name without that, the others
    /// hold against the leader. A batch may be passed on for its site.
    fn is_made_by_a_site(&self, command: &Bytes) -> Result<(), String> {
        let verifiers = self.served.cosigner.keys().verifiers();
        let key_of =
            |site: &SiteName| verifiers.batches.get(site).filter(|_| site.as_str() == self.caller.site);
        let is_signed = match Command::decode(command.clone()) {
            Ok(Command::Batch(batch)) => {
                verifiers.batches.get(&batch.head.site).is_some_and(|key| batch.verify(key).is_ok())
            }
            Ok(Command::OpenEpoch(open)) => key_of(&open.site).is_some_and(|key| open.verify(key)),
            // The leader alone raises the apply version, and passes on whom the authority has admitted.
            Ok(Command::ApplyVersion(_) | Command::NewSite(_) | Command::Unknown(_)) | Err(_) => false,
        };
        is_signed
            .then_some(())
            .ok_or_else(|| format!("this command was not made by site {}", self.caller.site))
    }
}

impl HandedIn {
    /// What is still to come of it, if anything is.
    async fn when_proposed(mut self) -> Result<Option<WhatCame>, String> {
        // Behind the command in the queue of consensus: when this is answered, that was put into the log or refused.
        self.raft.with_raft_state(|_| ()).await.map_err(|error| error.to_string())?;
        match (&mut self.result).now_or_never() {
            None => Ok(Some(self.result)),
            Some(Ok(Ok(_))) => Ok(None),
            Some(Ok(Err(error))) => Err(format!("not proposed: {}", why(&error))),
            Some(Err(_)) => Err("not proposed: consensus is stopping".to_owned()),
        }
    }
}

fn why(error: &ClientWriteError<Types>) -> String {
    let ClientWriteError::ForwardToLeader(to) = error else { return error.to_string() };
    match to.reason {
        ForwardReason::LeaseExpired => "no majority answers this site".to_owned(),
        ForwardReason::LeadershipTransfer => "the lead is going to another site".to_owned(),
        ForwardReason::NotLeader => "this site does not lead any more".to_owned(),
    }
}
