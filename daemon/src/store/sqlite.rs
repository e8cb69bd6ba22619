//! The database, opened so that nobody else has it, with the keys that it was sealed with.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use verifier::{RecoveryKey, WallTime};
use zeroize::Zeroizing;

use super::key::{KeyRing, KeySource};
use super::schema;
use super::seal::{self, Keys, Sealed, SecretBytes};
use super::trail::{Trail, is_type};
use super::{DATABASE, LOCK, StoreError, files};
use crate::audit::chain::AuditKey;

/// Pages in the write-ahead log after which SQLite writes them into the database: its own default.
const CHECKPOINT_PAGES: u32 = 1000;

/// The keys that a store works with.
pub(super) struct Vault {
    pub(super) keys: Keys,
    /// Of the key that a rotation moves away from.
    pub(super) previous: Option<Keys>,
    /// Where the key came from.
    pub(super) source: Option<KeySource>,
    pub(super) audit: AuditKey,
    pub(super) recovery: RecoveryKey,
}

/// Checks the state directory and takes the lock that keeps a second daemon out while the file is open.
pub(super) fn lock(state: &Path) -> Result<File, StoreError> {
    let file = open_lock(state)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: state.to_owned() }),
        Err(TryLockError::Error(error)) => Err(no_lock(state, &error)),
    }
}

/// The same where a daemon is about to end: whoever waits has the lock before one that is started anew. Says first
/// whether it has to be waited for.
pub(super) fn lock_within(state: &Path, patience: Duration, told: impl FnOnce(bool)) -> Result<File, StoreError> {
    match lock(state) {
        Err(StoreError::InUse { .. }) => {}
        locked => {
            told(false);
            return locked;
        }
    }
    let file = open_lock(state)?;
    // flock(2) has no timeout. The lock belongs to what both descriptors are open on.
    let waiting = file.try_clone().map_err(|error| no_lock(state, &error))?;
    let (sender, locked) = mpsc::channel();
    thread::spawn(move || sender.send(waiting.lock()));
    told(true);
    match locked.recv_timeout(patience) {
        Ok(locked) => locked.map(|()| file).map_err(|error| no_lock(state, &error)),
        Err(_) => Err(StoreError::InUse { path: state.to_owned() }),
    }
}

/// Checks the state directory and opens the file that is locked.
fn open_lock(state: &Path) -> Result<File, StoreError> {
    let directory = |what: String| StoreError::Directory { path: state.to_owned(), what };
    let metadata = fs::metadata(state).map_err(|error| directory(error.to_string()))?;
    if !metadata.is_dir() {
        return Err(directory("it is no directory".to_owned()));
    }
    let us = nix::unistd::geteuid().as_raw();
    if metadata.uid() != us {
        return Err(directory(format!("it belongs to uid {}, not to {us}", metadata.uid())));
    }
    if metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o7777;
        return Err(directory(format!("others may enter it (mode {mode:04o}); run: chmod 0700 {}", state.display())));
    }
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(state.join(LOCK));
    open.map_err(|error| no_lock(state, &error))
}

fn no_lock(state: &Path, error: &io::Error) -> StoreError {
    StoreError::Directory { path: state.to_owned(), what: format!("{LOCK}: {error}") }
}

/// Opens the store, making it where there is none.
pub(super) fn open_or_make(state: &Path, ring: &KeyRing) -> Result<(Connection, Vault, bool), StoreError> {
    let path = state.join(DATABASE);
    let absent = match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.len() == 0 => {
            let what = "it is empty, which a store never is; restore it from a backup";
            return Err(StoreError::Unavailable(format!("{}: {what}", path.display())));
        }
        Ok(_) => false,
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(StoreError::Unavailable(format!("{}: {error}", path.display()))),
    };
    if absent {
        make(state, &path, &ring.first()?)?;
    }
    let (connection, vault) = open(state, ring)?;
    Ok((connection, vault, absent))
}

/// Opens a store that is there. What the write-ahead log holds is written to the database anew, so that pages
/// whose fsync failed once are not taken for written.
pub(super) fn open(state: &Path, ring: &KeyRing) -> Result<(Connection, Vault), StoreError> {
    let path = state.join(DATABASE);
    restrict(&path)?;
    let connection = connect(&path)?;
    if schema::prepare(&connection, &path)? == schema::Found::Empty {
        return Err(StoreError::Foreign { path });
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let (keys, source) = find_key(&connection, ring)?;
    schema::migrate(&connection)?;
    let previous = find_previous(&connection, ring)?;
    connection.execute_batch("COMMIT")?;
    checkpoint(&connection, "RESTART")?;
    let audit = AuditKey::new(sealed_key(&connection, &keys, "audit")?);
    let recovery = RecoveryKey(**sealed_key(&connection, &keys, "recovery")?);
    Ok((connection, Vault { keys, previous, source, audit, recovery }))
}

/// Writes everything into the database itself. `TRUNCATE` then empties the write-ahead log; with `RESTART` it keeps its
/// blocks, which a full disk would not give back, and is begun anew.
pub(super) fn checkpoint(connection: &Connection, mode: &'static str) -> Result<(), StoreError> {
    let busy: i64 = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(0))?;
    if busy != 0 {
        return Err(StoreError::Unavailable("the write-ahead log is in use".to_owned()));
    }
    Ok(())
}

