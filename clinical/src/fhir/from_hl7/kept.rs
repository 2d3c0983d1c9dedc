//! What no map places is kept as it was sent.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustc_hash::FxHashMap;

use super::datatypes::{self, decimal, text};
use super::table;
use super::{Writer, tables, time};
use crate::fhir::common::system;
use crate::fhir::json::{Json, Object, array, members_of, object};
use crate::hl7::{Message, Part, Segment};
use crate::units;

const FIELD: &str = "https://github.com/medulla-health/medulla/ns/hl7v2-field";

/// Looking for a value inside longer texts stops after so many of them in one resource.
const TEXTS_MAX: usize = 1_000;

/// So few words are faster looked through than hashed.
const FEW: usize = 64;

/// A field as it was sent, and its segment's position.
pub(super) type Kept<'m> = (usize, Json<'m>);

/// The fields of a segment whose values are not found again. What `is_told` says yes to is not looked for.
pub(super) fn keep<'m>(
    spot: &Spot<'_, 'm>,
    finder: &Finder<'_, '_, 'm>,
    is_told: impl Fn(&Spot<'_, 'm>, usize, Part<'m>) -> bool,
    kept: &mut Vec<Kept<'m>>,
) {
    let said = finder.said_of(spot);
    spot.fields().for_each(|(number, field)| {
        if !is_told(spot, number, field) && !finder.is_found(spot, &said, number, field) {
            let member = |key: &'static str, value| object([("url", text(key)), ("valueString", value)]);
            let members =
                [member("path", text(spot.path(number))), member("value", as_sent(field.raw_text()))];
            let field = object([("url", text(FIELD)), ("extension", array(members))]);
            kept.push((spot.segment.position(), field));
        }
    });
}

/// The fields whose values are not found again, as a Basic resource's members; `None`: all are. `kept` are those
/// of the resources that are written already.
pub(super) fn basic<'m>(writer: &Writer<'m>, mut kept: Vec<Kept<'m>>) -> Option<Object<'m>> {
    let envelope = writer.envelope();
    let open = writer.entries.iter().enumerate().filter(|(_, entry)| entry.written.is_none());
    let said: Vec<_> = open.map(|(place, entry)| (place, Said::of(&entry.body))).collect();
    let envelope = Said::of_envelope(&envelope);
    let finder = Finder { writer, said: &said, envelope: &envelope };
    each_segment(writer, |segment, touched| {
        let is_done = |(_, place): &(usize, usize)| writer.entries[*place].written.is_some();
        if !touched.first().is_some_and(is_done) {
            keep(&Spot::new(writer, segment, touched), &finder, |_, _, _| false, &mut kept);
        }
    });
    if kept.is_empty() {
        return None;
    }
    kept.sort_by_key(|(position, _)| *position);
    let kept = kept.into_iter().map(|(_, field)| field).collect();
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

/// The how manieth of its name a segment is, and the how manieth since the last segment that begins a group; 0 for
/// a line without a segment name.
pub(super) type Ordinals = [usize; 2];

/// Those of a message's segments.
pub(super) fn ordinals(message: &Message) -> Vec<Ordinals> {
    let mut counts: FxHashMap<[u8; 3], Ordinals> = FxHashMap::default();
    let each = message.segments().map(|segment| {
        let (true, Some(key)) = (segment.is_named_well(), segment.raw().first_chunk()) else { return [0, 0] };
        if matches!(key, b"PID" | b"ORC" | b"OBR" | b"RGS") {
            for within in [b"OBX", b"NTE"] {
                counts.entry(*within).and_modify(|[_, within]| *within = 0);
            }
        }
        let counted = counts.entry(*key).or_insert([0, 0]);
        *counted = counted.map(|n| n + 1);
        *counted
    });
    each.collect()
}

/// A segment, and what is known of it before its fields are looked at.
pub(super) struct Spot<'w, 'm> {
    segment: Segment<'m>,
    pub(super) name: Cow<'m, str>,
    ordinals: Ordinals,
    /// Of [`Writer::touched`], what is this segment's.
    touched: &'w [(usize, usize)],
}

impl<'w, 'm> Spot<'w, 'm> {
    pub(super) fn new(writer: &Writer<'m>, segment: Segment<'m>, touched: &'w [(usize, usize)]) -> Self {
        let name = segment.name();
        let ordinals = writer.ordinals.get(segment.position()).copied().unwrap_or_default();
        Spot { segment, name, ordinals, touched }
    }

    /// `OBX[2]-5`; `segment 7` for a line without a segment name.
    pub(super) fn path(&self, number: usize) -> String {
        match self.ordinals[0] {
            // What stands for a name may be anything, a patient's data too.
            0 => format!("segment {}", self.segment.position() + 1),
            1 => format!("{}-{number}", self.name),
            nth => format!("{}[{nth}]-{number}", self.name),
        }
    }

    /// Every field that says something; a line without a segment name is one field with the number 0. The
    /// delimiters of MSH, and numbers that only count the segments, say nothing.
    pub(super) fn fields(&self) -> impl Iterator<Item = (usize, Part<'m>)> {
        let is_line = self.ordinals == [0, 0];
        let says = move |(number, field): &(usize, Part<'m>)| {
            let delimiters = *number <= 2 && self.segment.position() == 0;
            let counts = *number == 1 && counts_only(*field, self.ordinals);
            field.has_value() && !delimiters && !counts
        };
        let fields = (!is_line).then(|| self.segment.fields().filter(says));
        is_line.then(|| (0, self.segment.whole())).into_iter().chain(fields.into_iter().flatten())
    }
}

/// Calls `see` with every segment and what it had a part in, once that is sorted.
pub(super) fn each_segment<'w, 'm>(
    writer: &'w Writer<'m>,
    mut see: impl FnMut(Segment<'m>, &'w [(usize, usize)]),
) {
    let mut touched = writer.touched.as_slice();
    for segment in writer.message.segments() {
        let here = touched.iter().take_while(|(at, _)| *at <= segment.position()).count();
        let (mine, rest) = touched.split_at(here);
        touched = rest;
        see(segment, mine);
    }
}

/// Counted from 0 or from 1.
fn counts_only(field: Part<'_>, ordinals: [usize; 2]) -> bool {
    let Ok(written) = field.text().trim().parse::<usize>() else { return false };
    ordinals.iter().any(|n| written == *n || written == *n - 1)
}

/// What a resource says, word by word.
#[derive(Default)]
pub(super) struct Said<'w> {
    words: Vec<Word<'w>>,
    set: OnceCell<HashSet<Cow<'w, str>>>,
    /// Places of the words in which others stand.
    texts: OnceCell<Vec<usize>>,
}

