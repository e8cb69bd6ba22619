//! The store: one decision about one account in one transaction.
//!
//! One thread owns the database. It takes every decision that waits, runs them in order, commits them together
//! and answers after `COMMIT`: what was answered is on the disk (invariants 1 and 2). What is read from the
//! disk is believed only where its signature is ours.

mod accounts;
mod attached;
mod decoy;
pub(crate) mod encoding;
mod error;
mod files;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod home;
pub mod inspection;
pub mod key;
pub mod renewal;
mod reserve;
pub mod restoration;
pub mod rotation;
mod row;
mod schema;
pub(crate) mod seal;
mod session;
mod sqlite;
pub mod still;
mod trail;
mod warm;
mod writer;

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot, watch};
use verifier::{Account, RecoveryKey, WallTime};

use crate::audit::chain::Check;
use crate::audit::{AuditRecord, ChainReport, Event, Kind, Outcome, Syslog, Witness};
use crate::notice::{LastFailure, Notice};
use session::{Session, Trouble};
use writer::{Job, Queue, Writer};

pub use error::StoreError;
pub use home::MachineId;
pub use key::{KeyError, KeyRing, KeySource, MasterKey};
pub use rotation::{KeyInUse, RotationError};
pub use seal::KeyId;

/// The database's file in the state directory.
pub const DATABASE: &str = "store.sqlite";

/// The file in the state directory whose lock keeps a second daemon out.
const LOCK: &str = "lock";

/// The most logins that wait for the store, decided ones not yet answered included.
const LOGINS: usize = 1024;

/// The most background jobs that wait.
const BACKGROUND: usize = 64;

/// All that is kept of one account.
#[derive(Clone, Debug)]
pub struct Record {
    /// As the name service spells it.
    pub name: String,
    /// The uid that the name had when it was bound; `None` until the first login of an imported account.
    pub uid: Option<u32>,
    /// Throttling, authenticators, recovery codes.
    pub account: Account,
    /// Until when the account may enrol itself although `self_enrolment` is off (after `reset`).
    pub enrolment_until: Option<WallTime>,
    /// The last reply that was charged since the last login. It is told to the person; it decides nothing.
    pub last_failure: Option<LastFailure>,
    /// What the next login is told of, at most [`crate::notice::pending::MOST`] and a count. It decides nothing.
    pub notices: Vec<Notice>,
}

impl Record {
    /// Of an account that has nothing yet.
    #[must_use]
    pub fn empty(name: &str, uid: Option<u32>) -> Self {
        Self {
            name: name.to_owned(),
            uid,
            account: Account::default(),
            enrolment_until: None,
            last_failure: None,
            notices: Vec::new(),
        }
    }
}

/// Which decisions go first when both wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody waits at a prompt.
    Login,
    /// Imports and lists.
    Background,
}

/// What a decision works on: the account's record as all decisions before it left it, and the audit.
#[derive(Debug)]
pub struct Transaction {
    /// The record; `None` where there is none. Changing it changes the store, `None` removes the account.
    pub record: Option<Record>,
    /// Events to be committed with the change.
    pub events: Vec<Event>,
}

/// Which records of the audit are searched for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditSearch {
    /// About this account alone.
    pub account: Option<String>,
    /// Of this moment and later.
    pub since: WallTime,
}

/// One account of a list.
#[derive(Clone, Debug)]
pub enum Listed {
    /// Its record.
    Record(Box<Record>),
    /// Its record was altered on the disk.
    Corrupt {
        /// The account.
        account: String,
        /// What was altered.
        what: String,
    },
}

/// A handle on the store's thread; clones share it. When the last one is dropped the thread finishes what
/// waits and ends.
#[derive(Clone)]
pub struct Store {
    handle: Arc<Handle>,
}

