//! Scratch codes of imported authenticators, and secrets that have to be renewed.

use verifier::{
    Account, Authenticator, AuthenticatorId, Factor, Reason, Reply, StoredScratchCode, Verdict, WallTime, scratch_code,
};

use crate::scene::*;

const DAY: u64 = 86_400;

fn store(value: u32, number: u8) -> StoredScratchCode {
    let expires = WallTime::from_seconds(NOON + 90 * DAY);
    StoredScratchCode::new(value, AuthenticatorId(1), [number; 16], expires, &rules().recovery_key)
}

fn account() -> Account {
    Account { scratch_codes: (0..5).map(|one| store(10_000_000 + u32::from(one), one)).collect(), ..totp_account() }
}

fn by_scratch_code(left: u32) -> Verdict {
    Verdict::Granted(Factor::RecoveryCode { left })
}

#[test]
fn each_scratch_code_is_accepted_once_and_its_second_use_is_no_guess() {
    let mut account = account();
    for used in 0..5 {
        let reply = Reply::parse(&format!("{}", 10_000_000 + used));
        assert_eq!(verdict(&mut account, &reply, NOON), by_scratch_code(4 - used));
        assert_eq!(verdict(&mut account, &reply, NOON + 1), refused(Reason::Reused));
        assert_eq!(account.throttle.failures, 0);
    }
    assert_eq!(account.scratch_codes_left(at(NOON).wall), 0);
}

#[test]
fn a_scratch_code_that_has_ended_is_charged_like_any_wrong_code_and_a_clock_that_went_back_revives_it_not() {
    let mut account = account();
    let ended = NOON + 90 * DAY;
    let reply = Reply::parse("10000000");
    assert_eq!(account.scratch_codes_left(at(ended - 1).wall), 5);
    assert_eq!(verdict(&mut account, &reply, ended), refused(Reason::Wrong));
    assert_eq!(account.throttle.failures, 1);
    assert_eq!(verdict(&mut account, &reply, NOON), refused(Reason::Wrong));
    assert_eq!(account.scratch_codes_left(at(NOON).wall), 0);
}

#[test]
fn no_other_code_of_8_digits_and_none_of_another_length_is_a_scratch_code() {
    for wrong in ["10000005", "00000000", "1000000", "010000000"] {
        let mut account = account();
        assert!(matches!(verdict(&mut account, &Reply::parse(wrong), NOON), Verdict::Refused(_)), "{wrong}");
        assert_eq!(account.scratch_codes_left(at(NOON).wall), 5);
    }
}

#[test]
fn a_scratch_code_without_its_leading_zeros_is_none() {
    for short in ["000007", "0000007"] {
        let mut account = Account { scratch_codes: vec![store(7, 1)], ..totp_account() };
        assert_eq!(verdict(&mut account, &Reply::parse(short), NOON), refused(Reason::Wrong), "{short}");
        assert_eq!(verdict(&mut account, &Reply::parse("00000007"), NOON), by_scratch_code(0));
    }
}

#[test]
fn one_code_under_two_salts_has_two_digests_and_stored_twice_it_is_spent_as_one() {
    let (one, other) = (store(10_000_000, 1), store(10_000_000, 2));
    assert_ne!(one.digest, other.digest);
    let mut account = Account { scratch_codes: vec![one, other], ..totp_account() };
    let reply = Reply::parse("10000000");
    assert_eq!(verdict(&mut account, &reply, NOON), by_scratch_code(1));
    assert_eq!(verdict(&mut account, &reply, NOON), refused(Reason::Reused));
}

#[test]
fn an_authenticators_own_code_of_8_digits_goes_before_a_scratch_code() {
    let parameters = parameters(totp_parameters().kind, totp_parameters().algorithm, 8);
    let code = verifier::otp::code(&secret(), parameters, NOON / 30);
    let scratch = store(code.value(), 1);
    let mut account = Account {
        authenticators: vec![authenticator(1, parameters, 0)],
        scratch_codes: vec![scratch],
        ..Account::default()
    };
    assert_eq!(verdict(&mut account, &typed(code), NOON), granted(1));
    assert_eq!(account.scratch_codes[0].used, None);
}

#[test]
fn scratch_codes_go_with_their_authenticator() {
    let mut account = account();
    account.scratch_codes[0].authenticator = AuthenticatorId(9);
    account.forget_orphaned_scratch_codes();
    assert_eq!(account.scratch_codes.len(), 4);
    account.authenticators.clear();
    account.forget_orphaned_scratch_codes();
    assert!(account.scratch_codes.is_empty());
}

#[test]
fn an_authenticator_that_had_to_be_renewed_lets_nobody_in_from_its_end_on() {
    let end = NOON + DAY;
    let short = Authenticator { expires: Some(WallTime::from_seconds(end)), ..authenticator(1, totp_parameters(), 0) };
    let mut account = Account { authenticators: vec![short], ..Account::default() };
    let mut late = account.clone();
    assert_eq!(late.hopeless(&at(end - 1)), None);
    assert_eq!(verdict(&mut account, &totp_code(end - 1, 0), end - 1), granted(1));
    let decision = decide(&mut late, &totp_code(end, 0), end);
    assert_eq!((decision.verdict, decision.failures), (refused(Reason::Expired), 1), "at the very second");
    assert_eq!(late.hopeless(&at(end)), Some(Reason::Expired));
    assert!(!late.authenticators[0].is_in_force(WallTime::from_seconds(end)));
    let other = Authenticator { expires: None, ..late.authenticators[0].clone() };
    late.authenticators.push(Authenticator { id: verifier::AuthenticatorId(2), ..other });
    assert_eq!(verdict(&mut late, &wrong(), end + 60), refused(Reason::Wrong), "another one is in force");
    account.authenticators[0].active = false;
    assert!(!account.authenticators[0].is_in_force(WallTime::from_seconds(end - 1)), "it is off");
}

#[test]
fn as_many_scratch_codes_as_the_old_program_makes_are_looked_at() {
    let codes = (0..scratch_code::MOST as u8).map(|one| store(20_000_000 + u32::from(one), one));
    let mut account = Account { scratch_codes: codes.collect(), ..totp_account() };
    assert_eq!(verdict(&mut account, &Reply::parse("20000009"), NOON), by_scratch_code(9));
}
