//! This site's pen: gathers drafts into batches, seals and signs them, and sees each through to its own apply.
//!
//! Several batches are under way, in order. One that was lost (leader change, broken connection) is sent again
//! as it was signed; apply takes it once. A starting site first opens an epoch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::apply::Refusal;
use crate::call::Place;
use crate::keys::SiteKeys;
use crate::network::Peers;
use crate::observer::{Event, Observer};
use crate::packer::{Packed, Packer, Position};
use crate::passed_over::PassingOn;
use crate::raft::{GROUP, Proposal, Types};
use crate::record::{Command, Hash, OpenEpoch};
use crate::store::applied::load_site;
use crate::store::ledger_store::LedgerStore;
use crate::store::outcomes_of;
use crate::store::state_machine::StateMachine;
use crate::tasks::Tasks;
use crate::{Draft, LedgerError, SHRED};

/// Payload bytes that close a batch.
const BATCH_BYTES: usize = 256 << 10;
/// How long a batch waits for more while others are under way. Without any it waits for nothing.
const LINGER: Duration = Duration::from_millis(2);
const UNDER_WAY_MAX: usize = 16;
/// Of batches that were closed by time alone. Beyond it drafts wait for an outcome, or until they fill a batch: under
/// load a few large batches cost every site less than many small ones.
const SMALL_UNDER_WAY_MAX: usize = 4;
const TICK: Duration = Duration::from_millis(50);
/// Before what may have been lost is sent again.
const RESEND_PAUSE: Duration = Duration::from_millis(100);
/// The same while the leader refuses it time and again, as long as no majority answers that one.
const RESEND_PAUSE_MAX: Duration = Duration::from_millis(1_600);
/// Without any outcome for so long, everything under way is sent again.
const STALL: Duration = Duration::from_secs(3);
/// So often, and other sites are asked to pass it on.
const STALLS: u32 = 2;
const EPOCH_WAIT: Duration = Duration::from_secs(1);

pub(crate) type Drafts = Vec<(Draft, Place)>;

pub(crate) struct Writer {
    pub(crate) keys: Arc<SiteKeys>,
    pub(crate) raft: Raft<Types, StateMachine>,
    pub(crate) peers: Peers,
    pub(crate) store: Arc<LedgerStore>,
    pub(crate) observer: Arc<Observer>,
    pub(crate) packer: Packer,
    pub(crate) calls: mpsc::Receiver<Drafts>,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    /// Told of the first epoch.
    pub(crate) epoch_open: watch::Sender<bool>,
    pub(crate) passing_on: PassingOn,
    pub(crate) tasks: Tasks,
}

/// A batch that was sent and is not applied here yet.
struct Sent {
    hash: Hash,
    command: Bytes,
    /// What its messages were made of; none where it holds chunks.
    drafts: Vec<Draft>,
}

struct State {
    position: Position,
    gathered: VecDeque<(Draft, Place)>,
    gathered_bytes: usize,
    close_at: Option<Instant>,
    under_way: VecDeque<Sent>,
    leader: Option<u64>,
    resend_at: Option<Instant>,
    /// After the next refusal.
    resend_pause: Duration,
    progress_at: Instant,
    /// Since the last outcome.
    stalls: u32,
    /// Told by forwards that failed.
    failed: mpsc::Sender<()>,
}

impl Writer {
    /// Until the calls' channel is closed and all is applied, or the task is dropped.
    pub(crate) async fn run(mut self, done: oneshot::Sender<()>) {
        let mut over: Option<State> = None;
        while let Some(position) = self.open_epoch().await {
            self.epoch_open.send_replace(true);
            let not_taken = over.take().map(|state| self.not_taken(state)).unwrap_or_default();
            let (failed, failures) = mpsc::channel(1);
            let mut state = State::new(position, not_taken, failed);
            if self.write(&mut state, failures).await.is_ok() {
                break;
            }
            tracing::warn!("the epoch of this site ended; opening another");
            over = Some(state);
        }
        // Their callers learn that nothing is known.
        over.iter()
            .flat_map(|state| &state.under_way)
            .for_each(|sent| drop(self.observer.take_back(&sent.hash)));
        // Whoever closes the ledger may have stopped waiting.
        let _ = done.send(());
    }

    /// Asks for an epoch until one is granted. `None` once the ledger closes with nothing left to write.
    async fn open_epoch(&mut self) -> Option<Position> {
        let site = self.keys.site.clone();
        let mut nonces = Vec::new();
        loop {
            let state = self.or_end(load_site(&self.store.generation(), &site));
            let nonce: [u8; 16] = crate::random::bytes();
            nonces.push(nonce);
            let open = OpenEpoch::sign(GROUP, site.clone(), state.epoch, nonce, &self.keys.batch);
            let sent = self.propose(Command::OpenEpoch(open).encode(), None).await;
            let until = Instant::now() + if sent { EPOCH_WAIT } else { RESEND_PAUSE };
            while let Ok(event) = tokio::time::timeout_at(until, self.events.recv()).await {
                match event? {
                    Event::EpochOpened { nonce, epoch } if nonces.contains(&nonce) => {
                        let state = self.or_end(load_site(&self.store.generation(), &site));
                        tracing::info!(epoch, "this site writes");
                        return Some(Position { epoch, next_site_seq: 0, previous: state.previous });
                    }
                    Event::Refused { batch_hash: None, refusal } => {
                        tracing::debug!(?refusal, "no epoch was granted yet");
                        tokio::time::sleep(RESEND_PAUSE).await;
                        break;
                    }
                    _ => {}
                }
            }
            if self.calls.is_closed() && self.calls.is_empty() {
                return None;
            }
        }
    }

