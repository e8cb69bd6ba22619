//! A connection at work: decisions in batches, one commit a batch.

use std::time::Instant;

use rusqlite::{Connection, ErrorCode, Statement};

use super::accounts::{Accounts, Loaded};
use super::decoy;
use super::key::MasterKey;
use super::seal::Keys;
use super::sqlite::{Vault, wall_clock};
use super::still::Stillness;
use super::trail::{Trail, is_type};
use super::warm::{Found, Warm};
use super::writer::Job;
use super::{Listed, Record, StoreError, Transaction, Urgency};
use crate::audit::chain::AuditRecord;
use crate::audit::{Event, Kind, Outcome};

/// Why a job could not be done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// This job alone is refused.
    Refused(StoreError),
    /// The database does not work: the whole batch is refused.
    Engine(rusqlite::Error),
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
