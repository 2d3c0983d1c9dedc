//! OperationOutcome (R4 §2.28.5): our findings in FHIR's own words.

use super::json::{Json, array, object, text};
use crate::{Issue, Severity};

/// An OperationOutcome with one issue each; without any it says that all is well.
pub fn outcome(issues: &[Issue]) -> Vec<u8> {
    outcome_json(issues).to_bytes()
}

pub(super) fn outcome_json(issues: &[Issue]) -> Json<'_> {
    let all_well = object([
        ("severity", text("information")),
        ("code", text("informational")),
        ("diagnostics", text("all ok")),
    ]);
    let listed = if issues.is_empty() { array([all_well]) } else { array(issues.iter().map(issue)) };
    object([("resourceType", text("OperationOutcome")), ("issue", listed)])
}

fn issue(issue: &Issue) -> Json<'_> {
    let severity = match issue.severity {
        Severity::Information => "information",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let place = &issue.location;
    let diagnostics = if place.is_empty() { issue.text.clone() } else { format!("{place}: {}", issue.text) };
    object([
        ("severity", text(severity)),
        ("code", text(issue_type(&issue.code))),
        ("details", object([("text", text(&*issue.code))])),
        ("diagnostics", text(diagnostics)),
        ("expression", array([text(place)])),
    ])
}

/// The value of `http://hl7.org/fhir/issue-type` for one of our codes.
fn issue_type(code: &str) -> &'static str {
    match code {
        "fhir-element-missing" | "fhir-resource-type-missing" | "patient-id-missing" => "required",
        "fhir-value-invalid" | "fhir-time-invalid" => "value",
        "fhir-code-invalid" => "code-invalid",
        "fhir-xml-unsupported"
        | "fhir-media-type-unsupported"
        | "fhir-method-unsupported"
        | "fhir-condition-unsupported"
        | "fhir-version-unsupported"
        | "fhir-resource-type-unknown"
        | "fhir-bundle-unsupported" => "not-supported",
        "fhir-modifier-extension-unknown" | "fhir-implicit-rules-unknown" => "extension",
        "fhir-condition-ambiguous" => "multiple-matches",
        "fhir-bundle-full-url-repeated"
        | "fhir-transaction-resource-repeated"
        | "fhir-request-url-mismatch" => "invariant",
        "fhir-too-large" | "fhir-json-depth" => "too-long",
        "fhir-reference-unresolved" => "not-found",
        "shredded" => "deleted",
        code if code.starts_with("fhir-json") || code.starts_with("fhir-element") || code == "fhir-empty" => {
            "structure"
        }
        _ => "processing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden() {
        let issue = Issue {
            severity: Severity::Error,
            code: "fhir-code-invalid".into(),
            location: "Patient.gender".into(),
            text: "must be one of female, male".into(),
        };
        assert_eq!(
            String::from_utf8(outcome(&[issue])).unwrap(),
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"code-invalid","details":{"text":"fhir-code-invalid"},"diagnostics":"Patient.gender: must be one of female, male","expression":["Patient.gender"]}]}"#
        );
        assert!(crate::fhir::read(&outcome(&[])).unwrap().warnings().is_empty());
    }
}
