//! The database: opened so that nobody else has it, worked on in batches of decisions, one commit a batch.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Statement};
use verifier::{RecoveryKey, WallTime};
use zeroize::Zeroizing;

use super::accounts::{Accounts, Loaded};
use super::decoy;
use super::key::{KeyRing, KeySource, MasterKey};
use super::schema;
use super::seal::{self, Keys, Sealed, SecretBytes};
use super::still::Stillness;
use super::trail::{Trail, is_type};
use super::warm::{Found, Warm};
use super::writer::Job;
use super::{DATABASE, LOCK, Listed, Record, StoreError, Transaction, Urgency};
use crate::audit::chain::{AuditKey, AuditRecord};
use crate::audit::{Event, Kind, Outcome};

/// Pages in the write-ahead log after which SQLite writes them into the database: its own default.
const CHECKPOINT_PAGES: u32 = 1000;

/// Why a job could not be done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// This job alone is refused.
    Refused(StoreError),
    /// The database does not work: the whole batch is refused.
    Engine(rusqlite::Error),
}

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

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error)
    }
}

impl Trouble {
    /// A row that holds what was never written is the account's trouble alone; all else is the database's.
    pub(super) fn reading(error: rusqlite::Error, account: &str) -> Self {
        if is_type(&error) {
            let what = "a row of it cannot be read".to_owned();
            return Self::Refused(StoreError::Corrupt { account: account.to_owned(), what });
        }
        Self::Engine(error)
    }
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
        match fs::remove_file(leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unavailable(error)),
            _ => {}
        }
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
    File::open(state).and_then(|directory| directory.sync_all()).map_err(unavailable)
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

/// A connection at work: its statements and the chain's end. Made anew after any failure, so that nothing of
/// a transaction that was refused is remembered.
pub(super) struct Session<'c> {
    connection: &'c Connection,
    keys: &'c Keys,
    previous: Option<&'c Keys>,
    rekeyed: Option<MasterKey>,
    afterwards: Vec<Stillness>,
    accounts: Accounts<'c>,
    trail: Trail<'c>,
    marks: Marks<'c>,
    warm: Warm<Found>,
    records: Vec<AuditRecord>,
    trouble: Option<String>,
}

struct Marks<'c> {
    begin: Statement<'c>,
    commit: Statement<'c>,
    savepoint: Statement<'c>,
    release: Statement<'c>,
    undo: Statement<'c>,
    count: Statement<'c>,
}

impl<'c> Session<'c> {
    pub(super) fn new(connection: &'c Connection, vault: &'c Vault) -> Result<Self, StoreError> {
        let (trail, trouble) = Trail::new(connection, &vault.audit)?;
        Ok(Self {
            connection,
            keys: &vault.keys,
            previous: vault.previous.as_ref(),
            rekeyed: None,
            afterwards: Vec::new(),
            accounts: Accounts::new(connection)?,
            trail,
            marks: Marks {
                begin: connection.prepare("BEGIN IMMEDIATE")?,
                commit: connection.prepare("COMMIT")?,
                savepoint: connection.prepare("SAVEPOINT decision")?,
                release: connection.prepare("RELEASE decision")?,
                undo: connection.prepare("ROLLBACK TO decision")?,
                count: connection.prepare("UPDATE store SET unchanged = unchanged + 1")?,
            },
            warm: Warm::new(),
            records: Vec::new(),
            trouble,
        })
    }

    /// Runs every job of a batch and commits them together. The audit's new records are returned after
    /// `COMMIT`. On an error nothing of the batch was done, and this session must not be used again.
    pub(super) fn run(&mut self, batch: &mut [Job]) -> Result<Vec<AuditRecord>, rusqlite::Error> {
        let result = self.transact(batch);
        if result.is_err() && !self.connection.is_autocommit() {
            // What a failed COMMIT left open. Where this fails too, the connection is dropped.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        result
    }

    /// Does this alone in one transaction, while no thread works with the store.
    pub(super) fn alone<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Trouble>) -> Result<T, StoreError> {
        self.marks.begin.execute([])?;
        let value = work(self).map_err(|trouble| match trouble {
            Trouble::Refused(error) => error,
            Trouble::Engine(error) => error.into(),
        })?;
        self.trail.write_end()?;
        self.marks.commit.execute([])?;
        Ok(value)
    }

