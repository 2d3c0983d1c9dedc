//! The answer to a batch of no messages.

use bytes::Bytes;

use super::write::{Sender, push_segment};
use crate::Time;
use crate::hl7::escape::encode;
use crate::hl7::{Limits, Message, PieceKind, split};

/// A batch of no acknowledgements: nothing of what was sent is in error (HL7 v2.5.1 ch. 2 §2.10.3). BHS-12, and FHS-12
/// where the batch came in a file, name what is answered, of several the first. `control_id` is the answer's own.
pub fn empty_batch(batch: &Bytes, now: Time, control_id: &str) -> Bytes {
    let (file, batch) = (header(batch, b"FHS"), header(batch, b"BHS"));
    let (file, batch) = (file.as_ref().map(Sender::of), batch.as_ref().map(Sender::of));
    let unknown = Sender::unknown();
    let to = batch.as_ref().or(file.as_ref()).unwrap_or(&unknown);
    let mut out = Vec::with_capacity(256);
    if let Some(file) = &file {
        push_header(b"FHS", file, now, control_id, &mut out);
    }
    push_header(b"BHS", to, now, control_id, &mut out);
    push_segment(b"BTS", &[b"0".to_vec()], &to.delimiters, &mut out);
    if let Some(file) = &file {
        push_segment(b"FTS", &[b"1".to_vec()], &file.delimiters, &mut out);
    }
    out.into()
}

/// The first envelope of that name, read as MSH, whose first fields it has.
fn header(batch: &Bytes, name: &[u8]) -> Option<Message> {
    let is_it =
        |piece: &crate::hl7::Piece| piece.kind == PieceKind::Envelope && piece.bytes.starts_with(name);
    let line = split(batch.clone()).find(is_it)?.bytes;
    Message::parse([b"MSH", line.get(3..)?].concat().into(), &Limits::default()).ok()
}

fn push_header(name: &[u8], to: &Sender, now: Time, control_id: &str, out: &mut Vec<u8>) {
    let mut fields = to.addressed(now);
    fields.resize(9, Vec::new());
    fields.extend([encode(control_id, &to.delimiters).into(), to.raw(11).into()]);
    push_segment(name, &fields, &to.delimiters, out);
}
