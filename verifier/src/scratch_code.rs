//! Scratch codes: single-use codes of 8 digits that came with an authenticator of another program. 27 bits are little, so
//! each is salted and keyed (NIST SP 800-63B-4, section 3.1.2.2), and each ends. The store keeps digests alone.

use subtle::{Choice, ConstantTimeEq};

use crate::recovery_code::hmac_sha256;
use crate::{AuthenticatorId, Code, RecoveryDigest, RecoveryKey, WallTime};

/// The most scratch codes that an account has: as many as `google-authenticator` makes.
pub const MOST: usize = 10;

/// How many digits a scratch code has.
pub const DIGITS: u8 = 8;

/// A scratch code as the store keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredScratchCode {
    /// The authenticator that it came with and goes with.
    pub authenticator: AuthenticatorId,
    /// Random, of this code alone.
    pub salt: [u8; 16],
    /// HMAC-SHA-256 of salt and code under the recovery key.
    pub digest: RecoveryDigest,
    /// When it was used; a used one is kept so that a second use can be told from a guess.
    pub used: Option<WallTime>,
    /// From when on it opens nothing.
    pub expires: WallTime,
}

impl StoredScratchCode {
    /// An unused one with this value, 0 to 99,999,999.
    #[must_use]
    pub fn new(
        value: u32,
        authenticator: AuthenticatorId,
        salt: [u8; 16],
        expires: WallTime,
        key: &RecoveryKey,
    ) -> Self {
        Self { authenticator, salt, digest: digest(key, &salt, value), used: None, expires }
    }

    /// Whether it is this code.
    #[must_use]
    pub fn is(&self, value: u32, key: &RecoveryKey) -> bool {
        digest(key, &self.salt, value).0.ct_eq(&self.digest.0).into()
    }

    /// Whether it still lets somebody in at this moment.
    #[must_use]
    pub fn is_left(&self, now: WallTime) -> bool {
        self.used.is_none() && now < self.expires
    }
}

/// Which of the stored codes a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The unused one at this place.
    Unused(usize),
    /// One that was used before.
    Used,
    /// None.
    Nothing,
}

/// Compares a code of 8 digits with every stored one, and with as many that nothing matches as are missing to [`MOST`],
/// without an early end; of any other length no scratch code is, whatever is stored.
pub(crate) fn seek(stored: &[StoredScratchCode], code: Code, now: WallTime, key: &RecoveryKey) -> Found {
    if code.digits() != DIGITS {
        return Found::Nothing;
    }
    let missing = StoredScratchCode {
        authenticator: AuthenticatorId(0),
        salt: [0; 16],
        digest: RecoveryDigest([0; 32]),
        used: None,
        expires: WallTime(0),
    };
    let mut unused = None;
    let mut used = Choice::from(0);
    for index in 0..stored.len().max(MOST) {
        let one = stored.get(index).unwrap_or(&missing);
        let hit = digest(key, &one.salt, code.value()).0.ct_eq(&one.digest.0) & choice(index < stored.len());
        used |= hit & choice(one.used.is_some());
        if bool::from(hit & choice(one.is_left(now))) {
            unused = Some(index);
        }
    }
    match unused {
        // Stored twice, it is spent as one.
        _ if bool::from(used) => Found::Used,
        Some(index) => Found::Unused(index),
        None => Found::Nothing,
    }
}

fn digest(key: &RecoveryKey, salt: &[u8; 16], value: u32) -> RecoveryDigest {
    let mut message = [0; 32];
    // A recovery code is hashed as its 25 characters: no message of 32 bytes is one.
    let fields = b"scratch code".iter().copied().chain(*salt).chain(value.to_be_bytes());
    message.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
    RecoveryDigest(hmac_sha256(&key.0, &message))
}

fn choice(is: bool) -> Choice {
    Choice::from(u8::from(is))
}
