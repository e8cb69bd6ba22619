//! The chain of the audit: each record's MAC covers the one before it, so that none can be changed, removed or
//! moved without the audit key. A record's beginning in syslog proves a cut at the end as well.

use std::fmt;

use verifier::WallTime;

use super::{Event, Kind, Origin, Outcome, line};
use crate::store::encoding::Encoding;
use crate::store::seal::{self, Mac, SecretBytes};

/// The first 8 bytes of a record's MAC: what stands in `chain=…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainMark(pub [u8; 8]);

impl fmt::Display for ChainMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl ChainMark {
    /// Reads 16 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(|number| Self(number.to_be_bytes()))
    }

    pub(crate) fn of(mac: &Mac) -> Self {
        Self(mac.first_chunk().copied().unwrap_or_default())
    }
}

/// One record of the audit as the table holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number; they follow each other without a gap.
    pub seq: u64,
    /// What it tells of.
    pub event: Event,
    /// Its place in the chain.
    pub mark: ChainMark,
}

impl AuditRecord {
    /// The line that syslog was given.
    #[must_use]
    pub fn line(&self) -> String {
        line::write(&self.event, self.seq, self.mark)
    }
}

/// A line of a syslog copy: this record was written, with this mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The record's number.
    pub seq: u64,
    /// Its mark.
    pub mark: ChainMark,
}

impl Witness {
    /// Finds number and mark at the end of a line; `None` where it is no line of the audit.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (rest, mark) = line.trim_end().rsplit_once(" chain=")?;
        let (_, seq) = rest.rsplit_once(" seq=")?;
        Some(Self { seq: seq.parse().ok()?, mark: ChainMark::parse(mark)? })
    }
}

/// What a whole chain was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainReport {
    /// The number of the first record; one more than `last` where there is none.
    pub first: u64,
    /// The number of the last record; 0 where there never was one.
    pub last: u64,
}

/// The first thing that is wrong with a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// A record does not follow from the one before it.
    #[error("audit record {0} was changed, or another stands in its place")]
    Changed(u64),
    /// A record between others is not there.
    #[error("audit record {0} is missing")]
    Missing(u64),
    /// Records at the end are not there.
    #[error("the audit ends at record {last}, but record {expected} was written")]
    CutOff {
        /// The last one that is there.
        last: u64,
        /// One that was written after it.
        expected: u64,
    },
    /// The mark of the chain's beginning or end is not signed by us.
    #[error("the mark of the audit's beginning or end was altered")]
    Ends,
    /// A syslog copy tells of another record under this number.
    #[error("audit record {0} is not the one that syslog was told of")]
    Contradicted(u64),
}

/// The key of the chain.
pub(crate) struct AuditKey(SecretBytes);

/// One end of the chain: the record with this number has this MAC. The beginning is the record before the
/// first that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) seq: u64,
    /// Bytes of all records up to here, for retention.
    pub(crate) total: u64,
    pub(crate) mac: Mac,
}

/// A record as its columns, before anything in it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    pub(crate) seq: u64,
    pub(crate) at: u64,
    pub(crate) event: String,
    pub(crate) outcome: String,
    pub(crate) account: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) tty: Option<String>,
    pub(crate) rhost: Option<String>,
    pub(crate) ruser: Option<String>,
    pub(crate) claimed: Option<bool>,
    pub(crate) rule: Option<String>,
    pub(crate) authenticator: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) failures: Option<u32>,
    pub(crate) caller_uid: Option<u32>,
    pub(crate) count: Option<u32>,
    pub(crate) total: u64,
    pub(crate) mac: Mac,
}

impl AuditKey {
    pub(crate) const fn new(key: SecretBytes) -> Self {
        Self(key)
    }

    /// Makes the record that follows `last`.
    pub(crate) fn extend(&self, last: &End, event: Event) -> (Columns, End) {
        let mut columns = Columns::of(last.seq.saturating_add(1), event.bounded());
        let size = columns.encoding().as_bytes().len() as u64;
        columns.total = last.total.saturating_add(size);
        columns.mac = self.mac(&last.mac, &columns);
        let end = End { seq: columns.seq, total: columns.total, mac: columns.mac };
        (columns, end)
    }

    /// Signs an end of the chain under its name.
    pub(crate) fn sign(&self, name: &str, end: &End) -> Mac {
        let end = Encoding::of("audit_ends").text(name).number(end.seq).number(end.total).bytes(&end.mac);
        seal::authenticate(&self.0, &end)
    }

    fn mac(&self, before: &Mac, columns: &Columns) -> Mac {
        let record = Encoding::of("audit").bytes(before).bytes(columns.encoding().as_bytes()).number(columns.total);
        seal::authenticate(&self.0, &record)
    }
}

impl Columns {
    /// The record as the rest of the daemon knows it; `None` where its words are not ours.
    pub(crate) fn record(self) -> Option<AuditRecord> {
        let origin = self.claimed.map(|claimed| Origin {
            service: self.service.unwrap_or_default(),
            tty: self.tty.unwrap_or_default(),
            rhost: self.rhost.unwrap_or_default(),
            ruser: self.ruser.unwrap_or_default(),
            claimed,
        });
        let event = Event {
            at: WallTime(self.at),
            kind: Kind::parse(&self.event)?,
            outcome: Outcome::parse(&self.outcome)?,
            account: self.account,
            origin,
            rule: self.rule,
            authenticator: self.authenticator,
            reason: self.reason,
            failures: self.failures,
            caller_uid: self.caller_uid,
            count: self.count,
        };
        Some(AuditRecord { seq: self.seq, event, mark: ChainMark::of(&self.mac) })
    }

