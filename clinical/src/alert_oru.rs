//! An alert as HL7 v2.5.1 ORU^R01 (ch. 7 §7.3.1): the same facts as the FHIR Bundle, for MLLP receivers.

use std::fmt::Write;

use bytes::Bytes;

use crate::{AlertFacts, Time};

/// Who sends to whom: MSH-3 to MSH-6.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parties {
    pub sending_application: String,
    pub sending_facility: String,
    pub receiving_application: String,
    pub receiving_facility: String,
}

/// Our own coding system (HL7 table 0396: `99` and letters for local ones).
const SYSTEM: &str = "99MDL";

/// The message, segments ended by CR, in UTF-8. `now` becomes MSH-7; `control_id` (at most 20 characters)
/// MSH-10, which the receiver's MSA-2 repeats. OBR-3 is the alert's id: the receiver deduplicates by it.
pub fn alert_oru(facts: &AlertFacts, now: Time, control_id: &str, parties: &Parties) -> Bytes {
    let at = dtm(facts.at);
    let mut out = String::with_capacity(1024);
    segment(
        &mut out,
        &[
            "MSH|^~\\&",
            &escape(&parties.sending_application),
            &escape(&parties.sending_facility),
            &escape(&parties.receiving_application),
            &escape(&parties.receiving_facility),
            &dtm(now),
            "",
            "ORU^R01^ORU_R01",
            &escape(control_id),
            "P",
            "2.5.1",
            "",
            "",
            "",
            "",
            "",
            "UNICODE UTF-8",
        ],
    );
    segment(&mut out, &["PID", "1", "", &format!("{}^^^{}", escape(&facts.patient.id), authority(facts))]);
    let visit = escape(facts.visit.as_deref().unwrap_or_default());
    let mut pv1 = vec![""; 20];
    let ward = escape(&facts.ward);
    (pv1[0], pv1[1], pv1[2], pv1[3], pv1[19]) = ("PV1", "1", "U", &ward, &visit);
    segment(&mut out, &pv1);
    let mut obr = vec![""; 26];
    let (filler, service) = (format!("{}^MEDULLA", escape(&facts.id)), coded(&facts.task, "early warning"));
    (obr[0], obr[1], obr[3], obr[4], obr[7], obr[22], obr[25]) =
        ("OBR", "1", &filler, &service, &at, &at, "F");
    segment(&mut out, &obr);
    for (number, result) in results(facts).iter().enumerate() {
        result.write(&mut out, number + 1, &at);
    }
    Bytes::from(out)
}

struct Observed {
    type_: &'static str,
    code: &'static str,
    words: &'static str,
    sub_id: String,
    value: String,
    unit: &'static str,
    flag: &'static str,
}

impl Observed {
    fn new(type_: &'static str, code: &'static str, words: &'static str, value: impl ToString) -> Self {
        Observed { type_, code, words, sub_id: String::new(), value: value.to_string(), unit: "", flag: "" }
    }

    fn write(&self, out: &mut String, number: usize, at: &str) {
        let (number, code, value) = (number.to_string(), coded(self.code, self.words), escape(&self.value));
        let mut obx = vec![""; 15];
        (obx[0], obx[1], obx[2], obx[3], obx[4]) = ("OBX", &number, self.type_, &code, &self.sub_id);
        (obx[5], obx[6], obx[8], obx[11], obx[14]) = (&value, self.unit, self.flag, "F", at);
        segment(out, &obx);
    }
}

/// One OBX a fact; what repeats is told apart by OBX-4.
fn results(facts: &AlertFacts) -> Vec<Observed> {
    let many = |(number, mut result): (usize, Observed)| {
        result.sub_id = (number + 1).to_string();
        result
    };
    let mut all = vec![
        Observed { unit: "1", flag: "A", ..number("risk", "risk, 0 to 1", facts.risk) },
        Observed { unit: "1", ..number("threshold", "risk from which the model alerts", facts.threshold) },
        Observed::new("ST", "tier", "alert tier", &facts.tier),
    ];
    let reasons = facts.reasons.iter().map(|reason| Observed::new("TX", "reason", "contribution", reason));
    all.extend(reasons.enumerate().map(many));
    all.push(Observed::new("ST", "model", "model name", &facts.model));
    all.push(Observed::new("ST", "model-sha256", "SHA-256 of the model", &facts.model_hash));
    let evidence =
        facts.indices.iter().map(|index| Observed::new("NM", "ledger-index", "ledger entry", index));
    all.extend(evidence.enumerate().map(many));
    all.push(Observed::new("ST", "site", "site that scored", &facts.site));
    if let Some(other) = &facts.takeover_for {
        all.push(Observed::new("ST", "takeover-for", "site it stands in for", other));
    }
    all
}

/// NM cannot say NaN: an empty value then.
fn number(code: &'static str, words: &'static str, value: f64) -> Observed {
    let digits = if value.is_finite() { value.to_string() } else { String::new() };
    Observed::new("NM", code, words, digits)
}

fn coded(code: &str, words: &str) -> String {
    format!("{}^{}^{SYSTEM}", escape(code), escape(words))
}

/// CX.4 (HD): an OID or an address as universal id, else a namespace.
fn authority(facts: &AlertFacts) -> String {
    let name = facts.patient.authority.as_str();
    let is_oid = name.contains('.') && name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match () {
        () if is_oid => format!("&{name}&ISO"),
        () if name.contains(':') => format!("&{}&URI", escape(name)),
        () => escape(name),
    }
}

