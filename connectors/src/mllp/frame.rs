//! Frames out of a byte stream, surviving whatever else is in it. A plain state machine.

use bytes::{Buf, Bytes, BytesMut};

use crate::fault::TOO_LARGE_HEAD_BYTES;

const SB: u8 = 0x0B;
const EB: u8 = 0x1C;
const CR: u8 = 0x0D;
const LF: u8 = 0x0A;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Bytes outside any frame.
    Noise,
    /// A start block right after a start block.
    DoubledStart,
    Empty,
    /// EB without the CR that belongs to it; the message is whole.
    MissingCr,
    /// EB twice; the message is whole.
    DoubledEnd,
    /// The next frame started before this one ended.
    Unterminated,
    TooLarge,
    /// The sender ended the connection in the middle of a frame.
    CutShort,
}

impl Fault {
    /// Stable code, for metrics and refusals.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Fault::Noise => "mllp-noise",
            Fault::DoubledStart => "mllp-doubled-start",
            Fault::Empty => "mllp-empty-frame",
            Fault::MissingCr => "mllp-missing-cr",
            Fault::DoubledEnd => "mllp-doubled-end",
            Fault::Unterminated => "mllp-unterminated",
            Fault::TooLarge => "mllp-too-large",
            Fault::CutShort => "mllp-cut-short",
        }
    }

    pub(crate) fn reason(self) -> &'static str {
        match self {
            Fault::Noise => "bytes outside a frame were skipped; check that the sender frames by MLLP",
            Fault::DoubledStart => "a frame started twice; the message was taken once",
            Fault::Empty => "a frame was empty, and was skipped",
            Fault::MissingCr => "a frame ended without CR; the message was taken",
            Fault::DoubledEnd => "a frame ended twice; the message was taken",
            Fault::Unterminated => "a frame has no end block (0x1C 0x0D); send the message again",
            Fault::TooLarge => {
                "the message is larger than this feed takes; raise max_message_bytes or split it"
            }
            Fault::CutShort => "the connection ended in the middle of the frame; send the message again",
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Message(Bytes),
    /// What came of a message that did not come whole.
    Damaged(Bytes, Fault),
    /// Nothing to keep; to be counted.
    Fault(Fault),
}

pub(crate) struct Decoder {
    buffer: BytesMut,
    /// A message whose frame had a fault, which was told first.
    whole: Option<Bytes>,
    state: State,
    message_bytes_max: usize,
}

enum State {
    Outside {
        noisy: bool,
    },
    Inside {
        scanned: usize,
    },
    /// The rest of a message that is too large.
    Discarding {
        head: Bytes,
    },
}

/// What stands at the end of a frame.
enum End {
    Whole,
    MissingCr,
    /// EB is the last byte so far.
    Unknown,
    /// An EB inside the message.
    Not,
}

impl Decoder {
    pub(crate) fn new(message_bytes_max: usize) -> Decoder {
        let state = State::Outside { noisy: false };
        Decoder { buffer: BytesMut::new(), whole: None, state, message_bytes_max }
    }

