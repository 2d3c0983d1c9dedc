//! PID and MRG to Patient.

use super::datatypes::{authority, cwe, cx, part, text, xad, xpn, xtn};
use super::{Subject, Writer, tables, time};
use crate::fhir::common::{coding, concept, reference, uuid};
use crate::fhir::json::{Json, array, object};
use crate::fhir::schema;
use crate::hl7::{Part, Segment};

impl<'m> Writer<'m> {
    pub(super) fn patient(&mut self, pid: Segment<'m>) {
        self.encounter = None;
        self.order = super::order::Group::default();
        let identifiers = self.identifiers(pid, &[3, 2, 4]);
        let Some(subject) = self.name_subject(pid, 3).or_else(|| self.name_subject(pid, 2)) else {
            self.patient = None;
            return;
        };
        let died = pid.valued(29).and_then(|p| self.clock.date_time(&part(p, 1)));
        let deceased = match (&died, pid.text(30, 1).as_ref()) {
            (Some(at), _) => ("deceasedDateTime", text(at)),
            (None, "Y") => ("deceasedBoolean", Json::Bool(true)),
            (None, "N") => ("deceasedBoolean", Json::Bool(false)),
            _ => ("deceasedBoolean", Json::Null),
        };
        let birth = pid.valued(7).and_then(|p| time::date(&part(p, 1)));
        let languages = repetitions(pid, 15).map(|l| object([("language", language(l))]));
        let members = vec![
            ("identifier", array(identifiers)),
            ("name", array(repetitions(pid, 5).chain(repetitions(pid, 9)).map(xpn))),
            ("telecom", array(repetitions(pid, 13).chain(repetitions(pid, 14)).map(xtn))),
            ("gender", text(tables::gender(&pid.text(8, 1)).unwrap_or_default())),
            ("birthDate", text(birth.unwrap_or_default())),
            deceased,
            ("address", array(repetitions(pid, 11).map(xad))),
            ("maritalStatus", pid.valued(16).map_or(Json::Null, |m| self.marital_status(m))),
            ("communication", array(languages)),
        ];
        self.put("Patient", subject.id.clone(), members);
        self.patient = Some(subject);
    }

    /// A40: the patient of MRG is replaced by that of the PID before it.
    pub(super) fn merged(&mut self, mrg: Segment<'m>) {
        let Some(survivor) = self.patient.clone() else { return };
        let Some(old) = self.name_subject(mrg, 1).filter(|old| old.id != survivor.id) else { return };
        let link = |other: &str, type_: &str| {
            array([object([("other", reference(&format!("urn:uuid:{other}"))), ("type", text(type_))])])
        };
        let members = vec![
            ("identifier", array(self.identifiers(mrg, &[1]))),
            ("active", Json::Bool(false)),
            ("name", array(repetitions(mrg, 7).map(xpn))),
            ("link", link(&survivor.id, "replaced-by")),
        ];
        if let Some(at) = self.places.get(&survivor.id).copied() {
            let members = &mut self.entries[at].members;
            members.retain(|(key, _)| *key != "link");
            members.push(("link", link(&old.id, "replaces")));
        }
        self.put("Patient", old.id, members);
    }

    fn identifiers(&self, segment: Segment<'m>, fields: &[usize]) -> Vec<Json> {
        let default = &self.feed.authority;
        let mut all: Vec<Json> = Vec::new();
        for field in fields {
            for found in repetitions(segment, *field).map(|r| cx(r, default)) {
                if found != Json::Null && !all.contains(&found) {
                    all.push(found);
                }
            }
        }
        all
    }

    /// The identity that the readers use too: MR first, then the feed's authority, then a named one.
    fn name_subject(&self, segment: Segment<'m>, field: usize) -> Option<Subject> {
        let default = &self.feed.authority;
        let ids = repetitions(segment, field).filter_map(|cx| {
            let id = part(cx, 1).trim().to_owned();
            let authority = cx.component(4).map(authority).unwrap_or_default();
            let rank =
                (part(cx, 5) == "MR", &authority == default && !authority.is_empty(), !authority.is_empty());
            (!id.is_empty()).then_some((rank, id, authority))
        });
        let (_, id, authority) = ids.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
        let authority = if authority.is_empty() { default.clone() } else { authority };
        Some(Subject { id: uuid(&["Patient", &authority, &id]), authority })
    }

    fn marital_status(&self, status: Part<'m>) -> Json {
        match tables::marital_status(&part(status, 1)) {
            Some(code) => {
                let system = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus";
                concept(coding(system, code, ""), part(status, 2))
            }
            None => cwe(status, self.feed)
                .get("text")
                .map_or(Json::Null, |words| object([("text", words.clone())])),
        }
    }
}

/// Only BCP 47 may be coded here (R4 max value set all-languages); other codes stay text.
fn language(cwe: Part<'_>) -> Json {
    let (code, words) = (part(cwe, 1), part(cwe, 2));
    let words = if words.trim().is_empty() { code.as_ref() } else { words.as_ref() };
    let known = code.trim().to_ascii_lowercase();
    if schema::has_code("languages", &known) {
        return concept(coding("urn:ietf:bcp:47", known, ""), words);
    }
    object([("text", text(words))])
}

/// The repetitions of a field that say something.
pub(super) fn repetitions<'m>(segment: Segment<'m>, field: usize) -> impl Iterator<Item = Part<'m>> {
    segment.field(field).into_iter().flat_map(|f| f.repetitions()).filter(Part::has_value)
}
