//! How full the outbox may get. Bytes in, decisions out.

use std::time::Duration;

use serde::Serialize;

const WARN_PERCENT: u64 = 70;
const SLOW_PERCENT: u64 = 85;
const REFUSE_PERCENT: u64 = 95;
/// A state is left only so far below its threshold, so that it does not come and go with each message.
const HYSTERESIS_PERCENT: u64 = 5;
/// What each answer waits for just below the point of refusal.
const DELAY_MAX: Duration = Duration::from_millis(100);

/// How full the outbox is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutboxState {
    #[default]
    Normal,
    /// 70 % full: somebody should look.
    Warn,
    /// 85 %: answers are delayed, so that senders slow down.
    Slow,
    /// 95 %: nothing is taken.
    Refuse,
}

impl OutboxState {
    pub const ALL: [OutboxState; 4] =
        [OutboxState::Normal, OutboxState::Warn, OutboxState::Slow, OutboxState::Refuse];

    /// As in metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            OutboxState::Normal => "normal",
            OutboxState::Warn => "warn",
            OutboxState::Slow => "slow",
            OutboxState::Refuse => "refuse",
        }
    }

    fn threshold_percent(self) -> u64 {
        match self {
            OutboxState::Normal => 0,
            OutboxState::Warn => WARN_PERCENT,
            OutboxState::Slow => SLOW_PERCENT,
            OutboxState::Refuse => REFUSE_PERCENT,
        }
    }
}

/// Bytes taken and bytes that may be.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    bytes_max: u64,
    /// What the disk allowed when it was last looked at.
    disk_max: u64,
    used: u64,
    /// The last one that came found no room.
    refused: bool,
    state: OutboxState,
}

impl Room {
    pub(crate) fn new(bytes_max: u64, used: u64) -> Room {
        let mut room =
            Room { bytes_max, disk_max: u64::MAX, used, refused: false, state: OutboxState::Normal };
        room.settle();
        room
    }

    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    pub(crate) fn limit(&self) -> u64 {
        self.bytes_max.min(self.disk_max)
    }

    pub(crate) fn state(&self) -> OutboxState {
        self.state
    }

    /// `bytes`: free on the disk above its reserve.
    pub(crate) fn set_free(&mut self, bytes: u64) {
        self.disk_max = self.used.saturating_add(bytes);
        self.settle();
    }

    /// Takes room; how long the answer is to wait. `None`: there is none. What is larger than all of it may go
    /// alone, as long as the disk has it.
    pub(crate) fn take(&mut self, bytes: u64) -> Option<Duration> {
        let after = self.used.saturating_add(bytes);
        let alone = self.used == 0 && bytes <= self.disk_max;
        self.refused = !alone && !self.is_below(REFUSE_PERCENT, after);
        let delay = (!self.refused).then(|| {
            self.used = after;
            self.delay()
        });
        self.settle();
        delay
    }

    pub(crate) fn give_back(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
        self.refused &= self.used > 0;
        self.settle();
    }

    /// From nothing at 85 % to `DELAY_MAX` at 95 %.
    fn delay(&self) -> Duration {
        let (limit, full) = (u128::from(self.limit().max(1)), u128::from(REFUSE_PERCENT - SLOW_PERCENT));
        let slow_at = limit * u128::from(SLOW_PERCENT) / 100;
        let over = u128::from(self.used).saturating_sub(slow_at);
        let micros = DELAY_MAX.as_micros() * over * 100 / (limit * full);
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)).min(DELAY_MAX)
    }

    fn settle(&mut self) {
        let reached = |state: &OutboxState| !self.is_below(state.threshold_percent(), self.used);
        let kept = |state: &OutboxState| {
            let left_at = state.threshold_percent().saturating_sub(HYSTERESIS_PERCENT);
            *state <= self.state && !self.is_below(left_at, self.used)
        };
        let highest = |holds: &dyn Fn(&OutboxState) -> bool| {
            OutboxState::ALL.into_iter().rev().find(holds).unwrap_or_default()
        };
        self.state = match self.refused {
            true => OutboxState::Refuse,
            false => highest(&reached).max(highest(&kept)),
        };
    }

    fn is_below(&self, percent: u64, bytes: u64) -> bool {
        u128::from(bytes) * 100 < u128::from(self.limit()) * u128::from(percent)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The state after `used` of 1,000 bytes are taken one by one.
    fn check(used: u64, state: OutboxState, delay_ms: u128) {
        let mut room = Room::new(1000, 0);
        let delay = (0..used).map(|_| room.take(1)).last().unwrap();
        assert_eq!((room.state(), delay.map(|delay| delay.as_millis())), (state, Some(delay_ms)), "{used}");
    }

    #[test]
    fn states_begin_at_their_percentage() {
        check(1, OutboxState::Normal, 0);
        check(699, OutboxState::Normal, 0);
        check(700, OutboxState::Warn, 0);
        check(849, OutboxState::Warn, 0);
        check(850, OutboxState::Slow, 0);
        check(900, OutboxState::Slow, 50);
        check(949, OutboxState::Slow, 99);
        let mut room = Room::new(1000, 949);
        assert_eq!((room.take(1), room.state(), room.used()), (None, OutboxState::Refuse, 949));
    }

    #[test]
    fn states_end_a_little_below_it() {
        let mut room = Room::new(1000, 949);
        room.take(1);
        for (upto, state) in [
            (900, OutboxState::Refuse),
            (899, OutboxState::Slow),
            (800, OutboxState::Slow),
            (799, OutboxState::Warn),
            (650, OutboxState::Warn),
            (649, OutboxState::Normal),
        ] {
            room.give_back(room.used() - upto);
            assert!(room.take(0).is_some());
            assert_eq!(room.state(), state, "at {upto}");
        }
    }

    #[test]
    fn a_large_one_goes_alone_and_the_disk_sets_the_limit() {
        let mut room = Room::new(100, 0);
        assert!(room.take(500).is_some(), "alone");
        assert_eq!((room.take(1), room.state()), (None, OutboxState::Refuse));
        room.give_back(500);
        assert_eq!(room.state(), OutboxState::Normal);
        room.set_free(50);
        assert_eq!((room.limit(), room.take(60)), (50, None), "not even alone");
        assert!(room.take(47).is_some());
        room.set_free(0);
        assert_eq!((room.limit(), room.take(1), room.state()), (47, None, OutboxState::Refuse));
    }

    proptest! {
        /// Never beyond the limit but for one that is alone; what is given back can be taken again.
        #[test]
        fn the_bound_holds(steps in proptest::collection::vec((any::<bool>(), 0u64..400), 1..200)) {
            let mut room = Room::new(1000, 0);
            let mut held = Vec::new();
            for (take, bytes) in steps {
                if take {
                    let before = room.used();
                    if room.take(bytes).is_some() {
                        held.push(bytes);
                        prop_assert!(room.used() < 950 || before == 0);
                    } else {
                        prop_assert!(before + bytes >= 950 && room.state() == OutboxState::Refuse);
                    }
                } else if let Some(bytes) = held.pop() {
                    room.give_back(bytes);
                }
                prop_assert_eq!(room.used(), held.iter().sum::<u64>());
            }
        }
    }
}
