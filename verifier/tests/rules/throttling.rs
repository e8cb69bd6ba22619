//! Counting, locking, disabling.

use std::time::Duration;

use verifier::throttling::Disabled;
use verifier::{BootTime, Limits, Now, Reason, Standing, Throttle, WallTime};

use crate::scene::{NOON, at, decide, granted, refused, rules, totp_account, totp_code, verdict, wrong};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A throttle that was locked for 30 seconds at noon.
fn locked() -> Throttle {
    let mut throttle = Throttle::default();
    for _ in 0..3 {
        throttle.charge(&at(NOON), &Limits::default());
    }
    assert_eq!(throttle.locked_for(&at(NOON)), Some(seconds(30)));
    throttle
}

#[test]
fn three_failures_within_five_minutes_lock_for_thirty_seconds() {
    let mut account = totp_account();
    assert_eq!(decide(&mut account, &wrong(), NOON).standing, Standing::Open);
    assert_eq!(decide(&mut account, &wrong(), NOON + 150).standing, Standing::Open);
    let third = decide(&mut account, &wrong(), NOON + 300);
    assert_eq!((third.standing, third.lock_set, third.failures), (Standing::Locked(seconds(30)), true, 3));
    assert_eq!(verdict(&mut account, &totp_code(NOON + 329, 0), NOON + 329), refused(Reason::Locked));
    assert_eq!(verdict(&mut account, &totp_code(NOON + 330, 0), NOON + 330), granted(1));
}

#[test]
fn three_failures_in_more_than_five_minutes_do_not_lock() {
    let mut account = totp_account();
    for moment in [0, 150, 301, 460, 760, 1200] {
        let decision = decide(&mut account, &wrong(), NOON + moment);
        assert_eq!((decision.standing, decision.lock_set), (Standing::Open, false), "after {moment} s");
    }
    assert_eq!(account.throttle.failures, 6);
}

#[test]
fn each_failure_after_a_lock_sets_the_next_one_at_once_however_late() {
    let mut account = totp_account();
    for _ in 0..3 {
        decide(&mut account, &wrong(), NOON);
    }
    let mut moment = NOON;
    for expected in [60, 120, 300, 300, 300] {
        moment += 86_400;
        let decision = decide(&mut account, &wrong(), moment);
        assert_eq!((decision.standing, decision.lock_set), (Standing::Locked(seconds(expected)), true));
    }
}

#[test]
fn nothing_is_looked_at_charged_or_spent_while_locked() {
    let mut account = totp_account();
    for _ in 0..3 {
        decide(&mut account, &wrong(), NOON);
    }
    let before = format!("{account:?}");
    for reply in [wrong(), totp_code(NOON, 0), verifier::Reply::Malformed, verifier::Reply::BlockedBySshd] {
        let decision = decide(&mut account, &reply, NOON + 10);
        assert_eq!(decision.verdict, refused(Reason::Locked));
        assert_eq!((decision.standing, decision.failures), (Standing::Locked(seconds(20)), 3));
        assert!(!decision.lock_set && !decision.disabled_now);
    }
    assert_eq!(format!("{account:?}"), before);
    assert_eq!(verdict(&mut account, &totp_code(NOON, 0), NOON + 30), granted(1));
}

#[test]
fn a_lock_that_lifts_by_itself_leaves_the_count_and_fifty_failures_disable() {
    let mut account = totp_account();
    let mut moment = NOON;
    for count in 1..50 {
        let decision = decide(&mut account, &wrong(), moment);
        assert_eq!((decision.failures, decision.disabled_now), (count, false));
        moment += 3600;
    }
    let last = decide(&mut account, &wrong(), moment);
    assert_eq!((last.failures, last.disabled_now, last.lock_set), (50, true, false));
    assert_eq!(last.standing, Standing::Disabled);
    moment += 1_000_000;
    assert_eq!(verdict(&mut account, &totp_code(moment, 0), moment), refused(Reason::Disabled));
    account.throttle.unlock();
    assert_eq!(verdict(&mut account, &totp_code(moment, 0), moment), refused(Reason::Disabled));
    account.throttle.enable();
    assert_eq!(verdict(&mut account, &totp_code(moment, 0), moment), granted(1));
}

#[test]
fn a_success_clears_failures_and_locks() {
    let mut account = totp_account();
    for moment in [0, 0, 0, 3600] {
        decide(&mut account, &wrong(), NOON + moment);
    }
    let decision = decide(&mut account, &totp_code(NOON + 7200, 0), NOON + 7200);
    assert_eq!((decision.verdict, decision.failures, decision.standing), (granted(1), 4, Standing::Open));
    assert_eq!(account.throttle, Throttle::default());
}

