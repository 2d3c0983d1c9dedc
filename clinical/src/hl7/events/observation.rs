//! ORU^R01: results and vital signs (HL7 v2.9 ch. 7 §7.3.1, §7.4.2 OBX).

use std::borrow::Cow;

use smol_str::SmolStr;

use super::coded::{self, Coded};
use super::context::Context;
use super::{patient, value};
use crate::hl7::{Part, Segment};
use crate::text::trimmed;
use crate::{CodeSystem, Event, EventKind, Observation, ObservationStatus, PatientId, Severity, Value};

/// What stands before an OBX and holds for it.
#[derive(Default)]
struct Group<'m> {
    patient: Option<PatientId>,
    visit: Option<SmolStr>,
    orc: Option<Segment<'m>>,
    obr: Option<Segment<'m>>,
    /// Of ORC and OBR; empty where neither has one.
    order_number: Cow<'m, str>,
    /// OBR-25.
    order_status: &'m [u8],
}

/// One event an OBX, and what PID says of the person. PV1 gives its visit number only: where the patient
/// lies is ADT's to say, a laboratory's copy of it is old.
pub(super) fn read(context: &mut Context<'_>) -> Vec<Event> {
    let message = context.message;
    let mut group = Group::default();
    let mut events = Vec::with_capacity(message.segments().len());
    let mut has_pid = false;
    for segment in message.segments() {
        match segment.name_bytes() {
            b"PID" => {
                has_pid = true;
                group = Group { patient: patient::id(context, segment, 3), ..Group::default() };
                events.extend(person(context, segment, &group));
            }
            b"PV1" => group.visit = patient::visit(segment),
            b"ORC" => {
                (group.orc, group.obr) = (Some(segment), None);
                group.order_number = order_number(&group);
                group.order_status = &[];
            }
            b"OBR" => {
                // An ORC holds for the OBR that follows it, and for no further one.
                let orc = if group.obr.is_some() { None } else { group.orc };
                (group.orc, group.obr) = (orc, Some(segment));
                group.order_number = order_number(&group);
                group.order_status = letter(segment, 25);
            }
            b"OBX" if !has_pid => {
                let text = "a result before any PID; send the patient's PID before it";
                context.tell(Severity::Error, "patient-id-missing", "OBX", text);
                has_pid = true;
            }
            b"OBX" => events.extend(observed(context, segment, &group)),
            _ => {}
        }
    }
    if message.first("PID").is_none() {
        context.tell(Severity::Error, "patient-id-missing", "PID", "no PID segment; send the patient's id");
    }
    events
}

fn person<'m>(context: &mut Context<'m>, pid: Segment<'m>, group: &Group<'m>) -> Option<Event> {
    let patient = group.patient.clone()?;
    let kind = EventKind::Person(patient::person(context, pid)?);
    let (at, precision) = context.sent_at;
    Some(Event { patient, visit: None, at, precision, kind })
}

fn observed<'m>(context: &mut Context<'m>, obx: Segment<'m>, group: &Group<'m>) -> Option<Event> {
    let patient = group.patient.as_ref()?;
    let Some(field) = obx.valued(3) else {
        let text = "OBX-3 does not say what was observed; the observation was not read";
        context.tell_at(Severity::Warning, "code-missing", obx, 3, text);
        return None;
    };
    let what = coded::read(context, field);
    let status = status(context, obx, group)?;
    let value = match value::read(context, obx, &what) {
        Some(value) => value,
        // Taken back, corrected to nothing, or never to come: that there is no value is the news.
        None if obx.field(5).is_none_or(|f| f.is_empty()) && is_withdrawal(status) => Value::Absent,
        None => {
            if obx.field(5).is_none_or(|f| f.is_empty()) {
                let text = "OBX-5 is empty, which says nothing; send \"\" for a value that is no more";
                context.tell_at(Severity::Information, "value-empty", obx, 5, text);
            }
            return None;
        }
    };
    let source_id = source_id(obx, group, &what);
    let (at, precision) = context.first_time(&[(Some(obx), 14), (group.obr, 7)]);
    let (code, sent_at) = (what.code, context.sent_exactly_at);
    let observation = Observation { code, value, status, source_id, is_version: false, sent_at };
    if let Some(doubt) = observation.doubt() {
        let field = if doubt.about_unit { 6 } else { 5 };
        context.tell_at(doubt.severity, doubt.code, obx, field, doubt.text);
    }
    let kind = EventKind::Observed(observation);
    Some(Event { patient: patient.clone(), visit: group.visit.clone(), at, precision, kind })
}

