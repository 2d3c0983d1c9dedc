//! Any bytes in any pieces: no panic, bounded, the same events however they are cut, and frames that come back whole.
#![no_main]

use frame::{Decoder, Event};
use libfuzzer_sys::fuzz_target;

#[path = "../../src/mllp/frame.rs"]
#[allow(dead_code)]
mod frame;

/// What `frame` takes of the crate.
mod fault {
    pub(crate) const TOO_LARGE_HEAD_BYTES: usize = 16;
}

const MESSAGE_BYTES_MAX: usize = 48;

fn events(bytes: &[u8], piece: usize) -> (Vec<Event>, bool) {
    let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
    let mut events = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        decoder.buffer().extend_from_slice(piece);
        while let Some(event) = decoder.next() {
            events.push(event);
        }
        // What may yet be a doubled end is held as well.
        let held_max = MESSAGE_BYTES_MAX + 1 + piece.len();
        assert!(decoder.buffer().len() <= held_max, "more is held than a message");
    }
    if decoder.lacks_cr() {
        events.extend(decoder.supply_cr());
        events.extend(std::iter::from_fn(|| decoder.next()));
    }
    let cut = decoder.end();
    let inside = cut.is_some();
    events.extend(cut);
    (events, inside)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let whole = events(bytes, bytes.len());
    assert_eq!(events(bytes, usize::from(*cut)), whole);
    for event in &whole.0 {
        if let Event::Message(message) | Event::Damaged(message, _) = event {
            assert!(message.len() <= MESSAGE_BYTES_MAX);
            assert!(message.is_empty() || bytes.windows(message.len()).any(|found| found == message));
        }
    }
    // What holds no framing bytes goes there and back, behind whatever came before.
    let plain: Vec<u8> =
        bytes.iter().copied().filter(|b| !matches!(b, 0x0B | 0x1C)).take(MESSAGE_BYTES_MAX).collect();
    if !plain.is_empty() {
        let frames = [&frame::encode(&plain)[..], &frame::encode(&plain)[..]].concat();
        let message = || Event::Message(plain.clone().into());
        assert_eq!(events(&frames, usize::from(*cut)), (vec![message(), message()], false));
    }
});
