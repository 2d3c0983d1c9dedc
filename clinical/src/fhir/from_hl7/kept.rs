//! What no map places is kept as it was sent.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::datatypes::{self, decimal, text};
use super::table::{self, FieldMap};
use super::{Writer, tables, time};
use crate::fhir::common::system;
use crate::fhir::json::{Json, Object, array, members_of, object};
use crate::hl7::{Part, Segment};
use crate::units;

const FIELD: &str = "https://github.com/medulla-health/medulla/ns/hl7v2-field";

/// Looking for a value inside longer texts stops after so many of them in one resource.
const TEXTS_MAX: usize = 1_000;

/// So few words are faster looked through than hashed.
const FEW: usize = 64;

/// The fields whose values are not found again, as a Basic resource's members; `None`: all are.
pub(super) fn basic<'m>(writer: &Writer<'m>) -> Option<Object<'m>> {
    let envelope = writer.envelope();
    let finder = Finder::new(writer, &envelope, writer.entries.iter().map(|entry| &entry.body));
    let mut kept = Vec::new();
    each_field(writer, |spot, number, field| {
        if !finder.is_found(spot, number, field) {
            let member = |key: &'static str, value| object([("url", text(key)), ("valueString", value)]);
            let members =
                [member("path", text(spot.path(number))), member("value", as_sent(field.raw_text()))];
            kept.push(object([("url", text(FIELD)), ("extension", array(members))]));
        }
    });
    if kept.is_empty() {
        return None;
    }
    let code = object([("text", text("HL7 v2 fields that have no place in FHIR"))]);
    Some(members_of([
        ("extension", Json::Array(kept)),
        ("code", code),
        ("subject", writer.patient.as_ref().map_or(Json::Null, |patient| Json::Entry(patient.place))),
    ]))
}

/// FHIR's strings hold no control characters but tab and line ends: those become HL7's own escapes.
fn as_sent(raw: Cow<'_, str>) -> Json<'_> {
    if !raw.contains(datatypes::is_forbidden) {
        return Json::String(raw);
    }
    let mut sent = String::with_capacity(raw.len());
    for c in raw.chars() {
        if datatypes::is_forbidden(c) {
            let mut bytes = [0; 4];
            let hex: String = c.encode_utf8(&mut bytes).bytes().map(|byte| format!("{byte:02X}")).collect();
            sent.extend(["\\X", &hex, "\\"]);
        } else {
            sent.push(c);
        }
    }
    Json::String(sent.into())
}

/// A segment, and what is known of it before its fields are looked at.
pub(super) struct Spot<'w, 'm> {
    segment: Segment<'m>,
    pub(super) name: Cow<'m, str>,
    /// The how manieth of its name; 0 for a line without a segment name.
    nth: usize,
    /// Of [`Writer::touched`], what is this segment's.
    touched: &'w [(usize, usize)],
    maps: &'static [FieldMap],
}

impl Spot<'_, '_> {
    /// `OBX[2]-5`; `segment 7` for a line without a segment name.
    pub(super) fn path(&self, number: usize) -> String {
        match self.nth {
            // What stands for a name may be anything, a patient's data too.
            0 => format!("segment {}", self.segment.position() + 1),
            1 => format!("{}-{number}", self.name),
            nth => format!("{}[{nth}]-{number}", self.name),
        }
    }
}

/// Calls `see` with every field that says something; a line without a segment name is one field with the number 0.
/// The delimiters of MSH, and numbers that only count the segments, say nothing.
pub(super) fn each_field<'w, 'm>(
    writer: &'w Writer<'m>,
    mut see: impl FnMut(&Spot<'w, 'm>, usize, Part<'m>),
) {
    // By name: how many there were, and how many since the last segment that begins a group.
    let mut counts: HashMap<[u8; 3], (usize, usize)> = HashMap::new();
    let mut touched = writer.touched.as_slice();
    for segment in writer.message.segments() {
        let here = touched.iter().take_while(|(at, _)| *at <= segment.position()).count();
        let (mine, rest) = touched.split_at(here);
        touched = rest;
        let name = segment.name();
        let mut spot = Spot { segment, name, nth: 0, touched: mine, maps: &[] };
        let (true, Some(key)) = (segment.is_named_well(), spot.name.as_bytes().first_chunk()) else {
            see(&spot, 0, segment.whole());
            continue;
        };
        if matches!(key, b"PID" | b"ORC" | b"OBR" | b"RGS") {
            for within in [b"OBX", b"NTE"] {
                counts.entry(*within).and_modify(|(_, within)| *within = 0);
            }
        }
        let (nth, within) = counts.entry(*key).or_insert((0, 0));
        (*nth, *within) = (*nth + 1, *within + 1);
        let ordinals = [*nth, *within];
        (spot.nth, spot.maps) = (*nth, table::concept_maps(&spot.name));
        for (number, field) in segment.fields().filter(|(_, field)| field.has_value()) {
            let delimiters = number <= 2 && segment.position() == 0;
            let counts = number == 1 && counts_only(field, ordinals);
            if !delimiters && !counts {
                see(&spot, number, field);
            }
        }
    }
}

/// Counted from 0 or from 1.
fn counts_only(field: Part<'_>, ordinals: [usize; 2]) -> bool {
    let Ok(written) = field.text().trim().parse::<usize>() else { return false };
    ordinals.iter().any(|n| written == *n || written == *n - 1)
}

/// Looks for what a segment says in the resources that it had a part in.
pub(super) struct Finder<'w, 'm> {
    writer: &'w Writer<'m>,
    heard: Heard<'w>,
    /// By place.
    said: Vec<Said<'w>>,
    /// What the Bundle says of the message.
    envelope: Said<'w>,
}

/// What all resources say, one after the other.
#[derive(Default)]
struct Heard<'w> {
    words: Vec<Cow<'w, str>>,
    /// Of them, those in which others may stand.
    texts: Vec<&'w str>,
    /// Where the texts of the resource at hand begin.
    texts_from: usize,
}

/// Where in [`Heard`] one resource's words are.
struct Said<'w> {
    words: std::ops::Range<usize>,
    texts: std::ops::Range<usize>,
    set: OnceCell<HashSet<Cow<'w, str>>>,
}

