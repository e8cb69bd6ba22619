//! Resynchronisation on demand: two codes that follow each other, found within reach, spent, and charged where not found.

use verifier::resynchronisation::{Found, NotAPair, Pair, Search};
use verifier::{
    Account, AuthenticatorId, Counter, Decision, Hotp, Kind, Moving, Period, Reason, Reply, Standing, Totp, WallTime,
};

use crate::scene::{
    NOON, at, granted, hotp_account, hotp_code, hotp_of, refused, rules, secret, step_at, totp_account, totp_code,
    totp_of, verdict, wrong,
};

const DAY: i64 = 2880;

fn pair(first: &Reply, second: &Reply) -> Pair {
    let text = |reply: &Reply| match reply {
        Reply::Code(code) => code.text().to_string(),
        _ => panic!("no code"),
    };
    Pair::parse(&text(first), &text(second)).unwrap()
}

fn seek(account: &Account, pair: Pair, seconds: u64) -> Found {
    let mut search = Search::new(&account.authenticators[0], pair, &at(seconds));
    // In parts, as the daemon does it.
    while !search.advance(100) {}
    search.found()
}

fn resynchronise(account: &mut Account, first: &Reply, second: &Reply, seconds: u64) -> Decision {
    let found = seek(account, pair(first, second), seconds);
    let id = account.authenticators[0].id;
    account.resynchronise(id, found, &at(seconds), &rules().limits, false)
}

/// By the codes of two steps, so many away from now's.
fn totp(account: &mut Account, first: i64, second: i64) -> Decision {
    resynchronise(account, &totp_code(NOON, first), &totp_code(NOON, second), NOON)
}

fn hotp(account: &mut Account, first: u64, second: u64) -> Decision {
    resynchronise(account, &hotp_code(first), &hotp_code(second), NOON)
}

#[test]
fn a_clock_off_by_up_to_a_day_is_found_and_its_drift_kept() {
    for off in [-DAY, -360, -11, 0, 5, 360, DAY] {
        let mut account = totp_account();
        assert_eq!(totp(&mut account, off - 1, off).verdict, granted(1), "{off}");
        let expected = Totp { last: step_at(NOON, off), drift: Some(i16::try_from(off).unwrap()) };
        assert_eq!(totp_of(&account), expected);
        assert_eq!(verdict(&mut account, &totp_code(NOON, off), NOON), refused(Reason::Reused), "it is spent");
        assert_eq!(verdict(&mut account, &totp_code(NOON, off - 1), NOON), refused(Reason::Reused), "{off}");
        assert_eq!(verdict(&mut account, &totp_code(NOON, off + 1), NOON), granted(1), "{off}");
    }
}

#[test]
fn beyond_a_day_nothing_is_found() {
    for off in [-DAY - 1, DAY + 1] {
        let mut account = totp_account();
        assert_eq!(totp(&mut account, off - 1, off).verdict, refused(Reason::Wrong), "{off}");
        assert_eq!(totp_of(&account), Totp::default());
    }
}

#[test]
fn a_day_is_a_day_with_every_period() {
    for period in [15, 30, 60, 120] {
        let parameters =
            crate::scene::parameters(Kind::Totp(Period::new(period).unwrap()), verifier::Algorithm::Sha256, 8);
        let off = 86_400 / u64::from(period);
        let mut account = totp_account();
        account.authenticators[0].parameters = parameters;
        let step = NOON / u64::from(period) - off;
        let code = |step| crate::scene::typed(verifier::otp::code(&secret(), parameters, step));
        let decision = resynchronise(&mut account, &code(step - 1), &code(step), NOON);
        assert_eq!(decision.verdict, granted(1), "{period}");
        assert_eq!(totp_of(&account).drift, Some(-i16::try_from(off).unwrap()));
        assert_eq!(verdict(&mut account, &code(step + 1), NOON), granted(1), "{period}");
    }
}

#[test]
fn the_last_accepted_step_never_goes_back_and_a_spent_code_is_no_half_of_a_pair() {
    for (last, first, expected) in [
        (0, -361, refused(Reason::Reused)),
        (0, -1, refused(Reason::Reused)),
        (0, 0, refused(Reason::Reused)),
        (0, 1, granted(1)),
        (-361, -361, refused(Reason::Reused)),
        (-361, -360, granted(1)),
        (5000, 100, refused(Reason::Reused)),
    ] {
        let mut account = totp_account();
        let spent = Totp { last: step_at(NOON, last), drift: Some(0) };
        account.authenticators[0].moving = Moving::Totp(spent);
        let decision = totp(&mut account, first, first + 1);
        assert_eq!((decision.verdict, decision.failures), (expected, 0), "{last}, {first}");
        assert!(totp_of(&account).last >= spent.last);
        assert_eq!(expected == granted(1), totp_of(&account) != spent);
    }
}

