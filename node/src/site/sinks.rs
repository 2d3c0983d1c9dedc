//! `[[sink]]` → sinks.

use std::collections::BTreeMap;
use std::sync::Arc;

use actors::SinkForm;
use anyhow::Context;
use clinical::hl7::ack;
use connectors::mllp::Answered;
use connectors::{Outbound, amqp, kafka, mllp, webhook};

use crate::config::{OnNack, Secret, Sink, SinkKind};

/// HL7 v2.5.1 ch. 2: MSH-10 has at most 20 characters; the alert's id is longer.
const CONTROL_ID_CHARS: usize = 20;

pub fn make(sink: &Sink, site: &str) -> anyhow::Result<actors::Sink> {
    let unusable = || format!("sink {} does not start", sink.name);
    let (kind, form, made): (_, _, Box<dyn connectors::Sink>) = match &sink.kind {
        SinkKind::Webhook { url, tls_ca, headers } => {
            let mut config = webhook::Config::new(url.expose());
            config.headers = secrets(headers);
            config.tls_ca = tls_ca.clone();
            ("webhook", SinkForm::FhirBundle, Box::new(webhook::Sink::new(config).with_context(unusable)?))
        }
        SinkKind::Kafka { brokers, topic, options } => {
            let config = kafka::SinkConfig {
                brokers: brokers.clone(),
                topic: topic.clone(),
                options: secrets(options),
            };
            ("kafka", SinkForm::FhirBundle, Box::new(kafka::Sink::new(&config).with_context(unusable)?))
        }
        SinkKind::Amqp { url, tls_ca, exchange, routing_key } => {
            let mut config = amqp::SinkConfig::new(url.expose(), exchange, routing_key);
            config.tls_ca = tls_ca.clone();
            ("amqp", SinkForm::FhirBundle, Box::new(amqp::Sink::new(config).with_context(unusable)?))
        }
        SinkKind::Mllp { address } => {
            let config = mllp::ClientConfig::new(address.clone());
            ("mllp", oru(site), Box::new(mllp::Sink::new(config, Arc::new(judge))))
        }
    };
    let takeover_for = sink.takeover_for.clone();
    let on_nack = match sink.on_nack {
        OnNack::Skip => actors::OnNack::Skip,
        OnNack::Hold => actors::OnNack::Hold,
        OnNack::Retry(times) => actors::OnNack::Retry(times),
    };
    Ok(actors::Sink { name: sink.name.clone(), kind, sink: made, form, takeover_for, on_nack })
}

fn oru(site: &str) -> SinkForm {
    SinkForm::Oru { sending: format!("MEDULLA-{site}"), receiving: String::new() }
}

fn secrets(values: &BTreeMap<String, Secret>) -> BTreeMap<String, connectors::Secret> {
    values.iter().map(|(name, value)| (name.clone(), connectors::Secret::new(value.expose()))).collect()
}

/// What an answer means: MSA-2 must be our MSH-10, MSA-1 says whether it was taken.
fn judge(message: &Outbound, answer: &[u8]) -> Answered {
    let ack = match ack::read(answer) {
        Ok(ack) => ack,
        Err(error) => return Answered::Unreadable(error.to_string()),
    };
    let control_id = message.id.get(..CONTROL_ID_CHARS).unwrap_or(&message.id);
    if ack.control_id != control_id {
        return Answered::Other;
    }
    if ack.code.is_positive() {
        return Answered::Taken;
    }
    // MSA-3 is the receiver's free text and may quote the message: only the code is passed on.
    Answered::Refused(ack.code.text().into())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn an_answer_must_name_our_message() {
        let id = "0123456789abcdef0123456789abcdef".to_owned();
        let message = Outbound { id, key: String::new(), content_type: "", body: Bytes::new() };
        let answer = |code, id| format!("MSH|^~\\&|A|B|C|D|20240101||ACK|1|P|2.5\rMSA|{code}|{id}\r");
        let judged = |code, id| judge(&message, answer(code, id).as_bytes());
        for taken in ["AA", "CA"] {
            assert_eq!(judged(taken, "0123456789abcdef0123"), Answered::Taken, "{taken}");
        }
        for refused in ["AE", "AR", "CE", "CR"] {
            assert_eq!(judged(refused, "0123456789abcdef0123"), Answered::Refused(refused.into()));
            assert_eq!(judged(refused, "other"), Answered::Other);
        }
        assert_eq!(judged("AA", ""), Answered::Other, "an answer that names none is none to ours");
        assert!(matches!(judge(&message, b"noise"), Answered::Unreadable(_)));
    }
}
