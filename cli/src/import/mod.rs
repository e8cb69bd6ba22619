//! What the files of other programs say: one [`Found`] for each authenticator in them. The parsers below are pure; what
//! they read was written by others, often by the very person it lets in, so that nothing of it is believed before the
//! daemon checked it again. Secrets are zeroised, stand in no `Debug`, and no reason repeats any text of a file.

pub(crate) mod aegis;
pub(crate) mod andotp;
mod base64;
pub(crate) mod csv;
pub(crate) mod freeotp;
pub(crate) mod google_authenticator;
mod issuer;
mod json;
pub(crate) mod migration;
pub(crate) mod oath;
pub(crate) mod otpauth;
pub(crate) mod picture;
pub(crate) mod pskc;
mod xml;

use std::{borrow::Cow, fmt};

use zeroize::{Zeroize as _, Zeroizing};

/// The largest JSON file that is read, in bytes. A number of two bytes takes 32 in memory.
pub(crate) const LARGEST_JSON: usize = 16 << 20;
/// The largest XML file that is read, in bytes.
pub(crate) const LARGEST_XML: usize = 32 << 20;

/// The shortest and the longest secret that the contract takes, in bytes.
const SECRET: std::ops::RangeInclusive<usize> = 10..=128;

/// One authenticator as a file of another program describes it, before anything is known about its account.
pub(crate) struct Found {
    /// Where in the file it stands.
    pub(crate) place: Place,
    /// Whose it is, where the file says so.
    pub(crate) account: Option<String>,
    /// A name for the authenticator, such as the issuer's; the daemon's own choice where there is none.
    pub(crate) label: Option<String>,
    /// The hash under the HMAC.
    pub(crate) algorithm: Algorithm,
    /// Digits of a code. Whatever the file says: [`Found::check`] knows what is taken.
    pub(crate) digits: u32,
    /// What makes its codes change, and how far they have come.
    pub(crate) moving: Moving,
    /// The secret's bytes.
    pub(crate) secret: Zeroizing<Vec<u8>>,
    /// Single-use codes of 8 digits that come with it.
    pub(crate) scratch_codes: ScratchCodes,
    /// The code that was used last, where the file keeps that instead of its step or counter.
    pub(crate) last_code: Option<LastCode>,
    /// What is not kept, and other things that the person who imports should know.
    pub(crate) remarks: Vec<Cow<'static, str>>,
}

impl Found {
    /// An authenticator of which nothing more is known: SHA-1 and 6 digits, as most have.
    pub(crate) fn new(place: Place, secret: Zeroizing<Vec<u8>>, moving: Moving) -> Self {
        Self {
            place,
            account: None,
            label: None,
            algorithm: Algorithm::Sha1,
            digits: 6,
            moving,
            secret,
            scratch_codes: ScratchCodes::default(),
            last_code: None,
            remarks: Vec::new(),
        }
    }
}

/// A code that was used. It is spent, and yet nobody's business.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastCode {
    /// Its value.
    pub(crate) value: u32,
    /// When it was used, in seconds since the epoch, where the file says so.
    pub(crate) at: Option<u64>,
}

impl fmt::Debug for LastCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LastCode([REDACTED])")
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found")
            .field("place", &self.place)
            .field("account", &self.account)
            .field("label", &self.label)
            .field("algorithm", &self.algorithm)
            .field("digits", &self.digits)
            .field("moving", &self.moving)
            .field("secret", &"[REDACTED]")
            .field("scratch_codes", &self.scratch_codes)
            .field("last_code", &self.last_code)
            .field("remarks", &self.remarks)
            .finish()
    }
}

/// What makes the codes of an authenticator change, and how far they have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moving {
    /// Time (RFC 6238).
    Totp {
        /// Seconds of a time step.
        period: u32,
        /// The last step of which a code was used.
        last_step: Option<u64>,
        /// By how many steps its clock runs ahead (+) or behind (-).
        drift: i64,
    },
    /// A counter (RFC 4226).
    Hotp {
        /// The next counter.
        next: u64,
    },
}

impl Moving {
    /// Time steps of so many seconds, of which none was used.
    pub(crate) const fn totp(period: u32) -> Self {
        Self::Totp { period, last_step: None, drift: 0 }
    }
}

/// The hash under the HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// HMAC-SHA-1.
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

impl Algorithm {
    /// Reads what other programs call it: `SHA1`, `sha-256`, `HmacSHA512`.
    ///
    /// # Errors
    /// A reason for people.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let plain = text.trim().to_ascii_uppercase().replace(['-', '_'], "");
        match plain.strip_prefix("HMAC").unwrap_or(&plain) {
            "SHA1" => Ok(Self::Sha1),
            "SHA256" => Ok(Self::Sha256),
            "SHA512" => Ok(Self::Sha512),
            _ => Err("the algorithm is none of SHA1, SHA256, SHA512"),
        }
    }

    /// `SHA1`, `SHA256` or `SHA512`, as the contract spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }
}