#[test]
fn a_pair_opens_nothing_a_second_time() {
    let mut account = totp_account();
    assert_eq!(totp(&mut account, -360, -359).verdict, granted(1));
    for first in [-361, -360, -359] {
        assert_eq!(totp(&mut account, first, first + 1).verdict, refused(Reason::Reused), "{first}");
    }
    let mut account = hotp_account(20);
    assert_eq!(hotp(&mut account, 80, 81).verdict, granted(2));
    assert_eq!(hotp(&mut account, 80, 81).verdict, refused(Reason::Reused));
    assert_eq!(hotp(&mut account, 81, 82).verdict, refused(Reason::Reused));
}

#[test]
fn counters_are_found_up_to_a_thousand_ahead() {
    for second in [21, 31, 80, 500, 1020] {
        let mut account = hotp_account(20);
        assert_eq!(hotp(&mut account, second - 1, second).verdict, granted(2), "{second}");
        assert_eq!(hotp_of(&account), Hotp { next: Counter(second + 1), far: None });
        assert_eq!(verdict(&mut account, &hotp_code(second), NOON), refused(Reason::Reused));
        assert_eq!(verdict(&mut account, &hotp_code(second + 1), NOON), granted(2));
    }
    assert_eq!(hotp(&mut hotp_account(20), 1020, 1021).verdict, refused(Reason::Wrong));
    assert_eq!(hotp(&mut hotp_account(20), 19, 20).verdict, refused(Reason::Reused));
    assert_eq!(hotp(&mut hotp_account(20), 10, 11).verdict, refused(Reason::Wrong));
}

#[test]
fn the_ends_of_steps_and_counters_do_no_harm() {
    let mut account = totp_account();
    let found = seek(&account, pair(&totp_code(0, 0), &totp_code(0, 1)), 0);
    assert_eq!(found, Found::Pair(1));
    let mut last = hotp_account(u64::MAX);
    for account in [&mut account, &mut last] {
        let id = account.authenticators[0].id;
        for found in [Found::Pair(0), Found::Pair(u64::MAX)] {
            let _ = account.resynchronise(
                id,
                found,
                &verifier::Now { wall: WallTime(u64::MAX), ..at(0) },
                &rules().limits,
                true,
            );
        }
    }
    let account = hotp_account(u64::MAX - 1);
    assert_eq!(seek(&account, pair(&hotp_code(u64::MAX - 1), &hotp_code(u64::MAX)), NOON), Found::Nothing);
}

#[test]
fn codes_that_do_not_follow_each_other_are_told_from_codes_of_nowhere() {
    let account = totp_account();
    for (first, second) in [(-361, -359), (-370, -360), (-360, -361), (-350, -360)] {
        let found = seek(&account, pair(&totp_code(NOON, first), &totp_code(NOON, second)), NOON);
        assert_eq!(found, Found::Apart, "{first}, {second}");
    }
    for (first, second) in [(-371, -360), (0, 2000)] {
        let found = seek(&account, pair(&totp_code(NOON, first), &totp_code(NOON, second)), NOON);
        assert_eq!(found, Found::Nothing, "{first}, {second}");
    }
    for second in [totp_code(NOON, 1), Reply::parse("9999999")] {
        assert_eq!(seek(&account, pair(&wrong(), &second), NOON), Found::Nothing);
    }
}

#[test]
fn what_is_not_found_is_charged_like_a_wrong_code() {
    for (first, second) in [
        (wrong(), totp_code(NOON, 0)),
        (totp_code(NOON, 0), totp_code(NOON, 2)),
        (totp_code(NOON, 1), totp_code(NOON, 0)),
    ] {
        let (mut account, mut other) = (totp_account(), totp_account());
        for count in 1..=3 {
            let decision = resynchronise(&mut account, &first, &second, NOON);
            assert_eq!(decision, crate::scene::decide(&mut other, &wrong(), NOON), "{count}");
        }
        assert_eq!(account.throttle, other.throttle);
        let locked = totp(&mut account, -360, -359);
        assert_eq!(locked.verdict, refused(Reason::Locked), "and then nothing is looked at");
        assert_eq!(totp_of(&account), Totp::default());
        account.throttle.disable();
        assert_eq!(totp(&mut account, -360, -359).verdict, refused(Reason::Disabled));
    }
}

