//! What `GET /fhir/metadata` answers: a CapabilityStatement (R4 §2.31.2).

use super::json::{Json, array, object, text};
use super::schema::{self, Element};
use crate::Time;

const DOCUMENTATION: &str = "Every accepted resource is an entry of the ledger before it is answered. A create may carry \
    If-None-Exist: identifier=system|value; nothing else is searched for. Nothing is deleted or patched.";

/// The CapabilityStatement of a site whose FHIR address is `base_url`; `at` is when its release was made.
pub fn metadata(base_url: &str, version: &str, at: Time) -> Vec<u8> {
    let resource = |type_: &'static str| {
        let interactions = ["create", "update", "read", "vread"].map(|code| object([("code", text(code))]));
        let read = match schema::is_interpreted(type_) {
            true => "Read into events.",
            false => "Checked and kept as sent; makes no events.",
        };
        let has_identifier =
            |elements: &[Element]| elements.iter().any(|element| element.name == "identifier");
        let is_conditional = type_ != "Bundle" && schema::elements(type_).is_some_and(has_identifier);
        object([
            ("type", text(type_)),
            ("documentation", text(read)),
            ("interaction", array(interactions)),
            ("versioning", text("versioned")),
            ("updateCreate", Json::Bool(true)),
            ("conditionalCreate", Json::Bool(is_conditional)),
        ])
    };
    let rest = object([
        ("mode", text("server")),
        ("documentation", text(DOCUMENTATION)),
        ("resource", array(schema::resources().map(resource))),
        ("interaction", array(["transaction", "batch"].map(|code| object([("code", text(code))])))),
    ]);
    object([
        ("resourceType", text("CapabilityStatement")),
        ("status", text("active")),
        ("date", text(at.to_rfc3339())),
        ("kind", text("instance")),
        ("software", object([("name", text("Medulla")), ("version", text(version))])),
        (
            "implementation",
            object([("description", text("Medulla, hospital integration")), ("url", text(base_url))]),
        ),
        ("fhirVersion", text("4.0.1")),
        ("format", array([text("application/fhir+json"), text("json")])),
        ("rest", array([rest])),
    ])
    .to_bytes()
}

/// One line of a transaction's or batch's answer.
#[derive(Clone, Debug, Default)]
pub struct EntryAnswer {
    /// HTTP status with its words, for example `201 Created`.
    pub status: String,
    /// `Patient/7/_history/1`; empty where nothing was stored.
    pub location: String,
    /// Why not, or what was noticed.
    pub issues: Vec<crate::Issue>,
}

/// A `transaction-response` Bundle, its entries in the order of the request.
pub fn transaction_response(answers: &[EntryAnswer]) -> Vec<u8> {
    response("transaction-response", answers)
}

/// A `batch-response` Bundle, its entries in the order of the request.
pub fn batch_response(answers: &[EntryAnswer]) -> Vec<u8> {
    response("batch-response", answers)
}

fn response(type_: &str, answers: &[EntryAnswer]) -> Vec<u8> {
    let entries = answers.iter().map(|answer| {
        let outcome =
            if answer.issues.is_empty() { Json::Null } else { super::outcome::outcome_json(&answer.issues) };
        let response = object([
            ("status", text(&answer.status)),
            ("location", text(&answer.location)),
            ("outcome", outcome),
        ]);
        object([("response", response)])
    });
    object([("resourceType", text("Bundle")), ("type", text(type_)), ("entry", array(entries))]).to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::read;

    #[test]
    fn what_we_write_we_read() {
        let statement = read(&metadata("https://site.example/fhir", "0.1.0", Time(0))).unwrap();
        assert_eq!(
            (statement.type_(), statement.root.str("fhirVersion")),
            ("CapabilityStatement", Some("4.0.1"))
        );
        let types = statement.root.items("rest")[0].items("resource");
        let conditional = |type_: &str| {
            let found = types.iter().find(|resource| resource.str("type") == Some(type_)).unwrap();
            found.get("conditionalCreate") == Some(&Json::Bool(true))
        };
        assert!(conditional("Patient") && conditional("Specimen") && !conditional("Bundle"));
        let refused = crate::Issue {
            severity: crate::Severity::Error,
            code: "fhir-code-invalid".into(),
            location: "Patient.gender".into(),
            text: "must be one of female".into(),
        };
        let answers = [
            EntryAnswer {
                status: "201 Created".into(),
                location: "Patient/7/_history/1".into(),
                issues: vec![],
            },
            EntryAnswer {
                status: "422 Unprocessable Entity".into(),
                location: String::new(),
                issues: vec![refused],
            },
        ];
        for (bytes, type_) in [
            (transaction_response(&answers), "transaction-response"),
            (batch_response(&answers), "batch-response"),
        ] {
            let bundle = read(&bytes).unwrap();
            assert_eq!((bundle.bundle_type(), bundle.warnings()), (Some(type_), &[][..]));
            let entries = bundle.root.items("entry");
            assert_eq!(entries[0].get("response").unwrap().str("location"), Some("Patient/7/_history/1"));
            assert_eq!(entries[1].get("response").unwrap().get("outcome").unwrap().items("issue").len(), 1);
        }
    }
}
