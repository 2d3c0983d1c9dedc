//! SPM, and what OBR says of a specimen where there is no SPM, to Specimen.

use super::Writer;
use super::datatypes::part;
use crate::fhir::json::{Json, trim};
use crate::hl7::Segment;

impl<'m> Writer<'m> {
    pub(super) fn specimen(&mut self, spm: Segment<'m>) {
        self.clinical(spm, "SPM", "Specimen", &[2, 31, 30]);
        let Some(at) = self.noted else { return };
        // OUL sends the specimen first, ORU and OML after the order.
        self.specimen = Some(at);
        self.taken_from(at);
    }

    /// OBR-14 and OBR-15, as laboratories before v2.5 said it.
    pub(super) fn specimen_of_request(&mut self, obr: Segment<'m>) {
        if self.has_specimens || (obr.valued(14).is_none() && obr.valued(15).is_none()) {
            return;
        }
        let mut body = self.about_patient("Specimen");
        self.fill(&mut body, obr, "OBR", "Specimen");
        let number = obr.valued(3).or_else(|| obr.valued(2)).map(|n| trim(part(n, 1)));
        let id = match number.filter(|n| !n.is_empty()) {
            Some(number) => self.id(&["Specimen", &number, &obr.text(4, 1)]),
            None => self.id_of("Specimen", obr, &[]),
        };
        let at = self.put("Specimen", id, body);
        self.taken_from(at);
    }

    /// The current order and its report name the specimen.
    pub(super) fn taken_from(&mut self, specimen: usize) {
        for at in [self.order.request, self.order.report].into_iter().flatten() {
            self.push(at, "specimen", Json::Entry(specimen));
        }
    }
}
