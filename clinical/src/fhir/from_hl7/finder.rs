//! Looks for what a segment says in the elements that its maps write.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::claims::{self, Claim};
use super::datatypes::{self, decimal};
use super::kept::Spot;
use super::observation::INTERPRETATION;
use super::result::Plain;
use super::said::{FEW, Said};
use super::{Writer, table, tables};
use crate::fhir::common::system;
use crate::fhir::json::Object;
use crate::hl7::Part;
use crate::units;

/// What is known of a resource.
pub(super) enum Body<'w> {
    Tree(&'w Object<'w>),
    Plain(&'w Plain<'w>),
}

pub(super) struct Finder<'f, 'w, 'm> {
    writer: &'f Writer<'m>,
    /// By place in [`Writer::entries`].
    body: &'f dyn Fn(usize) -> Option<Body<'w>>,
    envelope: Option<&'w Object<'w>>,
    /// By place and claim, what says much: many segments may add to one element.
    much: RefCell<FxHashMap<(usize, usize), Rc<Said<'w>>>>,
}

/// What the elements say in which a field's values may stand.
#[derive(Default)]
struct Heard<'w> {
    said: Said<'w>,
    much: Vec<Rc<Said<'w>>>,
}

impl Heard<'_> {
    fn any(&self, is: impl Fn(&Said<'_>) -> bool) -> bool {
        is(&self.said) || self.much.iter().any(|said| is(said))
    }

    fn has(&self, word: &str) -> bool {
        self.any(|said| said.has(word))
    }
}

impl<'f, 'w, 'm> Finder<'f, 'w, 'm> {
    pub(super) fn new(
        writer: &'f Writer<'m>,
        body: &'f dyn Fn(usize) -> Option<Body<'w>>,
        envelope: Option<&'w Object<'w>>,
    ) -> Self {
        Finder { writer, body, envelope, much: RefCell::default() }
    }

    /// Whether each value of the field stands in what its maps write.
    pub(super) fn is_found(&self, spot: &Spot<'_, 'm>, number: usize, field: Part<'m>) -> bool {
        let claims = claims::of(&spot.name, number);
        if claims.is_empty() {
            // Delimiters and blanks alone say nothing that could be lost.
            return number > 0
                && field.leaves().all(|(_, leaf)| !leaf.has_value() || leaf.trimmed().is_empty());
        }
        let heard = self.hear(spot, claims);
        if (&*spot.name, number) == ("OBX", 2) {
            let written = field.trimmed();
            return VALUES.iter().any(|(type_, key)| *type_ == written && heard.has(key));
        }
        // Mostly a field is one value; else it may be one text, whatever delimiters stand in it.
        if heard.has(&field.trimmed())
            || field.repetitions().all(|one| self.is_heard(spot, number, one, &heard))
        {
            return true;
        }
        // Or one line by line.
        let lines: Vec<_> = field.repetitions().map(|line| line.text()).collect();
        lines.len() > 1 && heard.has(lines.join("\n").trim())
    }

    /// Whether a repetition is, or each of its values.
    fn is_heard(&self, spot: &Spot<'_, 'm>, number: usize, repetition: Part<'m>, heard: &Heard<'w>) -> bool {
        if heard.has(&repetition.trimmed()) {
            return true;
        }
        let is_said = |word: &str| heard.has(word);
        repetition.leaves().filter(|(_, leaf)| leaf.has_value()).all(|(component, leaf)| {
            let written = leaf.trimmed();
            written.is_empty()
                || is_said(&written)
                || is_said_as_fhir_does(self.writer, spot, (number, component), &written, is_said)
                || is_said_otherwise(spot, (number, component), &written, is_said)
                // The kind of a universal id: FHIR tells it by the form of the address.
                || (written == "ISO" && heard.any(|said| said.has_oid()))
                || heard.any(|said| said.holds(&written))
        })
    }

