//! Which fields of a message reach FHIR: measured in what was written, not read off a table.

use std::collections::HashSet;

use super::Writer;
use super::kept::{Finder, Said, Spot, each_segment};
use crate::fhir::json::{self, Json};
use crate::hl7::Message;
use crate::{Feed, Time};

/// What became of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Each of its values was found again in a resource that its segment had a part in.
    Mapped,
    /// It stands as it was sent in the Basic resource of the Bundle.
    Kept,
    /// Neither: a fault of ours.
    Dropped,
}

/// Writes the message's Bundle, reads it back, and looks for each field that says something: its name (`PID-5`)
/// and its fate. A line without a segment name is `unnamed`. MSH-1, MSH-2 and numbers that only count segments are left out.
pub fn coverage(message: &Message, feed: &Feed, received_at: Time) -> Vec<(String, Fate)> {
    let message = message.for_feed(feed);
    let mut writer = Writer::new(&message, feed, received_at).write();
    let bytes = writer.bundle();
    let Some(Json::Object(bundle)) = std::str::from_utf8(&bytes).ok().and_then(|t| json::parse(t).ok())
    else {
        return Vec::new();
    };
    let Some(Json::Array(entries)) = bundle.get("entry") else { return Vec::new() };
    let resources: Vec<&Json<'_>> = entries.iter().filter_map(|e| e.get("resource")).collect();
    let kept: HashSet<&str> = resources.iter().filter_map(|r| kept_paths(r)).flatten().collect();
    let bodies = resources.iter().enumerate().filter_map(|(place, resource)| match resource {
        // What is kept is not mapped.
        Json::Object(body) if resource.str("resourceType") != Some("Basic") => Some((place, Said::of(body))),
        _ => None,
    });
    let (said, envelope) = (bodies.collect::<Vec<_>>(), Said::of_envelope(&bundle));
    let finder = Finder { writer: &writer, said: &said, envelope: &envelope };
    let mut fates = Vec::new();
    each_segment(&writer, |segment, touched| {
        let spot = &Spot::new(&writer, segment, touched);
        let heard = finder.said_of(spot);
        spot.fields().for_each(|(number, field)| {
            let fate = match () {
                () if finder.is_found(spot, &heard, number, field) => Fate::Mapped,
                () if kept.contains(spot.path(number).as_str()) => Fate::Kept,
                () => Fate::Dropped,
            };
            let field = if number == 0 { "unnamed".to_owned() } else { format!("{}-{number}", spot.name) };
            fates.push((field, fate));
        });
    });
    fates
}

/// Paths of a Basic resource that come with a value.
fn kept_paths<'j>(resource: &'j Json<'_>) -> Option<impl Iterator<Item = &'j str>> {
    (resource.str("resourceType") == Some("Basic")).then(|| {
        resource.items("extension").iter().filter_map(|field| {
            let parts = field.items("extension");
            let value = |key: &str| parts.iter().find(|p| p.str("url") == Some(key))?.str("valueString");
            value("value").and(value("path"))
        })
    })
}
