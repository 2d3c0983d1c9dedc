//! The assigned partitions and how far each may be told to have come. Plain state, no Kafka in it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::positions::Positions;

pub(super) type Key = (Arc<str>, i32);

/// A message that came back from the pipeline.
pub(super) struct Settled {
    pub(super) key: Key,
    /// Tells this assignment of the partition from an earlier one.
    pub(super) rewinding: Arc<AtomicBool>,
    pub(super) offset: i64,
    pub(super) bytes: usize,
    /// False: to be delivered again.
    pub(super) kept: bool,
}

#[derive(Default)]
pub(super) struct Partitions {
    assigned: HashMap<Key, Partition>,
    /// Moved since the last [`Partitions::take_moved`].
    moved: HashMap<Key, i64>,
    /// Since the last [`Partitions::take_lost`].
    lost: Vec<(Key, i64)>,
    in_flight: usize,
    in_flight_bytes: usize,
}

struct Partition {
    positions: Positions,
    /// Raised by a Retry: nothing further is handed over until the partition was read again from there.
    rewinding: Arc<AtomicBool>,
    retries: u32,
    again_at: Option<Instant>,
    /// What comes lies here or behind: the last one has come, or is where reading began again. `None`: nothing has come.
    next: Option<i64>,
}

impl Partition {
    fn new() -> Partition {
        let (positions, rewinding) = (Positions::new(0), Arc::default());
        Partition { positions, rewinding, retries: 0, again_at: None, next: None }
    }
}

impl Partitions {
    pub(super) fn assign(&mut self, key: Key) {
        self.assigned.entry(key).or_insert_with(Partition::new);
    }

    /// What is still out of these partitions no longer counts; the new owner reads it again.
    pub(super) fn revoke(&mut self, key: &Key) {
        if let Some(partition) = self.assigned.remove(key) {
            partition.rewinding.store(true, Ordering::SeqCst);
        }
        self.moved.remove(key);
    }

    /// Stops handing over what was read ahead of these partitions.
    pub(super) fn hold(&self, key: &Key) {
        if let Some(partition) = self.assigned.get(key) {
            partition.rewinding.store(true, Ordering::SeqCst);
        }
    }

    pub(super) fn is_assigned(&self, key: &Key) -> bool {
        self.assigned.contains_key(key)
    }

    pub(super) fn is_out(&self, key: &Key) -> bool {
        self.assigned.get(key).is_some_and(|partition| partition.positions.pending() > 0)
    }

    /// The flag to hand out with the message, or `None` if it is not to be delivered (now).
    pub(super) fn deliver(&mut self, key: &Key, offset: i64, bytes: usize) -> Option<Arc<AtomicBool>> {
        let partition = self.assigned.entry(key.clone()).or_insert_with(Partition::new);
        if partition.rewinding.load(Ordering::SeqCst) {
            return None;
        }
        // Back where it has been: the topic was made anew, its log was cut short, or librdkafka hands over once more. Offsets do
        // not tell which, so all that comes is taken as new (the ledger knows what it has), and nothing that is out is dropped.
        if partition.next.is_some_and(|next| offset < next) {
            if offset <= partition.positions.low() {
                *partition = Partition::new();
            } else {
                partition.positions.forget_from(offset);
            }
        }
        if partition.next.replace(offset + 1).is_none() {
            partition.positions = Positions::new(offset);
        }
        if partition.again_at.is_none() {
            // It is read again from its first failure: what lies before this one, retention or compaction took.
            let (lost, low) = partition.positions.give_up_before(offset);
            self.lost.extend(lost.into_iter().map(|offset| (key.clone(), offset)));
            if let Some(low) = low {
                self.moved.insert(key.clone(), low);
            }
        }
        if !partition.positions.deliver(offset) {
            return None;
        }
        self.in_flight += 1;
        self.in_flight_bytes += bytes;
        Some(partition.rewinding.clone())
    }

    pub(super) fn settle(&mut self, settled: Settled, now: Instant) {
        self.in_flight -= 1;
        self.in_flight_bytes -= settled.bytes;
        let Some(partition) = self.assigned.get_mut(&settled.key) else { return };
        if !Arc::ptr_eq(&partition.rewinding, &settled.rewinding) {
            return;
        }
        if !settled.kept {
            partition.positions.fail(settled.offset);
            partition.again_at.get_or_insert_with(|| now + backoff(partition.retries));
        } else if let Some(low) = partition.positions.settle(settled.offset) {
            partition.retries = 0;
            self.moved.insert(settled.key, low);
        }
    }

    /// The consumer stands there, and has handed over whatever it was given before.
    pub(super) fn pass(&mut self, key: &Key, position: i64) {
        let Some(partition) = self.assigned.get_mut(key) else { return };
        if let Some(low) = partition.positions.pass(position) {
            self.moved.insert(key.clone(), low);
        }
    }