impl<'w> Heard<'w> {
    fn resource(&mut self, listen: impl FnOnce(&mut Self)) -> Said<'w> {
        let (words, texts) = (self.words.len(), self.texts.len());
        self.texts_from = texts;
        listen(self);
        Said { words: words..self.words.len(), texts: texts..self.texts.len(), set: OnceCell::new() }
    }

    fn has(&self, said: &Said<'w>, word: &str) -> bool {
        let words = self.words.get(said.words.clone()).unwrap_or_default();
        if words.len() <= FEW {
            return words.iter().any(|w| w == word);
        }
        said.set.get_or_init(|| words.iter().cloned().collect()).contains(word)
    }
}

impl<'w, 'm> Finder<'w, 'm> {
    /// `bodies` are those of the writer's entries, or what was read back of them; `envelope` is the Bundle.
    pub(super) fn new<'j: 'w>(
        writer: &'w Writer<'m>,
        envelope: &'w Object<'j>,
        bodies: impl ExactSizeIterator<Item = &'w Object<'j>>,
    ) -> Self {
        let mut heard = Heard::default();
        heard.words.reserve(bodies.len() * 40);
        let said = bodies.map(|body| heard.resource(|heard| listen(body, heard))).collect();
        let envelope = heard.resource(|heard| {
            ["identifier", "timestamp"]
                .iter()
                .filter_map(|key| envelope.get(key))
                .for_each(|v| hear(v, heard));
        });
        Finder { writer, heard, said, envelope }
    }

    /// Whether each value of the field stands in one of the segment's resources.
    pub(super) fn is_found(&self, spot: &Spot<'w, 'm>, number: usize, field: Part<'m>) -> bool {
        if number == 0 {
            return false;
        }
        let said = || {
            let touched = spot.touched.iter().filter_map(|(_, place)| self.said.get(*place));
            touched.chain((spot.segment.position() == 0).then_some(&self.envelope))
        };
        let is_said = |word: &str| said().any(|said| self.heard.has(said, word));
        let stands_in_text = |word: &str| {
            let texts = said().filter_map(|said| self.heard.texts.get(said.texts.clone())).flatten();
            texts.into_iter().any(|text| holds(text, word))
        };
        let each_is = field.leaves().filter(|(_, leaf)| leaf.has_value()).all(|(component, leaf)| {
            let written = leaf.trimmed();
            written.is_empty()
                || is_said_as_fhir_does(self.writer, spot, (number, component), &written, is_said)
                || is_said(&written)
                || is_said_otherwise(spot, (number, component), &written, is_said)
                || stands_in_text(&written)
        });
        // Or it is one text, whatever delimiters stand in it, or one line by line.
        each_is || is_said(&field.trimmed()) || {
            let lines: Vec<_> = field.repetitions().map(|line| line.text()).collect();
            lines.len() > 1 && is_said(lines.join("\n").trim())
        }
    }
}

