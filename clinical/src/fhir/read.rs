//! Reading a resource: bytes to a checked tree that still knows its bytes.

use bytes::Bytes;

use super::json::{self, Fault, Json};
use super::validate;
use crate::{Issue, Severity};

/// The ledger's bound of a message; feeds set their own below it.
const BYTES_MAX: usize = 64 << 20;

/// One FHIR R4 resource, checked, with the bytes it was read from. Unknown elements are kept.
#[derive(Clone)]
pub struct Resource {
    bytes: Bytes,
    pub(super) root: Json<'static>,
    warnings: Vec<Issue>,
}

impl std::fmt::Debug for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resource({}, {} bytes, redacted)", self.type_(), self.bytes.len())
    }
}

/// What a resource is, for those who route it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Patient,
    Encounter,
    Observation,
    Bundle,
    /// Read, checked where the tables have it, kept; makes no events.
    Other,
}

/// One entry of a Bundle, in its order.
#[derive(Clone, Debug)]
pub struct Entry {
    pub full_url: Option<String>,
    /// `Bundle.entry.request.method`, for example `POST`.
    pub method: Option<String>,
    /// `Bundle.entry.request.url`, for example `Patient/4`.
    pub url: Option<String>,
    pub resource_type: Option<String>,
    pub id: Option<String>,
    /// The resource's own bytes, as sent; empty where the entry has none.
    pub bytes: Bytes,
    /// Those of the entry.
    pub whole: Bytes,
}

impl Resource {
    /// As it was sent.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn type_(&self) -> &str {
        self.root.str("resourceType").unwrap_or_default()
    }

    pub fn kind(&self) -> Kind {
        match self.type_() {
            "Patient" => Kind::Patient,
            "Encounter" => Kind::Encounter,
            "Observation" => Kind::Observation,
            "Bundle" => Kind::Bundle,
            _ => Kind::Other,
        }
    }

    pub fn id(&self) -> Option<&str> {
        self.root.str("id")
    }

    /// `Bundle.type`: `transaction`, `batch`, `message` …
    pub fn bundle_type(&self) -> Option<&str> {
        if self.kind() == Kind::Bundle { self.root.str("type") } else { None }
    }

    /// What was noticed and does not hinder its use.
    pub fn warnings(&self) -> &[Issue] {
        &self.warnings
    }

    /// System and value of each identifier that has both.
    pub fn identifiers(&self) -> Vec<(&str, &str)> {
        let one = self.root.get("identifier").filter(|identifier| matches!(identifier, Json::Object(_)));
        let all = one.into_iter().chain(self.root.items("identifier"));
        all.filter_map(|identifier| Some((identifier.str("system")?, identifier.str("value")?))).collect()
    }

    /// The entries of a Bundle. A batch's resources are not yet checked: `read` each one's bytes.
    pub fn entries(&self) -> Vec<Entry> {
        let owned = |value: Option<&str>| value.map(str::to_owned);
        self.root
            .items("entry")
            .iter()
            .map(|entry| {
                let (request, resource) = (entry.get("request"), entry.get("resource"));
                let bytes = |part: Option<&Json>| match part {
                    Some(Json::Object(object)) => {
                        self.bytes.slice(object.span.start as usize..object.span.end as usize)
                    }
                    _ => Bytes::new(),
                };
                Entry {
                    full_url: owned(entry.str("fullUrl")),
                    method: owned(request.and_then(|r| r.str("method"))),
                    url: owned(request.and_then(|r| r.str("url"))),
                    resource_type: owned(resource.and_then(|r| r.str("resourceType"))),
                    id: owned(resource.and_then(|r| r.str("id"))),
                    bytes: bytes(resource),
                    whole: bytes(Some(entry)),
                }
            })
            .collect()
    }
}

/// Reads one R4 resource in JSON. The error holds everything found, at least one `Severity::Error`.
pub fn read(bytes: &[u8]) -> Result<Resource, Vec<Issue>> {
    read_bytes(Bytes::copy_from_slice(bytes))
}

