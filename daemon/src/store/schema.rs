//! The tables, their versions, and the settings of a connection. A file of another program or of a newer
//! version of this one is refused before anything in it is touched.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;

/// Marks a file as ours (`PRAGMA application_id`): "Cnts".
const APPLICATION: i64 = 0x436e_7473;

/// Each brings the tables one version further; the number of them is the newest version.
const MIGRATIONS: &[&str] = &[VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5, VERSION_6];

/// `store.unchanged` counts login decisions that changed no record (`Session::decide` says why).
const VERSION_1: &str = "
CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 1), key_id TEXT NOT NULL, created INTEGER NOT NULL,
    unchanged INTEGER NOT NULL
) STRICT;
CREATE TABLE keys (
    name TEXT PRIMARY KEY, key_id TEXT NOT NULL, nonce BLOB NOT NULL, sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE accounts (
    name TEXT PRIMARY KEY, uid INTEGER, failures INTEGER NOT NULL, recent BLOB NOT NULL,
    locks INTEGER NOT NULL, lock_since INTEGER, lock_boot BLOB, lock_elapsed INTEGER, lock_lasts INTEGER,
    disabled TEXT, last_decision INTEGER, last_granted INTEGER, enrolment_until INTEGER, mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE authenticators (
    account TEXT NOT NULL REFERENCES accounts (name), id INTEGER NOT NULL, key_id TEXT NOT NULL,
    nonce BLOB NOT NULL, sealed BLOB NOT NULL, kind TEXT NOT NULL, algorithm TEXT NOT NULL,
    digits INTEGER NOT NULL, period INTEGER, label TEXT NOT NULL, active INTEGER NOT NULL,
    created INTEGER NOT NULL, last_used INTEGER, last_step INTEGER, drift INTEGER, counter INTEGER,
    far_counter INTEGER, far_at INTEGER, mac BLOB NOT NULL, PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE recovery_codes (
    account TEXT PRIMARY KEY REFERENCES accounts (name), codes BLOB NOT NULL, mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, event TEXT NOT NULL, outcome TEXT NOT NULL, account TEXT,
    service TEXT, tty TEXT, rhost TEXT, ruser TEXT, claimed INTEGER, rule TEXT, authenticator TEXT,
    reason TEXT, failures INTEGER, caller_uid INTEGER, count INTEGER, total INTEGER NOT NULL, mac BLOB NOT NULL
) STRICT;
CREATE TABLE audit_ends (
    name TEXT PRIMARY KEY, seq INTEGER NOT NULL, total INTEGER NOT NULL, last BLOB NOT NULL, mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;
";

/// What was charged last. `AccountRow::encoding` says why the rows' signatures stay as they are.
const VERSION_2: &str = "
ALTER TABLE accounts ADD COLUMN failed_at INTEGER;
ALTER TABLE accounts ADD COLUMN failed_from TEXT;
";

/// Remembered logins and notices. The new columns of `accounts` are the signatures of their rows.
const VERSION_3: &str = "
ALTER TABLE accounts ADD COLUMN remembered BLOB;
ALTER TABLE accounts ADD COLUMN notices BLOB;
CREATE TABLE remembered (
    account TEXT NOT NULL REFERENCES accounts (name), number INTEGER NOT NULL, service TEXT NOT NULL,
    address TEXT NOT NULL, since INTEGER NOT NULL, boot BLOB NOT NULL, elapsed INTEGER NOT NULL,
    lasts INTEGER NOT NULL, PRIMARY KEY (account, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE notices (
    account TEXT NOT NULL REFERENCES accounts (name), number INTEGER NOT NULL, at INTEGER NOT NULL,
    what TEXT NOT NULL, label TEXT, further INTEGER, by TEXT NOT NULL, host TEXT, PRIMARY KEY (account, number)
) STRICT, WITHOUT ROWID;
";

/// The host that the store is at home on (`home`).
const VERSION_4: &str = "
ALTER TABLE store ADD COLUMN host BLOB;
";

/// Scratch codes, and authenticators that end. The new column of `accounts` is the signature of the codes' rows.
const VERSION_5: &str = "
ALTER TABLE accounts ADD COLUMN scratch_codes BLOB;
ALTER TABLE authenticators ADD COLUMN expires INTEGER;
CREATE TABLE scratch_codes (
    account TEXT NOT NULL REFERENCES accounts (name), number INTEGER NOT NULL, authenticator INTEGER NOT NULL,
    salt BLOB NOT NULL, digest BLOB NOT NULL, used INTEGER, expires INTEGER NOT NULL, PRIMARY KEY (account, number)
) STRICT, WITHOUT ROWID;
";

/// The key that a rotation under way moves away from (`rotation`), and authenticators that wait since a restore (1).
const VERSION_6: &str = "
ALTER TABLE store ADD COLUMN previous_key_id TEXT;
ALTER TABLE authenticators ADD COLUMN suspended INTEGER;
";

/// Settings that hold for a connection.
///
/// The exclusive locking mode keeps SQLite's shared index in memory, where a full disk cannot reach it, and
/// keeps every other process out. `FULL` makes `COMMIT` return after fsync. Deleted secrets are overwritten. What the log
/// has beyond 8 MiB after a backup, for which it had to grow, is given back; `reserve` keeps as much.
const SETTINGS: &str = "
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_size_limit = 8388608;
PRAGMA trusted_schema = OFF;
PRAGMA cell_size_check = ON;
PRAGMA busy_timeout = 2000;
PRAGMA foreign_keys = ON;
PRAGMA secure_delete = ON;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -1024;
PRAGMA synchronous = FULL;
";

/// What a database file was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing is in it.
    Empty,
    /// A store of this version or an older one.
    Store,
}

/// Sets the connection up (which touches no file: the locking mode must stand before the first look) and
/// looks at what is there.
pub(super) fn prepare(connection: &Connection, path: &Path) -> Result<Found, StoreError> {
    connection.execute_batch(SETTINGS)?;
    let found = inspect(connection, path)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Unavailable(format!("{}: cannot write ahead (journal mode {mode})", path.display())));
    }
    Ok(found)
}

/// Brings the tables to the newest version within the caller's transaction.
pub(super) fn migrate(connection: &Connection) -> Result<(), StoreError> {
    let version = usize::try_from(pragma(connection, "user_version")?).unwrap_or(usize::MAX);
    let Some(missing) = MIGRATIONS.get(version..).filter(|missing| !missing.is_empty()) else { return Ok(()) };
    for migration in missing {
        connection.execute_batch(migration)?;
    }
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    Ok(())
}

fn inspect(connection: &Connection, path: &Path) -> Result<Found, StoreError> {
    let application = pragma(connection, "application_id")?;
    let version = pragma(connection, "user_version")?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application == 0 && version == 0 && tables == 0 {
        return Ok(Found::Empty);
    }
    if application != APPLICATION {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    let newest = MIGRATIONS.len() as i64;
    if version < 1 || version > newest {
        return Err(StoreError::Newer { path: path.to_owned(), found: version, known: newest });
    }
    Ok(Found::Store)
}

fn pragma(connection: &Connection, name: &str) -> Result<i64, rusqlite::Error> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}
