//! An alert as FHIR: a collection Bundle of RiskAssessment, the Device that is the model, and Provenance.

use std::borrow::Cow;

use super::common::{
    NAMESPACE, coding, concept, entry, identifier, logical, patient_reference, reference, uuid,
};
use super::json::{Json, array, number, object, text};
use crate::AlertFacts;

/// The alert for a FHIR receiver (R4 RiskAssessment, Provenance). Patient and Encounter are referred to by
/// identifier. The same facts give the same bytes, so that a receiver may deduplicate by `Bundle.identifier`.
pub fn alert_bundle(facts: &AlertFacts) -> Vec<u8> {
    let [assessment, model, provenance] =
        ["risk", "model", "provenance"].map(|part| uuid(&[&facts.id, part]));
    let at = text(facts.at.to_rfc3339());
    object([
        ("resourceType", text("Bundle")),
        ("id", text(uuid(&[&facts.id, "bundle"]))),
        ("identifier", named("alert", &facts.id)),
        ("type", text("collection")),
        ("timestamp", at),
        (
            "entry",
            array([
                entry(&assessment, risk_assessment(facts, &assessment, &model)),
                entry(&model, device(facts, &model)),
                entry(&provenance, provenance_of(facts, &provenance, &assessment, &model)),
            ]),
        ),
    ])
    .to_bytes()
}

fn named<'a>(kind: &str, value: impl Into<Cow<'a, str>>) -> Json<'a> {
    identifier(format!("{NAMESPACE}/{kind}"), value)
}

fn risk_assessment<'a>(facts: &'a AlertFacts, id: &'a str, model: &str) -> Json<'a> {
    let visit = facts.visit.as_deref().unwrap_or_default();
    let encounter =
        if visit.is_empty() { Json::Null } else { logical("Encounter", object([("value", text(visit))])) };
    let task = concept(coding(format!("{NAMESPACE}/task"), &facts.task, ""), &facts.task);
    let tier = coding(format!("{NAMESPACE}/alert-tier"), &facts.tier, "");
    let threshold =
        object([("url", text(format!("{NAMESPACE}/threshold"))), ("valueDecimal", decimal(facts.threshold))]);
    let prediction = object([
        ("extension", array([threshold])),
        ("outcome", task.clone()),
        ("probabilityDecimal", decimal(facts.risk)),
        ("qualitativeRisk", object([("text", text(&facts.tier))])),
        ("rationale", text(facts.reasons.join("; "))),
    ]);
    let mut notes: Vec<Json> = facts.reasons.iter().map(|reason| object([("text", text(reason))])).collect();
    if !facts.ward.is_empty() {
        notes.push(object([("text", text(format!("ward: {}", facts.ward)))]));
    }
    if let Some(other) = &facts.takeover_for {
        notes.push(object([("text", text(format!("site {} stands in for site {other}", facts.site)))]));
    }
    object([
        ("resourceType", text("RiskAssessment")),
        ("id", text(id)),
        ("meta", object([("tag", array([tier]))])),
        ("identifier", array([named("alert", &facts.id)])),
        ("status", text("final")),
        ("method", object([("text", text(&facts.model))])),
        ("code", task),
        ("subject", patient_reference(&facts.patient)),
        ("encounter", encounter),
        ("occurrenceDateTime", text(facts.at.to_rfc3339())),
        ("performer", reference(format!("urn:uuid:{model}"))),
        ("basis", array(facts.indices.iter().map(|index| object([("identifier", ledger_index(*index))])))),
        ("prediction", array([prediction])),
        ("note", array(notes)),
    ])
}

fn device<'a>(facts: &'a AlertFacts, id: &'a str) -> Json<'a> {
    object([
        ("resourceType", text("Device")),
        ("id", text(id)),
        ("identifier", array([named("model-sha256", &facts.model_hash)])),
        ("deviceName", array([object([("name", text(&facts.model)), ("type", text("model-name"))])])),
        ("version", array([object([("value", text(&facts.model_hash))])])),
    ])
}

