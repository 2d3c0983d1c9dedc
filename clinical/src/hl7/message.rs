//! One message: its bytes, and an index that accounts for each of them.

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;
use bytestring::ByteString;

use super::charset::{Charset, Wide};
use super::index::{Span, index};
use super::path::Path;
use super::scan::Step;
use super::view::Segment;
use super::{Delimiters, Limits, ParseError};
use crate::{Feed, Issue};

/// A parsed HL7 v2 message (v2.1 to v2.9, ER7). Cheap to look into: segments and fields are indexed,
/// what is below a field is split when it is read.
///
/// Segments end with CR, LF or CRLF, whichever ends MSH. In a CR message a bare LF is data, and the other
/// way round, unless a segment name and a field separator follow it. White space before a segment name,
/// blank lines, a byte order mark and MLLP's framing bytes belong to no segment and are kept.
#[derive(Clone)]
pub struct Message {
    /// UTF-8 where the message came in UTF-16 or UTF-32.
    pub(super) bytes: Bytes,
    pub(super) delimiters: Delimiters,
    pub(super) segments: Vec<Span>,
    /// Places of the field separators of all segments, in order.
    pub(super) stops: Vec<u32>,
    pub(super) charset: Charset,
    /// The charset's.
    pub(super) step: Step,
    pub(super) charset_issue: Option<Issue>,
    pub(super) wide: Option<Wide>,
    /// See [`plain`](Message::plain).
    pub(super) plain: OnceLock<Option<ByteString>>,
}

impl Message {
    /// Reads one message. Only what cannot be indexed at all is an error; everything else that is wrong
    /// with it is found by [`issues`](Message::issues) and by `to_events`.
    pub fn parse(bytes: Bytes, limits: &Limits) -> Result<Message, ParseError> {
        index(bytes, limits, None)
    }

