//! Room that is kept for logins on a full disk: free pages within the database, and blocks of the write-ahead log.
//!
//! What a login adds is its record in the audit; all else is written where something stands already. SQLite takes free
//! pages before it lets the file grow, and begins the log anew at its front: so a disk that somebody else filled stops
//! no login until the free pages are used up. Nobody else can take them, as they could the room of a file that is
//! removed for it.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{FallocateFlags, fallocate};
use rusqlite::Connection;

use super::{DATABASE, StoreError, inspection, sqlite};
use crate::audit::syslog::{Severity, Syslog};

/// Free pages that are kept, and how few there are before more are made. A page holds eight records of the audit and
/// more, so that even the fewer are enough for 10,000 logins.
const PAGES: u64 = 2048;
const FEW: u64 = 1280;
/// The page's size is SQLite's default.
const PAGE: u64 = 4096;
/// Records that fit into a page at least.
const RECORDS: u64 = 8;

/// The log that is kept: SQLite begins it anew after 1000 pages, to which a large batch of logins comes. What is longer is
/// cut to this (`journal_size_limit`).
const LOG: i64 = 8 * 1024 * 1024;

/// Nothing is kept on a disk with less room than this: what is left there is everybody's.
const ROOM: u64 = 64 * 1024 * 1024;

/// A disk with less room than this is full: the next to notice are those who write more than we do.
const FULL: u64 = 4 * 1024 * 1024;

/// How often is looked while logins come, and how often a full disk is told.
const LOOK: Duration = Duration::from_secs(1);
const TELL: Duration = Duration::from_secs(60);

/// Pages that one row takes, while more are made.
const ROW: u64 = 16;

/// The room that is kept.
pub(super) struct Reserve {
    state: PathBuf,
    syslog: Syslog,
    looked: Option<Instant>,
    /// When it was told that the disk is full, while it is.
    told: Option<Instant>,
}

impl Reserve {
    /// Of the store in this directory; nothing is looked at yet.
    pub(super) fn new(state: &Path, syslog: Syslog) -> Self {
        Self { state: state.to_owned(), syslog, looked: None, told: None }
    }

    /// Keeps blocks for the log of a connection that was opened just now, where there is room.
    ///
    /// A file system that cannot do so (fallocate(2)) keeps those that the log has once had.
    pub(super) fn keep_log(&self) {
        if self.room() < ROOM {
            return;
        }
        let log = self.state.join(format!("{DATABASE}-wal"));
        if let Ok(file) = OpenOptions::new().write(true).open(log) {
            let _ = fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, LOG);
        }
    }

    /// Looks, once in a while, whether the disk is full, and makes free pages where there are few and it is not.
    /// Called between transactions.
    ///
    /// # Errors
    /// The database does not work; the connection must not be used again.
    pub(super) fn look(&mut self, connection: &Connection) -> Result<(), StoreError> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let free: i64 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        let free = free.unsigned_abs();
        let room = self.room();
        let made = if free < FEW && room >= ROOM { make(connection, free)? } else { free >= FEW };
        self.tell(free, room < FULL || !made);
        Ok(())
    }

    fn tell(&mut self, free: u64, full: bool) {
        if !full {
            if self.told.take().is_some() {
                self.syslog.note(Severity::Notice, "store: the disk that holds the store has room again");
            }
            return;
        }
        if self.told.is_some_and(|told| told.elapsed() < TELL) {
            return;
        }
        self.told = Some(Instant::now());
        let records = free * RECORDS;
        let text = format!(
            "store: the disk that holds the store is full; about {records} more logins fit into the room that is kept for \
             them, then all are refused; make room on it"
        );
        self.syslog.note(Severity::Error, &text);
    }

    fn room(&self) -> u64 {
        inspection::free(&self.state).unwrap_or(0)
    }
}

/// Makes free pages until there are [`PAGES`]: rows that are written and deleted in one transaction, so that nobody ever
/// sees them. What is free already is written once more, because SQLite takes it first. Tells whether there was room.
fn make(connection: &Connection, free: u64) -> Result<bool, StoreError> {
    let made = write_and_delete(connection, PAGES.saturating_add(free).div_ceil(ROW))
        .map_err(StoreError::from)
        .and_then(|()| sqlite::checkpoint(connection, "RESTART"));
    match made {
        Ok(()) => Ok(true),
        Err(StoreError::DiskFull) => {
            if !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK")?;
            }
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// One row at a time: of a statement that changes many rows SQLite keeps all pages in memory, lest it has to undo it.
fn write_and_delete(connection: &Connection, rows: u64) -> Result<(), rusqlite::Error> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let mut write = connection.prepare("INSERT INTO keys VALUES (?1, '', x'', zeroblob(?2))")?;
    let mut delete = connection.prepare("DELETE FROM keys WHERE name = ?1")?;
    let name = |row: u64| format!("reserve {row}");
    for row in 0..rows {
        write.execute((name(row), (ROW * PAGE).cast_signed()))?;
    }
    for row in 0..rows {
        delete.execute([name(row)])?;
    }
    connection.execute_batch("COMMIT; PRAGMA shrink_memory")
}
