//! HL7 v2 data types to FHIR's (v2.9 ch. 2A; the guide's datatype maps).

use std::borrow::Cow;

use super::tables;
use super::time::Clock;
use crate::fhir::common::{coding, identifier, oid, system};
use crate::fhir::json::{Json, array, number, object};
use crate::fhir::{json, schema};
use crate::hl7::Part;
use crate::{Feed, units};

pub(super) const LOINC: &str = "http://loinc.org";
const UCUM: &str = "http://unitsofmeasure.org";
const TERMINOLOGY: &str = "http://terminology.hl7.org/CodeSystem";

/// A component's text; HL7's null and nothing are both empty.
pub(super) fn part<'m>(of: Part<'m>, component: usize) -> Cow<'m, str> {
    of.below(component).filter(Part::has_value).map(|p| p.text()).unwrap_or_default()
}

/// The first subcomponent: FN's surname, SAD's street.
pub(super) fn first<'m>(of: Part<'m>, component: usize) -> Cow<'m, str> {
    let first = of.below(component).and_then(|c| c.subcomponent(1));
    first.filter(Part::has_value).map(|p| p.text()).unwrap_or_default()
}

/// FHIR's strings hold no control characters but tab and line ends (R4 §2.24.0.1).
pub(super) fn text(text: impl AsRef<str>) -> Json {
    let text = text.as_ref();
    if text.chars().any(is_forbidden) {
        return json::text(text.replace(is_forbidden, " "));
    }
    json::text(text)
}

pub(super) fn is_forbidden(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\r' | '\n')
}

/// HD: its namespace, else its universal id.
pub(super) fn authority(hd: Part<'_>) -> String {
    let part = |n| hd.subcomponent(n).filter(Part::has_value).map(|p| p.text().trim().to_owned());
    part(1).filter(|s| !s.is_empty()).or_else(|| part(2)).unwrap_or_default()
}

/// Who assigned an identifier, where more is said of it than its name: HD's universal id.
pub(super) fn assigner(namespace: &str, universal: &str, kind: &str) -> Json {
    let (namespace, universal, kind) = (namespace.trim(), universal.trim(), kind.trim());
    if universal.is_empty() {
        return Json::Null;
    }
    let members = match kind {
        "ISO" if oid(universal) => identifier("urn:ietf:rfc:3986", format!("urn:oid:{universal}")),
        _ => object([("type", object([("text", text(kind))])), ("value", text(universal))]),
    };
    object([("identifier", members), ("display", text(namespace))])
}

/// The assigner of the HD in this part.
fn assigner_of(hd: Option<Part<'_>>) -> Json {
    let Some(hd) = hd.filter(Part::has_value) else { return Json::Null };
    let part = |n| hd.subcomponent(n).filter(Part::has_value).map(|p| p.text()).unwrap_or_default();
    assigner(&part(1), &part(2), &part(3))
}

/// CX to Identifier.
pub(super) fn cx(cx: Part<'_>, default_authority: &str, clock: &Clock) -> Json {
    let value = part(cx, 1);
    if value.trim().is_empty() {
        return Json::Null;
    }
    let named = cx.below(4).map(authority).filter(|a| !a.is_empty());
    let authority = named.unwrap_or_else(|| default_authority.to_owned());
    object([
        ("type", identifier_type(&part(cx, 5))),
        ("system", text(system(&authority))),
        ("value", text(value)),
        ("period", period(clock, &part(cx, 7), &part(cx, 8))),
        ("assigner", assigner_of(cx.below(4))),
    ])
}

/// EI to an Identifier of this type of table 0203.
pub(super) fn ei(ei: Option<Part<'_>>, type_: &str) -> Json {
    let Some(ei) = ei.filter(Part::has_value) else { return Json::Null };
    let value = part(ei, 1);
    if value.trim().is_empty() {
        return Json::Null;
    }
    let (namespace, universal) = (part(ei, 2), part(ei, 3));
    let authority = if namespace.trim().is_empty() { &universal } else { &namespace };
    let named = identifier(system(authority.trim()), "");
    let system = named.get("system").cloned().unwrap_or(Json::Null);
    object([
        ("type", identifier_type(type_)),
        ("system", system),
        ("value", text(value)),
        ("assigner", assigner(&namespace, &universal, &part(ei, 4))),
    ])
}

