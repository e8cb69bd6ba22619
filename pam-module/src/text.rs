//! What may be shown to a person and what may stand in a log line. Everything that comes in is untrusted.

use std::fmt::Write;

/// The most bytes of one PAM message: `PAM_MAX_MSG_SIZE` less the closing NUL (pam_conv(3)).
pub(crate) const MESSAGE_BYTES: usize = 511;

/// `text` as one line that cannot drive a terminal: tabs and line ends become spaces, other control
/// characters and those that turn the direction of writing go, and the rest is cut to [`MESSAGE_BYTES`].
pub(crate) fn showable(text: &str) -> String {
    let mut shown: String =
        text.chars().map(|c| if matches!(c, '\t' | '\n') { ' ' } else { c }).filter(|c| !is_steering(*c)).collect();
    cut(&mut shown, MESSAGE_BYTES);
    shown
}

/// `bytes` as printable ASCII without quotes and backslashes of its own, for a quoted field of a log line:
/// everything else becomes `\xNN`. At most `limit` characters, then `...`.
pub(crate) fn escaped(bytes: &[u8], limit: usize) -> String {
    let mut line = String::with_capacity(bytes.len().min(limit));
    for &byte in bytes {
        if line.len() >= limit {
            line.push_str("...");
            break;
        }
        if matches!(byte, b'"' | b'\\') || !(b' '..=b'~').contains(&byte) {
            // Writing to a string does not fail.
            let _ = write!(line, "\\x{byte:02x}");
        } else {
            line.push(char::from(byte));
        }
    }
    line
}

/// A PAM item as text: as it is where it is UTF-8, escaped where it is not; cut to `limit` bytes.
pub(crate) fn item(bytes: &[u8], limit: usize) -> String {
    let mut text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => escaped(bytes, limit),
    };
    cut(&mut text, limit);
    text
}

/// Cuts `text` to at most `limit` bytes, on a character's boundary.
fn cut(text: &mut String, limit: usize) {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
}

/// Whether a terminal would act on the character, or order the others by it (Unicode TR 9, section 2).
fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_a_terminal() {
        assert_eq!(showable("a\x1b[2Jb\rc\x07d\x00e\u{9b}f\u{202e}g"), "a[2Jbcdefg");
        assert_eq!(showable("one\ntwo\tthree"), "one two three");
        assert_eq!(showable("Prüfcode für 花子: "), "Prüfcode für 花子: ");
    }

    #[test]
    fn a_long_message_is_cut_on_a_character() {
        let shown = showable(&format!("a{}", "ü".repeat(600)));
        assert_eq!(shown.len(), 511);
        assert!(shown.ends_with('ü'));
        assert!(showable(&"花".repeat(400)).len() <= MESSAGE_BYTES);
    }

    #[test]
    fn nothing_forges_a_log_line() {
        assert_eq!(escaped(b"a\nb\"c\\d\xff\0", 80), "a\\x0ab\\x22c\\x5cd\\xff\\x00");
        assert_eq!(escaped(&[b'x'; 100], 10), "xxxxxxxxxx...");
    }

    #[test]
    fn an_item_that_is_not_utf8_is_escaped_and_a_long_one_cut() {
        assert_eq!(item(b"/dev/pts/3", 256), "/dev/pts/3");
        assert_eq!(item(b"\xff\xfe", 256), "\\xff\\xfe");
        assert_eq!(item("ü".repeat(300).as_bytes(), 256).len(), 256);
    }
}
