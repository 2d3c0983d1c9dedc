//! Tallies as metrics. Their labels are those of the models that the configuration names.

use std::sync::Mutex;

use ml_scoring::Scorer;

use super::Tallies;
use crate::metrics::Metrics;

/// Enough to tell two models of one name apart.
pub(crate) const HASH_DIGITS: usize = 12;

pub(crate) fn show(metrics: &Metrics, scorers: &[Scorer], tallies: &Mutex<Tallies>) {
    // One that was promoted or is gone is counted no longer.
    for gauges in [&metrics.shadow_hours, &metrics.shadow_alerts, &metrics.shadow_agreement] {
        gauges.reset();
    }
    let tallies = tallies.lock().expect("tallies lock");
    for scorer in scorers {
        let hash = hex::encode(scorer.hash());
        let Some(tally) = tallies.get(&hash) else { continue };
        let (hours, short) = (tally.hours, hash.get(..HASH_DIGITS).unwrap_or_default());
        let set = |gauges: &prometheus::IntGaugeVec, label: &str, number: u64| {
            let gauge = gauges.with_label_values(&[scorer.name(), short, label]);
            gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        };
        set(&metrics.shadow_hours, "scored", hours.scored);
        set(&metrics.shadow_hours, "too_few_measurements", hours.too_few_measurements);
        set(&metrics.shadow_hours, "not_in_intensive_care", hours.not_in_intensive_care);
        set(&metrics.shadow_hours, "not_an_adult", hours.not_an_adult);
        set(&metrics.shadow_alerts, "watch", tally.watch);
        set(&metrics.shadow_alerts, "interruptive", tally.interruptive);
        set(&metrics.shadow_agreement, "both", hours.both);
        set(&metrics.shadow_agreement, "only_live", hours.only_live);
        set(&metrics.shadow_agreement, "only_shadow", hours.only_shadow);
        set(&metrics.shadow_agreement, "neither", hours.neither);
    }
}