/// An identifier with its value, authority and type of table 0203.
pub(super) fn identifier_of(value: &str, hd: Option<Part<'_>>, type_: &str) -> Json {
    if value.is_empty() {
        return Json::Null;
    }
    let authority = hd.map(authority).unwrap_or_default();
    object([
        ("type", identifier_type(type_)),
        ("system", text(system(&authority))),
        ("value", text(value)),
        ("assigner", assigner_of(hd)),
    ])
}

/// `identifier` with this type first, unless it has one of its own or `type_` is empty.
pub(super) fn typed(identifier: Json, type_: &str) -> Json {
    let Json::Object(mut object) = identifier else { return identifier };
    if !type_.is_empty() && object.get("type").is_none() {
        object.members.insert(0, ("type".into(), identifier_type(type_)));
    }
    Json::Object(object)
}

fn identifier_type(code: &str) -> Json {
    let code = code.trim();
    if schema::has_code("v2-0203", code) {
        return object([("coding", array([coding(format!("{TERMINOLOGY}/v2-0203"), code, "")]))]);
    }
    object([("text", text(code))])
}

/// XPN to HumanName.
pub(super) fn xpn(xpn: Part<'_>, clock: &Clock) -> Json {
    let use_ = tables::code("NameType", &part(xpn, 7)).unwrap_or_default();
    object([
        ("use", text(use_)),
        ("family", text(first(xpn, 1))),
        ("given", array([text(part(xpn, 2)), text(part(xpn, 3))])),
        ("prefix", array([text(part(xpn, 5))])),
        ("suffix", array([text(part(xpn, 4)), text(part(xpn, 6))])),
        ("period", period(clock, &part(xpn, 12), &part(xpn, 13))),
    ])
}

/// XAD to Address.
pub(super) fn xad(xad: Part<'_>) -> Json {
    let kind = part(xad, 7);
    let address = object([
        ("line", array([text(first(xad, 1)), text(part(xad, 2))])),
        ("city", text(part(xad, 3))),
        ("district", text(part(xad, 9))),
        ("state", text(part(xad, 4))),
        ("postalCode", text(part(xad, 5))),
        ("country", text(part(xad, 6))),
    ]);
    let Json::Object(mut address) = address else { return Json::Null };
    if address.members.is_empty() {
        return Json::Null;
    }
    for (key, code) in
        [("type", tables::code("AddressType[Type]", &kind)), ("use", tables::code("AddressType[Use]", &kind))]
    {
        if let Some(code) = code {
            address.members.insert(0, (key.into(), text(code)));
        }
    }
    Json::Object(address)
}

/// XTN to ContactPoint.
pub(super) fn xtn(xtn: Part<'_>) -> Json {
    let (old, mail, unformatted) = (part(xtn, 1), part(xtn, 4), part(xtn, 12));
    let parts = [5, 6, 7].map(|n| part(xtn, n)).join(" ");
    let equipment = tables::code("TelecommunicationEquipmentType", &part(xtn, 3));
    let (system, value) = match () {
        () if !mail.trim().is_empty() => ("email", mail.as_ref()),
        () if !unformatted.trim().is_empty() => (equipment.unwrap_or("phone"), unformatted.as_ref()),
        () if !parts.trim().is_empty() => (equipment.unwrap_or("phone"), parts.as_str()),
        () => (equipment.unwrap_or("phone"), old.as_ref()),
    };
    if value.trim().is_empty() {
        return Json::Null;
    }
    let mobile = part(xtn, 3) == "CP";
    let use_ = if mobile { Some("mobile") } else { tables::code("TelecommunicationUseCode", &part(xtn, 2)) };
    object([("system", text(system)), ("value", text(value)), ("use", text(use_.unwrap_or_default()))])
}

/// CWE, CE to CodeableConcept: what the feed's table knows it as, then both triples as sent.
pub(super) fn cwe(cwe: Part<'_>, feed: &Feed) -> Json {
    let triples = [1, 4].map(|first| [first, first + 1, first + 2].map(|n| part(cwe, n).trim().to_owned()));
    let versions = [part(cwe, 7), part(cwe, 8)];
    let mut codings = Vec::new();
    let has_loinc = triples.iter().any(|[code, _, name]| !code.is_empty() && code_system(name) == LOINC);
    if !has_loinc && let Some(mapped) = triples.iter().find_map(|[code, _, name]| feed.codes.map(code, name))
    {
        codings.push(coding(LOINC, &mapped.loinc, &mapped.display));
    }
    for ([code, words, name], version) in triples.iter().zip(&versions) {
        // A code has single blanks at most (R4 §2.24.0.1).
        let blank = |c: char| c.is_whitespace() || is_forbidden(c);
        let code: Vec<&str> = code.split(blank).filter(|word| !word.is_empty()).collect();
        if !code.is_empty() {
            let members = [
                ("system", text(code_system(name))),
                ("version", text(version)),
                ("code", text(code.join(" "))),
                ("display", text(words)),
            ];
            codings.push(object(members));
        }
    }
    let words = [part(cwe, 9), part(cwe, 2), part(cwe, 5), part(cwe, 1)];
    let words = words.iter().map(|w| w.trim()).find(|w| !w.is_empty()).unwrap_or_default();
    object([("coding", array(codings)), ("text", text(words))])
}