    /// What the epoch that is over did not take, in its order: it goes first in the new one, so that nothing that came
    /// later overtakes it. The old epoch is fenced by now, so none of it can still be applied.
    fn not_taken(&self, mut over: State) -> VecDeque<(Draft, Place)> {
        self.resolve_from_store(&mut over);
        let mut left = VecDeque::new();
        for sent in over.under_way {
            left.extend(sent.drafts.into_iter().zip(self.observer.take_back(&sent.hash)));
        }
        left.extend(over.gathered);
        // It may name fewer keys than those that the drafts before it are sealed under now: it must be ordered again.
        left.retain(|(draft, _)| draft.kind != SHRED);
        left
    }

    /// Writes batches of one epoch. `Ok` when the ledger closes, `Err` when the epoch is over.
    async fn write(&mut self, state: &mut State, mut failures: mpsc::Receiver<()>) -> Result<(), EpochOver> {
        let mut metrics = self.raft.server_metrics();
        let mut tick = tokio::time::interval(TICK);
        let mut open = true;
        loop {
            self.send_closed(state).await;
            if !open && state.gathered.is_empty() && state.under_way.is_empty() {
                return Ok(());
            }
            let close_by = state.close_by();
            let room = open && state.gathered_bytes < BATCH_BYTES;
            tokio::select! {
                biased;
                event = self.events.recv() => {
                    self.note(state, event.ok_or(EpochOver)?)?;
                }
                call = self.calls.recv(), if room => match call {
                    Some(drafts) => state.gather(drafts),
                    None => open = false,
                },
                _ = tokio::time::sleep_until(close_by.unwrap_or_else(Instant::now)), if close_by.is_some() => {}
                _ = failures.recv() => state.was_not_taken(),
                changed = metrics.changed() => {
                    if changed.is_err() {
                        // Raft has stopped: this task is about to be.
                        tokio::time::sleep(TICK).await;
                    }
                    let leader = metrics.borrow_watched().current_leader;
                    if leader != state.leader && leader.is_some() && !state.under_way.is_empty() {
                        state.resend_in(Duration::ZERO);
                    }
                    state.leader = leader;
                }
                _ = tick.tick() => self.resend(state).await,
            }
        }
    }

    /// Sends every batch that is full, due, or need not wait.
    async fn send_closed(&mut self, state: &mut State) {
        while let Ok(drafts) = self.calls.try_recv() {
            state.gather(drafts);
            if state.gathered_bytes >= BATCH_BYTES {
                break;
            }
        }
        let now = Instant::now();
        while !state.gathered.is_empty() && state.under_way.len() < UNDER_WAY_MAX {
            let full = state.gathered_bytes >= BATCH_BYTES;
            let due = state.close_by().is_some_and(|at| at <= now);
            if !(full || due || state.under_way.is_empty()) {
                return;
            }
            self.send_batch(state).await;
        }
    }

    async fn send_batch(&mut self, state: &mut State) {
        let (drafts, places) = state.take_batch();
        // If a subject is new, its key is on the disks of enough sites when this returns.
        let packed = self.packer.pack(state.position.clone(), drafts).await;
        let Some(packed) = packed else { return };
        let (Packed { batches, next }, mut drafts) = self.or_end(packed);
        state.position = next;
        if state.under_way.is_empty() {
            state.progress_at = Instant::now();
        }
        // The batches before may hold chunks; the last one holds the messages.
        let last = batches.last().map(|(hash, _)| *hash);
        if let Some(last) = last {
            self.observer.wait_for(last, places);
        }
        for (hash, command) in batches {
            let drafts = if Some(hash) == last { std::mem::take(&mut drafts) } else { Vec::new() };
            state.under_way.push_back(Sent { hash, command: command.clone(), drafts });
            if !self.propose(command, Some(&state.failed)).await {
                state.resend_in(RESEND_PAUSE);
            }
        }
    }

    fn note(&self, state: &mut State, event: Event) -> Result<(), EpochOver> {
        match event {
            Event::Applied { batch_hash } => {
                state.progress();
                state.under_way.retain(|sent| sent.hash != batch_hash);
            }
            Event::SnapshotInstalled => self.resolve_from_store(state),
            Event::EpochOpened { .. } => {}
            Event::Refused { batch_hash, refusal } => {
                let ours = |sent: &Sent| Some(sent.hash) == batch_hash;
                if !state.under_way.iter().any(ours) {
                    return Ok(());
                }
                match refusal {
                    Refusal::Gap => state.resend_in(RESEND_PAUSE),
                    Refusal::Replay => self.resolve_from_store(state),
                    _ => {
                        tracing::error!(?refusal, "a batch of this site was refused");
                        return Err(EpochOver);
                    }
                }
            }
        }
        Ok(())
    }

