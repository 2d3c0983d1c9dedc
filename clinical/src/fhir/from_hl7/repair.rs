//! What R4 forbids is taken out, and so kept as it was sent.

use crate::fhir::json::{self, Json, Object};
use crate::fhir::schema;

/// Takes out what R4 forbids: empty members, parts that lack what is demanded of them, extensions without a value,
/// periods that end before they begin, ranges that end below their beginning, a dosage without a dose.
pub(super) fn repair(type_: &str, object: &mut Object) {
    for (key, value) in &mut object.members {
        if let Some(part) = part_type(type_, key) {
            complete(part, value);
        }
    }
    clean(object);
}

/// The type of a part of a resource (`Coverage.class`) that this element is.
fn part_type(type_: &str, key: &str) -> Option<&'static str> {
    let element = schema::elements(type_)?.iter().find(|element| element.name == key)?;
    element.types.first().copied().filter(|t| t.contains('.') || *t == "Annotation")
}

/// A part that lacks what R4 demands of it is none.
fn complete(type_: &'static str, value: &mut Json) {
    match value {
        Json::Array(items) => items.iter_mut().for_each(|item| complete(type_, item)),
        Json::Object(part) => {
            for (key, value) in &mut part.members {
                if let Some(inner) = part_type(type_, key) {
                    complete(inner, value);
                }
            }
            clean(part);
            let lacks = |element: &schema::Element| {
                element.required
                    && !part.members.iter().any(|(key, _)| {
                        key == element.name || (element.choice && key.starts_with(element.name))
                    })
            };
            if schema::elements(type_).unwrap_or_default().iter().any(lacks) {
                part.members.clear();
            }
        }
        _ => {}
    }
}

fn clean(object: &mut Object) {
    for (key, value) in &mut object.members {
        mend(value);
        if &**key == "dosage" && value.get("dose").is_none() && matches!(value, Json::Object(_)) {
            *value = Json::Null;
        }
    }
    object.members.retain(|(_, value)| !json::is_empty(value));
}

fn mend(value: &mut Json) {
    match value {
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
            if let (Some(start), Some(end)) = (at(object, "start"), at(object, "end"))
                && end < start
            {
                object.members.retain(|(key, _)| &**key != "end");
            }
            if let (Some(low), Some(high)) = (number(object, "low"), number(object, "high"))
                && high < low
            {
                object.members.retain(|(key, _)| &**key != "high");
            }
        }
        _ => {}
    }
}

fn at(object: &Object, key: &str) -> Option<crate::Time> {
    let written = object.get(key)?.as_str()?;
    crate::fhir::datetime::parse(written, &jiff::tz::TimeZone::UTC).map(|(at, _)| at)
}

fn number(object: &Object, key: &str) -> Option<f64> {
    match object.get(key)?.get("value")? {
        Json::Number(digits) => digits.parse().ok(),
        _ => None,
    }
}
