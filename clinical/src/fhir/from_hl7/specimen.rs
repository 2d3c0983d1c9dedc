//! SPM, and what OBR says of a specimen where there is no SPM, to Specimen.

use super::Writer;
use super::datatypes::part;
use crate::fhir::common::reference;
use crate::hl7::Segment;

impl<'m> Writer<'m> {
    pub(super) fn specimen(&mut self, spm: Segment<'m>) {
        self.clinical(spm, "SPM", "Specimen", &[2, 31, 30]);
        let Some(at) = self.noted else { return };
        let url = format!("urn:uuid:{}", self.entries[at].id);
        // OUL sends the specimen first, ORU and OML after the order.
        self.specimen = Some(url.clone());
        self.taken_from(&url);
    }

    /// OBR-14 and OBR-15, as laboratories before v2.5 said it.
    pub(super) fn specimen_of_request(&mut self, obr: Segment<'m>) {
        if self.has_specimens || (obr.valued(14).is_none() && obr.valued(15).is_none()) {
            return;
        }
        let mut body = self.about_patient("Specimen");
        self.fill(&mut body, obr, "OBR", "Specimen");
        let number = obr.valued(3).or_else(|| obr.valued(2)).map(|n| part(n, 1).trim().to_owned());
        let id = match number.filter(|n| !n.is_empty()) {
            Some(number) => self.id(&["Specimen", &number, &obr.text(4, 1)]),
            None => self.id_of("Specimen", obr, &[]),
        };
        let url = self.put_object("Specimen", id, body);
        self.taken_from(&url);
    }

    /// The current order and its report name the specimen.
    pub(super) fn taken_from(&mut self, specimen: &str) {
        let request = self.order.request.as_deref().and_then(|url| self.place_of(url));
        let report = self.order.report.as_ref().and_then(|id| self.places.get(id)).copied();
        for at in [request, report].into_iter().flatten() {
            self.push(at, "specimen", reference(specimen));
        }
    }
}
