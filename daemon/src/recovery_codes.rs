//! Fresh recovery codes: the texts for the person, shown once, and what the store keeps of them.

use std::fmt;

use dbus_api::Error;
use verifier::{RecoveryCode, RecoveryKey, StoredRecoveryCode, recovery_code};
use zeroize::Zeroizing;

use crate::store::Record;
use crate::{authenticator, random};

/// As many as an account gets. Zeroised when dropped, never printed.
#[derive(Clone)]
pub struct RecoveryCodes {
    /// As they are shown: five groups of five characters.
    pub texts: Zeroizing<Vec<String>>,
    /// Their digests, all unused.
    pub stored: Vec<StoredRecoveryCode>,
}

impl RecoveryCodes {
    /// Makes ten.
    ///
    /// # Errors
    /// `Unavailable` where the kernel gives no random bytes.
    pub fn make(key: &RecoveryKey) -> Result<Self, Error> {
        let mut codes = Self {
            texts: Zeroizing::new(Vec::with_capacity(recovery_code::COUNT)),
            stored: Vec::with_capacity(recovery_code::COUNT),
        };
        for _ in 0..recovery_code::COUNT {
            let random: Zeroizing<[u8; 25]> = random::bytes().map_err(authenticator::no_randomness)?;
            let code = RecoveryCode::from_random(&random);
            codes.texts.push(code.text().to_string());
            codes.stored.push(StoredRecoveryCode { digest: code.digest(key), used: None });
        }
        Ok(codes)
    }
}

impl fmt::Debug for RecoveryCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCodes([REDACTED])")
    }
}

/// Replaces the recovery codes of a record, its scratch codes among them, and returns the new ones' texts.
pub(crate) fn replace(record: &mut Record, key: &RecoveryKey) -> Result<Vec<String>, Error> {
    let mut codes = RecoveryCodes::make(key)?;
    record.account.recovery_codes = codes.stored;
    record.account.scratch_codes.clear();
    Ok(std::mem::take(&mut *codes.texts))
}
