//! From the outbox to the ledger, in order, several calls under way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::Shared;
use super::keep::Work;
use super::left_over::Entries;
use super::queue::{Done, Held};
use crate::call::{InFlight, places, weigh};
use crate::tasks::Tasks;
use crate::writer::Drafts;
use crate::{Draft, LedgerError, Outcome};

const PAGE_BYTES: u64 = 256 << 10;
const PAGE_MAX: usize = 512;
/// So that other feeds find room in the ledger's limit, too.
const UNDER_WAY_MAX: usize = 8;
/// Before the ledger is asked again whether it has room.
const PUSHBACK_PAUSE: Duration = Duration::from_millis(2);
const SPACE_PAUSE: Duration = Duration::from_secs(1);
/// Before what was given up is sent again.
const RESEND_PAUSE: Duration = Duration::from_millis(100);
/// Before what cannot be read is tried again.
const DAMAGE_PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Forwarder {
    pub(super) shared: Arc<Shared>,
    pub(super) entries: Entries,
    /// Where the entries of what is left over are looked for.
    pub(super) entries_from: u64,
    /// What is before it was put by an earlier process.
    pub(super) left_over: u64,
    pub(super) epoch_open: watch::Receiver<bool>,
    pub(super) tail: watch::Receiver<u64>,
    pub(super) work: mpsc::Sender<Work>,
    pub(super) calls: mpsc::WeakSender<Drafts>,
    pub(super) in_flight: InFlight,
    pub(super) in_flight_bytes_max: usize,
    pub(super) space_low: Arc<AtomicBool>,
    pub(super) tasks: Tasks,
}

/// One call to the ledger.
struct Sent {
    first: u64,
    done: Vec<Done>,
    answer: oneshot::Receiver<Vec<Outcome>>,
}

/// What was read and not sent yet.
struct Page {
    first: u64,
    done: Vec<Done>,
    /// Without those that are entries already.
    drafts: Vec<Draft>,
}

enum Unsent {
    /// Ask again after this.
    Wait(Page, Duration),
    Closed,
}

impl Forwarder {
    /// Until the ledger closes.
    pub(super) async fn run(mut self) {
        let mut next = self.shared.queue.ends().head;
        if next < self.left_over && self.epoch_open.wait_for(|open| *open).await.is_err() {
            return;
        }
        let mut ready = None;
        let mut under_way = VecDeque::new();
        loop {
            let mut pause = None;
            while under_way.len() < UNDER_WAY_MAX
                && (ready.is_some() || next < *self.tail.borrow_and_update())
            {
                let page = match ready.take() {
                    Some(page) => page,
                    None => match self.read(next).await {
                        Some(Ok(page)) => page,
                        Some(Err(error)) => {
                            self.note_damage(&error);
                            pause = Some(DAMAGE_PAUSE);
                            break;
                        }
                        None => return,
                    },
                };
                next = page.first + page.done.len() as u64;
                match self.send(page) {
                    Ok(sent) => under_way.push_back(sent),
                    Err(Unsent::Wait(page, time)) => {
                        (ready, pause) = (Some(page), Some(time));
                        break;
                    }
                    Err(Unsent::Closed) => return self.finish(under_way).await,
                }
            }
            let full = under_way.len() >= UNDER_WAY_MAX;
            tokio::select! {
                biased;
                outcomes = answer(&mut under_way), if !under_way.is_empty() => {
                    let Some(sent) = under_way.pop_front() else { continue };
                    if let Some(outcomes) = outcomes {
                        self.committed(sent.done, &outcomes).await;
                    } else {
                        (next, ready) = (self.give_up(sent, &mut under_way).await, None);
                    }
                }
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
                changed = self.tail.changed(), if pause.is_none() && !full => if changed.is_err() { return },
            }
        }
    }