    fn of(seq: u64, event: Event) -> Self {
        let Origin { service, tty, rhost, ruser, claimed } = event.origin.clone().unwrap_or_default();
        let there = event.origin.is_some();
        let kept = |text: String| there.then_some(text);
        Self {
            seq,
            at: event.at.0,
            event: event.kind.name().to_owned(),
            outcome: event.outcome.name().to_owned(),
            account: event.account,
            service: kept(service),
            tty: kept(tty),
            rhost: kept(rhost),
            ruser: kept(ruser),
            claimed: there.then_some(claimed),
            rule: event.rule,
            authenticator: event.authenticator,
            reason: event.reason,
            failures: event.failures,
            caller_uid: event.caller_uid,
            count: event.count,
            total: 0,
            mac: Mac::default(),
        }
    }

    fn encoding(&self) -> Encoding {
        Encoding::of("record")
            .number(self.seq)
            .number(self.at)
            .text(&self.event)
            .text(&self.outcome)
            .optional_text(self.account.as_deref())
            .optional_text(self.service.as_deref())
            .optional_text(self.tty.as_deref())
            .optional_text(self.rhost.as_deref())
            .optional_text(self.ruser.as_deref())
            .optional_number(self.claimed.map(u64::from))
            .optional_text(self.rule.as_deref())
            .optional_text(self.authenticator.as_deref())
            .optional_text(self.reason.as_deref())
            .optional_number(self.failures.map(u64::from))
            .optional_number(self.caller_uid.map(u64::from))
            .optional_number(self.count.map(u64::from))
    }
}

/// A check of a chain, record by record, so that a long one can be checked in pages.
pub(crate) struct Check {
    beginning: End,
    last: End,
}

impl Check {
    /// Begins at the signed beginning of the chain.
    pub(crate) const fn begin(beginning: End) -> Self {
        Self { beginning, last: beginning }
    }

    /// Begins anew where the signed beginning has overtaken the check: what it would read next is kept no more.
    pub(crate) const fn keep_up(&mut self, beginning: End) {
        if beginning.seq > self.last.seq {
            *self = Self::begin(beginning);
        }
    }

    /// The number of the last record that was checked.
    pub(crate) const fn last(&self) -> u64 {
        self.last.seq
    }

    /// Checks the next record.
    pub(crate) fn next(&mut self, key: &AuditKey, columns: &Columns) -> Result<(), Break> {
        let expected = self.last.seq.saturating_add(1);
        if columns.seq != expected {
            return Err(Break::Missing(expected));
        }
        if key.mac(&self.last.mac, columns) != columns.mac {
            return Err(Break::Changed(expected));
        }
        self.last = End { seq: columns.seq, total: columns.total, mac: columns.mac };
        Ok(())
    }

    /// Ends the check: the chain must reach its signed end.
    pub(crate) fn end(self, end: &End) -> Result<ChainReport, Break> {
        let last = self.last.seq;
        if end.seq > last {
            return Err(Break::CutOff { last, expected: end.seq });
        }
        if *end != self.last {
            return Err(Break::Ends);
        }
        Ok(ChainReport { first: self.beginning.seq.saturating_add(1), last })
    }
}

/// What the audit holds against what a witness saw; `found` is the mark of its record, where there is one.
pub(crate) fn compare(witness: Witness, found: Option<ChainMark>, end: &End) -> Result<(), Break> {
    match found {
        Some(mark) if mark == witness.mark => Ok(()),
        Some(_) => Err(Break::Contradicted(witness.seq)),
        None if witness.seq > end.seq => Err(Break::CutOff { last: end.seq, expected: witness.seq }),
        None => Err(Break::Missing(witness.seq)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_chain_must_reach_its_marked_end() {
        let key = AuditKey::new(seal::random().unwrap());
        let beginning = End { seq: 0, total: 0, mac: [0; 32] };
        let event = || Event::new(WallTime(1), Kind::Start, Outcome::Note);
        let (first, after_first) = key.extend(&beginning, event());
        let (_, after_second) = key.extend(&after_first, event());
        let check = || {
            let mut check = Check::begin(beginning);
            check.next(&key, &first).unwrap();
            check
        };
        assert_eq!(check().end(&after_first), Ok(ChainReport { first: 1, last: 1 }));
        assert_eq!(check().end(&after_second), Err(Break::CutOff { last: 1, expected: 2 }));
        assert_eq!(check().end(&End { mac: [1; 32], ..after_first }), Err(Break::Ends));
    }

    #[test]
    fn a_check_that_pruning_overtakes_begins_anew_and_misses_nothing() {
        let key = AuditKey::new(seal::random().unwrap());
        let beginning = End { seq: 0, total: 0, mac: [0; 32] };
        let event = || Event::new(WallTime(1), Kind::Start, Outcome::Note);
        let (_, after_first) = key.extend(&beginning, event());
        let (_, after_second) = key.extend(&after_first, event());
        let (third, after_third) = key.extend(&after_second, event());
        let mut check = Check::begin(beginning);
        check.keep_up(after_second);
        assert_eq!(check.next(&key, &third), Ok(()));
        check.keep_up(after_first);
        assert_eq!(check.end(&after_third), Ok(ChainReport { first: 3, last: 3 }));
    }

    #[test]
    fn a_witness_is_read_from_the_end_of_a_line_alone() {
        let line = "Nov  2 h countersignd[1]: event=start outcome=note reason=\" seq=9 chain=00\" seq=7 chain=0102030405060708\n";
        let witness = Witness { seq: 7, mark: ChainMark([1, 2, 3, 4, 5, 6, 7, 8]) };
        assert_eq!(Witness::parse(line), Some(witness));
        for other in
            ["", "seq=1", "x seq=1 chain=", "x seq=1 chain=+102030405060708", "x seq=-1 chain=0102030405060708"]
        {
            assert_eq!(Witness::parse(other), None, "{other}");
        }
    }
}
