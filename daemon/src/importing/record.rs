//! One record of an import, parsed into what may be stored. Nothing in it is believed beyond the bounds of this
//! daemon's own authenticators, and what was changed is said.

use std::time::Duration;

use dbus_api::{Error, ImportRecord};
use verifier::{
    Authenticator, Counter, Hotp, Kind, Moving, Period, RecoveryKey, Secret, StoredScratchCode, TimeStep, Totp,
    WallTime, otp,
};
use zeroize::Zeroizing;

use crate::administration::{NO_NAME, is_storable};
use crate::{authenticator, clock, random};

/// How long scratch codes open anything where nobody says.
const SCRATCH_CODES_LAST: Duration = Duration::from_secs(90 * 86_400);
/// The longest time for which they may.
const SCRATCH_CODES_LAST_AT_MOST: Duration = Duration::from_secs(366 * 86_400);
/// How long a secret opens anything that is shorter than new ones may be, where nobody says.
const SHORT_SECRETS_LAST: Duration = Duration::from_secs(365 * 86_400);
/// The longest time for which it may.
const SHORT_SECRETS_LAST_AT_MOST: Duration = Duration::from_secs(732 * 86_400);
/// The greatest drift that a resynchronisation sets here, in steps.
const DRIFT_AT_MOST: i64 = 10;
/// Within how many steps around its time a last code is sought: the widest window that people configure.
const SOUGHT_AROUND: u64 = 20;
/// The greatest value of a code of 8 digits.
const GREATEST_CODE: u32 = 99_999_999;

/// A record that may be stored.
pub struct Imported {
    /// The authenticator, with all that was used of it elsewhere.
    pub authenticator: Authenticator,
    /// The scratch codes that come with it.
    pub(super) scratch_codes: Vec<StoredScratchCode>,
    /// What was changed of what the record says.
    pub(super) remarks: Vec<String>,
    /// The scratch codes as numbers, where the record says anything of such.
    values: Option<Zeroizing<Vec<u32>>>,
    key: RecoveryKey,
}

impl Imported {
    /// Parses a record.
    ///
    /// # Errors
    /// `InvalidArgument`, `Unavailable` where the kernel gives no random bytes.
    pub fn parse(record: &ImportRecord, key: &RecoveryKey) -> Result<Self, Error> {
        if !is_storable(&record.account) {
            return Err(Error::InvalidArgument(NO_NAME.into()));
        }
        let now = clock::wall();
        let mut remarks = Vec::new();
        let mut authenticator = authenticator::import(record)?;
        authenticator.moving = moving(&authenticator, record, now, &mut remarks)?;
        if authenticator.secret.bytes().len() < Secret::SHORTEST_NEW {
            let ends = end("renew_by", record.renew_by, now, SHORT_SECRETS_LAST, SHORT_SECRETS_LAST_AT_MOST)?;
            authenticator.expires = Some(ends);
            remarks.push(format!(
                "its secret has {} bits only and has to be renewed within {} days",
                authenticator.secret.bytes().len() * 8,
                days(ends, now)
            ));
        }
        let values = record.scratch_codes.clone().map(Zeroizing::new);
        let until = record.scratch_codes_until;
        let ends = end("scratch_codes_until", until, now, SCRATCH_CODES_LAST, SCRATCH_CODES_LAST_AT_MOST)?;
        let mut scratch_codes = Vec::new();
        for value in values.iter().flat_map(|values| values.iter()) {
            if *value > GREATEST_CODE {
                return Err(Error::InvalidArgument("a scratch code has 8 digits".into()));
            }
            let salt = random::bytes::<16>().map_err(authenticator::no_randomness)?;
            scratch_codes.push(StoredScratchCode::new(*value, authenticator.id, *salt, ends, key));
        }
        Ok(Self { authenticator, scratch_codes, remarks, values, key: key.clone() })
    }

    /// Whether this authenticator makes the same codes.
    pub(super) fn is(&self, one: &Authenticator) -> bool {
        one.parameters == self.authenticator.parameters && one.secret == self.authenticator.secret
    }

    /// Whether the record tells of scratch codes and this one is not, or no longer, among them.
    pub(super) fn lacks(&self, code: &StoredScratchCode) -> bool {
        self.values.as_ref().is_some_and(|values| !values.iter().any(|value| code.is(*value, &self.key)))
    }
}

/// How far the codes have come.
fn moving(
    authenticator: &Authenticator,
    record: &ImportRecord,
    now: WallTime,
    remarks: &mut Vec<String>,
) -> Result<Moving, Error> {
    let is_code = |factor| {
        let code = otp::code(&authenticator.secret, authenticator.parameters, factor);
        record.last_code == Some(code.value())
    };
    match authenticator.parameters.kind {
        Kind::Hotp => {
            let spent = u64::from(record.last_code.is_some() && is_code(record.counter));
            let next = record.counter.checked_add(spent).filter(|next| *next < u64::MAX);
            let next = next.ok_or_else(|| Error::InvalidArgument("its counter has come to its end".into()))?;
            Ok(Moving::Hotp(Hotp { next: Counter(next), far: None }))
        }
        Kind::Totp(period) => {
            let drift = record.drift.unwrap_or_default();
            let kept = drift.unsigned_abs() <= DRIFT_AT_MOST.unsigned_abs();
            if !kept {
                remarks.push(format!(
                    "its clock is off by {drift} steps: it needs a resynchronisation (countersign resync)"
                ));
            }
            let drift = i16::try_from(drift).ok().filter(|_| kept);
            let seen = record.last_code.and_then(|_| last_step(record.last_code_at, period, now, is_code));
            let claimed = record.last_step.max(seen);
            // The last step that a login could accept at this moment.
            let latest = step(now, period).saturating_add_signed(drift.unwrap_or_default().into()).saturating_add(1);
            let last = claimed.map(|claimed| claimed.min(latest));
            if last < claimed {
                remarks.push("its last code is said to be of the future: every code until now is spent".into());
            }
            Ok(Moving::Totp(Totp { last: last.map(TimeStep), drift }))
        }
    }
}

/// The step of a code that was used at this time: the greatest that it may be of, or the time's own one where it is the
/// code of none around.
fn last_step(at: Option<u64>, period: Period, now: WallTime, is_code: impl Fn(u64) -> bool) -> Option<u64> {
    let at = step(at.map_or(now, WallTime::from_seconds), period);
    let around = at.saturating_sub(SOUGHT_AROUND)..=at.saturating_add(SOUGHT_AROUND);
    Some(around.rev().find(|step| is_code(*step)).unwrap_or(at))
}

fn step(at: WallTime, period: Period) -> u64 {
    at.seconds() / u64::from(period.seconds())
}

/// The end that is asked for, within its bounds, or the usual one.
fn end(what: &str, asked: Option<u64>, now: WallTime, usual: Duration, longest: Duration) -> Result<WallTime, Error> {
    let Some(asked) = asked else { return Ok(later(now, usual)) };
    let asked = WallTime::from_seconds(asked);
    if asked <= now || asked > later(now, longest) {
        let days = longest.as_secs() / 86_400;
        return Err(Error::InvalidArgument(format!("{what} has to lie within {days} days from now")));
    }
    Ok(asked)
}

fn later(now: WallTime, by: Duration) -> WallTime {
    WallTime::from_seconds(now.seconds().saturating_add(by.as_secs()))
}

fn days(until: WallTime, now: WallTime) -> u64 {
    until.seconds().saturating_sub(now.seconds()).div_ceil(86_400)
}
