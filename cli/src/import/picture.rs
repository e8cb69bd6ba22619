//! QR codes in a PNG: a screenshot of an export. The picture is its owner's, and as secret as what its codes hold: its
//! size is bounded before it is decoded, and what was decoded is zeroised.

use std::io::Cursor;

use png::{ColorType, Decoder, Limits, Transformations};
use rqrr::PreparedImage;
use zeroize::{Zeroize as _, Zeroizing};

use crate::import::Bad;

/// The largest file that is read, in bytes.
pub(crate) const LARGEST: usize = 32 << 20;
/// The most pixels: a screen of 8K has 33 million.
const MOST_PIXELS: usize = 40_000_000;
/// The most memory for the decoder itself, in bytes.
const MOST_MEMORY: usize = 64 << 20;
/// How a PNG begins.
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

const DAMAGED: Bad = Bad::file("the picture is damaged, or cut off");

/// Whether the bytes begin as a PNG does.
pub(crate) fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(SIGNATURE)
}

/// What the QR codes of the picture hold, one a line, in the order in which they were found.
///
/// # Errors
/// Where it is no picture, too large, or shows no readable code.
pub(crate) fn read_codes(bytes: &[u8]) -> Result<Zeroizing<String>, Bad> {
    let mut picture = Picture::decode(bytes)?;
    let codes = picture.read()?;
    if codes.is_some() {
        return codes.ok_or(NO_CODE);
    }
    // A dark screen shows codes inverted.
    picture.invert();
    picture.read()?.ok_or(NO_CODE)
}

const NO_CODE: Bad = Bad::file("the picture shows no QR code that can be read: take it closer, or larger");

/// A picture in grey.
struct Picture {
    width: usize,
    height: usize,
    pixels: Zeroizing<Vec<u8>>,
}

impl Picture {
    fn decode(bytes: &[u8]) -> Result<Self, Bad> {
        let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: MOST_MEMORY });
        decoder.set_transformations(Transformations::normalize_to_color8());
        let header = decoder.read_header_info().map_err(|_| DAMAGED)?;
        let (width, height) = (header.width as usize, header.height as usize);
        if width.checked_mul(height).is_none_or(|pixels| pixels > MOST_PIXELS) {
            return Err(Bad::file("the picture has more than 40 million pixels"));
        }
        let mut reader = decoder.read_info().map_err(|_| DAMAGED)?;
        // PNG (third edition), 11.2.2; png 0.18 panics where it has another length.
        let is_sound = |palette: &[u8]| palette.len().is_multiple_of(3) && (3..=768).contains(&palette.len());
        if !reader.info().palette.as_deref().is_none_or(is_sound) {
            return Err(DAMAGED);
        }
        let size = reader.output_buffer_size().ok_or(DAMAGED)?;
        let mut samples = Zeroizing::new(vec![0; size]);
        let frame = reader.next_frame(&mut samples).map_err(|_| DAMAGED)?;
        let channels = match frame.color_type {
            ColorType::Grayscale => 1,
            ColorType::GrayscaleAlpha => 2,
            ColorType::Rgb => 3,
            ColorType::Rgba => 4,
            ColorType::Indexed => return Err(DAMAGED),
        };
        let mut pixels = Zeroizing::new(Vec::with_capacity(width * height));
        pixels.extend(samples.chunks_exact(channels).map(grey));
        if pixels.len() < width * height {
            return Err(DAMAGED);
        }
        Ok(Self { width, height, pixels })
    }

    /// The codes' contents, one a line; `None` where there is none.
    fn read(&self) -> Result<Option<Zeroizing<String>>, Bad> {
        let pixel = |x, y| self.pixels.get(y * self.width + x).copied().unwrap_or(u8::MAX);
        let mut image = PreparedImage::prepare_from_greyscale(self.width, self.height, pixel);
        let mut codes = Zeroizing::new(String::new());
        for grid in image.detect_grids() {
            let mut content = Zeroizing::new(Vec::with_capacity(4096));
            if grid.decode_to(&mut *content).is_err() {
                continue;
            }
            let text =
                std::str::from_utf8(&content).map_err(|_| Bad::file("a QR code of the picture holds no text"))?;
            // Of its whole size before it grows: what is left behind would not be zeroised.
            let mut longer = Zeroizing::new(String::with_capacity(codes.len() + text.len() + 1));
            longer.push_str(&codes);
            longer.push_str(text);
            longer.push('\n');
            codes.zeroize();
            codes = longer;
        }
        Ok((!codes.is_empty()).then_some(codes))
    }

    fn invert(&mut self) {
        self.pixels.iter_mut().for_each(|pixel| *pixel = !*pixel);
    }
}

/// The brightness of a pixel, on white where it is transparent.
fn grey(samples: &[u8]) -> u8 {
    let (level, alpha) = match *samples {
        [level] => (u32::from(level), 255),
        [level, alpha] => (u32::from(level), u32::from(alpha)),
        [red, green, blue] => (luminance(red, green, blue), 255),
        [red, green, blue, alpha] => (luminance(red, green, blue), u32::from(alpha)),
        _ => (255, 255),
    };
    u8::try_from((level * alpha + 255 * (255 - alpha)) / 255).unwrap_or(u8::MAX)
}

