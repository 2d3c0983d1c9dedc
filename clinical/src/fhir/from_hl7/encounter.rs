//! PV1 to Encounter and the Locations it names.

use std::borrow::Cow;

use super::datatypes::{assigner, cx, part, period, text};
use super::time::Clock;
use super::{Writer, tables};
use crate::fhir::common::{Uuid, coding, concept, system};
use crate::fhir::json::{Json, array, members_of, object, trim};
use crate::hl7::{Part, Segment};

impl<'m> Writer<'m> {
    pub(super) fn encounter(&mut self, pv1: Segment<'m>) {
        let type_ = self.message.type_();
        let (kind, trigger) = type_.split_once('^').unwrap_or((&type_, ""));
        let number = trim(pv1.text(19, 1));
        // A28 and A31 carry PV1 for the structure's sake, with class N.
        if number.is_empty() && matches!(pv1.text(2, 1).trim(), "" | "N") && pv1.valued(3).is_none() {
            return;
        }
        let id = match &*number {
            "" => self.id(&["Encounter", "of message", &self.message.control_id()]),
            number => self.id(&["Encounter", number]),
        };
        let authority = match &self.patient {
            Some(patient) => patient.authority.clone(),
            None => Cow::Borrowed(&*self.feed.authority),
        };
        let trigger = if kind == "ADT" { trigger } else { "" };
        let status = status(trigger, &pv1.text(2, 1), pv1.valued(45).is_some());
        let assigned = if status == "planned" { "planned" } else { "active" };
        // An A13 may still carry the end that it takes back.
        let end = if status == "in-progress" { "".into() } else { pv1.text(45, 1) };
        let places = [(3, assigned), (6, "completed")].map(|(field, status)| {
            let place = pv1.valued(field).and_then(|pl| self.location(pl));
            place.map_or(Json::Null, |at| object([("location", Json::Entry(at)), ("status", text(status))]))
        });
        let visit = pv1.valued(19).map_or(Json::Null, |v| visit_number(v, authority, &self.clock));
        let mut body = members_of([
            ("identifier", array([visit])),
            ("status", text(status)),
            ("class", class(pv1.valued(2))),
            ("subject", self.subject()),
            ("period", period(&self.clock, &pv1.text(44, 1), &end)),
            ("location", array(places)),
        ]);
        self.fill(&mut body, pv1, "PV1", "Encounter");
        self.encounter = Some(self.put("Encounter", id, body));
        self.in_visit = true;
    }

    pub(super) fn more_of_encounter(&mut self, pv2: Segment<'m>) {
        if let Some(at) = self.encounter {
            self.extend(at, pv2, "PV2");
        }
    }

    /// A place that is only named: CWE, one level down.
    pub(super) fn place(&mut self, cwe: Part<'m>) -> Option<usize> {
        let whole = trim(cwe.text());
        let [code, words, _] = hd(Some(cwe));
        let name = if words.is_empty() { code } else { words };
        if name.is_empty() {
            return None;
        }
        let id = Uuid::of(&["Location", &self.sender, "named", &whole]);
        Some(self.put("Location", id, members_of([("name", text(name)), ("mode", text("instance"))])))
    }

    /// PL to a chain of Locations, each part of the next larger; the place of the smallest.
    pub(super) fn location(&mut self, pl: Part<'m>) -> Option<usize> {
        let mut path = vec![part(pl, 4)];
        let mut within = self.building(pl);
        for (component, type_, words) in [(1, "wa", "Ward"), (2, "ro", "Room"), (3, "bd", "Bed")] {
            // IS, or HD from v2.7 on: a name and a universal id.
            let whole = trim(part(pl, component));
            if whole.is_empty() {
                continue;
            }
            path.push(whole);
            let keys = ["Location", &self.sender].into_iter().chain(path.iter().map(|key| &**key));
            let id = Uuid::of(&keys.collect::<Vec<_>>());
            let kind = coding("http://terminology.hl7.org/CodeSystem/location-physical-type", type_, words);
            let owner = pl.below(4).map_or(Json::Null, owner);
            let [name, universal, scheme] = hd(pl.below(component));
            let known = assigner(Cow::Borrowed(""), universal, scheme);
            let body = members_of([
                ("identifier", array(known.get("identifier").cloned())),
                ("status", text("active")),
                ("name", text(name)),
                ("mode", text("instance")),
                ("physicalType", concept(kind, "")),
                ("managingOrganization", owner),
                ("partOf", within.map_or(Json::Null, Json::Entry)),
            ]);
            within = Some(self.put("Location", id, body));
        }
        within
    }

