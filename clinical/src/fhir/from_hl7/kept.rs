//! What no map places is kept as it was sent.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::datatypes::{self, decimal, text};
use super::table::{self};
use super::{Writer, tables, time};
use crate::fhir::common::{NAMESPACE, system};
use crate::fhir::json::{Json, Object, array, object};
use crate::hl7::{Part, Segment};
use crate::units;

/// Looking for a value inside longer texts stops after so many of them in one resource.
const TEXTS_MAX: usize = 1_000;

/// The fields whose values are not found again, as a Basic resource's members; `None`: all are.
pub(super) fn basic(writer: &Writer<'_>) -> Option<Vec<(&'static str, Json)>> {
    let bodies: Vec<&Object> = writer.entries.iter().map(|entry| &entry.body).collect();
    let envelope = writer.envelope([]);
    let finder = Finder::new(writer, &envelope, bodies);
    let mut kept = Vec::new();
    each_field(writer, |segment, place, number, field| {
        if !finder.is_found(segment, number, field) {
            let path = path(place, number);
            let member = |key: &str, value: Json| object([("url", text(key)), ("valueString", value)]);
            let members = [member("path", text(path)), member("value", as_sent(&field.raw_text()))];
            kept.push(object([
                ("url", text(format!("{NAMESPACE}/hl7v2-field"))),
                ("extension", array(members)),
            ]));
        }
    });
    if kept.is_empty() {
        return None;
    }
    let code = object([("text", text("HL7 v2 fields that have no place in FHIR"))]);
    Some(vec![("extension", Json::Array(kept)), ("code", code), ("subject", writer.patient_only())])
}

/// FHIR's strings hold no control characters but tab and line ends: those become HL7's own escapes.
fn as_sent(raw: &str) -> Json {
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

/// `OBX[2]-5`; `segment 7` for a line without a segment name.
pub(super) fn path(place: &str, number: usize) -> String {
    if number == 0 { place.to_owned() } else { format!("{place}-{number}") }
}

/// Calls `see` with every field that says something, and its segment's place (`OBX[2]`); a line without a segment
/// name is one field with the number 0. The delimiters of
/// MSH, and numbers that only count the segments, say nothing.
pub(super) fn each_field<'m>(writer: &Writer<'m>, mut see: impl FnMut(Segment<'m>, &str, usize, Part<'m>)) {
    let mut counts = std::collections::HashMap::new();
    let mut within = std::collections::HashMap::new();
    for segment in writer.message.segments() {
        // What stands for a name may be anything, a patient's data too: the line is told by its number.
        if !segment.is_named_well() {
            see(segment, &format!("segment {}", segment.position() + 1), 0, segment.whole());
            continue;
        }
        let name = segment.name();
        if matches!(&*name, "PID" | "ORC" | "OBR" | "RGS") {
            within.remove("OBX");
            within.remove("NTE");
        }
        let nth = *counts.entry(name.clone()).and_modify(|n| *n += 1).or_insert(1);
        let nth_within = *within.entry(name.clone()).and_modify(|n| *n += 1).or_insert(1);
        let place = if nth == 1 { name.into_owned() } else { format!("{name}[{nth}]") };
        for (number, field) in segment.fields().filter(|(_, field)| field.has_value()) {
            let delimiters = number <= 2 && segment.position() == 0;
            let ordinal = number == 1 && {
                let written = field.text();
                let counted = written.trim().parse::<usize>().ok();
                [nth, nth_within].into_iter().any(|n| counted == Some(n) || counted == Some(n - 1))
            };
            if !delimiters && !ordinal {
                see(segment, &place, number, field);
            }
        }
    }
}

/// Looks for what a segment says in the resources that it had a part in.
pub(super) struct Finder<'w, 'm> {
    writer: &'w Writer<'m>,
    bodies: Vec<&'w Object>,
    said: Vec<OnceCell<Said<'w>>>,
    /// What the Bundle says of the message.
    envelope: Said<'w>,
}

/// What one resource says.
#[derive(Default)]
struct Said<'w> {
    exact: HashSet<Cow<'w, str>>,
    texts: Vec<&'w str>,
}

impl<'w, 'm> Finder<'w, 'm> {
    /// `bodies` are those of the writer's entries, or what was read back of them; `envelope` is the Bundle but
    /// for its entries.
    pub(super) fn new(writer: &'w Writer<'m>, envelope: &'w Json, bodies: Vec<&'w Object>) -> Self {
        let said = bodies.iter().map(|_| OnceCell::new()).collect();
        let mut of_bundle = Said::default();
        for key in ["identifier", "timestamp"] {
            hear(envelope.get(key).unwrap_or(&Json::Null), &mut of_bundle);
        }
        Finder { writer, bodies, said, envelope: of_bundle }
    }

