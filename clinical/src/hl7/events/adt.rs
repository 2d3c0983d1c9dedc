//! ADT: persons, movements, merges (HL7 v2.9 ch. 3).

use std::collections::HashMap;

use super::context::Context;
use super::patient;
use crate::hl7::{Part, Segment};
use crate::{
    Encounter, EncounterChange, EncounterClass, Event, EventKind, Location, PatientId, Precision, Severity,
    Time,
};

/// Triggers after which the id in MRG-1 stands for the patient in PID-3: two records become one (A18, A30, A34,
/// A36, A39, A40) or one record gets another id (A46, A47).
const MERGES: [&str; 8] = ["A18", "A30", "A34", "A36", "A39", "A40", "A46", "A47"];

/// Of one message: to look for circles takes time that grows with their square.
const MERGES_MAX: usize = 1_000;

/// Triggers that change no more than what is known of the person and the visit.
const MOVEMENTS: [&str; 15] =
    ["A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A11", "A12", "A13", "A28", "A31", "A09", "A10"];

pub(super) fn read(context: &mut Context<'_>, trigger: &str) -> Vec<Event> {
    patient::tell_of_observations(context);
    match trigger {
        "A17" => swap(context),
        trigger if MERGES.contains(&trigger) => merges(context),
        trigger if MOVEMENTS.contains(&trigger) => movement(context, trigger),
        _ => person_only(context),
    }
}

/// Of messages whose own matter makes no event: who they are about.
pub(super) fn person_only(context: &mut Context<'_>) -> Vec<Event> {
    let text = "kept as sent and mapped to FHIR; of its events the person alone is read";
    context.tell(Severity::Information, "events-person-only", "MSH-9", text);
    let Some(pid) = context.message.first("PID") else { return Vec::new() };
    let Some(patient) = patient::id(context, pid, 3) else { return Vec::new() };
    let Some(person) = patient::person(context, pid) else { return Vec::new() };
    let (at, precision) = context.sent_at;
    vec![Event { patient, visit: None, at, precision, kind: EventKind::Person(person) }]
}

/// A17: two patients take each other's place; each PV1 says where the patient before it lies now.
fn swap(context: &mut Context<'_>) -> Vec<Event> {
    let message = context.message;
    let evn = message.first("EVN");
    let (at, precision) = context.first_time(&[(evn, 6), (evn, 2)]);
    let mut events = Vec::new();
    let mut patient = None;
    for segment in message.segments() {
        match segment.name_bytes() {
            b"PID" => patient = patient::id(context, segment, 3),
            b"PV1" => {
                let Some(patient) = patient.clone() else { continue };
                let moved = encounter(context, EncounterChange::Transferred, segment);
                let (visit, kind) = (patient::visit(segment), EventKind::Encounter(moved));
                events.push(Event { patient, visit, at, precision, kind });
            }
            _ => {}
        }
    }
    if message.all("PID").count() < 2 {
        let text = "a swap of two patients names fewer than two; send PID and PV1 of both";
        context.tell(Severity::Error, "patient-id-missing", "PID[2]", text);
    }
    events
}

fn movement(context: &mut Context<'_>, trigger: &str) -> Vec<Event> {
    let message = context.message;
    let Some((pid, patient)) = patient::only(context) else { return Vec::new() };
    let pv1 = message.first("PV1");
    let (at, precision) = happened(context, trigger);
    let visit = pv1.and_then(patient::visit);
    let event = |kind| Event { patient: patient.clone(), visit: visit.clone(), at, precision, kind };
    let person = patient::person(context, pid).map(EventKind::Person);
    let encounter = match (change(trigger), pv1) {
        (Some(change), Some(pv1)) => Some(encounter(context, change, pv1)),
        (Some(change), None) if change != EncounterChange::Updated => {
            let text = "a movement without PV1; where the patient lies stays as it was known";
            context.tell(Severity::Warning, "visit-missing", "PV1", text);
            Some(Encounter::of(change))
        }
        _ => None,
    };
    let encounter = encounter.filter(says_something).map(EventKind::Encounter);
    person.into_iter().chain(encounter).map(event).collect()
}

/// A movement always counts; an update only if it brings something.
fn says_something(encounter: &Encounter) -> bool {
    let Encounter { change, class, location, location_deleted, admitted_at, discharged_at } = encounter;
    *change != EncounterChange::Updated
        || class.is_some()
        || location.is_some()
        || *location_deleted
        || admitted_at.is_some()
        || discharged_at.is_some()
}

/// EVN-6, else the movement's own time in PV1, else EVN-2, else MSH-7.
fn happened(context: &mut Context<'_>, trigger: &str) -> (Time, Precision) {
    let (evn, pv1) = (context.message.first("EVN"), context.message.first("PV1"));
    let own = match trigger {
        "A01" | "A04" => (pv1, 44),
        "A03" => (pv1, 45),
        _ => (None, 0),
    };
    context.first_time(&[(evn, 6), own, (evn, 2)])
}

