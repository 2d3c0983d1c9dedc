//! FHIR R4: a transaction Bundle of Patient and Encounter, then one of Observations for each source and hour.

use clinical::{ObservationStatus, Sex, Time};
use ml_scoring::dataset::{Patient, Source};
use serde_json::{Value, json};

use super::AUTHORITY;
use super::plan::{self, Reading, Results, Telling, What};

pub fn write(patient: &Patient, telling: &Telling) -> Vec<u8> {
    let resources = match &telling.what {
        What::Admission => vec![person(patient), encounter(patient, telling.at)],
        What::Results(results) => results
            .readings
            .iter()
            .map(|reading| observation(patient, results, reading, telling.at))
            .collect(),
    };
    let entry = |resource: Value| {
        let request = json!({"method": "POST", "url": resource["resourceType"]});
        json!({"resource": resource, "request": request})
    };
    let bundle = json!({
        "resourceType": "Bundle",
        "id": telling.control_id,
        "type": "transaction",
        "timestamp": telling.sent_at.to_rfc3339(),
        "entry": resources.into_iter().map(entry).collect::<Vec<_>>(),
    });
    bundle.to_string().into_bytes()
}

fn system(kind: &str) -> String {
    format!("urn:id:{AUTHORITY}{kind}")
}

fn subject(patient: &Patient) -> Value {
    json!({"type": "Patient", "identifier": {"system": system(""), "value": patient.pid}})
}

fn person(patient: &Patient) -> Value {
    let (person, _) = plan::admission(patient);
    let mut out = json!({
        "resourceType": "Patient",
        "identifier": [{"system": system(""), "value": patient.pid}],
    });
    if let Some(born) = person.birth_date {
        out["birthDate"] = born.into();
    }
    if let Some(sex @ (Sex::Male | Sex::Female)) = person.sex {
        out["gender"] = if sex == Sex::Male { "male" } else { "female" }.into();
    }
    out
}

/// The period is that of the hospital; the location's is when intensive care began.
fn encounter(patient: &Patient, at: Time) -> Value {
    let (_, encounter) = plan::admission(patient);
    let ward = encounter.iter().filter_map(|e| e.location.as_ref()).map(|l| l.ward.as_str()).next();
    let mut out = json!({
        "resourceType": "Encounter",
        "identifier": [{"system": system(":visit"), "value": patient.pid}],
        "status": "in-progress",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "subject": subject(patient),
        "location": [{"location": {"display": ward}, "period": {"start": at.to_rfc3339()}}],
    });
    if let Some(admitted_at) = encounter.and_then(|encounter| encounter.admitted_at) {
        out["period"] = json!({"start": admitted_at.to_rfc3339()});
    }
    out
}

fn observation(patient: &Patient, results: &Results, reading: &Reading, at: Time) -> Value {
    let Reading { column, number, status } = reading;
    let category = match results.source {
        Source::Monitor => "vital-signs",
        Source::Laboratory => "laboratory",
    };
    json!({
        "resourceType": "Observation",
        "identifier": [{"system": system(":result"), "value": format!("{}-{}", results.order, column.loinc())}],
        "status": word(*status),
        "category": [{"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/observation-category",
            "code": category,
        }]}],
        "code": {
            "coding": [{"system": "http://loinc.org", "code": column.loinc()}],
            "text": column.words(),
        },
        "subject": subject(patient),
        "encounter": {"identifier": {"system": system(":visit"), "value": patient.pid}},
        "effectiveDateTime": at.to_rfc3339(),
        "valueQuantity": {
            "value": number,
            "unit": column.unit(),
            "system": "http://unitsofmeasure.org",
            "code": column.unit(),
        },
    })
}

/// FHIR R4 observation-status.
fn word(status: ObservationStatus) -> &'static str {
    match status {
        ObservationStatus::Preliminary => "preliminary",
        ObservationStatus::Final => "final",
        ObservationStatus::Corrected => "corrected",
        ObservationStatus::Deleted => "entered-in-error",
        ObservationStatus::Cancelled => "cancelled",
    }
}
