//! Looks once a second whether a feed has brought something, and once a minute at what it should have.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clinical::Time;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use raft_ledger::Ledger;

use super::rhythm::{HOURS, Rhythm};
use super::{FeedSilent, Silence, span};
use crate::clock;
use crate::feeds::{Feeds, RunningFeed};

const LOOK_EVERY: Duration = Duration::from_secs(1);
const MINUTE_MS: i64 = 60_000;
const PLACE: &str = "silence/";

/// One feed's; shared with whoever shows it.
#[derive(Clone)]
pub(crate) struct Watch {
    feed: Arc<str>,
    state: Arc<Mutex<State>>,
}

struct State {
    setting: Silence,
    zone: TimeZone,
    rhythm: Rhythm,
    started: Time,
    /// Messages that were counted up to the last look.
    received: u64,
    last_message: Option<Time>,
    /// The minute under way; `None`: it has not been watched from its beginning.
    minute: Option<i64>,
    has_messages: bool,
    silent: Option<FeedSilent>,
}

impl Watch {
    /// `zone`: IANA name; what people do by the clock follows the clock on their wall.
    pub fn new(feed: &str, setting: Silence, zone: &str, ledger: &Ledger) -> Watch {
        let kept = ledger.site_get(&place(feed)).ok().flatten();
        let rhythm = kept.and_then(|bytes| rmp_serde::from_slice::<Rhythm>(&bytes).ok());
        let rhythm = rhythm.filter(Rhythm::is_whole).unwrap_or_default();
        Watch::with(feed, setting, zone, rhythm, clock::now())
    }

    fn with(feed: &str, setting: Silence, zone: &str, rhythm: Rhythm, started: Time) -> Watch {
        let state = State {
            setting,
            zone: time_zone(zone),
            rhythm,
            started,
            received: 0,
            last_message: None,
            minute: None,
            has_messages: false,
            silent: None,
        };
        Watch { feed: feed.into(), state: Arc::new(Mutex::new(state)) }
    }

    /// From here on by another setting and another zone; what is silent by these is found with the next look.
    pub fn exchange(&self, setting: Silence, zone: &str) {
        let zone = time_zone(zone);
        let mut state = self.lock();
        // What was flagged by the same goes on.
        if (state.setting, &state.zone) != (setting, &zone) {
            (state.setting, state.zone, state.silent) = (setting, zone, None);
        }
    }

    pub fn setting(&self) -> Silence {
        self.lock().setting
    }

    pub fn silent(&self) -> Option<FeedSilent> {
        self.lock().silent.clone()
    }

    /// Since the site began to listen.
    pub fn last_message(&self) -> Option<Time> {
        self.lock().last_message
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `received`: all that the feed has brought up to `now`. True once a minute.
    fn look(&self, now: Time, received: u64) -> bool {
        let mut state = self.lock();
        if std::mem::replace(&mut state.received, received) != received {
            (state.last_message, state.has_messages) = (Some(now), true);
            state.rhythm.message();
            if state.silent.take().is_some() {
                tracing::info!(feed = &*self.feed, "the feed brings messages again");
            }
        }
        let is_over = state.minute_over(now);
        if state.silent.is_none()
            && let Some(silent) = state.judge(now)
        {
            tracing::warn!(
                feed = &*self.feed,
                why = silent.why,
                "the feed is silent; ask the sending system"
            );
            state.silent = Some(silent);
        }
        is_over
    }

    fn kept(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        (place(&self.feed), rmp_serde::to_vec(&self.lock().rhythm).ok())
    }
}

impl State {
    /// Whether a minute has ended since the last look; it is learned from then.
    fn minute_over(&mut self, now: Time) -> bool {
        let minute = now.0.div_euclid(MINUTE_MS);
        match self.minute {
            Some(under_way) if under_way == minute => return false,
            // Watched from end to end; after a halt of the machine it was not.
            Some(under_way) if under_way + 1 == minute => {
                let hour = hour_of_week(under_way * MINUTE_MS, &self.zone);
                self.rhythm.minute(under_way, hour, self.has_messages);
            }
            _ => {}
        }
        (self.minute, self.has_messages) = (Some(minute), false);
        true
    }

    fn judge(&self, now: Time) -> Option<FeedSilent> {
        let last = self.last_message.unwrap_or(self.started);
        match self.setting {
            Silence::Off => None,
            Silence::After(after) => {
                let waited = Duration::from_millis(now.0.saturating_sub(last.0).max(0).unsigned_abs());
                let why = || format!("no message for {} (silence = {0:?})", span(after));
                (waited >= after).then(|| FeedSilent { since: last, why: why() })
            }
            Silence::Auto => {
                let minutes = self.rhythm.improbable(now.0.div_euclid(MINUTE_MS))?;
                let hour = hour_of_week(now.0, &self.zone);
                let (usual, odds) = self.rhythm.usual(hour);
                let why = format!(
                    "no message for {minutes} minutes; {} from {:02}:00, {usual} of 60 minutes have some, and so long a \
                     silence comes once in 10^{odds}",
                    DAYS.get(hour / 24).unwrap_or(&""),
                    hour % 24,
                );
                let since = self.last_message.unwrap_or(Time(now.0 - i64::from(minutes) * MINUTE_MS));
                Some(FeedSilent { since, why })
            }
        }
    }
}

const DAYS: [&str; 7] = ["Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"];

fn time_zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

/// From Monday, 0:00.
fn hour_of_week(at_ms: i64, zone: &TimeZone) -> usize {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or_default().to_zoned_datetime(zone.clone());
    let day = usize::try_from(at.weekday().to_monday_zero_offset()).unwrap_or_default();
    (day * 24 + usize::try_from(at.hour()).unwrap_or_default()) % HOURS
}

fn place(feed: &str) -> Vec<u8> {
    format!("{PLACE}{feed}").into_bytes()
}

/// Watches over all feeds of a site.
pub(crate) struct Sitter {
    pub ledger: Ledger,
    pub feeds: Arc<Feeds>,
}

impl Sitter {
    pub async fn run(self) {
        let mut second = tokio::time::interval(LOOK_EVERY);
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            second.tick().await;
            let now = clock::now();
            let mut is_over = false;
            let feeds = self.feeds.all();
            for feed in &feeds {
                is_over |= feed.silence.look(now, feed.status.received.load(Ordering::Relaxed));
            }
            if is_over {
                self.keep(&feeds).await;
            }
        }
    }

