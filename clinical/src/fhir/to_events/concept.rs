//! CodeableConcepts: which of several codings counts.

use smol_str::SmolStr;

use super::Mapper;
use crate::fhir::json::Json;
use crate::{Code, CodeSystem, Mapped};

pub(super) const LOINC: &str = "http://loinc.org";
pub(super) const SNOMED: &str = "http://snomed.info/sct";

impl<'a> Mapper<'a> {
    /// The concept's code, as the HL7 v2 reader chooses it: LOINC where the sender names one, else what the
    /// feed's table maps, else the first coding, else the text.
    pub(super) fn code(&self, concept: &Json) -> Option<(Code, Option<&'a Mapped>)> {
        let feed = self.feed;
        let codings = || concept.items("coding").iter().filter_map(|c| Some((c, c.str("code")?)));
        if let Some((coding, code)) = codings().find(|(coding, _)| coding.str("system") == Some(LOINC)) {
            return Some((plain(coding, code, concept), None));
        }
        for (coding, code) in codings() {
            if let Some(mapped) = feed.codes.map(code, coding.str("system").unwrap_or_default()) {
                let display = if mapped.display.is_empty() {
                    display(coding, concept)
                } else {
                    mapped.display.as_str().into()
                };
                let code = Code { system: CodeSystem::Loinc, code: mapped.loinc.as_str().into(), display };
                return Some((code, Some(mapped)));
            }
        }
        if let Some((coding, code)) = codings().next() {
            return Some((plain(coding, code, concept), None));
        }
        let text = concept.str("text")?;
        let system = CodeSystem::Other(SmolStr::default());
        Some((Code { system, code: text.into(), display: text.into() }, None))
    }
}

fn plain(coding: &Json, code: &str, concept: &Json) -> Code {
    let system = match coding.str("system").unwrap_or_default() {
        LOINC => CodeSystem::Loinc,
        SNOMED => CodeSystem::Snomed,
        other => CodeSystem::Other(other.into()),
    };
    Code { system, code: code.into(), display: display(coding, concept) }
}

fn display(coding: &Json, concept: &Json) -> SmolStr {
    coding.str("display").or_else(|| concept.str("text")).unwrap_or_default().into()
}

/// Whether a concept has one of these codes, in whatever system.
pub(super) fn has_code(concept: Option<&Json>, codes: &[&str]) -> bool {
    let codings = concept.map(|c| c.items("coding")).unwrap_or_default();
    codings.iter().filter_map(|c| c.str("code")).any(|code| codes.contains(&code))
}
