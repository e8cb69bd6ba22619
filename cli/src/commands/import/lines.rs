//! Reads a file of URIs line by line into batches. The buffers hold secrets, have a fixed size and are zeroised.

use std::io::{self, Read};

use dbus_api::{ImportRecord, MAX_RECORDS};
use tokio::sync::mpsc;
use zeroize::{Zeroize as _, Zeroizing};

use crate::otpauth;

/// The longest line, in bytes, its end not counted.
pub(super) const LONGEST_LINE: usize = 4096;
/// How many bad lines a batch holds before it is handed on.
const MOST_BAD: usize = 500;

/// Some lines of the file.
#[derive(Default)]
pub(super) struct Batch {
    /// What was read, at most [`MAX_RECORDS`].
    pub(super) records: Vec<ImportRecord>,
    /// The line of each record, counted from 1.
    pub(super) lines: Vec<u64>,
    /// Lines that are none, and why.
    pub(super) bad: Vec<(u64, &'static str)>,
    /// How many bytes of the file were read.
    pub(super) end: u64,
}

impl Batch {
    fn take(&mut self, number: u64, line: Result<&str, &'static str>) {
        let text = match line {
            Ok(text) => text.trim(),
            Err(reason) => return self.bad.push((number, reason)),
        };
        if text.is_empty() || text.starts_with('#') {
            return;
        }
        match otpauth::parse(text) {
            Ok(record) => {
                self.records.push(record);
                self.lines.push(number);
            }
            Err(reason) => self.bad.push((number, reason)),
        }
    }

    fn is_full(&self) -> bool {
        self.records.len() >= MAX_RECORDS || self.bad.len() >= MOST_BAD
    }
}

/// Reads `input` to its end and sends batches; stops early where nobody takes them any more.
pub(super) fn read(input: impl Read, batches: &mpsc::Sender<io::Result<Batch>>) {
    let mut lines = Lines::new(input);
    let mut batch = Batch::default();
    loop {
        let more = match lines.next(|number, line| batch.take(number, line)) {
            Ok(more) => more,
            Err(error) => {
                // What was read before goes in first.
                if batches.blocking_send(Ok(batch)).is_ok() {
                    let _ = batches.blocking_send(Err(error));
                }
                return;
            }
        };
        if more && !batch.is_full() {
            continue;
        }
        batch.end = lines.bytes();
        if batches.blocking_send(Ok(std::mem::take(&mut batch))).is_err() || !more {
            return;
        }
    }
}

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

    const URI: &str = "otpauth://totp/alice?secret=JBSWY3DPEHPK3PXP";

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

    fn read_all(text: &[u8], step: usize) -> (Vec<u64>, Vec<(u64, &'static str)>, Vec<usize>) {
        let (sender, mut receiver) = mpsc::channel(1000);
        read(Trickle(text, step), &sender);
        drop(sender);
        let (mut good, mut bad, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(batch) = receiver.blocking_recv() {
            let batch = batch.unwrap();
            sizes.push(batch.records.len());
            good.extend_from_slice(&batch.lines);
            bad.extend_from_slice(&batch.bad);
        }
        (good, bad, sizes)
    }

    #[test]
    fn blank_lines_and_comments_are_skipped_and_still_counted() {
        let text = format!("\u{feff}# accounts\n\n{URI}\r\n   \n  {URI}\nnonsense\n{URI}");
        for step in [1, 7, 100_000] {
            let (good, bad, _) = read_all(text.as_bytes(), step);
            assert_eq!(good, [3, 5, 7]);
            assert_eq!(bad, [(6, "this is no URI")]);
        }
    }

    #[test]
    fn a_line_over_4_kib_is_bad_and_the_next_one_is_read() {
        let longest = format!("{URI}&x={}", "y".repeat(LONGEST_LINE - URI.len() - 3));
        assert_eq!(longest.len(), LONGEST_LINE);
        let text = format!("{longest}\n{longest}z\n{}\n{URI}\n{}", "w".repeat(100_000), "v".repeat(5000));
        for step in [1000, 4096, 4097, 100_000] {
            let (good, bad, _) = read_all(text.as_bytes(), step);
            assert_eq!(good, [1, 4]);
            let reason = "the line is longer than 4096 bytes";
            assert_eq!(bad, [(2, reason), (3, reason), (5, reason)]);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_a_bad_line() {
        assert_eq!(read_all(b"\xff\xfe\n", 10).1, [(1, "the line is not UTF-8")]);
    }

    #[test]
    fn batches_hold_no_more_than_a_call_takes() {
        let text = format!("{URI}\n").repeat(1201);
        assert_eq!(read_all(text.as_bytes(), 4096).2, [500, 500, 201]);
    }
}