/// Writes everything into the database itself; from then on after each thousand pages by itself, or only when it is told to.
pub(super) fn checkpoint_alone(connection: &Connection, by_itself: bool) -> Result<(), StoreError> {
    let pages = if by_itself { CHECKPOINT_PAGES } else { 0 };
    connection.query_row(&format!("PRAGMA wal_autocheckpoint = {pages}"), [], |_| Ok(()))?;
    // The log's blocks are kept: a full disk would not give them back.
    checkpoint(connection, "RESTART")
}

/// Makes a store under another name and renames it, so that a half-made one is never taken for a store.
fn make(state: &Path, path: &Path, keys: &Keys) -> Result<(), StoreError> {
    let unavailable =
        |error: io::Error| StoreError::Unavailable(format!("{}: cannot make it: {error}", path.display()));
    let temporary = state.join(format!(".{DATABASE}.new"));
    for leftover in [temporary.clone(), state.join(format!(".{DATABASE}.new-journal"))] {
        files::remove(&leftover).map_err(unavailable)?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(unavailable)?;
    let connection = connect(&temporary)?;
    connection.execute_batch("PRAGMA synchronous = FULL; BEGIN IMMEDIATE")?;
    schema::migrate(&connection)?;
    connection.execute(
        "INSERT INTO store VALUES (1, ?1, ?2, 0, NULL, NULL)",
        (keys.id.to_string(), wall_clock().0.cast_signed()),
    )?;
    let recovery = seal::random()?;
    let audit = seal::random()?;
    for (name, key) in [("recovery", &recovery), ("audit", &audit)] {
        let Sealed { nonce, bytes } = keys.seal(key.as_slice(), &keys.associated_key(name))?;
        connection.execute("INSERT INTO keys VALUES (?1, ?2, ?3, ?4)", (name, keys.id.to_string(), nonce, bytes))?;
    }
    Trail::found(&connection, &AuditKey::new(audit), **seal::random()?)?;
    connection.execute_batch("COMMIT")?;
    connection.close().map_err(|(_, error)| error)?;
    file.sync_all().map_err(unavailable)?;
    fs::rename(&temporary, path).map_err(unavailable)?;
    files::sync(state).map_err(unavailable)
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    Ok(Connection::open_with_flags(path, flags)?)
}

/// A restored copy may have come with another mode. SQLite gives the write-ahead log the database's.
fn restrict(path: &Path) -> Result<(), StoreError> {
    let restrict = || {
        let metadata = fs::symlink_metadata(path)?;
        if metadata.is_file() && metadata.mode() & 0o7777 != 0o600 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        }
        Ok(())
    };
    restrict().map_err(|error: io::Error| StoreError::Unavailable(format!("{}: {error}", path.display())))
}

/// The store's own key among those at hand.
fn find_key(connection: &Connection, ring: &KeyRing) -> Result<(Keys, Option<KeySource>), StoreError> {
    let made: Option<String> = connection.query_row("SELECT key_id FROM store", [], |row| row.get(0)).optional()?;
    let made = made.unwrap_or_else(|| "unknown".to_owned());
    match ring.find(&made)? {
        Some(found) => Ok(found),
        None => Err(StoreError::WrongKey { made, given: ring.first()?.id.to_string() }),
    }
}

/// The key that a rotation moves away from: without it the accounts that it has not come to would be lost.
fn find_previous(connection: &Connection, ring: &KeyRing) -> Result<Option<Keys>, StoreError> {
    let previous: Option<String> = connection.query_row("SELECT previous_key_id FROM store", [], |row| row.get(0))?;
    let Some(id) = previous else { return Ok(None) };
    match ring.find(&id)? {
        Some((keys, _)) => Ok(Some(keys)),
        None => Err(StoreError::PreviousKey(id)),
    }
}

pub(super) fn sealed_key(connection: &Connection, keys: &Keys, name: &'static str) -> Result<SecretBytes, StoreError> {
    let sealed = connection
        .query_row("SELECT nonce, sealed FROM keys WHERE name = ?1", [name], |row| {
            Ok(Sealed { nonce: row.get(0)?, bytes: row.get(1)? })
        })
        .optional();
    let sealed = sealed.or_else(|error| if is_type(&error) { Ok(None) } else { Err(error) })?;
    let opened = sealed.and_then(|sealed| keys.open(&sealed, &keys.associated_key(name)));
    let key = opened.and_then(|bytes| Some(Box::new(Zeroizing::new(*bytes.first_chunk::<32>()?))));
    key.ok_or(StoreError::SealedKey(name))
}

/// The time of the store's own events.
pub(super) fn wall_clock() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
