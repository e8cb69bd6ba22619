//! QR codes: the pattern of a URI, as text for a terminal and as a grid for a picture. The pattern is as secret as the
//! URI and is zeroised when dropped.

use fast_qr::{ECL, QRBuilder};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Light modules around the code: ISO/IEC 18004 asks for four.
const QUIET_ZONE: usize = 4;

/// A QR code with its quiet zone.
pub(crate) struct Pattern {
    size: usize,
    dark: Zeroizing<Vec<bool>>,
}

impl Pattern {
    /// The code of `uri`, with the lowest error correction: it is read from a screen, where small matters more.
    ///
    /// # Errors
    /// Where the URI is longer than a QR code can hold.
    pub(crate) fn of(uri: &str) -> Result<Self, Failure> {
        let code = QRBuilder::new(uri)
            .ecl(ECL::L)
            .build()
            .map_err(|_too_long| Failure::refused("the URI is too long for a QR code; type the key by hand"))?;
        let size = code.size + 2 * QUIET_ZONE;
        let mut dark = Zeroizing::new(vec![false; size * size]);
        let rows = dark.chunks_exact_mut(size).skip(QUIET_ZONE);
        for (row, modules) in rows.zip(code.data.chunks_exact(code.size).take(code.size)) {
            for (cell, module) in row.iter_mut().skip(QUIET_ZONE).zip(modules) {
                *cell = module.value();
            }
        }
        Ok(Self { size, dark })
    }

    /// Modules from edge to edge, the quiet zone included.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Whether a module is dark; outside everything is light.
    pub(crate) fn is_dark(&self, row: usize, column: usize) -> bool {
        column < self.size && self.dark.get(row * self.size + column).copied().unwrap_or(false)
    }

    /// The code in half blocks, two modules a character: [`Pattern::size`] columns wide.
    ///
    /// With `color` it is black on white by explicit colours (of the 256-colour cube, which themes leave alone), on
    /// terminals of any background. Without, the light modules are drawn in the foreground, which is right for light
    /// text on a dark background; elsewhere the code is inverted, which most scanners read as well.
    pub(crate) fn text(&self, color: bool) -> Zeroizing<String> {
        // Sized beforehand, so that growing leaves no copies behind.
        let mut text = Zeroizing::new(String::with_capacity(self.size * self.size * 2 + self.size * 32));
        for row in (0..self.size).step_by(2) {
            if color {
                text.push_str("\x1b[38;5;16;48;5;231m");
            }
            for column in 0..self.size {
                let (upper, lower) = (self.is_dark(row, column), self.is_dark(row + 1, column));
                text.push(if color { half_block(upper, lower) } else { half_block(!upper, !lower) });
            }
            text.push_str(if color { "\x1b[0m\n" } else { "\n" });
        }
        text
    }
}

fn half_block(upper: bool, lower: bool) -> char {
    match (upper, lower) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    }
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
        let text = Pattern::of(URI).unwrap().text(true);
        for light_on_dark in [true, false] {
            assert_eq!(scan(&rasterise(&text, 6, light_on_dark), "-Sqrcode.enable"), URI);
        }
    }

    #[test]
    fn the_plain_code_is_read_on_dark_terminals_and_inverted_on_light_ones() {
        let text = Pattern::of(URI).unwrap().text(false);
        assert_eq!(scan(&rasterise(&text, 6, true), "-Sqrcode.enable"), URI);
        assert_eq!(scan(&rasterise(&text, 6, false), "-Stest-inverted"), URI);
    }

    #[test]
    fn the_picture_is_read_and_at_least_300_pixels_wide() {
        for uri in [URI, "otpauth://totp/a?secret=A", &format!("{URI}&x={}", "y".repeat(600))] {
            let pattern = Pattern::of(uri).unwrap();
            let picture = png::picture(&pattern);
            let width = u32::from_be_bytes(picture[16..20].try_into().unwrap());
            let height = u32::from_be_bytes(picture[20..24].try_into().unwrap());
            assert!(width >= 300 && height == width, "{width} x {height}");
            assert_eq!(scan(&picture, "-Sqrcode.enable"), uri);
        }
    }

    #[test]
    fn the_text_is_as_wide_as_the_pattern() {
        let pattern = Pattern::of(URI).unwrap();
        assert!(pattern.text(false).lines().all(|line| line.chars().count() == pattern.size()));
    }

    #[test]
    fn a_uri_that_no_code_can_hold_is_refused() {
        assert!(Pattern::of(&"x".repeat(3000)).is_err());
    }
}
