//! `otpauth://` URIs of an import: what the tool reads, the daemon takes or refuses by name, and a taken one can be
//! written and read again.
#![no_main]

#[path = "../../cli/src/base32.rs"]
#[allow(dead_code)]
mod base32;
#[path = "../../cli/src/otpauth.rs"]
#[allow(dead_code)]
mod otpauth;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(record) = otpauth::parse(text) else { return };
    assert!((6..=8).contains(&record.digits));
    assert!(!record.account.is_empty());
    let Ok(authenticator) = daemon::authenticator::import(&record) else { return };
    let uri = daemon::otpauth::uri("issuer", &record.account, &authenticator);
    // The account's own colons are left out of the URI; whatever else it has comes back.
    let again = otpauth::parse(&uri).unwrap();
    assert_eq!(again.secret, record.secret);
    assert_eq!((&again.kind, &again.algorithm, again.digits), (&record.kind, &record.algorithm, record.digits));
    assert_eq!(again.counter, record.counter);
});