/// Rec. 601, in integers.
fn luminance(red: u8, green: u8, blue: u8) -> u32 {
    (299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue)) / 1000
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

    use png::{BitDepth, Encoder};

    use super::*;

    /// Made by qrencode (`tests/data/apps/make`).
    const CODE: &[u8] = include_bytes!("../../tests/data/apps/migration-1.png");
    const EXPORT: &str = include_str!("../../tests/data/apps/migration.txt");

    /// The code amid a wider white picture, as a screenshot shows it: brightness by column and row.
    fn screen() -> (usize, usize, impl Fn(usize, usize) -> u8) {
        let code = Picture::decode(CODE).unwrap();
        let (width, height) = (code.width + 150, code.height + 90);
        let pixel = move |x: usize, y: usize| match (x.checked_sub(70), y.checked_sub(40)) {
            (Some(x), Some(y)) if x < code.width && y < code.height => code.pixels[y * code.width + x],
            _ => 255,
        };
        (width, height, pixel)
    }

    fn encode(width: usize, height: usize, color: ColorType, depth: BitDepth, samples: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, u32::try_from(width).unwrap(), u32::try_from(height).unwrap());
        encoder.set_color(color);
        encoder.set_depth(depth);
        encoder.write_header().unwrap().write_image_data(samples).unwrap();
        bytes
    }

    /// The screen with each pixel written as `samples` makes it of the brightness.
    fn shot(color: ColorType, depth: BitDepth, samples: impl Fn(u8) -> Vec<u8>) -> Vec<u8> {
        let (width, height, pixel) = screen();
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let bytes: Vec<u8> = pixels.flat_map(|(x, y)| samples(pixel(x, y))).collect();
        encode(width, height, color, depth, &bytes)
    }

    #[test]
    fn the_code_is_read_from_pictures_of_every_kind() {
        let first = format!("{}\n", EXPORT.lines().next().unwrap());
        assert_eq!(*read_codes(CODE).unwrap(), first);
        let kinds = [
            shot(ColorType::Grayscale, BitDepth::Eight, |level| vec![level]),
            shot(ColorType::Rgb, BitDepth::Eight, |level| vec![level, level, level]),
            shot(ColorType::Rgba, BitDepth::Eight, |level| vec![level, level, level, 255]),
            // Black on what is transparent.
            shot(ColorType::Rgba, BitDepth::Eight, |level| vec![0, 0, 0, 255 - level]),
            shot(ColorType::Rgb, BitDepth::Sixteen, |level| vec![level, 0, level, 0, level, 0]),
            // A blue code on yellow, and one on a dark screen.
            shot(ColorType::Rgb, BitDepth::Eight, |level| vec![level, level, 255 - level]),
            shot(ColorType::Grayscale, BitDepth::Eight, |level| vec![!level]),
        ];
        for picture in kinds {
            assert_eq!(*read_codes(&picture).unwrap(), first);
        }
    }

    #[test]
    fn both_codes_of_one_picture_are_read() {
        let (one, two) = (Picture::decode(CODE).unwrap(), include_bytes!("../../tests/data/apps/migration-2.png"));
        let two = Picture::decode(two).unwrap();
        let width = one.width + two.width;
        let mut pixels = vec![255; width * one.height];
        for (code, left) in [(&one, 0), (&two, one.width)] {
            for (y, row) in code.pixels.chunks(code.width).enumerate() {
                pixels[y * width + left..][..code.width].copy_from_slice(row);
            }
        }
        let codes = read_codes(&encode(width, one.height, ColorType::Grayscale, BitDepth::Eight, &pixels)).unwrap();
        let mut lines: Vec<&str> = codes.lines().collect();
        lines.sort_unstable();
        let mut expected: Vec<&str> = EXPORT.lines().collect();
        expected.sort_unstable();
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_picture_that_is_damaged_or_shows_nothing_is_refused() {
        let reason = |bytes: &[u8]| read_codes(bytes).unwrap_err().reason;
        assert_eq!(reason(b""), DAMAGED.reason);
        assert_eq!(reason(&CODE[..CODE.len() / 2]), DAMAGED.reason);
        let blank = encode(300, 300, ColorType::Grayscale, BitDepth::Eight, &vec![255; 300 * 300]);
        assert_eq!(reason(&blank), NO_CODE.reason);
        let noise: Vec<u8> = (0..300_u32 * 300).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        assert_eq!(reason(&encode(300, 300, ColorType::Grayscale, BitDepth::Eight, &noise)), NO_CODE.reason);
    }

    #[test]
    fn a_header_that_claims_a_huge_picture_costs_nothing() {
        // 60,000 by 60,000 pixels: 3.6 GB, were it believed.
        let mut huge = CODE.to_vec();
        huge[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        let crc = crc32(&huge[12..29]);
        huge[29..33].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(read_codes(&huge).unwrap_err().reason, "the picture has more than 40 million pixels");
    }

    #[test]
    fn a_palette_that_is_none_is_damage() {
        let at = CODE.windows(4).position(|name| name == b"PLTE").unwrap();
        let length = u32::from_be_bytes(CODE[at - 4..at].try_into().unwrap()) as usize;
        let entries = &CODE[at + 4..at + 4 + length];
        for palette in [&[][..], &entries[..2], &entries[..5], &[entries, &[0]].concat(), &[0; 769], &[0; 771]] {
            let chunk = [b"PLTE", palette].concat();
            let size = u32::try_from(palette.len()).unwrap().to_be_bytes();
            let picture =
                [&CODE[..at - 4], &size, &chunk, &crc32(&chunk).to_be_bytes(), &CODE[at + 8 + length..]].concat();
            assert_eq!(read_codes(&picture).unwrap_err().reason, DAMAGED.reason, "{} bytes", palette.len());
        }
    }

    fn crc32(data: &[u8]) -> u32 {
        !data.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
        })
    }
}
