//! TXA, and OBX of type ED or RP, to DocumentReference.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::datatypes::{part, text};
use super::{Kind, Writer};
use crate::fhir::json::{self, Json, array, object, trim};
use crate::hl7::{Part, Segment};
use crate::text::trimmed;

/// Media types by HL7 tables 0191 and 0291, as far as a subtype alone tells.
const SUBTYPES: [(&str, &str); 10] = [
    ("PDF", "application/pdf"),
    ("JPEG", "image/jpeg"),
    ("JPG", "image/jpeg"),
    ("PNG", "image/png"),
    ("GIF", "image/gif"),
    ("TIFF", "image/tiff"),
    ("RTF", "application/rtf"),
    ("HTML", "text/html"),
    ("XML", "application/xml"),
    ("DICOM", "application/dicom"),
];

impl<'m> Writer<'m> {
    pub(super) fn document(&mut self, txa: Segment<'m>) {
        self.finish_documents();
        let mut body = self.about_patient("DocumentReference");
        self.fill(&mut body, txa, "TXA", "DocumentReference");
        let visit = self.visit();
        if !json::is_empty(&visit) {
            body.members.push(("context".into(), object([("encounter", array([visit]))])));
        }
        let id = self.id_of("DocumentReference", txa, &[12]);
        self.document = Some(self.put("DocumentReference", id, body));
        self.noted = None;
    }

    /// An OBX of MDM is the document's text. `false`: it is a result of its own.
    pub(super) fn document_text(&mut self, obx: Segment<'m>) -> bool {
        let Some(at) = self.document.filter(|_| self.kind == Kind::Document) else { return false };
        let Some(field) = obx.valued(5) else { return true };
        let attachment = match trimmed(&obx.text(2, 1)) {
            "ED" => encapsulated(field),
            "RP" => pointed(field),
            "TX" | "FT" | "ST" => {
                for line in field.repetitions().map(|line| line.text()) {
                    match &mut self.lines {
                        Some(lines) => lines.extend(["\n", &line]),
                        None => self.lines = Some(line.into_owned()),
                    }
                }
                self.touch(at);
                return true;
            }
            _ => return false,
        };
        self.finish_text();
        let title = obx.valued(3).map(|code| part(code, 2)).unwrap_or_default();
        self.push(at, "content", content(attachment, title));
        self.touch(at);
        true
    }

    /// Lines of plain text that follow one another are one attachment.
    fn finish_text(&mut self) {
        let (Some(at), Some(lines)) = (self.document, self.lines.take()) else { return };
        let data = Json::String(STANDARD.encode(lines).into());
        let attachment = object([("contentType", text("text/plain; charset=utf-8")), ("data", data)]);
        self.push(at, "content", object([("attachment", attachment)]));
    }

    /// OBX-5 of type ED or RP: a document that the result derives from.
    pub(super) fn attached(&mut self, obx: Segment<'m>, observation: usize) {
        let Some(field) = obx.valued(5) else { return };
        let attachment = match trimmed(&obx.text(2, 1)) {
            "ED" => encapsulated(field),
            "RP" => pointed(field),
            _ => return,
        };
        let title = obx.valued(3).map(|code| part(code, 2)).unwrap_or_default();
        let content = content(attachment, title);
        if json::is_empty(&content) {
            return;
        }
        let mut body = self.about_patient("DocumentReference");
        body.members.push(("status".into(), text("current")));
        body.members.push(("content".into(), array([content])));
        let id = self.id(&["DocumentReference", self.entries[observation].id.as_str()]);
        let at = self.put("DocumentReference", id, body);
        self.push(observation, "derivedFrom", Json::Entry(at));
    }

    /// R4 demands a content.
    pub(super) fn finish_documents(&mut self) {
        self.finish_text();
        let Some(at) = self.document else { return };
        let body = &mut self.entries[at].body;
        if body.get("content").is_none() {
            let nothing = object([("title", text("not in the message"))]);
            body.members.push(("content".into(), array([object([("attachment", nothing)])])));
        }
    }
}

fn content<'m>(attachment: Json<'m>, title: Cow<'m, str>) -> Json<'m> {
    let Json::Object(mut attachment) = attachment else { return Json::Null };
    if !title.trim().is_empty() {
        attachment.members.push(("title".into(), text(title)));
    }
    object([("attachment", Json::Object(attachment))])
}

/// ED: base64 as it is, hexadecimal and plain text as base64 (v2.9 ch. 2A §2.A.24). Null where it is none.
fn encapsulated(ed: Part<'_>) -> Json<'_> {
    let written = part(ed, 5);
    let data = match part(ed, 4).trim().to_ascii_lowercase().as_str() {
        "base64" => {
            let packed: String = written.chars().filter(|c| !c.is_whitespace()).collect();
            let Ok(bytes) = STANDARD.decode(&packed) else { return Json::Null };
            if bytes.is_empty() {
                return Json::Null;
            }
            packed
        }
        "a" | "" if !written.is_empty() => STANDARD.encode(written.as_bytes()),
        "hex" => match bytes_of_hex(&written) {
            Some(bytes) => STANDARD.encode(bytes),
            None => return Json::Null,
        },
        _ => return Json::Null,
    };
    object([
        ("contentType", text(media_type(&part(ed, 2), &part(ed, 3)))),
        ("data", Json::String(data.into())),
    ])
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let (pairs, rest) = text.as_chunks::<2>();
    let digit = |b: u8| char::from(b).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
    if rest.is_empty() && !pairs.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// RP: where the document lies, if that is an address.
fn pointed(rp: Part<'_>) -> Json<'_> {
    let pointer = trim(part(rp, 1));
    if !pointer.contains("://") || pointer.contains(char::is_whitespace) {
        return Json::Null;
    }
    object([("contentType", text(media_type(&part(rp, 3), &part(rp, 4)))), ("url", text(pointer))])
}

fn media_type(type_: &str, subtype: &str) -> String {
    let (type_, subtype) = (type_.trim(), subtype.trim());
    let token =
        |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.+".contains(&b));
    if let Some((_, known)) = SUBTYPES.iter().find(|(s, _)| s.eq_ignore_ascii_case(subtype)) {
        return (*known).to_owned();
    }
    match type_.split_once('/') {
        Some((a, b)) if token(a) && token(b) => return type_.to_owned(),
        _ => {}
    }
    if let Some((_, known)) = SUBTYPES.iter().find(|(s, _)| s.eq_ignore_ascii_case(type_)) {
        return (*known).to_owned();
    }
    match type_.to_ascii_lowercase().as_str() {
        "text" | "ft" | "tx" => "text/plain".to_owned(),
        media @ ("application" | "image" | "audio" | "video") if token(subtype) => {
            format!("{media}/{}", subtype.to_ascii_lowercase())
        }
        _ => "application/octet-stream".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        for (type_, subtype, expected) in [
            ("AP", "PDF", "application/pdf"),
            ("application/pdf", "", "application/pdf"),
            ("Application", "msword", "application/msword"),
            ("TEXT", "", "text/plain"),
            ("PDF", "", "application/pdf"),
            ("Image", "x y", "application/octet-stream"),
            ("", "", "application/octet-stream"),
        ] {
            assert_eq!(media_type(type_, subtype), expected, "{type_} {subtype}");
        }
        assert_eq!(bytes_of_hex("4a 4B"), Some(vec![0x4A, 0x4B]));
        assert_eq!(bytes_of_hex("4"), None);
    }
}
