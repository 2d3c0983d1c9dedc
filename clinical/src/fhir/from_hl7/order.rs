//! ORC and OBR to ServiceRequest, and to DiagnosticReport where results follow.

use super::datatypes::{ei, part, required_cwe, text};
use super::{Kind, Writer, tables};
use crate::fhir::common::reference;
use crate::fhir::json::array;
use crate::hl7::Segment;

/// The order group that the next OBX belong to.
#[derive(Default)]
pub(super) struct Group<'m> {
    pub(super) orc: Option<Segment<'m>>,
    pub(super) obr: Option<Segment<'m>>,
    /// Filler, else placer order number; empty where neither was sent.
    pub(super) number: String,
    /// The ServiceRequest's URL.
    pub(super) request: Option<String>,
    /// A TQ1 before its OBR.
    pub(super) timing: Option<Segment<'m>>,
    /// The DiagnosticReport's id.
    pub(super) report: Option<String>,
}

impl<'m> Writer<'m> {
    pub(super) fn request(&mut self, obr: Segment<'m>) {
        // One ORC may stand before several OBR; their numbers count from the second OBR on.
        let orc = self.order.orc.filter(|_| self.order.obr.is_none());
        let either =
            |of_orc: usize, of_obr: usize| obr.valued(of_obr).or_else(|| orc.and_then(|o| o.valued(of_orc)));
        let (placer, filler) = (either(2, 2), either(3, 3));
        let number = [filler, placer]
            .into_iter()
            .flatten()
            .map(|n| part(n, 1).trim().to_owned())
            .find(|n| !n.is_empty());
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
        let time = |text: &str| self.clock.date_time(text).unwrap_or_default();
        let request = vec![
            ("identifier", array([ei(placer, "PLAC"), ei(filler, "FILL")])),
            ("status", text(status)),
            ("intent", text("order")),
            ("code", code.clone()),
            ("subject", self.subject()),
            ("encounter", self.visit()),
            ("occurrenceDateTime", text(time(&obr.text(6, 1)))),
            ("authoredOn", text(time(&orc.map(|o| o.text(9, 1)).unwrap_or_default()))),
        ];
        let report = vec![
            ("identifier", array([ei(placer, "PLAC"), ei(filler, "FILL")])),
            ("status", text(tables::report_status(&obr.text(25, 1)))),
            ("code", code),
            ("subject", self.subject()),
            ("encounter", self.visit()),
            ("effectiveDateTime", text(time(&obr.text(7, 1)))),
            ("issued", text(self.clock.instant(&obr.text(22, 1)).unwrap_or_default())),
        ];
        let url = self.put("ServiceRequest", self.id(&["ServiceRequest", &key]), request);
        let at = self.place_of(&url);
        if let Some(at) = at {
            self.complete_request(at, orc, obr);
        }
        self.noted = at;
        let report = is_result.then(|| {
            let id = self.id(&["DiagnosticReport", &key]);
            let members = [("basedOn", array([reference(&url)]))].into_iter().chain(report).collect();
            let url = self.put("DiagnosticReport", id.clone(), members);
            if let Some(at) = self.place_of(&url) {
                self.extend(at, obr, "OBR");
            }
            id
        });
        let orc = self.order.orc;
        let number = number.unwrap_or_default();
        self.order = Group { orc, obr: Some(obr), number, request: Some(url), timing: None, report };
        match self.specimen.clone() {
            Some(specimen) if self.message.type_().starts_with("OUL") => self.taken_from(&specimen),
            _ => self.specimen_of_request(obr),
        }
    }

    /// What the maps make of the order's segments.
    fn complete_request(&mut self, at: usize, orc: Option<Segment<'m>>, obr: Segment<'m>) {
        for (segment, name) in [(orc, "ORC"), (Some(obr), "OBR"), (self.order.timing, "TQ1")] {
            if let Some(segment) = segment {
                self.extend(at, segment, name);
                self.touched[segment.position()].push(at);
            }
        }
    }

    /// Adds a result to the report of the current group.
    pub(super) fn add_result(&mut self, url: &str) {
        let Some(at) = self.order.report.as_ref().and_then(|id| self.places.get(id)).copied() else { return };
        self.push(at, "result", reference(url));
    }
}
