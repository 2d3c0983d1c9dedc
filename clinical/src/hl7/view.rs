//! Views into a message: nothing is copied until text is asked for, and only if it differs from the bytes.

use std::borrow::Cow;

use super::message::Message;
use super::{Delimiters, escape};
use crate::text;

/// One segment of a message.
#[derive(Clone, Copy)]
pub struct Segment<'m> {
    message: &'m Message,
    at: usize,
    start: u32,
    end: u32,
    /// Places of its field separators.
    stops: &'m [u32],
    /// MSH, FHS or BHS, whose separator is a field.
    is_header: bool,
}

/// A field, or a repetition, component or subcomponent of one.
#[derive(Clone, Copy)]
pub struct Part<'m> {
    message: &'m Message,
    raw: &'m [u8],
    level: Level,
}

/// What the part is; `Literal` is MSH-1 or MSH-2, which have no parts and no escapes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Field,
    Repetition,
    Component,
    Subcomponent,
    Literal,
}

impl<'m> Segment<'m> {
    /// Looked up once, for every field is asked for. A place that the message does not have is an empty segment.
    pub(super) fn new(message: &'m Message, at: usize) -> Self {
        let Some(span) = message.segments.get(at) else {
            return Segment { message, at, start: 0, end: 0, stops: &[], is_header: false };
        };
        let stops = message.stops_of(span);
        // One without a separator has no field that would count otherwise.
        let is_header = stops.first().is_some_and(|stop| *stop == span.start + 3)
            && matches!(message.slice(span.start, span.start + 3), b"MSH" | b"FHS" | b"BHS");
        Segment { message, at, start: span.start, end: span.end, stops, is_header }
    }

    /// The name as it is written; three capital letters or digits in a good message.
    pub fn name(&self) -> Cow<'m, str> {
        self.part(self.name_bytes(), Level::Literal).text()
    }

    pub(super) fn name_bytes(&self) -> &'m [u8] {
        self.message.slice(self.start, self.stops.first().copied().unwrap_or(self.end))
    }

    /// Whether the name is that of HL7: three characters, a letter first.
    pub(crate) fn is_named_well(&self) -> bool {
        matches!(self.name_bytes(), [a, rest @ ..] if rest.len() == 2 && a.is_ascii_uppercase()
            && rest.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()))
    }

    /// `OBX[2]`; the first of its name is `OBX`. Walks over the segments before it.
    pub(super) fn place(&self) -> String {
        let name = self.name_bytes();
        let before = self.message.segments().take(self.at).filter(|s| s.name_bytes() == name).count();
        match (self.is_named_well(), before) {
            // What stands for a name may be anything, a patient's data too.
            (false, _) => format!("segment {}", self.at + 1),
            (true, 0) => self.name().into_owned(),
            (true, _) => format!("{}[{}]", self.name(), before + 1),
        }
    }

    /// Place of the segment in the message, from 0.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The segment's bytes without what ends it.
    pub fn raw(&self) -> &'m [u8] {
        self.message.slice(self.start, self.end)
    }

    /// The whole segment as one text, its name and separators included.
    pub(crate) fn whole(&self) -> Part<'m> {
        self.part(self.raw(), Level::Literal)
    }

    /// Offset of the segment's first byte in the message's bytes.
    pub fn offset(&self) -> usize {
        self.start as usize
    }

    /// How many fields are written. MSH, FHS and BHS count their separator as field 1.
    pub fn len(&self) -> usize {
        self.stops.len() + usize::from(self.is_header)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Field `number`, from 1. `None`: the segment ends before it.
    pub fn field(&self, number: usize) -> Option<Part<'m>> {
        let Some(nth) = number.checked_sub(if self.is_header { 2 } else { 1 }) else {
            // MSH-1 is the separator itself.
            let at = *self.stops.first().filter(|_| self.is_header && number == 1)?;
            return Some(self.part(self.message.slice(at, at + 1), Level::Literal));
        };
        let from = self.stops.get(nth)? + 1;
        let to = self.stops.get(nth + 1).copied().unwrap_or(self.end);
        let level = if self.is_header && number == 2 { Level::Literal } else { Level::Field };
        Some(self.part(self.message.slice(from, to), level))
    }

    /// Every field with its number. One step a field, where `field` finds its place anew.
    pub fn fields(&self) -> impl Iterator<Item = (usize, Part<'m>)> + use<'m> {
        let segment = *self;
        let separator = self.is_header.then(|| segment.field(1)).flatten().map(|part| (1, part));
        let rest = self.stops.iter().enumerate().map(move |(nth, &stop)| {
            let end = segment.stops.get(nth + 1).copied().unwrap_or(segment.end);
            let number = nth + if segment.is_header { 2 } else { 1 };
            let level = if segment.is_header && number == 2 { Level::Literal } else { Level::Field };
            (number, segment.part(segment.message.slice(stop + 1, end), level))
        });
        separator.into_iter().chain(rest)
    }

    /// Text of a component of a field's first repetition; empty where there is none.
    pub fn text(&self, field: usize, component: usize) -> Cow<'m, str> {
        // Of most fields that a segment may have, there is nothing.
        let field = self.field(field).filter(|field| !field.is_empty());
        field.and_then(|field| field.component(component)).map(|part| part.text()).unwrap_or_default()
    }

    /// A field that is neither missing nor empty nor HL7's null.
    pub fn valued(&self, field: usize) -> Option<Part<'m>> {
        self.field(field).filter(Part::has_value)
    }

    fn part(&self, raw: &'m [u8], level: Level) -> Part<'m> {
        Part { message: self.message, raw, level }
    }
}

