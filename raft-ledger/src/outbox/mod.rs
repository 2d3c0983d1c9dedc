//! The site's outbox: drafts are durable here (D1) before a quorum has them (D2), and are forwarded to the ledger
//! in the order in which they were put. Always: with a quorum it is a short stop on the way, without one it grows
//! up to its bound.
//!
//! ```text
//! put → Keeper (one fsync for all that came meanwhile) → sitedb → Forwarder → the ledger's own writer
//!            ▲                                                        │ own apply
//!            └───────────────── removed with the next fsync ──────────┘
//! ```
//! A crash between commit and removal leaves a draft that is an entry: the next process looks for its entry before
//! it forwards (`left_over.rs`), and within the ledger's window its dedupe key makes one entry of it in any case.

mod forward;
mod keep;
mod left_over;
mod queue;
mod record;
mod room;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use self::left_over::Entries;
pub use self::room::OutboxState;

use self::forward::Forwarder;
use self::keep::{Hold, Keeper, Taken, Work};
use self::queue::{Put, Queue};
use self::room::Room;
use crate::call::{InFlight, weigh};
use crate::store::SiteDb;
use crate::tasks::Tasks;
use crate::types::OWN_KINDS;
use crate::writer::Drafts;
use crate::{AppendError, Draft, LedgerError};

/// Messages that wait for their fsync, beside the limit in bytes.
const WORK_MAX: usize = 4096;

/// Takes drafts at this site. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
    work: mpsc::Sender<Work>,
    /// Bytes that were taken and are not on the disk yet.
    in_flight: InFlight,
    in_flight_bytes_max: usize,
    space_low: Arc<AtomicBool>,
    reserve_bytes: u64,
}

/// What the outbox is made of.
pub(crate) struct Parts {
    pub(crate) site_db: Arc<SiteDb>,
    pub(crate) entries: Entries,
    pub(crate) bytes_max: u64,
    pub(crate) in_flight_bytes_max: usize,
    /// Below so much free space nothing is put.
    pub(crate) reserve_bytes: u64,
    /// True once this process may write: what an earlier one sent is applied here then, or never will be.
    pub(crate) epoch_open: watch::Receiver<bool>,
    /// The ledger's writer; closed when the ledger closes.
    pub(crate) calls: mpsc::WeakSender<Drafts>,
    pub(crate) calls_in_flight: InFlight,
    pub(crate) space_low: Arc<AtomicBool>,
    pub(crate) tasks: Tasks,
}

struct Shared {
    queue: Queue,
    room: Mutex<Room>,
    /// Number of the first draft that is not committed.
    head: watch::Sender<u64>,
    /// Number of the next draft to be on the disk.
    tail: watch::Sender<u64>,
    /// What nobody who appends past the outbox may overtake ends here.
    left_over: AtomicU64,
    forwarded: AtomicU64,
    duplicates: AtomicU64,
    fault: Mutex<Option<String>>,
}

/// One message is on this site's disk.
#[derive(Debug)]
pub struct Stored {
    /// What the answer should wait for, so that senders slow down while the outbox fills.
    pub delay: Duration,
    upto: u64,
    head: watch::Receiver<u64>,
}

/// The outbox is empty and held while this lives.
pub(crate) struct Emptied {
    _release: oneshot::Sender<()>,
}

/// What people see of the outbox.
#[derive(Clone, Debug, Default, Serialize)]
pub struct OutboxStatus {
    pub state: OutboxState,
    /// Drafts that wait.
    pub entries: u64,
    pub bytes: u64,
    /// The configured bound, or what the disk allows.
    pub limit_bytes: u64,
    /// When the oldest was put, milliseconds since the Unix epoch.
    pub oldest_ms: Option<i64>,
    /// Since the process began: committed, and told to be duplicates by the ledger.
    pub forwarded: u64,
    pub duplicates: u64,
    /// Why nothing is forwarded, beside the want of a quorum.
    pub fault: Option<String>,
}

impl Outbox {
    pub(crate) fn open(parts: Parts) -> Result<Outbox, LedgerError> {
        let queue = Queue::open(parts.site_db, parts.entries.sealer.clone())?;
        let ends = queue.ends();
        if ends.entries() > 0 {
            tracing::info!(entries = ends.entries(), bytes = ends.bytes(), "the outbox goes on forwarding");
        }
        let shared = Arc::new(Shared {
            room: Mutex::new(Room::new(parts.bytes_max, ends.bytes())),
            head: watch::Sender::new(ends.head),
            tail: watch::Sender::new(ends.tail),
            left_over: AtomicU64::new(ends.tail),
            queue,
            forwarded: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            fault: Mutex::default(),
        });
        let (work, coming) = mpsc::channel(WORK_MAX);
        parts.tasks.spawn(Keeper::new(shared.clone(), coming, parts.tasks.clone()).run());
        let forwarder = Forwarder {
            shared: shared.clone(),
            entries: parts.entries,
            entries_from: 0,
            left_over: ends.tail,
            epoch_open: parts.epoch_open,
            tail: shared.tail.subscribe(),
            work: work.clone(),
            calls: parts.calls,
            in_flight: parts.calls_in_flight,
            in_flight_bytes_max: parts.in_flight_bytes_max,
            space_low: parts.space_low.clone(),
            tasks: parts.tasks.clone(),
        };
        parts.tasks.spawn(forwarder.run());
        Ok(Outbox {
            shared,
            work,
            in_flight: InFlight::default(),
            in_flight_bytes_max: parts.in_flight_bytes_max,
            space_low: parts.space_low,
            reserve_bytes: parts.reserve_bytes,
        })
    }

