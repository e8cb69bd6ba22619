//! Accounts that come back from an old copy: nothing works again that may have been spent since.

use verifier::throttling::Disabled;
use verifier::{
    Account, AuthenticatorId, Factor, Moving, Reason, RecoveryCode, Reply, StoredRecoveryCode, StoredScratchCode,
    TimeStep, Totp, Verdict, WallTime,
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
        totp.drift = Some(drift);
        for step in -11..=11 {
            assert!(!grants(&drifted, &totp_code(NOON, step), NOON), "{drift} {step}");
        }
    }
    let after = NOON + 12 * 30;
    assert!(grants(&account, &totp_code(after, 0), after));
}

#[test]
fn the_drift_of_a_clock_that_is_known_to_be_ahead_is_allowed_for() {
    for drift in [-2880, -2, 0, 2, 100, 2880] {
        let mut account = copy();
        let moving = &mut account.authenticators[0].moving;
        *moving = Moving::Totp(Totp { last: None, drift: Some(drift) });
        // It went on for some steps after the copy was made.
        for since in 0..=10_i16 {
            let mut newer = account.clone();
            newer.authenticators[0].moving = Moving::Totp(Totp { last: None, drift: Some(drift.min(2870) + since) });
            let shown = totp_code(NOON, i64::from(drift.min(2870) + since + 1));
            assert!(grants(&newer, &shown, NOON), "{drift} {since}");
            let mut restored = newer.clone();
            restored.authenticators[0].moving = *moving_of(&account);
            restored.distrust(&at(NOON));
            let last = totp_of(&restored).last;
            assert!(last >= step_at(NOON, i64::from(drift.min(2870) + since + 1)), "{drift} {since} {last:?}");
        }
        account.distrust(&at(NOON));
        assert_eq!(totp_of(&account).last, step_at(NOON, i64::from(drift.max(0)) + 11));
        let after = NOON + u64::try_from(i64::from(drift.max(0)) - i64::from(drift) + 12).unwrap() * 30;
        assert!(grants(&account, &totp_code(after, i64::from(drift)), after), "{drift}");
    }
}

fn moving_of(account: &Account) -> &Moving {
    &account.authenticators[0].moving
}

#[test]
fn what_the_newer_knows_of_a_clock_is_taken_over_and_nothing_is_unlearnt() {
    let known = |last: u64, drift| Totp { last: Some(TimeStep(last)), drift };
    for (copied, newer, left) in [
        (known(5, Some(1)), known(9, Some(700)), known(9, Some(700))),
        (known(9, Some(1)), known(5, Some(700)), known(9, Some(1))),
        (known(5, None), known(9, Some(700)), known(9, Some(700))),
        (known(5, None), known(5, Some(700)), known(5, Some(700))),
        (known(5, None), known(9, None), known(9, None)),
        (known(5, Some(1)), known(9, None), known(9, Some(1))),
    ] {
        let [mut account, mut other] = [copied, newer].map(|totp| {
            let mut account = copy();
            account.authenticators[0].moving = Moving::Totp(totp);
            account
        });
        account.catch_up(&other);
        assert_eq!(totp_of(&account), left, "{copied:?} {newer:?}");
        other.distrust(&at(NOON));
        assert_eq!(totp_of(&other).drift, newer.drift, "a restore learns nothing of a clock");
    }
}

#[test]
fn a_fob_that_was_disabled_by_itself_stays_so_when_the_account_is_trusted_again() {
    for newer_knows in [false, true] {
        let mut account = copy();
        let mut disabled = copy();
        disabled.authenticators[1].active = false;
        if newer_knows {
            account.catch_up(&disabled);
        } else {
            account = disabled;
        }
        account.distrust(&at(NOON));
        assert!(account.authenticators[1].suspended);
        account.trust_again();
        assert!(!account.authenticators[1].suspended && !account.authenticators[1].active);
        assert!(!grants(&account, &fob_code(7), NOON));
    }
}

#[test]
fn what_waits_here_since_a_restore_waits_after_another_one() {
    let mut newer = copy();
    newer.distrust(&at(NOON));
    let mut account = copy();
    account.catch_up(&newer);
    assert!(account.authenticators[1].suspended && !account.authenticators[1].is_on());
    assert!(!grants(&account, &fob_code(7), NOON));
    assert_eq!(account.suspended_codes(), 2);
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
    assert!(account.authenticators.iter().all(|one| one.active && one.suspended));
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