struct Word<'w> {
    text: Cow<'w, str>,
    /// Whether others may stand in it.
    is_text: bool,
}

impl<'w> Said<'w> {
    pub(super) fn of(body: &'w Object<'_>) -> Self {
        let mut said = Said::with_room();
        listen(body, &mut said);
        said
    }

    /// Of nothing yet.
    pub(super) fn with_room() -> Self {
        Said { words: Vec::with_capacity(40), ..Said::default() }
    }

    /// What the Bundle says of the message.
    pub(super) fn of_envelope(envelope: &'w Object<'_>) -> Self {
        let mut said = Said::default();
        let values = ["identifier", "timestamp"].into_iter().filter_map(|key| envelope.get(key));
        values.for_each(|value| hear(value, &mut said));
        said
    }

    pub(super) fn add(&mut self, word: impl Into<Cow<'w, str>>) {
        self.words.push(Word { text: word.into(), is_text: false });
    }

    pub(super) fn hear(&mut self, value: &'w Json<'_>) {
        hear(value, self);
    }

    #[inline]
    pub(super) fn hear_words(&mut self, words: &'w str) {
        if !words.is_empty() {
            self.words.push(Word { text: Cow::Borrowed(words), is_text: true });
        }
    }

    fn has(&self, word: &str) -> bool {
        if self.words.len() <= FEW {
            // What is of one length mostly differs in its last letter: that is seen without a call.
            let may_be = |w: &str| w.len() == word.len() && w.as_bytes().last() == word.as_bytes().last();
            return self.words.iter().any(|w| may_be(&w.text) && w.text == word);
        }
        self.set.get_or_init(|| self.words.iter().map(|w| w.text.clone()).collect()).contains(word)
    }

    /// Whether `word` stands in a longer text.
    fn holds(&self, word: &str) -> bool {
        let texts = self.texts.get_or_init(|| {
            let texts = self.words.iter().enumerate().filter(|(_, w)| w.is_text && has_parts(&w.text));
            texts.map(|(place, _)| place).take(TEXTS_MAX).collect()
        });
        texts.iter().any(|place| holds(&self.words[*place].text, word))
    }
}

