//! TOTP and HOTP codes at an account: the window, reuse, drift, resynchronisation, the clock.

use verifier::{
    Account, Algorithm, Counter, Factor, Hotp, Kind, Moving, Period, Reason, RecoveryCode, Reply, Standing,
    StoredRecoveryCode, Totp, Verdict, WallTime,
};

use crate::scene::{
    NOON, at, authenticator, decide, granted, hotp_account, hotp_code, hotp_of, hotp_parameters, parameters, refused,
    rules, secret, step_at, totp_account, totp_code, totp_of, totp_parameters, typed, verdict, wrong,
};

#[test]
fn a_right_code_is_accepted_once() {
    let mut account = totp_account();
    let decision = decide(&mut account, &totp_code(NOON, 0), NOON);
    assert_eq!((decision.verdict, decision.standing, decision.failures), (granted(1), Standing::Open, 0));
    assert_eq!(totp_of(&account).last, step_at(NOON, 0));
    assert_eq!((account.last_granted, account.last_decision), (Some(at(NOON).wall), Some(at(NOON).wall)));
    assert_eq!(account.authenticators[0].last_used, Some(at(NOON).wall));
    for moment in [0, 1, 29, 30, 59] {
        assert_eq!(verdict(&mut account, &totp_code(NOON, 0), NOON + moment), refused(Reason::Reused));
    }
    assert_eq!(verdict(&mut account, &totp_code(NOON, 0), NOON + 60), refused(Reason::Wrong));
}

#[test]
fn the_window_is_one_step_before_and_one_after() {
    for steps in [-1, 0, 1] {
        assert_eq!(verdict(&mut totp_account(), &totp_code(NOON, steps), NOON), granted(1), "{steps}");
    }
    for steps in [-3, -2, 2, 3] {
        assert_eq!(verdict(&mut totp_account(), &totp_code(NOON, steps), NOON), refused(Reason::Wrong), "{steps}");
    }
}

#[test]
fn a_step_before_the_last_accepted_one_is_reuse_and_a_later_one_is_not() {
    let mut account = totp_account();
    assert_eq!(verdict(&mut account, &totp_code(NOON, 0), NOON), granted(1));
    assert_eq!(verdict(&mut account, &totp_code(NOON, -1), NOON), refused(Reason::Reused));
    assert_eq!(verdict(&mut account, &totp_code(NOON, 1), NOON), granted(1));
    assert_eq!(verdict(&mut account, &totp_code(NOON, 0), NOON), refused(Reason::Reused));
}

#[test]
fn every_parameter_counts() {
    for algorithm in [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512] {
        for (digits, seconds) in [(6, 15), (7, 30), (8, 120)] {
            let parameters = parameters(Kind::Totp(Period::new(seconds).unwrap()), algorithm, digits);
            let mut account = Account { authenticators: vec![authenticator(1, parameters, 0)], ..Account::default() };
            let code = verifier::otp::code(&secret(), parameters, NOON / u64::from(seconds));
            assert_eq!(verdict(&mut account, &typed(code), NOON), granted(1), "{parameters:?}");
        }
    }
}

#[test]
fn a_right_value_with_another_number_of_digits_is_wrong() {
    // The code of counter 7 is 162583, and 2162583 with seven digits.
    let mut account = hotp_account(7);
    assert_eq!(verdict(&mut account, &Reply::parse("0162583"), NOON), refused(Reason::Wrong));
    assert_eq!(verdict(&mut account, &Reply::parse("162583"), NOON), granted(2));
}

#[test]
fn an_inactive_authenticator_is_not_looked_at() {
    let mut account = totp_account();
    account.authenticators[0].active = false;
    assert_eq!(verdict(&mut account, &totp_code(NOON, 0), NOON), refused(Reason::NotEnrolled));
    assert_eq!(account.throttle.failures, 1);
    assert_eq!(totp_of(&account), Totp::default());
}