    /// The same message read with the feed's charset where MSH-18 is empty or wrong.
    pub fn for_feed(&self, feed: &Feed) -> Cow<'_, Message> {
        match &feed.charset {
            Some(fallback)
                if self.wide.is_none() && (!self.bytes.is_ascii() || self.bytes.contains(&0x1B)) =>
            {
                match index(self.bytes.clone(), &Limits::NONE, Some(fallback)) {
                    Ok(message) => Cow::Owned(message),
                    Err(_) => Cow::Borrowed(self),
                }
            }
            _ => Cow::Borrowed(self),
        }
    }

    /// The message written from the index: the bytes that were parsed.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len());
        let lead = self.segments.first().map_or(0, |s| s.start);
        out.extend_from_slice(self.slice(0, lead));
        for span in &self.segments {
            let mut from = span.start;
            for &stop in self.stops_of(span) {
                out.extend_from_slice(self.slice(from, stop));
                out.push(self.delimiters.field);
                from = stop + 1;
            }
            out.extend_from_slice(self.slice(from, span.end));
            out.extend_from_slice(self.slice(span.end, span.next));
        }
        match self.wide {
            Some(wide) => wide.encode(&out),
            None => out,
        }
    }

    /// The bytes that were indexed: those parsed, or the same text in UTF-8 where it came in UTF-16 or UTF-32.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn delimiters(&self) -> &Delimiters {
        &self.delimiters
    }

    /// What the text is read as; MSH-18's first repetition where the bytes fit it.
    pub fn charset(&self) -> Charset {
        self.charset
    }

    /// IANA's name of the charset that the message came in.
    pub fn charset_name(&self) -> &'static str {
        self.wide.map_or(self.charset.name(), Wide::name)
    }

    pub fn segments(&self) -> impl ExactSizeIterator<Item = Segment<'_>> + DoubleEndedIterator {
        (0..self.segments.len()).map(|at| Segment::new(self, at))
    }

    /// Bytes of all fields together, each read once: the least that whoever wants every field has to do.
    pub fn field_bytes(&self) -> usize {
        self.segments().flat_map(|segment| segment.fields()).map(|(_, field)| field.raw().len()).sum()
    }

    /// The segment at that position, from 0.
    pub(crate) fn segment(&self, position: usize) -> Option<Segment<'_>> {
        (position < self.segments.len()).then(|| Segment::new(self, position))
    }

    /// Segments of that name, in order.
    pub fn all<'m>(&'m self, name: &'m str) -> impl Iterator<Item = Segment<'m>> {
        self.segments().filter(move |s| s.name_bytes() == name.as_bytes())
    }

    /// The first segment of that name.
    pub fn first<'m>(&'m self, name: &'m str) -> Option<Segment<'m>> {
        self.all(name).next()
    }

    /// The decoded value at a path such as `PID-5.1`, `OBX[2]-5` or `PID-3[2].4.2`: segment (occurrence
    /// from 1), field, repetition, component, subcomponent. A field without a repetition is given whole;
    /// a component without one is taken from the first. `None`: the path is not one, or the message has
    /// nothing there. An empty value is `Some("")`, HL7's null is `Some("\"\"")`.
    pub fn get(&self, path: &str) -> Option<Cow<'_, str>> {
        path.parse::<Path>().ok()?.find(self).map(|part| part.text())
    }

    /// MSH-9.1 and MSH-9.2 as `ADT^A01`; EVN-1 gives the trigger where MSH-9.2 is empty (v2.1).
    pub fn type_(&self) -> String {
        let header = self.header();
        let code = header.text(9, 1);
        let trigger = match header.text(9, 2) {
            trigger if trigger.is_empty() => self.first("EVN").map(|evn| evn.text(1, 1)).unwrap_or_default(),
            trigger => trigger,
        };
        if trigger.is_empty() { code.into_owned() } else { format!("{code}^{trigger}") }
    }

    /// MSH-10.
    pub fn control_id(&self) -> Cow<'_, str> {
        self.header().text(10, 1)
    }

    /// MSH-12.1.
    pub fn version(&self) -> Cow<'_, str> {
        self.header().text(12, 1)
    }

    /// MSH-3.1 and MSH-4.1: sending application and facility.
    pub fn sending(&self) -> (Cow<'_, str>, Cow<'_, str>) {
        (self.header().text(3, 1), self.header().text(4, 1))
    }

    /// MSH-5.1 and MSH-6.1: receiving application and facility.
    pub fn receiving(&self) -> (Cow<'_, str>, Cow<'_, str>) {
        (self.header().text(5, 1), self.header().text(6, 1))
    }

    /// The bytes after the MSH segment: with MSH-3, MSH-4 and MSH-10 they tell a resend.
    pub fn body(&self) -> Bytes {
        let from = self.segments.first().map_or(0, |s| s.next as usize);
        self.bytes.slice(from.min(self.bytes.len())..)
    }

    /// MSH: the parser makes no message without it.
    pub(crate) fn header(&self) -> Segment<'_> {
        Segment::new(self, 0)
    }

    /// The message as text where that is all there is to its values: UTF-8, and nothing escaped. Looked at once, so
    /// that a part need not be.
    #[inline]
    pub(super) fn plain(&self) -> Option<&str> {
        self.plain.get_or_init(|| self.find_plain()).as_deref()
    }

    fn find_plain(&self) -> Option<ByteString> {
        if self.charset != Charset::UTF_8 {
            return None;
        }
        // MSH-2 names the escape character.
        let named = self.header().field(2).map_or(0, |encoding| encoding.raw().len());
        let values = self.bytes.get(self.header().offset() + 4 + named..).unwrap_or_default();
        let escaped = self.delimiters.escape.is_some_and(|escape| memchr::memchr(escape, values).is_some());
        if escaped { None } else { ByteString::try_from(self.bytes.clone()).ok() }
    }

    pub(super) fn slice(&self, from: u32, to: u32) -> &[u8] {
        self.bytes.get(from as usize..to as usize).unwrap_or_default()
    }

    pub(super) fn stops_of(&self, span: &Span) -> &[u32] {
        let from = span.stop as usize;
        self.stops.get(from..from + span.stops as usize).unwrap_or_default()
    }
}

impl fmt::Debug for Message {
    /// Sizes only: a message is all patient data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} bytes, {} segments, redacted)", self.bytes.len(), self.segments.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::is_wide;
    use super::*;
    use proptest::prelude::*;

    fn parse(bytes: &[u8]) -> Message {
        Message::parse(Bytes::copy_from_slice(bytes), &Limits::default()).unwrap()
    }

    #[test]
    fn writes_from_the_index() {
        let bytes = b"\x0bMSH|^~\\&|A\r\n  PID|1||7^^^H\r\n\r\nZZZ\r\nPV1||I|\r\x1c\r";
        let mut message = parse(bytes);
        assert_eq!(message.write(), bytes);
        assert_eq!(
            message.segments().map(|s| s.name().into_owned()).collect::<Vec<_>>(),
            ["MSH", "PID", "ZZZ", "PV1"]
        );
        message.segments.remove(1);
        assert_eq!(message.write(), b"\x0bMSH|^~\\&|A\r\n  ZZZ\r\nPV1||I|\r\x1c\r");
        let span = message.segments[0];
        message.stops.remove(span.stop as usize + 1);
        assert_ne!(message.write(), b"\x0bMSH|^~\\&|A\r\n  ZZZ\r\nPV1||I|\r\x1c\r");
    }