#[test]
fn a_success_is_no_login_and_clears_no_failure() {
    let mut account = totp_account();
    crate::scene::decide(&mut account, &wrong(), NOON);
    assert_eq!(totp(&mut account, -360, -359).failures, 1);
    assert_eq!((account.throttle.failures, account.last_granted), (1, None));
    assert_eq!(account.authenticators[0].last_used, None);
    assert_eq!(account.standing(&at(NOON)), Standing::Open);
}

#[test]
fn neither_an_authenticator_that_is_off_nor_one_that_ended_is_resynchronised() {
    for change in [
        |account: &mut Account| account.authenticators[0].active = false,
        |account: &mut Account| account.authenticators[0].expires = Some(WallTime::from_seconds(NOON)),
        |account: &mut Account| account.authenticators[0].id = AuthenticatorId(77),
    ] {
        let mut account = totp_account();
        let found = seek(&account, pair(&totp_code(NOON, -360), &totp_code(NOON, -359)), NOON);
        change(&mut account);
        let decision = account.resynchronise(AuthenticatorId(1), found, &at(NOON), &rules().limits, true);
        assert_eq!(decision.verdict, refused(Reason::Wrong));
        assert_eq!(totp_of(&account), Totp::default());
    }
}

#[test]
fn a_clock_that_ran_backwards_is_believed_again_where_the_caller_vouches_for_it() {
    let mut account = totp_account();
    account.last_decision = Some(WallTime::from_seconds(NOON + 86_400 * 365));
    assert_eq!(verdict(&mut account, &totp_code(NOON, 0), NOON), refused(Reason::ClockBackwards));
    assert_eq!(totp(&mut account, 0, 1).verdict, refused(Reason::ClockBackwards));
    let found = seek(&account, pair(&totp_code(NOON, 0), &totp_code(NOON, 1)), NOON);
    let decision = account.resynchronise(AuthenticatorId(1), found, &at(NOON), &rules().limits, true);
    assert_eq!(decision.verdict, granted(1));
    assert_eq!(verdict(&mut account, &totp_code(NOON, 2), NOON + 30), granted(1));
    assert_eq!(verdict(&mut account, &totp_code(NOON, 1), NOON + 30), refused(Reason::Reused));
}

#[test]
fn half_a_pair_that_a_login_remembers_ends_with_a_resynchronisation() {
    let mut account = hotp_account(20);
    assert_eq!(verdict(&mut account, &hotp_code(80), NOON), refused(Reason::Wrong));
    assert_eq!(hotp(&mut account, 50, 60).verdict, refused(Reason::Wrong));
    assert_eq!(verdict(&mut account, &hotp_code(81), NOON), refused(Reason::Wrong));
}

#[test]
fn an_authenticator_whose_drift_nobody_knows_counts_as_right_and_is_known_once_it_lets_in() {
    let lost = Totp { last: None, drift: None };
    let mut account = totp_account();
    account.authenticators[0].moving = Moving::Totp(lost);
    assert_eq!(verdict(&mut account, &totp_code(NOON, -360), NOON), refused(Reason::Wrong));
    assert_eq!(totp_of(&account), lost);
    let mut right = account.clone();
    assert_eq!(verdict(&mut right, &totp_code(NOON, 1), NOON), granted(1));
    assert_eq!(totp_of(&right), Totp { last: step_at(NOON, 1), drift: Some(1) });
    assert_eq!(totp(&mut account, -361, -360).verdict, granted(1));
    assert_eq!(totp_of(&account).drift, Some(-360));
}

#[test]
fn two_texts_are_a_pair_only_where_they_are_two_codes() {
    assert_eq!(Pair::parse("123456", "123 456"), Err(NotAPair::Same));
    for (first, second) in [("", "123456"), ("123456", "password"), ("123456", "0123-4567-89AB")] {
        assert_eq!(Pair::parse(first, second), Err(NotAPair::NoCode), "{first}, {second}");
    }
    assert!(Pair::parse("012345", "12345 6").is_ok());
    assert_eq!(format!("{:?}", Pair::parse("123456", "654321").unwrap()), "Pair([REDACTED])");
}