    /// PL.7 and PL.8: the building, and its floor; the place of the smaller.
    fn building(&mut self, pl: Part<'m>) -> Option<usize> {
        let mut path = vec![Cow::Borrowed("building"), part(pl, 4)];
        let mut within = None;
        for (component, type_, words) in [(7, "bu", "Building"), (8, "lvl", "Level")] {
            let name = trim(part(pl, component));
            if name.is_empty() {
                continue;
            }
            path.push(name.clone());
            let keys = ["Location", &self.sender].into_iter().chain(path.iter().map(|key| &**key));
            let id = Uuid::of(&keys.collect::<Vec<_>>());
            let kind = coding("http://terminology.hl7.org/CodeSystem/location-physical-type", type_, words);
            let body = members_of([
                ("name", text(name)),
                ("mode", text("instance")),
                ("physicalType", concept(kind, "")),
                ("partOf", within.map_or(Json::Null, Json::Entry)),
            ]);
            within = Some(self.put("Location", id, body));
        }
        within
    }
}

/// Of an ADT's trigger, the patient's class and whether PV1-45 says that the visit has ended. What only repeats the
/// visit must not reopen it: the Encounter is written over the one before. A11 and A13 may still carry the time that
/// they take back.
fn status(trigger: &str, class: &str, ended: bool) -> &'static str {
    let by_event = tables::encounter_status(trigger);
    match trigger {
        "A11" | "A13" => by_event,
        _ if ended => "finished",
        // They say that the patient is there, whatever the class.
        "A01" | "A02" | "A03" | "A06" | "A07" | "A12" => by_event,
        "" => tables::UNKNOWN,
        _ if tables::code("PatientClass[EncounterStatus]", class) == Some("planned") => "planned",
        _ => by_event,
    }
}

/// PL.4: the facility, by its name and its universal id.
fn owner(hd_part: Part<'_>) -> Json<'_> {
    let [name, universal, kind] = hd(Some(hd_part));
    let known = assigner(name.clone(), universal, kind);
    if known.get("identifier").is_some() { known } else { object([("display", text(name))]) }
}

/// HD's namespace, universal id and its kind, or CWE's code, text and system, one level down.
fn hd(part: Option<Part<'_>>) -> [Cow<'_, str>; 3] {
    let subcomponent = |n| part.and_then(|hd| hd.subcomponent(n)).filter(Part::has_value);
    [1, 2, 3].map(|n| subcomponent(n).map(|p| trim(p.text())).unwrap_or_default())
}

/// `Encounter.class` is required: what table 0004 has no code for is said to be unknown.
fn class(patient_class: Option<Part<'_>>) -> Json<'static> {
    let code = patient_class.map(|p| part(p, 1)).unwrap_or_default();
    match tables::encounter_class(&code) {
        Some((code, display)) => coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", code, display),
        None => coding("http://terminology.hl7.org/CodeSystem/data-absent-reason", "unknown", "Unknown"),
    }
}

fn visit_number<'m>(visit: Part<'m>, authority: Cow<'m, str>, clock: &Clock) -> Json<'m> {
    let Json::Object(mut identifier) = cx(visit, "", clock) else { return Json::Null };
    let type_ = coding("http://terminology.hl7.org/CodeSystem/v2-0203", "VN", "");
    identifier.members.retain(|(key, _)| &**key != "type");
    identifier.members.insert(0, ("type".into(), object([("coding", array([type_]))])));
    if !identifier.members.iter().any(|(key, _)| &**key == "system") && !authority.is_empty() {
        identifier.members.insert(1, ("system".into(), text(system(authority))));
    }
    Json::Object(identifier)
}
