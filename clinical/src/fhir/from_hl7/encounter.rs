//! PV1 to Encounter and the Locations it names.

use super::datatypes::{assigner, cx, part, period, text};
use super::time::Clock;
use super::{Writer, tables};
use crate::fhir::common::{coding, concept, reference, system};
use crate::fhir::json::{self, Json, Object, array, object};
use crate::hl7::{Part, Segment};

impl<'m> Writer<'m> {
    pub(super) fn encounter(&mut self, pv1: Segment<'m>) {
        let type_ = self.message.type_();
        let (kind, trigger) = type_.split_once('^').unwrap_or((&type_, ""));
        let number = pv1.text(19, 1).trim().to_owned();
        // A28 and A31 carry PV1 for the structure's sake, with class N.
        if number.is_empty() && matches!(pv1.text(2, 1).trim(), "" | "N") && pv1.valued(3).is_none() {
            return;
        }
        let id = match number.as_str() {
            "" => self.id(&["Encounter", "of message", &self.message.control_id()]),
            number => self.id(&["Encounter", number]),
        };
        let authority =
            self.patient.as_ref().map_or(self.feed.authority.as_str(), |p| p.authority.as_str()).to_owned();
        let ended = pv1.valued(45).is_some();
        let status = match (kind, tables::encounter_status(trigger)) {
            ("ADT", "unknown") | (_, "unknown") if ended => "finished",
            ("ADT", status) => status,
            _ => "unknown",
        };
        let places = [(3, "active"), (6, "completed")].map(|(field, status)| {
            let place = pv1.valued(field).and_then(|pl| self.location(pl));
            place.map_or(Json::Null, |url| object([("location", reference(&url)), ("status", text(status))]))
        });
        let visit = pv1.valued(19).map_or(Json::Null, |v| visit_number(v, &authority, &self.clock));
        let members = [
            ("identifier", array([visit])),
            ("status", text(status)),
            ("class", class(pv1.valued(2))),
            ("subject", self.subject()),
            ("period", period(&self.clock, &pv1.text(44, 1), &pv1.text(45, 1))),
            ("location", array(places)),
        ];
        let members = members.into_iter().filter(|(_, v)| !json::is_empty(v));
        let mut body = Object { members: members.map(|(k, v)| (k.into(), v)).collect(), span: 0..0 };
        self.fill(&mut body, pv1, "PV1", "Encounter");
        self.encounter = Some(self.put_object("Encounter", id, body));
        self.in_visit = true;
    }

    pub(super) fn more_of_encounter(&mut self, pv2: Segment<'m>) {
        if let Some(at) = self.encounter.as_deref().and_then(|visit| self.place_of(visit)) {
            self.extend(at, pv2, "PV2");
        }
    }

    /// A place that is only named.
    pub(super) fn place(&mut self, name: &str) -> Option<String> {
        let name = name.trim();
        if name.is_empty() {
            return None;
        }
        let id = crate::fhir::common::uuid(&["Location", &self.sender, "named", name]);
        Some(self.put("Location", id, vec![("name", text(name)), ("mode", text("instance"))]))
    }

    /// PL to a chain of Locations, each part of the next larger; the URL of the smallest.
    pub(super) fn location(&mut self, pl: Part<'m>) -> Option<String> {
        let facility = part(pl, 4).into_owned();
        let mut path = vec![facility.clone()];
        let mut within = self.building(pl);
        for (component, type_, words) in [(1, "wa", "Ward"), (2, "ro", "Room"), (3, "bd", "Bed")] {
            let name = part(pl, component).trim().to_owned();
            if name.is_empty() {
                continue;
            }
            path.push(name.clone());
            let keys: Vec<&str> = path.iter().map(String::as_str).collect();
            let id = crate::fhir::common::uuid(&[&["Location", &self.sender], &keys[..]].concat());
            let kind = coding("http://terminology.hl7.org/CodeSystem/location-physical-type", type_, words);
            let owner = pl.below(4).map_or(Json::Null, owner);
            let members = vec![
                ("status", text("active")),
                ("name", text(&name)),
                ("mode", text("instance")),
                ("physicalType", concept(kind, "")),
                ("managingOrganization", owner),
                ("partOf", within.as_deref().map_or(Json::Null, reference)),
            ];
            within = Some(self.put("Location", id, members));
        }
        within
    }
}

impl<'m> Writer<'m> {
    /// PL.7 and PL.8: the building, and its floor; the URL of the smaller.
    fn building(&mut self, pl: Part<'m>) -> Option<String> {
        let facility = part(pl, 4).into_owned();
        let mut path = vec![self.sender.clone(), "building".to_owned(), facility];
        let mut within: Option<String> = None;
        for (component, type_, words) in [(7, "bu", "Building"), (8, "lvl", "Level")] {
            let name = part(pl, component).trim().to_owned();
            if name.is_empty() {
                continue;
            }
            path.push(name.clone());
            let mut keys = vec!["Location"];
            keys.extend(path.iter().map(String::as_str));
            let kind = coding("http://terminology.hl7.org/CodeSystem/location-physical-type", type_, words);
            let members = vec![
                ("name", text(&name)),
                ("mode", text("instance")),
                ("physicalType", concept(kind, "")),
                ("partOf", within.as_deref().map_or(Json::Null, reference)),
            ];
            within = Some(self.put("Location", crate::fhir::common::uuid(&keys), members));
        }
        within
    }
}

/// PL.4: the facility, by its name and its universal id.
fn owner(hd: Part<'_>) -> Json {
    let named = [1, 2, 3].map(|n| {
        let part = hd.subcomponent(n).filter(Part::has_value);
        part.map(|p| p.text().trim().to_owned()).unwrap_or_default()
    });
    let known = assigner(&named[0], &named[1], &named[2]);
    if known.get("identifier").is_some() { known } else { object([("display", text(&named[0]))]) }
}

/// `Encounter.class` is required: what table 0004 has no code for is said to be unknown.
fn class(patient_class: Option<Part<'_>>) -> Json {
    let code = patient_class.map(|p| part(p, 1)).unwrap_or_default();
    match tables::encounter_class(&code) {
        Some((code, display)) => coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", code, display),
        None => coding("http://terminology.hl7.org/CodeSystem/data-absent-reason", "unknown", "Unknown"),
    }
}

fn visit_number(visit: Part<'_>, authority: &str, clock: &Clock) -> Json {
    let Json::Object(mut identifier) = cx(visit, "", clock) else { return Json::Null };
    let type_ = coding("http://terminology.hl7.org/CodeSystem/v2-0203", "VN", "");
    identifier.members.retain(|(key, _)| &**key != "type");
    identifier.members.insert(0, ("type".into(), object([("coding", array([type_]))])));
    if !identifier.members.iter().any(|(key, _)| &**key == "system") && !authority.is_empty() {
        identifier.members.insert(1, ("system".into(), text(system(authority))));
    }
    Json::Object(identifier)
}
