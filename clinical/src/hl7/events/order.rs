//! ORM, OML, OMG, RDE and their like: orders (HL7 v2.9 ch. 4 §4.4, ch. 4A §4A.3).

use smol_str::SmolStr;

use super::context::Context;
use super::{coded, patient};
use crate::hl7::{Part, Segment};
use crate::{Code, CodeSystem, Event, EventKind, Order, PatientId, Severity};

/// One event for each OBR, RXO or RXE, or for an ORC that none of them follows.
pub(super) fn read(context: &mut Context<'_>) -> Vec<Event> {
    let message = context.message;
    let Some((pid, patient)) = patient::only(context) else { return Vec::new() };
    patient::tell_of_observations(context);
    let mut orders =
        Orders { patient, visit: message.first("PV1").and_then(patient::visit), orc: None, used: false };
    let mut events = Vec::new();
    if let Some(person) = patient::person(context, pid) {
        let ((at, precision), kind) = (context.sent_at, EventKind::Person(person));
        events.push(Event { patient: orders.patient.clone(), visit: None, at, precision, kind });
    }
    let before = events.len();
    for segment in message.segments() {
        match segment.name_bytes() {
            b"ORC" => {
                events.extend(orders.without_obr(context));
                (orders.orc, orders.used) = (Some(segment), false);
            }
            b"OBR" => {
                orders.used = true;
                events.push(orders.event(context, Some((segment, 4))));
            }
            // RXE is the pharmacy's form of the RXO before it.
            b"RXO" | b"RXE" if !orders.used => {
                orders.used = true;
                let code = if segment.name_bytes() == b"RXO" { 1 } else { 2 };
                events.push(orders.event(context, Some((segment, code))));
            }
            _ => {}
        }
    }
    events.extend(orders.without_obr(context));
    if events.len() == before {
        context.tell(Severity::Error, "order-missing", "ORC", "neither ORC nor OBR; send the order");
    }
    events
}

struct Orders<'m> {
    patient: PatientId,
    visit: Option<SmolStr>,
    orc: Option<Segment<'m>>,
    /// An OBR followed the ORC.
    used: bool,
}

impl<'m> Orders<'m> {
    fn without_obr(&self, context: &mut Context<'m>) -> Option<Event> {
        (self.orc.is_some() && !self.used).then(|| self.event(context, None))
    }

    /// ORC-9 dates the order, else OBR-6 (requested), else MSH-7.
    /// `detail`: OBR, RXO or RXE, and its field that says what was ordered.
    fn event(&self, context: &mut Context<'m>, detail: Option<(Segment<'m>, usize)>) -> Event {
        let number = |segment: Option<Segment<'m>>, field| {
            let part = segment?.valued(field)?.component(1).filter(Part::has_value)?;
            Some(part.text().trim().to_owned())
        };
        let orc = self.orc;
        let obr = detail.map(|(segment, _)| segment).filter(|s| s.name_bytes() == b"OBR");
        let either = |field| number(orc, field).or_else(|| number(obr, field)).unwrap_or_default();
        let code = match detail.and_then(|(segment, field)| segment.valued(field)) {
            Some(field) => coded::read(context, field).code,
            None => Code {
                system: CodeSystem::Other(SmolStr::default()),
                code: SmolStr::default(),
                display: SmolStr::default(),
            },
        };
        let control = number(orc, 1).unwrap_or_default();
        let order = Order { control, placer: either(2), filler: either(3), code };
        let (at, precision) = context.first_time(&[(orc, 9), (obr, 6)]);
        Event {
            patient: self.patient.clone(),
            visit: self.visit.clone(),
            at,
            precision,
            kind: EventKind::Ordered(order),
        }
    }
}
