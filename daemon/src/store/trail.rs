//! The audit's table: appended to by every decision, read in pages, pruned at its beginning.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, Rows, Statement, named_params, params};
use subtle::ConstantTimeEq;
use verifier::WallTime;

use super::session::Trouble;
use super::{AuditSearch, StoreError};
use crate::audit::chain::{AuditKey, AuditRecord, Check, Columns, End, compare};
use crate::audit::{Break, ChainMark, ChainReport, Event, Witness};

/// The name of the mark behind which the chain begins.
const BEGINNING: &str = "beginning";

/// The name of the mark at which it ends.
const END: &str = "end";

/// How many records one transaction removes or checks at most, so that no login waits long for it.
const STRIDE: usize = 500;

/// How many records one transaction searches at most: about 1 ms of them.
const SEARCHED: u64 = 10_000;

/// The statements about the audit, prepared once a connection, and the chain's end.
pub(super) struct Trail<'c> {
    key: &'c AuditKey,
    append: Statement<'c>,
    page: Statement<'c>,
    search: Statement<'c>,
    mac: Statement<'c>,
    remove: Statement<'c>,
    read_end: Statement<'c>,
    write_end: Statement<'c>,
    /// The last record of the transaction under way.
    pub(super) end: End,
    /// The last record that the end's mark tells of.
    marked: End,
}

