//! Root at the console: locks make it wait and do not keep it out, an administrator's disabling does.

use std::time::Duration;

use verifier::throttling::Disabled;
use verifier::{Account, Decision, Limits, Reason, Reply, Rules, Standing};

use crate::scene::{NOON, at, decide, granted, refused, rules, totp_account, totp_code, verdict, wrong};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at_console(account: &mut Account, reply: &Reply, moment: u64) -> (Decision, Option<Duration>) {
    let decision = account.decide_at_console(reply, &at(moment), &rules());
    let delay = decision.delay;
    (decision, delay)
}

fn fail_elsewhere(account: &mut Account, times: u32, moment: u64) {
    for time in 0..u64::from(times) {
        decide(account, &wrong(), moment + time * 301);
    }
}

#[test]
fn a_lock_from_elsewhere_keeps_nobody_from_the_console_and_stays_in_force_elsewhere() {
    let mut account = totp_account();
    for _ in 0..3 {
        decide(&mut account, &wrong(), NOON);
    }
    assert_eq!(account.standing_at_console(), Standing::Open);
    let malformed = at_console(&mut account, &Reply::parse("hello"), NOON + 1);
    assert_eq!((malformed.0.verdict, malformed.1), (refused(Reason::Malformed), None));
    assert_eq!(account.standing(&at(NOON + 1)), Standing::Locked(seconds(29)));
    let (decision, delay) = at_console(&mut account, &totp_code(NOON, 0), NOON + 1);
    assert_eq!((decision.verdict, decision.standing, delay), (granted(1), Standing::Open, None));
    assert_eq!((account.throttle.failures, account.throttle.lock), (0, None));
}

#[test]
fn wrong_codes_at_the_console_are_counted_told_their_delay_and_lock_everywhere_else() {
    let mut account = totp_account();
    let mut delays = Vec::new();
    for failure in 1..=7 {
        let (decision, delay) = at_console(&mut account, &wrong(), NOON);
        assert_eq!((decision.verdict, decision.standing), (refused(Reason::Wrong), Standing::Open));
        assert_eq!((decision.failures, decision.lock_set), (failure, failure >= 3));
        delays.push(delay.map(|delay| delay.as_secs()));
    }
    assert_eq!(delays, [None, None, Some(30), Some(60), Some(120), Some(300), Some(300)]);
    assert_eq!(verdict(&mut account, &totp_code(NOON, 0), NOON), refused(Reason::Locked));
}

#[test]
fn disabling_by_failures_spares_the_console_alone() {
    let mut account = totp_account();
    fail_elsewhere(&mut account, 50, NOON);
    let later = NOON + 86_400;
    assert_eq!(account.throttle.disabled, Some(Disabled::Failures));
    let (decision, delay) = at_console(&mut account, &wrong(), later);
    assert_eq!((decision.verdict, decision.failures), (refused(Reason::Wrong), 51));
    assert_eq!((decision.disabled_now, delay), (false, Some(seconds(300))));
    let (decision, _) = at_console(&mut account, &totp_code(later, 0), later);
    assert_eq!(decision.verdict, granted(1));
    assert_eq!(account.throttle.disabled, Some(Disabled::Failures));
    assert_eq!(verdict(&mut account, &totp_code(later, 1), later + 30), refused(Reason::Disabled));
}

#[test]
fn failures_at_the_console_disable_everything_else() {
    let mut account = totp_account();
    let strict = Rules { limits: Limits { disable_after: 4, ..Limits::default() }, ..rules() };
    let decisions = (0..5).map(|_| account.decide_at_console(&wrong(), &at(NOON), &strict).disabled_now);
    assert_eq!(decisions.collect::<Vec<_>>(), [false, false, false, true, false]);
    assert_eq!(account.standing(&at(NOON)), Standing::Disabled);
}

#[test]
fn what_an_administrator_disabled_is_disabled_at_the_console_too() {
    let mut account = totp_account();
    account.throttle.disable();
    assert_eq!(account.standing_at_console(), Standing::Disabled);
    let (decision, delay) = at_console(&mut account, &totp_code(NOON, 0), NOON);
    assert_eq!((decision.verdict, decision.standing, delay), (refused(Reason::Disabled), Standing::Disabled, None));
}

#[test]
fn a_code_at_the_console_is_spent_as_anywhere() {
    let mut account = totp_account();
    assert_eq!(at_console(&mut account, &totp_code(NOON, 0), NOON).0.verdict, granted(1));
    assert_eq!(at_console(&mut account, &totp_code(NOON, 0), NOON).0.verdict, refused(Reason::Reused));
    assert_eq!(verdict(&mut account, &totp_code(NOON, 0), NOON), refused(Reason::Reused));
}
