//! One look at a running site, through the same API that its pages use.

use std::time::Instant;

use serde_json::Value;

use crate::http::{AdminClient, ClientError};

/// So many alerts are looked through for those that nobody has answered.
pub const ALERTS: usize = 200;

pub struct Sample {
    pub taken: Instant,
    pub status: Value,
    pub ledger: Value,
    pub feeds: Value,
    pub sites: Value,
    pub alerts: Value,
    pub metrics: Metrics,
}

impl Sample {
    pub async fn take(client: &AdminClient) -> Result<Sample, ClientError> {
        Ok(Sample {
            taken: Instant::now(),
            status: client.get("/api/status").await?,
            ledger: client.get("/api/ledger").await?,
            feeds: client.get("/api/feeds").await?,
            sites: client.get("/api/sites").await?,
            alerts: client.get(&format!("/api/alerts?limit={ALERTS}")).await?,
            metrics: Metrics(client.text("/metrics").await?),
        })
    }
}

/// Prometheus' text format, as this program writes it.
pub struct Metrics(pub String);

impl Metrics {
    /// The sum of a metric's samples that have this label, or all of them.
    pub fn sum(&self, name: &str, label: Option<(&str, &str)>) -> f64 {
        let label = label.map(|(name, value)| format!("{name}=\"{value}\""));
        let value = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let (of, labels) = series.split_once('{').unwrap_or((series, ""));
            let has_label = |label: &String| labels.trim_end_matches('}').split(',').any(|one| one == label);
            (of == name && label.as_ref().is_none_or(has_label)).then(|| value.parse::<f64>().ok())?
        };
        self.0.lines().filter_map(value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn samples_are_summed_by_name_and_label() {
        let text = "# TYPE a counter\na{code=\"x\",feed=\"adt\"} 2\na{code=\"y\",feed=\"adt\"} 3\na{code=\"x\",feed=\"lab\"} 5\n\
                    a_b{feed=\"adt\"} 100\nc 7.5\n";
        let metrics = Metrics(text.into());
        assert_eq!(metrics.sum("a", Some(("feed", "adt"))), 5.0);
        assert_eq!(metrics.sum("a", None), 10.0);
        assert_eq!(metrics.sum("c", None), 7.5);
        assert_eq!(metrics.sum("d", None), 0.0);
    }
}