/// As [`read`], without a copy.
pub fn read_bytes(bytes: Bytes) -> Result<Resource, Vec<Issue>> {
    if bytes.len() > BYTES_MAX {
        return Err(vec![refusal("fhir-too-large", "is larger than 64 MiB; send it in parts")]);
    }
    let bytes = if bytes.starts_with(b"\xef\xbb\xbf") { bytes.slice(3..) } else { bytes };
    if bytes.trim_ascii_start().starts_with(b"<") {
        return Err(vec![refusal(
            "fhir-xml-unsupported",
            "is XML; send FHIR R4 as JSON (application/fhir+json)",
        )]);
    }
    let text = std::str::from_utf8(&bytes).map_err(|e| {
        vec![refusal("fhir-json-invalid", format!("is not UTF-8 at byte {}", e.valid_up_to()))]
    })?;
    let root = json::parse(text).map_err(|(fault, at)| vec![fault_issue(&fault, at)])?;
    let path =
        root.str("resourceType").filter(|t| super::schema::is_resource(t)).unwrap_or_default().to_owned();
    let mut issues = Vec::new();
    validate::resource(&root, &path, &mut issues);
    if issues.iter().any(|i| i.severity == Severity::Error) {
        return Err(issues);
    }
    Ok(Resource { bytes: bytes.clone(), root, warnings: issues })
}

fn fault_issue(fault: &Fault, at: usize) -> Issue {
    let (code, text) = match fault {
        Fault::Syntax => ("fhir-json-invalid", format!("is no valid JSON at byte {at}")),
        Fault::Depth => ("fhir-json-depth", format!("nests deeper than {} at byte {at}", json::DEPTH_MAX)),
        Fault::TooManyValues => ("fhir-too-large", "holds too many values; send it in parts".to_owned()),
        Fault::DuplicateKey => {
            ("fhir-json-duplicate-key", format!("names a key twice in the object at byte {at}"))
        }
    };
    refusal(code, text)
}

