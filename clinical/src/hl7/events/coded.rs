//! Codes (CWE, CE, CNE: v2.9 ch. 2A §2.A.13) and the feed's table.

use std::borrow::Cow;

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
    let [a, b, c, d, e, f] = cwe.all_below::<6>();
    let first = code_of([a, b, c]);
    if first.system == CodeSystem::Loinc && !first.code.is_empty() {
        return Coded { code: first, mapped: None };
    }
    let triples = [first, code_of([d, e, f])];
    for wanted in [CodeSystem::Loinc, CodeSystem::Snomed] {
        if let Some(code) = triples.iter().find(|t| t.system == wanted && !t.code.is_empty()) {
            return Coded { code: code.clone(), mapped: None };
        }
    }
    for own in triples.iter().filter(|t| !t.code.is_empty()) {
        let CodeSystem::Other(system) = &own.system else { continue };
        if let Some(mapped) = context.feed.codes.map(&own.code, system) {
            let display =
                if mapped.display.is_empty() { own.display.clone() } else { mapped.display.as_str().into() };
            let code = Code { system: CodeSystem::Loinc, code: mapped.loinc.as_str().into(), display };
            return Coded { code, mapped: Some(mapped) };
        }
    }
    let [first, second] = triples;
    let code = if first.code.is_empty() && !second.code.is_empty() { second } else { first };
    Coded { code, mapped: None }
}

/// Identifier, text and coding system: the first or, from component 4 on, the alternate ones.
pub(super) fn triples(cwe: Part<'_>) -> [Code; 2] {
    let [a, b, c, d, e, f] = cwe.all_below::<6>();
    [code_of([a, b, c]), code_of([d, e, f])]
}

fn code_of(parts: [Option<Part<'_>>; 3]) -> Code {
    let [code, display, system] =
        parts.map(|part| part.filter(Part::has_value).map(|p| p.trimmed()).unwrap_or_default());
    Code { system: system_of(system), code: code.into(), display: display.into() }
}

/// HL7 table 0396, and what senders write for its LN and SCT.
fn system_of(name: Cow<'_, str>) -> CodeSystem {
    const LOINC: [&str; 4] = ["LN", "LOINC", "http://loinc.org", "2.16.840.1.113883.6.1"];
    const SNOMED: [&str; 7] = [
        "SCT",
        "SNOMED",
        "SNM3",
        "SNOMED-CT",
        "SNOMEDCT",
        "http://snomed.info/sct",
        "2.16.840.1.113883.6.96",
    ];
    let is = |known: &&str| known.eq_ignore_ascii_case(&name);
    match () {
        () if LOINC.iter().any(is) => CodeSystem::Loinc,
        () if SNOMED.iter().any(is) => CodeSystem::Snomed,
        () => CodeSystem::Other(name.into()),
    }
}
