//! Observation and its components to Observed.

use smol_str::SmolStr;

use super::Mapper;
use crate::fhir::json::Json;
use crate::units;
use crate::{
    Code, CodeSystem, Comparator, EventKind, Mapped, Observation, ObservationStatus, Severity, Value,
};

const UCUM: &str = "http://unitsofmeasure.org";

impl Mapper<'_> {
    pub(super) fn observation(&mut self, resource: &Json) {
        let Some(patient) = self.subject(resource, "subject") else { return };
        if !resource.items("focus").is_empty() {
            // A fetus, a donor, a device: the value is not the subject's own.
            let text = "is about something else than its subject; kept as sent, makes no events";
            return self.report_at(Severity::Warning, "fhir-focus-unsupported", "focus", text);
        }
        let visit = self.visit(resource);
        let found = self.effective(resource);
        let at = self.time_or_receipt(found, "effective[x]");
        let status = self.status(resource.str("status").unwrap_or_default());
        // An id in a Bundle that is not put at it is made up for the Bundle.
        let is_version = resource.get("id").is_some() && self.place.is_here();
        let source = (source_id(resource), is_version);
        let components = resource.items("component");
        let taken_back = matches!(status, ObservationStatus::Deleted | ObservationStatus::Cancelled);
        let whole = self.observed(resource, "", status, source.clone());
        let whole = whole.filter(|o| {
            o.value != Value::Absent || (components.is_empty() && (taken_back || is_absent(resource)))
        });
        let parts = components.iter().enumerate().filter_map(|(index, component)| {
            self.observed(component, &format!("component[{index}]."), status, source.clone())
        });
        let all: Vec<Observation> = whole.into_iter().chain(parts.collect::<Vec<_>>()).collect();
        if all.is_empty() {
            self.report(
                Severity::Information,
                "fhir-value-missing",
                "has no value; kept as sent, makes no events",
            );
        }
        for observation in all {
            self.push(&patient, visit.as_ref(), at, EventKind::Observed(observation));
        }
    }

    /// The physiologically relevant time (R4 Observation.effective[x]); of a period its end, when the value was known.
    fn effective(&self, resource: &Json) -> Option<(crate::Time, crate::Precision)> {
        let period = resource.get("effectivePeriod");
        let times = [
            resource.str("effectiveDateTime"),
            resource.str("effectiveInstant"),
            period.and_then(|p| p.str("end")),
            period.and_then(|p| p.str("start")),
            resource.str("issued"),
        ];
        times.into_iter().find_map(|text| self.time(text))
    }

    fn status(&mut self, status: &str) -> ObservationStatus {
        match status {
            "final" => ObservationStatus::Final,
            "amended" | "corrected" => ObservationStatus::Corrected,
            "entered-in-error" => ObservationStatus::Deleted,
            "cancelled" => ObservationStatus::Cancelled,
            _ => ObservationStatus::Preliminary,
        }
    }

    /// One value with its code: the observation itself (`place` empty) or one of its components.
    fn observed(
        &mut self,
        holder: &Json,
        place: &str,
        status: ObservationStatus,
        (source, is_version): (String, bool),
    ) -> Option<Observation> {
        let Some((code, mapped)) = holder.get("code").and_then(|concept| self.code(concept)) else {
            self.report_at(
                Severity::Warning,
                "fhir-code-missing",
                &format!("{place}code"),
                "has neither coding nor text",
            );
            return None;
        };
        let value = self.value(holder, place, mapped);
        let source_id = match source.as_str() {
            "" => source,
            _ if place.is_empty() => source,
            _ => format!("{source}#{}", code.code),
        };
        let observation = Observation { code, value, status, source_id, is_version, sent_at: None };
        if let Some(doubt) = observation.doubt() {
            self.report_at(doubt.severity, doubt.code, &format!("{place}value[x]"), doubt.text);
        }
        Some(observation)
    }

    fn value(&mut self, holder: &Json, place: &str, mapped: Option<&Mapped>) -> Value {
        if let Some(quantity) = holder.get("valueQuantity") {
            return self.quantity(quantity, place, mapped).unwrap_or(Value::Absent);
        }
        if let Some(text) = holder.str("valueString") {
            return Value::Text(text.to_owned());
        }
        if let Some(concept) = holder.get("valueCodeableConcept") {
            return coded(concept).map_or(Value::Absent, Value::Coded);
        }
        if let Some(Json::Number(digits)) = holder.get("valueInteger") {
            return Value::Quantity {
                number: digits.parse().unwrap_or(f64::NAN),
                text: digits.as_ref().into(),
                unit: SmolStr::default(),
                comparator: None,
            };
        }
        if let Some(Json::Bool(value)) = holder.get("valueBoolean") {
            return Value::Text(value.to_string());
        }
        if let Some(text) = holder.str("valueDateTime").or_else(|| holder.str("valueTime")) {
            return Value::Text(text.to_owned());
        }
        for other in ["valueRange", "valueRatio", "valueSampledData", "valuePeriod"] {
            if holder.get(other).is_some() {
                let text = "is of a type that no event holds; kept as sent";
                self.report_at(
                    Severity::Information,
                    "fhir-value-unsupported",
                    &format!("{place}{other}"),
                    text,
                );
            }
        }
        Value::Absent
    }

    fn quantity(&mut self, quantity: &Json, place: &str, mapped: Option<&Mapped>) -> Option<Value> {
        let Some(Json::Number(digits)) = quantity.get("value") else { return None };
        let number: f64 = digits.parse().ok().filter(|n: &f64| n.is_finite())?;
        let is_ucum = quantity.str("system") == Some(UCUM);
        let coded = quantity.str("code").filter(|_| is_ucum);
        let sent =
            coded.or_else(|| quantity.str("unit")).or_else(|| quantity.str("code")).unwrap_or_default();
        let (number, unit) = match mapped {
            None => (number, units::normalise(sent).into()),
            Some(mapped) => mapped.convert(number, sent).unwrap_or_else(|| {
                let text = "cannot be converted to the code table's unit; kept in its own";
                self.report_at(Severity::Warning, "unit-mismatch", &format!("{place}valueQuantity"), text);
                (number, units::normalise(sent).into())
            }),
        };
        let comparator = match quantity.str("comparator") {
            Some("<") => Some(Comparator::Less),
            Some("<=") => Some(Comparator::LessOrEqual),
            Some(">=") => Some(Comparator::GreaterOrEqual),
            Some(">") => Some(Comparator::Greater),
            _ => None,
        };
        Some(Value::Quantity { number, text: digits.as_ref().into(), unit, comparator })
    }
}

fn coded(concept: &Json) -> Option<Code> {
    let text = concept.str("text");
    let Some((coding, code)) = concept.items("coding").iter().find_map(|c| Some((c, c.str("code")?))) else {
        let text = SmolStr::new(text?);
        return Some(Code {
            system: CodeSystem::Other(SmolStr::default()),
            code: text.clone(),
            display: text,
        });
    };
    let system = match coding.str("system").unwrap_or_default() {
        super::concept::LOINC => CodeSystem::Loinc,
        super::concept::SNOMED => CodeSystem::Snomed,
        other => CodeSystem::Other(other.into()),
    };
    let display = coding.str("display").or(text).unwrap_or_default().into();
    Some(Code { system, code: code.into(), display })
}

fn is_absent(resource: &Json) -> bool {
    resource.get("dataAbsentReason").is_some()
}

/// What an amendment of the same result will carry too: its first identifier, else its id.
fn source_id(resource: &Json) -> String {
    let identifier = resource.items("identifier").iter().find_map(|i| {
        let value = i.str("value")?;
        Some(format!("{}|{value}", i.str("system").unwrap_or_default()))
    });
    identifier.or_else(|| resource.str("id").map(|id| format!("Observation/{id}"))).unwrap_or_default()
}
