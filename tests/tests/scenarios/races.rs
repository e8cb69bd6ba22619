//! Many logins at one instant. Invariant 1: a code is accepted once.

use std::time::Duration;

use anyhow::Result;
use scenarios::{Host, HotpKey, PAM_SUCCESS, Stack};

const PROCESSES: usize = 32;
const ROUNDS: usize = 20;

/// A host whose service `race` asks for a code of `alice`.
fn host() -> Result<Host> {
    Host::build().user_without_password("alice").pam(Stack::code_alone("race")).fake_clock().start()
}

/// All processes present `code`; exactly one is let in.
fn exactly_one_is_let_in(host: &Host, code: &str, round: usize) -> Result<()> {
    let entries = vec![("alice".to_owned(), code.to_owned()); PROCESSES];
    let results = host.race("race", &entries)?;
    let granted = results.iter().filter(|result| **result == PAM_SUCCESS).count();
    assert_eq!(granted, 1, "round {round}: {results:?}\n{}", host.diagnosis());
    Ok(())
}

#[test]
fn one_totp_code_lets_in_exactly_one_of_32_processes() -> Result<()> {
    let host = host()?;
    let phone = host.enrol("alice")?;
    for round in 0..ROUNDS {
        exactly_one_is_let_in(&host, &host.code(&phone, 0)?, round)?;
        host.advance(Duration::from_secs(phone.period))?;
    }
    Ok(())
}

#[test]
fn one_hotp_code_lets_in_exactly_one_of_32_processes() -> Result<()> {
    let host = host()?;
    let fob = HotpKey::numbered(1);
    host.import_hotp("alice", &fob)?;
    for (round, code) in fob.codes(0, u32::try_from(ROUNDS)?)?.iter().enumerate() {
        exactly_one_is_let_in(&host, code, round)?;
    }
    Ok(())
}

#[test]
fn one_recovery_code_lets_in_exactly_one_of_32_processes() -> Result<()> {
    let host = host()?;
    let mut codes = Vec::new();
    for round in 0..ROUNDS {
        if codes.is_empty() {
            host.countersign(&["reset", "alice", "--yes"])?;
            codes = host.enrol("alice")?.recovery_codes;
            assert_eq!(codes.len(), 10);
        }
        exactly_one_is_let_in(&host, &codes.pop().unwrap_or_default(), round)?;
    }
    Ok(())
}

#[test]
fn codes_of_32_accounts_at_one_instant_are_all_accepted() -> Result<()> {
    let names: Vec<String> = (0..PROCESSES).map(|number| format!("user{number}")).collect();
    let mut builder = Host::build().pam(Stack::code_alone("race"));
    for name in &names {
        builder = builder.user_without_password(name);
    }
    let host = builder.start()?;
    let keys: Vec<HotpKey> = (0..PROCESSES).map(|number| HotpKey::numbered(number as u32)).collect();
    let uris: String = names.iter().zip(&keys).map(|(name, key)| key.uri(name)).collect();
    host.feed_as("root", &["countersign", "import", "otpauth", "-"], uris.as_bytes())?.success()?;
    let codes: Vec<Vec<String>> = keys.iter().map(|key| key.codes(0, 5)).collect::<Result<_>>()?;
    for round in 0..5 {
        let entries: Vec<(String, String)> =
            names.iter().zip(&codes).map(|(name, codes)| (name.clone(), codes[round].clone())).collect();
        let results = host.race("race", &entries)?;
        assert!(results.iter().all(|result| *result == PAM_SUCCESS), "round {round}: {results:?}");
        let again = host.race("race", &entries)?;
        assert!(again.iter().all(|result| *result != PAM_SUCCESS), "an update was lost: {again:?}");
        for name in &names {
            host.countersign(&["unlock", name])?;
        }
    }
    Ok(())
}