    fn hear(&self, spot: &Spot<'_, 'm>, claims: &'static [Claim]) -> Heard<'w> {
        let mut heard = Heard::default();
        for (_, place) in spot.touched {
            let Some(entry) = self.writer.entries.get(*place) else { continue };
            for claim in claims.iter().filter(|claim| claim.is_of(entry.type_)) {
                self.hear_one(*place, claim, &mut heard);
            }
        }
        if let Some(envelope) = self.envelope.filter(|_| spot.is_first()) {
            let bundles = claims.iter().filter(|claim| claim.is_of("Bundle"));
            bundles.for_each(|claim| heard.said.hear_at(envelope, &claim.path));
        }
        heard
    }

    fn hear_one(&self, place: usize, claim: &'static Claim, heard: &mut Heard<'w>) {
        let key = (place, claim.id);
        if let Some(said) = self.much.borrow().get(&key) {
            heard.much.push(Rc::clone(said));
            return;
        }
        let before = heard.said.len();
        match (self.body)(place) {
            Some(Body::Tree(body)) => heard.said.hear_at(body, &claim.path),
            Some(Body::Plain(plain)) => plain.say(&claim.path, &mut heard.said),
            None => {}
        }
        if heard.said.len() - before > FEW {
            let said = Rc::new(heard.said.split_off(before));
            self.much.borrow_mut().insert(key, Rc::clone(&said));
            heard.much.push(said);
        }
    }
}

/// Whether the form that FHIR mostly gives to what stands in this component is there.
fn is_said_as_fhir_does(
    writer: &Writer<'_>,
    spot: &Spot<'_, '_>,
    (field, component): (usize, usize),
    written: &str,
    said: impl Fn(&str) -> bool,
) -> bool {
    if written.len() >= 4 && written.as_bytes()[..4].iter().all(u8::is_ascii_digit) {
        let is_said = |form: &str| says_the_hour(form, written) && said(form);
        return writer.clock.with_date_time(written, |form| form.is_some_and(is_said));
    }
    datatypes::known_system(written).is_some_and(&said)
        || maps(spot, field, component).filter_map(|map| tables::code(map, written)).any(said)
}

/// A day alone does not say what hour was sent.
pub(super) fn says_the_hour(form: &str, written: &str) -> bool {
    form.len() > "YYYY-MM-DD".len()
        || written.bytes().take_while(u8::is_ascii_digit).count() <= "YYYYMMDD".len()
}

/// The concept maps that may have read this component.
fn maps(spot: &Spot<'_, '_>, field: usize, component: usize) -> impl Iterator<Item = &'static str> {
    let of_rows =
        table::concept_maps(&spot.name).iter().filter(move |(of, _)| *of == field).map(|(_, map)| *map);
    of_rows.chain(by_hand(&spot.name, field, component).iter().copied())
}

/// Whether a form that FHIR seldom gives it is there.
fn is_said_otherwise(
    spot: &Spot<'_, '_>,
    (field, component): (usize, usize),
    written: &str,
    said: impl Fn(&str) -> bool,
) -> bool {
    // The table that a concept map reads: its code stands under the map's system.
    if written.starts_with("HL7") {
        let interpreted = (&*spot.name, field) == ("OBX", 8) && said(INTERPRETATION);
        if interpreted || maps(spot, field, component).flat_map(tables::systems).any(&said) {
            return true;
        }
    }
    // Or by the system of the identifier.
    (written == "ISO" && said("urn:ietf:rfc:3986"))
        || said(&system(written))
        || decimal(Cow::Borrowed(written)).is_some_and(|number| said(&number))
        || (written.starts_with(['0', '1', '2']) && said(&format!("urn:oid:{written}")))
        || (written.chars().any(|c| c.is_ascii_uppercase()) && said(&written.to_ascii_lowercase()))
        || (&*spot.name == "OBX" && said(&units::normalise(written)))
}

/// What an OBX-2 makes of OBX-5.
const VALUES: [(&str, &str); 15] = [
    ("NM", "valueQuantity"),
    ("SN", "valueQuantity"),
    ("SN", "valueRange"),
    ("SN", "valueRatio"),
    ("NR", "valueRange"),
    ("CE", "valueCodeableConcept"),
    ("CWE", "valueCodeableConcept"),
    ("CNE", "valueCodeableConcept"),
    ("CF", "valueCodeableConcept"),
    ("DT", "valueDateTime"),
    ("DTM", "valueDateTime"),
    ("TS", "valueDateTime"),
    ("ST", "valueString"),
    ("TX", "valueString"),
    ("FT", "valueString"),
];

/// Concept maps that code uses and no row names.
fn by_hand(segment: &str, field: usize, component: usize) -> &'static [&'static str] {
    match (segment, field, component) {
        ("PV1", 2, _) => &["PatientClass[EncounterClass]"],
        ("OBX", 11, _) => &["ObservationResultStatusCodesInterpretation"],
        ("OBR", 25, _) => &["ResultStatus[Non-Queries]"],
        ("ORC", 5, _) => &["OrderStatus"],
        ("ORC", 1, _) => &["OrderControlCode[ServiceRequest.status]"],
        ("MSH", 9, _) => &["EventType"],
        (_, _, 7) => &["NameType", "AddressType[Use]", "AddressType[Type]"],
        (_, _, 10) => &["NameType"],
        (_, _, 2 | 3) => &["TelecommunicationUseCode", "TelecommunicationEquipmentType"],
        _ => &[],
    }
}
