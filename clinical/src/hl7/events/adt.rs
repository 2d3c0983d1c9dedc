//! ADT: persons, movements, merges (HL7 v2.9 ch. 3).

use super::context::Context;
use super::patient;
use crate::hl7::{Part, Segment};
use crate::{
    Encounter, EncounterChange, EncounterClass, Event, EventKind, Location, PatientId, Precision, Severity,
    Time,
};

pub(super) fn read(context: &mut Context<'_>, trigger: &str) -> Vec<Event> {
    if trigger == "A40" { merges(context) } else { movement(context, trigger) }
}

fn movement(context: &mut Context<'_>, trigger: &str) -> Vec<Event> {
    let message = context.message;
    let Some(pid) = message.first("PID") else {
        context.tell(Severity::Error, "patient-id-missing", "PID", "no PID segment; send the patient's id");
        return Vec::new();
    };
    let Some(patient) = patient::id(context, pid, 3) else { return Vec::new() };
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
            Some(Encounter { change, class: None, location: None, admitted_at: None, discharged_at: None })
        }
        _ => None,
    };
    let encounter = encounter.filter(says_something).map(EventKind::Encounter);
    person.into_iter().chain(encounter).map(event).collect()
}

/// A movement always counts; an update only if it brings something.
fn says_something(encounter: &Encounter) -> bool {
    let Encounter { change, class, location, admitted_at, discharged_at } = encounter;
    *change != EncounterChange::Updated
        || class.is_some()
        || location.is_some()
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
        "A08" | "A31" => Some(EncounterChange::Updated),
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

/// A40: each PID survives the MRG that follow it.
fn merges(context: &mut Context<'_>) -> Vec<Event> {
    let message = context.message;
    let evn = message.first("EVN");
    let (at, precision) = context.first_time(&[(evn, 6), (evn, 2)]);
    let mut events = Vec::new();
    let mut surviving: Option<PatientId> = None;
    let mut merged = 0;
    for segment in message.segments() {
        match segment.name_bytes() {
            b"PID" => {
                surviving = patient::id(context, segment, 3);
                let person = patient::person(context, segment).map(EventKind::Person);
                if let (Some(patient), Some(kind)) = (&surviving, person) {
                    events.push(Event { patient: patient.clone(), visit: None, at, precision, kind });
                }
            }
            b"MRG" => {
                merged += 1;
                let from = patient::id(context, segment, 1);
                let Some((patient, from)) = surviving.clone().zip(from) else { continue };
                if patient == from {
                    let text = "the prior id is the surviving one; nothing was merged";
                    context.tell_at(Severity::Warning, "merge-into-itself", segment, 1, text);
                } else {
                    let kind = EventKind::Merged { from };
                    events.push(Event { patient, visit: None, at, precision, kind });
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
    if merged == 0 {
        context.tell(Severity::Error, "merge-missing", "MRG", "no MRG segment; send the prior id in MRG-1");
    }
    events
}
