//! Recovery codes at an account.

use verifier::{
    Account, Factor, Reason, RecoveryCode, RecoveryDigest, RecoveryKey, Reply, StoredRecoveryCode, Verdict,
    recovery_code::COUNT,
};

use crate::scene::{NOON, at, decide, refused, rules, totp_account, totp_code, verdict, wrong};

fn codes() -> Vec<RecoveryCode> {
    (0..10).map(|number| RecoveryCode::from_random(&std::array::from_fn(|index| number * 25 + index as u8))).collect()
}

fn stored(codes: &[RecoveryCode]) -> Vec<StoredRecoveryCode> {
    let key = rules().recovery_key;
    codes.iter().map(|code| StoredRecoveryCode { digest: code.digest(&key), used: None }).collect()
}

fn account() -> Account {
    Account { recovery_codes: stored(&codes()), ..totp_account() }
}

fn by_recovery_code(left: u32) -> Verdict {
    Verdict::Granted(Factor::RecoveryCode { left })
}

#[test]
fn each_recovery_code_is_accepted_once_in_any_order() {
    let mut account = account();
    assert_eq!(account.recovery_codes_left() as usize, COUNT);
    for (used, index) in (1..).zip([9, 0, 5, 1, 8, 2, 7, 3, 6, 4]) {
        let reply = Reply::parse(&codes()[index].text());
        assert_eq!(verdict(&mut account, &reply, NOON), by_recovery_code(10 - used));
        assert_eq!(account.recovery_codes[index].used, Some(at(NOON).wall));
        assert_eq!(verdict(&mut account, &reply, NOON + 1_000_000), refused(Reason::Reused));
    }
    assert_eq!(account.throttle.failures, 0);
    assert_eq!(account.last_granted, Some(at(NOON).wall));
}

#[test]
fn a_recovery_code_that_is_not_stored_is_charged() {
    let mut account = account();
    let decision = decide(&mut account, &Reply::RecoveryCode(RecoveryCode::from_random(&[9; 25])), NOON);
    assert_eq!((decision.verdict, decision.failures), (refused(Reason::Wrong), 1));
}

#[test]
fn recovery_codes_work_without_an_active_authenticator() {
    let mut account = account();
    account.authenticators[0].active = false;
    assert_eq!(verdict(&mut account, &totp_code(NOON, 0), NOON), refused(Reason::Wrong));
    assert_eq!(verdict(&mut account, &Reply::RecoveryCode(codes()[0].clone()), NOON), by_recovery_code(9));
}

#[test]
fn an_account_with_nothing_but_used_recovery_codes_is_not_enrolled() {
    let mut account = Account { recovery_codes: stored(&codes()[..1]), ..Account::default() };
    let code = Reply::RecoveryCode(codes()[0].clone());
    assert_eq!(verdict(&mut account, &code, NOON), by_recovery_code(0));
    assert_eq!(verdict(&mut account, &code, NOON), refused(Reason::Reused));
    assert_eq!(verdict(&mut account, &wrong(), NOON), refused(Reason::NotEnrolled));
}

#[test]
fn a_recovery_code_stored_twice_is_spent_as_one() {
    let mut account = account();
    account.recovery_codes.extend(stored(&codes()[..1]));
    let code = Reply::RecoveryCode(codes()[0].clone());
    assert_eq!(verdict(&mut account, &code, NOON), by_recovery_code(9));
    assert_eq!(verdict(&mut account, &code, NOON), refused(Reason::Reused));
}

#[test]
fn recovery_codes_are_not_looked_at_while_the_account_is_disabled() {
    let mut account = account();
    account.throttle.disable();
    assert_eq!(verdict(&mut account, &Reply::RecoveryCode(codes()[0].clone()), NOON), refused(Reason::Disabled));
    assert_eq!(account.recovery_codes_left(), 10);
}

#[test]
fn a_digest_is_hmac_sha_256_of_the_25_characters() {
    // printf %s 0123456789ABCDEFGHJKMNPQR | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707…07
    let code = RecoveryCode::parse("01234-56789-abcde-fghjk-mnpqr").unwrap();
    let RecoveryDigest(digest) = code.digest(&RecoveryKey([7; 32]));
    let hexadecimal: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hexadecimal, "b05644f7f41fdc9cba69eb8b082baf3b6ba7826bac8d624d24b51dc7b40f27d7");
    assert_ne!(code.digest(&RecoveryKey([8; 32])).0, digest);
}

#[test]
fn a_code_uses_five_bits_of_each_random_byte() {
    let low: [u8; 25] = std::array::from_fn(|index| index as u8 + 7);
    assert_eq!(*RecoveryCode::from_random(&low).text(), "789AB-CDEFG-HJKMN-PQRST-VWXYZ");
    assert!(RecoveryCode::from_random(&low) == RecoveryCode::from_random(&low.map(|byte| byte | 0xe0)));
}

#[test]
fn the_key_shows_nothing_in_debug_output() {
    assert!(format!("{:?}", rules()).contains("RecoveryKey([REDACTED])"));
}
