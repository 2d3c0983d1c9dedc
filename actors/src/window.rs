//! How many messages of a feed may be between receipt and answer. When it is full, the source is not read:
//! that is where backpressure from the ledger ends up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::committer::ANSWER_WAIT;

const MESSAGES_MAX: usize = 4096;
const KIB_MAX: usize = 32 * 1024;

/// How long a feed that was told to end may take: every message has its answer after [`ANSWER_WAIT`], and the source tells the
/// sender.
pub(crate) const END_MAX: Duration = ANSWER_WAIT.saturating_add(Duration::from_secs(70));

#[derive(Clone)]
pub(crate) struct Window {
    messages: Arc<Semaphore>,
    kib: Arc<Semaphore>,
    entered: Arc<Mutex<Entered>>,
}

#[derive(Default)]
struct Entered {
    next: u64,
    since: BTreeMap<u64, Instant>,
}

/// A message's place in the window; free again when dropped.
pub(crate) struct Place {
    id: u64,
    /// When its source handed the message over.
    pub handed_over: Instant,
    entered: Arc<Mutex<Entered>>,
    _permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Window {
    pub fn new() -> Window {
        Window {
            messages: Arc::new(Semaphore::new(MESSAGES_MAX)),
            kib: Arc::new(Semaphore::new(KIB_MAX)),
            entered: Arc::default(),
        }
    }

    /// Waits for a place. A message larger than the whole window takes all of it and so travels alone.
    pub async fn enter(&self, bytes: usize) -> Place {
        let handed_over = Instant::now();
        let kib = u32::try_from(bytes.div_ceil(1024).clamp(1, KIB_MAX)).unwrap_or(u32::MAX);
        // Neither semaphore is ever closed.
        let message = self.messages.clone().acquire_owned().await.expect("open semaphore");
        let space = self.kib.clone().acquire_many_owned(kib).await.expect("open semaphore");
        let mut entered = self.entered.lock().expect("window lock");
        let id = entered.next;
        entered.next += 1;
        entered.since.insert(id, Instant::now());
        Place { id, handed_over, entered: self.entered.clone(), _permits: (message, space) }
    }

    pub fn depth(&self) -> usize {
        self.entered.lock().expect("window lock").since.len()
    }

    pub fn oldest(&self) -> Duration {
        let entered = self.entered.lock().expect("window lock");
        entered.since.values().next().map(Instant::elapsed).unwrap_or_default()
    }

    /// Waits until every message that came in has been answered.
    pub async fn drained(&self) {
        let _all = self.messages.acquire_many(MESSAGES_MAX as u32).await.expect("open semaphore");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Ok(mut entered) = self.entered.lock() {
            entered.since.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_window_waits_and_a_dropped_place_frees_it() {
        let window = Window::new();
        let large = window.enter(KIB_MAX * 1024 * 2).await;
        assert_eq!(window.depth(), 1);
        let waiting = window.enter(1);
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending(), "the large message fills the window");
        drop(large);
        let small = waiting.await;
        assert_eq!(window.depth(), 1);
        drop(small);
        window.drained().await;
    }
}
