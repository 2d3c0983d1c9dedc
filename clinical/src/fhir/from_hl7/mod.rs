//! HL7 v2 to FHIR R4 after the maps of HL7's v2-to-FHIR guide. What is plain is a row of `maps.txt` or
//! `concepts.txt`; what needs a decision is code beside it.
//!
//! Every id is a hash of what the sender calls the thing, so that a resend updates instead of doubling. A field
//! whose value is not found again in what was written is kept as it was sent, in a Basic resource.

mod actors;
mod appointment;
mod clinical;
mod convert;
mod coverage;
mod datatypes;
mod document;
mod encounter;
mod fill;
mod header;
mod kept;
mod medication;
mod observation;
mod order;
mod patient;
mod repair;
mod specimen;
mod table;
mod tables;
#[cfg(test)]
mod tests;
mod time;

pub use coverage::{Fate, coverage};

use std::collections::HashMap;

use super::common::{NAMESPACE, identifier, reference, uuid};
use super::json::{self, Json, Object, array, object, text};
use crate::hl7::{Message, Segment};
use crate::{Feed, Time};
use time::Clock;

/// One transaction Bundle of what the message says, each resource a `PUT` under a stable id.
pub fn from_hl7(message: &Message, feed: &Feed, received_at: Time) -> Vec<u8> {
    let message = message.for_feed(feed);
    Writer::new(&message, feed, received_at).write().bundle().to_bytes()
}

/// What has been written so far, and what the next segments belong to. Entries are named by their place.
struct Writer<'m> {
    message: &'m Message,
    feed: &'m Feed,
    clock: Clock,
    received_at: Time,
    /// Part of ids that are unique only within it.
    sender: String,
    kind: Kind,
    entries: Vec<Entry>,
    /// Place in `entries` by resource id.
    places: HashMap<String, usize>,
    /// How often each Observation's id was asked for.
    copies: HashMap<String, usize>,
    has_specimens: bool,
    /// The segment being read, and which entries each segment has had a part in.
    at: usize,
    touched: Vec<Vec<usize>>,
    header: usize,
    patient: Option<Subject>,
    encounter: Option<String>,
    order: order::Group<'m>,
    appointment: Option<usize>,
    document: Option<usize>,
    /// Plain text of the document that is not written yet.
    lines: Option<String>,
    medication: Option<usize>,
    specimen: Option<String>,
    /// What a note that comes next is about.
    noted: Option<usize>,
    /// The last PV1 came after the last PID.
    in_visit: bool,
}

/// What the message's type decides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// ORU, OUL: results.
    Result,
    /// MDM: a document, whose text is in OBX.
    Document,
    /// VXU: vaccines.
    Vaccination,
    Other,
}

struct Entry {
    id: String,
    type_: &'static str,
    body: Object,
}

#[derive(Clone)]
struct Subject {
    id: String,
    authority: String,
}

impl<'m> Writer<'m> {
    fn new(message: &'m Message, feed: &'m Feed, received_at: Time) -> Self {
        let kind = match message.header().text(9, 1).trim() {
            "ORU" | "OUL" => Kind::Result,
            "MDM" => Kind::Document,
            "VXU" => Kind::Vaccination,
            _ => Kind::Other,
        };
        let (application, facility) = message.sending();
        Writer {
            message,
            feed,
            clock: Clock::of(message, feed),
            received_at,
            sender: format!("{application}|{facility}"),
            kind,
            entries: Vec::new(),
            places: HashMap::new(),
            copies: HashMap::new(),
            has_specimens: message.first("SPM").is_some(),
            at: 0,
            touched: vec![Vec::new(); message.segments().len()],
            header: 0,
            patient: None,
            encounter: None,
            order: order::Group::default(),
            appointment: None,
            document: None,
            lines: None,
            medication: None,
            specimen: None,
            noted: None,
            in_visit: false,
        }
    }

    fn write(mut self) -> Self {
        for segment in self.message.segments() {
            self.at = segment.position();
            self.segment(segment);
        }
        self.finish_appointment();
        self.finish_documents();
        for entry in &mut self.entries {
            repair::repair(entry.type_, &mut entry.body);
        }
        let kept = kept::basic(&self);
        if let Some(members) = kept {
            let id = self.id(&["Basic", &self.message.control_id()]);
            self.put("Basic", id, members);
        }
        self
    }

