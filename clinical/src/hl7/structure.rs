//! What can be said of any message, whatever its type.

use std::borrow::Cow;

use super::{Message, Segment};
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
        issues
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