    #[test]
    fn line_ends_are_chosen_per_message() {
        let obx5 = |bytes: &[u8]| {
            let message = parse(bytes);
            assert_eq!(message.write(), bytes);
            message.get("OBX-5").unwrap().into_owned()
        };
        assert_eq!(obx5(b"MSH|^~\\&|\rOBX|1|TX|A||one\ntwo|u\rNTE|1\r"), "one\ntwo");
        assert_eq!(obx5(b"MSH|^~\\&|\nOBX|1|TX|A||one\rtwo|u\nNTE|1\n"), "one\rtwo");
        assert_eq!(obx5(b"MSH|^~\\&|\r\nOBX|1|TX|A||one\ntwo\r\nNTE|1"), "one\ntwo");
        let mixed = parse(b"MSH|^~\\&|\rPID|1\nOBX|1\r\nNTE|1\r");
        assert_eq!(mixed.segments().len(), 4);
    }

    #[test]
    fn delimiters_are_the_messages_own() {
        let message = parse(b"MSH*:+!%#*APP\rPID*1**1:2%3+4*a!F!b!P!");
        assert_eq!(message.get("MSH-1").as_deref(), Some("*"));
        assert_eq!(message.get("MSH-2").as_deref(), Some(":+!%#"));
        assert_eq!(message.get("MSH-3").as_deref(), Some("APP"));
        assert_eq!(message.get("PID-3.2.2").as_deref(), Some("3"));
        assert_eq!(message.get("PID-3[2]").as_deref(), Some("4"));
        assert_eq!(message.get("PID-4").as_deref(), Some("a*b#"));
        let short = parse(b"MSH|^\rPID|a~b^c&d\\F\\");
        assert_eq!(short.get("PID-1.2").as_deref(), Some("c&d\\F\\"));
        let doubled = parse(b"MSH|^~\\\\&|\rPID|a^b&c\\F\\");
        assert_eq!(doubled.get("PID-1.2").as_deref(), Some("b&c|"));
        assert_eq!(doubled.issues().iter().filter(|i| i.code == "delimiters-repeated").count(), 1);
        assert_eq!(parse(b"MSH||A\rPID|a^b").get("PID-1.2").as_deref(), Some("b"));
    }

    #[test]
    fn refuses_what_cannot_be_indexed() {
        let code = |bytes: &[u8], limits: Limits| {
            Message::parse(Bytes::copy_from_slice(bytes), &limits).unwrap_err().code()
        };
        let check = |bytes: &[u8]| code(bytes, Limits::default());
        assert_eq!(check(b""), "message-empty");
        assert_eq!(check(b"\r\n \x0b\x1c\r"), "message-empty");
        assert_eq!(check(b"PID|1"), "msh-missing");
        assert_eq!(check(b"FHS|^~\\&\rMSH|^~\\&\r"), "msh-missing");
        assert_eq!(check(b"MSH"), "msh-missing");
        assert_eq!(check(b"MSHA^~"), "field-separator-invalid");
        assert_eq!(check(b"MSH|a~\\&|"), "delimiters-invalid");
        assert_eq!(check(b"\xFF\xFEM\0S\0H\0|"), "charset-unsupported");
        assert_eq!(check(b"\xFF\xFEM\0S\0H\0"), "msh-missing");
        assert_eq!(code(b"MSH|^~\\&|", Limits { bytes_max: 4, ..Limits::default() }), "message-too-large");
        let one = Limits { segments_max: 1, ..Limits::default() };
        assert_eq!(code(b"MSH|^~\\&|\rPID|\r", one), "segments-too-many");
    }

    #[test]
    fn multibyte_charsets_hide_delimiters() {
        let big5 = parse(b"MSH|^~\\&||||||||||||||||BIG-5\rPID|1|\xA5\x5C\xB3\x5C^\xA4\x7Cx|end\r");
        assert_eq!(big5.get("PID-2.1").as_deref(), Some("功許"));
        assert_eq!(big5.get("PID-3").as_deref(), Some("end"));
        let jis = parse(b"MSH|^~\\&||||||||||||||||ISO IR87\rPID|1|\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B|end\r");
        assert_eq!(jis.get("PID-2.1").as_deref(), Some("山田"));
        assert_eq!(jis.get("PID-2.2").as_deref(), Some("太郎"));
        assert_eq!(jis.get("PID-3").as_deref(), Some("end"));
    }