/// Single-use codes of 8 digits, 0 to 99,999,999 each, where the file is of a kind that has such. Zeroised when dropped;
/// their `Debug` shows how many.
#[derive(Default)]
pub(crate) struct ScratchCodes(Option<Vec<u32>>);

impl ScratchCodes {
    /// With room for so many, so that none is left behind in memory when it grows.
    pub(crate) fn with_capacity(many: usize) -> Self {
        Self(Some(Vec::with_capacity(many)))
    }

    /// One more; false where there is no room for it, and it was not taken.
    pub(crate) fn push(&mut self, code: u32) -> bool {
        match &mut self.0 {
            Some(codes) if codes.len() < codes.capacity() => codes.push(code),
            _ => return false,
        }
        true
    }

    /// The codes; `None` where the file is of a kind that has none.
    pub(crate) fn codes(&self) -> Option<&[u32]> {
        self.0.as_deref()
    }
}

impl Drop for ScratchCodes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for ScratchCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScratchCodes({:?})", self.0.as_ref().map(Vec::len))
    }
}

/// Where in a file something stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The file as a whole.
    #[default]
    File,
    /// A line, counted from 1.
    Line(u64),
    /// An entry, counted from 1, of a file that has no lines.
    Entry(u64),
    /// A serial number. It is what the file says: escape it before it reaches a terminal.
    Serial(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("the file"),
            Self::Line(number) => write!(f, "line {number}"),
            Self::Entry(number) => write!(f, "entry {number}"),
            Self::Serial(serial) => write!(f, "serial {serial}"),
        }
    }
}

/// Something in a file that cannot be taken. Only the program's own words can be a reason, so that no secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    /// Where it stands.
    pub(crate) place: Place,
    /// Why, for people.
    pub(crate) reason: &'static str,
}

impl Bad {
    /// The file as a whole cannot be taken.
    pub(crate) const fn file(reason: &'static str) -> Self {
        Self { place: Place::File, reason }
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

impl std::error::Error for Bad {}

/// What a whole file says: one bad record stops nothing else. The error is one of the file as a whole.
pub(crate) type Reading = Result<Vec<Result<Found, Bad>>, Bad>;

impl Found {
    /// Whether the contract takes these values; parsers need not check them. Every import asks this before it hands
    /// a record on, so that a dry run refuses what the daemon would.
    ///
    /// # Errors
    /// A reason for people.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if !(6..=8).contains(&self.digits) {
            return Err("the digits are not 6 to 8");
        }
        if let Moving::Totp { period, .. } = self.moving
            && !(15..=120).contains(&period)
        {
            return Err("the period is not 15 to 120 s");
        }
        if !SECRET.contains(&self.secret.len()) {
            return Err("the secret is not 10 to 128 bytes long");
        }
        Ok(())
    }
}

/// Reads hexadecimal digits, in any case. The reason never repeats them.
///
/// # Errors
/// A reason for people.
pub(crate) fn decode_hex(text: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    const NO_HEX: &str = "the secret is not hexadecimal";
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or(NO_HEX);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(NO_HEX);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for [high, low] in pairs {
        bytes.push(digit(*high)? << 4 | digit(*low)?);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn found() -> Found {
        let secret = Zeroizing::new(vec![0xa5; 20]);
        Found { account: Some("alice".to_owned()), ..Found::new(Place::Line(7), secret, Moving::totp(30)) }
    }

    #[test]
    fn what_the_contract_takes_is_taken_and_nothing_beside_it() {
        assert_eq!(found().check(), Ok(()));
        assert_eq!(Found { digits: 5, ..found() }.check(), Err("the digits are not 6 to 8"));
        assert_eq!(Found { moving: Moving::totp(10), ..found() }.check(), Err("the period is not 15 to 120 s"));
        assert_eq!(Found { moving: Moving::Hotp { next: u64::MAX }, ..found() }.check(), Ok(()));
        let short = Found { secret: Zeroizing::new(vec![1; 9]), ..found() };
        assert_eq!(short.check(), Err("the secret is not 10 to 128 bytes long"));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let mut scratch_codes = ScratchCodes::with_capacity(1);
        assert!(scratch_codes.push(87_654_321));
        assert!(!scratch_codes.push(12_345_678));
        let shown = format!("{:?}", Found { scratch_codes, ..found() });
        assert!(!shown.contains("87654321") && !shown.contains("165, 165"), "{shown}");
    }

    #[test]
    fn hexadecimal_is_read_in_any_case() {
        assert_eq!(*decode_hex("00fFA5").unwrap(), [0, 0xff, 0xa5]);
        for bad in ["0", "0g", "é0", "0x00"] {
            assert_eq!(decode_hex(bad).err(), Some("the secret is not hexadecimal"));
        }
    }
}
