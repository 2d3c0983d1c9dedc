//! What MSH says of the message as a whole: whether it is meant for here (HL7 v2.9 ch. 2 §2.9.2.2).

use super::context::Context;
use crate::Severity;

/// HL7 table 0103.
const PROCESSING_IDS: [&str; 3] = ["P", "T", "D"];

/// Tells of a processing id (MSH-11) or a version (MSH-12) that is not taken. An empty one is.
pub(super) fn judge(context: &mut Context<'_>) {
    let header = context.message.header();
    let id = header.text(11, 1);
    let id = id.trim();
    if header.valued(11).is_some() && !id.is_empty() && !is_taken(&context.feed.processing_ids, id) {
        let text = "the feed does not take this processing id, only those that its processing_ids name (P, which is \
                    production, unless it says otherwise); send T and D to a feed for tests or training";
        context.tell(Severity::Error, "processing-id-not-taken", "MSH-11", text);
    }
    let version = header.text(12, 1);
    let version = version.trim();
    if header.valued(12).is_some() && !version.is_empty() && !is_version(version) {
        let text = "no version of HL7 v2; send the one that the message is written in, 2.1 to 2.9";
        context.tell(Severity::Error, "version-not-taken", "MSH-12", text);
    }
}

/// `taken` is empty where files are read, and nobody is alerted: then all that HL7 knows are.
fn is_taken(taken: &[String], id: &str) -> bool {
    match taken {
        [] => PROCESSING_IDS.iter().any(|known| known.eq_ignore_ascii_case(id)),
        taken => taken.iter().any(|known| known.eq_ignore_ascii_case(id)),
    }
}

/// HL7 table 0104 goes from 2.0 to 2.9. What stands behind the second number changes nothing in how it is read.
fn is_version(text: &str) -> bool {
    let mut parts = text.split('.');
    let (major, minor) = (parts.next(), parts.next().unwrap_or_default());
    major == Some("2") && matches!(minor.as_bytes(), [b'0'..=b'9'])
}
