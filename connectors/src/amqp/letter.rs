//! Properties in and out: what the pipeline may read of a message's, and those of a dead letter.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, ShortString};

use crate::Refusal;

/// What a dead letter is made of.
pub(super) struct Original {
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) properties: BasicProperties,
    pub(super) payload: Bytes,
}

impl Original {
    /// Persistent, with the sender's own headers and names. Without its expiry, which would let the letter
    /// disappear, and its user id, which the broker compares with ours.
    pub(super) fn letter(&self, refusal: &Refusal, queue: &str) -> BasicProperties {
        let mut headers = self.properties.headers().clone().unwrap_or_default();
        for (name, value) in [
            ("medulla-code", refusal.code.as_str()),
            ("medulla-reason", refusal.reason.as_str()),
            ("medulla-queue", queue),
            ("medulla-exchange", &self.exchange),
            ("medulla-routing-key", &self.routing_key),
        ] {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        let mut letter = BasicProperties::default().with_headers(headers).with_delivery_mode(2);
        type With = fn(BasicProperties, ShortString) -> BasicProperties;
        let kept: [(&Option<ShortString>, With); 5] = [
            (self.properties.content_type(), BasicProperties::with_content_type),
            (self.properties.content_encoding(), BasicProperties::with_content_encoding),
            (self.properties.message_id(), BasicProperties::with_message_id),
            (self.properties.correlation_id(), BasicProperties::with_correlation_id),
            (self.properties.kind(), BasicProperties::with_type),
        ];
        for (value, with) in kept {
            if let Some(value) = value {
                letter = with(letter, value.clone());
            }
        }
        letter
    }
}

/// Headers that are text or numbers, and the content type.
pub(super) fn headers(properties: &BasicProperties) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    if let Some(content_type) = properties.content_type() {
        texts.insert("content-type".to_owned(), content_type.to_string());
    }
    if let Some(id) = properties.message_id() {
        texts.insert("message-id".to_owned(), id.to_string());
    }
    let headers = properties.headers().as_ref();
    for (name, value) in headers.into_iter().flat_map(|table| table.inner()) {
        let text = match value {
            AMQPValue::LongString(text) => text.to_string(),
            AMQPValue::ShortString(text) => text.to_string(),
            AMQPValue::Boolean(value) => value.to_string(),
            AMQPValue::LongInt(value) => value.to_string(),
            AMQPValue::LongLongInt(value) => value.to_string(),
            _ => continue,
        };
        texts.insert(name.to_string(), text);
    }
    texts
}
