//! Checks a resource against the R4 tables: element names, types, cardinality, primitive formats, required
//! bindings. Each finding names the element by FHIRPath and never repeats a value.

use super::json::{Json, Object, is_empty};
use super::primitive;
use super::schema::{self, Binding, Element};
use crate::{Issue, Severity};

/// One broken resource yields hundreds of findings that nobody reads.
const ISSUES_MAX: usize = 100;

/// Checks `value` as a resource standing at `path` (`Patient`, `Bundle.entry[0].resource`).
pub(super) fn resource(value: &Json, path: &str, issues: &mut Vec<Issue>) {
    let batch = value.str("type") == Some("batch");
    let mut walk = Walk { path: path.to_owned(), resource: "", batch, issues };
    walk.resource(value);
}

struct Walk<'a> {
    path: String,
    /// The type of the innermost resource.
    resource: &'static str,
    /// The entries of a batch stand or fall alone: each is checked when it is its turn.
    batch: bool,
    issues: &'a mut Vec<Issue>,
}

impl Walk<'_> {
    fn resource(&mut self, value: &Json) {
        let Json::Object(object) = value else {
            return self.report(Severity::Error, "fhir-element-type", "must be a JSON object: a resource");
        };
        let Some(type_) = value.str("resourceType") else {
            return self.report(Severity::Error, "fhir-resource-type-missing", "needs a resourceType");
        };
        if schema::is_later_resource(type_) {
            return self.report(
                Severity::Error,
                "fhir-version-unsupported",
                "is of FHIR R4B, R5 or later; send R4 (4.0.1)",
            );
        }
        if !schema::is_resource(type_) {
            return self.report(
                Severity::Error,
                "fhir-resource-type-unknown",
                "has a resourceType that R4 does not know",
            );
        }
        let outer = self.resource;
        if let Some((name, elements)) = schema::checked(type_) {
            self.resource = name;
            self.members(object, name, elements);
        }
        self.resource = outer;
    }

    fn members(&mut self, object: &Object, type_: &'static str, elements: &'static [Element]) {
        if object.members.is_empty() {
            self.report(Severity::Warning, "fhir-empty", "is an empty object; leave it out");
        }
        for (key, value) in &object.members {
            let depth = self.path.len();
            self.path.push('.');
            // A key may hold anything: only what looks like an element's name goes into the report.
            self.path.push_str(if is_name(key) { key } else { "?" });
            self.member(key, value, type_, elements);
            self.path.truncate(depth);
        }
        for element in elements {
            self.cardinality(object, element);
        }
    }

    fn member(&mut self, key: &str, value: &Json, type_: &'static str, elements: &'static [Element]) {
        if let Some(primitive) = key.strip_prefix('_') {
            if !is_beside_primitive(value) {
                let text = "must be a JSON object: the id and extensions of the primitive";
                return self.report(Severity::Error, "fhir-element-type", text);
            }
            if find(elements, primitive).is_none() && !schema::COMMON.iter().any(|c| c.0 == primitive) {
                self.report(
                    Severity::Warning,
                    "fhir-element-unknown",
                    "is not defined by R4; kept, not read",
                );
            }
        } else if let Some((element, type_)) = find(elements, key) {
            self.element(value, type_, element.many, element.binding);
        } else if let Some((_, common, many)) = schema::COMMON.iter().find(|c| c.0 == key) {
            self.modifier(key, value);
            // An element's own id may be any string.
            let id_of_resource = key == "id" && type_ == self.resource;
            self.element(value, if id_of_resource { "id" } else { common }, *many, None);
        } else if schema::is_later_element(type_, key) {
            self.report(Severity::Error, "fhir-version-unsupported", "came with R5; send R4 (4.0.1)");
        } else if key != "resourceType" && key != "fhir_comments" {
            self.report(Severity::Warning, "fhir-element-unknown", "is not defined by R4; kept, not read");
        }
    }

    /// R4 extensibility.html#modifierExtension and resource.html#implicitRules: what may turn the meaning and is not
    /// known is not to be processed.
    fn modifier(&mut self, key: &str, value: &Json) {
        let (code, text) = match key {
            "modifierExtension" => (
                "fhir-modifier-extension-unknown",
                "may change what the resource means, and no such extension is known here; send it without",
            ),
            "implicitRules" => (
                "fhir-implicit-rules-unknown",
                "may change what the resource means, and no such rules are known here; send it without",
            ),
            _ => return,
        };
        if schema::is_interpreted(self.resource) && !is_empty(value) {
            self.report(Severity::Error, code, text);
        }
    }

    fn element(&mut self, value: &Json, type_: &'static str, many: bool, binding: Option<Binding>) {
        let Json::Array(items) = value else {
            if many {
                return self.report(Severity::Error, "fhir-element-type", "repeats: must be a JSON array");
            }
            return self.value(value, type_, binding);
        };
        if !many {
            let later = self.resource == "Encounter" && self.path.ends_with(".class");
            let (code, text) = match later {
                true => ("fhir-version-unsupported", "repeats as in R5; send R4 (4.0.1)"),
                false => ("fhir-element-type", "does not repeat: must be no JSON array"),
            };
            return self.report(Severity::Error, code, text);
        }
        if items.is_empty() {
            self.report(Severity::Warning, "fhir-empty", "is an empty array; leave it out");
        }
        for (at, item) in items.iter().enumerate() {
            let depth = self.path.len();
            self.path.push_str(&format!("[{at}]"));
            // null holds the place of a primitive that has extensions only
            if !(matches!(item, Json::Null) && is_primitive(type_)) {
                self.value(item, type_, binding);
            }
            self.path.truncate(depth);
        }
    }

    fn value(&mut self, value: &Json, type_: &'static str, binding: Option<Binding>) {
        if type_ == "Resource" {
            if self.batch && self.resource == "Bundle" {
                return;
            }
            return self.resource(value);
        }
        if is_primitive(type_) {
            return self.primitive(value, type_, binding);
        }
        let Json::Object(object) = value else {
            return self.report(
                Severity::Error,
                "fhir-element-type",
                format!("must be a JSON object: {type_}"),
            );
        };
        if let Some(elements) = schema::elements(type_) {
            self.members(object, type_, elements);
        }
        if let Some(binding) = binding {
            self.concept(value, binding);
        }
    }

    /// A CodeableConcept with a required binding: one of its codings is of that value set, none is of the same
    /// system with another code. Its text alone says nothing that a machine may go by.
    fn concept(&mut self, concept: &Json, binding: Binding) {
        let system = binding.system();
        let of_system = || concept.items("coding").iter().filter(|c| c.str("system") == Some(&system));
        let is_bound = |coding: &Json| coding.str("code").is_some_and(|code| binding.codes.contains(&code));
        if of_system().next().is_none() || !of_system().all(is_bound) {
            let text = format!("must have a coding of {system} with one of {}", binding.codes.join(", "));
            self.report(Severity::Error, "fhir-code-invalid", text);
        }
    }

    fn primitive(&mut self, value: &Json, type_: &'static str, binding: Option<Binding>) {
        if value.as_str().is_some_and(|text| text.trim().is_empty()) {
            // Many senders leave texts and systems empty, and then nothing was said; an empty time or status is a fault.
            let says_nothing = matches!(type_, "string" | "markdown" | "uri" | "url" | "canonical" | "code");
            if says_nothing && binding.is_none() {
                return self.report(
                    Severity::Warning,
                    "fhir-empty",
                    "is an empty or blank string; leave it out",
                );
            }
            let text = format!("is an empty or blank string, which is no valid {type_}; leave it out");
            return self.report(Severity::Error, "fhir-value-invalid", text);
        }
        if value.as_str().is_some_and(|text| text.contains('\0')) {
            return self.report(Severity::Error, "fhir-value-invalid", "holds the character U+0000");
        }
        if !primitive::is_valid(type_, value) {
            return self.report(Severity::Error, "fhir-value-invalid", format!("is no valid {type_}"));
        }
        if let (Some(Binding { codes, .. }), Some(code)) = (binding, value.as_str())
            && !codes.contains(&code)
        {
            self.report(Severity::Error, "fhir-code-invalid", format!("must be one of {}", codes.join(", ")));
        }
        if type_ == "canonical"
            && self.path.contains(".meta.profile")
            && let Some(version) = value.as_str().and_then(other_version)
        {
            let text = format!("names a profile of FHIR {version}; send R4 (4.0.1)");
            self.report(Severity::Error, "fhir-version-unsupported", text);
        }
    }

    fn cardinality(&mut self, object: &Object, element: &Element) {
        let is_it = |key: &str| typed(element, key.strip_prefix('_').unwrap_or(key)).is_some();
        let mut names = object.members.iter().map(|(key, _)| &**key).filter(|key| is_it(key));
        let first = names.next();
        let plain = |key: &str| key.strip_prefix('_').unwrap_or(key).to_owned();
        let suffix = if element.choice { "[x]" } else { "" };
        if first.is_none() && element.required {
            let location = format!("{}.{}{suffix}", self.path, element.name);
            self.report_at(Severity::Error, "fhir-element-missing", location, "is required");
        } else if let Some(first) = first
            && names.any(|other| plain(other) != plain(first))
        {
            let location = format!("{}.{}{suffix}", self.path, element.name);
            self.report_at(Severity::Error, "fhir-element-cardinality", location, "may have one type only");
        }
    }

    fn report(&mut self, severity: Severity, code: &'static str, text: impl Into<String>) {
        self.report_at(severity, code, self.path.clone(), text);
    }

    fn report_at(
        &mut self,
        severity: Severity,
        code: &'static str,
        location: String,
        text: impl Into<String>,
    ) {
        // An error always finds its place, so that no number of warnings hides it.
        if self.issues.len() < ISSUES_MAX
            || (severity == Severity::Error && self.issues.len() < 2 * ISSUES_MAX)
        {
            self.issues.push(Issue { severity, code: code.into(), location, text: text.into() });
        }
    }
}

