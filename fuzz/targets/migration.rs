//! Exports of Google Authenticator: the lengths and numbers of a protocol buffer never lead out of it, and every record is
//! one of an entry.
#![no_main]

#[path = "../../cli/src/base32.rs"]
#[allow(dead_code)]
mod base32;
#[path = "../../cli/src/import/mod.rs"]
#[allow(dead_code, unused_imports)]
mod import;

use import::{Place, migration};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // As it stands, and as what a URI holds: base64 is no hurdle for what is behind it.
    let text = String::from_utf8_lossy(bytes);
    let uri = format!("otpauth-migration://offline?data={}", base64(bytes));
    for text in [&*text, &uri] {
        let Ok(records) = migration::parse(text) else { continue };
        for found in records.iter().flatten() {
            assert!(matches!(found.place, Place::Entry(1..)) && !found.secret.is_empty());
            assert!([6, 8].contains(&found.digits));
        }
    }
});

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - chunk.len()));
        text.extend((0..=chunk.len()).map(|index| char::from(ALPHABET[bits >> (18 - 6 * index) & 0x3f])));
    }
    text
}
