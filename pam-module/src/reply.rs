//! What a person typed: zeroised when dropped, never printed, and parted into password and code where both
//! were asked for at once. It is an attacker's text; nothing but its shape is looked at.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The most bytes of a reply that is handed to the daemon (`PAM_MAX_RESP_SIZE`, pam_conv(3)).
pub(crate) const REPLY_BYTES: usize = 512;

/// What sshd puts in the place of every reply of an account that it has refused already
/// (OpenSSH, `auth-pam.c`, `fake_password`): repeated, or cut, to the length of what was typed.
const SSHD_FILLER: &[u8] = b"\x08\n\r\x7fINCORRECT";

/// One reply, as its bytes.
#[derive(Clone)]
pub(crate) struct Reply(Zeroizing<Vec<u8>>);

impl Reply {
    /// Takes a reply over.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The reply as it may leave the module: empty where it is no text or longer than [`REPLY_BYTES`]. The
    /// daemon takes the empty reply as malformed: it uses up a try and opens nothing.
    pub(crate) fn to_send(&self) -> &str {
        if self.0.len() > REPLY_BYTES {
            return "";
        }
        std::str::from_utf8(&self.0).unwrap_or("")
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether two replies are the same; the time it takes depends on their lengths alone.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }

    /// Parts password and code: `None` unless `digits` ASCII digits trail and something precedes them.
    pub(crate) fn split(&self, digits: usize) -> Option<(Self, Self)> {
        let at = self.0.len().checked_sub(digits).filter(|at| *at > 0)?;
        let (password, code) = self.0.split_at_checked(at)?;
        if !code.iter().all(u8::is_ascii_digit) {
            return None;
        }
        Some((Self::new(password.to_vec()), Self::new(code.to_vec())))
    }

    /// Whether sshd wrote this and not a person.
    pub(crate) fn is_sshd_filler(&self) -> bool {
        !self.0.is_empty() && self.0.iter().zip(SSHD_FILLER.iter().cycle()).all(|(byte, filler)| byte == filler)
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply([REDACTED])")
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test that stops here has failed, which is what it is for"
    )]

    use super::*;

    fn reply(text: &[u8]) -> Reply {
        Reply::new(text.to_vec())
    }

    #[test]
    fn a_reply_that_is_no_text_or_too_long_leaves_as_the_empty_one() {
        assert_eq!(reply(b"123456").to_send(), "123456");
        assert_eq!(reply(b"\xff123456").to_send(), "");
        assert_eq!(reply(&[b'1'; 512]).to_send().len(), 512);
        assert_eq!(reply(&[b'1'; 513]).to_send(), "");
        assert_eq!(reply(&vec![b'1'; 1 << 20]).to_send(), "");
    }

    #[test]
    fn password_and_code_part_only_where_the_digits_trail_and_something_precedes() {
        let (password, code) = reply(b"hunter2123456").split(6).unwrap();
        assert_eq!((password.bytes(), code.bytes()), (&b"hunter2"[..], &b"123456"[..]));
        let (password, code) = reply("Pässwörd 12345678".as_bytes()).split(8).unwrap();
        assert_eq!((password.bytes(), code.bytes()), ("Pässwörd ".as_bytes(), &b"12345678"[..]));
        for unparted in [&b""[..], b"123456", b"12345", b"secret12345", b"secret12345x", b"secret 123 456"] {
            assert!(reply(unparted).split(6).is_none(), "{unparted:?}");
        }
        assert!(reply("secret１２３４５６".as_bytes()).split(6).is_none(), "full-width digits are no code");
    }

    #[test]
    fn the_filler_of_sshd_is_known_whole_cut_and_repeated() {
        for filler in [&SSHD_FILLER[..6], SSHD_FILLER, &SSHD_FILLER.repeat(3)[..30]] {
            assert!(reply(filler).is_sshd_filler());
        }
        assert!(!reply(b"").is_sshd_filler());
        assert!(!reply(b"123456").is_sshd_filler());
    }

    #[test]
    fn a_reply_is_never_printed() {
        assert_eq!(format!("{:?}", reply(b"123456")), "Reply([REDACTED])");
    }
}
