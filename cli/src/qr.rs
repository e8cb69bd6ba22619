//! The QR code of an authenticator's URI, in the words of the tool; the crate `qr` draws it.

pub(crate) use qr::Pattern;

use crate::failure::Failure;

/// The code of `uri`.
///
/// # Errors
/// Where the URI is longer than a QR code can hold.
pub(crate) fn pattern(uri: &str) -> Result<Pattern, Failure> {
    Pattern::of(uri).map_err(|_| Failure::refused("the URI is too long for a QR code; type the key by hand"))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        reason = "a test stops where something is missing"
    )]

    use super::*;
    use crate::png;

    const URI: &str = "otpauth://totp/gate.example.org:alice?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=gate.example.org&algorithm=SHA1&digits=6&period=30";

    /// What a terminal would show: each character is two pixels high; escapes set the colours.
    fn rasterise(text: &str, scale: usize, light_on_dark: bool) -> Vec<u8> {
        let mut rows: Vec<Vec<bool>> = Vec::new();
        for line in text.lines() {
            let plain = line.replace("\x1b[38;5;16;48;5;231m", "").replace("\x1b[0m", "");
            assert!(!plain.contains('\x1b'), "an escape that this test does not know");
            // Where colours are set, the blocks are black; else they have the terminal's foreground.
            let blocks_are_dark = plain.len() != line.len() || !light_on_dark;
            let ink = |drawn: bool| drawn == blocks_are_dark;
            rows.push(plain.chars().map(|c| ink(matches!(c, '█' | '▀'))).collect());
            rows.push(plain.chars().map(|c| ink(matches!(c, '█' | '▄'))).collect());
        }
        png::encode(rows[0].len(), rows.len(), scale, |row, column| rows[row][column])
    }

    /// What an independent reader finds in a picture.
    fn scan(picture: &[u8], option: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("code.png");
        std::fs::write(&file, picture).unwrap();
        let output = std::process::Command::new("zbarimg")
            .args(["-q", "--raw", option])
            .arg(&file)
            .output()
            .expect("zbarimg must be installed (package zbar-tools)");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    #[test]
    fn the_coloured_code_is_read_whatever_the_background_of_the_terminal() {
        let text = pattern(URI).unwrap().text(true);
        for light_on_dark in [true, false] {
            assert_eq!(scan(&rasterise(&text, 6, light_on_dark), "-Sqrcode.enable"), URI);
        }
    }

    #[test]
    fn the_plain_code_is_read_on_dark_terminals_and_inverted_on_light_ones() {
        let text = pattern(URI).unwrap().text(false);
        assert_eq!(scan(&rasterise(&text, 6, true), "-Sqrcode.enable"), URI);
        assert_eq!(scan(&rasterise(&text, 6, false), "-Stest-inverted"), URI);
    }

    #[test]
    fn the_picture_is_read_and_at_least_300_pixels_wide() {
        for uri in [URI, "otpauth://totp/a?secret=A", &format!("{URI}&x={}", "y".repeat(600))] {
            let pattern = pattern(uri).unwrap();
            let picture = png::picture(&pattern);
            let width = u32::from_be_bytes(picture[16..20].try_into().unwrap());
            let height = u32::from_be_bytes(picture[20..24].try_into().unwrap());
            assert!(width >= 300 && height == width, "{width} x {height}");
            assert_eq!(scan(&picture, "-Sqrcode.enable"), uri);
        }
    }

    #[test]
    fn a_uri_that_no_code_can_hold_is_refused() {
        assert!(pattern(&"x".repeat(3000)).is_err());
    }
}
