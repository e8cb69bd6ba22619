//! Accounts that come back from an old copy: nothing works again that may have been spent since.

use verifier::throttling::Disabled;
use verifier::{
    Account, AuthenticatorId, Factor, Reason, RecoveryCode, Reply, StoredRecoveryCode, StoredScratchCode, Verdict,
    WallTime,
};

use crate::scene::*;

const SCRATCH: &str = "10000000";

fn recovery_code() -> RecoveryCode {
    RecoveryCode::from_random(&[7; 25])
}

/// A telephone, a key fob, a recovery code and a scratch code.
fn copy() -> Account {
    let key = rules().recovery_key;
    let ends = WallTime::from_seconds(NOON + 90 * 86_400);
    let mut fob = hotp_account(7).authenticators.remove(0);
    fob.secret = verifier::Secret::new(b"09876543210987654321".to_vec()).unwrap();
    let mut account = totp_account();
    account.authenticators.push(fob);
    account.recovery_codes = vec![StoredRecoveryCode { digest: recovery_code().digest(&key), used: None }];
    account.scratch_codes = vec![StoredScratchCode::new(10_000_000, AuthenticatorId(1), [3; 16], ends, &key)];
    account
}

fn fob_code(counter: u64) -> Reply {
    let secret = verifier::Secret::new(b"09876543210987654321".to_vec()).unwrap();
    typed(verifier::otp::code(&secret, hotp_parameters(), counter))
}

/// What is not by time, each in its own way.
fn presented() -> [Reply; 3] {
    [fob_code(7), Reply::RecoveryCode(recovery_code()), Reply::parse(SCRATCH)]
}

fn grants(account: &Account, reply: &Reply, seconds: u64) -> bool {
    let mut account = account.clone();
    account.throttle.clear();
    matches!(verdict(&mut account, reply, seconds), Verdict::Granted(_))
}

#[test]
fn no_code_by_time_works_that_can_have_been_accepted_before_and_all_work_after_it() {
    let mut account = copy();
    account.distrust(&at(NOON));
    // Whatever the drift became meanwhile: 10 steps, and the one around it.
    for drift in -10..=10 {
        let mut drifted = account.clone();
        let verifier::Moving::Totp(totp) = &mut drifted.authenticators[0].moving else { panic!("it is HOTP") };
        totp.drift = drift;
        for step in -11..=11 {
            assert!(!grants(&drifted, &totp_code(NOON, step), NOON), "{drift} {step}");
        }
    }
    let after = NOON + 12 * 30;
    assert!(grants(&account, &totp_code(after, 0), after));
}

#[test]
fn what_works_once_and_key_fobs_wait_for_an_administrator() {
    let mut account = copy();
    assert!(presented().iter().all(|reply| grants(&account, reply, NOON)));
    account.distrust(&at(NOON));
    assert!(presented().iter().all(|reply| !grants(&account, reply, NOON)));
    assert_eq!((account.suspended_codes(), account.scratch_codes_left(at(NOON).wall)), (2, 0));
    account.trust_again();
    assert!(presented().iter().all(|reply| grants(&account, reply, NOON)));
    assert_eq!(account.suspended_codes(), 0);
}

#[test]
fn what_was_spent_before_the_copy_stays_spent_when_it_is_trusted_again() {
    let mut account = copy();
    for reply in presented() {
        assert!(matches!(verdict(&mut account, &reply, NOON), Verdict::Granted(_)));
    }
    account.distrust(&at(NOON));
    account.trust_again();
    for reply in presented() {
        assert_eq!(verdict(&mut account, &reply, NOON + 60), refused(Reason::Reused));
    }
}

#[test]
fn what_the_account_has_spent_since_stays_spent_even_where_the_copy_is_trusted() {
    let mut newer = copy();
    for reply in presented().iter().chain([&totp_code(NOON, 0)]) {
        assert!(matches!(verdict(&mut newer, reply, NOON), Verdict::Granted(_)));
    }
    let mut account = copy();
    account.catch_up(&newer);
    account.trust_again();
    for reply in presented().iter().chain([&totp_code(NOON, 0)]) {
        assert_eq!(verdict(&mut account, reply, NOON), refused(Reason::Reused));
    }
}

#[test]
fn what_is_not_bound_any_more_waits() {
    let mut account = copy();
    // As after a reset.
    account.catch_up(&Account::default());
    assert!(account.authenticators.iter().all(|one| !one.active));
    assert!(presented().iter().all(|reply| !grants(&account, reply, NOON)));
    assert!(!grants(&account, &totp_code(NOON, 0), NOON));
}

#[test]
fn failures_locks_disabling_and_the_earlier_end_are_taken_over_and_never_lowered() {
    let (soon, late) = (WallTime::from_seconds(NOON), WallTime::from_seconds(NOON + 9));
    for (copied, known, left) in
        [(None, Some(soon), Some(soon)), (Some(soon), None, Some(soon)), (Some(late), Some(soon), Some(soon))]
    {
        let (mut account, mut newer) = (copy(), copy());
        account.authenticators[0].expires = copied;
        newer.authenticators[0].expires = known;
        account.throttle.failures = 4;
        newer.throttle.failures = 9;
        newer.throttle.locks = 2;
        newer.throttle.disabled = Some(Disabled::Failures);
        account.catch_up(&newer);
        assert_eq!(account.authenticators[0].expires, left);
        assert_eq!((account.throttle.failures, account.throttle.locks), (9, 2));
        assert_eq!(account.throttle.disabled, Some(Disabled::Failures));
        let mut account = newer.clone();
        account.catch_up(&copy());
        assert_eq!((account.throttle.failures, account.throttle.disabled), (9, Some(Disabled::Failures)));
    }
}

#[test]
fn a_code_that_was_spent_here_is_told_as_reuse_and_not_as_a_guess() {
    let mut newer = copy();
    assert_eq!(verdict(&mut newer, &Reply::parse(SCRATCH), NOON), Verdict::Granted(Factor::RecoveryCode { left: 1 }));
    let mut account = copy();
    account.catch_up(&newer);
    account.distrust(&at(NOON));
    account.trust_again();
    assert_eq!(verdict(&mut account, &Reply::parse(SCRATCH), NOON + 1), refused(Reason::Reused));
    assert_eq!(account.throttle.failures, 0);
}
