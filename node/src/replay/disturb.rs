//! What real feeds do to messages: they send them twice, late and out of order, and wrong at first. None of it may
//! change what is known of an hour once its messages have come.

use clinical::{Column, ObservationStatus, Time};
use ml_scoring::dataset::Source;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::plan::{Reading, Results, Telling, What};

/// Shares of the messages.
const DELAYED: f64 = 0.3;
const CORRECTED: f64 = 0.2;
const DUPLICATED: f64 = 0.1;
/// Of the corrected ones, those that also take back what was never measured.
const WITHDRAWN: f64 = 0.5;
const LATE_MS: std::ops::Range<i64> = 1..3 * Time::HOUR_MS;

/// How often what was done.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Disturbances {
    pub delayed: u64,
    pub duplicated: u64,
    /// Messages whose values were all wrong at first.
    pub corrected: u64,
    /// Values that were sent and taken back.
    pub withdrawn: u64,
}

pub struct Disturber {
    rng: ChaCha8Rng,
    pub done: Disturbances,
}

impl Disturber {
    /// The same seed and the same patients give the same messages.
    pub fn new(seed: u64) -> Disturber {
        Disturber { rng: ChaCha8Rng::seed_from_u64(seed), done: Disturbances::default() }
    }

    /// The messages in the order of their arrival.
    pub fn disturb(&mut self, tellings: Vec<Telling>) -> Vec<Telling> {
        let mut all = Vec::with_capacity(tellings.len() * 2);
        for telling in tellings {
            let wrong = match &telling.what {
                What::Results(results) if self.rng.gen_bool(CORRECTED) => Some(self.wrong(&telling, results)),
                _ => None,
            };
            match wrong {
                Some((wrong, correction)) => all.extend([wrong, correction]),
                None => all.push(telling),
            }
        }
        let mut repeated = Vec::new();
        for telling in &mut all {
            if self.rng.gen_bool(DELAYED) {
                telling.arrives_at.0 += self.late();
                self.done.delayed += 1;
            }
            if self.rng.gen_bool(DUPLICATED) {
                let arrives_at = Time(telling.arrives_at.0 + self.late());
                repeated.push(Telling { arrives_at, ..telling.clone() });
                self.done.duplicated += 1;
            }
        }
        all.extend(repeated);
        all.sort_by_key(|telling| telling.arrives_at);
        all
    }

    fn late(&mut self) -> i64 {
        self.rng.gen_range(LATE_MS)
    }

    /// What was sent at first, and what then corrected it.
    fn wrong(&mut self, telling: &Telling, right: &Results) -> (Telling, Telling) {
        self.done.corrected += 1;
        let mut wrong = right.clone();
        let mut correction = right.clone();
        wrong.readings.iter_mut().for_each(|reading| reading.number = reading.number * 1.25 + 1.0);
        correction.readings.iter_mut().for_each(|reading| reading.status = ObservationStatus::Corrected);
        if self.rng.gen_bool(WITHDRAWN)
            && let Some(column) = self.not_measured(right)
        {
            self.done.withdrawn += 1;
            let reading = Reading { column, number: 50.0, status: ObservationStatus::Final };
            wrong.readings.push(reading);
            correction.readings.push(Reading { status: ObservationStatus::Deleted, ..reading });
        }
        let sent_at = Time(telling.sent_at.0 + self.late());
        let correction = Telling {
            control_id: format!("{}C", telling.control_id),
            sent_at,
            arrives_at: sent_at,
            what: What::Results(correction),
            ..telling.clone()
        };
        (Telling { what: What::Results(wrong), ..telling.clone() }, correction)
    }

    fn not_measured(&mut self, results: &Results) -> Option<Column> {
        let source: Source = results.source;
        let measured = |column: &Column| results.readings.iter().any(|reading| reading.column == *column);
        let missing: Vec<Column> = source.columns().iter().copied().filter(|c| !measured(c)).collect();
        missing.choose(&mut self.rng).copied()
    }
}
