//! Control ids that come again with another message behind them. Both are kept; a sender whose ids name more than one message
//! cannot be asked about either, so it is counted and told.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use prometheus::IntCounter;

use super::recent::Recent;

/// Control ids of one generation; the one before is remembered as well. An id that comes round after that is none that is
/// mistaken for another's.
const GENERATION: usize = 32_768;

/// Of one feed, since it began to listen.
pub(super) struct ControlIds {
    hasher: RandomState,
    /// By the hash of an id, the hash of what it named last.
    known: Mutex<Recent<u64, u64>>,
    reused: IntCounter,
}

impl ControlIds {
    pub fn new(reused: IntCounter) -> ControlIds {
        ControlIds { hasher: RandomState::new(), known: Mutex::new(Recent::new(GENERATION)), reused }
    }

    /// `name`: of the sender, its id for the message. `message`: what makes it the same when it is sent again.
    pub fn meet(&self, feed: &str, name: [&str; 3], message: &[u8; 32]) {
        let (name, message) = (self.hasher.hash_one(name), self.hasher.hash_one(message));
        let other = self.known.lock().unwrap_or_else(PoisonError::into_inner).replace(name, message);
        if other.is_none_or(|other| other == message) {
            return;
        }
        self.reused.inc();
        // A sender that gives all of them one id must not fill the log.
        if self.reused.get().is_power_of_two() {
            tracing::warn!(
                feed,
                messages = self.reused.get(),
                "a control id (MSH-10) came again with another message; all are kept, ask the sender for ids that differ"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_with_another_message_behind_it_is_counted_and_a_resend_is_not() {
        let ids = ControlIds::new(IntCounter::new("reused", "of a test").unwrap());
        let meet = |sender: &str, id: &str, message: u8| {
            ids.meet("lab", [sender, "HOSP", id], &[message; 32]);
            ids.reused.get()
        };
        assert_eq!([meet("LAB", "1", 1), meet("LAB", "1", 1), meet("LAB", "2", 2)], [0, 0, 0]);
        assert_eq!([meet("LAB", "1", 3), meet("LAB", "1", 3)], [1, 1], "counted where it came");
        assert_eq!(meet("RIS", "1", 4), 1, "another sender's id");
    }
}
