//! One-time passwords: TOTP (RFC 6238) and HOTP (RFC 4226) in all their parameters. Secrets come from the
//! store or from an import; whatever their bytes are, nothing here fails.

use std::fmt;
use std::fmt::Write as _;

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::{Code, WallTime};

/// The hash under the HMAC (RFC 6238, section 1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC-SHA-1.
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

/// Digits of a code: 6 to 8 (RFC 4226, section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digits(u8);

/// Seconds of a time step: 15 to 120.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Period(u16);

/// What makes the moving factor of an authenticator move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Time (RFC 6238).
    Totp(Period),
    /// A counter (RFC 4226).
    Hotp,
}

/// All that is fixed at enrolment, but the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Parameters {
    /// TOTP or HOTP.
    pub kind: Kind,
    /// The hash.
    pub algorithm: Algorithm,
    /// Digits of a code.
    pub digits: Digits,
}

/// The shared secret: 10 to 128 bytes; new ones have 16 at least (RFC 4226, section 4, R6). Zeroised when
/// dropped; compared in constant time; its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// The number of a time step since the epoch (RFC 6238, section 4.2: `T`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeStep(pub u64);

/// The moving factor of an HOTP authenticator (RFC 4226, section 5.1: `C`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Counter(pub u64);

/// What changes in a TOTP authenticator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totp {
    /// The last accepted step; only greater ones are accepted.
    pub last: Option<TimeStep>,
    /// By how many steps the authenticator's clock runs ahead (+) or behind (-). A success moves it by one at
    /// most and outwards beyond 2 only where a resynchronisation, or an import, set it there. That of a whole day is the
    /// greatest; more counts as that. `None`: nobody knows, and until it is resynchronised it counts as 0.
    pub drift: Option<i16>,
}

impl Default for Totp {
    fn default() -> Self {
        Self { last: None, drift: Some(0) }
    }
}

/// What changes in an HOTP authenticator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hotp {
    /// The next counter that may be accepted.
    pub next: Counter,
    /// A code far out that was presented lately, and when: the directly following one resynchronises.
    pub far: Option<(Counter, WallTime)>,
}

/// What changes in an authenticator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moving {
    /// Of a TOTP authenticator.
    Totp(Totp),
    /// Of an HOTP authenticator.
    Hotp(Hotp),
}

/// A value is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfRange {
    /// Digits.
    #[error("a code has 6 to 8 digits")]
    Digits,
    /// Period.
    #[error("a time step has 15 to 120 seconds")]
    Period,
    /// Secret.
    #[error("a secret has 10 to 128 bytes")]
    Secret,
    /// Algorithm.
    #[error("the algorithm is SHA1, SHA256 or SHA512")]
    Algorithm,
}

impl Digits {
    /// What every authenticator app shows.
    pub const COMMON: Self = Self(6);

    /// Parses a number of digits.
    ///
    /// # Errors
    /// [`OutOfRange::Digits`] where it is not 6 to 8.
    pub fn new(digits: u32) -> Result<Self, OutOfRange> {
        match u8::try_from(digits) {
            Ok(digits @ 6..=8) => Ok(Self(digits)),
            _ => Err(OutOfRange::Digits),
        }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl Period {
    /// What every authenticator app uses.
    pub const COMMON: Self = Self(30);

    /// Parses a number of seconds.
    ///
    /// # Errors
    /// [`OutOfRange::Period`] where it is not 15 to 120.
    pub fn new(seconds: u32) -> Result<Self, OutOfRange> {
        match u16::try_from(seconds) {
            Ok(seconds @ 15..=120) => Ok(Self(seconds)),
            _ => Err(OutOfRange::Period),
        }
    }

    /// The seconds.
    #[must_use]
    pub const fn seconds(self) -> u16 {
        self.0
    }
}

impl Algorithm {
    /// Parses `SHA1`, `SHA256` or `SHA512`, in any case.
    ///
    /// # Errors
    /// [`OutOfRange::Algorithm`] for any other name.
    pub fn parse(name: &str) -> Result<Self, OutOfRange> {
        [Self::Sha1, Self::Sha256, Self::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
            .ok_or(OutOfRange::Algorithm)
    }

    /// `SHA1`, `SHA256` or `SHA512`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }
}

impl Kind {
    /// `totp` or `hotp`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Totp(_) => "totp",
            Self::Hotp => "hotp",
        }
    }

    /// The state in which an authenticator of this kind begins; `counter` is the first HOTP counter.
    #[must_use]
    pub const fn begin(self, counter: Counter) -> Moving {
        match self {
            Self::Totp(_) => Moving::Totp(Totp { last: None, drift: Some(0) }),
            Self::Hotp => Moving::Hotp(Hotp { next: counter, far: None }),
        }
    }
}

impl Parameters {
    /// TOTP with SHA-1, 6 digits and 30 seconds, which every app understands.
    pub const COMMON: Self = Self { kind: Kind::Totp(Period(30)), algorithm: Algorithm::Sha1, digits: Digits(6) };
}

impl Secret {
    /// The shortest that is taken, in bytes: authenticators that were enrolled elsewhere have as few.
    pub const SHORTEST: usize = 10;
    /// The longest that is taken, in bytes: the block of SHA-512, beyond which HMAC would hash the secret first.
    pub const LONGEST: usize = 128;
    /// The shortest that may be made here, in bytes (RFC 4226, section 4, R6: 128 bits).
    pub const SHORTEST_NEW: usize = 16;
    /// What is made here unless something else is asked for, in bytes (RFC 4226, section 4, R6: 160 bits).
    pub const USUAL: usize = 20;

