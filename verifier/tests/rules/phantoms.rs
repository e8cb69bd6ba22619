//! Names without a record: throttled like all others, in a table that does not grow.

use std::time::Duration;

use verifier::{Account, Phantoms, Reason, RecoveryCode, Reply, Standing};

use crate::scene::{NOON, at, refused, rules, wrong};

fn phantoms(slots: usize) -> Phantoms {
    Phantoms::new([3; 32], slots)
}

fn fail(phantoms: &mut Phantoms, name: &str, seconds: u64) -> verifier::Decision {
    phantoms.decide(name, &wrong(), &at(seconds), &rules())
}

#[test]
fn a_phantom_is_decided_about_like_an_account_without_authenticator() {
    let mut phantoms = phantoms(64);
    let mut account = Account::default();
    let recovery = Reply::RecoveryCode(RecoveryCode::from_random(&[9; 25]));
    let replies = [wrong(), recovery, Reply::Malformed, Reply::BlockedBySshd, Reply::parse("123456")];
    for (count, reply) in (0..1000).zip(replies.iter().cycle()) {
        let now = at(NOON + 40 * count);
        assert_eq!(phantoms.standing("nobody", &now), account.standing(&now));
        let expected = account.decide(reply, &now, &rules());
        assert_eq!(phantoms.decide("nobody", reply, &now, &rules()), expected, "reply {count}");
    }
    assert_eq!(phantoms.standing("nobody", &at(u64::MAX / 1000)), Standing::Disabled);
}

#[test]
fn each_name_is_throttled_by_itself() {
    let mut phantoms = phantoms(64);
    for _ in 0..3 {
        assert_eq!(fail(&mut phantoms, "one", NOON).verdict, refused(Reason::NotEnrolled));
    }
    assert_eq!(phantoms.standing("one", &at(NOON)), Standing::Locked(Duration::from_secs(30)));
    for other in ["two", "One", "one ", ""] {
        assert_eq!(phantoms.standing(other, &at(NOON)), Standing::Open, "{other:?}");
    }
}

#[test]
fn a_flood_of_names_does_not_wash_out_a_name_that_is_locked() {
    let mut phantoms = phantoms(64);
    for _ in 0..3 {
        fail(&mut phantoms, "locked", NOON);
    }
    for number in 0..5000 {
        assert_eq!(fail(&mut phantoms, &format!("name {number}"), NOON).failures, 1);
    }
    assert_eq!(phantoms.standing("locked", &at(NOON)), Standing::Locked(Duration::from_secs(30)));
}

#[test]
fn the_longest_untouched_of_equals_gives_way() {
    let mut phantoms = phantoms(4);
    for name in ["a", "b", "c", "d", "e"] {
        fail(&mut phantoms, name, NOON);
    }
    assert_eq!(fail(&mut phantoms, "e", NOON).failures, 2);
    assert_eq!(fail(&mut phantoms, "b", NOON).failures, 2);
    assert_eq!(fail(&mut phantoms, "a", NOON).failures, 1, "it gave way to e");
}

#[test]
fn a_forgotten_name_begins_anew() {
    let mut phantoms = phantoms(64);
    fail(&mut phantoms, "enrolled", NOON);
    phantoms.forget("enrolled");
    phantoms.forget("never seen");
    assert_eq!(fail(&mut phantoms, "enrolled", NOON).failures, 1);
}

#[test]
fn a_table_without_slots_still_throttles() {
    let mut phantoms = phantoms(0);
    for _ in 0..3 {
        fail(&mut phantoms, "nobody", NOON);
    }
    assert_eq!(phantoms.standing("nobody", &at(NOON)), Standing::Locked(Duration::from_secs(30)));
}

#[test]
fn a_slot_is_small() {
    const { assert!(Phantoms::BYTES_PER_SLOT <= 192) };
}
