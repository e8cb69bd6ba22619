//! What somebody typed: parsed once, into a value that cannot be wrong. The text comes from anybody who
//! reaches a prompt; nothing of it survives but the value.

use std::fmt;

use zeroize::Zeroizing;

use crate::{RecoveryCode, recovery_code};

/// The longest reply that is looked at, in bytes: `PAM_MAX_RESP_SIZE` of Linux-PAM.
pub const LONGEST: usize = 512;

/// What sshd sends in the place of a reply for an account that it has refused already, repeated and cut to
/// the length of the real reply (OpenSSH, `fake_password` in auth-pam.c).
const SSHD_FILLER: &[u8] = b"\x08\n\r\x7fINCORRECT";

/// A parsed reply. Its text is gone; two spellings of one code are one value (CVE-2025-6015).
#[derive(Clone, PartialEq, Eq)]
pub enum Reply {
    /// 6 to 8 decimal digits.
    Code(Code),
    /// 25 Crockford base32 characters.
    RecoveryCode(RecoveryCode),
    /// sshd's filler for an account that it has refused already, whole or cut.
    BlockedBySshd,
    /// Anything else, the empty reply too.
    Malformed,
}

/// A one-time password as it was typed: its value and its number of digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code {
    value: u32,
    digits: u8,
}

impl Reply {
    /// Parses a reply as it came from the PAM conversation.
    ///
    /// sshd's filler is recognised on the raw text, because trimming would remove its control characters. An
    /// empty filler (for an empty reply) cannot be told from an empty reply. Then white space around is
    /// trimmed, and inner spaces and `-` are dropped. Only ASCII digits count, so that each code has one spelling.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if is_sshd_filler(text.as_bytes()) {
            return Self::BlockedBySshd;
        }
        let Some(characters) = Characters::gather(text) else { return Self::Malformed };
        match characters.bytes() {
            digits if (6..=8).contains(&digits.len()) => Code::read(digits).map_or(Self::Malformed, Self::Code),
            whole if whole.len() == recovery_code::LENGTH => {
                RecoveryCode::read(whole).map_or(Self::Malformed, Self::RecoveryCode)
            }
            _ => Self::Malformed,
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Code(_) => "Code([REDACTED])",
            Self::RecoveryCode(_) => "RecoveryCode([REDACTED])",
            Self::BlockedBySshd => "BlockedBySshd",
            Self::Malformed => "Malformed",
        })
    }
}

impl Code {
    /// The code's value, 0 to 99,999,999.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.value
    }

    /// How many digits were typed, 6 to 8.
    #[must_use]
    pub const fn digits(self) -> u8 {
        self.digits
    }

    /// The code as an authenticator shows it, with leading zeros.
    #[must_use]
    pub fn text(self) -> Zeroizing<String> {
        Zeroizing::new(format!("{:01$}", self.value, usize::from(self.digits)))
    }

    /// A code of a generated value, which the caller knows to have no more than these digits.
    pub(crate) const fn of(value: u32, digits: u8) -> Self {
        Self { value, digits }
    }

    /// Reads 6 to 8 ASCII digits.
    fn read(text: &[u8]) -> Option<Self> {
        let digits = u8::try_from(text.len()).ok()?;
        let value = text.iter().try_fold(0_u32, |value, byte| {
            byte.is_ascii_digit().then(|| value.wrapping_mul(10).wrapping_add(u32::from(byte & 0x0f)))
        })?;
        Some(Self { value, digits })
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code([REDACTED])")
    }
}

/// What remains of a text without the white space around it and the spaces and `-` in it: at most as many
/// ASCII letters and digits as the longest code has.
pub(crate) struct Characters {
    bytes: Zeroizing<[u8; recovery_code::LENGTH]>,
    count: usize,
}

impl Characters {
    /// Gathers them; `None` where the text is too long or holds any other character.
    pub(crate) fn gather(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let mut gathered = Self { bytes: Zeroizing::new([0; recovery_code::LENGTH]), count: 0 };
        for character in text.trim().chars().filter(|character| !matches!(character, ' ' | '-')) {
            let byte = u8::try_from(character).ok().filter(u8::is_ascii_alphanumeric)?;
            *gathered.bytes.get_mut(gathered.count)? = byte;
            gathered.count += 1;
        }
        Some(gathered)
    }

    /// The gathered ones.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.count).unwrap_or_default()
    }
}

/// Whether this is sshd's filler: not empty, and as far as it goes equal to the endlessly repeated pattern.
fn is_sshd_filler(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().eq(SSHD_FILLER.iter().cycle().take(text.len()))
}
