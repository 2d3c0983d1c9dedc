//! Messages to canonical events.

mod adt;
mod coded;
mod context;
mod header;
mod observation;
mod order;
mod patient;
#[cfg(test)]
mod tests;
mod value;

use context::Context;

use super::Message;
use crate::{Event, Feed, Issue, Severity, Time};

/// An event's time may lie so far in the future of its receipt before it is flagged.
const FUTURE_MS_MAX: i64 = 24 * Time::HOUR_MS;

/// Types whose messages are kept and mapped to FHIR, and tell events of the person alone.
const PERSON_ONLY: [&str; 19] = [
    "BAR", "DFT", "MDM", "MFN", "ORG", "ORR", "PGL", "PIN", "PPP", "PPR", "RAS", "RDS", "REF", "RGV", "RRI",
    "SIU", "SRM", "VXU", "VXX",
];

/// Order messages: an event for each ORC or OBR.
const ORDERS: [&str; 9] = ["ORM", "OML", "OMG", "OMI", "OMD", "OMS", "OMN", "OMP", "RDE"];

/// MSH-7, where it holds a time.
pub fn message_time(message: &Message, feed: &Feed) -> Option<Time> {
    const NONE: Time = Time(i64::MIN);
    let sent_at = Context::new(message, feed, NONE).sent_at.0;
    (sent_at != NONE).then_some(sent_at)
}

/// What a message says, and what is wrong with it. Takes ADT, results (ORU, OUL), orders (ORM, OML, OMG, OMI,
/// OMP, RDE and their like), and of the other clinical types what they say of the person. An issue of severity
/// Error means that the message as a whole is to be rejected.
pub fn to_events(message: &Message, feed: &Feed, received_at: Time) -> (Vec<Event>, Vec<Issue>) {
    let message = message.for_feed(feed);
    let mut context = Context::new(&message, feed, received_at);
    context.issues.extend(message.issues());
    header::judge(&mut context);
    let header = message.header();
    let (code, trigger) = match message.type_().split_once('^') {
        Some((code, trigger)) => (code.to_owned(), trigger.to_owned()),
        None => (message.type_(), String::new()),
    };
    let events = match (code.as_str(), trigger.as_str()) {
        ("ADT", trigger) if !trigger.is_empty() => adt::read(&mut context, trigger),
        // Before v2.3.1 the trigger could be left out where there was but one.
        ("ORU" | "OUL", _) => observation::read(&mut context),
        (code, _) if ORDERS.contains(&code) => order::read(&mut context),
        (code, _) if PERSON_ONLY.contains(&code) => adt::person_only(&mut context),
        // What is missing is an issue of the structure already.
        _ if header.valued(9).is_none() => Vec::new(),
        _ => {
            let text = "no clinical message: events are read from ADT, results, orders, and of MDM, SIU, VXU, DFT, \
                        PPR and their like the person; route other types elsewhere";
            context.tell(Severity::Error, "type-unsupported", "MSH-9", text);
            Vec::new()
        }
    };
    for event in &events {
        if event.at.0 > received_at.0.saturating_add(FUTURE_MS_MAX) {
            let text = "an event's time lies more than 24 h after receipt; check the sender's clock and zone";
            context.tell(Severity::Warning, "event-time-in-future", "message", text);
            break;
        }
    }
    (events, context.issues)
}
