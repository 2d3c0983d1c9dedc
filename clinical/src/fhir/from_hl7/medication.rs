//! RXO and RXE to MedicationRequest, RXA to Immunization or MedicationAdministration, RXR and TQ1 to either.

use std::borrow::Cow;

use super::datatypes::part;
use super::{Writer, tables};
use crate::fhir::common::Uuid;
use crate::fhir::json::{Object, text, trim};
use crate::hl7::Segment;

impl<'m> Writer<'m> {
    pub(super) fn prescription(&mut self, rx: Segment<'m>, name: &'static str) {
        let orc = self.order.orc;
        let control = |field| orc.map(|o| o.text(field, 1)).unwrap_or_default();
        let status = match tables::request_status(&control(5), &control(1)) {
            "revoked" => "cancelled",
            status => status,
        };
        let mut body = self.about_patient("MedicationRequest");
        body.members.push(("status".into(), text(status)));
        // RXO is what was ordered, RXE what the pharmacy made of it (the guide's RXO map).
        let intent = if name == "RXO" { "original-order" } else { "order" };
        body.members.push(("intent".into(), text(intent)));
        self.fill_with_order(&mut body, rx, name, "MedicationRequest");
        let numbers = self.order_numbers();
        let id = match &*numbers {
            "" => self.id_of("MedicationRequest", rx, &[]),
            numbers => self.id(&["MedicationRequest", name, numbers]),
        };
        self.prescribed("MedicationRequest", id, body);
        // A TQ1 that came before.
        if let (Some(tq1), Some(at)) = (self.order.timing.take(), self.medication) {
            self.extend(at, tq1, "TQ1");
            self.touched.push((tq1.position(), at));
        }
    }

    pub(super) fn administration(&mut self, rxa: Segment<'m>) {
        let type_ = if self.is_vaccination() { "Immunization" } else { "MedicationAdministration" };
        let mut body = self.about_patient(type_);
        self.fill_with_order(&mut body, rxa, "RXA", type_);
        let when = if type_ == "Immunization" { "occurrence" } else { "effective" };
        if !body.members.iter().any(|(key, _)| key.starts_with(when)) {
            match type_ {
                "Immunization" => {
                    body.members.push(("occurrenceString".into(), text("not named in the message")));
                }
                // An administration without a time is none to R4.
                _ => return,
            }
        }
        let id = match &*self.order_numbers() {
            "" => self.id_of(type_, rxa, &[3, 5]),
            numbers => self.id(&[type_, numbers, &rxa.text(3, 1), &rxa.text(5, 1)]),
        };
        self.prescribed(type_, id, body);
    }

    fn fill_with_order(
        &mut self,
        body: &mut Object<'m>,
        rx: Segment<'m>,
        name: &'static str,
        type_: &'static str,
    ) {
        if let Some(orc) = self.order.orc {
            self.fill(body, orc, "ORC", type_);
        }
        self.fill(body, rx, name, type_);
        self.require(body, rx, type_);
    }

    fn prescribed(&mut self, type_: &'static str, id: Uuid, body: Object<'m>) {
        let at = self.put(type_, id, body);
        self.medication = Some(at);
        self.noted = Some(at);
        // The order's numbers stand in this resource too.
        if let Some(orc) = self.order.orc {
            self.touched.push((orc.position(), at));
        }
    }

    pub(super) fn route(&mut self, rxr: Segment<'m>) {
        if let Some(at) = self.medication {
            self.extend(at, rxr, "RXR");
        }
    }

    /// TQ1 belongs to the order before it.
    pub(super) fn timing(&mut self, tq1: Segment<'m>) {
        if let Some(at) = self.order.request.or(self.medication) {
            self.extend(at, tq1, "TQ1");
        } else {
            // ORC, TQ1, OBR or RXE: kept for the order that follows.
            self.order.timing = Some(tq1);
        }
    }

    /// Filler, else placer order number; empty where neither was sent.
    fn order_numbers(&self) -> Cow<'m, str> {
        let numbers = [3, 2].into_iter().filter_map(|field| self.order.orc?.valued(field));
        let mut numbers = numbers.map(|n| trim(part(n, 1)));
        numbers.find(|n| !n.is_empty()).unwrap_or_default()
    }
}