/// What is demanded at least once.
pub(super) fn array_of_one(item: Json) -> Json {
    array([item])
}

/// As [`cwe`] for an element that FHIR requires: where the sender left it out, that is said.
pub(super) fn required_cwe(code: Option<Part<'_>>, feed: &Feed) -> Json {
    let found = code.map_or(Json::Null, |c| cwe(c, feed));
    if json::is_empty(&found) { object([("text", text("not named in the message"))]) } else { found }
}

/// Table 0396 to a system's address; a local name becomes a URN, no name no system.
pub(super) fn code_system(name: &str) -> String {
    let name = name.trim();
    match name.to_ascii_uppercase().as_str() {
        "" => String::new(),
        "LN" | "LOINC" => LOINC.to_owned(),
        "SCT" | "SNOMED" | "SNM" | "SNOMED-CT" => "http://snomed.info/sct".to_owned(),
        "I10" | "I10C" | "ICD10CM" => "http://hl7.org/fhir/sid/icd-10-cm".to_owned(),
        "UCUM" => UCUM.to_owned(),
        "CVX" => "http://hl7.org/fhir/sid/cvx".to_owned(),
        "MVX" => "http://hl7.org/fhir/sid/mvx".to_owned(),
        "NDC" => "http://hl7.org/fhir/sid/ndc".to_owned(),
        "RXNORM" => "http://www.nlm.nih.gov/research/umls/rxnorm".to_owned(),
        "C4" | "CPT4" => "http://www.ama-assn.org/go/cpt".to_owned(),
        _ => system(name),
    }
}

/// A number with OBX-6's unit; the coded form only where the unit is known to be UCUM.
pub(super) fn quantity(digits: &str, unit: Option<Part<'_>>, comparator: &str) -> Json {
    let Some(digits) = decimal(digits) else { return Json::Null };
    let [unit, words] = [1, 2].map(|n| unit.map(|u| part(u, n)).unwrap_or_default());
    let (unit, words) = if unit.trim().is_empty() { (words, Cow::Borrowed("")) } else { (unit, words) };
    let ucum = units::normalise(&unit);
    let known = units::is_known(&ucum);
    let (system, code) = if known { (UCUM, ucum.as_ref()) } else { ("", "") };
    // Words for people stand beside a code alone: without one, the unit as sent is all there is.
    let shown = if known && !words.trim().is_empty() { &words } else { &unit };
    object([
        ("value", number(digits)),
        ("comparator", text(comparator)),
        ("unit", text(shown)),
        ("system", text(system)),
        ("code", text(code)),
    ])
}

/// NM's digits as JSON writes them, none lost: `+5` → `5`, `.50` → `0.50`, `007.` → `7`.
pub(super) fn decimal(written: &str) -> Option<String> {
    let written = written.trim();
    let (sign, rest) = match written.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", written.strip_prefix('+').unwrap_or(written)),
    };
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() + fraction.len() == 0 || rest.len() > 64 {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

/// A period of two times; an end before its start is not FHIR (per-1) and is left out.
pub(super) fn period(clock: &Clock, start: &str, end: &str) -> Json {
    let (start, end) = (clock.date_time(start), clock.date_time(end));
    let zone = jiff::tz::TimeZone::UTC;
    let at = |t: &Option<String>| t.as_ref().and_then(|t| crate::fhir::datetime::parse(t, &zone));
    let ordered = match (at(&start), at(&end)) {
        (Some((start, _)), Some((end, _))) => start <= end,
        _ => true,
    };
    let end = end.filter(|_| ordered);
    object([("start", text(start.unwrap_or_default())), ("end", text(end.unwrap_or_default()))])
}
