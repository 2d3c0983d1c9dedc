//! Who and what a Reference means (R4 §2.31): an entry of the same Bundle, a contained resource, a logical
//! reference by identifier, a conditional one (`Patient?identifier=system|value`), or `Type/id` at the sender.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use smol_str::SmolStr;

use super::Mapper;
use super::names::{Address, Place, without_scheme};
use super::patient::{by_identifiers, identity};
use crate::fhir::json::Json;
use crate::{Issue, PatientId, Severity};

/// A resource of the Bundle, and where it stands in it.
#[derive(Clone, Copy)]
pub(super) struct Neighbour<'a> {
    resource: &'a Json<'a>,
    place: Place<'a>,
}

/// The resources of a Bundle by what references call them.
pub(super) struct Neighbours<'a> {
    by_url: HashMap<&'a str, Neighbour<'a>>,
    /// By `Type/id`; nothing where two servers have one each.
    by_id: HashMap<String, Option<Neighbour<'a>>>,
}

impl<'a> Neighbours<'a> {
    pub(super) fn of(root: &'a Json<'a>) -> Self {
        let (mut by_url, mut by_id) = (HashMap::new(), HashMap::new());
        for entry in root.items("entry") {
            let Some(resource) = entry.get("resource") else { continue };
            let neighbour = Neighbour { resource, place: Place::of(entry) };
            if let (Some(type_), Some(id)) = (resource.str("resourceType"), resource.str("id")) {
                match by_id.entry(format!("{type_}/{id}")) {
                    Entry::Vacant(vacant) => drop(vacant.insert(Some(neighbour))),
                    Entry::Occupied(mut two) => drop(two.insert(None)),
                }
            }
            if let Some(url) = entry.str("fullUrl") {
                by_url.insert(without_scheme(url), neighbour);
            }
        }
        Self { by_url, by_id }
    }

    /// `server`: where a relative reference is meant. An absolute one is never taken for the same id elsewhere.
    fn get(&self, reference: &str, server: Option<&str>) -> Option<Neighbour<'a>> {
        let plain = without_scheme(reference.split("/_history/").next()?);
        if let Some(found) = self.by_url.get(plain) {
            return Some(*found);
        }
        let address = Address::of(reference).filter(|address| address.server.is_none())?;
        let Address { type_, id, .. } = address;
        let there = server.map(|server| format!("{}/{type_}/{id}", without_scheme(server)));
        if let Some(found) = there.and_then(|url| self.by_url.get(url.as_str())) {
            return Some(*found);
        }
        let found = (*self.by_id.get(&format!("{type_}/{id}"))?)?;
        let is_elsewhere = server.is_some() && found.place.server().is_some();
        (!is_elsewhere).then_some(found)
    }
}

