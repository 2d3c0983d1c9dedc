//! A checked resource to canonical events.

mod bundle;
mod concept;
mod encounter;
mod names;
mod observation;
mod patient;
mod reference;

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use smol_str::SmolStr;

use super::datetime;
use super::json::Json;
use super::read::Resource;
use crate::{Event, EventKind, Feed, Issue, PatientId, Precision, Severity, Time};
use names::Place;
use reference::Neighbours;
pub use reference::identifier_condition;

/// An event's time may lie so far in the future of its receipt before it is flagged.
const FUTURE_MS_MAX: i64 = 24 * Time::HOUR_MS;

/// What was read of a resource.
pub struct Taken {
    pub events: Vec<Event>,
    /// Those of `Severity::Error` mean that it cannot be used; what is wrong with a batch's entry is a warning about
    /// the whole.
    pub issues: Vec<Issue>,
    /// Of a batch, whose entries stand or fall alone: those that cannot be used, by their place, and why not.
    pub refused: BTreeMap<usize, Vec<Issue>>,
}

/// What the resource says that happened. Issues of `Severity::Error` mean that it cannot be used; of a
/// batch's entries each stands alone, so that one's error is a warning about the whole.
pub fn to_events(resource: &Resource, feed: &Feed, received_at: Time) -> (Vec<Event>, Vec<Issue>) {
    let Taken { events, issues, .. } = take(resource, feed, received_at, None);
    (events, issues)
}

/// The same with what a batch's entries came to. `given_id` is the id that the resource's sender hears where it has
/// none of its own: 32 hex digits. A Patient is known by it from then on.
pub fn take(resource: &Resource, feed: &Feed, received_at: Time, given_id: Option<&str>) -> Taken {
    let zone = feed.time_zone();
    let zone_known = zone.is_some();
    let neighbours = Neighbours::of(&resource.root);
    let mut mapper = Mapper {
        feed,
        zone: zone.unwrap_or(TimeZone::UTC),
        received_at,
        neighbours,
        place: Place::default(),
        path: resource.type_().to_owned(),
        events: Vec::new(),
        issues: resource.warnings().to_vec(),
        refused: BTreeMap::new(),
        unmapped: BTreeSet::new(),
    };
    if !zone_known {
        mapper.error(
            "zone-unknown",
            "the feed's zone is no IANA name; correct the configuration, for example to Europe/Zurich",
        );
    }
    match resource.bundle_type() {
        None => mapper.resource(&resource.root, given_id),
        Some(type_) => mapper.bundle(resource, type_),
    }
    mapper.flag_future();
    for type_ in std::mem::take(&mut mapper.unmapped) {
        mapper.path = type_;
        mapper.report(Severity::Information, "fhir-resource-not-mapped", "kept as sent; makes no events");
    }
    Taken { events: mapper.events, issues: mapper.issues, refused: mapper.refused }
}

/// One reading: what it may look at, where it is, and what it has found so far.
struct Mapper<'a> {
    feed: &'a Feed,
    zone: TimeZone,
    received_at: Time,
    neighbours: Neighbours<'a>,
    /// Of the entry that is being read.
    place: Place<'a>,
    path: String,
    events: Vec<Event>,
    issues: Vec<Issue>,
    refused: BTreeMap<usize, Vec<Issue>>,
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

    fn resource(&mut self, resource: &Json, given_id: Option<&str>) {
        match resource.str("resourceType").unwrap_or_default() {
            "Patient" => self.patient(resource, given_id),
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