#[test]
fn every_active_authenticator_is_tried_and_the_first_in_order_wins() {
    let mut account = totp_account();
    account.authenticators.push(authenticator(2, hotp_parameters(), 0));
    account.authenticators.push(authenticator(3, totp_parameters(), 0));
    assert_eq!(verdict(&mut account, &hotp_code(0), NOON), granted(2));
    assert_eq!(verdict(&mut account, &totp_code(NOON, 0), NOON), granted(1));
    assert_eq!(account.authenticators[2].moving, Moving::Totp(Totp::default()));
    assert_eq!(verdict(&mut account, &totp_code(NOON, 0), NOON), granted(3), "another authenticator with one secret");
    assert_eq!(verdict(&mut account, &totp_code(NOON, 0), NOON), refused(Reason::Reused));
}

#[test]
fn drift_follows_the_matched_step_by_one_and_stays_within_two() {
    let mut account = totp_account();
    for (count, expected) in [(1, 1), (2, 2), (3, 2), (4, 2)] {
        let moment = NOON + 300 * count;
        let ahead = i64::from(totp_of(&account).drift.unwrap()) + 1;
        assert_eq!(verdict(&mut account, &totp_code(moment, ahead), moment), granted(1));
        assert_eq!(totp_of(&account).drift, Some(expected));
    }
    for (count, expected) in [(5, 1), (6, 0), (7, -1), (8, -2), (9, -2)] {
        let moment = NOON + 300 * count;
        let behind = i64::from(totp_of(&account).drift.unwrap()) - 1;
        assert_eq!(verdict(&mut account, &totp_code(moment, behind), moment), granted(1));
        assert_eq!(totp_of(&account).drift, Some(expected));
    }
}

#[test]
fn a_drift_that_a_resynchronisation_set_is_followed_both_ways_and_a_day_is_the_most() {
    for (drift, offset, expected) in [
        (10, 11, 11),
        (10, 10, 10),
        (10, 9, 9),
        (-360, -361, -361),
        (-360, -359, -359),
        (3, 4, 4),
        (3, 2, 2),
        (2, 3, 2),
        (2880, 2881, 2880),
        (-2880, -2881, -2880),
        (i16::MAX, 2880, 2880),
    ] {
        let mut account = totp_account();
        account.authenticators[0].moving = Moving::Totp(Totp { last: None, drift: Some(drift) });
        assert_eq!(verdict(&mut account, &totp_code(NOON, offset), NOON), granted(1), "{drift}, {offset}");
        assert_eq!(totp_of(&account).drift, Some(expected), "{drift}, {offset}");
    }
}

#[test]
fn the_first_and_the_last_moments_there_are_do_no_harm() {
    assert_eq!(verdict(&mut totp_account(), &totp_code(0, 0), 0), granted(1));
    assert_eq!(verdict(&mut totp_account(), &totp_code(0, 1), 29), granted(1));
    for drift in [None, Some(i16::MIN), Some(-10), Some(10), Some(i16::MAX)] {
        let mut account = totp_account();
        account.authenticators[0].moving = Moving::Totp(Totp { last: None, drift });
        for wall in [WallTime(0), WallTime(u64::MAX)] {
            let now = verifier::Now { wall, ..at(0) };
            assert_eq!(account.decide(&wrong(), &now, &rules()).verdict, refused(Reason::Wrong));
        }
    }
}

#[test]
fn a_code_of_the_step_that_stands_in_for_one_before_the_epoch_is_not_accepted_twice() {
    let mut account = totp_account();
    account.authenticators[0].moving = Moving::Totp(Totp { last: None, drift: Some(-2) });
    assert_eq!(verdict(&mut account, &totp_code(0, 0), 0), refused(Reason::Wrong));
}

