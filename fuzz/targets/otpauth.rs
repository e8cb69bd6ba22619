//! `otpauth://` URIs of an import: what the tool reads, the daemon takes or refuses by name, and a taken one can be
//! written and read again.
#![no_main]

#[path = "../../cli/src/base32.rs"]
#[allow(dead_code)]
mod base32;
#[path = "../../cli/src/import/mod.rs"]
#[allow(dead_code, unused_imports)]
mod import;

use import::{Found, Moving, otpauth};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Some(found) = read(text) else { return };
    let account = found.account.clone().unwrap_or_default();
    assert!(!account.is_empty());
    let mut record = dbus_api::ImportRecord::new(account.as_str(), found.secret.to_vec());
    record.label = found.label.clone();
    record.algorithm = found.algorithm.name().to_owned();
    record.digits = found.digits;
    match found.moving {
        Moving::Totp { period, .. } => record.period = period,
        Moving::Hotp { next } => (record.kind, record.counter) = ("hotp".to_owned(), next),
    }
    let Ok(authenticator) = daemon::authenticator::import(&record) else { return };
    let uri = daemon::otpauth::uri("issuer", &account, &authenticator);
    // The account's own colons are left out of the URI; whatever else it has comes back.
    let again = read(&uri).unwrap();
    assert_eq!(*again.secret, *found.secret);
    assert_eq!((again.moving, again.algorithm, again.digits), (found.moving, found.algorithm, found.digits));
});

/// What the tool hands on.
fn read(text: &str) -> Option<Found> {
    otpauth::parse(1, text).ok().flatten().filter(|found| found.check().is_ok())
}
