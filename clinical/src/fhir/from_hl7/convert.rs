//! A value of a v2 data type as the FHIR type that its row asks for. Null where it cannot be one.

use super::datatypes::{self, cwe, cx, decimal, ei, part, quantity, text, xad, xpn, xtn};
use super::table::Row;
use super::{Writer, tables, time};
use crate::fhir::common::{coding, logical};
use crate::fhir::json::{self, Json, array, number, object, trim};
use crate::fhir::schema;
use crate::hl7::{Part, Segment};

/// What a row wants of its value.
pub(super) struct Asked<'r, 'm> {
    pub(super) type_: &'static str,
    pub(super) hint: &'static str,
    pub(super) concepts: Option<&'static str>,
    pub(super) row: &'r Row,
    pub(super) segment: Segment<'m>,
}

impl<'m> Writer<'m> {
    pub(super) fn convert(&mut self, asked: &Asked<'_, 'm>, of: Part<'m>) -> Json<'m> {
        match asked.row.target {
            "CodeableConcept" => self.codeable(asked, of),
            "Coding" => {
                let found = asked.concepts.and_then(|map| tables::concept(map, &part(of, 1)));
                found.map_or(Json::Null, |c| coding(&*c.system, c.code, ""))
            }
            "code" => {
                let found = asked.concepts.and_then(|map| tables::code(map, &part(of, 1)));
                found.map_or(Json::Null, json::text)
            }
            "string" | "markdown" => string(asked.type_, of),
            "dateTime" if asked.hint == "T" => self.clock.instant(&part(of, 1)).map_or(Json::Null, text),
            "dateTime" => self.clock.date_time(&part(of, 1)).map_or(Json::Null, text),
            "instant" => self.clock.instant(&part(of, 1)).map_or(Json::Null, text),
            "date" => time::date(&part(of, 1)).map_or(Json::Null, text),
            "boolean" => match part(of, 1).trim() {
                "Y" => Json::Bool(true),
                "N" => Json::Bool(false),
                _ => Json::Null,
            },
            "positiveInt" | "unsignedInt" | "integer" => integer(&part(of, 1), asked.row.target),
            "Identifier" => self.identifier(asked, of),
            "HumanName" => xpn(of, &self.clock),
            "Address" => xad(of),
            "ContactPoint" => xtn(of),
            "Period" => datatypes::period(&self.clock, &part(of, 1), &part(of, 2)),
            "Quantity" | "Duration" => measured(asked, of),
            "Reference" => self.referred(asked, of),
            _ => Json::Null,
        }
    }

    /// The concept map's coding first, then what was sent.
    fn codeable(&self, asked: &Asked<'_, 'm>, of: Part<'m>) -> Json<'m> {
        match asked.type_ {
            "ST" => return object([("text", text(of.text()))]),
            "LANGUAGE" => return super::patient::language(of),
            _ => {}
        }
        let sent = cwe(of, self.feed);
        let Some(found) = asked.concepts.and_then(|map| tables::concept(map, &part(of, 1))) else {
            return sent;
        };
        let mapped = coding(&*found.system, found.code, "");
        let own = sent.items("coding").iter().filter(|c| c.str("system").is_some());
        let own = own.filter(|c| c.str("system") != Some(&found.system) || c.str("code") != Some(found.code));
        let mut words = [2, 5, 9].into_iter().map(|n| trim(part(of, n)));
        let words = words.find(|w| !w.is_empty()).unwrap_or_default();
        object([("coding", array(std::iter::once(mapped).chain(own.cloned()))), ("text", text(words))])
    }

    fn identifier(&self, asked: &Asked<'_, 'm>, of: Part<'m>) -> Json<'m> {
        match asked.type_ {
            "CX" => {
                let default = self.patient.as_ref().map(|p| p.authority.clone()).unwrap_or_default();
                datatypes::typed(cx(of, default, &self.clock), asked.hint)
            }
            "EI" => ei(Some(of), asked.hint),
            "ST" | "CWE" | "DLN" => {
                let value = object([("value", text(part(of, 1)))]);
                if json::is_empty(&value) { Json::Null } else { datatypes::typed(value, asked.hint) }
            }
            _ => Json::Null,
        }
    }

    fn referred(&mut self, asked: &Asked<'_, 'm>, of: Part<'m>) -> Json<'m> {
        let place = match asked.type_ {
            "XCN" => self.practitioner(of),
            "XON" => {
                let address = asked.hint.parse().ok().and_then(|field| asked.segment.valued(field));
                self.organization(of, address)
            }
            "MANUFACTURER" => self.manufacturer(of),
            "PL" => self.location(of),
            "DLD" => of.below(1).and_then(|place| self.place(place)),
            "DISPLAY" => {
                let words = if part(of, 2).is_empty() { part(of, 1) } else { part(of, 2) };
                return object([("display", text(words))]);
            }
            "EI" => {
                let identifier = ei(Some(of), asked.hint);
                let elsewhere = match asked.row.path.last().map(|step| step.name) {
                    Some("device") => "Device",
                    _ => "ServiceRequest",
                };
                return if json::is_empty(&identifier) { Json::Null } else { logical(elsewhere, identifier) };
            }
            _ => None,
        };
        place.map_or(Json::Null, Json::Entry)
    }
}

fn string<'m>(type_: &str, of: Part<'m>) -> Json<'m> {
    match type_ {
        "LINES" => {
            let lines: Vec<_> = of.repetitions().map(|line| line.text()).collect();
            text(lines.join("\n"))
        }
        "XPN" => {
            let names = [2, 3, 1].map(|n| datatypes::first(of, n).trim().to_owned());
            text(names.iter().filter(|n| !n.is_empty()).cloned().collect::<Vec<_>>().join(" "))
        }
        "XON" => text(part(of, 1)),
        _ => text(of.text()),
    }
}

fn integer(written: &str, target: &str) -> Json<'static> {
    let least = if target == "positiveInt" { 1 } else { 0 };
    let whole = written.trim().split('.').next().unwrap_or_default();
    let plain = !whole.is_empty() && whole.bytes().all(|b| b.is_ascii_digit());
    let exact = written.trim().split('.').nth(1).is_none_or(|rest| rest.bytes().all(|b| b == b'0'));
    match whole.parse::<i32>() {
        Ok(value) if plain && exact && value >= least => number(value),
        _ => Json::Null,
    }
}

/// NM with the unit of another field, or of the hint; CQ with its own.
fn measured<'m>(asked: &Asked<'_, 'm>, of: Part<'m>) -> Json<'m> {
    if asked.type_ == "CQ" {
        return quantity(part(of, 1), of.below(2), "");
    }
    if asked.row.target == "Duration" {
        let Some(value) = decimal(part(of, 1)) else { return Json::Null };
        let system = text("http://unitsofmeasure.org");
        let value = ("value", Json::Number(value));
        return object([value, ("unit", text(asked.hint)), ("system", system), ("code", text(asked.hint))]);
    }
    let unit = asked.hint.parse().ok().and_then(|field| asked.segment.valued(field));
    quantity(part(of, 1), unit, "")
}

/// Whether the type's R4 definition has this element.
pub(super) fn has_element(type_: &str, name: &str) -> bool {
    schema::elements(type_).is_some_and(|elements| elements.iter().any(|e| e.name == name))
}
