//! A checked resource to canonical events.

mod concept;
mod encounter;
mod observation;
mod patient;
mod reference;

use std::collections::BTreeSet;

use jiff::tz::TimeZone;

use smol_str::SmolStr;

use super::datetime;
use super::json::Json;
use super::read::{Resource, read_bytes};
use crate::{Event, EventKind, Feed, Issue, PatientId, Precision, Severity, Time};
use reference::Neighbours;

/// An event's time may lie so far in the future of its receipt before it is flagged.
const FUTURE_MS_MAX: i64 = 24 * Time::HOUR_MS;

/// What the resource says that happened. Issues of `Severity::Error` mean that it cannot be used; of a
/// batch's entries each stands alone, so that one's error is a warning about the whole.
pub fn to_events(resource: &Resource, feed: &Feed, received_at: Time) -> (Vec<Event>, Vec<Issue>) {
    let zone = feed.time_zone();
    let zone_known = zone.is_some();
    let neighbours = Neighbours::of(&resource.root);
    let mut mapper = Mapper {
        feed,
        zone: zone.unwrap_or(TimeZone::UTC),
        received_at,
        neighbours,
        path: resource.type_().to_owned(),
        events: Vec::new(),
        issues: resource.warnings().to_vec(),
        unmapped: BTreeSet::new(),
    };
    if !zone_known {
        mapper.error(
            "zone-unknown",
            "the feed's zone is no IANA name; correct the configuration, for example to Europe/Zurich",
        );
    }
    match resource.bundle_type() {
        None => mapper.resource(&resource.root, None),
        Some("batch") => mapper.batch(resource),
        Some("transaction" | "message" | "collection" | "document" | "searchset") => {
            mapper.bundle(&resource.root)
        }
        Some(_) => {
            mapper.path.push_str(".type");
            mapper.error(
                "fhir-bundle-unsupported",
                "send a transaction, batch, message, collection, document or searchset",
            );
        }
    }
    mapper.flag_future();
    for type_ in std::mem::take(&mut mapper.unmapped) {
        mapper.path = type_;
        mapper.report(Severity::Information, "fhir-resource-not-mapped", "kept as sent; makes no events");
    }
    (mapper.events, mapper.issues)
}

/// One reading: what it may look at, where it is, and what it has found so far.
struct Mapper<'a> {
    feed: &'a Feed,
    zone: TimeZone,
    received_at: Time,
    neighbours: Neighbours<'a>,
    path: String,
    events: Vec<Event>,
    issues: Vec<Issue>,
    unmapped: BTreeSet<String>,
}

impl Mapper<'_> {
    fn flag_future(&mut self) {
        let latest = self.received_at.0.saturating_add(FUTURE_MS_MAX);
        if self.events.iter().any(|event| event.at.0 > latest) {
            let text = "an event's time lies more than 24 h after receipt; check the sender's clock and zone";
            self.report(Severity::Warning, "event-time-in-future", text);
        }
    }

    fn bundle(&mut self, bundle: &Json) {
        for (at, entry) in bundle.items("entry").iter().enumerate() {
            self.path = format!("Bundle.entry[{at}]");
            self.entry(entry);
        }
    }

    fn entry(&mut self, entry: &Json) {
        match entry.get("request").and_then(|r| r.str("method")) {
            None | Some("POST" | "PUT") => {}
            Some(_) => {
                self.path.push_str(".request.method");
                return self.error(
                    "fhir-method-unsupported",
                    "only POST and PUT are taken: events are added, not removed",
                );
            }
        }
        if let Some(resource) = entry.get("resource") {
            self.path.push_str(".resource");
            self.resource(resource, entry.str("fullUrl"));
        }
    }

    fn batch(&mut self, batch: &Resource) {
        let entries = batch.root.items("entry").iter().zip(batch.entries());
        for (at, (entry, face)) in entries.enumerate() {
            self.path = format!("Bundle.entry[{at}]");
            let place = format!("{}.resource", self.path);
            let before = self.issues.len();
            if face.bytes.is_empty() {
                self.entry(entry);
            } else {
                match read_bytes(face.bytes) {
                    Ok(_) => self.entry(entry),
                    Err(issues) => self.issues.extend(issues.into_iter().map(|i| {
                        let (_, inside) = i.location.split_once('.').unwrap_or_default();
                        Issue { location: format!("{place}.{inside}"), ..i }
                    })),
                }
            }
            for issue in self.issues.iter_mut().skip(before).filter(|i| i.severity == Severity::Error) {
                issue.severity = Severity::Warning;
            }
        }
    }

    fn resource(&mut self, resource: &Json, full_url: Option<&str>) {
        match resource.str("resourceType").unwrap_or_default() {
            "Patient" => self.patient(resource, full_url),
            "Encounter" => self.encounter(resource),
            "Observation" => self.observation(resource),
            other => {
                self.unmapped.insert(other.to_owned());
            }
        }
    }

    fn push(&mut self, patient: &PatientId, visit: Option<&SmolStr>, at: (Time, Precision), kind: EventKind) {
        let (at, precision) = at;
        self.events.push(Event { patient: patient.clone(), visit: visit.cloned(), at, precision, kind });
    }

    /// The time in `text`; `read` has checked its form.
    fn time(&self, text: Option<&str>) -> Option<(Time, Precision)> {
        datetime::parse(text?, &self.zone)
    }

    fn time_or_receipt(&mut self, found: Option<(Time, Precision)>, element: &str) -> (Time, Precision) {
        found.unwrap_or_else(|| {
            self.report_at(
                Severity::Warning,
                "fhir-time-missing",
                element,
                "says no time; the time of receipt stands in",
            );
            (self.received_at, Precision::Second)
        })
    }

    fn error(&mut self, code: &'static str, text: &str) {
        self.report(Severity::Error, code, text);
    }

    fn report(&mut self, severity: Severity, code: &'static str, text: &str) {
        let location = self.path.clone();
        self.issues.push(Issue { severity, code: code.into(), location, text: text.into() });
    }

    fn report_at(&mut self, severity: Severity, code: &'static str, element: &str, text: &str) {
        let location = format!("{}.{element}", self.path);
        self.issues.push(Issue { severity, code: code.into(), location, text: text.into() });
    }
}

#[cfg(test)]
mod tests;