impl<'m> Part<'m> {
    /// The bytes as sent, escapes and all.
    pub fn raw(&self) -> &'m [u8] {
        self.raw
    }

    /// Decoded and unescaped.
    #[inline]
    pub fn text(&self) -> Cow<'m, str> {
        if let Some(plain) = self.message.plain() {
            // Where the part stands in the message's bytes; one that has none is empty.
            let from = self.raw.as_ptr().addr().wrapping_sub(plain.as_ptr().addr());
            return Cow::Borrowed(plain.get(from..from.wrapping_add(self.raw.len())).unwrap_or_default());
        }
        self.decoded()
    }

    fn decoded(&self) -> Cow<'m, str> {
        match self.level {
            Level::Literal => self.message.charset.decode(self.raw),
            _ => escape::decode(self.raw, &self.message.delimiters, self.message.charset),
        }
    }

    /// As [`text`](Part::text), without white space around it.
    pub(crate) fn trimmed(&self) -> Cow<'m, str> {
        text::trim(self.text())
    }

    /// Decoded, with escapes and delimiters as sent.
    pub fn raw_text(&self) -> Cow<'m, str> {
        self.message.charset.decode(self.raw)
    }

    /// HL7's null, `""`: the sender says that there is no value. An empty part says nothing.
    pub fn is_null(&self) -> bool {
        self.raw == b"\"\""
    }

    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Neither empty nor null.
    pub fn has_value(&self) -> bool {
        !self.is_empty() && !self.is_null()
    }

    /// The sender takes back what was said here: null, and nothing beside it (`""`, `""^""`).
    pub(crate) fn erases(&self) -> bool {
        self.raw.contains(&b'"')
            && self.leaves().all(|(_, leaf)| !leaf.has_value())
            && self.leaves().any(|(_, leaf)| leaf.is_null())
    }

    /// Of a field: its repetitions, at least one.
    pub fn repetitions(&self) -> impl Iterator<Item = Part<'m>> + use<'m> {
        self.split(Level::Repetition, self.message.delimiters.repetition, None)
    }

    /// Of a repetition (a field's first one): its components, at least one.
    pub fn components(&self) -> impl Iterator<Item = Part<'m>> + use<'m> {
        let Delimiters { repetition, component, .. } = self.message.delimiters;
        self.split(Level::Component, component, repetition.filter(|_| self.level == Level::Field))
    }

    /// Of a component (the first one): its subcomponents, at least one.
    pub fn subcomponents(&self) -> impl Iterator<Item = Part<'m>> + use<'m> {
        let of =
            if self.level < Level::Component { self.components().next().unwrap_or(*self) } else { *self };
        of.split(Level::Subcomponent, of.message.delimiters.subcomponent, None)
    }

    /// Numbers count from 1.
    pub fn repetition(&self, number: usize) -> Option<Part<'m>> {
        self.repetitions().nth(number.checked_sub(1)?)
    }

    pub fn component(&self, number: usize) -> Option<Part<'m>> {
        let mut components = self.components();
        if number == 1 { components.next() } else { components.nth(number.checked_sub(1)?) }
    }

    /// Every subcomponent of every component of every repetition, with its component's number. Where the part holds
    /// no delimiter that is the part itself.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = (usize, Part<'m>)> + use<'m> {
        let Delimiters { repetition, component, subcomponent, .. } = self.message.delimiters;
        let ends = [repetition, component, subcomponent];
        let (whole, step) = (*self, self.message.step);
        let (mut rest, mut number) = (Some(self.raw), 1);
        std::iter::from_fn(move || {
            let bytes = rest?;
            let Some((raw, after)) = step.split(bytes, ends).filter(|_| whole.level < Level::Subcomponent)
            else {
                rest = None;
                return Some((number, whole.part(bytes, whole.level.max(Level::Subcomponent))));
            };
            let leaf = (number, whole.part(raw, Level::Subcomponent));
            let end = bytes.get(raw.len()).copied();
            number = if end == repetition { 1 } else { number + usize::from(end == component) };
            rest = Some(after);
            Some(leaf)
        })
    }

    fn part(&self, raw: &'m [u8], level: Level) -> Part<'m> {
        Part { message: self.message, raw, level }
    }

    pub fn subcomponent(&self, number: usize) -> Option<Part<'m>> {
        self.subcomponents().nth(number.checked_sub(1)?)
    }

    /// One level down: of a field or repetition its component, of a component its subcomponent. Reads the same
    /// data type wherever it stands. Anything deeper is its own only part.
    pub fn below(&self, number: usize) -> Option<Part<'m>> {
        match self.level {
            Level::Field | Level::Repetition => self.component(number),
            _ => self.subcomponent(number),
        }
    }

    /// The first `N` of what [`below`](Part::below) gives, found in one pass.
    pub(crate) fn all_below<const N: usize>(&self) -> [Option<Part<'m>>; N] {
        match self.level {
            Level::Field | Level::Repetition => first_of(self.components()),
            _ => first_of(self.subcomponents()),
        }
    }

    /// Splits a part of the level above `level`, up to the first `end`; anything deeper is its own only part.
    #[inline]
    fn split(
        self,
        level: Level,
        delimiter: Option<u8>,
        end: Option<u8>,
    ) -> impl Iterator<Item = Part<'m>> + use<'m> {
        let (above, step) = (self.level < level, self.message.step);
        let level = self.level.max(level);
        // One that the message does not use, or that ends nothing here, is none.
        let ends @ [delimiter, _] = [delimiter, end].map(|delimiter| delimiter.filter(|_| above));
        let mut rest = Some(self.raw);
        std::iter::from_fn(move || {
            let bytes = rest?;
            let (raw, next) = match step.split(bytes, ends) {
                Some((raw, next)) => (raw, Some(next)),
                None => (bytes, None),
            };
            rest = next.filter(|_| bytes.get(raw.len()).copied() == delimiter);
            Some(Part { message: self.message, raw, level })
        })
    }
}

fn first_of<'m, const N: usize>(parts: impl Iterator<Item = Part<'m>>) -> [Option<Part<'m>>; N] {
    let mut first = [None; N];
    first.iter_mut().zip(parts).for_each(|(place, part)| *place = Some(part));
    first
}
