//! The decoy: a record under a name that no account has, worked on where a login's account has no record, so
//! that both take the same time. Nobody can log in by it: nothing ever looks at its authenticator.

use verifier::{
    Account, Algorithm, Authenticator, AuthenticatorId, Counter, Digits, Kind, Parameters, Period, RecoveryDigest,
    Secret, StoredRecoveryCode, WallTime,
};

use super::{Record, StoreError};
use crate::notice::LastFailure;

/// Sorts before every account's name and so stands in no list.
pub(super) const NAME: &str = "";

/// A record like that of somebody who enrolled one telephone.
pub(super) fn make() -> Result<Record, StoreError> {
    let failed = |_| StoreError::Cryptography("making the decoy");
    let kind = Kind::Totp(Period::new(30).map_err(failed)?);
    let authenticator = Authenticator {
        id: AuthenticatorId(0),
        label: "telephone".to_owned(),
        active: false,
        parameters: Parameters { kind, algorithm: Algorithm::Sha1, digits: Digits::new(6).map_err(failed)? },
        secret: Secret::new(vec![0; 20]).map_err(failed)?,
        moving: kind.begin(Counter(0)),
        created: WallTime(0),
        last_used: None,
        expires: None,
        suspended: false,
    };
    let code = StoredRecoveryCode { digest: RecoveryDigest([0; 32]), used: None };
    let account = Account {
        authenticators: vec![authenticator],
        recovery_codes: vec![code; verifier::recovery_code::COUNT],
        ..Account::default()
    };
    Ok(Record { account, ..Record::empty(NAME, Some(0)) })
}

/// Charges the decoy like a record whose code was wrong.
pub(super) fn charge(decoy: &mut Record, now: WallTime) {
    decoy.account.throttle.failures = decoy.account.throttle.failures.wrapping_add(1);
    decoy.last_failure = Some(LastFailure { at: now, from: Some("192.0.2.1".to_owned()) });
}
