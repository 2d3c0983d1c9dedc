//! A result before it is JSON. Most are complete with their OBX: those are written as they stand, without a tree.

use std::borrow::Cow;

use super::codeable::Codeable;
use super::kept::Said;
use super::quantity::Quantity;
use crate::fhir::json::{Json, Members, Object, array, members_of, object, text};

/// What an OBX says by itself. Notes, and what its map adds, are put into its tree.
pub(super) struct Plain<'m> {
    pub(super) based_on: Option<usize>,
    pub(super) status: &'static str,
    pub(super) code: Codeable<'m>,
    pub(super) subject: Json<'m>,
    pub(super) encounter: Json<'m>,
    pub(super) effective: String,
    pub(super) value: Value<'m>,
    pub(super) interpretation: Vec<Codeable<'m>>,
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
        members_of([
            ("basedOn", array(self.based_on.map(Json::Entry))),
            ("status", text(self.status)),
            ("code", self.code.into_json()),
            ("subject", self.subject),
            ("encounter", self.encounter),
            ("effectiveDateTime", text(self.effective)),
            (key, value),
            ("dataAbsentReason", absent),
            ("interpretation", array(self.interpretation.into_iter().map(Codeable::into_json))),
            ("method", self.method.into_json()),
            ("referenceRange", array([object([("text", text(self.range))])])),
        ])
    }

    /// Writes the members of [`into_object`](Plain::into_object), without the braces.
    pub(super) fn write_members<'u>(&self, out: &mut Vec<u8>, url: &impl Fn(usize) -> &'u str) {
        let mut members = Members::of(out);
        members.array("basedOn", self.based_on, |place, out| Json::Entry(place).write(out, url));
        members.text("status", self.status);
        members.with("code", |out| self.code.write(out));
        members.tree("subject", &self.subject, url);
        members.tree("encounter", &self.encounter, url);
        members.text("effectiveDateTime", &self.effective);
        match &self.value {
            Value::Quantity(quantity) => members.with("valueQuantity", |out| quantity.write(out)),
            Value::Concept(concept) => members.with("valueCodeableConcept", |out| concept.write(out)),
            Value::Text(words) => members.text("valueString", words),
            Value::DateTime(at) => members.text("valueDateTime", at),
            Value::Tree(key, tree) => members.tree(key, tree, url),
            Value::Absent => members.with("dataAbsentReason", |out| unknown().write(out)),
        }
        members.array("interpretation", &self.interpretation, |concept, out| concept.write(out));
        if !self.method.is_empty() {
            members.with("method", |out| self.method.write(out));
        }
        let range = Some(&*self.range).filter(|range| !range.is_empty());
        members.array("referenceRange", range, |range, out| {
            Members::object(out, |members| members.text("text", range));
        });
    }

    /// What [`Said::of`] hears in [`into_object`](Plain::into_object).
    pub(super) fn said(&self) -> Said<'_> {
        let mut said = Said::with_room();
        said.hear_words(self.status);
        self.code.say(&mut said);
        said.hear(&self.subject);
        said.hear(&self.encounter);
        said.hear_words(&self.effective);
        match &self.value {
            Value::Quantity(quantity) => {
                said.add("valueQuantity");
                quantity.say(&mut said);
            }
            Value::Concept(concept) => {
                said.add("valueCodeableConcept");
                concept.say(&mut said);
            }
            Value::Text(words) => {
                said.add("valueString");
                said.hear_words(words);
            }
            Value::DateTime(at) => {
                said.add("valueDateTime");
                said.hear_words(at);
            }
            Value::Tree(key, tree) => {
                said.add(*key);
                said.hear(tree);
            }
            Value::Absent => UNKNOWN.iter().for_each(|words| said.hear_words(words)),
        }
        self.interpretation.iter().for_each(|concept| concept.say(&mut said));
        self.method.say(&mut said);
        said.hear_words(&self.range);
        said
    }
}
