//! QR codes: the pattern of a text, as rows for a terminal and as a grid for a picture. Pure: no file, no terminal. What
//! is drawn is a secret's URI, so the pattern and its rows are as secret as that and are zeroised when dropped.

use fast_qr::{ECL, QRBuilder};
use zeroize::Zeroizing;

/// Light modules around a code, as ISO/IEC 18004 asks for.
pub const QUIET_ZONE: usize = 4;

/// The text is longer than a QR code can hold (2,953 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is too long for a QR code")]
pub struct TooLong;

/// A QR code with its quiet zone.
pub struct Pattern {
    size: usize,
    dark: Zeroizing<Vec<bool>>,
}

impl Pattern {
    /// The code of `text`, with the lowest error correction: it is read from a screen, where small matters more.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn of(text: &str) -> Result<Self, TooLong> {
        Self::with_quiet_zone(text, QUIET_ZONE)
    }

    /// The same with another number of light modules around it. Readers manage with two, which is what fits into a
    /// small terminal.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn with_quiet_zone(text: &str, quiet: usize) -> Result<Self, TooLong> {
        let code = QRBuilder::new(text).ecl(ECL::L).build().map_err(|_| TooLong)?;
        let size = code.size + 2 * quiet;
        let mut dark = Zeroizing::new(vec![false; size * size]);
        let rows = dark.chunks_exact_mut(size).skip(quiet);
        for (row, modules) in rows.zip(code.data.chunks_exact(code.size).take(code.size)) {
            for (cell, module) in row.iter_mut().skip(quiet).zip(modules) {
                *cell = module.value();
            }
        }
        Ok(Self { size, dark })
    }

    /// Modules from edge to edge, the quiet zone included: the columns that [`Pattern::text`] takes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The lines that [`Pattern::text`] takes.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.size.div_ceil(2)
    }

    /// Whether a module is dark; outside everything is light.
    #[must_use]
    pub fn is_dark(&self, row: usize, column: usize) -> bool {
        column < self.size && self.dark.get(row * self.size + column).copied().unwrap_or(false)
    }

    /// The code in half blocks, two modules a character: [`Pattern::size`] columns wide, a line end after each row.
    ///
    /// With `color` it is black on white by explicit colours (of the 256-colour cube, which themes leave alone), on
    /// terminals of any background. Without, the light modules are drawn in the foreground, which is right for light
    /// text on a dark background; elsewhere the code is inverted, which most scanners read as well.
    #[must_use]
    pub fn text(&self, color: bool) -> Zeroizing<String> {
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
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn the_text_is_as_wide_and_as_high_as_it_says() {
        for quiet in [2, QUIET_ZONE] {
            let pattern = Pattern::with_quiet_zone("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP", quiet).unwrap();
            for color in [false, true] {
                let text = pattern.text(color);
                let plain = text.replace("\x1b[38;5;16;48;5;231m", "").replace("\x1b[0m", "");
                assert!(plain.lines().all(|line| line.chars().count() == pattern.size()));
                assert_eq!(plain.lines().count(), pattern.rows());
            }
        }
    }

    #[test]
    fn a_text_that_no_code_can_hold_is_refused() {
        assert!(Pattern::of(&"x".repeat(2953)).is_ok());
        assert_eq!(Pattern::of(&"x".repeat(2954)).err(), Some(TooLong));
    }
}