#[test]
fn unlocking_begins_the_locks_anew_but_not_the_count() {
    let mut throttle = locked();
    throttle.unlock();
    assert_eq!((throttle.locked_for(&at(NOON)), throttle.failures), (None, 3));
    for expected in [None, None, Some(seconds(30))] {
        throttle.charge(&at(NOON + 1), &Limits::default());
        assert_eq!(throttle.locked_for(&at(NOON + 1)), expected);
    }
    assert_eq!(throttle.failures, 6);
}

#[test]
fn an_administrator_disables_and_enables() {
    let mut throttle = locked();
    throttle.disable();
    throttle.clear();
    assert_eq!(throttle.disabled, Some(Disabled::Administrator));
    throttle.enable();
    assert_eq!(throttle, Throttle::default());
}

#[test]
fn codes_that_are_no_guesses_are_not_charged() {
    let mut account = totp_account();
    assert_eq!(verdict(&mut account, &totp_code(NOON, 0), NOON), granted(1));
    for reply in [totp_code(NOON, 0), verifier::Reply::Malformed, verifier::Reply::BlockedBySshd] {
        let decision = decide(&mut account, &reply, NOON + 1);
        assert_eq!((decision.failures, decision.standing), (0, Standing::Open));
    }
}

#[test]
fn a_clock_set_back_does_not_lengthen_a_lock() {
    let throttle = locked();
    let back = |elapsed| Now { wall: WallTime::from_seconds(NOON - 86_400), boot: at(NOON + elapsed).boot };
    assert_eq!(throttle.locked_for(&back(0)), Some(seconds(30)));
    assert_eq!(throttle.locked_for(&back(29)), Some(seconds(1)));
    assert_eq!(throttle.locked_for(&back(30)), None);
}

#[test]
fn a_clock_set_forward_ends_a_lock() {
    let forward = Now { wall: WallTime::from_seconds(NOON + 30), boot: at(NOON).boot };
    assert_eq!(locked().locked_for(&forward), None);
}

#[test]
fn a_reboot_does_not_lengthen_a_lock_whatever_the_wall_clock_says() {
    let throttle = locked();
    let rebooted = |wall: u64, elapsed: u64| Now {
        wall: WallTime::from_seconds(wall),
        boot: BootTime { boot: [2; 16], elapsed: elapsed * 1000 },
    };
    assert_eq!(throttle.locked_for(&rebooted(NOON + 20, 5)), Some(seconds(10)));
    assert_eq!(throttle.locked_for(&rebooted(NOON + 30, 5)), None);
    assert_eq!(throttle.locked_for(&rebooted(0, 5)), Some(seconds(25)));
    assert_eq!(throttle.locked_for(&rebooted(0, 30)), None);
    assert_eq!(throttle.locked_for(&rebooted(NOON, u64::MAX / 1000)), None);
}

#[test]
fn failures_that_a_clock_set_back_left_in_the_future_count_as_now() {
    let limits = Limits::default();
    let mut throttle = Throttle::default();
    throttle.charge(&at(NOON + 86_400), &limits);
    throttle.charge(&at(NOON), &limits);
    assert_eq!(throttle.recent, vec![at(NOON).wall; 2]);
    throttle.charge(&at(NOON + 301), &limits);
    assert_eq!((throttle.locks, throttle.recent.len()), (0, 1));
}

#[test]
fn limits_out_of_their_ranges_only_make_throttling_stricter() {
    let limits = Limits { failures: 0, window: Duration::MAX, locks: Vec::new(), disable_after: 0 };
    let mut throttle = Throttle::default();
    throttle.charge(&at(u64::MAX), &Limits { disable_after: u32::MAX, ..limits.clone() });
    assert_eq!(throttle.locked_for(&at(u64::MAX)), Some(seconds(300)));
    throttle.charge(&at(0), &limits);
    assert_eq!(throttle.disabled, Some(Disabled::Failures));
}

#[test]
fn what_is_remembered_of_failures_is_bounded() {
    let mut throttle = Throttle { failures: u32::MAX, locks: u32::MAX, ..Throttle::default() };
    for _ in 0..1000 {
        throttle.charge(&at(NOON), &Limits { disable_after: u32::MAX, ..rules().limits });
    }
    assert_eq!((throttle.recent.len(), throttle.failures, throttle.locks), (3, u32::MAX, u32::MAX));
}