fn listen<'w>(object: &'w Object<'_>, heard: &mut Heard<'w>) {
    for (key, value) in &object.members {
        if key.starts_with("value") && key.len() > 5 {
            heard.words.push(Cow::Borrowed(key));
        }
        match &**key {
            "data" => listen_to_data(value, heard),
            "contentType" => listen_to_media_type(value, heard),
            _ => {}
        }
        hear(value, heard);
    }
}

/// An attachment's bytes: ED.4 (how they are written), and plain text line by line.
fn listen_to_data(data: &Json<'_>, heard: &mut Heard<'_>) {
    heard.words.push(Cow::Borrowed("base64"));
    let Some(bytes) = data.as_str().and_then(|data| STANDARD.decode(data).ok()) else { return };
    if let Ok(plain) = String::from_utf8(bytes) {
        heard.words.extend(plain.lines().map(|line| Cow::Owned(line.trim().to_owned())));
    }
}

/// ED.2 and ED.3 (tables 0191 and 0291) are the halves of a media type.
fn listen_to_media_type<'w>(media_type: &'w Json<'_>, heard: &mut Heard<'w>) {
    let Some((type_, subtype)) = media_type.as_str().and_then(|m| m.split_once('/')) else { return };
    let short = match type_ {
        "application" => "AP",
        "image" => "IM",
        "audio" => "AU",
        "text" => "FT",
        _ => type_,
    };
    heard.words.extend([type_, subtype, short].map(Cow::Borrowed));
}

fn hear<'w>(value: &'w Json<'_>, heard: &mut Heard<'w>) {
    match value {
        // An address of ours is nothing that a message says.
        Json::Null | Json::Entry(_) => {}
        Json::Bool(yes) => {
            heard.words.push(Cow::Borrowed(if *yes { "Y" } else { "N" }));
        }
        Json::Number(digits) => {
            heard.words.push(Cow::Borrowed(digits));
        }
        Json::String(words) => {
            heard.words.push(Cow::Borrowed(words));
            if has_parts(words) && heard.texts.len() - heard.texts_from < TEXTS_MAX {
                heard.texts.push(words);
            }
        }
        Json::Array(items) => items.iter().for_each(|item| hear(item, heard)),
        Json::Object(object) => listen(object, heard),
    }
}

fn has_parts(words: &str) -> bool {
    words.bytes().fold(false, |found, b| found | matches!(b, b' ' | b'\n' | b',' | b'+'))
}

/// Whether `words` stands in `text` as words of its own.
fn holds(text: &str, words: &str) -> bool {
    let boundary = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    text.match_indices(words).any(|(at, found)| {
        boundary(text[..at].chars().next_back()) && boundary(text[at + found.len()..].chars().next())
    })
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
        let form = writer.clock.date_time(written);
        return form.is_some_and(|form| said(&form)) || time::date(written).is_some_and(|form| said(&form));
    }
    let is_value = |(type_, key): &(&str, &str)| *type_ == written && said(key);
    ((&*spot.name, field) == ("OBX", 2) && VALUES.iter().any(is_value))
        || datatypes::known_system(written).is_some_and(&said)
        || maps(spot, field, component).filter_map(|map| tables::code(map, written)).any(said)
}

/// The concept maps that may have read this component.
fn maps(spot: &Spot<'_, '_>, field: usize, component: usize) -> impl Iterator<Item = &'static str> {
    let of_rows = spot.maps.iter().filter(move |(of, _)| *of == field).map(|(_, map)| *map);
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
    // The kind of a universal id: FHIR tells it by the system of the identifier.
    (written == "ISO" && said("urn:ietf:rfc:3986"))
        || said(&system(written))
        || decimal(Cow::Borrowed(written)).is_some_and(|number| said(&number))
        || (written.starts_with(['0', '1', '2']) && said(&format!("urn:oid:{written}")))
        || (written.chars().any(|c| c.is_ascii_uppercase()) && said(&written.to_ascii_lowercase()))
        || (&*spot.name == "OBX" && said(&units::normalise(written)))
}

const INTERPRETATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation";

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
