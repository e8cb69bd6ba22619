//! The store's thread: takes what waits, commits it together, answers after `COMMIT`.
//!
//! The private socket is served on this thread too ([`super::Store::spawn`]): between two batches its tasks run, so that
//! a login is carried from its connection to its commit without waking another thread.

use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot, watch};

use super::key::{FILE, KeyRing, KeySource, MasterKey};
use super::reserve::Reserve;
use super::rotation::{self, KeyInUse};
use super::session::{Session, Trouble};
use super::sqlite::{self, Vault};
use super::still::Stillness;
use super::{StoreError, Urgency};
use crate::audit::syslog::{Severity, Syslog};

/// The most logins that one commit carries.
const LOGINS: usize = 256;

/// The most background jobs of a commit while logins wait: few, but never none.
const BESIDE_LOGINS: usize = 2;

/// The most background jobs of a commit while none wait. A login that comes meanwhile waits for them.
const BACKGROUND: usize = 32;

/// One piece of work, whose answer waits for the commit.
pub(super) struct Job {
    work: Box<dyn Work>,
    /// Held until the job was answered: this is what bounds the queue.
    _permit: OwnedSemaphorePermit,
}

impl Job {
    pub(super) fn new<T, F>(
        account: String,
        permit: OwnedSemaphorePermit,
        reply: oneshot::Sender<Result<T, StoreError>>,
        work: F,
    ) -> Self
    where
        T: Send + 'static,
        F: FnOnce(&mut Session<'_>) -> Result<T, Trouble> + Send + 'static,
    {
        Self { work: Box::new(Question { account, work: Some(work), outcome: None, reply }), _permit: permit }
    }

    /// Does the work within the caller's transaction.
    pub(super) fn run(&mut self, session: &mut Session<'_>) -> Result<(), rusqlite::Error> {
        self.work.run(session)
    }
}

trait Work: Send {
    fn run(&mut self, session: &mut Session<'_>) -> Result<(), rusqlite::Error>;

    /// Answers; `failure` is what befell the whole batch.
    fn answer(self: Box<Self>, failure: Option<StoreError>);
}

struct Question<T, F> {
    account: String,
    work: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Work for Question<T, F>
where
    T: Send,
    F: FnOnce(&mut Session<'_>) -> Result<T, Trouble> + Send,
{
    fn run(&mut self, session: &mut Session<'_>) -> Result<(), rusqlite::Error> {
        let Some(work) = self.work.take() else { return Ok(()) };
        self.outcome = Some(session.guard(&self.account, work)?);
        Ok(())
    }

    fn answer(self: Box<Self>, failure: Option<StoreError>) {
        let Self { outcome, reply, .. } = *self;
        // Whoever asked may have gone: what was decided is committed all the same.
        let _ = reply.send(failure.map_or_else(|| outcome.unwrap_or(Err(StoreError::Closed)), Err));
    }
}

/// What waits for the thread.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
    commits: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    logins: VecDeque<Job>,
    background: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    /// Appends a job; gives it back where the store was closed.
    pub(super) fn push(&self, urgency: Urgency, job: Job) -> Result<(), StoreError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(StoreError::Closed);
        }
        match urgency {
            Urgency::Login => waiting.logins.push_back(job),
            Urgency::Background => waiting.background.push_back(job),
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Takes no more jobs; those that wait are still done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// How many batches were committed.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Waits for jobs; `None` once the queue is closed and empty. Whatever else is ready on this thread has its turn
    /// first, so that what comes at one instant shares a batch.
    async fn take(&self) -> Option<Vec<Job>> {
        loop {
            {
                let mut waiting = self.lock();
                if !waiting.is_empty() {
                    return Some(waiting.batch());
                }
                if waiting.closed {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Only pushes and drains happen under the lock, so that a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.logins.is_empty() && self.background.is_empty()
    }

    fn batch(&mut self) -> Vec<Job> {
        let logins = self.logins.len().min(LOGINS);
        let most = if logins == 0 { BACKGROUND } else { BESIDE_LOGINS };
        let background = self.background.len().min(most);
        let mut batch: Vec<_> = self.logins.drain(..logins).collect();
        batch.extend(self.background.drain(..background));
        batch
    }
}

/// Ends the queue however the thread ends, so that nobody waits for a thread that is gone. Then the lock goes,
/// and `_ended` last of all, which tells whoever closes the store.
struct Ending {
    queue: Arc<Queue>,
    _lock: File,
    _ended: watch::Sender<()>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        waiting.closed = true;
        waiting.logins.clear();
        waiting.background.clear();
    }
}

/// What the thread owns.
pub(super) struct Writer {
    pub(super) state: PathBuf,
    pub(super) ring: KeyRing,
    pub(super) key: Arc<Mutex<KeyInUse>>,
    pub(super) syslog: Syslog,
    pub(super) queue: Arc<Queue>,
    /// The number of the last [`Stillness::Begin`], and whether the file stands still since.
    pub(super) still: (u64, bool),
}

/// Why the thread stopped working with a connection.
enum Pause {
    /// There is nothing more to do.
    Closed,
    /// A batch was refused; the connection is as good as before.
    Refused,
    /// A batch was refused; the connection is not to be trusted.
    Broken,
    /// A batch changed the store's keys: the connection is to be opened anew with this one at hand.
    Rekeyed(MasterKey),
}

impl Writer {
    /// Works until the queue is closed and empty. A decision that panics unwinds through here: the thread must
    /// not go on, and whoever installs the panic hook ends the process.
    pub(super) async fn run(mut self, first: (Connection, Vault), lock: File, ended: watch::Sender<()>) {
        let ending = Ending { queue: Arc::clone(&self.queue), _lock: lock, _ended: ended };
        let mut reserve = Reserve::new(&self.state, self.syslog.clone());
        let mut open = self.keep_room(first, &mut reserve);
        let queue = Arc::clone(&self.queue);
        while let Some(batch) = queue.take().await {
            let reopened = || self.reopen().inspect(|_| reserve.keep_log());
            let (connection, vault) = match open.take().map_or_else(reopened, Ok) {
                Ok(open) => open,
                Err(error) => {
                    refuse(batch, &error);
                    continue;
                }
            };
            match self.work(&connection, &vault, batch, &mut reserve).await {
                Pause::Closed => {
                    self.finish(connection);
                    break;
                }
                Pause::Refused => open = Some((connection, vault)),
                // Dropping the connection drops the locks and everything it remembers.
                Pause::Broken => {}
                Pause::Rekeyed(key) => {
                    self.ring.push(key, Some(KeySource::File(self.state.join(FILE))));
                    drop((connection, vault));
                    open = self.reopen().ok();
                }
            }
        }
        if let Some((connection, _)) = open {
            self.finish(connection);
        }
        drop(ending);
    }

    /// Works with a connection until something goes wrong or there is nothing more to do.
    async fn work(&mut self, connection: &Connection, vault: &Vault, batch: Vec<Job>, reserve: &mut Reserve) -> Pause {
        let mut session = match Session::new(connection, vault) {
            Ok(session) => session,
            Err(error) => {
                self.syslog.note(Severity::Error, &format!("store: {error}; nothing is granted until it works again"));
                refuse(batch, &error);
                return Pause::Broken;
            }
        };
        let mut batch = batch;
        loop {
            let ran = session.run(&mut batch);
            let rekeyed = session.take_rekeyed();
            match ran {
                Ok(records) => {
                    self.queue.commits.fetch_add(1, Ordering::Relaxed);
                    batch.into_iter().for_each(|job| job.work.answer(None));
                    // Answers go out first: nobody waits for syslog.
                    tokio::task::yield_now().await;
                    for record in records {
                        self.syslog.line(record.event.severity(), record.line());
                    }
                    if let Err(error) = self.look(reserve, connection) {
                        self.syslog.note(Severity::Error, &format!("store: {error}"));
                        return Pause::Broken;
                    }
                }
                Err(error) => {
                    let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
                    let error = StoreError::from(error);
                    self.syslog
                        .note(Severity::Error, &format!("store: {error}; {} decisions were refused", batch.len()));
                    refuse(batch, &error);
                    // Whether a COMMIT that failed was done, the disk says at the next opening.
                    return match rekeyed {
                        Some(key) => Pause::Rekeyed(key),
                        None if full => Pause::Refused,
                        None => Pause::Broken,
                    };
                }
            }
            for stillness in session.take_afterwards() {
                self.change_stillness(connection, vault, stillness);
            }
            if let Some(key) = rekeyed {
                return Pause::Rekeyed(key);
            }
            match self.next(&mut session).await {
                Some(next) => batch = next,
                None => return Pause::Closed,
            }
        }
    }

    /// The next batch. What logins began with is forgotten after a while, whatever comes meanwhile.
    async fn next(&self, session: &mut Session<'_>) -> Option<Vec<Job>> {
        loop {
            let Some(until) = session.cool() else { return self.queue.take().await };
            if let Ok(next) = tokio::time::timeout_at(until.into(), self.queue.take()).await {
                return next;
            }
        }
    }

    /// Looks after the room that is kept, but not while the database's file stands still: making pages writes into it.
    fn look(&self, reserve: &mut Reserve, connection: &Connection) -> Result<(), StoreError> {
        if self.still.1 { Ok(()) } else { reserve.look(connection) }
    }

    /// Keeps room for a full disk before the first login comes; where that fails, the connection is given up.
    fn keep_room(&self, open: (Connection, Vault), reserve: &mut Reserve) -> Option<(Connection, Vault)> {
        reserve.keep_log();
        match reserve.look(&open.0) {
            Ok(()) => Some(open),
            Err(error) => {
                self.syslog.note(Severity::Error, &format!("store: {error}"));
                None
            }
        }
    }

    fn reopen(&mut self) -> Result<(Connection, Vault), StoreError> {
        // Opening writes the log into the file.
        self.still.1 = false;
        let opened = sqlite::open(&self.state, &self.ring);
        match &opened {
            Ok((_, vault)) => {
                *self.key.lock().unwrap_or_else(PoisonError::into_inner) = KeyInUse::of(vault);
                let named = [Some(vault.keys.id), vault.previous.as_ref().map(|keys| keys.id)];
                self.ring.keep(&named.into_iter().flatten().collect::<Vec<_>>());
                if let Err(error) = rotation::settle(&self.state, vault) {
                    self.syslog
                        .note(Severity::Warning, &format!("store: {error}; it is tried again at the next start"));
                }
                self.syslog.note(Severity::Notice, "store: it was opened again");
            }
            Err(error) => self.syslog.note(Severity::Error, &format!("store: it cannot be opened again: {error}")),
        }
        opened
    }

    /// Lets the database's file stand still, or move again.
    fn change_stillness(&mut self, connection: &Connection, vault: &Vault, stillness: Stillness) {
        match stillness {
            Stillness::Begin(reply) => {
                let begun = sqlite::checkpoint_alone(connection, false).and_then(|()| self.ring.bytes(vault.keys.id));
                self.still = (self.still.0.wrapping_add(1), begun.is_ok());
                if let Err(error) = &begun {
                    self.syslog
                        .note(Severity::Error, &format!("store: {error}; the database cannot be copied for a backup"));
                    self.let_move(connection);
                }
                let number = self.still.0;
                // Whoever asked may have gone; dropping what is sent ends the stillness.
                let _ = reply.send(begun.map(|key| (number, key)));
            }
            Stillness::End(number, reply) => {
                let stood = self.still == (number, true);
                if stood {
                    self.let_move(connection);
                }
                if let Some(reply) = reply {
                    let _ = reply.send(stood);
                }
            }
        }
    }

    fn let_move(&mut self, connection: &Connection) {
        self.still.1 = false;
        if let Err(error) = sqlite::checkpoint_alone(connection, true) {
            self.syslog.note(Severity::Warning, &format!("store: the write-ahead log stays as it is: {error}"));
        }
    }

    fn finish(&self, connection: Connection) {
        let closed = sqlite::checkpoint(&connection, "TRUNCATE")
            .and_then(|()| connection.close().map_err(|(_, error)| StoreError::from(error)));
        if let Err(error) = closed {
            self.syslog.note(Severity::Warning, &format!("store: at its closing: {error}; the next start recovers it"));
        }
    }
}

fn refuse(batch: Vec<Job>, error: &StoreError) {
    batch.into_iter().for_each(|job| job.work.answer(Some(error.clone())));
}