    /// Takes 10 to 128 bytes.
    ///
    /// # Errors
    /// [`OutOfRange::Secret`] where there are fewer or more; they are zeroised.
    pub fn new(bytes: Vec<u8>) -> Result<Self, OutOfRange> {
        let bytes = Zeroizing::new(bytes);
        (Self::SHORTEST..=Self::LONGEST).contains(&bytes.len()).then_some(Self(bytes)).ok_or(OutOfRange::Secret)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// In base32 without padding (RFC 4648, section 6), upper case. The text is written into memory of its
    /// whole size: growing it would leave copies behind.
    #[must_use]
    pub fn base32(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity((self.0.len() * 8).div_ceil(5)));
        for chunk in self.0.chunks(5) {
            let bits = chunk.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte)) << (8 * (5 - chunk.len()));
            for position in 0..(chunk.len() * 8).div_ceil(5) {
                text.push(base32_character(bits >> (35 - 5 * position)));
            }
        }
        text
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([REDACTED])")
    }
}

/// The code of one moving factor (a time step or a counter), which is what RFC 4226 calls HOTP(K, C).
#[must_use]
pub fn code(secret: &Secret, parameters: Parameters, factor: u64) -> Code {
    Generator::new(secret.bytes(), parameters).code(factor)
}

/// Makes the codes of one authenticator: totp-rs with a step of one second, so that its "time" is the factor.
pub(crate) struct Generator {
    totp: totp_rs::Totp,
    digits: Digits,
}

impl Generator {
    /// Takes the secret's bytes; totp-rs zeroises its copy.
    pub(crate) fn new(secret: &[u8], parameters: Parameters) -> Self {
        let algorithm = match parameters.algorithm {
            Algorithm::Sha1 => totp_rs::Algorithm::SHA1,
            Algorithm::Sha256 => totp_rs::Algorithm::SHA256,
            Algorithm::Sha512 => totp_rs::Algorithm::SHA512,
        };
        let totp = totp_rs::Builder::new()
            .with_algorithm(algorithm)
            .with_digits(parameters.digits.number())
            .with_step_duration(1)
            .with_secret(totp_rs::Secret::new(secret.into()))
            .build_noncompliant();
        Self { totp, digits: parameters.digits }
    }

    /// The code of a factor.
    pub(crate) fn code(&self, factor: u64) -> Code {
        let mut value = Value(0);
        // Writing into a `Value` cannot fail, and neither can the token's `Display`.
        let _ = write!(value, "{}", self.totp.generate(factor));
        Code::of(value.0, self.digits.number())
    }

    /// Whether `code` is the code of a factor, in constant time. One with another number of digits never is,
    /// but costs the same.
    pub(crate) fn matches(&self, code: Code, factor: u64) -> Choice {
        let right = self.code(factor);
        right.value().ct_eq(&code.value()) & right.digits().ct_eq(&code.digits())
    }
}

/// Reads a number from the digits written to it, so that no text of a code is ever stored.
struct Value(u32);

impl fmt::Write for Value {
    fn write_str(&mut self, digits: &str) -> fmt::Result {
        for digit in digits.bytes() {
            self.0 = self.0.wrapping_mul(10).wrapping_add(u32::from(digit & 0x0f));
        }
        Ok(())
    }
}

/// The base32 character of the low 5 bits.
fn base32_character(bits: u64) -> char {
    match (bits & 0x1f) as u8 {
        letter @ 0..=25 => char::from(b'A' + letter),
        digit => char::from(b'2' + (digit - 26)),
    }
}