    /// Takes the drafts of one message, all or none. They are forwarded in the order in which they were taken; the
    /// returned future ends when they are on the disk. A draft that waits already is not put twice.
    ///
    /// # Errors
    /// `OutboxFull`, `NoSpace`, `Pushback`: nothing was taken; wait and put it again.
    pub fn put(
        &self,
        drafts: Vec<Draft>,
    ) -> Result<impl Future<Output = Result<Stored, AppendError>> + Send + use<>, AppendError> {
        let bytes = weigh(&drafts)?;
        if let Some(kind) = drafts.iter().map(|draft| draft.kind).find(|kind| *kind >= OWN_KINDS) {
            return Err(AppendError::OwnKind { kind });
        }
        if drafts.iter().any(|draft| draft.dedupe.is_none()) {
            return Err(AppendError::NoDedupe);
        }
        if self.space_low.load(Ordering::Relaxed) {
            return Err(AppendError::NoSpace { reserve_bytes: self.reserve_bytes });
        }
        let pushback = || AppendError::Pushback { in_flight_bytes: self.in_flight.bytes() };
        let permit = self.work.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => pushback(),
            mpsc::error::TrySendError::Closed(()) => AppendError::Closed,
        })?;
        let share = self.in_flight.take(bytes, self.in_flight_bytes_max).ok_or_else(pushback)?;
        let delay = self.shared.take_room(drafts.iter().map(record::value_len).sum())?;
        let (answer, stored) = oneshot::channel();
        permit.send(Work::Put(Taken { drafts, answer, _share: share }));
        let head = self.shared.head.subscribe();
        Ok(async move {
            let Put { upto, .. } = stored.await.map_err(|_| AppendError::Closed)?;
            Ok(Stored { delay, upto, head })
        })
    }

    /// The draft whose dedupe key begins with these 16 bytes, if it waits here. Blocks.
    pub fn find(&self, dedupe: &[u8; 16]) -> Result<Option<Draft>, LedgerError> {
        self.shared.queue.find(dedupe)
    }

    pub fn status(&self) -> OutboxStatus {
        let ends = self.shared.queue.ends();
        let room = self.shared.room();
        OutboxStatus {
            state: room.state(),
            entries: ends.entries(),
            bytes: ends.bytes(),
            limit_bytes: room.limit(),
            oldest_ms: self.shared.queue.oldest_ms(),
            forwarded: self.shared.forwarded.load(Ordering::Relaxed),
            duplicates: self.shared.duplicates.load(Ordering::Relaxed),
            fault: self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Whoever puts no more has left over what is on the disk now.
    pub fn leave_over(&self) {
        self.shared.left_over.fetch_max(*self.shared.tail.borrow(), Ordering::Release);
    }

    /// Waits until all is committed that an earlier process had put, or that was left over since. Whoever then appends
    /// past the outbox overtakes nothing.
    pub async fn left_over_committed(&self) {
        self.committed(self.shared.left_over.load(Ordering::Acquire)).await;
    }

    /// Waits until all is committed that waits now, and holds up nothing that comes in meanwhile.
    pub(crate) async fn all_committed(&self) {
        let upto = *self.shared.tail.borrow();
        self.committed(upto).await;
    }

    async fn committed(&self, upto: u64) {
        let mut head = self.shared.head.subscribe();
        // The sender lives as long as this.
        let _ = head.wait_for(|head| *head >= upto).await;
    }

    /// Waits until nothing waits, neither here nor on the disk. Nothing is put until what this returns is dropped:
    /// messages that come in wait for that.
    pub(crate) async fn emptied(&self) -> Result<Emptied, AppendError> {
        let ((empty, told), (release, released)) = (oneshot::channel(), oneshot::channel());
        let held = Emptied { _release: release };
        let hold = Hold { empty: Some(empty), released };
        self.work.send(Work::Hold(hold)).await.map_err(|_| AppendError::Closed)?;
        told.await.map_err(|_| AppendError::Closed)?;
        Ok(held)
    }

    /// `bytes`: free on the disk above its reserve.
    pub(crate) fn set_free(&self, bytes: u64) {
        self.shared.change_room(|room| room.set_free(bytes));
    }
}

impl Stored {
    /// Waits until a quorum has the message and this site has applied it. `Closed`: not before the ledger closed.
    pub async fn committed(mut self) -> Result<(), AppendError> {
        self.head.wait_for(|head| *head >= self.upto).await.map(drop).map_err(|_| AppendError::Closed)
    }
}

impl Shared {
    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_room(&self, bytes: u64) -> Result<Duration, AppendError> {
        let (delay, held, limit) = self.change_room(|room| (room.take(bytes), room.used(), room.limit()));
        delay.ok_or(AppendError::OutboxFull { bytes: held, limit })
    }

    /// Says so when the state becomes another one.
    fn change_room<T>(&self, change: impl FnOnce(&mut Room) -> T) -> T {
        let mut room = self.room();
        let before = room.state();
        let result = change(&mut room);
        let (state, bytes, limit) = (room.state(), room.used(), room.limit());
        drop(room);
        match state {
            _ if state == before => {}
            OutboxState::Normal => tracing::info!(bytes, limit, "the outbox has room again"),
            OutboxState::Refuse => {
                tracing::error!(bytes, limit, "the outbox is full: its feeds get no answer")
            }
            _ => tracing::warn!(
                bytes,
                limit,
                state = state.as_str(),
                "the outbox fills: bring the quorum back"
            ),
        }
        result
    }

    fn set_fault(&self, fault: Option<String>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}
