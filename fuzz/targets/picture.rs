//! Pictures of QR codes: a PNG is read within bounds, and what comes out are lines of text.
#![no_main]

#[path = "../../cli/src/base32.rs"]
#[allow(dead_code)]
mod base32;
#[path = "../../cli/src/import/mod.rs"]
#[allow(dead_code, unused_imports)]
mod import;

use import::picture;
use libfuzzer_sys::fuzz_target;

/// More pixels are only slow.
const MOST_PIXELS: u64 = 200_000;

fuzz_target!(|bytes: &[u8]| {
    let number = |at: usize| {
        bytes.get(at..at + 4).map_or(0, |four| four.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    if number(16) * number(20) > MOST_PIXELS {
        return;
    }
    if let Ok(codes) = picture::read_codes(bytes) {
        assert!(codes.ends_with('\n'));
    }
});