    fn segment(&mut self, segment: Segment<'m>) {
        match segment.name().as_ref() {
            "MSH" => self.header(segment),
            "SFT" => self.software(segment),
            "EVN" => self.provenance(segment),
            "PID" => self.patient(segment),
            "PD1" => self.more_of_patient(segment),
            "MRG" => self.merged(segment),
            "NK1" => self.clinical(segment, "NK1", "RelatedPerson", &[2, 3]),
            "PV1" => self.encounter(segment),
            "PV2" => self.more_of_encounter(segment),
            "DG1" => self.diagnosis(segment),
            "PRB" => self.clinical(segment, "PRB", "Condition", &[4, 3]),
            "AL1" => self.clinical(segment, "AL1", "AllergyIntolerance", &[2, 3]),
            "IAM" => self.clinical(segment, "IAM", "AllergyIntolerance", &[7, 2, 3]),
            "PR1" => self.clinical(segment, "PR1", "Procedure", &[19, 3, 5]),
            "IN1" => self.clinical(segment, "IN1", "Coverage", &[2, 3, 36]),
            "ROL" => self.role(segment, "ROL"),
            "PRT" => self.role(segment, "PRT"),
            "ORC" => self.order = order::Group { orc: Some(segment), ..order::Group::default() },
            "OBR" => self.request(segment),
            "TQ1" => self.timing(segment),
            "OBX" => self.observation(segment),
            "SPM" => self.specimen(segment),
            "NTE" => self.note(segment),
            "RXO" => self.prescription(segment, "RXO"),
            "RXE" => self.prescription(segment, "RXE"),
            "RXA" => self.administration(segment),
            "RXR" => self.route(segment),
            "SCH" => self.appointment(segment),
            "AIS" => self.booked(segment, "AIS"),
            "AIG" => self.booked(segment, "AIG"),
            "AIL" => self.booked(segment, "AIL"),
            "AIP" => self.booked(segment, "AIP"),
            "TXA" => self.document(segment),
            _ => {}
        }
    }

    /// Adds a resource, or nothing where the message has said the same before; gives the reference to it.
    fn put(&mut self, type_: &'static str, id: String, members: Vec<(&'static str, Json)>) -> String {
        let members = members.into_iter().filter(|(_, v)| !json::is_empty(v));
        let members = members.map(|(key, value)| (key.into(), value)).collect();
        self.put_object(type_, id, Object { members, span: 0..0 })
    }

    fn put_object(&mut self, type_: &'static str, id: String, body: Object) -> String {
        let url = format!("urn:uuid:{id}");
        let at = match self.places.get(&id) {
            Some(at) => *at,
            None => {
                self.places.insert(id.clone(), self.entries.len());
                self.entries.push(Entry { id, type_, body });
                self.entries.len() - 1
            }
        };
        self.touch(at);
        url
    }

    /// Notes that the segment being read has a part in this entry.
    fn touch(&mut self, at: usize) {
        if let Some(entries) = self.touched.get_mut(self.at)
            && !entries.contains(&at)
        {
            entries.push(at);
        }
    }

    /// The place of the entry that a URL of [`put`](Writer::put) leads to.
    fn place_of(&self, url: &str) -> Option<usize> {
        self.places.get(url.strip_prefix("urn:uuid:")?).copied()
    }

    /// Adds to an entry what a map makes of the segment.
    fn extend(&mut self, at: usize, segment: Segment<'m>, name: &'static str) {
        let Some(entry) = self.entries.get_mut(at) else { return };
        let (type_, mut body) = (entry.type_, std::mem::take(&mut entry.body));
        self.fill(&mut body, segment, name, type_);
        self.entries[at].body = body;
        self.touch(at);
    }

    /// Adds an item to a repeating element of an entry.
    fn push(&mut self, at: usize, element: &'static str, item: Json) {
        let Some(entry) = self.entries.get_mut(at).filter(|_| !json::is_empty(&item)) else { return };
        if let Json::Array(items) = entry.body.member(element, Json::Array(vec![])) {
            items.push(item);
        }
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

    fn id(&self, parts: &[&str]) -> String {
        let authority = self.patient.as_ref().map_or("", |p| p.id.as_str());
        let mut all = vec!["hl7v2", &self.sender, authority];
        all.extend(parts);
        uuid(&all)
    }

    /// The id after what these fields say; where they say nothing, only this message names the thing.
    fn id_of(&self, type_: &str, segment: Segment<'m>, fields: &[usize]) -> String {
        let said = fields.iter().map(|f| segment.field(*f).map(|p| p.text().trim().to_owned()));
        let said: Vec<String> = said.map(Option::unwrap_or_default).collect();
        if said.iter().all(String::is_empty) {
            return self.id(&[type_, &self.message.control_id(), &segment.position().to_string()]);
        }
        let mut parts = vec![type_];
        parts.extend(said.iter().map(String::as_str));
        self.id(&parts)
    }

    fn bundle(mut self) -> Json {
        let entries = std::mem::take(&mut self.entries);
        let entries = entries.into_iter().map(|Entry { id, type_, body }| {
            let head = [("resourceType".into(), text(type_)), ("id".into(), text(&id))];
            let resource = Object { members: head.into_iter().chain(body.members).collect(), span: 0..0 };
            let request = object([("method", text("PUT")), ("url", text(format!("{type_}/{id}")))]);
            object([
                ("fullUrl", text(format!("urn:uuid:{id}"))),
                ("resource", Json::Object(resource)),
                ("request", request),
            ])
        });
        self.envelope(entries)
    }

    /// The Bundle; its time is the message's own, else that of receipt.
    fn envelope(&self, entries: impl IntoIterator<Item = Json>) -> Json {
        let sent_at = self.clock.instant(&self.message.header().text(7, 1));
        object([
            ("resourceType", text("Bundle")),
            ("identifier", identifier(format!("{NAMESPACE}/hl7v2-control-id"), self.message.control_id())),
            ("type", text("transaction")),
            ("timestamp", text(sent_at.unwrap_or_else(|| self.received_at.to_rfc3339()))),
            ("entry", array(entries)),
        ])
    }
}
