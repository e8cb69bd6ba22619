//! A look at the store as a whole, between logins.

use std::path::Path;

use nix::sys::statvfs::statvfs;
use rusqlite::{Connection, OptionalExtension};
use verifier::WallTime;

use super::{Store, StoreError, Urgency};

/// The largest store that is checked, in bytes. A login that comes meanwhile waits: about 35 ms at this size.
const CHECKED: u64 = 16 * 1024 * 1024;

/// The newest record's time is looked for among so many: the clock may have run backwards among them.
const RECENT: u64 = 10_000;

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The database's size in bytes.
    pub size: u64,
    /// `ok`, or the first thing that SQLite finds wrong; `None` where it is too large to be checked.
    pub integrity: Option<String>,
    /// The latest time in the audit's recent records.
    pub latest: Option<WallTime>,
}

impl Store {
    /// Looks at the store as a whole.
    ///
    /// # Errors
    /// The store does not work.
    pub async fn inspect(&self) -> Result<Inspection, StoreError> {
        self.ask("", Urgency::Background, |session| Ok(inspect(session.connection())?)).await
    }
}

fn inspect(connection: &Connection) -> Result<Inspection, rusqlite::Error> {
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let size = number("page_count")?.unsigned_abs().saturating_mul(number("page_size")?.unsigned_abs());
    let integrity = match size {
        0..=CHECKED => Some(connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?),
        _ => None,
    };
    let newest = "SELECT max(at) FROM (SELECT at FROM audit ORDER BY seq DESC LIMIT ?1)";
    let latest: Option<Option<i64>> =
        connection.query_row(newest, [RECENT.cast_signed()], |row| row.get(0)).optional()?;
    Ok(Inspection { size, integrity, latest: latest.flatten().map(|at| WallTime(at.unsigned_abs())) })
}

/// What is free for us on the file system that holds `path`, in bytes; `None` where it does not say.
pub fn free(path: &Path) -> Option<u64> {
    let found = statvfs(path).ok()?;
    Some(found.blocks_available().saturating_mul(found.fragment_size()))
}