#[test]
fn where_two_steps_have_one_code_the_greater_is_spent() {
    // The first two neighbours with one code under this secret.
    let (first, second, code) = (910737, 910738, Reply::parse("911617"));
    let mut account = totp_account();
    assert_eq!(verdict(&mut account, &code, second * 30), granted(1));
    assert_eq!(totp_of(&account).last, step_at(second * 30, 0));
    assert_eq!(verdict(&mut account, &code, second * 30), refused(Reason::Reused));
    let mut account = hotp_account(first);
    assert_eq!(verdict(&mut account, &code, NOON), granted(2));
    assert_eq!(hotp_of(&account).next, Counter(second + 1));
}

#[test]
fn the_next_counter_and_ten_after_it_are_accepted() {
    for counter in 20..=30 {
        let mut account = hotp_account(20);
        assert_eq!(verdict(&mut account, &hotp_code(counter), NOON), granted(2), "{counter}");
        assert_eq!(hotp_of(&account), Hotp { next: Counter(counter + 1), far: None });
    }
    for counter in [17, 18, 31, 32] {
        assert_eq!(verdict(&mut hotp_account(20), &hotp_code(counter), NOON), refused(Reason::Wrong), "{counter}");
    }
}

#[test]
fn the_last_accepted_counter_is_reuse() {
    let mut account = hotp_account(20);
    assert_eq!(verdict(&mut account, &hotp_code(22), NOON), granted(2));
    for moment in [1, 100_000_000] {
        assert_eq!(verdict(&mut account, &hotp_code(22), NOON + moment), refused(Reason::Reused));
    }
    assert_eq!(account.throttle.failures, 0);
}

#[test]
fn the_ends_of_the_counters_do_no_harm() {
    assert_eq!(verdict(&mut hotp_account(0), &hotp_code(0), NOON), granted(2));
    let mut account = hotp_account(u64::MAX - 1);
    assert_eq!(verdict(&mut account, &hotp_code(u64::MAX - 1), NOON), granted(2));
    assert_eq!(verdict(&mut account, &hotp_code(u64::MAX), NOON), refused(Reason::Wrong));
    assert_eq!(hotp_of(&account).next, Counter(u64::MAX));
}

#[test]
fn a_counter_far_out_is_answered_like_a_wrong_code_and_the_next_one_resynchronises() {
    let mut account = hotp_account(20);
    let mut other = hotp_account(20);
    let far = decide(&mut account, &hotp_code(80), NOON);
    assert_eq!(far, decide(&mut other, &wrong(), NOON));
    assert_eq!(hotp_of(&account), Hotp { next: Counter(20), far: Some((Counter(80), at(NOON).wall)) });
    assert_eq!(verdict(&mut account, &hotp_code(81), NOON + 300), granted(2));
    assert_eq!(hotp_of(&account), Hotp { next: Counter(82), far: None });
}

#[test]
fn resynchronisation_reaches_a_hundred_counters_out() {
    let mut account = hotp_account(20);
    assert_eq!(verdict(&mut account, &hotp_code(120), NOON), refused(Reason::Wrong));
    assert_eq!(verdict(&mut account, &hotp_code(121), NOON), granted(2));
    let mut account = hotp_account(20);
    assert_eq!(verdict(&mut account, &hotp_code(121), NOON), refused(Reason::Wrong));
    assert_eq!(verdict(&mut account, &hotp_code(122), NOON), refused(Reason::Wrong));
}

#[test]
fn only_the_directly_following_code_resynchronises() {
    for second in [80, 82, 79] {
        let mut account = hotp_account(20);
        assert_eq!(verdict(&mut account, &hotp_code(80), NOON), refused(Reason::Wrong));
        assert_eq!(verdict(&mut account, &hotp_code(second), NOON), refused(Reason::Wrong), "{second}");
    }
}

#[test]
fn whatever_is_looked_at_in_between_ends_the_chance_to_resynchronise() {
    let unknown = Reply::RecoveryCode(RecoveryCode::from_random(&[9; 25]));
    for between in [wrong(), hotp_code(19), unknown] {
        let mut account = hotp_account(20);
        decide(&mut account, &hotp_code(80), NOON);
        decide(&mut account, &between, NOON);
        account.throttle.unlock();
        assert_eq!(verdict(&mut account, &hotp_code(81), NOON), refused(Reason::Wrong), "{between:?}");
    }
}

