//! Checks a resource against the R4 tables: element names, types, cardinality, primitive formats, required
//! bindings. Each finding names the element by FHIRPath and never repeats a value.

use super::json::{Json, Object};
use super::primitive;
use super::schema::{self, Element};
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
            if find(elements, primitive).is_none() && !schema::COMMON.iter().any(|c| c.0 == primitive) {
                self.report(
                    Severity::Warning,
                    "fhir-element-unknown",
                    "is not defined by R4; kept, not read",
                );
            }
        } else if let Some((element, type_)) = find(elements, key) {
            self.element(value, type_, element.many, element.codes);
        } else if let Some((_, type_, many)) = schema::COMMON.iter().find(|c| c.0 == key) {
            self.element(value, type_, *many, None);
        } else if type_ == self.resource && schema::is_later_element(type_, key) {
            self.report(Severity::Error, "fhir-version-unsupported", "came with R5; send R4 (4.0.1)");
        } else if key != "resourceType" && key != "fhir_comments" {
            self.report(Severity::Warning, "fhir-element-unknown", "is not defined by R4; kept, not read");
        }
    }

    fn element(&mut self, value: &Json, type_: &'static str, many: bool, codes: Option<&[&str]>) {
        let Json::Array(items) = value else {
            if many {
                return self.report(Severity::Error, "fhir-element-type", "repeats: must be a JSON array");
            }
            return self.value(value, type_, codes);
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
                self.value(item, type_, codes);
            }
            self.path.truncate(depth);
        }
    }

    fn value(&mut self, value: &Json, type_: &'static str, codes: Option<&[&str]>) {
        if type_ == "Resource" {
            if self.batch && self.resource == "Bundle" {
                return;
            }
            return self.resource(value);
        }
        if is_primitive(type_) {
            return self.primitive(value, type_, codes);
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
    }

    fn primitive(&mut self, value: &Json, type_: &'static str, codes: Option<&[&str]>) {
        if value.as_str() == Some("") {
            return self.report(Severity::Warning, "fhir-empty", "is an empty string; leave it out");
        }
        if !primitive::is_valid(type_, value) {
            return self.report(Severity::Error, "fhir-value-invalid", format!("is no valid {type_}"));
        }
        if let (Some(codes), Some(code)) = (codes, value.as_str())
            && !codes.contains(&code)
        {
            self.report(Severity::Error, "fhir-code-invalid", format!("must be one of {}", codes.join(", ")));
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

fn is_name(key: &str) -> bool {
    key.len() <= 64 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
