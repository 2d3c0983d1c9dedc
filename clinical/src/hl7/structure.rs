//! What can be said of any message, whatever its type.

use std::borrow::Cow;

use super::{Message, Part, Segment, escape};
use crate::{Issue, Severity};

/// Lines without a segment name are told of one by one up to here.
const UNNAMED_MAX: usize = 10;

impl Message {
    /// Findings on the message's structure; `to_events` repeats them.
    pub fn issues(&self) -> Vec<Issue> {
        let mut issues: Vec<Issue> = self.charset_issue.iter().cloned().collect();
        let header = self.header();
        if header.valued(9).is_none() {
            let text = "the message does not say what it is; send its type and trigger, such as ADT^A01";
            issues.push(issue(Severity::Error, "message-type-missing", "MSH-9", text));
        }
        if header.valued(10).is_none() {
            let text = "without a control id an answer cannot be matched; send one";
            issues.push(issue(Severity::Warning, "control-id-missing", "MSH-10", text));
        }
        if header.valued(12).is_none() {
            let text = "no version; the message was read as v2.5";
            issues.push(issue(Severity::Information, "version-missing", "MSH-12", text));
        }
        let encoding = header.field(2).map_or(&[][..], |f| f.raw());
        if encoding.is_empty() {
            let text = "no encoding characters; ^~\\& were taken";
            issues.push(issue(Severity::Warning, "delimiters-missing", "MSH-2", text));
        } else if encoding.len() > 5 {
            let text = "more than five encoding characters; the first five were taken";
            issues.push(issue(Severity::Warning, "delimiters-too-many", "MSH-2", text));
        }
        if encoding.iter().enumerate().any(|(at, b)| encoding.iter().skip(at + 1).any(|c| b == c)) {
            let text =
                "a character stands twice and keeps its first meaning; use four distinct ones such as ^~\\&";
            issues.push(issue(Severity::Warning, "delimiters-repeated", "MSH-2", text));
        }
        if self.segments().skip(1).any(|s| s.name_bytes() == b"MSH") {
            let text = "two messages in one; send each in a frame of its own";
            issues.push(issue(Severity::Error, "msh-repeated", "MSH[2]", text));
        }
        let unnamed = self.segments().filter(|s| !s.is_named_well());
        issues.extend(unnamed.take(UNNAMED_MAX).map(unnamed_issue));
        issues.extend(self.bad_switch());
        issues
    }

    /// The first value that switches to a character set which cannot be followed.
    fn bad_switch(&self) -> Option<Issue> {
        let escape = self.delimiters.escape?;
        let switches = |bytes: &[u8]| {
            memchr::memchr_iter(escape, bytes).any(|at| matches!(bytes.get(at + 1), Some(b'C' | b'M')))
        };
        let segment = Some(self).filter(|message| switches(&message.bytes))?.segments().find(|segment| {
            let mut fields = segment.fields().filter(|(_, field)| switches(field.raw()));
            fields.any(|(_, field)| self.has_bad_switch(field))
        })?;
        let text = "an escape sequence switches to a character set that is not known here, or that the bytes do not \
                    fit; it was kept as sent: use one of HL7 v2.9 ch. 2 §2.7.2, or UTF-8 throughout";
        Some(issue(Severity::Warning, "charset-switch-unknown", &segment.place(), text))
    }

    fn has_bad_switch(&self, field: Part<'_>) -> bool {
        let leaves = field.repetitions().flat_map(|r| r.components()).flat_map(|c| c.subcomponents());
        let mut leaves = leaves.map(|leaf| leaf.raw());
        leaves.any(|raw| escape::has_bad_switch(raw, &self.delimiters, self.charset))
    }
}

fn unnamed_issue(segment: Segment<'_>) -> Issue {
    let text = "a line begins with no segment name (three capital letters or digits): it belongs to no segment and \
                was not read; write line breaks in text as \\.br\\";
    issue(Severity::Warning, "segment-name-invalid", &segment.place(), text)
}

fn issue(severity: Severity, code: &'static str, location: &str, text: &str) -> Issue {
    Issue { severity, code: Cow::Borrowed(code), location: location.to_owned(), text: text.to_owned() }
}