    /// Where to read into. Never grows beyond the largest message and one read.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        self.buffer.reserve(16 * 1024);
        &mut self.buffer
    }

    /// The next thing in the bytes so far; `None`: more are needed.
    pub(crate) fn next(&mut self) -> Option<Event> {
        if let Some(message) = self.whole.take() {
            return Some(Event::Message(message));
        }
        loop {
            match &mut self.state {
                State::Outside { noisy } => {
                    let start = memchr::memchr(SB, &self.buffer);
                    let skipped = start.unwrap_or(self.buffer.len());
                    let noise = self.buffer.iter().take(skipped).any(|b| *b != CR && *b != LF);
                    let first = noise && !std::mem::replace(noisy, *noisy || noise);
                    self.buffer.advance(skipped);
                    if start.is_some() {
                        self.buffer.advance(1);
                        self.state = State::Inside { scanned: 0 };
                    }
                    if first {
                        return Some(Event::Fault(Fault::Noise));
                    }
                    start?;
                }
                State::Inside { .. } => return self.inside(),
                State::Discarding { .. } => return self.discard(),
            }
        }
    }

    fn inside(&mut self) -> Option<Event> {
        let State::Inside { scanned } = &mut self.state else { return None };
        while let Some(i) = memchr::memchr2(SB, EB, self.buffer.get(*scanned..)?) {
            let at = *scanned + i;
            if self.buffer.get(at) == Some(&SB) {
                let content = self.buffer.split_to(at).freeze();
                self.buffer.advance(1);
                *scanned = 0;
                return Some(match content.is_empty() {
                    true => Event::Fault(Fault::DoubledStart),
                    false => self.bounded(content, Some(Fault::Unterminated)),
                });
            }
            match end(&self.buffer, at) {
                End::Whole => return Some(self.close(at, true)),
                End::MissingCr => return Some(self.close(at, false)),
                End::Unknown => {
                    *scanned = at;
                    // A doubled end is none of the message's bytes.
                    let bytes = self.buffer.get(..at).map_or(at, message_bytes);
                    return self.give_up(bytes);
                }
                End::Not => *scanned = at + 1,
            }
        }
        *scanned = self.buffer.len();
        self.give_up(self.buffer.len())
    }

    /// Lets go of a message that has come to so many bytes, if that is too many.
    fn give_up(&mut self, bytes: usize) -> Option<Event> {
        if bytes <= self.message_bytes_max {
            return None;
        }
        let head = self.head();
        self.state = State::Discarding { head };
        self.discard()
    }

    fn discard(&mut self) -> Option<Event> {
        let State::Discarding { head } = &mut self.state else { return None };
        while let Some(at) = memchr::memchr2(SB, EB, &self.buffer) {
            let (skip, next) = match (self.buffer.get(at) == Some(&SB), end(&self.buffer, at)) {
                (true, _) => (at + 1, State::Inside { scanned: 0 }),
                (_, End::Whole) => (at + 2, State::Outside { noisy: false }),
                (_, End::MissingCr) => (at + 1, State::Outside { noisy: false }),
                (_, End::Unknown) => {
                    self.buffer.advance(at);
                    return None;
                }
                (_, End::Not) => {
                    self.buffer.advance(at + 1);
                    continue;
                }
            };
            let head = std::mem::take(head);
            self.buffer.advance(skip);
            self.state = next;
            return Some(Event::Damaged(head, Fault::TooLarge));
        }
        self.buffer.clear();
        None
    }

    /// Whether all but a CR of a frame is here: a sender that leaves it out waits for its answer now.
    pub(crate) fn lacks_cr(&self) -> bool {
        !matches!(self.state, State::Outside { .. }) && self.buffer.last() == Some(&EB)
    }

    /// Takes the missing CR for read: the caller counts that it is missing.
    pub(crate) fn supply_cr(&mut self) -> Option<Event> {
        self.buffer.extend_from_slice(&[CR]);
        self.next()
    }

    /// The stream ended: what came of the frame that it ended in.
    pub(crate) fn end(&mut self) -> Option<Event> {
        match std::mem::replace(&mut self.state, State::Outside { noisy: false }) {
            State::Outside { .. } => None,
            State::Inside { .. } => {
                let content = std::mem::take(&mut self.buffer);
                Some(match content.len() {
                    0 => Event::Fault(Fault::CutShort),
                    bytes if bytes > self.message_bytes_max => {
                        Event::Damaged(self.head_of(&content), Fault::TooLarge)
                    }
                    _ => Event::Damaged(self.head_of(&content), Fault::CutShort),
                })
            }
            State::Discarding { head } => Some(Event::Damaged(head, Fault::TooLarge)),
        }
    }

    /// A frame whose content ends at `at`.
    fn close(&mut self, at: usize, has_cr: bool) -> Event {
        let content = self.buffer.split_to(at).freeze();
        self.buffer.advance(if has_cr { 2 } else { 1 });
        self.state = State::Outside { noisy: false };
        let message = message_bytes(&content);
        let event = match message {
            // Some senders keep their connection open by such frames, and wait for no answer.
            0 => return Event::Fault(Fault::Empty),
            bytes => self.bounded(content.slice(..bytes), None),
        };
        let fault = match (has_cr, message == content.len()) {
            (true, true) => return event,
            (false, _) => Fault::MissingCr,
            (true, false) => Fault::DoubledEnd,
        };
        // Damage weighs more, and is told alone.
        let Event::Message(whole) = event else { return event };
        self.whole = Some(whole);
        Event::Fault(fault)
    }

    fn bounded(&self, content: Bytes, fault: Option<Fault>) -> Event {
        match fault {
            _ if content.len() > self.message_bytes_max => {
                Event::Damaged(self.head_of(&content), Fault::TooLarge)
            }
            Some(fault) => Event::Damaged(content, fault),
            None => Event::Message(content),
        }
    }

    /// A copy: a small piece must not keep all of it in memory.
    fn head_of(&self, content: &[u8]) -> Bytes {
        let head = content.len().min(TOO_LARGE_HEAD_BYTES).min(self.message_bytes_max);
        Bytes::copy_from_slice(content.get(..head).unwrap_or(content))
    }

    fn head(&mut self) -> Bytes {
        let head = self.buffer.len().min(TOO_LARGE_HEAD_BYTES).min(self.message_bytes_max);
        self.buffer.split_to(head).freeze()
    }
}

