//! What a feed does at each hour of the week, learned from the weeks before.
//!
//! It counts minutes with a message, and not messages: senders send in bursts, and of a burst's length nothing follows
//! for the silence after it.

use serde::{Deserialize, Serialize};

pub(super) const HOURS: usize = 7 * 24;
const WEEK_MIN: i64 = 7 * 24 * 60;

/// What is kept of an hour's counts when the same hour comes again: the last two or three weeks speak.
const KEEP: f64 = 0.5;
/// An hour of which less was watched says nothing.
const WATCHED_MIN: f64 = 30.0;
/// No silence is shorter.
const QUIET_MIN: u32 = 5;
/// A feed begins some thousand silences a week. One in 100,000 is then a false alarm in months, not one in a day.
const ODDS: f64 = 1e-5;

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Hour {
    /// Minutes in which messages came, and minutes that were watched; both fade.
    active: f64,
    watched: f64,
    week: i64,
}

impl Hour {
    /// How likely a minute of it has a message; 0 where nothing is known. Never 1.
    fn chance(&self) -> f64 {
        if self.watched < WATCHED_MIN { 0.0 } else { self.active / (self.watched + 1.0) }
    }
}

/// One feed's. Survives restarts: minutes in which the site did not run count for nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Rhythm {
    /// The first minute that was watched.
    began: Option<i64>,
    hours: Vec<Hour>,
    /// Watched minutes since the last message, and the logarithm of how likely so many are.
    quiet: u32,
    ln_odds: f64,
}

impl Default for Rhythm {
    fn default() -> Rhythm {
        Rhythm { began: None, hours: vec![Hour::default(); HOURS], quiet: 0, ln_odds: 0.0 }
    }
}

impl Rhythm {
    /// A minute has gone by: `minute` since the epoch, at `hour` of the week.
    pub fn minute(&mut self, minute: i64, hour: usize, has_messages: bool) {
        self.began.get_or_insert(minute);
        let Some(hour) = self.hours.get_mut(hour) else { return };
        let week = minute.div_euclid(WEEK_MIN);
        if std::mem::replace(&mut hour.week, week) != week {
            hour.active *= KEEP;
            hour.watched *= KEEP;
        }
        if has_messages {
            (self.quiet, self.ln_odds) = (0, 0.0);
            hour.active += 1.0;
        } else {
            self.quiet = self.quiet.saturating_add(1);
            self.ln_odds += (1.0 - hour.chance()).ln();
        }
        hour.watched += 1.0;
    }

    /// A message came in the minute that is not over.
    pub fn message(&mut self) {
        (self.quiet, self.ln_odds) = (0, 0.0);
    }

    /// Quiet minutes, if so many are out of the ordinary.
    pub fn improbable(&self, minute: i64) -> Option<u32> {
        let has_learned = self.began.is_some_and(|began| minute - began >= WEEK_MIN);
        (has_learned && self.quiet >= QUIET_MIN && self.ln_odds < ODDS.ln()).then_some(self.quiet)
    }

    /// Of 60 minutes of this hour, how many have messages; and how unlikely the silence is, as 1 in 10 to the power.
    pub fn usual(&self, hour: usize) -> (u32, u32) {
        let chance = self.hours.get(hour).map_or(0.0, Hour::chance);
        ((chance * 60.0).round() as u32, (-self.ln_odds / std::f64::consts::LN_10).round() as u32)
    }

    /// Whether it was read from where one was kept and can be used.
    pub fn is_whole(&self) -> bool {
        self.hours.len() == HOURS && self.ln_odds.is_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour_of(minute: i64) -> usize {
        (minute.div_euclid(60)).rem_euclid(HOURS as i64) as usize
    }

    /// Weeks of a feed that has messages where `speaks` says so.
    fn learned(weeks: i64, speaks: impl Fn(i64) -> bool) -> Rhythm {
        let mut rhythm = Rhythm::default();
        for minute in 0..weeks * WEEK_MIN {
            rhythm.minute(minute, hour_of(minute), speaks(minute));
            assert_eq!(rhythm.improbable(minute), None, "minute {minute}");
        }
        rhythm
    }

    /// How many quiet minutes it takes from `minute` on.
    fn flagged_after(rhythm: &mut Rhythm, minute: i64) -> Option<i64> {
        (0..3 * WEEK_MIN).find(|after| {
            rhythm.minute(minute + after, hour_of(minute + after), false);
            rhythm.improbable(minute + after).is_some()
        })
    }

    const DAY: i64 = 24 * 60;

    #[test]
    fn a_busy_feed_is_missed_within_minutes_and_a_rare_one_within_hours() {
        let (mut busy, mut rare) = (learned(2, |_| true), learned(2, |minute| minute % 60 == 0));
        assert_eq!(flagged_after(&mut busy, 2 * WEEK_MIN), Some(i64::from(QUIET_MIN) - 1));
        let hours = flagged_after(&mut rare, 2 * WEEK_MIN).unwrap() / 60;
        assert!((6..24).contains(&hours), "{hours} h");
    }

    #[test]
    fn hours_that_are_always_quiet_are_not_held_against_it() {
        // An outpatient clinic: 8 to 18 on five days.
        let opens = |minute: i64| minute % WEEK_MIN / DAY < 5 && (8..18).contains(&(minute % DAY / 60));
        let mut clinic = learned(4, opens);
        let friday_evening = 4 * WEEK_MIN + 4 * DAY + 18 * 60;
        (4 * WEEK_MIN..friday_evening)
            .for_each(|minute| clinic.minute(minute, hour_of(minute), opens(minute)));
        let monday = 5 * WEEK_MIN + 8 * 60;
        let flagged = friday_evening + flagged_after(&mut clinic, friday_evening).unwrap();
        assert!((monday..monday + 15).contains(&flagged), "{} minutes from Monday, 8:00", flagged - monday);
    }

    #[test]
    fn a_message_clears_and_what_was_not_watched_counts_for_nothing() {
        let mut feed = learned(2, |_| true);
        flagged_after(&mut feed, 2 * WEEK_MIN);
        assert_eq!(feed.improbable(2 * WEEK_MIN + 5), Some(QUIET_MIN));
        feed.message();
        assert_eq!(feed.improbable(2 * WEEK_MIN + 5), None);
        // A week's halt of the site: no silence, no forgetting of what it learned.
        let later = 4 * WEEK_MIN;
        feed.minute(later, hour_of(later), false);
        assert_eq!(feed.improbable(later), None);
        assert!(feed.usual(hour_of(later) + 1).0 >= 58);
    }

    #[test]
    fn a_feed_that_gave_up_an_hour_is_soon_expected_no_more() {
        let mut feed = learned(4, |_| true);
        // From now on it is quiet on Sundays.
        let quiet = |minute: i64| minute % WEEK_MIN / DAY == 6;
        let mut flags = Vec::new();
        for week in 4..12 {
            let mut flagged = 0;
            for minute in week * WEEK_MIN..(week + 1) * WEEK_MIN {
                feed.minute(minute, hour_of(minute), !quiet(minute));
                flagged += u32::from(feed.improbable(minute).is_some());
            }
            flags.push(flagged);
        }
        assert!(flags[0] > 1_000 && flags[7] < flags[0] / 2, "{flags:?}");
    }
}
