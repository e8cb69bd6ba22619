//! The story of a new master key: begun by an administrator, carried on between logins, and after an interruption at the
//! next start.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dbus_api::{Error, KeyStatus};

use crate::audit::{Event, Kind, Outcome};
use crate::authorizer::Action;
use crate::caller::Caller;
use crate::clock;
use crate::service::{Service, unavailable};
use crate::store::rotation::Walked;
use crate::store::{KeySource, RotationError, StoreError};

/// How long a rotation waits that the store stopped, before it is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// How far the rotation under way has come.
#[derive(Debug, Default)]
pub struct Rotation(Mutex<Progress>);

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    runs: bool,
    done: u64,
    refused: u64,
    stopped: bool,
}

impl Rotation {
    fn change(&self, change: impl FnOnce(&mut Progress)) -> Progress {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut progress);
        *progress
    }
}

impl Service {
    /// Makes a new master key and begins to seal everything under it. Returns once the new key is the store's; the rest
    /// goes on by itself.
    ///
    /// # Errors
    /// `AccessDenied`; `Busy` where one is under way; `InvalidArgument` where the key is a credential; `Unavailable`.
    pub async fn rotate_key(&self, caller: &Caller) -> Result<(), Error> {
        self.admit_administrator(caller, Action::Manage).await?;
        let event = Event { caller_uid: Some(caller.uid), ..told("a rotation of the master key was begun") };
        match self.store().begin_rotation(self.machine(), event).await {
            Ok(()) => {
                self.walk_in_background();
                Ok(())
            }
            Err(RotationError::UnderWay) => Err(Error::Busy("the master key is being rotated already".into())),
            Err(RotationError::Store(error)) => Err(unavailable(&error)),
            Err(error @ RotationError::Credential) => Err(Error::InvalidArgument(error.to_string())),
            Err(error @ RotationError::Io(_)) => {
                let reason = Some(format!("a rotation of the master key was not begun: {error}"));
                let caller_uid = Some(caller.uid);
                self.record(Event { reason, caller_uid, ..Event::new(clock::wall(), Kind::Key, Outcome::Refused) })
                    .await;
                Err(Error::Unavailable(error.to_string()))
            }
        }
    }

    /// Which master key is in use, and how far a rotation has come.
    ///
    /// # Errors
    /// `AccessDenied`, `Unavailable`.
    pub async fn key_status(&self, caller: &Caller) -> Result<KeyStatus, Error> {
        self.admit_administrator(caller, Action::Read).await?;
        let accounts = self.store().count().await.map_err(|error| unavailable(&error))?;
        let key = self.store().key_in_use();
        let progress = self.rotation().change(|_| {});
        let (source, path) = match &key.source {
            Some(KeySource::Credential(path)) => ("credential", Some(path)),
            Some(KeySource::File(path) | KeySource::Created(path)) => ("file", Some(path)),
            None => ("unknown", None),
        };
        let rotating = key.previous.is_some();
        Ok(KeyStatus {
            id: key.id.to_string(),
            source: source.to_owned(),
            path: path.map(|path| path.display().to_string()),
            accounts,
            previous: key.previous.map(|previous| previous.to_string()),
            resealed: rotating.then_some(progress.done),
            refused: rotating.then_some(progress.refused),
            stopped: rotating.then_some(progress.stopped),
        })
    }

    /// Goes on with a rotation that was interrupted, where one was.
    pub fn carry_on_rotation(&self) {
        if self.store().key_in_use().previous.is_some() {
            self.walk_in_background();
        }
    }

    fn walk_in_background(&self) {
        let mut was_running = false;
        self.rotation().change(|progress| was_running = std::mem::replace(&mut progress.runs, true));
        if !was_running {
            let service = self.clone();
            tokio::spawn(async move { service.reseal_all().await });
        }
    }

    /// Comes to every account, and again after the store stopped it, until nothing is sealed under the old key.
    async fn reseal_all(&self) {
        loop {
            self.rotation().change(|progress| *progress = Progress { runs: true, ..Progress::default() });
            match self.walk().await {
                Ok(()) => break,
                // The daemon ends; the next start goes on.
                Err(StoreError::Closed) => break,
                // The store says in syslog what is wrong with it.
                Err(_) => drop(self.rotation().change(|progress| progress.stopped = true)),
            }
            tokio::time::sleep(RETRY).await;
        }
        self.rotation().change(|progress| progress.runs = false);
    }

    async fn walk(&self) -> Result<(), StoreError> {
        let mut after = None;
        let progress = loop {
            let Walked { last, accounts, refused } = self.store().reseal_some(after).await?;
            let progress = self.rotation().change(|progress| {
                progress.done += accounts;
                progress.refused += refused;
            });
            match last {
                Some(name) => after = Some(name),
                None => break progress,
            }
        };
        let resealed = progress.done.saturating_sub(progress.refused);
        let altered = match progress.refused {
            0 => String::new(),
            refused => format!("; {refused} stay refused, because they were altered on the disk"),
        };
        let text =
            format!("the rotation of the master key was ended; accounts sealed under the new one: {resealed}{altered}");
        self.store().end_rotation(told(&text)).await
    }
}

fn told(reason: &str) -> Event {
    Event { reason: Some(reason.to_owned()), ..Event::new(clock::wall(), Kind::Key, Outcome::Note) }
}
