//! HL7 v2 to FHIR R4 after the maps of HL7's v2-to-FHIR guide. What is plain is a row of `maps.txt` or
//! `concepts.txt`; what needs a decision is code beside it.
//!
//! Every id is a hash of what the sender calls the thing, so that a resend updates instead of doubling. A field
//! that nothing maps, or whose value is not found again in what its maps write, is kept as it was sent, in a Basic
//! resource.

mod actors;
mod appointment;
mod bundle;
mod claims;
mod clinical;
mod codeable;
mod convert;
mod coverage;
mod datatypes;
mod document;
mod encounter;
mod fill;
mod finder;
#[cfg(test)]
mod guide_tests;
mod header;
mod kept;
mod medication;
mod observation;
mod order;
mod patient;
mod quantity;
mod repair;
mod result;
mod said;
mod shared;
mod specimen;
mod table;
mod tables;
#[cfg(test)]
mod tests;
mod time;

pub use coverage::{Fate, coverage};

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::ops::Range;
use std::rc::Rc;

use super::common::{NAMESPACE, Scope, Uuid, identifier};
use super::json::{self, Json, Object, members_of, object, text};
use crate::hl7::{Message, Segment};
use crate::{Feed, Time};
use datatypes::clean;
use result::Plain;
use shared::{Flags, Shared};
use table::Row;
use time::Clock;

/// One transaction Bundle of what the message says, each resource a `PUT` under a stable id.
pub fn from_hl7(message: &Message, feed: &Feed, received_at: Time) -> Vec<u8> {
    let message = message.for_feed(feed);
    Writer::new(&message, feed, received_at).write().bundle()
}

/// What has been written so far, and what the next segments belong to. Entries are named by their place.
struct Writer<'m> {
    message: &'m Message,
    feed: &'m Feed,
    clock: Clock,
    received_at: Time,
    /// Part of ids that are unique only within it.
    sender: String,
    /// The sender and the patient: part of ids that are unique only within both.
    scope: Scope,
    kind: Kind,
    entries: Vec<Entry<'m>>,
    /// Entries that nothing more is added to, as they stand in the Bundle.
    settled: Vec<u8>,
    /// Fields of theirs that have no place in FHIR.
    kept: Vec<kept::Kept<'m>>,
    /// By a segment's position.
    ordinals: Vec<kept::Ordinals>,
    /// What the map of OBX adds to results.
    result_rows: &'static [Row],
    /// Place in `entries` by resource id.
    places: HashMap<Uuid, usize>,
    has_specimens: bool,
    /// The segment being read, and which entries (second) a segment (first) has had a part in.
    at: usize,
    touched: Vec<(usize, usize)>,
    header: usize,
    patient: Option<Subject<'m>>,
    encounter: Option<usize>,
    order: order::Group<'m>,
    appointment: Option<usize>,
    document: Option<usize>,
    /// Plain text of the document that is not written yet.
    lines: Option<String>,
    medication: Option<usize>,
    specimen: Option<usize>,
    /// What a note that comes next is about.
    noted: Option<usize>,
    /// The last PV1 came after the last PID.
    in_visit: bool,
    /// Of the last result: what only OBX and NTE have come after may share it.
    shared: Option<Rc<Shared<'m>>>,
    flags: Option<Rc<Flags<'m>>>,
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

struct Entry<'m> {
    id: Uuid,
    type_: &'static str,
    body: Object<'m>,
    /// A result to which nothing is added yet, instead of its body.
    plain: Option<Box<Plain<'m>>>,
    /// Results that asked for its id after it.
    copies: usize,
    /// Where it stands in [`Writer::settled`].
    written: Option<Range<usize>>,
}

impl<'m> Entry<'m> {
    fn new(id: Uuid, type_: &'static str, body: Object<'m>) -> Self {
        Entry { id, type_, body, plain: None, copies: 0, written: None }
    }

    /// Makes its body a tree that can be added to.
    fn unfold(&mut self) {
        if let Some(plain) = self.plain.take() {
            self.body = plain.into_object();
        }
    }
}

