//! What the results of a group mostly have in common: read once, and written once.

use std::rc::Rc;

use super::Writer;
use super::codeable::Codeable;
use super::datatypes::part;
use super::finder::says_the_hour;
use super::observation::interpretation;
use super::patient::repetitions;
use super::tables;
use crate::fhir::common::Scope;
use crate::fhir::json::{Json, Members, write_reference};
use crate::hl7::{Part, Segment};

/// What a result says of its group, OBX-11 and OBX-14.
pub(super) struct Shared<'m> {
    /// OBX-11 and OBX-14.
    sent: [&'m [u8]; 2],
    /// What ids of results begin with whose order has a number.
    pub(super) ids: Scope,
    pub(super) based_on: Option<usize>,
    pub(super) status: &'static str,
    pub(super) subject: Json<'m>,
    pub(super) encounter: Json<'m>,
    /// OBX-14, else OBR-7.
    pub(super) effective: String,
    /// Whether it says what stands in OBX-11, and what in OBX-14, judged by the one place where that is put.
    pub(super) tells: [bool; 2],
    /// Its members before the code, and those behind it.
    pub(super) written: [Vec<u8>; 2],
}

/// OBX-8.
pub(super) struct Flags<'m> {
    sent: &'m [u8],
    pub(super) concepts: Vec<Codeable<'m>>,
    /// As in [`Shared`].
    pub(super) tells: bool,
    pub(super) written: Vec<u8>,
}

impl<'m> Writer<'m> {
    /// That of the result before it, where it says the same.
    pub(super) fn shared(&mut self, obx: Segment<'m>) -> Rc<Shared<'m>> {
        let sent = [11, 14].map(|field| raw(obx, field));
        match &self.shared {
            Some(shared) if shared.sent == sent => Rc::clone(shared),
            _ => Rc::clone(self.shared.insert(Rc::new(self.read_shared(obx, sent)))),
        }
    }

    fn read_shared(&self, obx: Segment<'m>, sent: [&'m [u8]; 2]) -> Shared<'m> {
        let times = [obx.valued(14), self.order.obr.and_then(|obr| obr.valued(7))].into_iter().flatten();
        let effective = times.map(|field| part(field, 1)).find_map(|written| {
            let at = self.clock.date_time(&written)?;
            Some((written, at))
        });
        let (time, effective) = effective.unwrap_or_default();
        let status_sent = obx.text(11, 1);
        let status = tables::observation_status(&status_sent);
        let (based_on, subject, encounter) = (self.order.request, self.subject(), self.visit());
        let mut written = [Vec::with_capacity(128), Vec::with_capacity(256)];
        let url = |place| self.url(place);
        let mut before = Members::of(&mut written[0]);
        before.array("basedOn", based_on, |place, out| write_reference(url(place), out));
        before.text("status", status);
        let mut behind = Members::of(&mut written[1]);
        behind.tree("subject", &subject, &url);
        behind.tree("encounter", &encounter, &url);
        behind.text("effectiveDateTime", &effective);
        let tells = |field, says: &dyn Fn(&str) -> bool| {
            obx.field(field).is_some_and(|field: Part<'_>| says(&field.trimmed()))
        };
        let tells_status = |sent: &str| status_sent == sent && status != tables::UNKNOWN;
        let tells_time = |sent: &str| !sent.is_empty() && time == sent && says_the_hour(&effective, sent);
        let ids = match &self.shared {
            Some(shared) => shared.ids.clone(),
            None => self.scope.and(&["Observation", &self.order.number]),
        };
        Shared {
            sent,
            ids,
            based_on,
            status,
            subject,
            encounter,
            tells: [tells(11, &tells_status), tells(14, &tells_time)],
            effective,
            written,
        }
    }

    /// Those of the result before it, where they are the same.
    pub(super) fn flags(&mut self, obx: Segment<'m>) -> Rc<Flags<'m>> {
        let sent = raw(obx, 8);
        match &self.flags {
            Some(flags) if flags.sent == sent => Rc::clone(flags),
            _ => Rc::clone(self.flags.insert(Rc::new(read_flags(obx, sent)))),
        }
    }
}

fn read_flags<'m>(obx: Segment<'m>, sent: &'m [u8]) -> Flags<'m> {
    let concepts: Vec<_> = repetitions(obx, 8).map(interpretation).filter(|flag| !flag.is_empty()).collect();
    let mut written = Vec::new();
    Members::of(&mut written).array("interpretation", &concepts, |concept, out| concept.write(out));
    let is_first = |field: Part<'_>| concepts.first().is_some_and(|flag| flag.is_coded(&field.trimmed()));
    Flags { sent, tells: obx.field(8).is_some_and(is_first), concepts, written }
}

fn raw(obx: Segment<'_>, field: usize) -> &[u8] {
    obx.field(field).map_or(&[], |field| field.raw())
}
