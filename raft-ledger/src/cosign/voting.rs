//! When all are asked what they sign: where another site's root is not this one's.

use std::time::Duration;

use tokio::time::Instant;

/// Between two votes.
const PAUSE: Duration = Duration::from_secs(3);
/// On one note, while too few sites answer.
const VOTES_MAX: u32 = 5;

/// What is voted on, and when.
#[derive(Default)]
pub(super) struct Voting {
    on: Option<String>,
    times: u32,
    last: Option<Instant>,
}

impl Voting {
    /// A vote makes whoever differs ask for one in turn: a note that comes meanwhile is left out.
    pub(super) fn on(&mut self, note: String) {
        if self.on.is_none() && self.is_time() {
            (self.on, self.times) = (Some(note), 0);
        }
    }

    fn is_time(&self) -> bool {
        self.last.is_none_or(|at| at.elapsed() >= PAUSE)
    }

    /// The note to vote on now.
    pub(super) fn next(&mut self) -> Option<String> {
        if !self.is_time() {
            return None;
        }
        let note = self.on.clone()?;
        self.times += 1;
        self.last = Some(Instant::now());
        if self.times == VOTES_MAX {
            self.on = None;
        }
        Some(note)
    }

    /// Whether the vote that [`Voting::next`] gave is held no more after this.
    pub(super) fn is_last(&self) -> bool {
        self.on.is_none()
    }

    /// A majority has signed, or nobody needs to.
    pub(super) fn is_over(&mut self) {
        self.on = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_vote_that_too_few_answer_is_held_again() {
        let mut voting = Voting::default();
        voting.on("one".into());
        assert_eq!(voting.next().as_deref(), Some("one"));
        voting.on("another".into());
        for _ in 1..VOTES_MAX {
            assert_eq!(voting.next(), None, "too early");
            tokio::time::advance(PAUSE).await;
            assert!(!voting.is_last());
            assert_eq!(voting.next().as_deref(), Some("one"));
        }
        assert!(voting.is_last());
        tokio::time::advance(PAUSE).await;
        assert_eq!(voting.next(), None, "often enough");
        voting.on("a third".into());
        assert!(voting.next().is_some());
        voting.is_over();
        tokio::time::advance(PAUSE).await;
        assert_eq!(voting.next(), None);
    }
}
