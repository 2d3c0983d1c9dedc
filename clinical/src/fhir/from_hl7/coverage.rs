//! Which fields of a message reach FHIR: measured in what was written, not read off a table.

use std::collections::HashSet;

use super::Writer;
use super::finder::{Body, Finder};
use super::kept::{Spot, each_segment};
use crate::fhir::json::{self, Json};
use crate::hl7::Message;
use crate::{Feed, Time};

/// What became of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Each of its values was found again in an element that the field's maps write.
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
    let body = |place: usize| match resources.get(place) {
        Some(Json::Object(body)) => Some(Body::Tree(body)),
        _ => None,
    };
    let finder = Finder::new(&writer, &body, Some(&bundle));
    let mut fates = Vec::new();
    each_segment(&writer, |segment, touched| {
        let spot = &Spot::new(&writer, segment, touched);
        spot.fields().for_each(|(number, field)| {
            let fate = match () {
                () if finder.is_found(spot, number, field) => Fate::Mapped,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7::Limits;

    const HEAD: &str = "MSH|^~\\&|APP|HOSP|M|S|20260702030405+0200||ADT^A08|1|P|2.5\r";

    fn message(rest: &str) -> Message {
        let text = format!("{HEAD}{}", rest.replace('\n', "\r"));
        Message::parse(text.into_bytes().into(), &Limits::default()).unwrap()
    }

    /// The fields of this fate that are not the header's.
    fn of_fate(wanted: Fate, rest: &str) -> Vec<String> {
        let fates = coverage(&message(rest), &Feed::default(), Time(0));
        let fates = fates.into_iter().filter(|(field, fate)| *fate == wanted && !field.starts_with("MSH"));
        fates.map(|(field, _)| field).collect()
    }

    /// No row maps these fields; each says what another field has put into the same resource.
    #[test]
    fn an_equal_word_elsewhere_is_no_mapping() {
        let pid = "PID|1||1^^^HOSP^MR||Muster^Anna||19400101|F||1|Weg 1^^Bern^^3000^US|||||||||||||||||||Y|Y|US|20260701\n";
        assert_eq!(of_fate(Fate::Kept, pid), ["PID-10", "PID-31", "PID-32", "PID-33"]);
        let pv1 =
            "PID|1||1^^^HOSP^MR\nPV1|1|I|W^R^B|||||||||||||||Inpatient|V1||||||||||||||||||||||active\n";
        assert_eq!(of_fate(Fate::Kept, pv1), ["PV1-18", "PV1-41"]);
        let obx = "PID|1||1^^^HOSP^MR\nOBR|1|P1|F1|X^X^L\n\
                   OBX|1|NM|HR^Pulse^L|72|72|/min|||||F|||20260702|72||||20260702\n";
        assert_eq!(of_fate(Fate::Kept, obx), ["OBX-4", "OBX-15", "OBX-19"]);
        let noted = format!("{obx}NTE|1||a note\n");
        assert_eq!(of_fate(Fate::Kept, &noted), ["OBX-4", "OBX-15", "OBX-19"]);
        let nothing = "PID|1||1^^^HOSP^MR\nGT1|| |^^|&^&\n";
        assert!(of_fate(Fate::Kept, nothing).is_empty(), "delimiters and blanks say nothing");
        for rest in [pid, pv1, obx, &noted] {
            assert!(of_fate(Fate::Dropped, rest).is_empty());
        }
    }

    /// Found by fuzzing: U+FFFD or a blank stood in its place, and nothing kept what was sent.
    #[test]
    fn a_character_that_fhir_cannot_hold_is_kept_as_it_was_sent() {
        let header = HEAD.replace("|1|P|", "|A\0 7|P|");
        let text = format!(
            "{header}PID|1||1^^^HOSP^MR||||||||||||EN^Eng\0lish\rOBR|1|P1|F1|X^X^L\r\
             OBX|1|NM|HR^Pulse^L||7|/min||H^Hi\0gh^HL70078|||F\r"
        );
        let message = Message::parse(text.into_bytes().into(), &Limits::default()).unwrap();
        let fates = coverage(&message, &Feed::default(), Time(0));
        let fate = |name: &str| fates.iter().find(|(field, _)| field == name).map(|(_, fate)| *fate);
        assert_eq!(
            [fate("MSH-10"), fate("PID-15"), fate("OBX-8"), fate("OBX-3")].map(Option::unwrap),
            [Fate::Kept, Fate::Kept, Fate::Kept, Fate::Mapped]
        );
        let bundle = Writer::new(&message, &Feed::default(), Time(0)).write().bundle();
        let bundle = String::from_utf8(bundle).unwrap();
        for kept in [r#""valueString":"A\\X00\\ 7""#, r#""valueString":"H^Hi\\X00\\gh^HL70078""#] {
            assert!(bundle.contains(kept), "{kept} in {bundle}");
        }
        assert!(!bundle.contains("ufffd") && !bundle.contains('\u{fffd}'));
    }

    /// The hour of a time that only has its day in FHIR is not mapped.
    #[test]
    fn a_day_does_not_say_the_hour() {
        let nk1 = "PID|1||1^^^HOSP^MR\nNK1|1|Muster^Max|||||||||||||M|194001011530\n";
        assert_eq!(of_fate(Fate::Kept, nk1), ["NK1-16"]);
        assert!(of_fate(Fate::Kept, &nk1.replace("194001011530", "19400101")).is_empty());
    }
}
