//! HL7 v2 data types to FHIR's (v2.9 ch. 2A; the guide's datatype maps).

use std::borrow::Cow;

use super::codeable::Codeable;
use super::quantity::Quantity;
use super::tables;
use super::time::Clock;
use crate::Feed;
use crate::fhir::common::{coding, identifier, oid, system};
use crate::fhir::json::{Json, array, object, trim};
use crate::fhir::{json, schema};
use crate::hl7::Part;
use crate::text::{HIGH, any_byte, is, is_below};

pub(super) const LOINC: &str = "http://loinc.org";
pub(super) const UCUM: &str = "http://unitsofmeasure.org";
const IDENTIFIER_TYPES: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";

/// A component's text; HL7's null and nothing are both empty.
pub(super) fn part<'m>(of: Part<'m>, component: usize) -> Cow<'m, str> {
    of.below(component).filter(Part::has_value).map(|p| p.text()).unwrap_or_default()
}

/// The first subcomponent: FN's surname, SAD's street.
pub(super) fn first<'m>(of: Part<'m>, component: usize) -> Cow<'m, str> {
    let first = of.below(component).and_then(|c| c.subcomponent(1));
    first.filter(Part::has_value).map(|p| p.text()).unwrap_or_default()
}

/// As [`clean`].
pub(super) fn text<'a>(text: impl Into<Cow<'a, str>>) -> Json<'a> {
    Json::String(clean(text.into()))
}

/// FHIR's strings hold no control characters but tab and line ends (R4 §2.24.0.1), and no white space around them.
pub(super) fn clean(text: Cow<'_, str>) -> Cow<'_, str> {
    // Controls of Latin-1 begin with 0xC2 in UTF-8.
    let doubtful = |word| is_below(word, b' ') | is(word, 0x7F) | is(word, 0xC2);
    if any_byte(text.as_bytes(), doubtful) && text.contains(is_forbidden) {
        return trim(Cow::Owned(text.replace(is_forbidden, " ")));
    }
    trim(text)
}

pub(super) fn is_forbidden(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\r' | '\n')
}

/// HD: its namespace, else its universal id.
pub(super) fn authority(hd: Part<'_>) -> Cow<'_, str> {
    let part = |n| hd.subcomponent(n).filter(Part::has_value).map(|p| trim(p.text()));
    part(1).filter(|s| !s.is_empty()).or_else(|| part(2)).unwrap_or_default()
}

/// Who assigned an identifier, where more is said of it than its name: HD's universal id.
pub(super) fn assigner<'a>(namespace: Cow<'a, str>, universal: Cow<'a, str>, kind: Cow<'a, str>) -> Json<'a> {
    let (universal, kind) = (trim(universal), trim(kind));
    if universal.is_empty() {
        return Json::Null;
    }
    let members = match &*kind {
        "ISO" if oid(&universal) => identifier("urn:ietf:rfc:3986", format!("urn:oid:{universal}")),
        _ => object([("type", object([("text", text(kind))])), ("value", text(universal))]),
    };
    object([("identifier", members), ("display", text(namespace))])
}