/// How many bytes of a frame's content are its message: an EB before the one that ends it is its double.
fn message_bytes(content: &[u8]) -> usize {
    content.strip_suffix(&[EB]).map_or(content.len(), <[u8]>::len)
}

/// Judges the EB at `at` by what follows it.
fn end(buffer: &[u8], at: usize) -> End {
    match buffer.get(at + 1) {
        None => End::Unknown,
        Some(&CR) => End::Whole,
        Some(&SB | &LF) => End::MissingCr,
        Some(_) => End::Not,
    }
}

/// One message as a frame.
pub(crate) fn encode(message: &[u8]) -> BytesMut {
    let mut frame = BytesMut::with_capacity(message.len() + 3);
    encode_into(message, &mut frame);
    frame
}

/// The same behind the frames in `frames`.
pub(crate) fn encode_into(message: &[u8], frames: &mut BytesMut) {
    frames.extend_from_slice(&[SB]);
    frames.extend_from_slice(message);
    frames.extend_from_slice(&[EB, CR]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `bytes` in chunks of `chunk` and collects what comes out.
    fn decode(bytes: &[u8], chunk: usize, max: usize) -> (Vec<Event>, Option<Event>) {
        let mut decoder = Decoder::new(max);
        let mut events = Vec::new();
        for part in bytes.chunks(chunk.max(1)) {
            decoder.buffer().extend_from_slice(part);
            events.extend(std::iter::from_fn(|| decoder.next()));
        }
        (events, decoder.end())
    }

    fn check(bytes: &[u8], expected: &[Event], at_end: Option<Event>) {
        for chunk in [1, 2, 3, 7, bytes.len()] {
            let (events, end) = decode(bytes, chunk, 16);
            assert_eq!((events.as_slice(), &end), (expected, &at_end), "in chunks of {chunk}");
        }
    }

    fn message(text: &'static str) -> Event {
        Event::Message(Bytes::from_static(text.as_bytes()))
    }

    fn damaged(text: &'static str, fault: Fault) -> Event {
        Event::Damaged(Bytes::from_static(text.as_bytes()), fault)
    }

    #[test]
    fn frames_in_a_row() {
        check(b"\x0bMSH|1\x1c\r\x0bMSH|2\x1c\r", &[message("MSH|1"), message("MSH|2")], None);
        check(b"\x0bMSH|1\x1c\r\r\n\x0bMSH|2\x1c\r", &[message("MSH|1"), message("MSH|2")], None);
        check(b"\x0ba\x1cb\x1c\r", &[message("a\x1cb")], None);
    }

    #[test]
    fn faults_are_survived() {
        check(b"GET /\x0bok\x1c\r", &[Event::Fault(Fault::Noise), message("ok")], None);
        check(b"\x0b\x0bok\x1c\r", &[Event::Fault(Fault::DoubledStart), message("ok")], None);
        check(b"\x0b\x1c\r\x0bok\x1c\r", &[Event::Fault(Fault::Empty), message("ok")], None);
        check(b"\x0b\x1c\x1c\r\x0bok\x1c\r", &[Event::Fault(Fault::Empty), message("ok")], None);
        check(b"\x0bok\x1c\x1c\r", &[Event::Fault(Fault::DoubledEnd), message("ok")], None);
        check(b"\x0bhalf\x0bok\x1c\r", &[damaged("half", Fault::Unterminated), message("ok")], None);
        check(
            b"\x0bok\x1c\x0bok\x1c\n\x0bok\x1c\r",
            &[
                Event::Fault(Fault::MissingCr),
                message("ok"),
                Event::Fault(Fault::MissingCr),
                message("ok"),
                message("ok"),
            ],
            None,
        );
        check(b"\x0bok\x1c\r\x0bhal", &[message("ok")], Some(damaged("hal", Fault::CutShort)));
        check(b"\x0bok\x1c\r\x0b", &[message("ok")], Some(Event::Fault(Fault::CutShort)));
        check(b"\x0b0123456789abcdefXYZ", &[], Some(damaged("0123456789abcdef", Fault::TooLarge)));
        check(
            b"\x0b0123456789abcdefXYZ\x1c\r\x0bok\x1c\r",
            &[damaged("0123456789abcdef", Fault::TooLarge), message("ok")],
            None,
        );
        check(
            b"\x0b0123456789abcdefXYZ\x0bok\x1c\r",
            &[damaged("0123456789abcdef", Fault::TooLarge), message("ok")],
            None,
        );
    }

    /// Of what is cut short only the head is kept, as of what is too large.
    #[test]
    fn a_fragment_is_bounded() {
        let mut decoder = Decoder::new(TOO_LARGE_HEAD_BYTES * 4);
        let fragment = vec![b'x'; TOO_LARGE_HEAD_BYTES * 2];
        decoder.buffer().extend_from_slice(b"\x0b");
        decoder.buffer().extend_from_slice(&fragment);
        assert_eq!(decoder.next(), None);
        let head = Bytes::from(vec![b'x'; TOO_LARGE_HEAD_BYTES]);
        assert_eq!(decoder.end(), Some(Event::Damaged(head, Fault::CutShort)));
    }

    /// Found by fuzzing: each EB could have been the frame's end, and the bound was not looked at.
    #[test]
    fn end_blocks_without_end_are_bounded() {
        let mut decoder = Decoder::new(16);
        decoder.buffer().extend_from_slice(b"\x0b");
        let mut events = Vec::new();
        for _ in 0..1_000 {
            decoder.buffer().extend_from_slice(b"\x1c");
            events.extend(decoder.next());
            assert!(decoder.buffer().len() <= 18);
        }
        decoder.buffer().extend_from_slice(b"\r\x0bok\x1c\r");
        events.extend(std::iter::from_fn(|| decoder.next()));
        let head = Bytes::from_static(&[0x1c; 16]);
        assert_eq!(events, [Event::Damaged(head, Fault::TooLarge), message("ok")]);
    }

    /// Found by fuzzing: a message of just the size that is taken was too large when its doubled end came in pieces.
    #[test]
    fn a_doubled_end_is_not_counted() {
        check(
            b"\x0b0123456789abcdef\x1c\x1c\r",
            &[Event::Fault(Fault::DoubledEnd), message("0123456789abcdef")],
            None,
        );
    }

    #[test]
    fn a_missing_cr_can_be_supplied() {
        let mut decoder = Decoder::new(16);
        decoder.buffer().extend_from_slice(b"\x0bok\x1c");
        assert_eq!(decoder.next(), None);
        assert!(decoder.lacks_cr());
        assert_eq!(decoder.supply_cr(), Some(message("ok")));
        assert!(!decoder.lacks_cr());
    }

    proptest! {
        #[test]
        fn never_panics_and_does_not_depend_on_chunks(
            bytes in proptest::collection::vec(prop_oneof![Just(SB), Just(EB), Just(CR), Just(b'x'), any::<u8>()], 0..80),
            chunk in 1usize..20,
            max in 1usize..17,
        ) {
            prop_assert_eq!(decode(&bytes, chunk, max), decode(&bytes, 1, max));
        }

        #[test]
        fn what_is_encoded_comes_back(messages in proptest::collection::vec("[ -~\r]{1,40}", 0..8)) {
            let stream: Vec<u8> = messages.iter().flat_map(|m| encode(m.as_bytes())).collect();
            let expected: Vec<_> = messages.into_iter().map(|m| Event::Message(m.into())).collect();
            prop_assert_eq!(decode(&stream, 5, 64), (expected, None));
        }
    }
}
