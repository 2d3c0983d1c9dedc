//! OBX to Observation.

use std::borrow::Cow;

use super::Writer;
use super::datatypes::{cwe, decimal, part, quantity, required_cwe, text};
use super::patient::repetitions;
use super::tables;
use crate::fhir::common::{Uuid, coding, concept};
use crate::fhir::json::{Json, Object, array, members_of, object, trim};
use crate::fhir::schema;
use crate::hl7::{Part, Segment};
use crate::text::trimmed;

impl<'m> Writer<'m> {
    pub(super) fn observation(&mut self, obx: Segment<'m>) {
        if self.document_text(obx) {
            return;
        }
        // Without an order number nothing but this message names the result.
        let scope = match &*self.order.number {
            "" => Cow::Owned(format!("{}|{}", self.message.control_id(), obx.position())),
            number => Cow::Borrowed(number),
        };
        let base = self.id(&["Observation", &scope, &obx.text(3, 1), &obx.text(3, 4), &obx.text(4, 1)]);
        // A sender that repeats code and sub-id in one group means two results.
        let copies = self.copies.entry(base).or_insert(0);
        *copies += 1;
        let id = if *copies == 1 { base } else { Uuid::of(&[base.as_str(), &copies.to_string()]) };
        let obr = self.order.obr;
        let effective = [obx.valued(14), obr.and_then(|o| o.valued(7))].into_iter().flatten();
        let effective = effective.filter_map(|p| self.clock.date_time(&part(p, 1))).next();
        let (key, value) = self.value(obx).unwrap_or(("valueString", Json::Null));
        let absent = match value {
            Json::Null => {
                let unknown =
                    coding("http://terminology.hl7.org/CodeSystem/data-absent-reason", "unknown", "Unknown");
                concept(unknown, "")
            }
            _ => Json::Null,
        };
        let range = object([("text", text(obx.text(7, 1)))]);
        let body = members_of([
            ("basedOn", array(self.order.request.map(Json::Entry))),
            ("status", text(tables::observation_status(&obx.text(11, 1)))),
            ("code", required_cwe(obx.valued(3), self.feed)),
            ("subject", self.subject()),
            ("encounter", self.visit()),
            ("effectiveDateTime", text(effective.unwrap_or_default())),
            (key, value),
            ("dataAbsentReason", absent),
            ("interpretation", array(repetitions(obx, 8).map(interpretation))),
            ("method", obx.valued(17).map_or(Json::Null, |m| cwe(m, self.feed))),
            ("referenceRange", array([range])),
        ]);
        let at = self.put("Observation", id, body);
        self.noted = Some(at);
        self.extend(at, obx, "OBX");
        self.attached(obx, at);
        self.add_result(at);
    }

    /// OBX-5 after the type in OBX-2; `None` where there is no value that an Observation can hold.
    fn value(&self, obx: Segment<'m>) -> Option<(&'static str, Json<'m>)> {
        let field = obx.field(5).filter(Part::has_value)?;
        let unit = obx.valued(6);
        let lines = || {
            let lines: Vec<_> = field.repetitions().map(|line| line.text()).collect();
            ("valueString", text(lines.join("\n")))
        };
        let found = match trimmed(&obx.text(2, 1)) {
            "NM" => {
                decimal(field.text()).map(|n| ("valueQuantity", quantity(n, unit, ""))).unwrap_or_else(lines)
            }
            "SN" => structured(field, unit).unwrap_or_else(lines),
            "NR" => range(field, unit).unwrap_or_else(lines),
            "CE" | "CWE" | "CNE" | "CF" => ("valueCodeableConcept", cwe(field, self.feed)),
            "DT" | "DTM" | "TS" => match self.clock.date_time(&part(field, 1)) {
                Some(at) => ("valueDateTime", text(at)),
                None => lines(),
            },
            // Documents stay in the message.
            "ED" | "RP" => return None,
            _ => lines(),
        };
        let said = !matches!(&found.1, Json::Null) && found.1 != text("") && found.1 != object([]);
        said.then_some(found)
    }
}

/// SN: comparator and number, a range, or a ratio (v2.9 ch. 2A §2.A.72).
fn structured<'m>(sn: Part<'m>, unit: Option<Part<'m>>) -> Option<(&'static str, Json<'m>)> {
    let [comparator, first, separator, second] = [1, 2, 3, 4].map(|n| trim(part(sn, n)));
    let first = decimal(first)?;
    let comparator = if comparator == "=" { Cow::Borrowed("") } else { comparator };
    if !matches!(&*comparator, "" | "<" | "<=" | ">" | ">=") {
        return None;
    }
    let plain = |digits: Cow<'m, str>| quantity(digits, unit, "");
    match (&*separator, decimal(second.clone())) {
        ("", None) if second.is_empty() => Some(("valueQuantity", quantity(first, unit, comparator))),
        ("-", Some(high)) if comparator.is_empty() && first.parse::<f64>().ok()? <= high.parse().ok()? => {
            Some(("valueRange", object([("low", plain(first)), ("high", plain(high))])))
        }
        (":" | "/", Some(below)) if comparator.is_empty() => {
            Some(("valueRatio", object([("numerator", plain(first)), ("denominator", plain(below))])))
        }
        _ => None,
    }
}

/// NR: a low and a high value, one of which may be missing (v2.9 ch. 2A §2.A.48).
fn range<'m>(nr: Part<'m>, unit: Option<Part<'m>>) -> Option<(&'static str, Json<'m>)> {
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
    ordered.then(|| ("valueRange", object([("low", low), ("high", high)])))
}

fn number(quantity: &Object<'_>) -> Option<f64> {
    match quantity.get("value")? {
        Json::Number(digits) => digits.parse().ok(),
        _ => None,
    }
}

/// OBX-8: v3-ObservationInterpretation has most of table 0078.
fn interpretation(flag: Part<'_>) -> Json<'_> {
    let code = trim(part(flag, 1));
    let words = part(flag, 2);
    if schema::has_code("v3-ObservationInterpretation", &code) {
        let system = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation";
        return concept(coding(system, code, ""), words);
    }
    object([("text", text(if words.trim().is_empty() { code } else { words }))])
}
