//! Encounter to the movements it tells of.

use super::Mapper;
use super::concept::has_code;
use super::reference::visit_number;
use crate::fhir::json::Json;
use crate::{Encounter, EncounterChange, EncounterClass, EventKind, Location, Precision, Severity, Time};

type At = (Time, Precision);

/// Bed, room, ward, and some larger ones: a circle of Locations ends here.
const PARTS_MAX: usize = 8;

impl Mapper<'_> {
    pub(super) fn encounter(&mut self, resource: &Json) {
        let Some(patient) = self.subject(resource, "subject") else { return };
        let visit = visit_number(resource);
        if visit.is_none() {
            self.report_at(
                Severity::Warning,
                "visit-missing",
                "identifier",
                "has neither identifier nor id; it cannot be told from other visits",
            );
        }
        for (at, encounter) in self.movements(resource) {
            self.push(&patient, visit.as_ref(), at, EventKind::Encounter(encounter));
        }
    }

    /// One event for each place with a start, as ADT would have told it, then the end; one at least.
    fn movements(&mut self, resource: &Json) -> Vec<(At, Encounter)> {
        let period = resource.get("period");
        let start = self.time(period.and_then(|p| p.str("start")));
        let end = self.time(period.and_then(|p| p.str("end")));
        let status = resource.str("status").unwrap_or_default();
        let finished = status == "finished";
        let plain = |change, location| Encounter {
            change,
            class: resource.get("class").and_then(class),
            location,
            location_deleted: false,
            admitted_at: start.map(|(at, _)| at),
            discharged_at: if finished { end.map(|(at, _)| at) } else { None },
        };
        let places = self.places(resource, start);
        let last = places.last().map(|(_, place)| place.clone());
        if matches!(status, "cancelled" | "entered-in-error") {
            let at = self.time_or_receipt(start, "period.start");
            return vec![(at, plain(EncounterChange::AdmitCancelled, last))];
        }
        if matches!(status, "planned" | "onleave" | "unknown") {
            let at = self.time_or_receipt(start, "period.start");
            return vec![(at, plain(EncounterChange::Updated, last))];
        }
        let mut moved: Vec<(At, Encounter)> = Vec::new();
        for (at, place) in places {
            let change =
                if moved.is_empty() { EncounterChange::Admitted } else { EncounterChange::Transferred };
            let at = at.unwrap_or_else(|| self.time_or_receipt(start, "period.start"));
            moved.push((at, plain(change, Some(place))));
        }
        if moved.is_empty() && !finished {
            let at = self.time_or_receipt(start, "period.start");
            moved.push((at, plain(EncounterChange::Admitted, None)));
        }
        if finished {
            let at = self.time_or_receipt(end, "period.end");
            moved.push((at, plain(EncounterChange::Discharged, last)));
        }
        moved
    }

    /// Places in order of time; one without a start of its own was the first.
    fn places(&self, resource: &Json, start: Option<At>) -> Vec<(Option<At>, Location)> {
        let mut places: Vec<(Option<At>, Location)> = Vec::new();
        for entry in resource.items("location") {
            if matches!(entry.str("status"), Some("planned" | "reserved")) {
                continue;
            }
            let Some(place) = entry.get("location").and_then(|l| self.place(l, resource)) else { continue };
            let since = self.time(entry.get("period").and_then(|p| p.str("start")));
            places.push((since.or(start), place));
        }
        places.sort_by_key(|(at, _)| at.map(|(at, _)| at));
        places
    }

    /// The Location that came along, with what it is part of; else the reference's display, identifier or id.
    fn place(&self, reference: &Json, owner: &Json) -> Option<Location> {
        let url = reference.str("reference");
        let mut place = Location::default();
        let mut next = url.and_then(|url| self.resolve(url, owner));
        for _ in 0..PARTS_MAX {
            let Some(location) = next else { break };
            let name = location_name(location).unwrap_or_default().to_owned();
            let kind = location.get("physicalType");
            match () {
                () if has_code(kind, &["bd"]) => place.bed = name,
                () if has_code(kind, &["ro"]) => place.room = name,
                // The ward is the smallest thing that is neither bed nor room.
                () if place.ward.is_empty() => place.ward = name,
                () => {}
            }
            let larger = location.get("partOf").and_then(|l| l.str("reference"));
            next = larger.and_then(|url| self.resolve(url, owner));
        }
        if place.ward.is_empty() {
            let logical = || reference.get("identifier").and_then(|i| i.str("value"));
            let literal = || url.filter(|u| !u.starts_with(['u', '#'])).and_then(|u| u.rsplit('/').next());
            let named = reference.str("display").or_else(logical).or_else(literal);
            place.ward = named.unwrap_or_default().to_owned();
        }
        place.icu = self.feed.is_icu(&place.ward);
        (place != Location::default()).then_some(place)
    }
}

fn location_name<'j>(location: &'j Json<'_>) -> Option<&'j str> {
    let identifier = || location.items("identifier").iter().find_map(|i| i.str("value"));
    location.str("name").or_else(identifier).or_else(|| location.str("id"))
}

/// `Encounter.class` (v3-ActCode).
fn class(coding: &Json) -> Option<EncounterClass> {
    Some(match coding.str("code")? {
        "IMP" | "ACUTE" | "NONAC" | "SS" | "OBSENC" => EncounterClass::Inpatient,
        "EMER" => EncounterClass::Emergency,
        "AMB" | "VR" | "HH" => EncounterClass::Outpatient,
        "PRENC" => EncounterClass::PreAdmit,
        _ => EncounterClass::Other,
    })
}