fn segment(out: &mut String, fields: &[&str]) {
    out.push_str(fields.join("|").trim_end_matches('|'));
    out.push('\r');
}

/// DTM in UTC to the millisecond.
fn dtm(at: Time) -> String {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(at) => at.strftime("%Y%m%d%H%M%S.%3f+0000").to_string(),
        Err(_) => String::new(),
    }
}

/// Chapter 2 §2.7: delimiters and control characters have no other way through a message.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' => out.push_str("\\F\\"),
            '^' => out.push_str("\\S\\"),
            '&' => out.push_str("\\T\\"),
            '~' => out.push_str("\\R\\"),
            '\\' => out.push_str("\\E\\"),
            c if c.is_ascii_control() => _ = write!(out, "\\X{:02X}\\", u32::from(c)),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7::{Limits, Message};
    use crate::{EventKind, Feed, PatientId, Severity, Value};
    use proptest::prelude::*;

    fn facts() -> AlertFacts {
        AlertFacts {
            id: "00ff".into(),
            patient: PatientId { authority: "HOSP".into(), id: "4711".into() },
            visit: Some("V1".into()),
            ward: "ICU 2".into(),
            at: Time(1_790_000_000_000),
            task: "sepsis".into(),
            model: "gbt".into(),
            model_hash: "ab".into(),
            risk: 0.83,
            threshold: 0.6,
            tier: "interruptive".into(),
            reasons: vec!["a|b^c&d~e\\f\rg".into()],
            indices: vec![17, 42],
            site: "b".into(),
            takeover_for: Some("a".into()),
        }
    }

    fn parties() -> Parties {
        Parties {
            sending_application: "MEDULLA".into(),
            receiving_application: "EHR".into(),
            ..Parties::default()
        }
    }

    #[test]
    fn golden() {
        let bytes = alert_oru(&facts(), Time(1_790_000_001_500), "C1", &parties());
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let expected = [
            r"MSH|^~\&|MEDULLA||EHR||20260921141321.500+0000||ORU^R01^ORU_R01|C1|P|2.5.1||||||UNICODE UTF-8",
            "PID|1||4711^^^HOSP",
            "PV1|1|U|ICU 2||||||||||||||||V1",
            "OBR|1||00ff^MEDULLA|sepsis^early warning^99MDL|||20260921141320.000+0000|||||||||||||||20260921141320.000+0000|||F",
            "OBX|1|NM|risk^risk, 0 to 1^99MDL||0.83|1||A|||F|||20260921141320.000+0000",
            "OBX|2|NM|threshold^risk from which the model alerts^99MDL||0.6|1|||||F|||20260921141320.000+0000",
            "OBX|3|ST|tier^alert tier^99MDL||interruptive||||||F|||20260921141320.000+0000",
            r"OBX|4|TX|reason^contribution^99MDL|1|a\F\b\S\c\T\d\R\e\E\f\X0D\g||||||F|||20260921141320.000+0000",
            "OBX|5|ST|model^model name^99MDL||gbt||||||F|||20260921141320.000+0000",
            "OBX|6|ST|model-sha256^SHA-256 of the model^99MDL||ab||||||F|||20260921141320.000+0000",
            "OBX|7|NM|ledger-index^ledger entry^99MDL|1|17||||||F|||20260921141320.000+0000",
            "OBX|8|NM|ledger-index^ledger entry^99MDL|2|42||||||F|||20260921141320.000+0000",
            "OBX|9|ST|site^site that scored^99MDL||b||||||F|||20260921141320.000+0000",
            "OBX|10|ST|takeover-for^site it stands in for^99MDL||a||||||F|||20260921141320.000+0000",
        ];
        assert_eq!(text.split_terminator('\r').collect::<Vec<_>>(), expected);
    }

    #[test]
    fn our_own_reader_finds_the_facts() {
        let bytes = alert_oru(&facts(), Time(0), "C1", &parties());
        let message = Message::parse(bytes, &Limits::default()).unwrap();
        let feed = Feed { authority: "OTHER".into(), ..Feed::default() };
        let (events, issues) = crate::hl7::to_events(&message, &feed, Time(1_790_000_000_000));
        assert!(issues.iter().all(|i| i.severity != Severity::Error), "{issues:?}");
        assert!(events.iter().all(|e| e.patient == facts().patient && e.at == facts().at));
        let risks = events.iter().filter(|e| matches!(&e.kind, EventKind::Observed(o) if o.code.code == "risk" && matches!(o.value, Value::Quantity { number, .. } if number == 0.83)));
        assert_eq!(risks.count(), 1);
    }

    proptest! {
        #[test]
        fn any_text_comes_through(reason in "\\PC{0,40}|[|^&~\\\\\r\n]{0,8}", id in "[A-Z0-9|^&~\\\\]{1,12}") {
            let facts = AlertFacts { reasons: vec![reason.clone()], patient: PatientId { authority: "H".into(), id: id.as_str().into() }, ..facts() };
            let message = Message::parse(alert_oru(&facts, Time(0), "C1", &parties()), &Limits::default()).unwrap();
            let id = message.get("PID-3.1").map(std::borrow::Cow::into_owned);
            prop_assert_eq!(id.as_deref(), Some(facts.patient.id.as_str()));
            let text = message.get("OBX[4]-5").map(std::borrow::Cow::into_owned);
            prop_assert_eq!(text.as_deref(), Some(reason.as_str()));
        }
    }
}
