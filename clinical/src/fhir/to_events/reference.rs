//! Who and what a Reference means (R4 §2.31): an entry of the same Bundle, a contained resource, a logical
//! reference by identifier, a conditional one (`Patient?identifier=system|value`), or `Type/id` at the sender.

use std::collections::HashMap;

use smol_str::SmolStr;

use super::Mapper;
use super::patient::identity;
use crate::PatientId;
use crate::fhir::json::Json;

/// The resources of a Bundle by what references call them.
pub(super) struct Neighbours<'a>(HashMap<String, &'a Json<'a>>);

impl<'a> Neighbours<'a> {
    pub(super) fn of(root: &'a Json<'a>) -> Self {
        let mut known = HashMap::new();
        for entry in root.items("entry") {
            let Some(resource) = entry.get("resource") else { continue };
            if let (Some(type_), Some(id)) = (resource.str("resourceType"), resource.str("id")) {
                known.insert(format!("{type_}/{id}"), resource);
            }
            if let Some(url) = entry.str("fullUrl") {
                known.insert(url.to_owned(), resource);
            }
        }
        Self(known)
    }

    fn get(&self, reference: &str) -> Option<&'a Json<'a>> {
        self.0.get(reference).or_else(|| self.0.get(&local(reference)?)).copied()
    }
}

/// The `Type/id` at the end of an absolute or versioned reference.
fn local(reference: &str) -> Option<String> {
    let plain = reference.split("/_history/").next()?;
    let mut parts = plain.rsplit('/');
    let (id, type_) = (parts.next()?, parts.next()?);
    let is_type = type_.starts_with(|c: char| c.is_ascii_uppercase());
    (is_type && crate::fhir::primitive::is_id(id)).then(|| format!("{type_}/{id}"))
}

impl Mapper<'_> {
    /// The patient that `owner.element` refers to; reports what is missing.
    pub(super) fn subject(&mut self, owner: &Json, element: &str) -> Option<PatientId> {
        let found = owner.get(element).and_then(|reference| self.patient_of(reference, owner));
        if found.is_none() {
            let text =
                "names no patient: give an identifier, or refer to a Patient in the Bundle or to Patient/id";
            self.report_at(crate::Severity::Error, "patient-id-missing", element, text);
        }
        found
    }

    pub(super) fn patient_of(&self, reference: &Json, owner: &Json) -> Option<PatientId> {
        if let Some(url) = reference.str("reference") {
            if let Some(patient) = self.resolve(url, owner) {
                return if patient.str("resourceType") == Some("Patient") {
                    identity(patient, self.feed)
                } else {
                    None
                };
            }
            if let Some(query) = url.strip_prefix("Patient?") {
                return conditional_identifier(query).and_then(|(system, value)| self.id(&system, &value));
            }
            if let Some(id) = local(url).and_then(|l| l.strip_prefix("Patient/").map(str::to_owned)) {
                return reference
                    .get("identifier")
                    .and_then(|i| self.by_identifier(i))
                    .or_else(|| self.id("", &id));
            }
        }
        let is_patient = reference.str("type").is_none_or(|t| t == "Patient");
        reference.get("identifier").filter(|_| is_patient).and_then(|i| self.by_identifier(i))
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
            None => self.neighbours.get(url),
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
        let literal = || local(reference.str("reference")?)?.strip_prefix("Encounter/").map(SmolStr::from);
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

/// `identifier=system|value` of a search, percent-decoded.
fn conditional_identifier(query: &str) -> Option<(String, String)> {
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
