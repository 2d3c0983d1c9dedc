//! A result before it is JSON. Most are complete with their OBX: those are written as they stand, without a tree.

use std::borrow::Cow;
use std::rc::Rc;

use super::claims::Step;
use super::codeable::Codeable;
use super::quantity::Quantity;
use super::said::Said;
use super::shared::{Flags, Shared};
use crate::fhir::json::{Json, Members, Object, array, members_of, object, text};
use crate::hl7::Part;

/// What an OBX says by itself. Notes, and what its map adds, are put into its tree.
pub(super) struct Plain<'m> {
    pub(super) shared: Rc<Shared<'m>>,
    pub(super) flags: Rc<Flags<'m>>,
    pub(super) code: Codeable<'m>,
    pub(super) value: Value<'m>,
    pub(super) method: Codeable<'m>,
    /// Text of the range of reference.
    pub(super) range: Cow<'m, str>,
}

pub(super) enum Value<'m> {
    Quantity(Quantity<'m>),
    Concept(Codeable<'m>),
    Text(Cow<'m, str>),
    DateTime(String),
    /// A range or a ratio.
    Tree(&'static str, Json<'m>),
    Absent,
}

/// What stands where there is no value.
const UNKNOWN: [&str; 3] = ["http://terminology.hl7.org/CodeSystem/data-absent-reason", "unknown", "Unknown"];

fn unknown() -> Codeable<'static> {
    let [system, code, display] = UNKNOWN;
    Codeable::of(system, Cow::Borrowed(code), Cow::Borrowed(display), Cow::Borrowed(""))
}

impl<'m> Plain<'m> {
    pub(super) fn into_object(self) -> Object<'m> {
        let absent = if matches!(self.value, Value::Absent) { unknown().into_json() } else { Json::Null };
        let (key, value) = match self.value {
            Value::Quantity(quantity) => ("valueQuantity", quantity.into_json()),
            Value::Concept(concept) => ("valueCodeableConcept", concept.into_json()),
            Value::Text(words) => ("valueString", text(words)),
            Value::DateTime(at) => ("valueDateTime", text(at)),
            Value::Tree(key, tree) => (key, tree),
            Value::Absent => ("valueString", Json::Null),
        };
        let shared = &self.shared;
        members_of([
            ("basedOn", array(shared.based_on.map(Json::Entry))),
            ("status", text(shared.status)),
            ("code", self.code.into_json()),
            ("subject", shared.subject.clone()),
            ("encounter", shared.encounter.clone()),
            ("effectiveDateTime", text(shared.effective.clone())),
            (key, value),
            ("dataAbsentReason", absent),
            ("interpretation", array(self.flags.concepts.iter().cloned().map(Codeable::into_json))),
            ("method", self.method.into_json()),
            ("referenceRange", array([object([("text", text(self.range))])])),
        ])
    }

    /// Writes the members of [`into_object`](Plain::into_object), each with a comma behind it.
    pub(super) fn write_members<'u>(&self, out: &mut Vec<u8>, url: &impl Fn(usize) -> &'u [u8]) {
        let [before_code, behind_code] = &self.shared.written;
        let mut members = Members::of(out);
        members.written(before_code);
        members.with("code", |out| self.code.write(out));
        members.written(behind_code);
        match &self.value {
            Value::Quantity(quantity) => members.with("valueQuantity", |out| quantity.write(out)),
            Value::Concept(concept) => members.with("valueCodeableConcept", |out| concept.write(out)),
            Value::Text(words) => members.text("valueString", words),
            Value::DateTime(at) => members.text("valueDateTime", at),
            Value::Tree(key, tree) => members.tree(key, tree, url),
            Value::Absent => members.with("dataAbsentReason", |out| unknown().write(out)),
        }
        members.written(&self.flags.written);
        if !self.method.is_empty() {
            members.with("method", |out| self.method.write(out));
        }
        let range = Some(&*self.range).filter(|range| !range.is_empty());
        members.array("referenceRange", range, |range, out| {
            Members::object(out, |members| members.text("text", range));
        });
    }

    /// What [`Said::hear_at`] hears in [`into_object`](Plain::into_object); an OBX alone writes no other elements.
    pub(super) fn say<'s>(&'s self, path: &[Step], said: &mut Said<'s>) {
        let [step] = path else { return };
        let concept = |key: &str, concept: &'s Codeable<'m>, said: &mut Said<'s>| {
            if step.is(key) {
                concept.say(said);
            }
        };
        let words = |key: &str, words: &'s str, said: &mut Said<'s>| {
            if step.is(key) {
                said.hear_words(words);
            }
        };
        words("status", self.shared.status, said);
        concept("code", &self.code, said);
        words("effectiveDateTime", &self.shared.effective, said);
        self.flags.concepts.iter().for_each(|flag| concept("interpretation", flag, said));
        concept("method", &self.method, said);
        words("referenceRange", &self.range, said);
        match &self.value {
            Value::Quantity(quantity) if step.is("valueQuantity") => {
                said.add("valueQuantity");
                quantity.say(said);
            }
            Value::Concept(concept) if step.is("valueCodeableConcept") => {
                said.add("valueCodeableConcept");
                concept.say(said);
            }
            Value::Text(words) if step.is("valueString") => {
                said.add("valueString");
                said.hear_words(words);
            }
            Value::DateTime(at) if step.is("valueDateTime") => {
                said.add("valueDateTime");
                said.hear_words(at);
            }
            Value::Tree(key, tree) if step.is(key) => {
                said.add(*key);
                said.hear(tree);
            }
            _ => {}
        }
    }

    /// Whether it says what stands in this field of its OBX, judged by the one place where that is put. `false`: it may
    /// say so all the same; a search in what it [says](Plain::say) decides.
    pub(super) fn tells(&self, number: usize, field: Part<'_>) -> bool {
        match (number, &self.value) {
            (2, Value::Quantity(_)) => field.trimmed() == "NM",
            (2, Value::Text(_)) => matches!(&*field.trimmed(), "ST" | "TX" | "FT"),
            (3, _) => self.code.tells(field),
            (5 | 6, Value::Quantity(quantity)) => quantity.tells(&field.trimmed()),
            (5, Value::Text(words)) => *words == field.trimmed(),
            (7, _) => self.range == field.trimmed(),
            (8, _) => self.flags.tells,
            (11, _) => self.shared.tells[0],
            (14, _) => self.shared.tells[1],
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::fhir::from_hl7::Writer;
    use crate::fhir::from_hl7::finder::{Body, Finder};
    use crate::fhir::from_hl7::kept::Spot;
    use crate::hl7::{Limits, Message};
    use crate::{CodeTable, Feed, Time};

    fn told(obx: &str) -> Vec<usize> {
        told_of(&Feed::default(), "", obx)
    }

    /// Numbers of the fields that the result of this OBX tells; the search must find each of them.
    fn told_of(feed: &Feed, charset: &str, obx: &str) -> Vec<usize> {
        let head = format!("MSH|^~\\&|LAB|H|||20260101||ORU^R01|1|P|2.5||||||{charset}");
        let text = format!("{head}\rOBR|1||L1|P^Panel^L|||20260101\r{obx}");
        let message = Message::parse(text.into(), &Limits::default()).unwrap();
        let mut writer = Writer::new(&message, feed, Time(0));
        for segment in message.segments() {
            writer.at = segment.position();
            writer.segment(segment);
        }
        let results = writer.entries.iter().enumerate();
        let Some((place, plain)) = results.filter_map(|(at, entry)| Some((at, entry.plain.as_ref()?))).next()
        else {
            return Vec::new();
        };
        let (segment, touched) = (message.first("OBX").unwrap(), [(writer.at, place)]);
        let spot = Spot::new(&writer, segment, &touched);
        let body = |at: usize| (at == place).then_some(Body::Plain(plain));
        let finder = Finder::new(&writer, &body, None);
        let told = spot.fields().filter(|(number, field)| plain.tells(*number, *field));
        told.map(|(number, field)| {
            assert!(finder.is_found(&spot, number, field), "OBX-{number} of {obx}");
            number
        })
        .collect()
    }

    #[test]
    fn the_usual_result_tells_all() {
        let time = "20260101115500+0000";
        let usual = format!("OBX|1|NM|8867-4^Heart rate^LN||72|/min|50-100|N|||F|||{time}");
        assert_eq!(told(&usual), [2, 3, 5, 6, 7, 8, 11, 14]);
        assert_eq!(told("OBX|1|ST|HR^Pulse^LAB||fast||||||F"), [2, 3, 5, 11]);
        assert_eq!(told("OBX|1|NM|8867-4^Rate^LN^HR^Pulse^LAB||072|bpm^beats^X||N|||Y|||soon|NURSE"), [2, 8]);
    }

    #[test]
    fn a_result_whose_code_the_feed_maps_tells_what_was_sent() {
        let obx = "OBX|1|NM|HR^Puls^LAB||72|bpm|50-100|N|||F";
        assert_eq!(told_of(&mapped(), "", obx), [2, 5, 6, 7, 8, 11]);
    }

    /// Two local codes: one of a unit that is the same, one of a unit that is brought to another.
    fn mapped() -> Feed {
        let table = "local_code,local_system,loinc,ucum,local_unit,factor,display\n\
                     HR,LAB,8867-4,/min,bpm,,Heart rate\nLAC,,2524-7,mmol/L,mg/dL,0.111,Lactate\n";
        Feed { codes: CodeTable::parse(table).unwrap(), ..Feed::default() }
    }

    /// One character, or what stands for one.
    const ANY: &str = r"([ -~é€]|\\[FSRTE]\\|\\X41\\|\\XC3A9\\|\\\.br\\)";

    fn like(regex: &str) -> impl Strategy<Value = String> {
        proptest::string::string_regex(regex).unwrap()
    }

    proptest! {
        #[test]
        fn what_a_result_tells_a_search_finds(
            is_mapped in any::<bool>(),
            charset in "|UNICODE UTF-8|8859/1|ASCII",
            type_ in "NM|SN|ST|TX|FT|CE|DT|ED|",
            code in like(&format!("8867-4\\^Heart rate\\^LN|(HR|LAC)\\^Pulse\\^LAB|A\\^B\\^C\\^D\\^E\\^F|{ANY}{{0,9}}")),
            value in like(&format!("[0-9+.-]{{1,4}}|<5|a b~c|20260101|\"\"|{ANY}{{0,6}}")),
            unit in like(&format!("mmol/L|mg/dL|bpm(\\^beats\\^UCUM)?|kg&b|{ANY}{{0,5}}")),
            range in like(&format!("1-2|1-2\\^a&b|{ANY}{{0,5}}")),
            flag in like(&format!("N|H~L|H\\^High\\^HL70078|{ANY}{{0,3}}")),
            status in like(&format!("F|C|f|F\\^x| F |{ANY}{{0,2}}")),
            time in like(&format!("20260101(1155)?(\\+(01|15)00)?|2026\\^1|{ANY}{{0,5}}")),
        ) {
            let feed = if is_mapped { mapped() } else { Feed::default() };
            let obx = format!("OBX|1|{type_}|{code}||{value}|{unit}|{range}|{flag}|||{status}|||{time}");
            told_of(&feed, &charset, &obx);
        }
    }
}
