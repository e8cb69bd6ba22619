//! How an account stands, as the contract tells it: never a secret, never a digest.

use dbus_api::{AccountState, EnrollmentSummary, RememberedLogin};
use verifier::{Account, Kind, Moving, Now, Secret, Standing, Totp, WallTime};

use crate::answer::whole_seconds;
use crate::store::{Listed, Record};

/// An account in full; without a record, an account without anything.
#[must_use]
pub fn of(name: &str, record: Option<&Record>, now: &Now) -> EnrollmentSummary {
    let empty = Account::default();
    let account = record.map_or(&empty, |record| &record.account);
    EnrollmentSummary {
        account: name.to_owned(),
        authenticators: account.authenticators.iter().map(authenticator).collect(),
        recovery_codes_left: account.recovery_codes_left(),
        scratch_codes_left: account.scratch_codes_left(now.wall),
        disabled: account.standing(now) == Standing::Disabled,
        locked_for: locked_for(account, now),
        failures: account.throttle.failures,
        enroll_by: None,
        remembered: account.remembered.iter().filter_map(|one| remembered(one, now)).collect(),
        observe: None,
    }
}

/// One account of a list.
#[must_use]
pub fn line(listed: &Listed, now: &Now) -> dbus_api::Account {
    let record = match listed {
        Listed::Record(record) => record,
        Listed::Corrupt { account, .. } => {
            return dbus_api::Account {
                name: account.clone(),
                state: AccountState::Corrupt as u32,
                ..dbus_api::Account::default()
            };
        }
    };
    let account = &record.account;
    let in_force = account.authenticators.iter().filter(|one| one.is_in_force(now.wall)).count();
    dbus_api::Account {
        name: record.name.clone(),
        uid: record.uid,
        state: state(account, now) as u32,
        authenticators: u32::try_from(in_force).unwrap_or(u32::MAX),
        authenticators_off: u32::try_from(account.authenticators.len() - in_force).unwrap_or(u32::MAX),
        recovery_codes_left: account.recovery_codes_left(),
        failures: account.throttle.failures,
        locked_for: locked_for(account, now),
        last_used: account.last_granted.map(WallTime::seconds),
        remembered: u32::try_from(account.remembered.iter().filter(|one| one.left(now).is_some()).count())
            .unwrap_or(u32::MAX),
        enroll_by: None,
    }
}

/// How the account stands.
#[must_use]
pub fn state(account: &Account, now: &Now) -> AccountState {
    match account.standing(now) {
        Standing::Disabled => AccountState::Disabled,
        Standing::Locked(_) => AccountState::Locked,
        Standing::Open if account.authenticators.iter().any(|one| one.is_in_force(now.wall)) => AccountState::Active,
        Standing::Open => AccountState::NotEnrolled,
    }
}

/// Seconds of a time step; 0 where there is none.
#[must_use]
pub fn period(kind: Kind) -> u32 {
    match kind {
        Kind::Totp(period) => period.seconds().into(),
        Kind::Hotp => 0,
    }
}

fn locked_for(account: &Account, now: &Now) -> Option<u64> {
    match account.standing(now) {
        Standing::Locked(time) => Some(whole_seconds(time)),
        Standing::Open | Standing::Disabled => None,
    }
}

/// A remembered login; `None` where it no longer counts.
fn remembered(one: &verifier::Remembered, now: &Now) -> Option<RememberedLogin> {
    Some(RememberedLogin {
        service: one.place.service().into(),
        address: one.place.address().to_string(),
        since: one.since.seconds(),
        left: whole_seconds(one.left(now)?),
    })
}

fn authenticator(one: &verifier::Authenticator) -> dbus_api::Authenticator {
    dbus_api::Authenticator {
        id: one.id.to_string(),
        label: one.label.clone(),
        kind: one.parameters.kind.name().into(),
        algorithm: one.parameters.algorithm.name().into(),
        digits: one.parameters.digits.number().into(),
        period: period(one.parameters.kind),
        active: one.active,
        suspended: one.suspended,
        created: one.created.seconds(),
        last_used: one.last_used.map(WallTime::seconds),
        expires: one.expires.map(WallTime::seconds),
        clock_off: clock_off(one),
        needs_resync: matches!(one.moving, Moving::Totp(Totp { drift: None, .. })),
        weak: one.secret.bytes().len() < Secret::SHORTEST_NEW,
    }
}

/// By how many seconds its clock runs ahead or behind.
pub(crate) fn clock_off(one: &verifier::Authenticator) -> Option<i64> {
    match (one.parameters.kind, one.moving) {
        (Kind::Totp(period), Moving::Totp(totp)) => Some(i64::from(totp.drift?) * i64::from(period.seconds())),
        _ => None,
    }
}
