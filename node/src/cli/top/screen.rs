//! Two looks at a site as one view: totals of the later one, rates between both.

use std::fmt::Write;

use clinical::Time;
use serde::Serialize;
use serde_json::Value;

use super::sample::{ALERTS, Sample};

#[derive(Serialize)]
pub struct View {
    site: String,
    ready: bool,
    ledger: Ledger,
    outbox: Value,
    sites: Vec<Value>,
    feeds: Vec<Feed>,
    sinks: Vec<Sink>,
    alerts: Alerts,
}

#[derive(Serialize)]
struct Ledger {
    size: u64,
    per_s: f64,
    role: String,
    leader: Option<String>,
    term: u64,
    /// Entries that no cosigned checkpoint covers yet.
    without_checkpoint: u64,
    /// Entries that are not scored yet.
    tail_lag: u64,
    in_flight_bytes: u64,
    notice: Option<String>,
    damage: Option<String>,
}

#[derive(Serialize)]
struct Feed {
    name: String,
    kind: String,
    state: String,
    per_s: f64,
    received: u64,
    in_flight: u64,
    oldest_s: f64,
    lag: u64,
    /// Since the site began.
    refused: u64,
    silent: Option<String>,
    last_error: Option<String>,
}

#[derive(Serialize)]
struct Sink {
    name: String,
    kind: String,
    per_s: f64,
    delivered: u64,
    refused: u64,
    /// Since the site began.
    retries: u64,
    last_error: Option<String>,
}

/// Of the newest ones.
#[derive(Serialize)]
struct Alerts {
    looked_at: usize,
    open_interruptive: usize,
    open_watch: usize,
}

impl View {
    pub fn of(before: &Sample, now: &Sample) -> View {
        let s = now.taken.duration_since(before.taken).as_secs_f64();
        View {
            site: text(&now.status, "site"),
            ready: now.status["ready"] == true,
            ledger: ledger(before, now, s),
            outbox: now.feeds["outbox"].clone(),
            sites: list(&now.sites).cloned().collect(),
            feeds: list(&now.feeds["feeds"]).map(|row| feed(before, now, row, s)).collect(),
            sinks: list(&now.feeds["sinks"]).map(|row| sink(before, now, row, s)).collect(),
            alerts: alerts(&now.alerts),
        }
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let View { ledger, alerts, .. } = self;
        let ready = if self.ready { "ready" } else { "NOT READY: no leader is known" };
        let leader = ledger.leader.as_deref().unwrap_or("nobody");
        writeln!(
            out,
            "site {}   {ready}   {}, {leader} leads, term {}",
            self.site, ledger.role, ledger.term
        )?;
        writeln!(
            out,
            "ledger {} entries, {:.1}/s   {} without checkpoint   {} not scored   {} bytes in flight",
            ledger.size, ledger.per_s, ledger.without_checkpoint, ledger.tail_lag, ledger.in_flight_bytes
        )?;
        let outbox = |field: &str| number(&self.outbox, field);
        writeln!(
            out,
            "outbox {}, {} wait, {} bytes   alerts open: {} interruptive, {} watch{}",
            self.outbox["state"].as_str().unwrap_or("?"),
            outbox("entries"),
            outbox("bytes"),
            alerts.open_interruptive,
            alerts.open_watch,
            if alerts.looked_at == ALERTS { " (of the newest 200)" } else { "" },
        )?;
        for bad in [&ledger.notice, &ledger.damage].into_iter().flatten() {
            writeln!(out, "! {bad}")?;
        }
        self.write_sites(out)?;
        self.write_feeds(out)?;
        self.write_sinks(out)
    }

    fn write_sites(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n{:<20} {:<9} {:>10} {:<12}", "SITE", "ROLE", "BEHIND", "")?;
        for site in &self.sites {
            let lag = site["lag"].as_u64().map_or("-".to_owned(), |lag| lag.to_string());
            let reachable = if site["reachable"] == true { "" } else { "UNREACHABLE" };
            let (name, role) = (cell(&site["site"]), cell(&site["role"]));
            writeln!(out, "{name:<20} {role:<9} {lag:>10} {reachable:<12}")?;
        }
        Ok(())
    }

