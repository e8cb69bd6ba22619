//! The daemon's answer to how it is. It tells nothing of any account and nothing secret.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use dbus_api::{Error, Health};
use verifier::{Rule, RuleAction, Unenrolled, WallTime};

use crate::authorizer::Action;
use crate::caller::Caller;
use crate::clock;
use crate::config::Config;
use crate::service::Service;
use crate::store::{KeySource, inspection};

/// How far the clock may be behind before codes by time are refused (`verifier`).
const ALLOWED: Duration = Duration::from_secs(120);

/// Where the running daemon has its parts.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The state directory.
    pub state: PathBuf,
    /// The private socket that it was told to listen at.
    pub socket: PathBuf,
    /// Where the master key came from.
    pub key: KeySource,
    /// The file that holds the host's machine-id.
    pub machine: PathBuf,
}

impl Service {
    /// How the daemon is.
    ///
    /// # Errors
    /// `AccessDenied`. A store that does not answer is no error here: its part is absent.
    pub async fn health(&self, caller: &Caller) -> Result<Health, Error> {
        self.admit_administrator(caller, Action::Read).await?;
        let installation = self.installation();
        let settings = self.settings();
        let config = &settings.config;
        let store = self.store().inspect().await.ok();
        let key = |source: &KeySource| match source {
            KeySource::Credential(_) => "credential".to_owned(),
            KeySource::File(_) | KeySource::Created(_) => "file".to_owned(),
        };
        Ok(Health {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            key: installation.map(|installation| key(&installation.key)),
            state: installation.map(|installation| installation.state.display().to_string()),
            socket: installation.map(|installation| installation.socket.display().to_string()),
            free: installation.and_then(|installation| inspection::free(&installation.state)),
            store_size: store.as_ref().map(|store| store.size),
            store_integrity: store.as_ref().and_then(|store| store.integrity.clone()),
            clock_behind: store.and_then(|store| behind(store.latest?, clock::wall())),
            warnings: config.warnings.clone(),
            observe: Some(config.policy.observe),
            at_home: self.is_at_home().await,
            observing_rules: Some(observing(config)),
            enrolling_services: Some(enrolling(config)),
        })
    }
}

/// The names of rules that only observe.
fn observing(config: &Config) -> Vec<String> {
    let rules = config.policy.rules().iter();
    rules.filter(|rule| rule.observe).map(|rule| rule.name.clone()).collect()
}

/// The services in whose logins a rule makes people enrol; each once.
fn enrolling(config: &Config) -> Vec<String> {
    let enrols = |rule: &&Rule| rule.action == RuleAction::Require && rule.unenrolled == Unenrolled::Enroll;
    let mut services = BTreeSet::new();
    for rule in config.policy.rules().iter().filter(enrols) {
        match &rule.conditions.services {
            all if all.is_empty() => services.insert("*".to_owned()),
            some => some.iter().fold(false, |_, service| services.insert(service.clone())),
        };
    }
    services.into_iter().collect()
}

/// By how many seconds `now` is behind `latest`, where it is by more than is allowed for.
fn behind(latest: WallTime, now: WallTime) -> Option<u64> {
    latest.since(now).filter(|behind| *behind > ALLOWED).map(|behind| behind.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_behind_after_more_than_two_minutes() {
        let at = WallTime::from_seconds;
        assert_eq!(behind(at(1000), at(880)), None);
        assert_eq!(behind(at(1001), at(880)), Some(121));
        assert_eq!(behind(at(880), at(1001)), None);
    }
}
