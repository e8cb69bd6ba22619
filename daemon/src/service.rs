//! What all interfaces share: the settings in force, the store, the name service, and what is under way.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use dbus_api::Error;
use verifier::Rules;

use crate::accounts::{Account, Accounts};
use crate::audit::{Event, Kind, Outcome};
use crate::authorizer::Authorizer;
use crate::caller::{Caller, ConnectionKey};
use crate::config::{Config, ConfigError};
use crate::enrollment::Enrollments;
use crate::health::Installation;
use crate::reading::Readings;
use crate::rotation::Rotation;
use crate::store::{Store, StoreError};
use crate::verification::Verifications;
use crate::{clock, random};

/// The daemon behind its interfaces. Cheap to clone; each interface holds one, with its own way of telling who
/// calls beside it.
#[derive(Clone)]
pub struct Service {
    core: Arc<Core>,
}

struct Core {
    config_path: PathBuf,
    settings: RwLock<Arc<Settings>>,
    /// Held while the configuration is read, so that the last one asked for is the one in force.
    reloading: tokio::sync::Mutex<()>,
    accounts: Accounts,
    store: Store,
    authorizer: Mutex<Authorizer>,
    verifications: Verifications,
    enrollments: Enrollments,
    installation: OnceLock<Installation>,
    readings: Readings,
    rotation: Rotation,
    backups: tokio::sync::Mutex<()>,
    /// Held while two codes are sought, so that searches are charged one after the other.
    resynchronising: tokio::sync::Mutex<()>,
}

/// The configuration in force, and what follows from it.
pub struct Settings {
    /// As it was read.
    pub config: Config,
    /// For the verifier.
    pub rules: Rules,
}

impl Service {
    /// Puts the parts together.
    ///
    /// # Errors
    /// Where the kernel gives no random bytes.
    pub fn new(config_path: PathBuf, config: Config, store: Store) -> Result<Self, random::NoRandomness> {
        let settings = Settings::new(config, &store);
        Ok(Self {
            core: Arc::new(Core {
                config_path,
                settings: RwLock::new(Arc::new(settings)),
                reloading: tokio::sync::Mutex::default(),
                accounts: Accounts::new(),
                store,
                authorizer: Mutex::default(),
                verifications: Verifications::new()?,
                enrollments: Enrollments::default(),
                installation: OnceLock::new(),
                readings: Readings::default(),
                rotation: Rotation::default(),
                backups: tokio::sync::Mutex::default(),
                resynchronising: tokio::sync::Mutex::default(),
            }),
        })
    }

    /// The settings in force at this moment.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.core.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the configuration again, all or nothing, and tells the audit.
    ///
    /// # Errors
    /// The new configuration is wrong; the one in force stays.
    pub async fn reload(&self, caller_uid: Option<u32>) -> Result<(), ConfigError> {
        let _one_at_a_time = self.core.reloading.lock().await;
        let path = self.core.config_path.clone();
        let nss = self.settings().config.nss;
        // Names in rules are looked up, which may take long: logins go on meanwhile.
        let loaded = self.core.accounts.work_out(nss, move || Config::load_or_default(&path)).await;
        let loaded = loaded.map_err(ConfigError::from).flatten();
        let outcome = if loaded.is_ok() { Outcome::Granted } else { Outcome::Refused };
        let mut event = Event::new(clock::wall(), Kind::Reload, outcome);
        event.caller_uid = caller_uid;
        event.reason = loaded.as_ref().map_or_else(|error| Some(error.to_string()), Config::remarks);
        let result = loaded.map(|config| {
            let settings = Arc::new(Settings::new(config, &self.core.store));
            *self.core.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
            self.core.accounts.forget();
        });
        self.record(event).await;
        result
    }

    /// Commits an event that stands alone. A store that fails says so in syslog by itself.
    pub async fn record(&self, event: Event) {
        let _ = self.core.store.record(vec![event]).await;
    }

    /// Removes what the audit's table holds beyond what is configured.
    pub async fn prune_audit(&self) {
        let kept = self.settings().config.audit;
        // A store that fails says so in syslog by itself.
        let _ = self.core.store.prune_audit(clock::wall(), kept.keep.0, kept.max_size.0).await;
    }

    /// Forgets everything that was bound to this connection.
    pub async fn connection_ended(&self, connection: &ConnectionKey) {
        self.core.enrollments.connection_ended(connection);
        self.core.readings.connection_ended(connection);
        self.cancel_verifications(connection).await;
    }

    /// What the name service says about this name.
    pub(crate) async fn resolve(&self, name: &str) -> Result<Option<Account>, Error> {
        let nss = self.settings().config.nss;
        self.core.accounts.resolve(name, nss).await.map_err(|error| Error::Unavailable(error.to_string()))
    }

    /// The account of this name, if the caller may act for it: root for any, another uid for its own alone.
    /// To others, an account that does not exist and one that is not theirs look the same.
    pub(crate) async fn own_account(&self, caller: &Caller, name: &str) -> Result<Account, Error> {
        if caller.is_root() {
            let found = self.accounts().resolve_afresh(name, self.settings().config.nss).await;
            let account = found.map_err(|error| Error::Unavailable(error.to_string()))?;
            return account.ok_or_else(|| Error::UnknownAccount(format!("the name service knows no account {name:?}")));
        }
        let account = self.resolve(name).await?;
        account.filter(|account| account.uid == caller.uid).ok_or_else(not_yours)
    }

    /// Says where the daemon has its parts; the first time counts.
    pub fn installed(&self, installation: Installation) {
        let _ = self.core.installation.set(installation);
    }

    pub(crate) fn installation(&self) -> Option<&Installation> {
        self.core.installation.get()
    }

    pub(crate) fn accounts(&self) -> &Accounts {
        &self.core.accounts
    }

    pub(crate) fn store(&self) -> &Store {
        &self.core.store
    }

    /// Lets this one decide who may administer from now on; until the first time it is root alone.
    pub(crate) fn authorize_by(&self, authorizer: Authorizer) {
        *lock(&self.core.authorizer) = authorizer;
    }

    pub(crate) fn authorizer(&self) -> Authorizer {
        lock(&self.core.authorizer).clone()
    }

    pub(crate) fn verifications(&self) -> &Verifications {
        &self.core.verifications
    }

    pub(crate) fn enrollments(&self) -> &Enrollments {
        &self.core.enrollments
    }

    /// Held while a backup is made.
    pub(crate) fn backups(&self) -> &tokio::sync::Mutex<()> {
        &self.core.backups
    }

    pub(crate) fn rotation(&self) -> &Rotation {
        &self.core.rotation
    }

    pub(crate) fn resynchronising(&self) -> &tokio::sync::Mutex<()> {
        &self.core.resynchronising
    }

    pub(crate) fn readings(&self) -> &Readings {
        &self.core.readings
    }
}

impl Settings {
    fn new(config: Config, store: &Store) -> Self {
        let rules = Rules { limits: config.throttling.limits(), recovery_key: store.recovery_key() };
        Self { config, rules }
    }
}

/// To whom an account belongs is nobody's business but root's and its own.
pub(crate) fn not_yours() -> Error {
    Error::AccessDenied("you may act for your own account only".into())
}

/// What a caller may know of trouble with the store: the log says more.
pub(crate) fn unavailable(error: &StoreError) -> Error {
    let _ = error;
    Error::Unavailable("the store does not answer; the log of countersignd says why".into())
}

/// Locks a mutex of the daemon. A panic ends the process, so that a poisoned one is never seen.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
