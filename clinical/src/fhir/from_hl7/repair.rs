//! What R4 forbids is taken out, and so kept as it was sent.

use super::datatypes;
use crate::fhir::json::{self, Json, Object};
use crate::fhir::schema::{self, Definition, Element};

/// Takes out what R4 forbids: empty members, parts that lack what is demanded of them, extensions without a value,
/// periods that end before they begin, ranges that end below their beginning, a dosage without a dose, control characters.
pub(super) fn repair(type_: &str, object: &mut Object<'_>) {
    complete_parts(schema::definition(type_), object);
    clean(object);
}

fn complete_parts(definition: Option<&'static Definition>, object: &mut Object<'_>) {
    let Some(definition) = definition.filter(|d| !d.parts.is_empty()) else { return };
    for (key, value) in &mut object.members {
        if let Some((_, part)) = definition.parts.iter().find(|(name, _)| name == key) {
            complete(schema::definition(part), value);
        }
    }
}

/// A part that lacks what R4 demands of it is none.
fn complete(definition: Option<&'static Definition>, value: &mut Json<'_>) {
    match value {
        Json::Array(items) => items.iter_mut().for_each(|item| complete(definition, item)),
        Json::Object(part) => {
            complete_parts(definition, part);
            clean(part);
            let lacks = |element: &Element| {
                element.required
                    && !part.members.iter().any(|(key, _)| {
                        key == element.name || (element.choice && key.starts_with(element.name))
                    })
            };
            if definition.is_some_and(|d| d.elements.iter().any(lacks)) {
                part.members.clear();
            }
        }
        _ => {}
    }
}

fn clean(object: &mut Object<'_>) {
    for (key, value) in &mut object.members {
        mend(value);
        if &**key == "dosage" && value.get("dose").is_none() && matches!(value, Json::Object(_)) {
            *value = Json::Null;
        }
    }
    object.members.retain(|(_, value)| !json::is_empty(value));
}

fn mend(value: &mut Json<'_>) {
    match value {
        Json::String(text) => *text = datatypes::clean(std::mem::take(text)),
        Json::Array(items) => {
            items.iter_mut().for_each(mend);
            items.retain(|item| !json::is_empty(item));
        }
        Json::Object(object) => {
            clean(object);
            let only_url = object.members.len() == 1 && object.get("url").is_some();
            if only_url {
                object.members.clear();
            }
            if object.get("end").is_some()
                && let (Some(start), Some(end)) = (at(object, "start"), at(object, "end"))
                && end < start
            {
                object.members.retain(|(key, _)| &**key != "end");
            }
            if object.get("high").is_some()
                && let (Some(low), Some(high)) = (number(object, "low"), number(object, "high"))
                && high < low
            {
                object.members.retain(|(key, _)| &**key != "high");
            }
        }
        _ => {}
    }
}

fn at(object: &Object<'_>, key: &str) -> Option<crate::Time> {
    let written = object.get(key)?.as_str()?;
    crate::fhir::datetime::parse(written, &jiff::tz::TimeZone::UTC).map(|(at, _)| at)
}

fn number(object: &Object<'_>, key: &str) -> Option<f64> {
    match object.get(key)?.get("value")? {
        Json::Number(digits) => digits.parse().ok(),
        _ => None,
    }
}