/// The assigner of the HD in this part.
fn assigner_of(hd: Option<Part<'_>>) -> Json<'_> {
    let Some(hd) = hd.filter(Part::has_value) else { return Json::Null };
    let part = |n| hd.subcomponent(n).filter(Part::has_value).map(|p| p.text()).unwrap_or_default();
    assigner(part(1), part(2), part(3))
}

/// CX to Identifier.
pub(super) fn cx<'m>(cx: Part<'m>, default_authority: impl Into<Cow<'m, str>>, clock: &Clock) -> Json<'m> {
    let value = part(cx, 1);
    if value.trim().is_empty() {
        return Json::Null;
    }
    let named = cx.below(4).map(authority).filter(|a| !a.is_empty());
    let authority = named.unwrap_or_else(|| default_authority.into());
    object([
        ("type", identifier_type(part(cx, 5))),
        ("system", text(system(authority))),
        ("value", text(value)),
        ("period", period(clock, &part(cx, 7), &part(cx, 8))),
        ("assigner", assigner_of(cx.below(4))),
    ])
}

/// EI to an Identifier of this type of table 0203.
pub(super) fn ei<'m>(ei: Option<Part<'m>>, type_: &'static str) -> Json<'m> {
    let Some(ei) = ei.filter(Part::has_value) else { return Json::Null };
    let value = part(ei, 1);
    if value.trim().is_empty() {
        return Json::Null;
    }
    let (namespace, universal) = (part(ei, 2), part(ei, 3));
    let authority = if namespace.trim().is_empty() { &universal } else { &namespace };
    object([
        ("type", identifier_type(type_)),
        ("system", json::text(system(trim(authority.clone())))),
        ("value", text(value)),
        ("assigner", assigner(namespace, universal, part(ei, 4))),
    ])
}

/// An identifier with its value, authority and type of table 0203.
pub(super) fn identifier_of<'m>(value: Cow<'m, str>, hd: Option<Part<'m>>, type_: Cow<'m, str>) -> Json<'m> {
    if value.is_empty() {
        return Json::Null;
    }
    let authority = hd.map(authority).unwrap_or_default();
    object([
        ("type", identifier_type(type_)),
        ("system", text(system(authority))),
        ("value", text(value)),
        ("assigner", assigner_of(hd)),
    ])
}

/// `identifier` with this type first, unless it has one of its own or `type_` is empty.
pub(super) fn typed<'m>(identifier: Json<'m>, type_: &'static str) -> Json<'m> {
    let Json::Object(mut object) = identifier else { return identifier };
    if !type_.is_empty() && object.get("type").is_none() {
        object.members.insert(0, ("type".into(), identifier_type(type_)));
    }
    Json::Object(object)
}

fn identifier_type<'m>(code: impl Into<Cow<'m, str>>) -> Json<'m> {
    let code = trim(code.into());
    if code.is_empty() {
        return Json::Null;
    }
    if schema::has_code("v2-0203", &code) {
        return object([("coding", array([coding(IDENTIFIER_TYPES, code, "")]))]);
    }
    object([("text", text(code))])
}

