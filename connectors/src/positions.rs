//! Which position of an ordered source may be told to it: the lowest below which everything is settled.
//! A plain state machine; Kafka partitions and files use it.

use std::collections::VecDeque;

/// Tracks one partition or file. Positions ascend but may have gaps (compaction, transaction markers).
#[derive(Debug)]
pub(crate) struct Positions {
    /// Everything below is settled: reading on from here loses nothing.
    low: i64,
    /// Delivered positions from `low` on, ascending.
    tracked: VecDeque<(i64, State)>,
    pending: usize,
    failed: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Settled,
    /// Came back with a Retry: to be delivered again.
    Failed,
}

impl Positions {
    pub(crate) fn new(low: i64) -> Positions {
        Positions { low, tracked: VecDeque::new(), pending: 0, failed: 0 }
    }

    /// Whether the message at `position` is to be delivered; false when it was settled before a rewind, or is
    /// out with the pipeline already.
    pub(crate) fn deliver(&mut self, position: i64) -> bool {
        match self.find(position) {
            Ok(i) => {
                let Some(entry) = self.tracked.get_mut(i) else { return false };
                if entry.1 != State::Failed {
                    return false;
                }
                entry.1 = State::Pending;
                self.failed -= 1;
            }
            Err(_) if position < self.low => return false,
            Err(i) => self.tracked.insert(i, (position, State::Pending)),
        }
        self.pending += 1;
        true
    }

    /// Committed or dead-lettered. Returns the new low position if that moved it.
    pub(crate) fn settle(&mut self, position: i64) -> Option<i64> {
        self.change(position, State::Settled);
        self.advance()
    }

    /// Gives up what is to come again and lies before what comes now: the source has it no more, and would have delivered
    /// it first. Returns it, and the new low position if that moved it.
    pub(crate) fn give_up_before(&mut self, position: i64) -> (Vec<i64>, Option<i64>) {
        if self.failed == 0 {
            return (Vec::new(), None);
        }
        let before = self.tracked.iter_mut().take_while(|(at, _)| *at < position);
        let failed = before.filter(|(_, state)| *state == State::Failed);
        let gone: Vec<i64> = failed.map(|(at, state)| (*at, *state = State::Settled).0).collect();
        self.failed -= gone.len();
        (gone, self.advance())
    }

    /// What lies from `position` on comes anew: what was said of it no longer counts.
    pub(crate) fn forget_from(&mut self, position: i64) {
        while let Some((_, state)) = self.tracked.pop_back_if(|(at, _)| *at >= position) {
            self.pending -= usize::from(state == State::Pending);
            self.failed -= usize::from(state == State::Failed);
        }
    }

    /// Where the reader stands, behind all that it has delivered. What lies in between is never delivered: transaction
    /// markers, aborted messages, what was compacted away. Returns the new low position if that moved it; while anything is
    /// out or to come again, nothing does.
    pub(crate) fn pass(&mut self, position: i64) -> Option<i64> {
        if !self.tracked.is_empty() || position <= self.low {
            return None;
        }
        self.low = position;
        Some(position)
    }

    /// Came back: nothing at or after `position` may be told to the source before it is delivered again.
    pub(crate) fn fail(&mut self, position: i64) {
        self.change(position, State::Failed);
    }

    /// Where to read again after a failure, once nothing is out any more.
    pub(crate) fn rewind(&self) -> Option<i64> {
        if self.failed == 0 || self.pending > 0 {
            return None;
        }
        self.tracked.iter().find(|(_, state)| *state == State::Failed).map(|(position, _)| *position)
    }