    async fn keep(&self, feeds: &[Arc<RunningFeed>]) {
        let (ledger, kept) =
            (self.ledger.clone(), feeds.iter().map(|feed| feed.silence.kept()).collect::<Vec<_>>());
        let kept = tokio::task::spawn_blocking(move || ledger.site_write(kept)).await;
        if let Ok(Err(error)) = kept {
            tracing::warn!(%error, "what feeds usually do was not kept; a restart would know less of it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time(1_700_000_000_000);

    fn after(s: i64) -> Time {
        Time(START.0 + s * 1000)
    }

    #[test]
    fn a_fixed_silence_is_flagged_and_the_first_message_clears_it() {
        let setting = Silence::After(Duration::from_secs(900));
        let watch = Watch::with("adt", setting, "UTC", Rhythm::default(), START);
        watch.look(after(899), 0);
        assert_eq!(watch.silent(), None);
        watch.look(after(900), 0);
        let silent = watch.silent().unwrap();
        assert_eq!((silent.since, silent.why.as_str()), (START, "no message for 15m (silence = \"15m\")"));
        watch.look(after(901), 1);
        assert_eq!((watch.silent(), watch.last_message()), (None, Some(after(901))));
        watch.look(after(1800), 1);
        assert_eq!(watch.silent(), None);
        watch.look(after(1801), 1);
        assert_eq!(watch.silent().unwrap().since, after(901));
    }

    #[test]
    fn another_setting_holds_at_once_and_counts_from_the_last_message() {
        let watch =
            Watch::with("adt", Silence::After(Duration::from_secs(60)), "UTC", Rhythm::default(), START);
        watch.look(after(10), 1);
        watch.look(after(70), 1);
        assert!(watch.silent().is_some());
        watch.exchange(Silence::After(Duration::from_secs(90)), "Europe/Zurich");
        watch.look(after(99), 1);
        assert_eq!(watch.silent(), None);
        watch.look(after(100), 1);
        assert_eq!(watch.silent().unwrap().since, after(10));
        watch.exchange(Silence::After(Duration::from_secs(90)), "Europe/Zurich");
        assert!(watch.silent().is_some(), "nothing else is set");
        watch.exchange(Silence::Off, "UTC");
        watch.look(after(1_000), 1);
        assert_eq!((watch.silent(), watch.setting()), (None, Silence::Off));
    }

    #[test]
    fn off_is_never_flagged() {
        let watch = Watch::with("adt", Silence::Off, "UTC", Rhythm::default(), START);
        watch.look(after(1_000_000), 0);
        assert_eq!(watch.silent(), None);
    }

    #[test]
    fn a_feed_is_held_to_what_it_did_in_the_weeks_before_also_after_a_restart() {
        let watch = Watch::with("adt", Silence::Auto, "Europe/Zurich", Rhythm::default(), START);
        let minutes = 8 * 24 * 60;
        for minute in 0..minutes {
            watch.look(after(minute * 60), minute as u64);
        }
        assert_eq!(watch.silent(), None);
        let rhythm = rmp_serde::from_slice::<Rhythm>(&watch.kept().1.unwrap()).unwrap();
        assert!(rhythm.is_whole());
        let again = Watch::with("adt", Silence::Auto, "Europe/Zurich", rhythm, after(minutes * 60));
        for minute in minutes..minutes + 4 {
            again.look(after(minute * 60), 0);
        }
        assert_eq!(again.silent(), None);
        for minute in minutes + 4..minutes + 10 {
            again.look(after(minute * 60), 0);
        }
        let why = again.silent().unwrap().why;
        assert!(why.contains("no message for") && why.contains("of 60 minutes"), "{why}");
        again.look(after((minutes + 10) * 60), 1);
        assert_eq!(again.silent(), None);
    }

    #[test]
    fn hours_follow_the_clock_on_the_wall() {
        let zurich = TimeZone::get("Europe/Zurich").unwrap();
        // 2026-11-23 is a Monday; 07:30 UTC is 08:30 there, and 2026-07-20, a Monday too, 09:30.
        assert_eq!(hour_of_week(1_795_419_000_000, &zurich), 8);
        assert_eq!(hour_of_week(1_784_532_600_000, &zurich), 9);
    }
}