fn refusal(code: &'static str, text: impl Into<String>) -> Issue {
    Issue { severity: Severity::Error, code: code.into(), location: String::new(), text: text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Codes and locations of what `read` refuses.
    #[track_caller]
    fn refused(json: &str) -> Vec<(String, String)> {
        let issues = read(json.as_bytes()).expect_err("should be refused");
        issues
            .into_iter()
            .filter(|i| i.severity == Severity::Error)
            .map(|i| (i.code.into_owned(), i.location))
            .collect()
    }

    #[track_caller]
    fn check_refused(json: &str, code: &str, location: &str) {
        assert_eq!(refused(json), [(code.to_owned(), location.to_owned())], "{json}");
    }

    #[test]
    fn faults_name_the_element() {
        check_refused(r#"{"resourceType":"Patient","gender":"w"}"#, "fhir-code-invalid", "Patient.gender");
        check_refused(
            r#"{"resourceType":"Patient","birthDate":"1951-02-30"}"#,
            "fhir-value-invalid",
            "Patient.birthDate",
        );
        check_refused(
            r#"{"resourceType":"Patient","name":{"family":"x"}}"#,
            "fhir-element-type",
            "Patient.name",
        );
        check_refused(
            r#"{"resourceType":"Patient","name":[{"given":["a",7]}]}"#,
            "fhir-value-invalid",
            "Patient.name[0].given[1]",
        );
        check_refused(
            r#"{"resourceType":"Patient","active":"true"}"#,
            "fhir-value-invalid",
            "Patient.active",
        );
        check_refused(
            r#"{"resourceType":"Observation","status":"final"}"#,
            "fhir-element-missing",
            "Observation.code",
        );
        check_refused(
            r#"{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueString":"a","valueInteger":1}"#,
            "fhir-element-cardinality",
            "Observation.value[x]",
        );
        check_refused(
            r#"{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Encounter","status":"finished"}}]}"#,
            "fhir-element-missing",
            "Bundle.entry[0].resource.class",
        );
        check_refused(
            r#"{"resourceType":"Patient","deceasedDateTime":"2020-01-01T10:00"}"#,
            "fhir-value-invalid",
            "Patient.deceasedDateTime",
        );
        for (member, location) in [
            (r#""id":"a b""#, "Patient.id"),
            (r#""birthDate":"""#, "Patient.birthDate"),
            (r#""gender":"""#, "Patient.gender"),
            (r#""name":[{"family":"a\u0000"}]"#, "Patient.name[0].family"),
        ] {
            let json = format!(r#"{{"resourceType":"Patient",{member}}}"#);
            check_refused(&json, "fhir-value-invalid", location);
        }
        let long = format!(r#"{{"resourceType":"Patient","id":"{}"}}"#, "a".repeat(65));
        check_refused(&long, "fhir-value-invalid", "Patient.id");
        check_refused(r#"{"resourceType":"Patient","_gender":"x"}"#, "fhir-element-type", "Patient._gender");
        // What an element is called within its resource may be any string.
        assert!(read(br#"{"resourceType":"Patient","name":[{"id":"a b","family":"x"}]}"#).is_ok());
    }

    #[test]
    fn what_may_turn_the_meaning_is_not_passed_over() {
        let negated = r#""modifierExtension":[{"url":"http://x/negated","valueBoolean":true}]"#;
        let observation = |more: &str| {
            format!(r#"{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},{more}}}"#)
        };
        check_refused(
            &observation(negated),
            "fhir-modifier-extension-unknown",
            "Observation.modifierExtension",
        );
        check_refused(
            &observation(&format!(r#""component":[{{"code":{{"text":"y"}},{negated}}}]"#)),
            "fhir-modifier-extension-unknown",
            "Observation.component[0].modifierExtension",
        );
        check_refused(
            &observation(r#""implicitRules":"http://x/rules""#),
            "fhir-implicit-rules-unknown",
            "Observation.implicitRules",
        );
        // No event is made of it, so nobody is misled.
        let kept = format!(r#"{{"resourceType":"Device",{negated}}}"#);
        assert!(read(kept.as_bytes()).is_ok());
    }

    #[test]
    fn concepts_with_a_required_binding_are_held_to_it() {
        let condition = |coding: &str| {
            format!(
                r#"{{"resourceType":"Condition","subject":{{"reference":"Patient/1"}},"clinicalStatus":{{{coding}}}}}"#
            )
        };
        let of = |system: &str, code: &str| format!(r#""coding":[{{"system":"{system}","code":"{code}"}}]"#);
        let system = "http://terminology.hl7.org/CodeSystem/condition-clinical";
        assert!(read(condition(&of(system, "active")).as_bytes()).is_ok());
        for wrong in [of(system, "lively"), of("http://x", "active"), r#""text":"active""#.to_owned()] {
            check_refused(&condition(&wrong), "fhir-code-invalid", "Condition.clinicalStatus");
        }
        let allergy = r#"{"resourceType":"AllergyIntolerance","patient":{"reference":"Patient/1"},
            "verificationStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical","code":"active"}]}}"#;
        check_refused(allergy, "fhir-code-invalid", "AllergyIntolerance.verificationStatus");
    }

    #[test]
    fn other_formats_and_versions_are_refused_by_name() {
        check_refused(" <Patient/>", "fhir-xml-unsupported", "");
        check_refused(
            r#"{"resourceType":"Encounter","status":"planned","class":[{}]}"#,
            "fhir-version-unsupported",
            "Encounter.class",
        );
        check_refused(r#"{"resourceType":"Transport"}"#, "fhir-version-unsupported", "");
        for (json, location) in [
            (
                r#"{"resourceType":"ServiceRequest","status":"active","intent":"order","subject":{},"code":{"concept":{"text":"x"}}}"#,
                "ServiceRequest.code.concept",
            ),
            (
                r#"{"resourceType":"Appointment","status":"booked","participant":[{"status":"accepted"}],"subject":{}}"#,
                "Appointment.subject",
            ),
            (r#"{"resourceType":"Specimen","combined":"grouped"}"#, "Specimen.combined"),
            (
                r#"{"resourceType":"DocumentReference","status":"current","content":[{"attachment":{}}],"version":"1"}"#,
                "DocumentReference.version",
            ),
            (
                r#"{"resourceType":"Patient","meta":{"profile":["http://hl7.org/fhir/5.0/StructureDefinition/Patient"]}}"#,
                "Patient.meta.profile[0]",
            ),
            (
                r#"{"resourceType":"Patient","meta":{"profile":["http://hl7.org/fhir/StructureDefinition/Patient|5.0.0"]}}"#,
                "Patient.meta.profile[0]",
            ),
        ] {
            check_refused(json, "fhir-version-unsupported", location);
        }
        let r4 = br#"{"resourceType":"Patient","meta":{"profile":["http://hl7.org/fhir/StructureDefinition/Patient|4.0.1"]}}"#;
        assert!(read(r4).is_ok());
        check_refused(r#"{"resourceType":"Patiént"}"#, "fhir-resource-type-unknown", "");
        check_refused(r#"{"id":"1"}"#, "fhir-resource-type-missing", "");
        check_refused(r#"{"a":1,"a":1}"#, "fhir-json-duplicate-key", "");
        check_refused(&"[".repeat(1000), "fhir-json-depth", "");
        check_refused("", "fhir-json-invalid", "");
        assert_eq!(read(b"\xff").unwrap_err()[0].code, "fhir-json-invalid");
    }

    #[test]
    fn unknown_elements_and_bytes_are_kept() {
        let text = r#" {"resourceType":"Patient","valueÄ":1,"_gender":{"extension":[{"url":"u","valueCode":"x"}]},"colour":1.00} "#;
        let patient = read(text.as_bytes()).unwrap();
        assert_eq!(&patient.bytes()[..], text.as_bytes());
        let places: Vec<_> = patient.warnings().iter().map(|i| i.location.as_str()).collect();
        assert_eq!(places, ["Patient.?", "Patient.colour"]);
        assert_eq!(patient.kind(), Kind::Patient);
        assert_eq!(read(br#"{"resourceType":"Questionnaire","any":{}}"#).unwrap().kind(), Kind::Other);
    }

    #[test]
    fn a_batch_entry_does_not_condemn_the_others() {
        let text = r#"{"resourceType":"Bundle","type":"batch","entry":[
            {"resource":{"resourceType":"Patient","gender":"?"},"request":{"method":"POST","url":"Patient"}},
            {"fullUrl":"urn:x","resource":{"resourceType":"Patient","id":"7"}}]}"#;
        let entries = read(text.as_bytes()).unwrap().entries();
        assert_eq!(entries.len(), 2);
        assert!(read(&entries[0].bytes).is_err());
        assert_eq!(&entries[1].bytes[..], br#"{"resourceType":"Patient","id":"7"}"#);
        assert_eq!(entries[0].method.as_deref(), Some("POST"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        /// One byte changed anywhere: read or refused, never a panic, and a reason when refused.
        #[test]
        fn a_changed_byte_is_answered(at in 0usize..220, byte in any::<u8>()) {
            let mut text = br#"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},"effectiveDateTime":"2026-01-02T03:04:05Z","valueQuantity":{"value":80.0,"unit":"/min"}}"#.to_vec();
            let length = text.len();
            text[at % length] = byte;
            if let Err(issues) = read(&text) {
                prop_assert!(issues.iter().any(|i| i.severity == Severity::Error));
            }
        }
    }
}