/// Which entries of the ledger the assessment rests on, which model made it, and at which site.
fn provenance_of<'a>(facts: &'a AlertFacts, id: &'a str, assessment: &str, model: &str) -> Json<'a> {
    let site = |name: &'a str| {
        object([("type", text("Organization")), ("identifier", named("site", name)), ("display", text(name))])
    };
    let evidence = facts.indices.iter().map(|index| {
        object([("role", text("source")), ("what", object([("identifier", ledger_index(*index))]))])
    });
    let by_model = object([
        ("role", text("derivation")),
        (
            "what",
            object([
                ("reference", text(format!("urn:uuid:{model}"))),
                ("identifier", named("model-sha256", &facts.model_hash)),
            ]),
        ),
    ]);
    let behalf = facts.takeover_for.as_deref().map_or(Json::Null, site);
    let agent = object([("who", site(&facts.site)), ("onBehalfOf", behalf)]);
    object([
        ("resourceType", text("Provenance")),
        ("id", text(id)),
        ("target", array([reference(format!("urn:uuid:{assessment}"))])),
        ("occurredDateTime", text(facts.at.to_rfc3339())),
        ("recorded", text(facts.at.to_rfc3339())),
        ("agent", array([agent])),
        ("entity", array(evidence.chain([by_model]))),
    ])
}

fn ledger_index(index: u64) -> Json<'static> {
    named("ledger-index", index.to_string())
}

/// Nothing where the number is none: JSON cannot say NaN.
fn decimal(value: f64) -> Json<'static> {
    if value.is_finite() { number(value) } else { Json::Null }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::read;
    use crate::{PatientId, Time};

    pub(crate) fn facts() -> AlertFacts {
        AlertFacts {
            id: "00ff".into(),
            patient: PatientId { authority: "HOSP".into(), id: "4711".into() },
            visit: Some("V1".into()),
            ward: "ICU 2".into(),
            at: Time(1_790_000_000_000),
            task: "sepsis".into(),
            model: "sepsis-gbt".into(),
            model_hash: "ab".repeat(32),
            risk: 0.83,
            threshold: 0.6,
            tier: "interruptive".into(),
            reasons: vec!["lactate 4.1 mmol/L rising".into(), "heart rate \"128\"/min".into()],
            indices: vec![17, 42],
            site: "b".into(),
            takeover_for: Some("a".into()),
        }
    }

    #[test]
    fn it_names_the_model_the_evidence_and_the_patient() {
        let bytes = alert_bundle(&facts());
        let bundle = read(&bytes).unwrap();
        assert_eq!(bundle.warnings(), []);
        let root = &bundle.root;
        assert_eq!(root.get("identifier").unwrap().str("value"), Some("00ff"));
        let resources: Vec<&Json> = root.items("entry").iter().map(|e| e.get("resource").unwrap()).collect();
        let [risk, device, provenance] = resources[..] else { panic!("three entries") };
        assert_eq!(
            risk.get("subject").unwrap().get("identifier").unwrap().str("system"),
            Some("urn:id:HOSP")
        );
        assert_eq!(risk.items("prediction")[0].get("probabilityDecimal"), Some(&number("0.83")));
        assert_eq!(device.items("version")[0].str("value"), Some(facts().model_hash.as_str()));
        let sources: Vec<_> = provenance
            .items("entity")
            .iter()
            .map(|e| e.get("what").unwrap().get("identifier").unwrap().str("value").unwrap())
            .collect();
        assert_eq!(sources, ["17", "42", facts().model_hash.as_str()]);
        assert_eq!(alert_bundle(&facts()), bytes, "the same facts give the same bytes");
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        let bare = AlertFacts {
            visit: None,
            takeover_for: None,
            reasons: vec![],
            indices: vec![],
            risk: f64::NAN,
            ..facts()
        };
        let bundle = read(&alert_bundle(&bare)).unwrap();
        assert_eq!(bundle.warnings(), []);
        assert!(!String::from_utf8_lossy(bundle.bytes()).contains("NaN"));
    }
}