fn is_withdrawal(status: ObservationStatus) -> bool {
    use ObservationStatus::{Cancelled, Corrected, Deleted};
    matches!(status, Corrected | Deleted | Cancelled)
}

/// OBX-11 (HL7 table 0085), else OBR-25 (table 0123), else final. A final OBX under a corrected OBR replaces
/// what was sent before. `None`: no result is meant.
fn status<'m>(context: &mut Context<'m>, obx: Segment<'m>, group: &Group<'m>) -> Option<ObservationStatus> {
    let (own, order) = (letter(obx, 11), group.order_status);
    let status = if own.is_empty() { order } else { own };
    let corrected = order.eq_ignore_ascii_case(b"C");
    let status = match status.first().filter(|_| status.len() == 1).map(u8::to_ascii_uppercase) {
        Some(b'F' | b'U' | b'V' | b'B') if corrected => ObservationStatus::Corrected,
        Some(b'F' | b'U' | b'V' | b'B') => ObservationStatus::Final,
        None if status.is_empty() || status == b"\"\"" => ObservationStatus::Final,
        Some(b'C' | b'A') => ObservationStatus::Corrected,
        Some(b'D' | b'W') => ObservationStatus::Deleted,
        Some(b'X' | b'N') => ObservationStatus::Cancelled,
        Some(b'P' | b'R' | b'S' | b'I') => ObservationStatus::Preliminary,
        // Describes the order: there is nothing that was observed.
        Some(b'O') => return None,
        _ => {
            let text = "no status of HL7 table 0085; the result was taken as preliminary";
            context.tell_at(Severity::Warning, "status-unknown", obx, 11, text);
            ObservationStatus::Preliminary
        }
    };
    Some(status)
}

fn letter(segment: Segment<'_>, field: usize) -> &[u8] {
    let first = segment.field(field).and_then(|field| field.component(1));
    first.map_or(&[], |part| part.raw().trim_ascii())
}

fn order_number<'m>(group: &Group<'m>) -> Cow<'m, str> {
    let numbers = [(group.obr, 3), (group.orc, 3), (group.obr, 2), (group.orc, 2)];
    let mut numbers = numbers.into_iter().filter_map(|(segment, field)| {
        let number = segment?.valued(field)?.component(1).filter(Part::has_value)?;
        Some(number.trimmed())
    });
    numbers.find(|number| !number.is_empty()).unwrap_or_default()
}

/// What a correction refers to: order number, OBX-3 and OBX-4. Without an order number there is none: other
/// orders' results would be taken for the same one.
fn source_id(obx: Segment<'_>, group: &Group<'_>, what: &Coded<'_>) -> String {
    if group.order_number.is_empty() {
        return String::new();
    }
    let system = match &what.code.system {
        CodeSystem::Loinc => "LN",
        CodeSystem::Snomed => "SCT",
        CodeSystem::Other(name) => name,
    };
    let (order, code, sub_id) = (&*group.order_number, &*what.code.code, obx.text(4, 1));
    let mut id = String::with_capacity(order.len() + code.len() + system.len() + sub_id.len() + 3);
    id.extend([order, "|", code, "^", system, "|", trimmed(&sub_id)]);
    id
}
