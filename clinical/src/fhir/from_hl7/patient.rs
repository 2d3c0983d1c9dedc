//! PID and MRG to Patient.

use std::borrow::Cow;

use super::datatypes::{authority, cx, part, text, xpn};
use super::{Subject, Writer};
use crate::fhir::common::{Scope, Uuid, coding, concept};
use crate::fhir::json::{Json, Object, array, members_of, object, trim};
use crate::fhir::schema;
use crate::hl7::{Part, Segment};

impl<'m> Writer<'m> {
    pub(super) fn patient(&mut self, pid: Segment<'m>) {
        self.encounter = None;
        self.in_visit = false;
        self.noted = None;
        self.order = super::order::Group::default();
        let identifiers = self.identifiers(pid, &[3, 2, 4]);
        let Some((id, authority)) = self.name_subject(pid, 3).or_else(|| self.name_subject(pid, 2)) else {
            self.patient = None;
            self.scope = Scope::of(&["hl7v2", &self.sender, ""]);
            return;
        };
        let mut body = Object::default();
        body.members.push(("identifier".into(), array(identifiers)));
        self.fill(&mut body, pid, "PID", "Patient");
        let place = self.put("Patient", id, body);
        self.scope = Scope::of(&["hl7v2", &self.sender, id.as_str()]);
        self.patient = Some(Subject { place, authority });
    }

    pub(super) fn more_of_patient(&mut self, pd1: Segment<'m>) {
        if let Some(at) = self.patient.as_ref().map(|p| p.place) {
            self.extend(at, pd1, "PD1");
        }
    }

    /// A40: the patient of MRG is replaced by that of the PID before it.
    pub(super) fn merged(&mut self, mrg: Segment<'m>) {
        let Some(survivor) = self.patient.as_ref().map(|p| p.place) else { return };
        let Some((old, _)) = self.name_subject(mrg, 1) else { return };
        if self.entries[survivor].id == old {
            return;
        }
        let link = |other: usize, type_: &'static str| {
            array([object([("other", Json::Entry(other)), ("type", text(type_))])])
        };
        let body = members_of([
            ("identifier", array(self.identifiers(mrg, &[1]))),
            ("active", Json::Bool(false)),
            ("name", array(repetitions(mrg, 7).map(|name| xpn(name, &self.clock)))),
            ("link", link(survivor, "replaced-by")),
        ]);
        let old = self.put("Patient", old, body);
        let members = &mut self.entries[survivor].body.members;
        members.retain(|(key, _)| &**key != "link");
        members.push(("link".into(), link(old, "replaces")));
    }

    fn identifiers(&self, segment: Segment<'m>, fields: &[usize]) -> Vec<Json<'m>> {
        let default = &*self.feed.authority;
        let mut all: Vec<Json<'m>> = Vec::new();
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
    fn name_subject(&self, segment: Segment<'m>, field: usize) -> Option<(Uuid, Cow<'m, str>)> {
        let default = &*self.feed.authority;
        let ids = repetitions(segment, field).filter_map(|cx| {
            let id = trim(part(cx, 1));
            let authority = cx.component(4).map(authority).unwrap_or_default();
            let rank =
                (part(cx, 5) == "MR", authority == default && !authority.is_empty(), !authority.is_empty());
            (!id.is_empty()).then_some((rank, id, authority))
        });
        let (_, id, authority) = ids.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
        let authority = if authority.is_empty() { Cow::Borrowed(default) } else { authority };
        Some((Uuid::of(&["Patient", &authority, &id]), authority))
    }
}

/// Only BCP 47 may be coded here (R4 max value set all-languages); other codes stay text.
pub(super) fn language(cwe: Part<'_>) -> Json<'_> {
    let (code, words) = (part(cwe, 1), part(cwe, 2));
    let known = code.trim().to_ascii_lowercase();
    let words = if words.trim().is_empty() { code } else { words };
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
