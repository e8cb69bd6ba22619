//! New authenticators: what somebody asked for, parsed into one that cannot be wrong.

use dbus_api::{EnrollmentOptions, Error, ImportRecord};
use verifier::otp::OutOfRange;
use verifier::{Algorithm, Authenticator, AuthenticatorId, Counter, Digits, Kind, Parameters, Period, Secret};

use crate::config::Enrolment;
use crate::random::{self, NoRandomness};
use crate::{clock, config};

/// Authenticators that one account may have.
pub const MOST: usize = 16;
/// The longest label, in characters.
const LONGEST_LABEL: usize = 64;
/// What an imported authenticator is called where nobody says.
const IMPORTED: &str = "imported";

/// A new authenticator beside the existing ones, with a fresh secret.
///
/// # Errors
/// `InvalidArgument`, `Busy` where the label is taken, `Unavailable` where the kernel gives no random bytes.
pub fn make(
    existing: &[Authenticator],
    options: &EnrollmentOptions,
    defaults: &config::Enrolment,
) -> Result<Authenticator, Error> {
    if existing.len() >= MOST {
        return Err(too_many());
    }
    let label = match &options.label {
        Some(label) => parse_label(label)?,
        None => free_label(existing, "authenticator"),
    };
    if existing.iter().any(|one| one.label == label) {
        return Err(label_taken(&label));
    }
    let secret = random::bytes::<{ Secret::USUAL }>().map_err(no_randomness)?;
    build(label, parse_parameters(options, defaults)?, secret.to_vec(), Counter(0), free_id(existing)?)
}

/// The authenticator of an import's record, checked as strictly as anything that comes over the bus.
///
/// # Errors
/// As [`make`].
pub fn import(record: &ImportRecord) -> Result<Authenticator, Error> {
    let kind = match record.kind.as_str() {
        "totp" => Kind::Totp(Period::new(record.period).map_err(out_of_range)?),
        "hotp" => Kind::Hotp,
        other => return Err(no_kind(other)),
    };
    let parameters = Parameters {
        kind,
        algorithm: Algorithm::parse(&record.algorithm).map_err(out_of_range)?,
        digits: Digits::new(record.digits).map_err(out_of_range)?,
    };
    let label = parse_label(record.label.as_deref().unwrap_or(IMPORTED))?;
    build(label, parameters, record.secret.clone(), Counter(record.counter), free_id(&[])?)
}

/// Parses a label: 1 to 64 printable characters.
///
/// # Errors
/// `InvalidArgument`.
pub fn parse_label(label: &str) -> Result<String, Error> {
    let label = label.trim();
    let length = label.chars().count();
    if length == 0 || length > LONGEST_LABEL || label.chars().any(char::is_control) {
        return Err(Error::InvalidArgument(format!("a label has 1 to {LONGEST_LABEL} printable characters")));
    }
    Ok(label.to_owned())
}

/// `wanted`, or with a number behind it where that is taken. Where it must be cut for that, it is.
#[must_use]
pub fn free_label(existing: &[Authenticator], wanted: &str) -> String {
    let taken = |label: &str| existing.iter().any(|one| one.label == label);
    let mut label = wanted.to_owned();
    let mut number = 1_u32;
    while taken(&label) {
        number += 1;
        let behind = format!(" {number}");
        let kept: String = wanted.chars().take(LONGEST_LABEL - behind.len()).collect();
        label = kept + &behind;
    }
    label
}

/// An id that none of the existing ones has.
///
/// # Errors
/// `Unavailable` where the kernel gives no random bytes.
pub fn free_id(existing: &[Authenticator]) -> Result<AuthenticatorId, Error> {
    loop {
        let id = AuthenticatorId(u32::from_ne_bytes(*random::bytes::<4>().map_err(no_randomness)?));
        if existing.iter().all(|one| one.id != id) {
            return Ok(id);
        }
    }
}

/// An account has as many authenticators as it may have.
#[must_use]
pub fn too_many() -> Error {
    Error::InvalidArgument(format!("an account has at most {MOST} authenticators"))
}

/// Another authenticator of the account has this label.
#[must_use]
pub fn label_taken(label: &str) -> Error {
    Error::Busy(format!("this account has an authenticator labelled {label:?} already: choose another label"))
}

/// The kernel gave no random bytes.
#[must_use]
pub fn no_randomness(error: NoRandomness) -> Error {
    Error::Unavailable(error.to_string())
}

fn build(
    label: String,
    parameters: Parameters,
    secret: Vec<u8>,
    counter: Counter,
    id: AuthenticatorId,
) -> Result<Authenticator, Error> {
    Ok(Authenticator {
        id,
        label,
        active: true,
        parameters,
        secret: Secret::new(secret).map_err(out_of_range)?,
        moving: parameters.kind.begin(counter),
        created: clock::wall(),
        last_used: None,
        expires: None,
        suspended: false,
    })
}

fn parse_parameters(options: &EnrollmentOptions, defaults: &Enrolment) -> Result<Parameters, Error> {
    let period = options.period.map_or(Ok(defaults.period), Period::new).map_err(out_of_range)?;
    let kind = match options.kind.as_deref().unwrap_or("totp") {
        "totp" => Kind::Totp(period),
        "hotp" => Kind::Hotp,
        other => return Err(no_kind(other)),
    };
    let algorithm = options.algorithm.as_deref().map_or(Ok(defaults.algorithm), Algorithm::parse);
    let digits = options.digits.map_or(Ok(defaults.digits), Digits::new);
    Ok(Parameters { kind, algorithm: algorithm.map_err(out_of_range)?, digits: digits.map_err(out_of_range)? })
}

fn no_kind(name: &str) -> Error {
    Error::InvalidArgument(format!("{name:?} is no kind: allowed is totp or hotp"))
}

fn out_of_range(error: OutOfRange) -> Error {
    Error::InvalidArgument(error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_label_that_is_taken_gets_a_number_and_stays_within_its_length() {
        let options = EnrollmentOptions::default();
        let mut existing: Vec<Authenticator> = Vec::new();
        for expected in ["authenticator", "authenticator 2", "authenticator 3"] {
            let one = make(&existing, &options, &Enrolment::default()).unwrap();
            assert_eq!(one.label, expected);
            existing.push(one);
        }
        let long = "x".repeat(LONGEST_LABEL);
        existing.iter_mut().for_each(|one| one.label.clone_from(&long));
        assert_eq!(free_label(&existing, &long), format!("{} 2", "x".repeat(LONGEST_LABEL - 2)));
    }

    #[test]
    fn secrets_are_fresh_and_of_the_recommended_length() {
        let options = EnrollmentOptions::default();
        let [one, other] = [0, 1].map(|_| make(&[], &options, &Enrolment::default()).unwrap());
        assert_eq!(one.secret.bytes().len(), 20);
        assert!(one.secret != other.secret);
    }
}
