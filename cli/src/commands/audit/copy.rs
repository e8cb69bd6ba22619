//! Finds the daemon's lines in a syslog file. Anybody on the host can write to syslog, so a line counts only where the
//! program's name stands in its place; who forges that as well raises an alarm, and hides nothing.

use std::io::{self, BufRead as _, BufReader, Read};

use dbus_api::AuditWitness;

/// The longest line that is looked at, in bytes; the daemon's own are shorter.
const LONGEST_LINE: u64 = 8192;

/// The daemon's lines in an input, in the order in which they stand there. Memory does not grow with it.
pub(super) struct Witnesses<R> {
    input: BufReader<R>,
    line: Vec<u8>,
}

impl<R: Read> Witnesses<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input: BufReader::new(input), line: Vec::new() }
    }

    /// Reads the next line, or a part of one that is too long; `None` at the end.
    fn next_line(&mut self) -> io::Result<Option<()>> {
        self.line.clear();
        let read = self.input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut self.line)?;
        if read as u64 == LONGEST_LINE && !self.line.ends_with(b"\n") {
            // None of ours: its rest is passed over, and its beginning with it.
            self.line.clear();
            self.input.skip_until(b'\n')?;
        }
        Ok((read > 0).then_some(()))
    }
}

impl<R: Read> Iterator for Witnesses<R> {
    type Item = io::Result<AuditWitness>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_line() {
                Ok(Some(())) => {}
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
            if let Some(witness) = std::str::from_utf8(&self.line).ok().and_then(parse) {
                return Some(Ok(witness));
            }
        }
    }
}

/// Reads `TIME HOST countersignd[PID]: event=… seq=N chain=M`; a line without the syslog's part counts too.
fn parse(line: &str) -> Option<AuditWitness> {
    let line = line.trim_end();
    let event = match line.split_once(": ") {
        Some((header, event)) if !header.starts_with("event=") => {
            let program = header.rsplit(' ').next()?;
            let name = program.split_once('[').map_or(program, |(name, _)| name);
            (name == "countersignd").then_some(event)?
        }
        _ => line,
    };
    if !event.starts_with("event=") {
        return None;
    }
    let (rest, chain) = event.rsplit_once(" chain=")?;
    let (_, seq) = rest.rsplit_once(" seq=")?;
    let seq = seq.parse().ok().filter(|seq| i64::try_from(*seq).is_ok())?;
    let mark = chain.len() == 16 && chain.bytes().all(|byte| byte.is_ascii_hexdigit());
    mark.then(|| AuditWitness { seq, chain: chain.to_owned() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops where something is missing")]

    use super::*;

    const EVENT: &str = "event=unlock outcome=granted account=\"a: b\" caller_uid=0 seq=7 chain=0123456789abcdef";

    fn found(text: &[u8]) -> Vec<u64> {
        Witnesses::new(text).map(|witness| witness.unwrap().seq).collect()
    }

    #[test]
    fn lines_of_rsyslog_old_and_new_and_bare_ones_are_found() {
        for header in [
            "Nov 22 01:46:50 gate countersignd[123]: ",
            "2026-11-22T01:46:50.123456+00:00 gate countersignd[1]: ",
            "Nov  2 01:46:50 gate countersignd: ",
            "",
        ] {
            let witness = AuditWitness { seq: 7, chain: "0123456789abcdef".to_owned() };
            assert_eq!(parse(&format!("{header}{EVENT}\r\n")), Some(witness), "{header}");
        }
    }

    #[test]
    fn what_other_programs_write_is_no_line_of_ours() {
        for line in [
            format!("Nov 22 01:46:50 gate sudo: alice : COMMAND=/bin/echo {EVENT}"),
            format!("Nov 22 01:46:50 gate sshd[9]: countersignd[1]: {EVENT}"),
            format!("Nov 22 01:46:50 gate notcountersignd[1]: {EVENT}"),
            "Nov 22 01:46:50 gate countersignd[1]: store: it was opened again".to_owned(),
            format!("Nov 22 01:46:50 gate countersignd[1]: {EVENT}0"),
            format!("Nov 22 01:46:50 gate countersignd[1]: {}", EVENT.replace("seq=7", "seq=-7")),
            String::new(),
        ] {
            assert_eq!(parse(&line), None, "{line}");
        }
    }

    #[test]
    fn lines_that_are_too_long_or_no_text_are_passed_over() {
        let long = "x".repeat(20_000);
        let text = format!("{EVENT}\n{long}{EVENT}\n{}\n{EVENT}", "y".repeat(8192));
        assert_eq!(found(text.as_bytes()), [7, 7]);
        assert_eq!(found(b"\xff\xfe\n\n"), [0; 0]);
        assert_eq!(found(b""), [0; 0]);
    }
}
