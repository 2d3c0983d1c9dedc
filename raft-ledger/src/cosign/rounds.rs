//! Once a second, when there is something new: a checkpoint of a common size, and everybody's signature under it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use openraft::Raft;
use tokio::time::{Instant, MissedTickBehavior};

use super::cosigner::{Cosigner, Refusal, Request};
use super::evidence::{Evidence, Suspicion, TwoEntries};
use super::newest::{Gathered, Newest};
use super::testimony::{ASKED_ENOUGH, Testimonies};
use super::voting::Voting;
use crate::authors::{SHOWN_MAX, Sending, contradiction};
use crate::blocking;
use crate::network::{Peer, Peers};
use crate::observer::Observer;
use crate::raft::Types;
use crate::store::state_machine::StateMachine;

const PERIOD: Duration = Duration::from_secs(1);
/// Ticks after which a site that does not lead proposes a size itself: it was away when the others agreed on one.
const PATIENCE_TICKS: u32 = 5;
const ANSWERS_WAIT: Duration = Duration::from_secs(2);
/// How long the slower sites are waited for once a majority has answered.
const MAJORITY_WAIT: Duration = Duration::from_millis(200);

/// What a comparison of the entries that leaders have sent came to.
struct Compared {
    /// A leader has sent two entries for one place.
    is_split: bool,
    /// Everybody who is connected has answered.
    is_complete: bool,
}

/// The background task that makes this site's checkpoints.
pub(crate) struct Rounds {
    pub(crate) cosigner: Arc<Cosigner>,
    pub(crate) newest: Arc<Newest>,
    pub(crate) observer: Arc<Observer>,
    pub(crate) raft: Raft<Types, StateMachine>,
    pub(crate) peers: Peers,
}

impl Rounds {
    /// Until the task is dropped.
    pub(crate) async fn run(self) {
        let mut tick = tokio::time::interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked = self.cosigner.watch_asked();
        let (mut silence, mut shown) = (Silence::default(), String::new());
        let Some(mut suspicions) = self.observer.suspicions() else { return };
        let mut voting = Voting::default();
        loop {
            let ticked = tokio::select! {
                biased;
                _ = tick.tick() => true,
                _ = asked.changed() => false,
                Some(suspicion) = suspicions.recv() => {
                    if let Err(refusal) = self.look_into(suspicion, &mut voting).await {
                        tracing::warn!(%refusal, "what another site did could not be looked into");
                    }
                    continue;
                }
            };
            if ticked && let Err(refusal) = self.vote(&mut voting).await {
                tracing::warn!(%refusal, "what another site signed could not be compared");
            }
            let applied = self.observer.view().size;
            if ticked && let Err(refusal) = self.testimony().await {
                tracing::warn!(%refusal, "what a leader did could not be kept as evidence");
            }
            if ticked {
                silence.tick(applied, self.newest.size());
            }
            let mut size = (*asked.borrow_and_update()).max(self.cosigner.cosigned_size());
            if ticked && (self.raft.is_leader() || silence.is_long()) {
                size = size.max(applied);
            }
            if size <= self.newest.size() {
                continue;
            }
            match self.round(size).await {
                Ok(()) => shown.clear(),
                Err(refusal) => show(&refusal, &mut shown),
            }
        }
    }

    async fn look_into(&self, suspicion: Suspicion, voting: &mut Voting) -> Result<(), Refusal> {
        let cosigner = self.cosigner.clone();
        match suspicion {
            Suspicion::OtherRoot(note) => {
                voting.on(note);
                self.vote(voting).await
            }
            Suspicion::TwoBatches(found) => {
                let site = found.site.as_str().to_owned();
                blocking::attempt(move || Ok(cosigner.blame.convict(&site, &Evidence::TwoBatches(found))?))
                    .await
            }
            Suspicion::Testified(what) => {
                cosigner.witness.saw(what);
                Ok(())
            }
        }
    }

