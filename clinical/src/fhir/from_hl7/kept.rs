//! What no map places is kept as it was sent.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use super::Writer;
use super::datatypes::{self, text};
use super::finder::{Body, Finder};
use crate::fhir::json::{Json, Object, array, members_of, object};
use crate::hl7::{Message, Part, Segment};

const FIELD: &str = "https://github.com/medulla-health/medulla/ns/hl7v2-field";

/// A field as it was sent, and its segment's position.
pub(super) type Kept<'m> = (usize, Json<'m>);

/// The fields of a segment whose values are not found again. What `is_told` says yes to is not looked for.
pub(super) fn keep<'m>(
    spot: &Spot<'_, 'm>,
    finder: &Finder<'_, '_, 'm>,
    is_told: impl Fn(&Spot<'_, 'm>, usize, Part<'m>) -> bool,
    kept: &mut Vec<Kept<'m>>,
) {
    spot.fields().for_each(|(number, field)| {
        if !is_told(spot, number, field) && !finder.is_found(spot, number, field) {
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
    // What is written already has no body any more, and its segments are done.
    let body = |place: usize| writer.entries.get(place).map(|entry| Body::Tree(&entry.body));
    let finder = Finder::new(writer, &body, Some(&envelope));
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
    pub(super) touched: &'w [(usize, usize)],
}

impl<'w, 'm> Spot<'w, 'm> {
    pub(super) fn new(writer: &Writer<'m>, segment: Segment<'m>, touched: &'w [(usize, usize)]) -> Self {
        let name = segment.name();
        let ordinals = writer.ordinals.get(segment.position()).copied().unwrap_or_default();
        Spot { segment, name, ordinals, touched }
    }

    /// Whether it is the message's header.
    pub(super) fn is_first(&self) -> bool {
        self.segment.position() == 0
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
            let delimiters = *number <= 2 && self.is_first();
            let counts = || *number == 1 && counts_only(*field, self.ordinals);
            !is_line && field.has_value() && !delimiters && !counts()
        };
        let line = is_line.then(|| (0, self.segment.whole()));
        line.into_iter().chain(self.segment.fields().filter(says))
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