    /// Decides about one account. A login's decision costs the same whether the account has a record or not,
    /// and whether the record changes or not: where there is none, the decoy is loaded, checked, opened, signed
    /// and written in its place; where nothing changed, a count is. So time tells nobody which accounts exist
    /// (invariant 7).
    pub(super) fn decide<T>(
        &mut self,
        account: &str,
        urgency: Urgency,
        decision: impl FnOnce(&mut Transaction) -> T,
    ) -> Result<T, Trouble> {
        if account == decoy::NAME {
            return Err(StoreError::Invalid { account: String::new(), what: "an account has a name" }.into());
        }
        let login = urgency == Urgency::Login;
        let (before, decoy) = match self.warm.take(account) {
            Some(Found::Record(loaded)) => (Some(loaded), None),
            Some(Found::Decoy(decoy)) => (None, Some(decoy)),
            None => (self.load(account)?, None),
        };
        let record = before.as_ref().map(|before| before.record.clone());
        let mut transaction = Transaction { record, events: Vec::new() };
        let value = decision(&mut transaction);
        let wrote = self.accounts.save(account, before.as_ref(), transaction.record.as_ref(), self.keys)?;
        match before {
            None if login && !wrote => self.write_decoy(decoy)?,
            // Rewriting the same row would not do: SQLite leaves a page alone whose content stays.
            Some(_) if login && !wrote => drop(self.marks.count.execute([])?),
            _ => {}
        }
        for event in transaction.events {
            self.append(event)?;
        }
        Ok(value)
    }

    /// Reads a record. Where there is none, the decoy is loaded, checked and opened in its place: a login begins
    /// with this, and its time must not tell who has one. What was loaded is kept for the reply.
    pub(super) fn read(&mut self, account: &str) -> Result<Option<Record>, Trouble> {
        if account == decoy::NAME {
            return Ok(None);
        }
        if let Some(loaded) = self.load(account)? {
            let record = loaded.record.clone();
            self.warm.keep(account, Found::Record(loaded));
            return Ok(Some(record));
        }
        match self.fetch(decoy::NAME) {
            Ok(Some(decoy)) => self.warm.keep(account, Found::Decoy(decoy)),
            // The next decision about a name without a record makes it, or makes it anew.
            Ok(None) | Err(Trouble::Refused(_)) => {}
            Err(trouble) => return Err(trouble),
        }
        Ok(None)
    }

    /// Forgets logins that began some time ago. Tells when the next one is to be forgotten, if there is any.
    pub(super) fn cool(&mut self) -> Option<Instant> {
        self.warm.cool(Instant::now())
    }

    /// Reads up to `limit` records, altered ones too, by what is wrong with them.
    pub(super) fn list(&mut self, after: &str, limit: usize) -> Result<Vec<Listed>, Trouble> {
        let mut listed = Vec::new();
        for name in self.accounts.names(after, limit)? {
            match self.fetch(&name) {
                Ok(Some(loaded)) => listed.push(Listed::Record(Box::new(loaded.record))),
                Ok(None) => {}
                Err(Trouble::Refused(StoreError::Corrupt { account, what })) => {
                    listed.push(Listed::Corrupt { account, what });
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(listed)
    }

    /// Removes an account in whatever state it is.
    pub(super) fn remove(&mut self, account: &str, events: Vec<Event>) -> Result<bool, Trouble> {
        self.warm.forget(account);
        let removed = self.accounts.remove(account)?;
        for event in events {
            self.append(event)?;
        }
        Ok(removed)
    }

    /// The connection, for looks at the database as a whole.
    pub(super) const fn connection(&self) -> &'c Connection {
        self.connection
    }

    /// The keys that the store is sealed and signed with.
    pub(super) const fn keys(&self) -> &'c Keys {
        self.keys
    }

    /// Of the key that a rotation moves away from.
    pub(super) const fn previous(&self) -> Option<&'c Keys> {
        self.previous
    }

    /// Seals and signs a record under the store's key where it is under another one. Tells whether it was.
    pub(super) fn reseal(&mut self, account: &str) -> Result<bool, Trouble> {
        // The decoy is kept by the names of those who have no record.
        if account == decoy::NAME {
            self.warm.clear()
        } else {
            self.warm.forget(account)
        }
        let Some(loaded) = self.load(account)? else { return Ok(false) };
        self.accounts.save(account, Some(&loaded), Some(&loaded.record), self.keys)
    }

    /// Whether a question about this account is remembered.
    #[cfg(test)]
    pub(super) fn is_warm(&mut self, account: &str) -> bool {
        let found = self.warm.take(account);
        let is = found.is_some();
        found.into_iter().for_each(|found| self.warm.keep(account, found));
        is
    }

    /// A record as it lies there, without changing anything.
    pub(super) fn peek(&mut self, account: &str) -> Result<Option<Record>, Trouble> {
        Ok(self.fetch(account)?.map(|loaded| loaded.record))
    }

    /// The names of up to `limit` accounts that sort after `after`.
    pub(super) fn names(&mut self, after: &str, limit: usize) -> Result<Vec<String>, Trouble> {
        self.accounts.names(after, limit)
    }

    /// Says that the store's keys are others after this batch: the connection is opened anew, with this key at hand.
    pub(super) fn rekey(&mut self, key: MasterKey) {
        self.rekeyed = Some(key);
    }

    /// Has this done between this batch and the next one.
    pub(super) fn after_commit(&mut self, stillness: Stillness) {
        self.afterwards.push(stillness);
    }