/// XPN to HumanName.
pub(super) fn xpn<'m>(xpn: Part<'m>, clock: &Clock) -> Json<'m> {
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
pub(super) fn xad(xad: Part<'_>) -> Json<'_> {
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
pub(super) fn xtn(xtn: Part<'_>) -> Json<'_> {
    let (old, mail, unformatted) = (part(xtn, 1), part(xtn, 4), part(xtn, 12));
    let parts = [5, 6, 7].map(|n| part(xtn, n)).join(" ");
    let equipment = tables::code("TelecommunicationEquipmentType", &part(xtn, 3));
    let (system, value) = match () {
        () if !mail.trim().is_empty() => ("email", mail),
        () if !unformatted.trim().is_empty() => (equipment.unwrap_or("phone"), unformatted),
        () if !parts.trim().is_empty() => (equipment.unwrap_or("phone"), Cow::Owned(parts)),
        () => (equipment.unwrap_or("phone"), old),
    };
    if value.trim().is_empty() {
        return Json::Null;
    }
    let mobile = part(xtn, 3) == "CP";
    let use_ = if mobile { Some("mobile") } else { tables::code("TelecommunicationUseCode", &part(xtn, 2)) };
    object([("system", text(system)), ("value", text(value)), ("use", text(use_.unwrap_or_default()))])
}

/// CWE, CE to CodeableConcept.
pub(super) fn cwe<'m>(cwe: Part<'m>, feed: &'m Feed) -> Json<'m> {
    Codeable::read(cwe, feed).into_json()
}

/// A code has single blanks at most (R4 §2.24.0.1).
pub(super) fn single_blanks(code: Cow<'_, str>) -> Cow<'_, str> {
    let doubtful = |word| is_below(word, b'!') | is(word, 0x7F) | word & HIGH;
    if !any_byte(code.as_bytes(), doubtful) {
        return code;
    }
    let blank = |c: char| c.is_whitespace() || is_forbidden(c);
    let words: Vec<&str> = code.split(blank).filter(|word| !word.is_empty()).collect();
    Cow::Owned(words.join(" "))
}

/// What is demanded at least once.
pub(super) fn array_of_one(item: Json<'_>) -> Json<'_> {
    array([item])
}

/// As [`cwe`] for an element that FHIR requires: where the sender left it out, that is said.
pub(super) fn required_cwe<'m>(code: Option<Part<'m>>, feed: &'m Feed) -> Json<'m> {
    Codeable::required(code.map(|code| code.all_below()), feed).into_json()
}

/// What table 0396 and senders call the systems that have an address of their own.
const CODE_SYSTEMS: [(&str, &str); 16] = [
    ("LN", LOINC),
    ("LOINC", LOINC),
    ("SCT", "http://snomed.info/sct"),
    ("SNOMED", "http://snomed.info/sct"),
    ("SNM", "http://snomed.info/sct"),
    ("SNOMED-CT", "http://snomed.info/sct"),
    ("I10", "http://hl7.org/fhir/sid/icd-10-cm"),
    ("I10C", "http://hl7.org/fhir/sid/icd-10-cm"),
    ("ICD10CM", "http://hl7.org/fhir/sid/icd-10-cm"),
    ("UCUM", UCUM),
    ("CVX", "http://hl7.org/fhir/sid/cvx"),
    ("MVX", "http://hl7.org/fhir/sid/mvx"),
    ("NDC", "http://hl7.org/fhir/sid/ndc"),
    ("RXNORM", "http://www.nlm.nih.gov/research/umls/rxnorm"),
    ("C4", "http://www.ama-assn.org/go/cpt"),
    ("CPT4", "http://www.ama-assn.org/go/cpt"),
];

/// The address of a code system that table 0396 names.
pub(super) fn known_system(name: &str) -> Option<&'static str> {
    const LONGEST: usize = 9;
    if name.is_empty() || name.len() > LONGEST {
        return name.is_empty().then_some("");
    }
    let found = CODE_SYSTEMS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, address)| *address)
}

/// Table 0396 to a system's address; a local name becomes a URN, no name no system.
pub(super) fn code_system<'m>(name: impl Into<Cow<'m, str>>) -> Cow<'m, str> {
    let name = trim(name.into());
    known_system(&name).map_or_else(|| system(name), Cow::Borrowed)
}

/// A number with OBX-6's unit.
pub(super) fn quantity<'m>(
    digits: Cow<'m, str>,
    unit: Option<Part<'m>>,
    comparator: impl Into<Cow<'m, str>>,
) -> Json<'m> {
    Quantity::read(digits, unit, comparator.into()).map_or(Json::Null, Quantity::into_json)
}

/// NM's digits as JSON writes them, none lost: `+5` → `5`, `.50` → `0.50`, `007.` → `7`.
pub(super) fn decimal(written: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let written = trim(written);
    let (sign, rest) = match written.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", written.strip_prefix('+').unwrap_or(&written)),
    };
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() + fraction.len() == 0 || rest.len() > 64 {
        return None;
    }
    let short = whole.trim_start_matches('0');
    let short = if short.is_empty() { "0" } else { short };
    let point = if fraction.is_empty() { "" } else { "." };
    let length = sign.len() + short.len() + point.len() + fraction.len();
    if length == written.len() && short.len() == whole.len() {
        return Some(written);
    }
    Some(Cow::Owned(format!("{sign}{short}{point}{fraction}")))
}

/// A period of two times; an end before its start is not FHIR (per-1) and is left out.
pub(super) fn period(clock: &Clock, start: &str, end: &str) -> Json<'static> {
    if start.is_empty() && end.is_empty() {
        return Json::Null;
    }
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