#[derive(Clone)]
struct Subject<'m> {
    place: usize,
    authority: Cow<'m, str>,
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
        let sender = format!("{application}|{facility}");
        let segments = message.segments().len();
        Writer {
            message,
            feed,
            clock: Clock::of(message, feed),
            received_at,
            scope: Scope::of(&["hl7v2", &sender, ""]),
            sender,
            kind,
            entries: Vec::with_capacity(segments + 8),
            settled: Vec::new(),
            kept: Vec::new(),
            ordinals: kept::ordinals(message),
            result_rows: table::rows("OBX", "Observation"),
            places: HashMap::with_capacity(segments + 8),
            has_specimens: message.first("SPM").is_some(),
            at: 0,
            touched: Vec::with_capacity(segments + 8),
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
            shared: None,
            flags: None,
        }
    }

    fn write(mut self) -> Self {
        let mut open = None;
        for segment in self.message.segments() {
            self.at = segment.position();
            let before = (self.entries.len(), self.touched.len());
            self.segment(segment);
            open = self.settle(open, before);
        }
        self.finish_appointment();
        self.finish_documents();
        for entry in self.entries.iter_mut().filter(|entry| entry.written.is_none()) {
            entry.unfold();
            repair::repair(entry.type_, &mut entry.body);
        }
        self.touched.sort_unstable();
        let kept = std::mem::take(&mut self.kept);
        if let Some(members) = kept::basic(&self, kept) {
            let id = self.id(&["Basic", &self.message.control_id()]);
            self.put("Basic", id, members);
        }
        self
    }

    fn segment(&mut self, segment: Segment<'m>) {
        let name = segment.name();
        if !matches!(&*name, "OBX" | "NTE") {
            self.shared = None;
        }
        match &*name {
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
            "ORC" => {
                self.order = order::Group { orc: Some(segment), ..order::Group::default() };
                self.medication = None;
            }
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

    /// Adds a resource, or nothing where the message has said the same before; gives its place.
    fn put(&mut self, type_: &'static str, id: Uuid, body: Object<'m>) -> usize {
        let at = match self.places.entry(id) {
            Place::Occupied(place) => *place.get(),
            Place::Vacant(place) => {
                self.entries.push(Entry::new(id, type_, body));
                *place.insert(self.entries.len() - 1)
            }
        };
        self.touch(at);
        at
    }

    /// Adds a result. A sender that repeats code and sub-id in one group means two of them.
    fn put_result(&mut self, id: Uuid, plain: Plain<'m>) -> usize {
        let at = match self.places.entry(id) {
            Place::Vacant(place) => {
                self.entries.push(Entry::new(id, "Observation", Object::default()));
                *place.insert(self.entries.len() - 1)
            }
            Place::Occupied(first) => {
                let first = &mut self.entries[*first.get()];
                first.copies += 1;
                let id = Uuid::of(&[id.as_str(), &(first.copies + 1).to_string()]);
                self.put("Observation", id, Object::default())
            }
        };
        self.entries[at].plain = Some(Box::new(plain));
        self.touch(at);
        at
    }

    /// Notes that the segment being read has a part in this entry.
    fn touch(&mut self, at: usize) {
        if self.touched.last() != Some(&(self.at, at)) {
            self.touched.push((self.at, at));
        }
    }

    /// Adds to an entry what a map makes of the segment.
    fn extend(&mut self, at: usize, segment: Segment<'m>, name: &'static str) {
        let Some(entry) = self.entries.get_mut(at) else { return };
        entry.unfold();
        let (type_, mut body) = (entry.type_, std::mem::take(&mut entry.body));
        self.fill(&mut body, segment, name, type_);
        self.entries[at].body = body;
        self.touch(at);
    }

    /// Adds an item to a repeating element of an entry.
    fn push(&mut self, at: usize, element: &'static str, item: Json<'m>) {
        let Some(entry) = self.entries.get_mut(at).filter(|_| !json::is_empty(&item)) else { return };
        entry.unfold();
        if let Json::Array(items) = entry.body.member(element, Json::Array(vec![])) {
            items.push(item);
        }
    }

    fn subject(&self) -> Json<'m> {
        match &self.patient {
            Some(subject) => Json::Entry(subject.place),
            None => object([("type", text("Patient")), ("display", text("not named in the message"))]),
        }
    }

    fn visit(&self) -> Json<'m> {
        self.encounter.map_or(Json::Null, Json::Entry)
    }

    fn id(&self, parts: &[&str]) -> Uuid {
        self.scope.uuid(parts)
    }

    /// The id after what these fields say; where they say nothing, only this message names the thing.
    fn id_of(&self, type_: &str, segment: Segment<'m>, fields: &[usize]) -> Uuid {
        let said = fields.iter().map(|f| segment.field(*f).map(|p| json::trim(p.text())));
        let said: Vec<Cow<'m, str>> = said.map(Option::unwrap_or_default).collect();
        if said.iter().all(|s| s.is_empty()) {
            return self.id(&[type_, &self.message.control_id(), &segment.position().to_string()]);
        }
        let mut parts = vec![type_];
        parts.extend(said.iter().map(|s| &**s));
        self.id(&parts)
    }

    /// The Bundle without its entries; its time is the message's own, else that of receipt.
    fn envelope(&self) -> Object<'m> {
        let sent_at = self.clock.instant(&self.message.header().text(7, 1));
        members_of([
            ("resourceType", text("Bundle")),
            (
                "identifier",
                identifier(format!("{NAMESPACE}/hl7v2-control-id"), clean(self.message.control_id())),
            ),
            ("type", text("transaction")),
            ("timestamp", text(sent_at.unwrap_or_else(|| self.received_at.to_rfc3339()))),
        ])
    }
}