/// Looks for what a segment says in the resources that it had a part in.
pub(super) struct Finder<'f, 'w, 'm> {
    pub(super) writer: &'f Writer<'m>,
    /// By place.
    pub(super) said: &'f [(usize, Said<'w>)],
    pub(super) envelope: &'f Said<'w>,
}

impl<'f, 'w, 'm> Finder<'f, 'w, 'm> {
    /// What the segment's resources say.
    pub(super) fn said_of(&self, spot: &Spot<'_, 'm>) -> Vec<&'f Said<'w>> {
        let of = |place: usize| {
            let at = self.said.binary_search_by_key(&place, |(place, _)| *place).ok()?;
            self.said.get(at).map(|(_, said)| said)
        };
        let touched = spot.touched.iter().filter_map(|(_, place)| of(*place));
        touched.chain((spot.segment.position() == 0).then_some(self.envelope)).collect()
    }

    /// Whether each value of the field stands in what the segment's resources say.
    pub(super) fn is_found(
        &self,
        spot: &Spot<'_, 'm>,
        said: &[&Said<'w>],
        number: usize,
        field: Part<'m>,
    ) -> bool {
        if number == 0 {
            return false;
        }
        let is_said = |word: &str| said.iter().any(|said| said.has(word));
        // Mostly a field is one value; else it may be one text, whatever delimiters stand in it, or one line by line.
        if is_said(&field.trimmed()) {
            return true;
        }
        let each_is = field.leaves().filter(|(_, leaf)| leaf.has_value()).all(|(component, leaf)| {
            let written = leaf.trimmed();
            written.is_empty()
                || is_said(&written)
                || is_said_as_fhir_does(self.writer, spot, (number, component), &written, is_said)
                || is_said_otherwise(spot, (number, component), &written, is_said)
                || said.iter().any(|said| said.holds(&written))
        });
        each_is || {
            let lines: Vec<_> = field.repetitions().map(|line| line.text()).collect();
            lines.len() > 1 && is_said(lines.join("\n").trim())
        }
    }
}

fn listen<'w>(object: &'w Object<'_>, said: &mut Said<'w>) {
    for (key, value) in &object.members {
        if key.starts_with("value") && key.len() > 5 {
            said.add(&**key);
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
fn listen_to_data(data: &Json<'_>, said: &mut Said<'_>) {
    said.add("base64");
    let Some(bytes) = data.as_str().and_then(|data| STANDARD.decode(data).ok()) else { return };
    if let Ok(plain) = String::from_utf8(bytes) {
        plain.lines().for_each(|line| said.add(line.trim().to_owned()));
    }
}

/// ED.2 and ED.3 (tables 0191 and 0291) are the halves of a media type.
fn listen_to_media_type<'w>(media_type: &'w Json<'_>, said: &mut Said<'w>) {
    let Some((type_, subtype)) = media_type.as_str().and_then(|m| m.split_once('/')) else { return };
    let short = match type_ {
        "application" => "AP",
        "image" => "IM",
        "audio" => "AU",
        "text" => "FT",
        _ => type_,
    };
    [type_, subtype, short].into_iter().for_each(|word| said.add(word));
}

fn hear<'w>(value: &'w Json<'_>, said: &mut Said<'w>) {
    match value {
        // An address of ours is nothing that a message says.
        Json::Null | Json::Entry(_) => {}
        Json::Bool(yes) => said.add(if *yes { "Y" } else { "N" }),
        Json::Number(digits) => said.add(&**digits),
        Json::String(words) => said.hear_words(words),
        Json::Array(items) => items.iter().for_each(|item| hear(item, said)),
        Json::Object(object) => listen(object, said),
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
        let is_said = |form: Option<&str>| form.is_some_and(&said);
        return writer.clock.with_date_time(written, is_said) || is_said(time::date(written).as_deref());
    }
    let is_value = |(type_, key): &(&str, &str)| *type_ == written && said(key);
    ((&*spot.name, field) == ("OBX", 2) && VALUES.iter().any(is_value))
        || datatypes::known_system(written).is_some_and(&said)
        || maps(spot, field, component).filter_map(|map| tables::code(map, written)).any(said)
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
