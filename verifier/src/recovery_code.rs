//! Recovery codes: look-up secrets (NIST SP 800-63B-4, section 3.1.2), single-use, 125 random bits each.
//! The store keeps digests alone; the key under them is the daemon's.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::{WallTime, reply::Characters};

/// How many recovery codes an account gets.
pub const COUNT: usize = 10;

/// How many characters a recovery code has.
pub const LENGTH: usize = 25;

/// Crockford's base32: no I, L, O and U.
const ALPHABET: [u8; 32] = *b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// How many characters stand between two `-`.
const GROUP: usize = 5;

/// A recovery code: 25 Crockford base32 characters, five groups of five. Zeroised when dropped; compared in
/// constant time; its `Debug` shows nothing of it.
#[derive(Clone, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct RecoveryCode([u8; LENGTH]);

/// The key under which recovery codes are hashed. Zeroised when dropped; its `Debug` shows nothing of it.
#[derive(Clone, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct RecoveryKey(pub [u8; 32]);

/// HMAC-SHA-256 of a recovery code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryDigest(pub [u8; 32]);

/// A recovery code as the store keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRecoveryCode {
    /// Its digest.
    pub digest: RecoveryDigest,
    /// When it was used; a used one is kept so that a second use can be told from a guess.
    pub used: Option<WallTime>,
}

impl RecoveryCode {
    /// Makes a code of 25 random bytes, of which 5 bits each are used.
    #[must_use]
    pub fn from_random(random: &[u8; 25]) -> Self {
        Self(random.map(|byte| ALPHABET.get(usize::from(byte & 0x1f)).copied().unwrap_or_default()))
    }

    /// Reads a code kindly: any case, `-` and spaces anywhere, `O` for `0`, `I` and `L` for `1`. `None` where it
    /// is no code; `U` is in none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(Characters::gather(text)?.bytes())
    }

    /// As it is shown: five groups of five, with `-` between them.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(LENGTH + LENGTH / GROUP - 1));
        for (index, byte) in self.0.iter().enumerate() {
            if index > 0 && index % GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(*byte));
        }
        text
    }

    /// Its HMAC-SHA-256 under `key`, over its 25 upper-case characters without `-`.
    #[must_use]
    pub fn digest(&self, key: &RecoveryKey) -> RecoveryDigest {
        RecoveryDigest(hmac_sha256(&key.0, &self.0))
    }

    /// Reads exactly 25 ASCII characters.
    pub(crate) fn read(characters: &[u8]) -> Option<Self> {
        let mut code = Self(characters.try_into().ok()?);
        for byte in &mut code.0 {
            *byte = match byte.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                upper => upper,
            };
        }
        code.0.iter().all(|byte| ALPHABET.contains(byte)).then_some(code)
    }
}

impl PartialEq for RecoveryCode {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for RecoveryCode {}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode([REDACTED])")
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey([REDACTED])")
    }
}

/// Which of the stored codes is the presented one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// An unused one; it is marked as used now.
    Unused,
    /// One that was used before.
    Used,
    /// None.
    Nothing,
}

/// Compares a digest with every stored one, and with as many that nothing matches as are missing to
/// [`COUNT`], without an early end. A digest that were stored twice is spent as one.
pub(crate) fn spend(stored: &mut [StoredRecoveryCode], presented: &RecoveryDigest, now: WallTime) -> Found {
    let missing = [StoredRecoveryCode { digest: RecoveryDigest([0; 32]), used: None }; COUNT];
    let fillers = missing.iter().skip(stored.len()).map(|filler| (filler, Choice::from(0)));
    let mut unused = Choice::from(0);
    let mut used = Choice::from(0);
    for (code, exists) in stored.iter().map(|code| (code, Choice::from(1))).chain(fillers) {
        let hit = code.digest.0.ct_eq(&presented.0) & exists;
        let spent = Choice::from(u8::from(code.used.is_some()));
        unused |= hit & !spent;
        used |= hit & spent;
    }
    if used.into() {
        return Found::Used;
    }
    if !bool::from(unused) {
        return Found::Nothing;
    }
    for code in stored.iter_mut().filter(|code| code.digest == *presented) {
        code.used = Some(now);
    }
    Found::Unused
}

/// HMAC-SHA-256 of a message. The key is padded to the hash's block, as RFC 2104 does itself, because
/// `Hmac::new` takes a whole block and cannot fail.
pub(crate) fn hmac_sha256(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let mut block = Zeroizing::new([0; 64]);
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}
