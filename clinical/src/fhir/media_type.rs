//! What `Content-Type` says of a body (R4 http.html#mime-type and versions.html#mt-version).

use super::validate::is_other_version;
use crate::{Issue, Severity};

/// Why a body of this media type is not taken; `None` where it is R4 in JSON, or the type says nothing else.
pub fn media_type_fault(content_type: &str) -> Option<Issue> {
    let mut parts = content_type.split(';').map(str::trim);
    let type_ = parts.next().unwrap_or_default().to_ascii_lowercase();
    if !type_.is_empty() && !type_.ends_with("json") {
        let code =
            if type_.ends_with("xml") { "fhir-xml-unsupported" } else { "fhir-media-type-unsupported" };
        return Some(fault(
            code,
            "names another format; send FHIR R4 as JSON (application/fhir+json)".into(),
        ));
    }
    let version = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("fhirVersion").then(|| value.trim().trim_matches('"'))
    })?;
    if version == "4.0" || version.starts_with("4.0.") {
        return None;
    }
    let met = if is_other_version(version) { version } else { "another version" };
    Some(fault("fhir-version-unsupported", format!("says FHIR {met}; send R4 (fhirVersion=4.0)")))
}

fn fault(code: &'static str, text: String) -> Issue {
    Issue { severity: Severity::Error, code: code.into(), location: "Content-Type".into(), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_and_versions_are_named() {
        let code = |content_type| media_type_fault(content_type).map(|issue| issue.code.into_owned());
        for fine in [
            "",
            "application/fhir+json",
            "Application/JSON; charset=utf-8",
            "application/fhir+json; fhirVersion=4.0",
            "application/fhir+json;fhirversion=\"4.0.1\"",
        ] {
            assert_eq!(code(fine), None, "{fine}");
        }
        for (refused, expected) in [
            ("application/fhir+json; fhirVersion=5.0", "fhir-version-unsupported"),
            ("application/fhir+json; charset=utf-8; fhirVersion=4.3", "fhir-version-unsupported"),
            ("application/fhir+json; fhirVersion=x<y", "fhir-version-unsupported"),
            ("application/fhir+xml", "fhir-xml-unsupported"),
            ("text/plain", "fhir-media-type-unsupported"),
        ] {
            assert_eq!(code(refused).as_deref(), Some(expected), "{refused}");
        }
        assert!(media_type_fault("application/json; fhirVersion=5.0").unwrap().text.contains("FHIR 5.0"));
        assert!(!media_type_fault("application/json; fhirVersion=a b").unwrap().text.contains("a b"));
    }
}
