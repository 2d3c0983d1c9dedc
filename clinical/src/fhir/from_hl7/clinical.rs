//! Segments that become one resource each, and the notes and roles that follow others.

use std::borrow::Cow;

use super::datatypes::{array_of_one, cwe, required_cwe};
use super::{Kind, Writer};
use crate::fhir::json::{self, Json, Object, object, text};
use crate::fhir::schema;
use crate::hl7::Segment;

impl<'m> Writer<'m> {
    /// A resource of this type from its map; `keys` are the fields that tell it from others of the patient.
    pub(super) fn clinical(
        &mut self,
        segment: Segment<'m>,
        name: &'static str,
        type_: &'static str,
        keys: &[usize],
    ) {
        let mut body = self.about_patient(type_);
        self.fill(&mut body, segment, name, type_);
        self.require(&mut body, segment, type_);
        let id = self.id_of(type_, segment, keys);
        self.noted = Some(self.put(type_, id, body));
    }

    /// An empty resource that refers to the patient and, where it may, to the visit.
    pub(super) fn about_patient(&self, type_: &str) -> Object<'m> {
        let mut body = Object::default();
        for element in schema::elements(type_).unwrap_or_default() {
            let value = match element.name {
                "patient" | "subject" | "beneficiary" => self.subject(),
                "encounter" => self.visit(),
                "context" if type_ == "MedicationAdministration" => self.visit(),
                _ => continue,
            };
            if !json::is_empty(&value) {
                body.members.push((element.name.into(), value));
            }
        }
        body
    }

    /// What R4 demands and the sender left out is said to be missing.
    pub(super) fn require(&self, body: &mut Object<'m>, segment: Segment<'m>, type_: &str) {
        let missing = required_cwe(None, self.feed);
        let (element, value) = match type_ {
            "Coverage" => ("payor", array_of_one(object([("display", text("not named in the message"))]))),
            "Immunization" => ("vaccineCode", missing),
            "MedicationRequest" | "MedicationAdministration" => ("medicationCodeableConcept", missing),
            "Condition" | "Procedure" | "AllergyIntolerance" => ("code", missing),
            _ => return,
        };
        if body.get(element).is_none() {
            body.members.push((element.into(), value));
        }
        // IN1-3 names the insurer where IN1-4 does not.
        if type_ == "Coverage" && body.get("identifier").is_none() {
            let plan = segment.valued(2).map_or(Json::Null, |plan| cwe(plan, self.feed));
            if !json::is_empty(&plan) && body.get("type").is_none() {
                body.members.push(("type".into(), plan));
            }
        }
    }

    /// DG1: a Condition, and the visit's diagnosis.
    pub(super) fn diagnosis(&mut self, dg1: Segment<'m>) {
        self.clinical(dg1, "DG1", "Condition", &[20, 3, 4, 6]);
        let (Some(condition), Some(visit)) = (self.noted, self.encounter) else { return };
        let mut diagnosis = Object::default();
        diagnosis.members.push(("condition".into(), Json::Entry(condition)));
        self.fill(&mut diagnosis, dg1, "DG1", "Encounter.diagnosis");
        self.push(visit, "diagnosis", Json::Object(diagnosis));
        self.touch(visit);
    }

    /// NTE: a note on the resource before it.
    pub(super) fn note(&mut self, nte: Segment<'m>) {
        let Some(at) = self.noted else { return };
        let mut note = Object::default();
        self.fill(&mut note, nte, "NTE", "Annotation");
        let Some(words) = note.get("text").cloned() else { return };
        match self.entries[at].type_ {
            "Appointment" => {
                let body = &mut self.entries[at].body;
                match body.member("comment", text("")) {
                    Json::String(comment) if comment.is_empty() => {
                        *comment = Cow::Owned(words.as_str().unwrap_or_default().to_owned())
                    }
                    Json::String(comment) => {
                        comment.to_mut().extend(["\n", words.as_str().unwrap_or_default()])
                    }
                    _ => {}
                }
                self.touch(at);
            }
            type_ if super::convert::has_element(type_, "note") => {
                self.push(at, "note", Json::Object(note));
                self.touch(at);
            }
            _ => {}
        }
    }

    /// ROL, PRT: a PractitionerRole; after PV1 it takes part in the visit, after PID it is the patient's.
    pub(super) fn role(&mut self, segment: Segment<'m>, name: &'static str) {
        let mut body = Object::default();
        self.fill(&mut body, segment, name, "PractitionerRole");
        if body.get("practitioner").is_none() && body.get("organization").is_none() {
            return;
        }
        let mut key = vec![b'{'];
        body.write_members(&mut key, &|place| self.url(place));
        key.push(b'}');
        let id = self.id(&["PractitionerRole", &String::from_utf8_lossy(&key)]);
        let role = self.put("PractitionerRole", id, body);
        if name != "ROL" {
            return;
        }
        if self.in_visit {
            if let Some(at) = self.encounter {
                self.push(at, "participant", object([("individual", Json::Entry(role))]));
            }
        } else if let Some(at) = self.patient.as_ref().map(|p| p.place) {
            self.push(at, "generalPractitioner", Json::Entry(role));
        }
    }

    pub(super) fn is_vaccination(&self) -> bool {
        self.kind == Kind::Vaccination
    }
}
