//! tokio as openraft's runtime, with the seed's random numbers and a watch channel that wakes in order: tokio's
//! own spreads waiting tasks over eight queues at random.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use openraft::async_runtime::watch::SendError;
use openraft::async_runtime::{AsyncRuntime, RecvError, Watch, WatchReceiver, WatchSender};
use openraft::impls::TokioRuntime;
use openraft::{OptionalSend, OptionalSync};

use super::chance::ForConsensus;

#[derive(Debug)]
pub(crate) struct Runtime(TokioRuntime);

type Inner = TokioRuntime;

impl AsyncRuntime for Runtime {
    type JoinError = <Inner as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <Inner as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <Inner as AsyncRuntime>::Sleep;
    type Instant = <Inner as AsyncRuntime>::Instant;
    type TimeoutError = <Inner as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <Inner as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = ForConsensus;
    type Mpsc = <Inner as AsyncRuntime>::Mpsc;
    type Watch = InOrder;
    type Oneshot = <Inner as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <Inner as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        Inner::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Inner::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Inner::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        Inner::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        Inner::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        Inner::is_panic(join_error)
    }

    fn thread_rng() -> ForConsensus {
        ForConsensus
    }

    fn new(threads: usize) -> Runtime {
        Runtime(Inner::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    async fn spawn_blocking<F, T>(work: F) -> Result<T, io::Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        crate::blocking::run(work).await.map_err(io::Error::other)
    }
}

/// A watch channel whose receivers wake in the order in which they began to wait.
pub(crate) struct InOrder;

struct Shared<T> {
    value: RwLock<T>,
    ends: Mutex<Ends>,
}

#[derive(Default)]
struct Ends {
    version: u64,
    senders: usize,
    receivers: usize,
    /// By a number that only grows.
    waiting: BTreeMap<u64, Waker>,
    next_number: u64,
}

impl<T> Shared<T> {
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn value(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        let waiting = {
            let mut ends = self.ends();
            ends.version += 1;
            std::mem::take(&mut ends.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }
}

pub(crate) struct Sender<T>(Arc<Shared<T>>);

pub(crate) struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

impl Watch for InOrder {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = RwLockReadGuard<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (Sender<T>, Receiver<T>) {
        let ends = Ends { senders: 1, receivers: 1, ..Ends::default() };
        let shared = Arc::new(Shared { value: RwLock::new(init), ends: Mutex::new(ends) });
        (Sender(shared.clone()), Receiver { shared, seen: 0 })
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<InOrder, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.0.ends().receivers == 0 {
            return Err(SendError(value));
        }
        *self.0.value.write().unwrap_or_else(PoisonError::into_inner) = value;
        self.0.changed();
        Ok(())
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        let modified = modify(&mut *self.0.value.write().unwrap_or_else(PoisonError::into_inner));
        if modified {
            self.0.changed();
        }
        modified
    }

    fn borrow_watched(&self) -> RwLockReadGuard<'_, T> {
        self.0.value()
    }

    fn subscribe(&self) -> Receiver<T> {
        let mut ends = self.0.ends();
        ends.receivers += 1;
        Receiver { shared: self.0.clone(), seen: ends.version }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.ends().senders += 1;
        Sender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waiting = {
            let mut ends = self.0.ends();
            ends.senders -= 1;
            if ends.senders > 0 { BTreeMap::new() } else { std::mem::take(&mut ends.waiting) }
        };
        waiting.into_values().for_each(Waker::wake);
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<InOrder, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        let mut place = Place { shared: self.shared.clone(), number: None };
        let seen = self.seen;
        let now = poll_fn(|cx| {
            let mut ends = place.shared.ends();
            if ends.version != seen {
                return Poll::Ready(Ok(ends.version));
            }
            if ends.senders == 0 {
                return Poll::Ready(Err(RecvError(())));
            }
            let number = *place.number.get_or_insert(ends.next_number);
            ends.next_number = ends.next_number.max(number + 1);
            ends.waiting.insert(number, cx.waker().clone());
            Poll::Pending
        });
        self.seen = now.await?;
        Ok(())
    }

    fn borrow_watched(&self) -> RwLockReadGuard<'_, T> {
        self.shared.value()
    }

    fn borrow_and_update(&mut self) -> RwLockReadGuard<'_, T> {
        self.seen = self.shared.ends().version;
        self.shared.value()
    }
}

/// Where a receiver waits; left when it stops waiting.
struct Place<T> {
    shared: Arc<Shared<T>>,
    number: Option<u64>,
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.shared.ends().waiting.remove(&number);
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.shared.ends().receivers += 1;
        Receiver { shared: self.shared.clone(), seen: self.seen }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.ends().receivers -= 1;
    }
}