    async fn read(&mut self, from: u64) -> Option<Result<Page, LedgerError>> {
        let (shared, upto) = (self.shared.clone(), *self.tail.borrow());
        let entries = (from < self.left_over).then(|| (self.entries.clone(), self.entries_from));
        let read = move || {
            let held = shared.queue.page(from, upto, PAGE_BYTES, PAGE_MAX)?;
            let found = match entries {
                Some((entries, from)) => entries.find(&held, from)?,
                None => vec![None; held.len()],
            };
            Ok((held, found))
        };
        let (held, found) = match self.tasks.blocking(read).await? {
            Ok(read) => read,
            Err(error) => return Some(Err(error)),
        };
        match found.iter().flatten().last() {
            Some(index) => self.entries_from = index + 1,
            // They were sent in order: from here on none was. What cannot be opened tells nothing of it.
            None if held.iter().any(|held| held.draft.is_some()) => self.left_over = 0,
            None => {}
        }
        let done = held.iter().map(Held::done).collect();
        let fresh = held.into_iter().zip(found).filter(|(_, found)| found.is_none());
        let drafts = fresh.filter_map(|(held, _)| held.draft).collect();
        Some(Ok(Page { first: from, done, drafts }))
    }

    fn send(&self, page: Page) -> Result<Sent, Unsent> {
        if page.drafts.is_empty() {
            // Entries already, all of them.
            let (told, answer) = oneshot::channel();
            let _ = told.send(Vec::new());
            return Ok(Sent { first: page.first, done: page.done, answer });
        }
        if self.space_low.load(Ordering::Relaxed) {
            return Err(Unsent::Wait(page, SPACE_PAUSE));
        }
        let Some(calls) = self.calls.upgrade() else { return Err(Unsent::Closed) };
        let Ok(permit) = calls.try_reserve() else { return Err(Unsent::Wait(page, PUSHBACK_PAUSE)) };
        // They were weighed when they were put.
        let bytes = weigh(&page.drafts).unwrap_or(usize::MAX);
        let Some(share) = self.in_flight.take(bytes, self.in_flight_bytes_max) else {
            return Err(Unsent::Wait(page, PUSHBACK_PAUSE));
        };
        let (places, answer) = places(page.drafts.len(), share);
        permit.send(page.drafts.into_iter().zip(places).collect());
        Ok(Sent { first: page.first, done: page.done, answer })
    }

    async fn committed(&self, done: Vec<Done>, outcomes: &[Outcome]) {
        let duplicates = outcomes.iter().filter(|outcome| outcome.duplicate).count() as u64;
        self.shared.forwarded.fetch_add(outcomes.len() as u64, Ordering::Relaxed);
        self.shared.duplicates.fetch_add(duplicates, Ordering::Relaxed);
        self.shared.set_fault(None);
        self.shared.head.send_modify(|head| *head += done.len() as u64);
        // Only when the ledger is closing: the next process then finds them to be entries.
        let _ = self.work.send(Work::Remove(done)).await;
    }

    /// The ledger gave up on a call, so what became of it is not known: from it on all is sent again, after every
    /// later call has its answer too. Where to go on.
    async fn give_up(&self, sent: Sent, under_way: &mut VecDeque<Sent>) -> u64 {
        tracing::warn!(first = sent.first, "the outbox forwards again what the ledger gave up");
        for later in under_way.drain(..) {
            let _ = later.answer.await;
        }
        tokio::time::sleep(RESEND_PAUSE).await;
        sent.first
    }

    /// The ledger closes: what is under way may still be committed.
    async fn finish(&self, under_way: VecDeque<Sent>) {
        for sent in under_way {
            let Ok(outcomes) = sent.answer.await else { return };
            self.committed(sent.done, &outcomes).await;
        }
    }

    fn note_damage(&self, error: &LedgerError) {
        tracing::error!(%error, "the outbox cannot be forwarded; restore this site's data or ask for help");
        self.shared.set_fault(Some(error.to_string()));
    }
}

/// The outcomes of the call that was sent first; `None`: it was given up.
async fn answer(under_way: &mut VecDeque<Sent>) -> Option<Vec<Outcome>> {
    (&mut under_way.front_mut()?.answer).await.ok()
}