    fn write_feeds(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\n{:<20} {:<6} {:<11} {:>9} {:>11} {:>9} {:>8} {:>9} {:>9}",
            "FEED", "KIND", "STATE", "RATE/S", "RECEIVED", "IN FLIGHT", "OLDEST S", "LAG", "REFUSED"
        )?;
        for feed in &self.feeds {
            writeln!(
                out,
                "{:<20} {:<6} {:<11} {:>9.1} {:>11} {:>9} {:>8.1} {:>9} {:>9}",
                feed.name,
                feed.kind,
                if feed.silent.is_some() { "SILENT" } else { &feed.state },
                feed.per_s,
                feed.received,
                feed.in_flight,
                feed.oldest_s,
                feed.lag,
                feed.refused
            )?;
            for bad in [&feed.silent, &feed.last_error].into_iter().flatten() {
                writeln!(out, "  ! {bad}")?;
            }
        }
        Ok(())
    }

    fn write_sinks(&self, out: &mut String) -> std::fmt::Result {
        if self.sinks.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\n{:<20} {:<8} {:>9} {:>11} {:>9} {:>9}",
            "SINK", "KIND", "RATE/S", "DELIVERED", "REFUSED", "RETRIES"
        )?;
        for sink in &self.sinks {
            writeln!(
                out,
                "{:<20} {:<8} {:>9.1} {:>11} {:>9} {:>9}",
                sink.name, sink.kind, sink.per_s, sink.delivered, sink.refused, sink.retries
            )?;
            if let Some(error) = &sink.last_error {
                writeln!(out, "  ! {error}")?;
            }
        }
        Ok(())
    }
}

fn ledger(before: &Sample, now: &Sample, s: f64) -> Ledger {
    let (ledger, size) = (&now.ledger, number(&now.ledger, "size"));
    let whole = |name: &str| now.metrics.sum(name, None) as u64;
    Ledger {
        size,
        per_s: rate(number(&before.ledger, "size"), size, s),
        role: text(ledger, "role"),
        leader: some(ledger, "leader"),
        term: number(ledger, "term"),
        without_checkpoint: size.saturating_sub(whole("medulla_checkpoint_size")),
        tail_lag: whole("medulla_tail_lag"),
        in_flight_bytes: number(ledger, "in_flight_bytes"),
        notice: some(ledger, "notice"),
        damage: some(ledger, "damage"),
    }
}

fn feed(before: &Sample, now: &Sample, row: &Value, s: f64) -> Feed {
    let name = text(row, "name");
    let (was, received) = (earlier(&before.feeds["feeds"], &name, "received"), number(row, "received"));
    Feed {
        per_s: rate(was.unwrap_or(received), received, s),
        received,
        kind: text(row, "kind"),
        state: text(row, "state"),
        in_flight: number(row, "in_flight"),
        oldest_s: row["oldest_s"].as_f64().unwrap_or_default(),
        lag: number(row, "lag"),
        refused: now.metrics.sum("medulla_rejected_total", Some(("feed", &name))) as u64,
        silent: some(&row["silent"], "why").map(|why| {
            let since = Time(row["silent"]["since"].as_i64().unwrap_or_default()).to_rfc3339();
            format!("silent since {since}: {why}")
        }),
        last_error: some(row, "last_error"),
        name,
    }
}

fn sink(before: &Sample, now: &Sample, row: &Value, s: f64) -> Sink {
    let name = text(row, "name");
    let (was, delivered) = (earlier(&before.feeds["sinks"], &name, "delivered"), number(row, "delivered"));
    let of_sink: Vec<&str> =
        now.metrics.0.lines().filter(|line| line.contains("outcome=\"retry\"")).collect();
    let retries = super::sample::Metrics(of_sink.join("\n"));
    Sink {
        per_s: rate(was.unwrap_or(delivered), delivered, s),
        delivered,
        kind: text(row, "kind"),
        refused: number(row, "refused"),
        retries: retries.sum("medulla_deliveries_total", Some(("sink", &name))) as u64,
        last_error: some(row, "last_error"),
        name,
    }
}