struct Handle {
    queue: Arc<Queue>,
    tasks: tokio::runtime::Handle,
    logins: Arc<Semaphore>,
    background: Arc<Semaphore>,
    ended: watch::Receiver<()>,
    recovery: RecoveryKey,
    key: Arc<Mutex<KeyInUse>>,
    state: PathBuf,
    file: OnceLock<File>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("key", &self.key_id()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in the state directory, makes it where there is none, and starts its thread. The
    /// audit's lines and the store's own troubles go to `syslog`.
    ///
    /// # Errors
    /// The directory is open to others, another daemon works there, the key is not the store's, or the
    /// file is foreign, newer, empty or damaged.
    pub fn open(state: &Path, keys: impl Into<KeyRing>, syslog: Syslog) -> Result<Self, StoreError> {
        let ring = keys.into();
        let lock = sqlite::lock(state)?;
        let (connection, vault, made) = sqlite::open_or_make(state, &ring)?;
        rotation::settle(state, &vault)?;
        let key = Arc::new(Mutex::new(KeyInUse::of(&vault)));
        let recovery = vault.recovery.clone();
        let queue = Arc::new(Queue::default());
        let (sender, ended) = watch::channel(());
        let thread = |error: std::io::Error| StoreError::Thread(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(thread)?;
        let tasks = runtime.handle().clone();
        let writer = Writer {
            state: state.to_owned(),
            ring,
            key: Arc::clone(&key),
            syslog,
            queue: Arc::clone(&queue),
            still: (0, false),
        };
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || runtime.block_on(writer.run((connection, vault), lock, sender)))
            .map_err(thread)?;
        let handle = Handle {
            queue,
            tasks,
            logins: Arc::new(Semaphore::new(LOGINS)),
            background: Arc::new(Semaphore::new(BACKGROUND)),
            ended,
            recovery,
            key,
            state: state.to_owned(),
            file: OnceLock::new(),
        };
        let store = Self { handle: Arc::new(handle) };
        if made {
            store.note_made()?;
        }
        Ok(store)
    }

    /// Runs `decision` on the account's record and commits what it changed together with its events.
    /// Returns after `COMMIT`, never before. Once the decision waits in the queue it is made and committed even
    /// if this future is dropped: who hangs up saves nothing.
    ///
    /// The decision must take less than a millisecond, and must not panic: the store's thread would end.
    ///
    /// # Errors
    /// Nothing was decided: the account's record was altered on the disk, or the store does not work.
    pub async fn decide<T, F>(&self, account: &str, urgency: Urgency, decision: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Transaction) -> T + Send + 'static,
    {
        let name = account.to_owned();
        self.ask(account, urgency, move |session| session.decide(&name, urgency, decision)).await
    }

    /// Runs `decision` on each of these accounts in one transaction, as an import does, in the background. An
    /// account whose record is refused concerns itself alone.
    ///
    /// # Errors
    /// Nothing was decided about any of them: the store does not work.
    pub async fn decide_each<T, F>(
        &self,
        accounts: Vec<String>,
        mut decision: F,
    ) -> Result<Vec<Result<T, StoreError>>, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&str, &mut Transaction) -> T + Send + 'static,
    {
        let each = move |session: &mut Session<'_>| {
            let decide = |name: &String| {
                session.guard(name, |session| {
                    session.decide(name, Urgency::Background, |transaction| decision(name, transaction))
                })
            };
            Ok(accounts.iter().map(decide).collect::<Result<_, _>>()?)
        };
        self.ask("", Urgency::Background, each).await
    }

    /// Reads a record without changing it.
    ///
    /// # Errors
    /// The record was altered on the disk, or the store does not work.
    pub async fn read(&self, account: &str) -> Result<Option<Record>, StoreError> {
        let name = account.to_owned();
        self.ask(account, Urgency::Login, move |session| session.read(&name)).await
    }

    /// Reads up to `limit` records whose names sort after `after`. Altered records are left out
    /// ([`Store::list`] names them); fewer than `limit` come only where there are no more.
    ///
    /// # Errors
    /// The store does not work.
    pub async fn page(&self, after: &str, limit: usize) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        let mut after = after.to_owned();
        while records.len() < limit {
            let listed = self.list(&after, limit - records.len()).await?;
            let Some(last) = listed.last() else { break };
            after = last.name().to_owned();
            records.extend(listed.into_iter().filter_map(Listed::record));
        }
        Ok(records)
    }

    /// Reads up to `limit` accounts whose names sort after `after`, altered ones by what is wrong with them.
    ///
    /// # Errors
    /// The store does not work.
    pub async fn list(&self, after: &str, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let after = after.to_owned();
        self.ask("", Urgency::Background, move |session| session.list(&after, limit)).await
    }

    /// Removes all that is kept of an account, even if it was altered on the disk, and commits `events` with
    /// it. Tells whether there was anything.
    ///
    /// # Errors
    /// The store does not work.
    pub async fn remove(&self, account: &str, events: Vec<Event>) -> Result<bool, StoreError> {
        let name = account.to_owned();
        self.ask(account, Urgency::Login, move |session| session.remove(&name, events)).await
    }

    /// Commits events that belong to no account's change.
    ///
    /// # Errors
    /// The store does not work.
    pub async fn record(&self, events: Vec<Event>) -> Result<(), StoreError> {
        let append =
            move |session: &mut Session<'_>| Ok(events.into_iter().try_for_each(|event| session.append(event))?);
        self.ask("", Urgency::Login, append).await
    }

    /// Reads up to `limit` records of the audit whose numbers are greater than `after`.
    ///
    /// # Errors
    /// A record cannot be read, or the store does not work.
    pub async fn audit_page(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        self.ask("", Urgency::Background, move |session| session.trail().page(after, limit)).await
    }

    /// Searches a stretch of the audit after record `after` for up to `limit` records. Beside them stands the
    /// number to go on from; it is `after` where nothing follows.
    ///
    /// # Errors
    /// As [`Store::audit_page`].
    pub async fn search_audit(
        &self,
        search: AuditSearch,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<AuditRecord>, u64), StoreError> {
        self.ask("", Urgency::Background, move |session| session.trail().search(&search, after, limit)).await
    }

    /// Compares lines of a syslog copy with the audit; those from before its beginning are passed over. It
    /// proves something only where [`Store::verify_chain`] found the chain whole.
    ///
    /// # Errors
    /// [`StoreError::Audit`] names the first record that is missing or another; else the store does not work.
    pub async fn compare_audit(&self, witnesses: Vec<Witness>) -> Result<ChainReport, StoreError> {
        self.ask("", Urgency::Background, move |session| session.trail().compare(witnesses)).await
    }

    /// Checks the whole chain of the audit, page by page between logins.
    ///
    /// # Errors
    /// [`StoreError::Audit`] names the first record that is broken or missing; else the store does not work.
    pub async fn verify_chain(&self) -> Result<ChainReport, StoreError> {
        let begin = move |session: &mut Session<'_>| Ok(Check::begin(session.trail().beginning()?));
        let mut check = Some(self.ask("", Urgency::Background, begin).await?);
        loop {
            let step = move |session: &mut Session<'_>| {
                let mut check = check;
                let report = session.trail().check(&mut check)?;
                Ok((check, report))
            };
            let (next, report) = self.ask("", Urgency::Background, step).await?;
            if let Some(report) = report {
                return Ok(report);
            }
            check = next;
        }
    }

    /// Removes audit records older than `keep`, and the oldest until the rest counts `max_bytes` at most (by
    /// the records' own bytes), in small transactions. The new beginning is signed. Tells how many it removed.
    ///
    /// # Errors
    /// The audit's beginning was altered, or the store does not work.
    pub async fn prune_audit(&self, now: WallTime, keep: Duration, max_bytes: u64) -> Result<usize, StoreError> {
        let mut removed = 0;
        loop {
            let prune = move |session: &mut Session<'_>| session.trail().prune(now, keep, max_bytes);
            let (some, more) = self.ask("", Urgency::Background, prune).await?;
            removed += some;
            if !more {
                return Ok(removed);
            }
        }
    }

    /// Runs a task on the store's thread, between its batches. What it asks of the store waits for no other thread. It must
    /// not block, and ends with the thread.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.tasks.spawn(task)
    }

    /// The key under which recovery codes are hashed.
    #[must_use]
    pub fn recovery_key(&self) -> RecoveryKey {
        self.handle.recovery.clone()
    }

    /// The name of the master key.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_in_use().id
    }

    /// The master key by its name, where it came from, and the one that a rotation moves away from.
    #[must_use]
    pub fn key_in_use(&self) -> KeyInUse {
        self.handle.key.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many batches were committed since the start.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.handle.queue.commits()
    }

    /// Whether the store answers: a transaction is begun and committed.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.ask("", Urgency::Login, |_| Ok(())).await
    }

    /// Takes no more decisions, finishes those that wait, closes the database and lets the lock go. Returns
    /// when all that is done.
    pub async fn close(&self) {
        self.handle.queue.close();
        let mut ended = self.handle.ended.clone();
        // The sender never sends; it is dropped when the thread has ended.
        while ended.changed().await.is_ok() {}
    }

    async fn ask<T, F>(&self, account: &str, urgency: Urgency, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Session<'_>) -> Result<T, Trouble> + Send + 'static,
    {
        let room = match urgency {
            Urgency::Login => &self.handle.logins,
            Urgency::Background => &self.handle.background,
        };
        let permit = Arc::clone(room).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.handle.queue.push(urgency, Job::new(account.to_owned(), permit, reply, work))?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Has something done for which nobody waits, if there is room for it.
    fn tell(&self, work: impl FnOnce(&mut Session<'_>) + Send + 'static) {
        let Ok(permit) = Arc::clone(&self.handle.logins).try_acquire_owned() else { return };
        let (reply, _) = oneshot::channel();
        let job = Job::new(String::new(), permit, reply, move |session: &mut Session<'_>| {
            work(session);
            Ok(())
        });
        // A store that is closed has nothing to be told.
        let _ = self.handle.queue.push(Urgency::Login, job);
    }

    /// The first record of a new store's audit says that it is new: a store that vanished shows.
    fn note_made(&self) -> Result<(), StoreError> {
        let mut event = Event::new(sqlite::wall_clock(), Kind::Store, Outcome::Note);
        event.reason = Some("a new store was made".to_owned());
        let permit = Arc::clone(&self.handle.logins).try_acquire_owned().map_err(|_| StoreError::Closed)?;
        let (reply, _) = oneshot::channel();
        let job = Job::new(String::new(), permit, reply, move |session| Ok(session.append(event)?));
        self.handle.queue.push(Urgency::Login, job)
    }
}

impl Listed {
    /// The account's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Record(record) => &record.name,
            Self::Corrupt { account, .. } => account,
        }
    }

    /// The record, where it is whole.
    #[must_use]
    pub fn record(self) -> Option<Record> {
        match self {
            Self::Record(record) => Some(*record),
            Self::Corrupt { .. } => None,
        }
    }
}
