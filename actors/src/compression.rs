//! Entry payloads made small before they are sealed: every site keeps each of them in its log and its ledger, so
//! their bytes are what disks, network and hashes have to carry.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use zstd::bulk::{Compressor, Decompressor};

/// Smaller payloads gain nothing; larger ones are documents, mostly packed already, and what unpacking may take
/// stays bounded.
const PLAIN_BYTES: RangeInclusive<usize> = 512..=1 << 20;
/// Level 1 makes a result message another tenth smaller, and takes twice the time to write and to read.
const LEVEL: i32 = -1;

thread_local! {
    // Made once a thread: making one costs as much as a message.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(LEVEL).ok());
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
}

/// `u32 length of plain ‖ zstd frame (RFC 8878)`, or `None` where that gains nothing.
pub(crate) fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    if !PLAIN_BYTES.contains(&plain.len()) {
        return None;
    }
    let frame = COMPRESSOR.with_borrow_mut(|compressor| compressor.as_mut()?.compress(plain).ok())?;
    let length = u32::try_from(plain.len()).ok()?;
    let packed = [&length.to_be_bytes()[..], &frame].concat();
    (packed.len() < plain.len()).then_some(packed)
}

/// What [`compress`] was given; `None` if these bytes are not its result.
pub(crate) fn decompress(packed: &[u8]) -> Option<Vec<u8>> {
    let (length, frame) = packed.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    if !PLAIN_BYTES.contains(&length) {
        return None;
    }
    let plain =
        DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.as_mut()?.decompress(frame, length).ok())?;
    (plain.len() == length).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_within_its_bounds() {
        for length in [512, 5_000, 1 << 20] {
            let plain: Vec<u8> = (0..length).map(|n| (n / 7 % 251) as u8).collect();
            let packed = compress(&plain).unwrap();
            assert!(packed.len() < length / 2, "{length} became {}", packed.len());
            assert_eq!(decompress(&packed).unwrap(), plain);
            for wrong in [0, 511, length as u32 - 1, length as u32 + 1, u32::MAX] {
                let lying = [&wrong.to_be_bytes()[..], &packed[4..]].concat();
                assert_eq!(decompress(&lying), None, "{wrong} for {length}");
            }
            assert_eq!(decompress(&packed[..packed.len() - 1]), None);
        }
        for length in [0, 511, (1 << 20) + 1] {
            assert_eq!(compress(&vec![0; length]), None);
        }
    }

    #[test]
    fn what_does_not_shrink_stays_as_it_is() {
        // xorshift64: noise, the same each time.
        let next = |x: &u64| Some((x ^ (x << 13)) ^ ((x ^ (x << 13)) >> 7)).map(|x| x ^ (x << 17));
        let words = std::iter::successors(Some(0x9E37_79B9_7F4A_7C15_u64), next);
        let noise: Vec<u8> = words.take(512).flat_map(u64::to_be_bytes).collect();
        assert_eq!(compress(&noise), None);
    }
}