impl<'a> Mapper<'a> {
    fn neighbour(&self, url: &str) -> Option<Neighbour<'a>> {
        self.neighbours.get(url, self.place.server())
    }

    /// The patient that `owner.element` refers to; reports what is missing.
    pub(super) fn subject(&mut self, owner: &Json, element: &str) -> Option<PatientId> {
        let reference = owner.get(element);
        let found = reference.and_then(|reference| self.patient_of(reference, owner));
        if found.is_none() {
            let url = reference.and_then(|reference| reference.str("reference"));
            let (code, text) = match url.and_then(Address::of).is_some_and(|address| address.is_entry()) {
                true => (
                    "fhir-reference-unresolved",
                    "is an id that the answer to a Bundle gave: refer to the patient by identifier",
                ),
                false => (
                    "patient-id-missing",
                    "names no patient: give an identifier, or refer to a Patient in the Bundle or to Patient/id",
                ),
            };
            self.report_at(Severity::Error, code, element, text);
        }
        found
    }

    pub(super) fn patient_of(&self, reference: &Json, owner: &Json) -> Option<PatientId> {
        let by_identifier = || {
            let is_patient = reference.str("type").is_none_or(|type_| type_ == "Patient");
            reference.get("identifier").filter(|_| is_patient).and_then(|i| self.by_identifier(i))
        };
        let Some(url) = reference.str("reference") else { return by_identifier() };
        if let Some(Neighbour { resource, place }) = self.neighbour(url) {
            let is_patient = resource.str("resourceType") == Some("Patient");
            return if is_patient { identity(resource, place, self.feed) } else { None };
        }
        if let Some(id) = url.strip_prefix('#') {
            // Its own id means something within its owner only.
            let contained = owner.items("contained").iter().find(|c| c.str("id") == Some(id))?;
            let is_patient = contained.str("resourceType") == Some("Patient");
            return if is_patient { by_identifiers(contained, self.feed) } else { None };
        }
        if let Some(query) = url.strip_prefix("Patient?") {
            return conditional_identifier(query).and_then(|(system, value)| self.id(&system, &value));
        }
        match Address::of(url) {
            Some(address) if address.type_ != "Patient" => None,
            Some(address) if address.is_entry() => by_identifier(),
            Some(address) => by_identifier().or_else(|| address.patient(self.place.server(), self.feed)),
            None => by_identifier(),
        }
    }

    fn by_identifier(&self, identifier: &Json) -> Option<PatientId> {
        self.id(identifier.str("system").unwrap_or_default(), identifier.str("value")?)
    }

    fn id(&self, system: &str, value: &str) -> Option<PatientId> {
        super::patient::patient_id(system, value, self.feed)
    }

    /// The resource that `url` names, where it came along.
    pub(super) fn resolve<'j>(&self, url: &str, owner: &'j Json<'j>) -> Option<&'j Json<'j>>
    where
        Self: 'j,
    {
        match url.strip_prefix('#') {
            Some(id) => owner.items("contained").iter().find(|c| c.str("id") == Some(id)),
            None => self.neighbour(url).map(|found| found.resource),
        }
    }

    /// The visit that `owner.encounter` refers to.
    pub(super) fn visit(&self, owner: &Json) -> Option<SmolStr> {
        let reference = owner.get("encounter")?;
        if let Some(url) = reference.str("reference") {
            if let Some(encounter) = self.resolve(url, owner) {
                return visit_number(encounter);
            }
            if let Some((_, value)) = url.strip_prefix("Encounter?").and_then(conditional_identifier) {
                return Some(value.into());
            }
        }
        let logical = reference.get("identifier").and_then(|i| i.str("value"));
        let literal = || {
            let address = Address::of(reference.str("reference")?).filter(|a| a.type_ == "Encounter");
            address.map(|address| SmolStr::from(address.id))
        };
        logical.map(SmolStr::from).or_else(literal)
    }
}

/// The visit number among an Encounter's identifiers (v2-0203 `VN`), else the first, else its id.
pub(super) fn visit_number(encounter: &Json) -> Option<SmolStr> {
    let identifiers = encounter.items("identifier");
    let is_visit = |i: &&Json| super::concept::has_code(i.get("type"), &["VN"]);
    let chosen = identifiers.iter().find(is_visit).or(identifiers.first()).and_then(|i| i.str("value"));
    chosen.or_else(|| encounter.str("id")).map(SmolStr::from)
}

/// What `If-None-Exist` asks (R4 http.html#ccreate): `identifier=system|value`, percent-encoded. Nothing else is
/// searched for, so anything else is an error, and never taken for "no match".
pub fn identifier_condition(condition: &str) -> Result<(String, String), Issue> {
    let query = condition.trim().trim_start_matches('?');
    let is_one = !query.contains(['&', ',']) && query.starts_with("identifier=");
    let found = conditional_identifier(query)
        .filter(|(system, value)| is_one && !system.is_empty() && !value.is_empty());
    found.ok_or_else(|| Issue {
        severity: Severity::Error,
        code: "fhir-condition-unsupported".into(),
        location: "If-None-Exist".into(),
        text: "asks for something else than identifier=system|value with one system and one value".into(),
    })
}

/// `identifier=system|value` of a search, percent-decoded.
pub(super) fn conditional_identifier(query: &str) -> Option<(String, String)> {
    let token = query.split('&').find_map(|part| part.strip_prefix("identifier="))?;
    let token = percent_decode(token)?;
    let (system, value) = token.split_once('|').unwrap_or(("", &token));
    Some((system.to_owned(), value.to_owned()))
}

pub(super) fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}
