//! Base64 as secrets are written in it (RFC 4648, sections 4 and 5), read kindly. The text is secret: no error repeats
//! any of it, and no table is indexed by it.

use base64ct::{Base64Unpadded, Encoding as _};
use zeroize::Zeroizing;

const NO_BASE64: &str = "a value is not base64";

/// Reads base64 of both alphabets, with white space anywhere and with or without padding.
///
/// # Errors
/// A reason for people.
pub(crate) fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    // Of their whole size from the beginning: growing them would leave copies behind.
    let mut digits = Zeroizing::new(Vec::with_capacity(text.len()));
    digits.extend(text.bytes().filter(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).map(|byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    }));
    let unpadded = digits.strip_suffix(b"==").or_else(|| digits.strip_suffix(b"=")).unwrap_or(&digits);
    let mut bytes = Zeroizing::new(vec![0; unpadded.len() / 4 * 3 + 3]);
    let length = Base64Unpadded::decode(unpadded, &mut bytes).map_err(|_| NO_BASE64)?.len();
    bytes.truncate(length);
    Ok(bytes)
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
