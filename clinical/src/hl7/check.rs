//! What `medulla hl7 check` reports: each message of a file, read as a feed would.

use bytes::Bytes;
use serde::Serialize;

use super::batch::{BatchPart, batch_parts};
use super::split::PieceKind;
use super::{Limits, Message, ParseError, to_events};
use crate::{Event, EventKind, Feed, Issue, Merge, Merges, PatientId, Severity, Time};

/// One message's report; its JSON keys are a stable interface.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub file: String,
    /// Of the message's first byte in the file.
    pub offset: usize,
    /// `ADT^A01`; empty if the message cannot be read.
    #[serde(rename = "type")]
    pub type_: String,
    pub control_id: String,
    pub version: String,
    pub segments: usize,
    /// IANA's name of the charset the text was read in.
    pub charset: String,
    pub status: Status,
    pub issues: Vec<Finding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// It would be taken, and something in it should be looked at.
    Warn,
    /// It would be answered with an error and kept as a `Rejected` entry.
    Rejected,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub code: String,
    pub location: String,
    pub text: String,
}

/// Checks every message of a file, and reports what belongs to none. What is wrong with a batch's envelope is told
/// of a message beside it, and of the whole where there is none. `file` is only named. Where `feed.authority` is empty, ids
/// without an authority are warned of: whether they are taken depends on the feed they come by.
pub fn check<'f>(
    bytes: Bytes,
    file: &'f str,
    feed: &'f Feed,
    limits: &'f Limits,
    now: Time,
) -> impl Iterator<Item = Report> + 'f {
    let mut merges = Merges::default();
    batch_parts(bytes).into_iter().map(move |BatchPart { piece, issues }| {
        let mut report = match (piece.kind, Message::parse(piece.bytes, limits)) {
            (PieceKind::Message, Ok(message)) => readable(&message, feed, now, &mut merges),
            (PieceKind::Message, Err(error)) => unreadable(&error),
            (PieceKind::Envelope, _) => without_message(&[]),
            _ => unreadable(&ParseError::MshMissing),
        };
        report.status = report.status.max(status_of(&issues));
        report.issues.extend(issues.into_iter().map(finding));
        Report { file: file.to_owned(), offset: piece.offset, ..report }
    })
}

/// The worst issue decides.
pub fn status_of(issues: &[Issue]) -> Status {
    match issues.iter().map(|i| i.severity).max() {
        Some(Severity::Error) => Status::Rejected,
        Some(Severity::Warning) => Status::Warn,
        _ => Status::Ok,
    }
}

fn readable(message: &Message, feed: &Feed, now: Time, merges: &mut Merges<PatientId>) -> Report {
    let message = message.for_feed(feed);
    let (events, mut issues) = read(&message, feed, now);
    issues.extend(events.iter().filter_map(|event| quarantined(event, merges)));
    Report {
        file: String::new(),
        offset: 0,
        type_: message.type_(),
        control_id: message.control_id().into_owned(),
        version: message.version().into_owned(),
        segments: message.segments().len(),
        charset: message.charset_name().to_owned(),
        status: status_of(&issues),
        issues: issues.into_iter().map(finding).collect(),
    }
}

/// A merge that contradicts those of earlier messages: a site keeps it and does not follow it.
fn quarantined(event: &Event, merges: &mut Merges<PatientId>) -> Option<Issue> {
    let EventKind::Merged { from } = &event.kind else { return None };
    let (code, text) = match merges.merge(from, &event.patient) {
        Merge::Joined { .. } | Merge::Known => return None,
        Merge::Circle => {
            ("merge-cycle", "with earlier messages it closes a circle: both ids would replace one another")
        }
        Merge::Contradicts => {
            ("merge-contradicts", "an earlier message merged this prior id into another patient")
        }
    };
    let text = format!("{text}; the merge is kept and not followed: a person must say which record goes on");
    Some(Issue { severity: Severity::Warning, code: code.into(), location: "MRG-1".into(), text })
}

fn read(message: &Message, feed: &Feed, now: Time) -> (Vec<Event>, Vec<Issue>) {
    let (events, mut issues) = to_events(message, feed, now);
    let missing = |issue: &Issue| issue.code == "authority-missing";
    if !feed.authority.is_empty() || !issues.iter().any(missing) {
        return (events, issues);
    }
    // Read on as if the feed named an authority, and keep the finding as a warning.
    issues.retain(missing);
    issues.iter_mut().for_each(|issue| issue.severity = Severity::Warning);
    let (events, more) = to_events(message, &Feed { authority: "unnamed".into(), ..feed.clone() }, now);
    issues.extend(more);
    (events, issues)
}