fn find(elements: &'static [Element], key: &str) -> Option<(&'static Element, &'static str)> {
    elements.iter().find_map(|element| Some((element, typed(element, key)?)))
}

/// The type that `key` gives to `element`, if it names it at all.
fn typed(element: &Element, key: &str) -> Option<&'static str> {
    if !element.choice {
        return if element.name == key { element.types.first().copied() } else { None };
    }
    let suffix = key.strip_prefix(element.name).filter(|s| s.is_ascii())?;
    let mut types = element.types.iter().copied();
    types.find(|t| {
        t.len() == suffix.len() && t[..1].eq_ignore_ascii_case(&suffix[..1]) && t[1..] == suffix[1..]
    })
}

fn is_primitive(type_: &str) -> bool {
    type_.starts_with(|c: char| c.is_ascii_lowercase())
}

/// What may stand in a member whose name begins with `_`.
fn is_beside_primitive(value: &Json) -> bool {
    match value {
        Json::Object(_) => true,
        Json::Array(items) => items.iter().all(|item| matches!(item, Json::Object(_) | Json::Null)),
        _ => false,
    }
}

/// The FHIR version that one of HL7's own profiles is of, where it is not R4: `…/fhir/5.0/StructureDefinition/…` or
/// `…/fhir/StructureDefinition/…|5.0.0`.
fn other_version(profile: &str) -> Option<&str> {
    let rest = profile.strip_prefix("http://hl7.org/fhir/")?;
    let version = match rest.strip_prefix("StructureDefinition/") {
        Some(name) => name.split_once('|')?.1,
        None => rest.split('/').next()?,
    };
    is_other_version(version).then_some(version)
}

/// Whether it is a number of a FHIR version other than 4.0; only such a one is repeated in a report.
pub(super) fn is_other_version(version: &str) -> bool {
    let is_number = (1..=16).contains(&version.len())
        && version.starts_with(|c: char| c.is_ascii_digit())
        && version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    is_number && version != "4.0" && !version.starts_with("4.0.")
}

fn is_name(key: &str) -> bool {
    key.len() <= 64 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
