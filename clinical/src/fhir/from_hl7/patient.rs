//! PID and MRG to Patient.

use super::datatypes::{authority, cx, part, text, xpn};
use super::{Subject, Writer};
use crate::fhir::common::{coding, concept, reference, uuid};
use crate::fhir::json::{Json, Object, array, object};
use crate::fhir::schema;
use crate::hl7::{Part, Segment};

impl<'m> Writer<'m> {
    pub(super) fn patient(&mut self, pid: Segment<'m>) {
        self.encounter = None;
        self.in_visit = false;
        self.noted = None;
        self.order = super::order::Group::default();
        let identifiers = self.identifiers(pid, &[3, 2, 4]);
        let Some(subject) = self.name_subject(pid, 3).or_else(|| self.name_subject(pid, 2)) else {
            self.patient = None;
            return;
        };
        let mut body = Object::default();
        body.members.push(("identifier".into(), array(identifiers)));
        self.fill(&mut body, pid, "PID", "Patient");
        self.put_object("Patient", subject.id.clone(), body);
        self.patient = Some(subject);
    }

    pub(super) fn more_of_patient(&mut self, pd1: Segment<'m>) {
        if let Some(at) = self.patient.as_ref().and_then(|p| self.places.get(&p.id)).copied() {
            self.extend(at, pd1, "PD1");
        }
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
            ("name", array(repetitions(mrg, 7).map(|name| xpn(name, &self.clock)))),
            ("link", link(&survivor.id, "replaced-by")),
        ];
        if let Some(at) = self.places.get(&survivor.id).copied() {
            let members = &mut self.entries[at].body.members;
            members.retain(|(key, _)| &**key != "link");
            members.push(("link".into(), link(&old.id, "replaces")));
        }
        self.put("Patient", old.id, members);
    }

    fn identifiers(&self, segment: Segment<'m>, fields: &[usize]) -> Vec<Json> {
        let default = &self.feed.authority;
        let mut all: Vec<Json> = Vec::new();
        for field in fields {
            for found in repetitions(segment, *field).map(|r| cx(r, default, &self.clock)) {
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
}

/// Only BCP 47 may be coded here (R4 max value set all-languages); other codes stay text.
pub(super) fn language(cwe: Part<'_>) -> Json {
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
    let repetitions = segment.field(field).into_iter().flat_map(|f| f.repetitions());
    repetitions.take(super::fill::REPETITIONS_MAX).filter(Part::has_value)
}
