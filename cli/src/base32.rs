//! Base32 as secrets are written in it (RFC 4648, section 6), read kindly. The text is secret: no error repeats any of it.

use zeroize::Zeroizing;

/// Reads base32 in any case, with spaces and `-` anywhere and with or without padding.
///
/// # Errors
/// A reason for people.
pub(crate) fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    decode_with(text, |_| None)
}

/// As [`decode`], and with the digits that are in no base32 for the letters that they look like: `0` for `O`, `1` for
/// `L`, `8` for `B`, as pam_google_authenticator reads them.
///
/// # Errors
/// As [`decode`].
pub(crate) fn decode_look_alikes(text: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    decode_with(text, |byte| match byte {
        b'0' => Some(b'O'),
        b'1' => Some(b'L'),
        b'8' => Some(b'B'),
        _ => None,
    })
}

fn decode_with(text: &str, instead: impl Fn(u8) -> Option<u8>) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    // Of its whole size from the beginning: growing it would leave copies behind.
    let mut secret = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut bits, mut held) = (0_u16, 0);
    for byte in text.trim_end_matches(['=', ' ']).bytes() {
        let value = match instead(byte).unwrap_or(byte).to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            digit @ b'2'..=b'7' => digit - b'2' + 26,
            b' ' | b'-' => continue,
            _ => return Err("the secret is not base32"),
        };
        bits = bits << 5 | u16::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            secret.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn base32_is_decoded_as_in_rfc_4648() {
        // RFC 4648, section 10.
        for (text, bytes) in
            [("", ""), ("MY======", "f"), ("MZXW6===", "foo"), ("MZXW6YTB", "fooba"), ("mzxw-6ytb oi", "foobar")]
        {
            assert_eq!(*decode(text).unwrap(), bytes.as_bytes(), "{text}");
        }
        for bad in ["MZXW1", "MZXW0", "MZXW8", "MZ=W6", "MZ\u{e9}", "MZ\n"] {
            assert_eq!(decode(bad).err(), Some("the secret is not base32"), "{bad}");
        }
    }

    #[test]
    fn digits_that_look_like_letters_are_read_as_these_where_asked_for() {
        assert_eq!(decode_look_alikes("0189MZXW").err(), Some("the secret is not base32"));
        assert_eq!(*decode_look_alikes("0 1-8MZXW6").unwrap(), *decode("OLBMZXW6").unwrap());
    }
}