fn alerts(alerts: &Value) -> Alerts {
    let open = |tier: &str| {
        list(alerts).filter(|alert| alert["acknowledged"].is_null() && alert["tier"] == tier).count()
    };
    Alerts {
        looked_at: list(alerts).count(),
        open_interruptive: open("interruptive"),
        open_watch: open("watch"),
    }
}

/// A site that has started again meanwhile counts from 0: then nothing is known.
fn rate(was: u64, is: u64, s: f64) -> f64 {
    if s > 0.0 { is.saturating_sub(was) as f64 / s } else { 0.0 }
}

fn earlier(rows: &Value, name: &str, field: &str) -> Option<u64> {
    list(rows).find(|row| row["name"] == name).map(|row| number(row, field))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_default()
}

fn text(value: &Value, field: &str) -> String {
    some(value, field).unwrap_or_default()
}

fn some(value: &Value, field: &str) -> Option<String> {
    value[field].as_str().map(str::to_owned)
}

fn cell(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::super::sample::Metrics;
    use super::*;

    fn sample(taken: Instant, received: u64, size: u64) -> Sample {
        let feed = json!({"name": "adt", "kind": "mllp", "state": "running", "received": received, "in_flight": 1,
            "oldest_s": 0.5, "lag": 0, "silent": {"since": 0, "why": "no message for 15m"}, "last_error": null});
        let sink =
            json!({"name": "ehr", "kind": "webhook", "delivered": 3, "refused": 0, "last_error": "away"});
        Sample {
            taken,
            status: json!({"site": "a", "ready": true}),
            ledger: json!({"size": size, "role": "Leader", "leader": "a", "term": 2}),
            feeds: json!({"feeds": [feed], "sinks": [sink], "outbox": {"state": "normal", "entries": 0, "bytes": 0}}),
            sites: json!([{"site": "a", "role": "leader", "reachable": true, "lag": 0},
                {"site": "b", "role": "voter", "reachable": false, "lag": 7}]),
            alerts: json!([{"tier": "watch", "acknowledged": null}, {"tier": "watch", "acknowledged": {}},
                {"tier": "interruptive", "acknowledged": null}]),
            metrics: Metrics(
                "medulla_rejected_total{code=\"x\",feed=\"adt\"} 4\nmedulla_checkpoint_size 90\n\
                 medulla_deliveries_total{outcome=\"retry\",sink=\"ehr\"} 5\n\
                 medulla_deliveries_total{outcome=\"delivered\",sink=\"ehr\"} 3\nmedulla_tail_lag 2\n"
                    .into(),
            ),
        }
    }

    #[test]
    fn totals_are_of_now_and_rates_of_the_time_between() {
        let began = Instant::now();
        let view = View::of(&sample(began, 10, 80), &sample(began + Duration::from_secs(2), 30, 100));
        let (feed, sink) = (&view.feeds[0], &view.sinks[0]);
        assert_eq!((feed.per_s, feed.received, feed.refused), (10.0, 30, 4));
        assert_eq!((view.ledger.per_s, view.ledger.without_checkpoint, view.ledger.tail_lag), (10.0, 10, 2));
        assert_eq!((sink.per_s, sink.delivered, sink.retries), (0.0, 3, 5));
        assert_eq!((view.alerts.open_interruptive, view.alerts.open_watch), (1, 1));
        let text = view.text();
        for needle in
            ["SILENT", "no message for 15m", "UNREACHABLE", "! away", "10.0/s", "1 interruptive, 1 watch"]
        {
            assert!(text.contains(needle), "{needle} in\n{text}");
        }
    }

    #[test]
    fn a_restart_between_two_looks_is_no_negative_rate() {
        let began = Instant::now();
        let view = View::of(&sample(began, 30, 100), &sample(began + Duration::from_secs(2), 1, 100));
        assert_eq!(view.feeds[0].per_s, 0.0);
    }
}
