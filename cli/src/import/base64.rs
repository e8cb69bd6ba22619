//! Base64 as secrets are written in it (RFC 4648, sections 4 and 5), read kindly. The text is secret: no error repeats
//! any of it, and no table is indexed by it.

use zeroize::Zeroizing;

/// Reads base64 of both alphabets, with white space anywhere and with or without padding.
///
/// # Errors
/// A reason for people.
pub(crate) fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    const NO_BASE64: &str = "a value is not base64";
    // Of its whole size from the beginning: growing it would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3 + 3));
    let (mut bits, mut held) = (0_u32, 0);
    let mut padding = 0;
    for byte in text.bytes() {
        let value = match byte {
            letter @ b'A'..=b'Z' => letter - b'A',
            letter @ b'a'..=b'z' => letter - b'a' + 26,
            digit @ b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            b'=' if padding < 2 => {
                padding += 1;
                continue;
            }
            _ => return Err(NO_BASE64),
        };
        if padding > 0 {
            return Err(NO_BASE64);
        }
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
            bits &= (1 << held) - 1;
        }
    }
    // Six bits alone are no byte: something was cut off.
    if held == 6 { Err(NO_BASE64) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn base64_is_decoded_as_in_rfc_4648() {
        // RFC 4648, section 10, and both alphabets.
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            (" Zm9v\r\n\tYmFy ", b"foobar"),
            ("Zm9vYg", b"foob"),
            ("+/+/", b"\xfb\xff\xbf"),
            ("-_-_", b"\xfb\xff\xbf"),
        ] {
            assert_eq!(*decode(text).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_cut_off_or_no_base64_is_refused_without_repeating_it() {
        for bad in ["Z", "Zm9vY", "Zm=v", "Zg===", "Zm9v!", "Zm\u{e9}v", "Zm9v\0"] {
            assert_eq!(decode(bad).err(), Some("a value is not base64"), "{bad:?}");
        }
    }
}