impl<'c> Trail<'c> {
    /// Reads the chain's end anew. What is wrong with it is told beside it: the audit goes on, the check names
    /// the break for ever.
    pub(super) fn new(connection: &'c Connection, key: &'c AuditKey) -> Result<(Self, Option<String>), StoreError> {
        let mut trail = Self {
            key,
            append: connection
                .prepare("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?,
            page: connection.prepare("SELECT * FROM audit WHERE seq > :after ORDER BY seq LIMIT :limit")?,
            search: connection.prepare(
                "SELECT * FROM audit WHERE seq > :after AND seq <= :until AND at >= :since \
                 AND (:account IS NULL OR account = :account) ORDER BY seq LIMIT :limit",
            )?,
            mac: connection.prepare("SELECT mac FROM audit WHERE seq = :seq")?,
            remove: connection.prepare("DELETE FROM audit WHERE seq <= :seq")?,
            read_end: connection.prepare("SELECT seq, total, last, mac FROM audit_ends WHERE name = :name")?,
            write_end: connection
                .prepare("INSERT OR REPLACE INTO audit_ends VALUES (:name, :seq, :total, :last, :mac)")?,
            end: End { seq: 0, total: 0, mac: [0; 32] },
            marked: End { seq: 0, total: 0, mac: [0; 32] },
        };
        let last = connection
            .query_row("SELECT seq, total, mac FROM audit ORDER BY seq DESC LIMIT 1", [], |row| {
                Ok(End { seq: unsigned(row, "seq")?, total: unsigned(row, "total")?, mac: row.get("mac")? })
            })
            .optional();
        let last = last.or_else(|error| if is_type(&error) { Ok(None) } else { Err(error) })?;
        let beginning = trail.end_of(BEGINNING)?;
        let marked = trail.end_of(END)?;
        let trouble = trail.resume(beginning, marked, last);
        Ok((trail, trouble))
    }

    /// Marks the beginning of a new chain.
    pub(super) fn found(connection: &Connection, key: &AuditKey, mac: [u8; 32]) -> Result<(), StoreError> {
        let (mut trail, _) = Trail::new(connection, key)?;
        let end = End { seq: 0, total: 0, mac };
        trail.mark(BEGINNING, &end)?;
        trail.mark(END, &end)?;
        Ok(())
    }

    /// Appends an event within the caller's transaction.
    pub(super) fn append(&mut self, event: Event) -> Result<Option<AuditRecord>, rusqlite::Error> {
        let (columns, end) = self.key.extend(&self.end, event);
        self.append.execute(params![
            columns.seq.cast_signed(),
            columns.at.cast_signed(),
            columns.event,
            columns.outcome,
            columns.account,
            columns.service,
            columns.tty,
            columns.rhost,
            columns.ruser,
            columns.claimed,
            columns.rule,
            columns.authenticator,
            columns.reason,
            columns.failures,
            columns.caller_uid,
            columns.count,
            columns.total.cast_signed(),
            columns.mac,
        ])?;
        self.end = end;
        Ok(columns.record())
    }

    /// Marks the end that this transaction brought.
    pub(super) fn write_end(&mut self) -> Result<(), rusqlite::Error> {
        if self.end == self.marked {
            return Ok(());
        }
        let end = self.end;
        self.mark(END, &end)?;
        self.marked = end;
        Ok(())
    }

    /// Up to `limit` records whose numbers are greater than `after`.
    pub(super) fn page(&mut self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, Trouble> {
        records(self.columns(after, limit)?)
    }

    /// Up to `limit` of the next records that are searched for, and the number to go on from, which is `after`
    /// where nothing follows.
    pub(super) fn search(
        &mut self,
        search: &AuditSearch,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<AuditRecord>, u64), Trouble> {
        // A mark that was altered is for the check to name; whoever searches sees what there is.
        let begin = after.max(self.end_of(BEGINNING)?.map_or(0, |beginning| beginning.seq));
        let until = begin.saturating_add(SEARCHED).min(self.end.seq.max(after));
        let rows = self.search.query(named_params! {
            ":after": begin.cast_signed(), ":until": until.cast_signed(), ":since": search.since.0.cast_signed(),
            ":account": search.account, ":limit": i64::try_from(limit).unwrap_or(i64::MAX),
        })?;
        let found = columns(rows)?;
        let next = found.last().filter(|_| found.len() >= limit).map_or(until, |last| last.seq);
        Ok((records(found)?, next))
    }

    /// Looks up what witnesses saw, the earliest record first; those from before the beginning are passed over.
    pub(super) fn compare(&mut self, mut witnesses: Vec<Witness>) -> Result<ChainReport, Trouble> {
        let beginning = self.beginning()?;
        let end = self.end;
        witnesses.retain(|witness| witness.seq > beginning.seq);
        witnesses.sort_by_key(|witness| witness.seq);
        for witness in witnesses {
            let seq = witness.seq.cast_signed();
            let mac = self.mac.query_row(named_params! { ":seq": seq }, |row| row.get::<_, [u8; 32]>("mac")).optional();
            let mac = match mac {
                Err(error) if is_type(&error) => return Err(StoreError::Audit(Break::Changed(witness.seq)).into()),
                mac => mac?,
            };
            compare(witness, mac.as_ref().map(ChainMark::of), &end).map_err(StoreError::Audit)?;
        }
        Ok(ChainReport { first: beginning.seq.saturating_add(1), last: end.seq })
    }

    /// The signed beginning of the chain.
    pub(super) fn beginning(&mut self) -> Result<End, Trouble> {
        Ok(self.end_of(BEGINNING)?.ok_or(StoreError::Audit(Break::Ends))?)
    }

    /// Checks some more records; the report stands at the end.
    pub(super) fn check(&mut self, check: &mut Option<Check>) -> Result<Option<ChainReport>, Trouble> {
        let Some(mut running) = check.take() else { return Err(StoreError::Audit(Break::Ends).into()) };
        running.keep_up(self.beginning()?);
        let columns = self.columns(running.last(), STRIDE)?;
        for columns in &columns {
            running.next(self.key, columns).map_err(StoreError::Audit)?;
        }
        if columns.len() < STRIDE {
            let marked = self.end_of(END)?.ok_or(StoreError::Audit(Break::Ends))?;
            // What this transaction wrote is marked with its COMMIT.
            let end = if marked == self.marked { self.end } else { marked };
            return Ok(Some(running.end(&end).map_err(StoreError::Audit)?));
        }
        *check = Some(running);
        Ok(None)
    }

    /// Removes the oldest records that are older than `keep`, or beyond `max_bytes` counted from the newest,
    /// and signs the new beginning. Tells how many it removed and whether there may be more.
    pub(super) fn prune(&mut self, now: WallTime, keep: Duration, max_bytes: u64) -> Result<(usize, bool), Trouble> {
        let beginning = self.beginning()?;
        let columns = self.columns(beginning.seq, STRIDE)?;
        let total = self.end.total;
        let mut removed = beginning.total;
        let old = columns.iter().take_while(|columns| {
            let aged = now.since(WallTime(columns.at)).is_some_and(|age| age > keep);
            let beyond = total.saturating_sub(removed) > max_bytes;
            removed = columns.total;
            aged || beyond
        });
        let old: Vec<_> = old.collect();
        let Some(last) = old.last() else { return Ok((0, false)) };
        let beginning = End { seq: last.seq, total: last.total, mac: last.mac };
        self.remove.execute(named_params! { ":seq": beginning.seq.cast_signed() })?;
        self.mark(BEGINNING, &beginning)?;
        Ok((old.len(), old.len() == STRIDE))
    }

    /// Chooses the record to go on from; says what is wrong, if anything is.
    fn resume(&mut self, beginning: Option<End>, marked: Option<End>, last: Option<End>) -> Option<String> {
        let there = last.or(beginning);
        let (end, trouble) = match (marked, there) {
            (Some(marked), Some(there)) if marked == there => (marked, None),
            (Some(marked), Some(there)) if marked.seq >= there.seq => {
                (marked, Some(format!("the audit ends at record {}, but record {} was written", there.seq, marked.seq)))
            }
            (Some(marked), None) => (marked, Some("the mark of the audit's beginning was altered".to_owned())),
            (marked, there) => {
                let trouble = match marked {
                    Some(marked) => format!("audit record {} was not written by us", marked.seq.saturating_add(1)),
                    None => "the mark of the audit's end was altered".to_owned(),
                };
                (there.unwrap_or(End { seq: 0, total: 0, mac: [0; 32] }), Some(trouble))
            }
        };
        self.end = end;
        self.marked = end;
        trouble
    }

    fn columns(&mut self, after: u64, limit: usize) -> Result<Vec<Columns>, Trouble> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        columns(self.page.query(named_params! { ":after": after.cast_signed(), ":limit": limit })?)
    }

    fn end_of(&mut self, name: &str) -> Result<Option<End>, rusqlite::Error> {
        let read = self.read_end.query_row(named_params! { ":name": name }, |row| {
            let end = End { seq: unsigned(row, "seq")?, total: unsigned(row, "total")?, mac: row.get("last")? };
            Ok((end, row.get::<_, [u8; 32]>("mac")?))
        });
        match read.optional() {
            Ok(end) => Ok(end.filter(|(end, mac)| self.key.sign(name, end).ct_eq(mac).into()).map(|(end, _)| end)),
            Err(error) if is_type(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn mark(&mut self, name: &str, end: &End) -> Result<(), rusqlite::Error> {
        let mac = self.key.sign(name, end);
        self.write_end.execute(named_params! {
            ":name": name, ":seq": end.seq.cast_signed(), ":total": end.total.cast_signed(), ":last": end.mac,
            ":mac": mac,
        })?;
        Ok(())
    }
}

/// Reads rows; one that holds what was never written is named.
fn columns(mut rows: Rows<'_>) -> Result<Vec<Columns>, Trouble> {
    let mut columns = Vec::new();
    while let Some(row) = rows.next()? {
        let seq = row.get::<_, i64>("seq")?.cast_unsigned();
        let read = read(row).map_err(|error| {
            if is_type(&error) { StoreError::Audit(Break::Changed(seq)).into() } else { Trouble::from(error) }
        });
        columns.push(read?);
    }
    Ok(columns)
}

/// As the rest of the daemon knows them.
fn records(columns: Vec<Columns>) -> Result<Vec<AuditRecord>, Trouble> {
    let records = columns.into_iter().map(|columns| {
        let seq = columns.seq;
        columns.record().ok_or(StoreError::Audit(Break::Changed(seq)))
    });
    Ok(records.collect::<Result<_, _>>()?)
}

/// Whether an error says that a column holds what was never written there.
pub(super) const fn is_type(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

fn unsigned(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.cast_unsigned())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok(Columns {
        seq: unsigned(row, "seq")?,
        at: unsigned(row, "at")?,
        event: row.get("event")?,
        outcome: row.get("outcome")?,
        account: row.get("account")?,
        service: row.get("service")?,
        tty: row.get("tty")?,
        rhost: row.get("rhost")?,
        ruser: row.get("ruser")?,
        claimed: row.get("claimed")?,
        rule: row.get("rule")?,
        authenticator: row.get("authenticator")?,
        reason: row.get("reason")?,
        failures: row.get("failures")?,
        caller_uid: row.get("caller_uid")?,
        count: row.get("count")?,
        total: unsigned(row, "total")?,
        mac: row.get("mac")?,
    })
}