#[test]
fn what_is_not_looked_at_does_not_end_the_chance_to_resynchronise() {
    let mut account = hotp_account(20);
    decide(&mut account, &wrong(), NOON);
    decide(&mut account, &wrong(), NOON);
    assert!(decide(&mut account, &hotp_code(80), NOON).lock_set);
    assert_eq!(verdict(&mut account, &hotp_code(81), NOON + 29), refused(Reason::Locked));
    assert_eq!(verdict(&mut account, &Reply::Malformed, NOON + 30), refused(Reason::Malformed));
    assert_eq!(verdict(&mut account, &Reply::BlockedBySshd, NOON + 30), refused(Reason::BlockedBySshd));
    assert_eq!(verdict(&mut account, &hotp_code(81), NOON + 30), granted(2));
}

#[test]
fn the_chance_to_resynchronise_ends_after_five_minutes() {
    let mut account = hotp_account(20);
    decide(&mut account, &hotp_code(80), NOON);
    assert_eq!(verdict(&mut account, &hotp_code(81), NOON + 301), refused(Reason::Wrong));
}

#[test]
fn the_lock_that_a_counter_far_out_set_itself_does_not_eat_up_the_chance_to_resynchronise() {
    for (wait, expected) in [(300, granted(2)), (600, granted(2)), (601, refused(Reason::Wrong))] {
        let mut account = hotp_account(20);
        account.throttle.locks = 3;
        let first = decide(&mut account, &hotp_code(80), NOON);
        assert_eq!(first.standing, Standing::Locked(std::time::Duration::from_secs(300)));
        assert_eq!(verdict(&mut account, &hotp_code(81), NOON + wait), expected, "after {wait} s");
    }
}

#[test]
fn a_counter_far_out_is_not_remembered_where_the_reply_was_no_failure() {
    // A code that is right for one authenticator and far out for another is a login, not half a pair.
    let mut account = hotp_account(80);
    account.authenticators.push(authenticator(3, hotp_parameters(), 20));
    assert_eq!(verdict(&mut account, &hotp_code(80), NOON), granted(2));
    assert_eq!(account.authenticators[1].moving, Moving::Hotp(Hotp { next: Counter(20), far: None }));
}

#[test]
fn a_clock_up_to_two_minutes_back_is_believed() {
    for back in [1, 60, 120] {
        let mut account = totp_account();
        decide(&mut account, &wrong(), NOON);
        assert_eq!(verdict(&mut account, &totp_code(NOON - back, 0), NOON - back), granted(1), "{back}");
    }
}

#[test]
fn a_clock_more_than_two_minutes_back_refuses_totp_with_its_reason() {
    let mut account = totp_account();
    assert_eq!(verdict(&mut account, &totp_code(NOON, 0), NOON), granted(1));
    let back = NOON - 121;
    for steps in [-1, 0, 1] {
        let before = format!("{account:?}");
        let decision = decide(&mut account, &totp_code(back, steps), back);
        assert_eq!((decision.verdict, decision.failures), (refused(Reason::ClockBackwards), 0));
        assert_eq!(format!("{account:?}"), before);
    }
    let decision = decide(&mut account, &wrong(), back);
    assert_eq!((decision.verdict, decision.failures), (refused(Reason::Wrong), 1));
    assert_eq!(verdict(&mut account, &totp_code(NOON + 30, 0), NOON + 30), granted(1));
}

#[test]
fn a_wrong_code_does_not_switch_the_guard_off() {
    let mut account = totp_account();
    assert_eq!(verdict(&mut account, &totp_code(NOON, 0), NOON), granted(1));
    for back in [100, 200, 86_400] {
        decide(&mut account, &wrong(), NOON - back);
        assert_eq!(account.last_decision, Some(at(NOON).wall), "{back}");
        account.throttle.unlock();
    }
    let back = NOON - 86_400;
    assert_eq!(verdict(&mut account, &totp_code(back, 0), back), refused(Reason::ClockBackwards));
}