    /// Whether each value of the field stands in one of the segment's resources.
    pub(super) fn is_found(&self, segment: Segment<'m>, number: usize, field: Part<'m>) -> bool {
        let Some(touched) = self.writer.touched.get(segment.position()).filter(|_| number > 0) else {
            return false;
        };
        let mut said: Vec<&Said<'_>> = touched.iter().filter_map(|at| self.said_by(*at)).collect();
        if segment.position() == 0 {
            said.push(&self.envelope);
        }
        let name = segment.name();
        let look = |component: usize, leaf: Part<'m>| {
            let written = leaf.text();
            let written = written.trim();
            written.is_empty()
                || said.iter().any(|s| s.exact.contains(written))
                || is_said_otherwise(self.writer, (&name, number, component), written, |form| {
                    said.iter().any(|s| s.exact.contains(form))
                })
                || said.iter().any(|s| s.texts.iter().any(|long| holds(long, written)))
        };
        // One text, whatever delimiters stand in it.
        let is_text = |whole: &str| said.iter().any(|s| s.exact.contains(whole.trim()));
        if is_text(&field.text()) {
            return true;
        }
        if field.repetitions().nth(1).is_some() {
            let lines: Vec<_> = field.repetitions().map(|line| line.text()).collect();
            if is_text(&lines.join("\n")) {
                return true;
            }
        }
        field.repetitions().all(|repetition| {
            repetition.components().enumerate().all(|(at, component)| {
                component.subcomponents().filter(Part::has_value).all(|leaf| look(at + 1, leaf))
            })
        })
    }

    fn said_by(&self, at: usize) -> Option<&Said<'w>> {
        let body = self.bodies.get(at)?;
        Some(self.said.get(at)?.get_or_init(|| {
            let mut said = Said::default();
            listen(body, &mut said);
            said
        }))
    }
}

fn listen<'w>(object: &'w Object, said: &mut Said<'w>) {
    for (key, value) in &object.members {
        if key.starts_with("value") && key.len() > 5 {
            said.exact.insert(Cow::Borrowed(key));
        }
        match &**key {
            "data" => listen_to_data(value, said),
            "contentType" => listen_to_media_type(value, said),
            _ => {}
        }
        hear(value, said);
    }
}

/// An attachment's bytes: ED.4 (how they are written), and plain text line by line.
fn listen_to_data(data: &Json, said: &mut Said<'_>) {
    said.exact.insert(Cow::Borrowed("base64"));
    let Some(bytes) = data.as_str().and_then(|data| STANDARD.decode(data).ok()) else { return };
    if let Ok(plain) = String::from_utf8(bytes) {
        said.exact.extend(plain.lines().map(|line| Cow::Owned(line.trim().to_owned())));
    }
}

/// ED.2 and ED.3 (tables 0191 and 0291) are the halves of a media type.
fn listen_to_media_type<'w>(media_type: &'w Json, said: &mut Said<'w>) {
    let Some((type_, subtype)) = media_type.as_str().and_then(|m| m.split_once('/')) else { return };
    let short = match type_ {
        "application" => "AP",
        "image" => "IM",
        "audio" => "AU",
        "text" => "FT",
        _ => type_,
    };
    said.exact.extend([type_, subtype, short].map(Cow::Borrowed));
}

fn hear<'w>(value: &'w Json, said: &mut Said<'w>) {
    match value {
        Json::Null => {}
        Json::Bool(yes) => {
            said.exact.insert(Cow::Borrowed(if *yes { "Y" } else { "N" }));
        }
        Json::Number(digits) => {
            said.exact.insert(Cow::Borrowed(digits));
        }
        Json::String(words) => {
            said.exact.insert(Cow::Borrowed(words));
            if words.contains([' ', '\n', ',', '+']) && said.texts.len() < TEXTS_MAX {
                said.texts.push(words);
            }
        }
        Json::Array(items) => items.iter().for_each(|item| hear(item, said)),
        Json::Object(object) => listen(object, said),
    }
}

/// Whether `words` stands in `text` as words of its own.
fn holds(text: &str, words: &str) -> bool {
    let boundary = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    text.match_indices(words).any(|(at, found)| {
        boundary(text[..at].chars().next_back()) && boundary(text[at + found.len()..].chars().next())
    })
}

/// Whether one of the forms that FHIR may give to what stands in this component is there. The cheap come first.
fn is_said_otherwise(
    writer: &Writer<'_>,
    (segment, field, component): (&str, usize, usize),
    written: &str,
    said: impl Fn(&str) -> bool,
) -> bool {
    let maps =
        || table::concept_maps(segment, field).chain(by_hand(segment, field, component).iter().copied());
    let is_value = |(type_, key): &(&str, &str)| *type_ == written && said(key);
    if maps().filter_map(|map| tables::code(map, written)).any(&said)
        || ((segment, field) == ("OBX", 2) && VALUES.iter().any(is_value))
    {
        return true;
    }
    let is_date = written.len() >= 4 && written.as_bytes()[..4].iter().all(u8::is_ascii_digit);
    if is_date {
        let forms = [writer.clock.date_time(written), time::date(written)];
        if forms.iter().flatten().any(|form| said(form)) {
            return true;
        }
    }
    // The table that a concept map reads: its code stands under the map's system.
    if written.starts_with("HL7") {
        let interpreted = (segment, field) == ("OBX", 8) && said(INTERPRETATION);
        if interpreted || maps().flat_map(tables::systems).any(&said) {
            return true;
        }
    }
    // The kind of a universal id: FHIR tells it by the system of the identifier.
    (written == "ISO" && said("urn:ietf:rfc:3986"))
        || said(&system(written))
        || said(&datatypes::code_system(written))
        || decimal(written).is_some_and(|number| said(&number))
        || said(&format!("urn:oid:{written}"))
        || (written.chars().any(|c| c.is_ascii_uppercase()) && said(&written.to_ascii_lowercase()))
        || (segment == "OBX" && said(&units::normalise(written)))
}

const INTERPRETATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation";

/// What an OBX-2 makes of OBX-5.
const VALUES: [(&str, &str); 14] = [
    ("NM", "valueQuantity"),
    ("SN", "valueQuantity"),
    ("SN", "valueRange"),
    ("SN", "valueRatio"),
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

impl Writer<'_> {
    fn patient_only(&self) -> Json {
        if self.patient.is_some() { self.subject() } else { Json::Null }
    }
}
