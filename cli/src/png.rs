//! PNG pictures of QR codes (W3C PNG, third edition): 1-bit greyscale in stored deflate blocks, which needs no
//! compressor. The file is as secret as the key: it is made anew, readable by its owner alone.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use crate::{failure::Failure, qr::Pattern, wording};

/// The least width and height of a picture, in pixels.
const LEAST_PIXELS: usize = 300;
/// The least width of a module, in pixels.
const LEAST_SCALE: usize = 6;
/// The most bytes in one stored block (RFC 1951, section 3.2.4).
const STORED_BLOCK: usize = 65_535;

/// A new file for a picture. It is removed again unless a picture was kept in it.
pub(crate) struct PictureFile {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl PictureFile {
    /// Makes the file; an existing one is left alone, a symbolic link is not followed.
    ///
    /// # Errors
    /// Where the file exists or cannot be made.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(path)
            .map_err(|error| refusal(path, &error))?;
        Ok(Self { path: path.to_owned(), file, kept: false })
    }

    /// Writes the picture of `pattern`.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn write(&mut self, pattern: &Pattern) -> Result<(), Failure> {
        let written = self.file.write_all(&picture(pattern)).and_then(|()| self.file.sync_all());
        written.map_err(|error| refusal(&self.path, &error))
    }

    /// Keeps the file.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for PictureFile {
    fn drop(&mut self) {
        if !self.kept {
            // The enrolment failed already; a useless file left behind is no second reason.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn refusal(path: &Path, error: &io::Error) -> Failure {
    let name = wording::printable(&path.display().to_string());
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Failure::refused(format!("{name} exists already, and is not overwritten"))
            .with_help("Name a new file with --qr-png FILE.");
    }
    Failure::refused(format!("{name} cannot be written: {error}"))
}

/// `pattern` as a PNG of at least 300 by 300 pixels.
pub(crate) fn picture(pattern: &Pattern) -> Zeroizing<Vec<u8>> {
    let scale = LEAST_PIXELS.div_ceil(pattern.size()).max(LEAST_SCALE);
    Zeroizing::new(encode(pattern.size(), pattern.size(), scale, |row, column| pattern.is_dark(row, column)))
}

/// A PNG of `width` by `height` squares, each `scale` pixels wide; `dark` says which are black.
pub(crate) fn encode(width: usize, height: usize, scale: usize, dark: impl Fn(usize, usize) -> bool) -> Vec<u8> {
    let pixels = scanlines(width, height, scale, dark);
    let mut png = Vec::with_capacity(pixels.len() + pixels.len() / 1000 + 128);
    png.extend_from_slice(b"\x89PNG\r\n\x1a\n");
    let mut header = Vec::with_capacity(13);
    header.extend_from_slice(&length(width * scale));
    header.extend_from_slice(&length(height * scale));
    // Bit depth 1, greyscale, deflate, adaptive filters, not interlaced.
    header.extend_from_slice(&[1, 0, 0, 0, 0]);
    chunk(&mut png, *b"IHDR", &header);
    chunk(&mut png, *b"IDAT", &stored(&pixels));
    chunk(&mut png, *b"IEND", &[]);
    png
}

/// The rows, each with its filter type (0: none) before it; a set bit is white.
fn scanlines(width: usize, height: usize, scale: usize, dark: impl Fn(usize, usize) -> bool) -> Zeroizing<Vec<u8>> {
    let row_bytes = (width * scale).div_ceil(8);
    let mut pixels = Zeroizing::new(Vec::with_capacity((row_bytes + 1) * height * scale));
    for row in 0..height * scale {
        pixels.push(0);
        for byte in 0..row_bytes {
            let bits = (byte * 8..byte * 8 + 8)
                .map(|column| u8::from(!dark(row / scale, column.min(width * scale - 1) / scale)));
            pixels.push(bits.fold(0, |byte, bit| byte << 1 | bit));
        }
    }
    pixels
}

/// `data` as a zlib stream (RFC 1950) of stored blocks.
fn stored(data: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut stream = Zeroizing::new(Vec::with_capacity(data.len() + 5 * data.len().div_ceil(STORED_BLOCK) + 6));
    stream.extend_from_slice(&[0x78, 0x01]);
    let mut blocks = data.chunks(STORED_BLOCK).peekable();
    while let Some(block) = blocks.next() {
        let size = u16::try_from(block.len()).unwrap_or(u16::MAX);
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend_from_slice(&size.to_le_bytes());
        stream.extend_from_slice(&(!size).to_le_bytes());
        stream.extend_from_slice(block);
    }
    stream.extend_from_slice(&adler32(data).to_be_bytes());
    stream
}

fn chunk(png: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    png.extend_from_slice(&length(data.len()));
    png.extend_from_slice(&kind);
    png.extend_from_slice(data);
    png.extend_from_slice(&crc32(kind.iter().chain(data)).to_be_bytes());
}

/// A length as PNG writes it. A QR code has at most 185 modules: no length comes near the limit.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

/// CRC-32 as in ISO 3309, bit by bit: a picture has a few ten thousand bytes.
fn crc32<'a>(data: impl Iterator<Item = &'a u8>) -> u32 {
    !data.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// Adler-32 (RFC 1950, section 8.2).
fn adler32(data: &[u8]) -> u32 {
    let (low, high) = data.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    high << 16 | low
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops where something is missing")]

    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn the_checksums_are_those_of_the_standards() {
        assert_eq!(crc32(b"123456789".iter()), 0xcbf4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn a_kept_picture_is_readable_by_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("code.png");
        let mut file = PictureFile::create(&path).unwrap();
        file.write(&Pattern::of("otpauth://totp/a?secret=A").unwrap()).unwrap();
        file.keep();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_picture_that_was_not_kept_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("code.png");
        drop(PictureFile::create(&path).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn no_file_is_overwritten_and_no_link_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("mine.txt"), directory.path().join("link.png"));
        std::fs::write(&path, "mine").unwrap();
        symlink(directory.path().join("elsewhere"), &link).unwrap();
        for taken in [&path, &link] {
            assert!(PictureFile::create(taken).is_err());
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        assert!(!directory.path().join("elsewhere").exists() && link.is_symlink());
    }
}
