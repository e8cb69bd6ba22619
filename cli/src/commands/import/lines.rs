//! Reads an input of any length line by line. Lines hold secrets: the buffer has a fixed size and is zeroised.

use std::io::{self, Read};

use zeroize::{Zeroize as _, Zeroizing};

/// The longest line, in bytes, its end not counted.
const LONGEST_LINE: usize = 4096;

/// Lines of an input in a buffer of fixed size, which is zeroised.
pub(super) struct Lines<R: Read> {
    input: R,
    buffer: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
    number: u64,
    bytes: u64,
    too_long: bool,
}

impl<R: Read> Lines<R> {
    /// The lines of this input.
    pub(super) fn new(input: R) -> Self {
        let buffer = Zeroizing::new(vec![0; LONGEST_LINE * 4]);
        Self { input, buffer, start: 0, end: 0, number: 0, bytes: 0, too_long: false }
    }

    /// How many bytes were read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Hands the next line, or why it is none, with its number to `take`; false at the end of the input.
    ///
    /// # Errors
    /// The input cannot be read.
    pub(super) fn next(&mut self, mut take: impl FnMut(u64, Result<&str, &'static str>)) -> io::Result<bool> {
        loop {
            let held = self.buffer.get(self.start..self.end).unwrap_or_default();
            if let Some(length) = held.iter().position(|byte| *byte == b'\n') {
                self.finish(length, &mut take);
                self.start += length + 1;
                return Ok(true);
            }
            if held.len() > LONGEST_LINE {
                // Only its end is still of interest.
                self.too_long = true;
                self.start = self.end;
            }
            if self.fill()? == 0 {
                let rest = self.end - self.start;
                if rest > 0 || self.too_long {
                    self.finish(rest, &mut take);
                    self.start = self.end;
                }
                return Ok(false);
            }
        }
    }

    fn finish(&mut self, length: usize, take: &mut impl FnMut(u64, Result<&str, &'static str>)) {
        self.number += 1;
        let line = self.buffer.get(self.start..self.start + length).unwrap_or_default();
        if std::mem::take(&mut self.too_long) || length > LONGEST_LINE {
            return take(self.number, Err("the line is longer than 4096 bytes"));
        }
        // A byte order mark is what some editors begin a file with.
        let text = std::str::from_utf8(line).map(|text| text.trim_start_matches('\u{feff}'));
        take(self.number, text.map_err(|_| "the line is not UTF-8"));
    }

    /// Reads more behind what is held, which is moved to the front first.
    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let read = loop {
            match self.input.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        self.end += read;
        self.bytes += read as u64;
        Ok(read)
    }
}

impl<R: Read> Drop for Lines<R> {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where something is missing")]

    use super::*;

    /// Hands out a few bytes at a time, as a pipe may.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(buffer.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    /// Numbers and texts of the lines, or why they are none.
    fn read_all(text: &[u8], step: usize) -> Vec<(u64, Result<String, &'static str>)> {
        let mut lines = Lines::new(Trickle(text, step));
        let mut all = Vec::new();
        while lines.next(|number, line| all.push((number, line.map(str::to_owned)))).unwrap() {}
        assert_eq!(lines.bytes(), text.len() as u64);
        all
    }

    #[test]
    fn lines_are_counted_from_1_however_they_come_and_end() {
        let line = |text: &str| Ok(text.to_owned());
        for step in [1, 7, 100_000] {
            let read = read_all("\u{feff}one\n\n two\r\nthree".as_bytes(), step);
            assert_eq!(read, [(1, line("one")), (2, line("")), (3, line(" two\r")), (4, line("three"))]);
        }
        assert!(read_all(b"", 1).is_empty());
    }

    #[test]
    fn a_line_over_4_kib_is_bad_and_the_next_one_is_read() {
        let longest = "y".repeat(LONGEST_LINE);
        let text = format!("{longest}\n{longest}z\n{}\nshort\n{}", "w".repeat(100_000), "v".repeat(5000));
        let reason = Err("the line is longer than 4096 bytes");
        for step in [1000, 4096, 4097, 100_000] {
            let read = read_all(text.as_bytes(), step);
            assert_eq!(read[0], (1, Ok(longest.clone())));
            assert_eq!(read[1..3], [(2, reason.clone()), (3, reason.clone())]);
            assert_eq!(read[3..], [(4, Ok("short".to_owned())), (5, reason.clone())]);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_a_bad_line() {
        assert_eq!(read_all(b"\xff\xfe\n", 10), [(1, Err("the line is not UTF-8"))]);
    }
}