    #[cfg(test)]
    pub(crate) fn is_rewinding(&self) -> bool {
        self.failed > 0
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    pub(crate) fn low(&self) -> i64 {
        self.low
    }

    fn advance(&mut self) -> Option<i64> {
        let before = self.low;
        while let Some(&(position, State::Settled)) = self.tracked.front() {
            self.tracked.pop_front();
            self.low = position + 1;
        }
        (self.low != before).then_some(self.low)
    }

    fn change(&mut self, position: i64, to: State) {
        let Ok(i) = self.find(position) else { return };
        let Some(entry) = self.tracked.get_mut(i) else { return };
        if entry.1 == State::Pending {
            entry.1 = to;
            self.pending -= 1;
            self.failed += usize::from(to == State::Failed);
        }
    }

    fn find(&self, position: i64) -> Result<usize, usize> {
        self.tracked.binary_search_by_key(&position, |(position, _)| *position)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn low_waits_for_the_oldest() {
        let mut positions = Positions::new(10);
        assert!([10, 11, 15].into_iter().all(|p| positions.deliver(p)));
        assert_eq!(positions.settle(15), None);
        assert_eq!(positions.settle(10), Some(11));
        assert_eq!(positions.settle(11), Some(16));
        assert!(!positions.deliver(12), "below low: settled or never there");
    }

    #[test]
    fn a_failure_is_delivered_again_and_its_settled_successors_are_not() {
        let mut positions = Positions::new(0);
        (0..4).for_each(|p| assert!(positions.deliver(p)));
        positions.settle(0);
        positions.fail(1);
        positions.settle(2);
        assert_eq!(positions.rewind(), None, "3 is still out");
        positions.fail(3);
        assert_eq!(positions.rewind(), Some(1));
        assert_eq!((1..5).filter(|p| positions.deliver(*p)).collect::<Vec<_>>(), [1, 3, 4]);
        assert!(!positions.is_rewinding());
        assert_eq!(positions.settle(1), Some(3));
    }

    #[test]
    fn what_the_source_has_no_more_is_given_up() {
        let mut positions = Positions::new(0);
        (0..5).for_each(|p| assert!(positions.deliver(p)));
        [1, 3].into_iter().for_each(|p| positions.fail(p));
        for position in [0, 2, 4] {
            positions.settle(position);
        }
        assert_eq!(positions.give_up_before(1), (vec![], None));
        assert_eq!(positions.give_up_before(2), (vec![1], Some(3)));
        assert_eq!((positions.rewind(), positions.pass(9)), (Some(3), None));
        assert_eq!(positions.give_up_before(9), (vec![3], Some(5)));
        assert_eq!((positions.is_rewinding(), positions.pass(9)), (false, Some(9)));
    }

    #[test]
    fn what_is_never_delivered_is_passed_once_nothing_is_open() {
        let mut positions = Positions::new(0);
        (0..3).for_each(|p| assert!(positions.deliver(p)));
        positions.settle(1);
        positions.fail(2);
        assert_eq!(positions.pass(9), None, "0 is out");
        positions.settle(0);
        assert_eq!(positions.pass(9), None, "2 is to come again");
        assert!(positions.deliver(2));
        assert_eq!(positions.settle(2), Some(3));
        assert_eq!(positions.pass(3), None);
        assert_eq!(positions.pass(9), Some(9));
        assert_eq!((positions.pass(5), positions.low()), (None, 9), "never back");
        assert!(positions.deliver(9));
    }

    proptest! {
        /// Whatever order verdicts come in, `low` never passes a message that is not settled, a message that
        /// is out is never delivered a second time, and in the end all are settled.
        #[test]
        fn never_beyond_the_unsettled(
            gaps in proptest::collection::vec(1i64..4, 1..60),
            picks in proptest::collection::vec((any::<usize>(), 0u8..4), 0..400),
        ) {
            let log: Vec<i64> = gaps.iter().scan(-1, |at, gap| { *at += gap; Some(*at) }).collect();
            let mut positions = Positions::new(0);
            let (mut read, mut out, mut settled) = (0, BTreeSet::new(), BTreeSet::new());
            let mut check = |positions: &mut Positions, pick: usize, action: u8| {
                let open: Vec<i64> = out.iter().copied().collect();
                match action {
                    0 | 1 if read < log.len() && !positions.is_rewinding() => {
                        let at = log[read];
                        read += 1;
                        if positions.deliver(at) {
                            prop_assert!(out.insert(at), "delivered twice at once");
                            prop_assert!(!settled.contains(&at), "delivered though settled");
                        }
                    }
                    3 if !open.is_empty() => {
                        let at = open[pick % open.len()];
                        out.remove(&at);
                        positions.fail(at);
                    }
                    _ if !open.is_empty() => {
                        let at = open[pick % open.len()];
                        out.remove(&at);
                        settled.insert(at);
                        positions.settle(at);
                    }
                    _ => {}
                }
                if let Some(at) = positions.rewind() {
                    read = log.iter().position(|p| *p == at).unwrap();
                    while positions.is_rewinding() && read < log.len() {
                        if positions.deliver(log[read]) {
                            out.insert(log[read]);
                        }
                        read += 1;
                    }
                }
                let first_unsettled = log.iter().find(|p| !settled.contains(p)).copied();
                prop_assert!(first_unsettled.is_none_or(|p| positions.low() <= p));
                prop_assert_eq!(positions.pending(), out.len());
                Ok(())
            };
            for (pick, action) in picks {
                check(&mut positions, pick, action)?;
            }
            for _ in 0..2 * log.len() + 2 {
                check(&mut positions, 0, 0)?;
                check(&mut positions, 0, 2)?;
            }
            prop_assert_eq!(positions.low(), log.last().unwrap() + 1);
        }
    }
}