#[test]
fn hotp_and_recovery_codes_work_while_the_clock_is_back_and_make_it_believed_again() {
    let back = NOON - 86_400;
    let code = RecoveryCode::from_random(&[9; 25]);
    for reply in [hotp_code(0), Reply::RecoveryCode(code.clone())] {
        let mut account = totp_account();
        account.authenticators.push(authenticator(2, hotp_parameters(), 0));
        account.recovery_codes = vec![StoredRecoveryCode { digest: code.digest(&rules().recovery_key), used: None }];
        decide(&mut account, &wrong(), NOON);
        assert_eq!(verdict(&mut account, &totp_code(back, 0), back), refused(Reason::ClockBackwards));
        assert!(matches!(verdict(&mut account, &reply, back), Verdict::Granted(_)));
        assert_eq!(account.last_decision, Some(at(back).wall));
        assert_eq!(verdict(&mut account, &totp_code(back, 0), back), granted(1));
    }
}

#[test]
fn a_code_accepted_before_the_clock_went_back_is_not_accepted_again() {
    let mut account = totp_account();
    account.authenticators.push(authenticator(2, hotp_parameters(), 0));
    assert_eq!(verdict(&mut account, &totp_code(NOON, 0), NOON), granted(1));
    assert_eq!(verdict(&mut account, &hotp_code(0), NOON - 86_400), granted(2));
    let again = [NOON - 86_400, NOON - 60, NOON - 30];
    for moment in again {
        assert_eq!(verdict(&mut account, &totp_code(moment, 0), moment), refused(Reason::Reused), "{moment}");
        account.throttle.unlock();
    }
}

#[test]
fn a_code_that_confirms_an_enrolment_is_spent() {
    let mut account = totp_account();
    account.authenticators[0].active = false;
    assert!(!account.authenticators[0].confirm(&wrong(), &at(NOON)));
    assert!(!account.authenticators[0].confirm(&Reply::Malformed, &at(NOON)));
    assert!(account.authenticators[0].confirm(&totp_code(NOON, 1), &at(NOON)));
    assert!(!account.authenticators[0].confirm(&totp_code(NOON, 1), &at(NOON)));
    account.authenticators[0].active = true;
    assert_eq!(verdict(&mut account, &totp_code(NOON, 1), NOON), refused(Reason::Reused));
    assert_eq!(verdict(&mut account, &totp_code(NOON, 2), NOON + 30), granted(1));
}

#[test]
fn a_counter_that_confirms_an_enrolment_is_spent() {
    let mut account = hotp_account(0);
    assert!(!account.authenticators[0].confirm(&hotp_code(50), &at(NOON)));
    assert!(!account.authenticators[0].confirm(&hotp_code(51), &at(NOON)), "no resynchronisation here");
    assert!(account.authenticators[0].confirm(&hotp_code(2), &at(NOON)));
    assert_eq!(verdict(&mut account, &hotp_code(2), NOON), refused(Reason::Reused));
    assert_eq!(
        decide(&mut account, &hotp_code(3), NOON).verdict,
        Verdict::Granted(Factor::Authenticator(verifier::AuthenticatorId(2)))
    );
}

#[test]
fn an_id_is_shown_as_eight_hexadecimal_digits_and_read_back() {
    for (id, text) in [(0, "00000000"), (0xdead_beef, "deadbeef"), (u32::MAX, "ffffffff")] {
        assert_eq!(verifier::AuthenticatorId(id).to_string(), text);
        assert_eq!(text.parse(), Ok(verifier::AuthenticatorId(id)));
    }
    for text in ["", "1", "+0000001", "0000000g", "123456789"] {
        assert!(text.parse::<verifier::AuthenticatorId>().is_err(), "{text}");
    }
}
