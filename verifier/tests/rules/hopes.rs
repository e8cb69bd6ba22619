//! Who can be let in at all, and who has nothing: asked before anybody types anything.

use verifier::{Account, AuthenticatorId, Reason, RecoveryCode, StoredRecoveryCode, StoredScratchCode, WallTime};

use crate::scene::*;

fn recovery_code(used: bool) -> StoredRecoveryCode {
    let digest = RecoveryCode::from_random(&[3; 25]).digest(&rules().recovery_key);
    StoredRecoveryCode { digest, used: used.then(|| at(NOON).wall) }
}

/// An account whose last decision lies an hour ahead of [`NOON`].
fn after(account: Account) -> Account {
    Account { last_decision: Some(WallTime::from_seconds(NOON + 3600)), ..account }
}

#[test]
fn whoever_has_neither_an_authenticator_nor_a_recovery_code_has_nothing() {
    assert!(Account::default().has_nothing());
    assert!(!totp_account().has_nothing());
    let mut off = totp_account();
    off.authenticators[0].active = false;
    assert!(!off.has_nothing(), "one that is off can be put on again");
    assert!(!Account { recovery_codes: vec![recovery_code(true)], ..Account::default() }.has_nothing());
}

#[test]
fn nobody_without_an_active_authenticator_or_an_unused_recovery_code_can_be_let_in() {
    let hopeless = |account: &Account| account.hopeless(&at(NOON));
    assert_eq!(hopeless(&totp_account()), None);
    assert_eq!(hopeless(&Account::default()), Some(Reason::NotEnrolled));
    let mut off = totp_account();
    off.authenticators[0].active = false;
    assert_eq!(hopeless(&off), Some(Reason::NotEnrolled));
    off.recovery_codes = vec![recovery_code(true)];
    assert_eq!(hopeless(&off), Some(Reason::NotEnrolled));
    off.recovery_codes = vec![recovery_code(false)];
    assert_eq!(hopeless(&off), None);
}

#[test]
fn a_scratch_code_is_a_hope_until_it_is_used_or_ends() {
    let scratch = |ends| {
        let code = StoredScratchCode::new(12_345_678, AuthenticatorId(1), [5; 16], ends, &rules().recovery_key);
        Account { scratch_codes: vec![code], ..Account::default() }
    };
    let ahead = WallTime::from_seconds(NOON + 1);
    assert_eq!(scratch(ahead).hopeless(&at(NOON)), None);
    assert_eq!(scratch(at(NOON).wall).hopeless(&at(NOON)), Some(Reason::NotEnrolled));
    let mut used = scratch(ahead);
    used.scratch_codes[0].used = Some(at(NOON).wall);
    assert_eq!(used.hopeless(&at(NOON)), Some(Reason::NotEnrolled));
}

#[test]
fn a_clock_that_went_back_leaves_no_hope_to_phones_alone() {
    let hopeless = |account: Account| after(account).hopeless(&at(NOON));
    assert_eq!(hopeless(totp_account()), Some(Reason::ClockBackwards));
    assert_eq!(hopeless(hotp_account(0)), None);
    let both = [totp_account(), hotp_account(0)].map(|account| account.authenticators).concat();
    assert_eq!(hopeless(Account { authenticators: both, ..Account::default() }), None);
    assert_eq!(hopeless(Account { recovery_codes: vec![recovery_code(false)], ..totp_account() }), None);
}

#[test]
fn a_stored_scratch_code_knows_itself_and_no_other() {
    let key = &rules().recovery_key;
    let code = StoredScratchCode::new(12_345_678, AuthenticatorId(1), [5; 16], WallTime(u64::MAX), key);
    assert!(code.is(12_345_678, key));
    assert!(!code.is(12_345_679, key));
}