fn change(trigger: &str) -> Option<EncounterChange> {
    match trigger {
        "A01" | "A04" | "A05" | "A06" | "A07" => Some(EncounterChange::Admitted),
        "A02" => Some(EncounterChange::Transferred),
        "A03" => Some(EncounterChange::Discharged),
        // Tracking: the patient is on the way, or has come to, where PV1 says.
        "A08" | "A31" | "A09" | "A10" => Some(EncounterChange::Updated),
        "A11" => Some(EncounterChange::AdmitCancelled),
        "A12" => Some(EncounterChange::TransferCancelled),
        "A13" => Some(EncounterChange::DischargeCancelled),
        // A28 adds a person: its PV1 is there for the structure's sake.
        _ => None,
    }
}

fn encounter<'m>(context: &mut Context<'m>, change: EncounterChange, pv1: Segment<'m>) -> Encounter {
    Encounter {
        change,
        class: pv1.valued(2).and_then(class),
        location: location(context, pv1),
        location_deleted: pv1.field(3).is_some_and(|pl| pl.erases()),
        admitted_at: context.time(pv1, 44).map(|(at, _)| at),
        discharged_at: context.time(pv1, 45).map(|(at, _)| at),
    }
}

/// HL7 table 0004; N (not applicable) and U (unknown) say nothing.
fn class(field: Part<'_>) -> Option<EncounterClass> {
    match field.component(1)?.text().trim() {
        "I" | "B" => Some(EncounterClass::Inpatient),
        "O" | "R" => Some(EncounterClass::Outpatient),
        "E" => Some(EncounterClass::Emergency),
        "P" => Some(EncounterClass::PreAdmit),
        "" | "N" | "U" => None,
        _ => Some(EncounterClass::Other),
    }
}

/// PL (v2.9 ch. 2A §2.A.53).
fn location(context: &Context<'_>, pv1: Segment<'_>) -> Option<Location> {
    let pl = pv1.valued(3)?;
    let part = |n| {
        let part = pl.component(n).and_then(|c| c.subcomponent(1)).filter(Part::has_value);
        part.map(|p| p.text().trim().to_owned()).unwrap_or_default()
    };
    let location = Location { ward: part(1), room: part(2), bed: part(3), icu: false };
    let icu = context.feed.is_icu(&location.ward);
    (location != Location::default()).then_some(Location { icu, ..location })
}

/// Each PID survives the MRG that follow it: all prior ids of each.
fn merges(context: &mut Context<'_>) -> Vec<Event> {
    let message = context.message;
    let evn = message.first("EVN");
    let (at, precision) = context.first_time(&[(evn, 6), (evn, 2)]);
    let mut events = Vec::new();
    let mut surviving: Option<Vec<PatientId>> = None;
    let mut merged = 0;
    let mut into: HashMap<PatientId, PatientId> = HashMap::new();
    for segment in message.segments() {
        match segment.name_bytes() {
            b"PID" => {
                let ids = patient::ids(context, segment, 3);
                let person = patient::person(context, segment).map(EventKind::Person);
                if let (Some(patient), Some(kind)) = (ids.first(), person) {
                    events.push(Event { patient: patient.clone(), visit: None, at, precision, kind });
                }
                surviving = Some(ids);
            }
            b"MRG" if merged > MERGES_MAX => {}
            b"MRG" => {
                let merging = patient::merging(context, segment, surviving.as_deref().unwrap_or_default());
                merged += merging.len().max(1);
                if merged > MERGES_MAX {
                    continue;
                }
                let Some(surviving) = &surviving else {
                    let text = "stands before any PID; send the surviving patient's PID before it";
                    context.tell_at(Severity::Error, "merge-without-patient", segment, 1, text);
                    continue;
                };
                let Some(patient) = surviving.first() else { continue };
                let mut is_same = !merging.is_empty();
                for from in merging {
                    if *patient == from || into.get(&from) == Some(patient) {
                        continue;
                    }
                    is_same = false;
                    if survives(&into, &from, patient) {
                        // Which of the two goes on is not for us to guess.
                        let text = "the patients of this message replace one another in a circle; send which one goes on";
                        context.tell_at(Severity::Error, "merge-cycle", segment, 1, text);
                    } else {
                        into.insert(from.clone(), patient.clone());
                        let (patient, kind) = (patient.clone(), EventKind::Merged { from });
                        events.push(Event { patient, visit: None, at, precision, kind });
                    }
                }
                if is_same {
                    let text = "the prior id is the surviving one; nothing was merged";
                    context.tell_at(Severity::Warning, "merge-into-itself", segment, 1, text);
                }
            }
            _ => {}
        }
    }
    if message.first("PID").is_none() {
        context.tell(
            Severity::Error,
            "patient-id-missing",
            "PID",
            "no PID segment; send the surviving patient's id",
        );
    }
    if merged > MERGES_MAX {
        let text = "more than 1,000 merges in one message; send them in parts";
        context.tell(Severity::Error, "merges-too-many", "MRG", text);
    }
    if merged == 0 {
        context.tell(Severity::Error, "merge-missing", "MRG", "no MRG segment; send the prior id in MRG-1");
    }
    events
}

/// Whether this message has merged `later`, at once or by way of others, into `earlier`.
fn survives(into: &HashMap<PatientId, PatientId>, earlier: &PatientId, later: &PatientId) -> bool {
    std::iter::successors(into.get(later), |at| into.get(*at)).any(|at| at == earlier)
}
