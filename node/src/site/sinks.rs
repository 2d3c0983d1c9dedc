//! `[[sink]]` → sinks.

use std::collections::BTreeMap;
use std::sync::Arc;

use actors::SinkForm;
use anyhow::Context;
use clinical::hl7::ack;
use connectors::mllp::Answered;
use connectors::{Outbound, amqp, kafka, mllp, webhook};

use crate::config::{OnNack, Receiver, ReceiverTls, Secret, Sink, SinkKind};

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
        SinkKind::Kafka { brokers, topic, options, token } => {
            let config = kafka::SinkConfig {
                brokers: brokers.clone(),
                topic: topic.clone(),
                options: secrets(options),
                token: token.clone(),
            };
            ("kafka", SinkForm::FhirBundle, Box::new(kafka::Sink::new(&config).with_context(unusable)?))
        }
        SinkKind::Amqp { broker, exchange, routing_key } => {
            let config = amqp::SinkConfig::new(broker.clone(), exchange, routing_key);
            ("amqp", SinkForm::FhirBundle, Box::new(amqp::Sink::new(config).with_context(unusable)?))
        }
        SinkKind::Mllp(to) => {
            let config = receiver(to);
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

/// Certificates and keys are read anew for each connection.
pub fn receiver(to: &Receiver) -> mllp::ClientConfig {
    let plain = mllp::ClientConfig { timeout_s: to.timeout_s, ..mllp::ClientConfig::new(to.address.clone()) };
    let Some(ReceiverTls { ca, name, identity }) = &to.tls else { return plain };
    mllp::ClientConfig {
        tls_ca: Some(ca.clone()),
        tls_name: name.clone(),
        tls_cert: identity.as_ref().map(|own| own.cert.clone()),
        tls_key: identity.as_ref().map(|own| own.key.clone()),
        ..plain
    }
}

fn oru(site: &str) -> SinkForm {
    SinkForm::Oru { sending: format!("MEDULLA-{site}"), receiving: String::new() }
}

fn secrets(values: &BTreeMap<String, Secret>) -> BTreeMap<String, connectors::Secret> {
    values.iter().map(|(name, value)| (name.clone(), connectors::Secret::new(value.expose()))).collect()
}

/// What an answer means: MSA-2 must be our MSH-10, MSA-1 says whether it was taken.
pub(super) fn judge(message: &Outbound, answer: &[u8]) -> Answered {
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

    use std::path::Path;

    use super::*;
    use crate::config::Tls;

    fn pager(address: &str, keys: &Path, identity: Option<&Path>) -> Sink {
        let identity = identity.map(|of| Tls { cert: of.join("tls-cert.pem"), key: of.join("tls-key.pem") });
        let tls = ReceiverTls { ca: keys.join("ca-cert.pem"), name: Some("localhost".into()), identity };
        let kind = SinkKind::Mllp(Receiver { address: address.into(), timeout_s: 30, tls: Some(tls) });
        Sink {
            name: "pager".into(),
            kind,
            takeover_for: Vec::new(),
            on_nack: OnNack::Skip,
            contents: Default::default(),
        }
    }

    #[tokio::test]
    async fn a_receiver_over_tls_gets_alerts_from_whom_it_knows() {
        let dir = tempfile::tempdir().unwrap();
        let keys =
            raft_ledger::keys::init(&dir.path().join("keys"), &[("a", "localhost"), ("b", "localhost")])
                .unwrap();
        let mut config = mllp::Config::new("127.0.0.1:0");
        config.tls_cert = Some(keys[1].join("tls-cert.pem"));
        config.tls_key = Some(keys[1].join("tls-key.pem"));
        config.tls_client_ca = Some(keys[1].join("ca-cert.pem"));
        let mut receiver = mllp::Source::listen(config).await.unwrap();
        let address = receiver.address().to_string();
        let taking = tokio::spawn(async move {
            use connectors::Source;
            let inbound = receiver.next().await.unwrap();
            let answer = b"MSH|^~\\&|A|B|C|D|20240101||ACK|1|P|2.5\rMSA|AA|1\r";
            inbound
                .receipt
                .committed(connectors::Reply { body: Bytes::from_static(answer), ..Default::default() });
            inbound.payload
        });
        let alert = Outbound {
            id: "1".into(),
            key: String::new(),
            content_type: "",
            body: Bytes::from_static(b"MSH"),
        };
        let mut unknown = make(&pager(&address, &keys[0], None), "a").unwrap();
        assert!(unknown.sink.deliver(&alert).await.is_err(), "it shows no certificate");
        let mut known = make(&pager(&address, &keys[0], Some(&keys[0])), "a").unwrap();
        known.sink.deliver(&alert).await.unwrap();
        assert_eq!(taking.await.unwrap(), alert.body);
    }

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
