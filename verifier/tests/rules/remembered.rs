//! Remembered logins: where they count, for how long, and what ends them.

use std::time::Duration;

use verifier::remembered::MOST;
use verifier::{BootTime, Limits, Now, Place, Reply, Rules, WallTime};

use crate::scene::{NOON, rules, totp_account};

const HOURS: Duration = Duration::from_secs(3600);

fn place(service: &str, address: &str) -> Place {
    Place::new(service, address.parse().unwrap()).unwrap()
}

fn office() -> Place {
    place("sshd", "192.0.2.7")
}

/// This many seconds after noon, by both clocks.
fn later(seconds: i64) -> Now {
    let boot = BootTime { boot: [1; 16], elapsed: 1_000_000 * 1000 + seconds.unsigned_abs() * 1000 };
    Now { wall: WallTime::from_seconds(NOON.checked_add_signed(seconds).unwrap()), boot }
}

#[test]
fn a_login_is_remembered_at_its_place_alone_and_until_its_end() {
    let mut account = totp_account();
    account.remember(office(), 8 * HOURS, &later(0));
    assert_eq!(account.recall(&office(), 8 * HOURS, &later(60)), Some(8 * HOURS - Duration::from_secs(60)));
    for other in [place("su", "192.0.2.7"), place("sshd", "192.0.2.8"), place("sshd", "2001:db8::7")] {
        assert_eq!(account.recall(&other, 8 * HOURS, &later(60)), None, "{other:?}");
    }
    assert_eq!(account.recall(&office(), 8 * HOURS, &later(28_799)), Some(Duration::from_secs(1)));
    assert_eq!(account.recall(&office(), 8 * HOURS, &later(28_800)), None);
    assert!(account.remembered.is_empty());
}

#[test]
fn a_place_tells_its_service_and_its_address_as_ipv4_where_it_is_one() {
    let mapped = place("sshd", "::ffff:192.0.2.7");
    assert_eq!((mapped.service(), mapped.address().to_string().as_str()), ("sshd", "192.0.2.7"));
}

#[test]
fn an_address_that_means_another_host_on_each_link_is_no_place() {
    for address in ["fe80::1", "169.254.3.4", "0.0.0.0", "::", "::ffff:169.254.3.4"] {
        assert_eq!(Place::new("sshd", address.parse().unwrap()), None, "{address}");
    }
    assert_eq!(Place::new("", "192.0.2.7".parse().unwrap()), None);
    assert_eq!(Place::new(&"x".repeat(65), "192.0.2.7".parse().unwrap()), None);
    assert_eq!(place("sshd", "::ffff:192.0.2.7"), office());
}

#[test]
fn a_wall_clock_that_goes_back_ends_what_is_remembered_for_good() {
    for back in [-1, -121, -86_400] {
        let mut account = totp_account();
        account.remember(office(), 8 * HOURS, &later(0));
        assert_eq!(account.recall(&office(), 8 * HOURS, &later(back)), None, "{back}");
        assert_eq!(account.recall(&office(), 8 * HOURS, &later(60)), None, "{back}");
    }
}

#[test]
fn a_wall_clock_that_stands_before_the_last_decision_ends_what_is_remembered() {
    let mut account = totp_account();
    account.remember(office(), 8 * HOURS, &later(0));
    assert!(account.recall(&office(), 8 * HOURS, &later(20_000)).is_some());
    assert!(account.recall(&office(), 8 * HOURS, &later(19_880)).is_some(), "two minutes are tolerated");
    assert_eq!(account.recall(&office(), 8 * HOURS, &later(19_879)), None);
    assert_eq!(account.recall(&office(), 8 * HOURS, &later(20_001)), None);
}

#[test]
fn a_wall_clock_that_is_held_back_makes_nothing_last_longer() {
    let mut account = totp_account();
    account.remember(office(), 8 * HOURS, &later(0));
    let held = Now { wall: later(60).wall, boot: later(28_800).boot };
    assert_eq!(account.recall(&office(), 8 * HOURS, &held), None);
    // Another boot: it has run for longer than the login counts.
    account.remember(office(), 8 * HOURS, &later(0));
    let another = BootTime { boot: [2; 16], elapsed: 28_800_000 };
    assert_eq!(account.recall(&office(), 8 * HOURS, &Now { wall: later(60).wall, boot: another }), None);
}

#[test]
fn a_shorter_rule_shortens_what_was_granted_under_a_longer_one_and_a_longer_one_does_not_lengthen_it() {
    let mut account = totp_account();
    account.remember(office(), 2 * HOURS, &later(0));
    assert_eq!(account.recall(&office(), 8 * HOURS, &later(0)), Some(2 * HOURS));
    assert_eq!(account.recall(&office(), HOURS, &later(0)), Some(HOURS));
    assert_eq!(account.recall(&office(), HOURS, &later(3600)), None);
    assert_eq!(account.recall(&office(), 8 * HOURS, &later(3601)), None);
}

#[test]
fn while_locked_or_disabled_nothing_is_recalled_and_disabling_by_failures_ends_it() {
    let mut account = totp_account();
    let rules = Rules { limits: Limits { disable_after: 4, ..Limits::default() }, ..rules() };
    account.remember(office(), 8 * HOURS, &later(0));
    for _ in 0..3 {
        account.decide(&Reply::parse("00000000"), &later(1), &rules);
    }
    assert_eq!(account.recall(&office(), 8 * HOURS, &later(2)), None);
    assert!(account.recall(&office(), 8 * HOURS, &later(32)).is_some());
    account.decide(&Reply::parse("00000000"), &later(32), &rules);
    assert!(account.throttle.disabled.is_some());
    assert!(account.remembered.is_empty());
    account.throttle.enable();
    assert_eq!(account.recall(&office(), 8 * HOURS, &later(33)), None);
}

#[test]
fn any_number_of_places_takes_bounded_room_and_the_one_that_ends_first_gives_way() {
    let mut account = totp_account();
    account.remember(office(), HOURS, &later(0));
    for number in 0..100 {
        account.remember(place("sshd", &format!("198.51.100.{number}")), 2 * HOURS, &later(number));
    }
    assert_eq!(account.remembered.len(), MOST);
    assert_eq!(account.recall(&office(), HOURS, &later(100)), None);
    assert!(account.recall(&place("sshd", "198.51.100.99"), 2 * HOURS, &later(100)).is_some());
    account.remember(place("sshd", "198.51.100.99"), 2 * HOURS, &later(100));
    assert_eq!(account.remembered.len(), MOST, "one place is remembered once");
    assert_eq!(account.forget_remembered(), MOST);
}