    /// What is to be done before the next batch.
    pub(super) fn take_afterwards(&mut self) -> Vec<Stillness> {
        std::mem::take(&mut self.afterwards)
    }

    /// The key that the batch brought.
    pub(super) const fn take_rekeyed(&mut self) -> Option<MasterKey> {
        self.rekeyed.take()
    }

    /// The audit's table.
    pub(super) const fn trail(&mut self) -> &mut Trail<'c> {
        &mut self.trail
    }

    /// Runs `work` in a savepoint. Where it refuses, what it wrote is undone, and trouble with a record is
    /// written to the audit; the rest of the batch goes on.
    pub(super) fn guard<T>(
        &mut self,
        account: &str,
        work: impl FnOnce(&mut Self) -> Result<T, Trouble>,
    ) -> Result<Result<T, StoreError>, rusqlite::Error> {
        let (end, records) = (self.trail.end, self.records.len());
        self.marks.savepoint.execute([])?;
        let error = match work(self) {
            Ok(value) => {
                self.marks.release.execute([])?;
                return Ok(Ok(value));
            }
            Err(Trouble::Refused(error)) => error,
            Err(Trouble::Engine(error)) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                StoreError::Invalid { account: account.to_owned(), what: "the record breaks a rule of the tables" }
            }
            Err(Trouble::Engine(error)) => return Err(error),
        };
        self.marks.undo.execute([])?;
        self.marks.release.execute([])?;
        // Some of it may be what was undone.
        self.warm.clear();
        self.trail.end = end;
        self.records.truncate(records);
        if let StoreError::Corrupt { account, what } = &error {
            let mut event = Event::new(wall_clock(), Kind::Store, Outcome::Refused);
            event.account = Some(account.clone());
            event.reason = Some(what.clone());
            self.append(event)?;
        }
        Ok(Err(error))
    }

    /// Appends an event to the audit.
    pub(super) fn append(&mut self, event: Event) -> Result<(), rusqlite::Error> {
        let record = self.trail.append(event)?;
        self.records.extend(record);
        Ok(())
    }

    /// Loads a record that is sealed under the store's key, or under the one that a rotation moves away from.
    fn fetch(&mut self, account: &str) -> Result<Option<Loaded>, Trouble> {
        let loaded = self.accounts.load(account, self.keys);
        let (Err(Trouble::Refused(_)), Some(previous)) = (&loaded, self.previous) else { return loaded };
        match self.accounts.load(account, previous) {
            // What neither key opens is told as what it is under the store's own.
            Err(Trouble::Refused(_)) => loaded,
            older => older,
        }
    }

    /// Loads a record. What is attached to it and was altered is named in the audit and removed; the record goes on.
    fn load(&mut self, account: &str) -> Result<Option<Loaded>, Trouble> {
        let loaded = self.fetch(account)?;
        let Some(loaded) = loaded else { return Ok(None) };
        if loaded.altered.is_empty() {
            return Ok(Some(loaded));
        }
        for what in &loaded.altered {
            let mut event = Event::new(wall_clock(), Kind::Store, Outcome::Refused);
            event.account = Some(account.to_owned());
            event.reason = Some((*what).to_owned());
            self.append(event)?;
        }
        self.accounts.save(account, Some(&loaded), Some(&loaded.record), self.keys)?;
        self.accounts.load(account, self.keys)
    }

    fn transact(&mut self, batch: &mut [Job]) -> Result<Vec<AuditRecord>, rusqlite::Error> {
        self.marks.begin.execute([])?;
        if let Some(trouble) = self.trouble.take() {
            let mut event = Event::new(wall_clock(), Kind::Store, Outcome::Note);
            event.reason = Some(trouble);
            self.append(event)?;
        }
        for job in batch {
            job.run(self)?;
        }
        self.trail.write_end()?;
        self.marks.commit.execute([])?;
        Ok(std::mem::take(&mut self.records))
    }

    /// Does with the decoy what is done with the record of a failed login; makes it where it is not there. A decoy that
    /// was loaded before others wrote to it serves as well: what changes in it is its record alone, which is written
    /// as a whole.
    fn write_decoy(&mut self, loaded: Option<Loaded>) -> Result<(), Trouble> {
        let before = match loaded {
            Some(loaded) => Some(loaded),
            None => self.load_decoy()?,
        };
        let mut record = before.as_ref().map_or_else(decoy::make, |before| Ok(before.record.clone()))?;
        decoy::charge(&mut record, wall_clock());
        self.accounts.save(decoy::NAME, before.as_ref(), Some(&record), self.keys)?;
        Ok(())
    }

    /// The decoy; one that was altered is removed.
    fn load_decoy(&mut self) -> Result<Option<Loaded>, Trouble> {
        match self.fetch(decoy::NAME) {
            Err(Trouble::Refused(StoreError::Corrupt { .. })) => {
                self.accounts.remove(decoy::NAME)?;
                Ok(None)
            }
            loaded => loaded,
        }
    }
}

/// The time of the store's own events.
pub(super) fn wall_clock() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
