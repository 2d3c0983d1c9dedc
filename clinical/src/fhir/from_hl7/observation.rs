//! OBX to Observation.

use std::borrow::Cow;

use super::Writer;
use super::codeable::Codeable;
use super::datatypes::{clean, code_system, decimal, part, quantity, single_blanks};
use super::fill::adds;
use super::quantity::Quantity;
use super::result::{Plain, Value};
use crate::fhir::json::{Json, Object, object, trim};
use crate::fhir::schema;
use crate::hl7::{Part, Segment};
use crate::text::trimmed;

impl<'m> Writer<'m> {
    pub(super) fn observation(&mut self, obx: Segment<'m>) {
        if self.document_text(obx) {
            return;
        }
        let (shared, flags) = (self.shared(obx), self.flags(obx));
        let code = obx.field(3).map(|field| field.all_below());
        let code_part =
            |n: usize| code.and_then(|parts| parts[n - 1]).map(|part| part.text()).unwrap_or_default();
        let said = [&*code_part(1), &*code_part(4), &*obx.text(4, 1)];
        let id = match &*self.order.number {
            // Without an order number nothing but this message names the result.
            "" => {
                let place = format!("{}|{}", self.message.control_id(), obx.position());
                self.scope.and(&["Observation", &place]).uuid(&said)
            }
            _ => shared.ids.uuid(&said),
        };
        let value = self.value(obx);
        let is_absent = matches!(value, Value::Absent);
        let plain = Plain {
            shared,
            flags,
            code: Codeable::required(code.filter(|_| obx.valued(3).is_some()), self.feed),
            value,
            method: obx.valued(17).map(|method| Codeable::read(method, self.feed)).unwrap_or_default(),
            range: clean(obx.text(7, 1)),
        };
        let at = self.put_result(id, plain);
        self.noted = Some(at);
        if adds(obx, self.result_rows) {
            self.extend(at, obx, "OBX");
        }
        // Where there is no value, it may be a document.
        if is_absent {
            self.attached(obx, at);
        }
        self.add_result(at);
    }

    /// OBX-5 after the type in OBX-2; absent where there is no value that an Observation can hold.
    fn value(&self, obx: Segment<'m>) -> Value<'m> {
        let Some(field) = obx.field(5).filter(Part::has_value) else { return Value::Absent };
        let unit = obx.valued(6);
        let found = match trimmed(&obx.text(2, 1)) {
            "NM" => Quantity::read(field.text(), unit, Cow::Borrowed("")).map(Value::Quantity),
            "SN" => structured(field, unit),
            "NR" => range(field, unit),
            "CE" | "CWE" | "CNE" | "CF" => {
                let concept = Codeable::read(field, self.feed);
                return if concept.is_empty() { Value::Absent } else { Value::Concept(concept) };
            }
            "DT" | "DTM" | "TS" => self.clock.date_time(&part(field, 1)).map(Value::DateTime),
            // Documents stay in the message.
            "ED" | "RP" => return Value::Absent,
            _ => None,
        };
        found.unwrap_or_else(|| match lines(field) {
            words if words.is_empty() => Value::Absent,
            words => Value::Text(words),
        })
    }
}

/// Repetitions are lines.
fn lines(field: Part<'_>) -> Cow<'_, str> {
    let mut lines = field.repetitions();
    match (lines.next(), lines.next()) {
        (Some(line), None) => clean(line.text()),
        _ => {
            let lines: Vec<_> = field.repetitions().map(|line| line.text()).collect();
            clean(Cow::Owned(lines.join("\n")))
        }
    }
}

/// SN: comparator and number, a range, or a ratio (v2.9 ch. 2A §2.A.72).
fn structured<'m>(sn: Part<'m>, unit: Option<Part<'m>>) -> Option<Value<'m>> {
    let [comparator, first, separator, second] = [1, 2, 3, 4].map(|n| trim(part(sn, n)));
    let first = decimal(first)?;
    let comparator = if comparator == "=" { Cow::Borrowed("") } else { comparator };
    if !matches!(&*comparator, "" | "<" | "<=" | ">" | ">=") {
        return None;
    }
    let plain = |digits: Cow<'m, str>| quantity(digits, unit, "");
    match (&*separator, decimal(second.clone())) {
        ("", None) if second.is_empty() => Quantity::read(first, unit, comparator).map(Value::Quantity),
        ("-", Some(high)) if comparator.is_empty() && first.parse::<f64>().ok()? <= high.parse().ok()? => {
            Some(Value::Tree("valueRange", object([("low", plain(first)), ("high", plain(high))])))
        }
        (":" | "/", Some(below)) if comparator.is_empty() => Some(Value::Tree(
            "valueRatio",
            object([("numerator", plain(first)), ("denominator", plain(below))]),
        )),
        _ => None,
    }
}

/// NR: a low and a high value, one of which may be missing (v2.9 ch. 2A §2.A.48).
fn range<'m>(nr: Part<'m>, unit: Option<Part<'m>>) -> Option<Value<'m>> {
    let [low, high] = [1, 2].map(|n| trim(part(nr, n)));
    let bound = |written: Cow<'m, str>| match written.is_empty() {
        true => Some(Json::Null),
        false => decimal(written).map(|digits| quantity(digits, unit, "")),
    };
    let (low, high) = (bound(low)?, bound(high)?);
    let ordered = match (&low, &high) {
        (Json::Object(low), Json::Object(high)) => number(low)? <= number(high)?,
        (low, high) => *low != *high,
    };
    ordered.then(|| Value::Tree("valueRange", object([("low", low), ("high", high)])))
}

fn number(quantity: &Object<'_>) -> Option<f64> {
    match quantity.get("value")? {
        Json::Number(digits) => digits.parse().ok(),
        _ => None,
    }
}

pub(super) const INTERPRETATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation";

/// OBX-8: v3-ObservationInterpretation has most of table 0078. A code of another system stays that system's.
pub(super) fn interpretation(flag: Part<'_>) -> Codeable<'_> {
    let [code, words, system] = [1, 2, 3].map(|n| trim(part(flag, n)));
    let is_hl7s = system.is_empty() || system.starts_with("HL7") || system.ends_with("0078");
    if (is_hl7s || system == INTERPRETATION) && schema::has_code("v3-ObservationInterpretation", &code) {
        return Codeable::of(INTERPRETATION, code, Cow::Borrowed(""), clean(words));
    }
    if is_hl7s || code.is_empty() {
        return Codeable::words(clean(if words.is_empty() { code } else { words }));
    }
    Codeable::of(clean(code_system(system)), clean(single_blanks(code)), clean(words.clone()), clean(words))
}
