//! One `append` call on its way: its drafts may go into several batches, its answer comes when all have come.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::record::{MAX_PAYLOAD_BYTES, MAX_TAGS};
use crate::{AppendError, Draft, Outcome};

/// What a draft weighs beside its payload.
const DRAFT_OVERHEAD: usize = 512;

/// Bytes that the drafts weigh; an error if one can never be an entry.
pub(crate) fn weigh(drafts: &[Draft]) -> Result<usize, AppendError> {
    for draft in drafts {
        if draft.payload.len() > MAX_PAYLOAD_BYTES {
            return Err(AppendError::TooLarge { bytes: draft.payload.len(), limit: MAX_PAYLOAD_BYTES });
        }
        if draft.tags.len() > MAX_TAGS {
            return Err(AppendError::TooManyTags { tags: draft.tags.len(), limit: MAX_TAGS });
        }
    }
    Ok(drafts.iter().map(|draft| draft.payload.len() + DRAFT_OVERHEAD).sum())
}

/// Bytes taken but not yet applied; each call holds its share until its answer.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<AtomicUsize>);

pub(crate) struct Share {
    bytes: usize,
    total: InFlight,
}

impl InFlight {
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// `None` if the limit would be passed. A call larger than the limit may go alone.
    pub(crate) fn take(&self, bytes: usize, limit: usize) -> Option<Share> {
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
            (now == 0 || now.saturating_add(bytes) <= limit).then_some(now.saturating_add(bytes))
        });
        taken.ok().map(|_| Share { bytes, total: self.clone() })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.total.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Call {
    state: Mutex<State>,
    _share: Share,
}

struct State {
    outcomes: Vec<Option<Outcome>>,
    missing: usize,
    answer: Option<oneshot::Sender<Vec<Outcome>>>,
}

/// The place of one draft in its call. Dropped unresolved, the call's answer never comes.
pub(crate) struct Place {
    call: Arc<Call>,
    index: usize,
}

pub(crate) fn places(drafts: usize, share: Share) -> (Vec<Place>, oneshot::Receiver<Vec<Outcome>>) {
    let (answer, receiver) = oneshot::channel();
    let state = State { outcomes: vec![None; drafts], missing: drafts, answer: Some(answer) };
    let call = Arc::new(Call { state: Mutex::new(state), _share: share });
    ((0..drafts).map(|index| Place { call: call.clone(), index }).collect(), receiver)
}

impl Place {
    pub(crate) fn resolve(self, outcome: Outcome) {
        let mut state = self.call.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place @ None) = state.outcomes.get_mut(self.index) {
            *place = Some(outcome);
            state.missing -= 1;
        }
        if state.missing == 0
            && let Some(answer) = state.answer.take()
        {
            // The caller may have stopped waiting.
            let _ = answer.send(state.outcomes.iter().copied().flatten().collect());
        }
    }
}