    /// Asks all others whether they have seen a leader do what this site has seen, if it has seen anything.
    async fn testimony(&self) -> Result<(), Refusal> {
        let Some((what, asked)) = self.cosigner.witness.next() else { return Ok(()) };
        let peers = self.peers.all();
        let ask = |peer: Peer| {
            let what = what.clone();
            async move { Some((peer.name.clone(), peer.testify(&what).await.ok()?)) }
        };
        let mut answers: FuturesUnordered<_> = peers.into_iter().map(|(_, peer)| ask(peer)).collect();
        let mut words = Testimonies::new();
        let deadline = Instant::now() + ANSWERS_WAIT;
        while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, answers.next()).await {
            words.extend(answer);
        }
        let voters = self.newest.voters();
        let Some(words) = self.cosigner.witness.majority(&what, words, &voters) else {
            // Each site may have been sent something else to refuse: their roots are the same then.
            return if asked == ASKED_ENOUGH { self.compare_entries().await.map(drop) } else { Ok(()) };
        };
        self.cosigner.witness.is_proven(&what);
        let (cosigner, site) = (self.cosigner.clone(), what.leader.clone());
        blocking::attempt(move || Ok(cosigner.blame.convict(&site, &Evidence::Testified(what, words))?)).await
    }

    /// Asks all others what leaders have sent to them, and compares: where two sites were sent two entries the roots
    /// differ, too, and neither of the two is to blame.
    async fn compare_entries(&self) -> Result<Compared, Refusal> {
        let peers = self.peers.all();
        let connected = peers.into_iter().filter(|(_, peer)| peer.is_connected());
        let mut answers: FuturesUnordered<_> =
            connected.map(|(_, peer)| async move { peer.sent().await }).collect();
        let (mut sendings, mut missing) = (self.observer.authors.all_signed(), answers.len());
        let deadline = Instant::now() + ANSWERS_WAIT;
        while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, answers.next()).await {
            let Ok(theirs) = answer else { continue };
            missing -= 1;
            // An honest site shows no more.
            if theirs.iter().map(|sending| sending.entries.len()).sum::<usize>() <= SHOWN_MAX {
                sendings.extend(theirs);
            }
        }
        let cosigner = self.cosigner.clone();
        let is_split = blocking::attempt(move || {
            let Some(found) = two_entries(&cosigner, &sendings) else { return Ok::<_, Refusal>(false) };
            let site = found.sendings[0].leader.clone();
            cosigner.blame.convict(&site, &Evidence::TwoEntries(found))?;
            Ok(true)
        });
        Ok(Compared { is_split: is_split.await?, is_complete: missing == 0 })
    }

    /// If it is time for one: asks all others what they sign at the size of a note whose root is not this site's.
    async fn vote(&self, voting: &mut Voting) -> Result<(), Refusal> {
        let Some(note) = voting.next() else { return Ok(()) };
        let compared = self.compare_entries().await?;
        if compared.is_split {
            // Whoever's root is another one may be who was deceived.
            voting.is_over();
            return Ok(());
        }
        if !compared.is_complete && !voting.is_last() {
            return Ok(());
        }
        let cosigner = self.cosigner.clone();
        let (own, note) =
            blocking::attempt(move || cosigner.sign_beside(&note).map(|own| (own, note))).await?;
        let request = Request { note: own.clone(), gathered: None }.encode();
        let peers = self.peers.all();
        let mut answers: FuturesUnordered<_> =
            peers.iter().map(|(_, peer)| peer.cosign(request.clone())).collect();
        let mut votes = Vec::new();
        let deadline = Instant::now() + ANSWERS_WAIT;
        while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, answers.next()).await {
            votes.extend(answer.map(|lines| String::from_utf8_lossy(&lines).into_owned()));
        }
        let (cosigner, voters) = (self.cosigner.clone(), self.newest.voters());
        let outvoted = move || Ok::<_, Refusal>(cosigner.blame.outvote(&note, &own, &votes, &voters)?);
        if blocking::attempt(outvoted).await? {
            voting.is_over();
        }
        Ok(())
    }

    async fn round(&self, size: u64) -> Result<(), Refusal> {
        let cosigner = self.cosigner.clone();
        let vouched = blocking::attempt(move || cosigner.sign(size)).await?;
        let gathered = self.newest.get().map(|newest| newest.note);
        let request = Request { note: vouched.note(), gathered }.encode();
        let mut gathered = Gathered::new(vouched, self.cosigner.keys());
        let peers = self.peers.all();
        let mut answers: FuturesUnordered<_> =
            peers.iter().map(|(_, peer)| peer.cosign(request.clone())).collect();
        let trusted = self.cosigner.blame.trusted_cosigners();
        let mut signed = Vec::new();
        let mut deadline = Instant::now() + ANSWERS_WAIT;
        while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, answers.next()).await {
            match answer {
                Ok(lines) => {
                    let lines = String::from_utf8_lossy(&lines).into_owned();
                    gathered.add(&lines, &trusted);
                    signed.push(gathered.note_with(&lines));
                }
                Err(error) => tracing::debug!(%error, size, "no cosignature"),
            }
            if self.newest.counts(&gathered) {
                deadline = deadline.min(Instant::now() + MAJORITY_WAIT);
            }
        }
        let (newest, cosigner) = (self.newest.clone(), self.cosigner.clone());
        blocking::attempt(move || {
            // What the others signed here must be what they sign elsewhere.
            for note in &signed {
                cosigner.blame.see(note)?;
            }
            Ok(newest.put(&gathered)?)
        })
        .await
    }
}

fn two_entries(cosigner: &Cosigner, sendings: &[Sending]) -> Option<TwoEntries> {
    let verifiers = cosigner.keys().verifiers();
    let is_signed =
        |sending: &Sending| verifiers.batch_key(&sending.leader).is_some_and(|key| sending.is_signed_by(key));
    let (index, sendings) = contradiction(sendings, is_signed)?;
    Some(TwoEntries { index, sendings })
}

/// For how long there has been something to sign, and nothing came of it.
#[derive(Default)]
struct Silence {
    ticks: u32,
    newest: u64,
}

impl Silence {
    fn tick(&mut self, applied: u64, newest: u64) {
        let waits = applied > newest && newest == self.newest;
        self.ticks = if waits { self.ticks + 1 } else { 0 };
        self.newest = newest;
    }

    fn is_long(&self) -> bool {
        self.ticks > PATIENCE_TICKS
    }
}

/// Each reason once, until something else happens. A size that is not applied here yet is ordinary.
fn show(refusal: &Refusal, shown: &mut String) {
    let text = refusal.to_string();
    match refusal {
        Refusal::Ahead { .. } | Refusal::Smaller { .. } => tracing::debug!(%refusal, "no checkpoint"),
        _ if text != *shown => {
            tracing::error!(%refusal, "this site signs no checkpoint");
            *shown = text;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hears_of_checkpoints_proposes_none() {
        let mut silence = Silence::default();
        // Under load there always is more to sign, but checkpoints come.
        (0..20).for_each(|n| silence.tick(n * 100 + 50, n * 100));
        assert!(!silence.is_long());
        (0..PATIENCE_TICKS).for_each(|_| silence.tick(2000, 1900));
        assert!(!silence.is_long());
        (0..2).for_each(|_| silence.tick(2000, 1900));
        assert!(silence.is_long());
        silence.tick(2000, 2000);
        assert!(!silence.is_long());
    }
}
