//! What the tests are played with: accounts, clocks, replies.

use verifier::{
    Account, Algorithm, Authenticator, AuthenticatorId, BootTime, Code, Counter, Decision, Digits, Factor, Hotp, Kind,
    Limits, Moving, Now, Parameters, Period, Reason, RecoveryKey, Reply, Rules, Secret, TimeStep, Totp, Verdict,
    WallTime,
};

pub(crate) const SECRET: &[u8] = b"12345678901234567890";

/// A usual time: 2023-11-14, the first second of a step of 30 seconds.
pub(crate) const NOON: u64 = 1_700_000_010;

pub(crate) fn secret() -> Secret {
    Secret::new(SECRET.to_vec()).unwrap()
}

pub(crate) fn parameters(kind: Kind, algorithm: Algorithm, digits: u32) -> Parameters {
    Parameters { kind, algorithm, digits: Digits::new(digits).unwrap() }
}

pub(crate) fn totp_parameters() -> Parameters {
    parameters(Kind::Totp(Period::new(30).unwrap()), Algorithm::Sha1, 6)
}

pub(crate) fn hotp_parameters() -> Parameters {
    parameters(Kind::Hotp, Algorithm::Sha1, 6)
}

pub(crate) fn authenticator(id: u32, parameters: Parameters, counter: u64) -> Authenticator {
    Authenticator {
        id: AuthenticatorId(id),
        label: "phone".to_owned(),
        active: true,
        parameters,
        secret: secret(),
        moving: parameters.kind.begin(Counter(counter)),
        created: WallTime(0),
        last_used: None,
        expires: None,
        suspended: false,
    }
}

pub(crate) fn totp_account() -> Account {
    Account { authenticators: vec![authenticator(1, totp_parameters(), 0)], ..Account::default() }
}

pub(crate) fn hotp_account(next: u64) -> Account {
    Account { authenticators: vec![authenticator(2, hotp_parameters(), next)], ..Account::default() }
}

pub(crate) fn totp_of(account: &Account) -> Totp {
    let Moving::Totp(totp) = account.authenticators[0].moving else { panic!("it is HOTP") };
    totp
}

pub(crate) fn hotp_of(account: &Account) -> Hotp {
    let Moving::Hotp(hotp) = account.authenticators[0].moving else { panic!("it is TOTP") };
    hotp
}

/// So many seconds after the epoch; the machine booted at the epoch.
pub(crate) fn at(seconds: u64) -> Now {
    let elapsed = seconds.saturating_mul(1000);
    Now { wall: WallTime::from_seconds(seconds), boot: BootTime { boot: [1; 16], elapsed } }
}

pub(crate) fn rules() -> Rules {
    Rules { limits: Limits::default(), recovery_key: RecoveryKey([7; 32]) }
}

/// A code that is never right for an authenticator of 6 digits.
pub(crate) fn wrong() -> Reply {
    Reply::parse("0000000")
}

pub(crate) fn typed(code: Code) -> Reply {
    Reply::parse(&code.text())
}

/// The TOTP code of the step that is so many steps after that of the moment.
pub(crate) fn totp_code(seconds: u64, steps: i64) -> Reply {
    typed(verifier::otp::code(&secret(), totp_parameters(), (seconds / 30).checked_add_signed(steps).unwrap()))
}

pub(crate) fn hotp_code(counter: u64) -> Reply {
    typed(verifier::otp::code(&secret(), hotp_parameters(), counter))
}

pub(crate) fn step_at(seconds: u64, steps: i64) -> Option<TimeStep> {
    Some(TimeStep((seconds / 30).checked_add_signed(steps).unwrap()))
}

pub(crate) fn granted(id: u32) -> Verdict {
    Verdict::Granted(Factor::Authenticator(AuthenticatorId(id)))
}

pub(crate) fn refused(reason: Reason) -> Verdict {
    Verdict::Refused(reason)
}

pub(crate) fn decide(account: &mut Account, reply: &Reply, seconds: u64) -> Decision {
    account.decide(reply, &at(seconds), &rules())
}

pub(crate) fn verdict(account: &mut Account, reply: &Reply, seconds: u64) -> Verdict {
    decide(account, reply, seconds).verdict
}
