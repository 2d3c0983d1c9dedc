//! ORC and OBR to ServiceRequest, and to DiagnosticReport where results follow.

use std::borrow::Cow;

use super::datatypes::{ei, part, required_cwe, text};
use super::{Kind, Writer, tables};
use crate::fhir::json::{Json, array, members_of, trim};
use crate::hl7::Segment;

/// The order group that the next OBX belong to.
#[derive(Default)]
pub(super) struct Group<'m> {
    pub(super) orc: Option<Segment<'m>>,
    pub(super) obr: Option<Segment<'m>>,
    /// Filler, else placer order number; empty where neither was sent.
    pub(super) number: Cow<'m, str>,
    /// The ServiceRequest's place.
    pub(super) request: Option<usize>,
    /// A TQ1 before its OBR.
    pub(super) timing: Option<Segment<'m>>,
    /// The DiagnosticReport's place.
    pub(super) report: Option<usize>,
}

impl<'m> Writer<'m> {
    pub(super) fn request(&mut self, obr: Segment<'m>) {
        // One ORC may stand before several OBR; their numbers count from the second OBR on.
        let orc = self.order.orc.filter(|_| self.order.obr.is_none());
        let either =
            |of_orc: usize, of_obr: usize| obr.valued(of_obr).or_else(|| orc.and_then(|o| o.valued(of_orc)));
        let (placer, filler) = (either(2, 2), either(3, 3));
        let number = [filler, placer].into_iter().flatten().map(|n| trim(part(n, 1))).find(|n| !n.is_empty());
        let code = required_cwe(obr.valued(4), self.feed);
        let code_key = obr.text(4, 1).into_owned();
        let key = match &number {
            Some(number) => format!("{number}|{code_key}"),
            None => format!("{}|{}|{code_key}", self.message.control_id(), obr.position()),
        };
        let is_result = self.kind == Kind::Result;
        let status = match (is_result, obr.text(25, 1).as_ref()) {
            (true, "F" | "C") => "completed",
            (true, "X") => "revoked",
            (true, _) => "unknown",
            _ => {
                let orc_text = |field| orc.map(|o| o.text(field, 1)).unwrap_or_default();
                tables::request_status(&orc_text(5), &orc_text(1))
            }
        };
        let request = members_of([
            ("identifier", array([ei(placer, "PLAC"), ei(filler, "FILL")])),
            ("status", text(status)),
            ("intent", text("order")),
            ("code", code.clone()),
            ("subject", self.subject()),
            ("encounter", self.visit()),
            ("occurrenceDateTime", text(self.time(&obr.text(6, 1)))),
            ("authoredOn", text(self.time(&orc.map(|o| o.text(9, 1)).unwrap_or_default()))),
        ]);
        let at = self.put("ServiceRequest", self.id(&["ServiceRequest", &key]), request);
        self.complete_request(at, orc, obr);
        self.noted = Some(at);
        let report = is_result.then(|| {
            let body = members_of([
                ("basedOn", array([Json::Entry(at)])),
                ("identifier", array([ei(placer, "PLAC"), ei(filler, "FILL")])),
                ("status", text(tables::report_status(&obr.text(25, 1)))),
                ("code", code),
                ("subject", self.subject()),
                ("encounter", self.visit()),
                ("effectiveDateTime", text(self.time(&obr.text(7, 1)))),
                ("issued", text(self.clock.instant(&obr.text(22, 1)).unwrap_or_default())),
            ]);
            let at = self.put("DiagnosticReport", self.id(&["DiagnosticReport", &key]), body);
            self.extend(at, obr, "OBR");
            at
        });
        let orc = self.order.orc;
        let number = number.unwrap_or_default();
        self.order = Group { orc, obr: Some(obr), number, request: Some(at), timing: None, report };
        match self.specimen {
            Some(specimen) if self.message.type_().starts_with("OUL") => self.taken_from(specimen),
            _ => self.specimen_of_request(obr),
        }
    }

    /// What the maps make of the order's segments.
    fn complete_request(&mut self, at: usize, orc: Option<Segment<'m>>, obr: Segment<'m>) {
        for (segment, name) in [(orc, "ORC"), (Some(obr), "OBR"), (self.order.timing, "TQ1")] {
            if let Some(segment) = segment {
                self.extend(at, segment, name);
                self.touched.push((segment.position(), at));
            }
        }
    }

    fn time(&self, written: &str) -> String {
        self.clock.date_time(written).unwrap_or_default()
    }

    /// Adds a result to the report of the current group.
    pub(super) fn add_result(&mut self, result: usize) {
        if let Some(at) = self.order.report {
            self.push(at, "result", Json::Entry(result));
        }
    }
}
