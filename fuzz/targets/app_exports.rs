//! Exports of authenticator apps: Aegis, andOTP, FreeOTP. Whatever is in the JSON or XML, each record is one of an entry,
//! and no reason repeats any text of the file, which the type of a reason sees to.
#![no_main]

#[path = "../../cli/src/base32.rs"]
#[allow(dead_code)]
mod base32;
#[path = "../../cli/src/import/mod.rs"]
#[allow(dead_code, unused_imports)]
mod import;

use import::{Place, Reading, aegis, andotp, freeotp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    check(andotp::parse(bytes));
    check(freeotp::parse(bytes));
    let Ok(vault) = aegis::Vault::read(bytes) else { return };
    if !vault.is_locked() {
        return check(vault.entries());
    }
    // Only where scrypt costs nothing.
    let text = String::from_utf8_lossy(bytes);
    if text.matches("\"n\"").count() == text.matches("\"n\": 2,").count() {
        check(vault.open("cheap"));
    }
});

fn check(reading: Reading) {
    for (number, one) in (1..).zip(reading.unwrap_or_default()) {
        let place = one.as_ref().map_or_else(|bad| &bad.place, |found| &found.place);
        assert_eq!(*place, Place::Entry(number));
    }
}