    /// Partitions to be read again from an offset, whose time has come and of which nothing is out any more.
    pub(super) fn due(&self, now: Instant) -> Vec<(Key, i64)> {
        let due = |partition: &Partition| {
            let waited = partition.again_at.is_some_and(|at| at <= now);
            partition.positions.rewind().filter(|_| waited && partition.rewinding.load(Ordering::SeqCst))
        };
        self.assigned.iter().filter_map(|(key, partition)| Some((key.clone(), due(partition)?))).collect()
    }

    /// Reading from there has begun.
    pub(super) fn rewound(&mut self, key: &Key) {
        if let Some(partition) = self.assigned.get_mut(key) {
            partition.retries = partition.retries.saturating_add(1);
            partition.again_at = None;
            partition.next = partition.positions.rewind().or(partition.next);
            partition.rewinding.store(false, Ordering::SeqCst);
        }
    }

    /// Offsets to store: reading on from each of them loses nothing.
    pub(super) fn take_moved(&mut self) -> Vec<(Key, i64)> {
        self.moved.drain().collect()
    }

    /// Messages that came back and are in the log no more.
    pub(super) fn take_lost(&mut self) -> Vec<(Key, i64)> {
        std::mem::take(&mut self.lost)
    }

    /// Messages and bytes out with the pipeline.
    pub(super) fn in_flight(&self) -> (usize, usize) {
        (self.in_flight, self.in_flight_bytes)
    }
}

