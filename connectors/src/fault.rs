//! Messages larger than their feed takes: kept by their head, refused.

use bytes::Bytes;

use crate::Refusal;

/// Of a message that is too large, so much is kept for people to see what it was.
pub(crate) const TOO_LARGE_HEAD_BYTES: usize = 64 * 1024;
pub(crate) const TOO_LARGE_REASON: &str =
    "the message is larger than this feed takes; raise max_message_bytes or split it";

/// The payload as it may be handed on, with a fault if only its head is.
pub(crate) fn bounded(payload: Bytes, bytes_max: usize) -> (Bytes, Option<Refusal>) {
    if payload.len() <= bytes_max {
        return (payload, None);
    }
    // A copy: a slice would keep the whole in memory.
    let head = payload.len().min(TOO_LARGE_HEAD_BYTES).min(bytes_max);
    let head = Bytes::copy_from_slice(payload.get(..head).unwrap_or_default());
    (head, Some(Refusal { code: "too-large".into(), reason: TOO_LARGE_REASON.into() }))
}