    #[test]
    fn wide_text_is_read_and_written_back() {
        let text = "\u{FEFF}MSH|^~\\&||||||||||||||||UNICODE UTF-16\rPID|1|😀^山田|end\r";
        let mut bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let message = parse(&bytes);
        assert_eq!(message.get("PID-2.2").as_deref(), Some("山田"));
        assert_eq!((message.charset_name(), message.charset_issue.is_some()), ("UTF-16LE", false));
        assert_eq!(message.write(), bytes);
        bytes = text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
        assert_eq!((parse(&bytes).charset_name(), parse(&bytes).write()), ("UTF-32BE", bytes));
        let cut = Message::parse(Bytes::from_static(b"M\0S\0H\0|\0^"), &Limits::default()).unwrap_err();
        assert!(cut.to_string().contains("is cut"), "{cut}");
        assert!(is_wide(b"M\0S\0H\0|\0") && is_wide(b"\0\0\0M\0\0\0S\0\0\0H") && !is_wide(b"MSH|"));
    }

    #[test]
    fn a_damaged_value_moves_no_other() {
        let read = |charset: &str, name: &[u8], rest: &[u8]| {
            let head = format!("MSH|^~\\&||||||||||||||||{charset}\rPID|1||7||").into_bytes();
            let bytes = [&head, name, b"^Anna||1980\rOBX|1|TX|A||", rest, b"|u\r"].concat();
            let message = parse(&bytes);
            assert_eq!(message.write(), bytes);
            assert_eq!(message.get("PID-5.2").as_deref(), Some("Anna"), "{charset}");
            assert_eq!(message.get("PID-7").as_deref(), Some("1980"), "{charset}");
            assert_eq!(message.get("OBX-6").as_deref(), Some("u"), "{charset}");
            let issue =
                message.issues().iter().find(|issue| issue.location == "MSH-18").unwrap().code.to_string();
            (message.get("PID-5.1").unwrap().into_owned(), message.get("OBX-5").unwrap().into_owned(), issue)
        };
        let told = |name: &str, rest: &str, code: &str| (name.to_owned(), rest.to_owned(), code.to_owned());
        let wrong = "charset-mislabelled";
        let umlaut = "Müller".as_bytes();
        assert_eq!(read("UNICODE UTF-8", umlaut, b"gro\xC3"), told("Müller", "groÃ", wrong));
        assert_eq!(read("", umlaut, b"gro\xC3"), told("Müller", "groÃ", "charset-undeclared"));
        let gb = b"\x81\x7C\x81\x5E\x81\x7E";
        assert_eq!(read("GB 18030-2000", gb, b"\xFF"), told("亅乛亊", "ÿ", wrong));
        assert_eq!(read("ISO IR14", b"\x83\x7C\x83\x5E", b"\xFF"), told("ポタ", "ÿ", wrong));
        assert_eq!(read("ISO IR87", b"\x1B$B;|E^\x1B(B", b"\xE9"), told("慈党", "é", wrong));
    }

    #[test]
    fn a_header_in_a_multi_byte_charset_hides_no_charset() {
        let bytes = b"MSH|^~\\&|\xA4\x7C||||||||||||||TWN|BIG-5\rPID|1|\xA5\x5C^x\r";
        let message = parse(bytes);
        assert_eq!((message.charset_name(), message.charset_issue.is_some()), ("Big5", false));
        assert_eq!(message.get("MSH-17").as_deref(), Some("TWN"));
        assert_eq!(message.get("PID-2.1").as_deref(), Some("功"));
        let twice = parse(b"\xEF\xBB\xBF\xEF\xBB\xBFMSH|^~\\&|A\r");
        assert_eq!(twice.get("MSH-3").as_deref(), Some("A"));
    }

    #[test]
    fn debug_shows_no_patient() {
        assert!(!format!("{:?}", parse(b"MSH|^~\\&|\rPID|||4711")).contains("4711"));
    }

    proptest! {
        #[test]
        fn every_byte_is_accounted_for(body in proptest::collection::vec(
            prop_oneof![Just(b'|'), Just(b'\r'), Just(b'\n'), Just(b'M'), Just(b'^'), Just(b'\\'), any::<u8>()], 0..400),
            lead in "[\r\n \x0b]{0,3}", head in "MSH[|*]([\\^:][~+]?[\\\\!]?[&%]?#?)?") {
            let bytes = [lead.as_bytes(), head.as_bytes(), b"|", &body].concat();
            if let Ok(message) = Message::parse(Bytes::from(bytes.clone()), &Limits::default()) {
                prop_assert_eq!(message.write(), bytes);
                for segment in message.segments() {
                    for (_, field) in segment.fields() {
                        for part in field.repetitions() { let _ = part.text(); }
                    }
                }
            }
        }
    }
}