/// 100 ms, doubling, at most 10 s.
fn backoff(retries: u32) -> Duration {
    Duration::from_millis(100 << retries.min(7)).min(Duration::from_secs(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        (Arc::from("adt"), 0)
    }

    fn back(offset: i64, rewinding: &Arc<AtomicBool>, kept: bool) -> Settled {
        Settled { key: key(), rewinding: rewinding.clone(), offset, bytes: 10, kept }
    }

    #[test]
    fn a_retry_holds_the_partition_until_it_was_rewound() {
        let (mut partitions, now) = (Partitions::default(), Instant::now());
        let flag = partitions.deliver(&key(), 5, 10).unwrap();
        partitions.deliver(&key(), 6, 10).unwrap();
        flag.store(true, Ordering::SeqCst);
        assert!(partitions.deliver(&key(), 7, 10).is_none());
        partitions.settle(back(5, &flag, false), now);
        let later = now + Duration::from_secs(1);
        assert!(partitions.due(later).is_empty(), "6 is out");
        partitions.settle(back(6, &flag, true), now);
        assert!(partitions.due(now).is_empty(), "backs off");
        assert_eq!(partitions.due(later), [(key(), 5)]);
        assert!(partitions.take_moved().is_empty());
        partitions.rewound(&key());
        assert!(partitions.due(later).is_empty());
        let flag = partitions.deliver(&key(), 5, 10).unwrap();
        assert!(partitions.deliver(&key(), 6, 10).is_none(), "settled already");
        partitions.settle(back(5, &flag, true), now);
        assert_eq!(partitions.take_moved(), [(key(), 7)]);
        assert_eq!(partitions.in_flight(), (0, 0));
    }

    #[test]
    fn what_retention_took_before_it_was_read_again_is_told_and_holds_nothing_up() {
        let (mut partitions, now) = (Partitions::default(), Instant::now());
        let flag = partitions.deliver(&key(), 5, 10).unwrap();
        (6..9).for_each(|offset| drop(partitions.deliver(&key(), offset, 10).unwrap()));
        flag.store(true, Ordering::SeqCst);
        for (offset, kept) in [(5, false), (6, true), (7, false), (8, false)] {
            partitions.settle(back(offset, &flag, kept), now);
        }
        partitions.rewound(&key());
        assert!(partitions.deliver(&key(), 8, 10).is_some());
        assert_eq!(partitions.take_lost(), [(key(), 5), (key(), 7)]);
        assert_eq!(partitions.take_moved(), [(key(), 8)]);
        assert!(partitions.deliver(&key(), 9, 10).is_some() && partitions.take_lost().is_empty());
        partitions.settle(back(8, &flag, true), now);
        assert_eq!(partitions.take_moved(), [(key(), 9)]);
    }

    /// Nor does what was settled behind it come once more.
    #[test]
    fn what_was_settled_behind_a_message_that_is_gone_does_not_come_again() {
        let (mut partitions, now) = (Partitions::default(), Instant::now());
        let flag = partitions.deliver(&key(), 0, 10).unwrap();
        (1..5).for_each(|offset| drop(partitions.deliver(&key(), offset, 10).unwrap()));
        (1..5).for_each(|offset| partitions.settle(back(offset, &flag, true), now));
        flag.store(true, Ordering::SeqCst);
        partitions.settle(back(0, &flag, false), now);
        partitions.rewound(&key());
        assert!((3..5).all(|offset| partitions.deliver(&key(), offset, 10).is_none()));
        assert_eq!(partitions.take_lost(), [(key(), 0)]);
        assert!(partitions.deliver(&key(), 5, 10).is_some());
        // The topic made anew begins before what came last.
        let flag = partitions.deliver(&key(), 4, 10).unwrap();
        flag.store(true, Ordering::SeqCst);
        partitions.settle(back(4, &flag, false), now);
        partitions.rewound(&key());
        assert!(partitions.deliver(&key(), 0, 10).is_some(), "made anew while it was to be read again");
        assert!(partitions.take_lost().is_empty());
    }

    #[test]
    fn the_offset_passes_a_marker_behind_the_last_message_once_all_is_settled() {
        let (mut partitions, now) = (Partitions::default(), Instant::now());
        partitions.pass(&key(), 9);
        assert!(partitions.take_moved().is_empty(), "not ours");
        let flag = partitions.deliver(&key(), 5, 10).unwrap();
        partitions.pass(&key(), 7);
        assert!(partitions.take_moved().is_empty(), "5 is out");
        partitions.settle(back(5, &flag, false), now);
        partitions.pass(&key(), 7);
        assert!(partitions.take_moved().is_empty(), "5 is to come again");
        partitions.rewound(&key());
        let flag = partitions.deliver(&key(), 5, 10).unwrap();
        partitions.settle(back(5, &flag, true), now);
        partitions.pass(&key(), 7);
        assert_eq!(partitions.take_moved(), [(key(), 7)]);
        assert!(partitions.deliver(&key(), 7, 10).is_some());
    }

    #[test]
    fn verdicts_of_an_earlier_assignment_do_not_count() {
        let (mut partitions, now) = (Partitions::default(), Instant::now());
        partitions.assign(key());
        let old = partitions.deliver(&key(), 0, 10).unwrap();
        partitions.revoke(&key());
        assert!(old.load(Ordering::SeqCst), "what was read ahead is not handed over");
        partitions.assign(key());
        let new = partitions.deliver(&key(), 0, 10).unwrap();
        partitions.settle(back(0, &old, true), now);
        assert!(partitions.take_moved().is_empty());
        partitions.settle(back(0, &new, true), now);
        assert_eq!(partitions.take_moved(), [(key(), 1)]);
    }

    #[test]
    fn a_topic_made_anew_is_read_from_its_start() {
        for settled in [true, false] {
            let (mut partitions, now) = (Partitions::default(), Instant::now());
            let old = partitions.deliver(&key(), 100, 10).unwrap();
            if settled {
                partitions.settle(back(100, &old, true), now);
            }
            let new = partitions.deliver(&key(), 0, 10).unwrap();
            assert!(
                !old.load(Ordering::SeqCst),
                "what was read of the old log is kept: nobody has it any more"
            );
            assert!(partitions.deliver(&key(), 100, 10).is_some(), "another message than the old log's");
            if !settled {
                partitions.settle(back(100, &old, true), now);
            }
            partitions.take_moved();
            partitions.settle(back(0, &new, true), now);
            assert_eq!(partitions.take_moved(), [(key(), 1)], "the new 100 is out");
        }
    }

    #[test]
    fn a_topic_made_anew_while_its_first_message_is_out_is_read_from_its_start() {
        let (mut partitions, now) = (Partitions::default(), Instant::now());
        let old = partitions.deliver(&key(), 0, 10).unwrap();
        (1..4).for_each(|offset| drop(partitions.deliver(&key(), offset, 10).unwrap()));
        partitions.settle(back(1, &old, true), now);
        assert!((0..4).all(|offset| partitions.deliver(&key(), offset, 10).is_some()));
        (0..4).for_each(|offset| partitions.settle(back(offset, &old, true), now));
        assert!(partitions.take_moved().is_empty(), "verdicts of the old log say nothing of the new one");
    }

    /// Dropped as an old log's, 5 would be lost: reading goes on behind it.
    #[test]
    fn what_is_handed_over_once_more_drops_nothing_that_is_out() {
        let (mut partitions, now) = (Partitions::default(), Instant::now());
        let flag = partitions.deliver(&key(), 5, 10).unwrap();
        (6..9).for_each(|offset| drop(partitions.deliver(&key(), offset, 10).unwrap()));
        partitions.settle(back(7, &flag, true), now);
        assert!((6..10).all(|offset| partitions.deliver(&key(), offset, 10).is_some()));
        assert!(!flag.load(Ordering::SeqCst));
        for offset in [6, 6, 7, 8, 8, 9] {
            partitions.settle(back(offset, &flag, true), now);
            assert!(partitions.take_moved().is_empty(), "5 is out");
        }
        partitions.settle(back(5, &flag, true), now);
        assert_eq!(partitions.take_moved(), [(key(), 10)]);
        assert_eq!(partitions.in_flight(), (0, 0));
    }
}