fn unreadable(error: &ParseError) -> Report {
    without_message(&[error.to_issue()])
}

fn without_message(issues: &[Issue]) -> Report {
    Report {
        file: String::new(),
        offset: 0,
        type_: String::new(),
        control_id: String::new(),
        version: String::new(),
        segments: 0,
        charset: String::new(),
        status: status_of(issues),
        issues: issues.iter().cloned().map(finding).collect(),
    }
}

fn finding(issue: Issue) -> Finding {
    Finding { code: issue.code.into_owned(), location: issue.location, text: issue.text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(bytes: &'static [u8]) -> Vec<Report> {
        let (feed, limits) = (Feed::default(), Limits::default());
        check(Bytes::from_static(bytes), "f.hl7", &feed, &limits, Time(0)).collect()
    }

    #[test]
    fn a_wrong_envelope_is_told_and_one_bad_message_stands_alone() {
        let reports = reports(
            b"BHS|^~\\&\rMSH|^~\\&|||||1970||ADT^A08|1|P|2.5\rPID|||1^^^H\rMSH|a \rMSH|^~\\&|||||1970||ADT^A08|3|P|2.5\r\
              PID|||1^^^H\rBTS|2\rBHS|^~\\&\r",
        );
        let short: Vec<_> = reports.iter().map(|r| (r.type_.as_str(), r.status)).collect();
        assert_eq!(short, [("ADT^A08", Status::Ok), ("", Status::Rejected), ("ADT^A08", Status::Warn)]);
        let told: Vec<_> = reports[2].issues.iter().map(|i| (i.code.as_str(), i.location.as_str())).collect();
        assert_eq!(told, [("batch-count-mismatch", "BTS-1"), ("batch-truncated", "BTS")]);
    }

    #[test]
    fn a_batch_of_no_messages_is_told_and_in_order() {
        let told = |bytes: &'static [u8]| {
            let told: Vec<_> = reports(bytes)
                .into_iter()
                .map(|r| (r.status, r.issues.into_iter().map(|i| i.code).collect::<Vec<_>>()))
                .collect();
            told
        };
        assert_eq!(told(b"BHS|^~\\&\rBTS|0\r"), [(Status::Ok, vec!["batch-empty".to_owned()])]);
        let wrong = vec!["batch-count-mismatch".to_owned()];
        assert_eq!(told(b"BHS|^~\\&\rBTS|2\r"), [(Status::Rejected, wrong)]);
    }

    #[test]
    fn a_circle_of_merges_over_messages_is_told() {
        let reports = reports(
            b"MSH|^~\\&|||||1970||ADT^A40|1|P|2.5\rPID|||1^^^H\rMRG|2^^^H\r\
              MSH|^~\\&|||||1970||ADT^A40|2|P|2.5\rPID|||3^^^H\rMRG|1^^^H\r\
              MSH|^~\\&|||||1970||ADT^A40|3|P|2.5\rPID|||2^^^H\rMRG|3^^^H\r\
              MSH|^~\\&|||||1970||ADT^A40|4|P|2.5\rPID|||9^^^H\rMRG|2^^^H\r",
        );
        let told = reports.iter().map(|r| r.issues.first().map_or("", |issue| issue.code.as_str()));
        assert_eq!(told.collect::<Vec<_>>(), ["", "", "merge-cycle", "merge-contradicts"]);
    }

    #[test]
    fn every_message_of_a_file_is_reported() {
        let reports = reports(
            b"junk\nMSH|^~\\&|||||1970||ADT^A08|1|P|2.5\nPID|||1^^^H||A\nMSH|^~\\&|||||1970||ADT^A08|2|P|2.5\nPID|||1||A\n\
              MSH|^~\\&|||||1970||ADT^A08|3|P|2.5\nPID|\nMSH|^ \\&|\n",
        );
        let short: Vec<_> = reports
            .iter()
            .map(|r| {
                (r.offset, r.control_id.as_str(), r.status, r.issues.first().map_or("", |i| i.code.as_str()))
            })
            .collect();
        assert_eq!(
            short,
            [
                (0, "", Status::Rejected, "msh-missing"),
                (5, "1", Status::Ok, ""),
                (55, "2", Status::Warn, "authority-missing"),
                (101, "3", Status::Rejected, "patient-id-missing"),
                (141, "", Status::Rejected, "delimiters-invalid"),
            ]
        );
        let json = serde_json::to_value(&reports[1]).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"file": "f.hl7", "offset": 5, "type": "ADT^A08", "control_id": "1", "version": "2.5",
                "segments": 2, "charset": "UTF-8", "status": "ok", "issues": []})
        );
    }
}