    /// Batches that a snapshot brought, or that were applied without this task hearing of it.
    fn resolve_from_store(&self, state: &mut State) {
        let generation = self.store.generation();
        state.under_way.retain(|sent| match self.or_end(outcomes_of(&generation, &sent.hash)) {
            Some(outcomes) => {
                self.observer.resolve(&sent.hash, &outcomes);
                false
            }
            None => true,
        });
        state.progress();
    }

    /// If it is time: everything under way once more, in order.
    async fn resend(&self, state: &mut State) {
        let now = Instant::now();
        if !state.under_way.is_empty() && now.duration_since(state.progress_at) > STALL {
            state.progress_at = now;
            state.stalls += 1;
            state.resend_in(Duration::ZERO);
            if let Some(first) = state.under_way.front().filter(|_| state.stalls >= STALLS) {
                self.passing_on.ask(first.command.clone());
            }
        }
        if state.resend_at.is_none_or(|at| at > now) {
            return;
        }
        state.resend_at = None;
        for sent in &state.under_way {
            if !self.propose(sent.command.clone(), Some(&state.failed)).await {
                state.resend_at = Some(now + RESEND_PAUSE);
                return;
            }
        }
    }

    /// Hands a command to the leader as far as this site knows it. False: certainly not taken.
    async fn propose(&self, command: Bytes, failed: Option<&mpsc::Sender<()>>) -> bool {
        let leader = self.raft.server_metrics().borrow_watched().current_leader;
        let Some(leader) = leader else { return false };
        if leader == *self.raft.node_id() {
            return self.raft.client_write_ff(Proposal(command), None).await.is_ok();
        }
        let Some(peer) = self.peers.get(leader) else { return false };
        let answer = peer.forward(command).await;
        let failed = failed.cloned();
        self.tasks.spawn(async move {
            if let Err(error) = answer.await {
                tracing::debug!(%error, "a batch was not taken by the leader");
                if let Some(failed) = failed {
                    // One notice is enough.
                    let _ = failed.try_send(());
                }
            }
        });
        true
    }

    /// What this site signed with must stay readable and its own state legible; otherwise it must not go on.
    fn or_end<T>(&self, result: Result<T, LedgerError>) -> T {
        result.unwrap_or_else(|error| crate::store::end_process("writing this site's batches", &error))
    }
}

/// This epoch takes no more batches.
struct EpochOver;

impl State {
    fn new(position: Position, gathered: VecDeque<(Draft, Place)>, failed: mpsc::Sender<()>) -> State {
        State {
            position,
            gathered_bytes: gathered.iter().map(|(draft, _)| draft.payload.len()).sum(),
            gathered,
            close_at: None,
            under_way: VecDeque::new(),
            leader: None,
            resend_at: None,
            resend_pause: RESEND_PAUSE,
            progress_at: Instant::now(),
            stalls: 0,
            failed,
        }
    }

    fn progress(&mut self) {
        (self.progress_at, self.stalls, self.resend_pause) = (Instant::now(), 0, RESEND_PAUSE);
    }

    fn gather(&mut self, drafts: Drafts) {
        self.gathered_bytes += drafts.iter().map(|(draft, _)| draft.payload.len()).sum::<usize>();
        self.gathered.extend(drafts);
        self.close_at.get_or_insert_with(|| Instant::now() + LINGER);
    }

    /// Drafts of about `BATCH_BYTES`; one that is larger goes alone.
    fn take_batch(&mut self) -> (Vec<Draft>, Vec<Place>) {
        let mut bytes = 0;
        let mut taken = (Vec::new(), Vec::new());
        while let Some((draft, _)) = self.gathered.front() {
            let len = draft.payload.len();
            if !taken.0.is_empty() && (bytes + len > BATCH_BYTES || taken.0.len() == DRAFTS_MAX) {
                break;
            }
            let Some((draft, place)) = self.gathered.pop_front() else { break };
            bytes += len;
            taken.0.push(draft);
            taken.1.push(place);
        }
        self.gathered_bytes -= bytes;
        if self.gathered.is_empty() {
            self.close_at = None;
        }
        taken
    }

    /// When a batch that is not full goes; `None` while the next outcome has to make room for it.
    fn close_by(&self) -> Option<Instant> {
        self.close_at.filter(|_| self.under_way.len() < SMALL_UNDER_WAY_MAX)
    }

    fn was_not_taken(&mut self) {
        // All that was sent together is refused together.
        if self.resend_at.is_none() {
            self.resend_in(self.resend_pause);
            self.resend_pause = (self.resend_pause * 2).min(RESEND_PAUSE_MAX);
        }
    }

    fn resend_in(&mut self, pause: Duration) {
        let at = Instant::now() + pause;
        self.resend_at = Some(self.resend_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// Small payloads: their records are what fills a batch.
const DRAFTS_MAX: usize = 1024;

#[cfg(test)]
mod tests;
