//! HL7 v2 to FHIR R4 after the maps of HL7's v2-to-FHIR guide: PID, MRG, PV1, ORC, OBR, OBX.
//!
//! Every id is a hash of what the sender calls the thing, so that a resend updates instead of doubling.

mod datatypes;
mod encounter;
mod observation;
mod order;
mod patient;
mod tables;
mod time;

use std::collections::HashMap;

use super::common::{NAMESPACE, identifier, reference, uuid};
use super::json::{Json, array, object, text};
use crate::hl7::{Message, Segment};
use crate::{Feed, Time};
use time::Clock;

/// One transaction Bundle of the message's Patient, Encounter, Location, ServiceRequest, DiagnosticReport and
/// Observation resources, each a `PUT` under a stable id. Other segments stay in the message alone.
pub fn from_hl7(message: &Message, feed: &Feed, received_at: Time) -> Vec<u8> {
    let message = message.for_feed(feed);
    let mut writer = Writer::new(&message, feed, received_at);
    for segment in message.segments() {
        writer.segment(segment);
    }
    writer.finish().to_bytes()
}

/// What has been written so far, and what the next segments belong to.
struct Writer<'m> {
    message: &'m Message,
    feed: &'m Feed,
    clock: Clock,
    received_at: Time,
    entries: Vec<Entry>,
    /// Place in `entries` by resource id.
    places: HashMap<String, usize>,
    patient: Option<Subject>,
    encounter: Option<String>,
    order: order::Group<'m>,
}

struct Entry {
    id: String,
    type_: &'static str,
    members: Vec<(&'static str, Json)>,
}

#[derive(Clone)]
struct Subject {
    id: String,
    authority: String,
}

impl<'m> Writer<'m> {
    fn new(message: &'m Message, feed: &'m Feed, received_at: Time) -> Self {
        let (entries, places, order) = Default::default();
        let clock = Clock::of(message, feed);
        Writer { message, feed, clock, received_at, entries, places, patient: None, encounter: None, order }
    }

    fn segment(&mut self, segment: Segment<'m>) {
        match segment.name().as_ref() {
            "PID" => self.patient(segment),
            "MRG" => self.merged(segment),
            "PV1" => self.encounter(segment),
            "ORC" => self.order = order::Group { orc: Some(segment), ..order::Group::default() },
            "OBR" => self.request(segment),
            "OBX" => self.observation(segment),
            _ => {}
        }
    }

    /// Adds a resource, or nothing where the message has said the same before; gives the reference to it.
    fn put(&mut self, type_: &'static str, id: String, members: Vec<(&'static str, Json)>) -> String {
        let url = format!("urn:uuid:{id}");
        if !self.places.contains_key(&id) {
            self.places.insert(id.clone(), self.entries.len());
            self.entries.push(Entry { id, type_, members });
        }
        url
    }

    fn subject(&self) -> Json {
        match &self.patient {
            Some(subject) => reference(&format!("urn:uuid:{}", subject.id)),
            None => object([("type", text("Patient")), ("display", text("not named in the message"))]),
        }
    }

    fn visit(&self) -> Json {
        self.encounter.as_deref().map_or(Json::Null, reference)
    }

    /// The sender, as part of ids that are unique only within it.
    fn sender(&self) -> String {
        let (application, facility) = self.message.sending();
        format!("{application}|{facility}")
    }

    fn id(&self, parts: &[&str]) -> String {
        let sender = self.sender();
        let authority = self.patient.as_ref().map_or("", |p| p.id.as_str());
        let mut all = vec!["hl7v2", &sender, authority];
        all.extend(parts);
        uuid(&all)
    }

    fn finish(self) -> Json {
        let control_id = self.message.control_id();
        let entries = self.entries.into_iter().map(|Entry { id, type_, members }| {
            let head = [("resourceType", text(type_)), ("id", text(&id))];
            let members = head.into_iter().chain(members).filter(|(_, v)| !super::json::is_empty(v));
            let resource = super::json::Object {
                members: members.map(|(key, value)| (key.into(), value)).collect(),
                span: 0..0,
            };
            let request = object([("method", text("PUT")), ("url", text(format!("{type_}/{id}")))]);
            object([
                ("fullUrl", text(format!("urn:uuid:{id}"))),
                ("resource", Json::Object(resource)),
                ("request", request),
            ])
        });
        object([
            ("resourceType", text("Bundle")),
            ("identifier", identifier(format!("{NAMESPACE}/hl7v2-control-id"), control_id)),
            ("type", text("transaction")),
            ("timestamp", text(self.received_at.to_rfc3339())),
            ("entry", array(entries)),
        ])
    }
}

#[cfg(test)]
mod tests;
