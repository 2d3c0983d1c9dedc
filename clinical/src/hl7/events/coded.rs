//! Codes (CWE, CE, CNE: v2.9 ch. 2A §2.A.13) and the feed's table.

use super::context::Context;
use crate::hl7::Part;
use crate::{Code, CodeSystem, Mapped};

/// What a code stands for.
pub(super) struct Coded<'c> {
    pub code: Code,
    /// The row of the feed's table, if it was found there.
    pub mapped: Option<&'c Mapped>,
}

/// LOINC or SNOMED CT where the sender names one, in either triple; else the feed's table; else the
/// sender's own code.
pub(super) fn read<'c>(context: &Context<'c>, cwe: Part<'_>) -> Coded<'c> {
    let first = triple(cwe, 1);
    if first.system == CodeSystem::Loinc && !first.code.is_empty() {
        return Coded { code: first, mapped: None };
    }
    let triples = [first, triple(cwe, 4)];
    for wanted in [CodeSystem::Loinc, CodeSystem::Snomed] {
        if let Some(code) = triples.iter().find(|t| t.system == wanted && !t.code.is_empty()) {
            return Coded { code: code.clone(), mapped: None };
        }
    }
    for own in triples.iter().filter(|t| !t.code.is_empty()) {
        let CodeSystem::Other(system) = &own.system else { continue };
        if let Some(mapped) = context.feed.codes.map(&own.code, system) {
            let display =
                if mapped.display.is_empty() { own.display.clone() } else { mapped.display.clone() };
            let code = Code { system: CodeSystem::Loinc, code: mapped.loinc.clone(), display };
            return Coded { code, mapped: Some(mapped) };
        }
    }
    let [first, second] = triples;
    let code = if first.code.is_empty() && !second.code.is_empty() { second } else { first };
    Coded { code, mapped: None }
}

/// Identifier, text and coding system that begin at this component.
pub(super) fn triple(cwe: Part<'_>, first: usize) -> Code {
    let part = |n| {
        let part = cwe.component(n).filter(Part::has_value);
        part.map(|p| p.text().trim().to_owned()).unwrap_or_default()
    };
    let (code, display, system) = (part(first), part(first + 1), part(first + 2));
    Code { system: system_of(system), code, display }
}

/// HL7 table 0396, and what senders write for its LN and SCT.
fn system_of(name: String) -> CodeSystem {
    match name.as_str() {
        "" => return CodeSystem::Other(name),
        "LN" => return CodeSystem::Loinc,
        _ => {}
    }
    match name.to_ascii_uppercase().as_str() {
        "LN" | "LOINC" | "HTTP://LOINC.ORG" | "2.16.840.1.113883.6.1" => CodeSystem::Loinc,
        "SCT"
        | "SNOMED"
        | "SNM3"
        | "SNOMED-CT"
        | "SNOMEDCT"
        | "HTTP://SNOMED.INFO/SCT"
        | "2.16.840.1.113883.6.96" => CodeSystem::Snomed,
        _ => CodeSystem::Other(name),
    }
}
