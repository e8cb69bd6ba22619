//! Changes of what is enrolled: another label, one authenticator less, new recovery codes. Whoever enrols anew has shown
//! the same rights.

use dbus_api::Error;
use verifier::AuthenticatorId;

use super::{Right, event, may_enrol, named, no_such_authenticator, verification_required};
use crate::accounts::Account;
use crate::audit::{Event, Kind};
use crate::caller::Caller;
use crate::notice::{By, Notice, What, pending};
use crate::service::{Service, unavailable};
use crate::store::{Record, Transaction, Urgency};
use crate::verification::Fresh;
use crate::{authenticator, clock, recovery_codes};

impl Service {
    /// Gives an authenticator another label.
    ///
    /// # Errors
    /// `AccessDenied`, `VerificationRequired`, `NotEnrolled`, `InvalidArgument`, `Busy`, `Unavailable`.
    pub async fn rename_authenticator(
        &self,
        caller: Caller,
        user: &str,
        authenticator: &str,
        label: &str,
    ) -> Result<(), Error> {
        let label = authenticator::parse_label(label)?;
        self.change(caller, user, authenticator, move |record, id, event| {
            if record.account.authenticators.iter().any(|one| one.label == label && one.id != id) {
                return Err(authenticator::label_taken(&label));
            }
            let Some(one) = record.account.authenticators.iter_mut().find(|one| one.id == id) else {
                return Err(no_such_authenticator());
            };
            event.kind = Kind::AuthenticatorRenamed;
            event.reason = Some(format!("was {}", one.label));
            one.label = label;
            event.authenticator = Some(named(one));
            Ok(())
        })
        .await
    }

    /// Removes an authenticator for good.
    ///
    /// # Errors
    /// As [`Service::rename_authenticator`], and `LastAuthenticator`.
    pub async fn remove_authenticator(&self, caller: Caller, user: &str, authenticator: &str) -> Result<(), Error> {
        let (is_root, by) = (caller.is_root(), caller.clone());
        self.change(caller, user, authenticator, move |record, id, event| {
            let authenticators = &mut record.account.authenticators;
            let others_active = authenticators.iter().any(|one| one.is_in_force(event.at) && one.id != id);
            if !is_root && !others_active {
                return Err(Error::LastAuthenticator(
                    "this is the last active authenticator: enrol another one first, or ask an administrator".into(),
                ));
            }
            let Some(at) = authenticators.iter().position(|one| one.id == id) else {
                return Err(no_such_authenticator());
            };
            let removed = authenticators.remove(at);
            record.account.forget_orphaned_scratch_codes();
            event.kind = Kind::AuthenticatorRemoved;
            event.authenticator = Some(named(&removed));
            let by = By::caller(&by, record.uid);
            pending::change(record, Notice { at: event.at, what: What::Removed(removed.label), by });
            Ok(())
        })
        .await
    }

    /// Replaces all recovery codes.
    ///
    /// # Errors
    /// As [`Service::rename_authenticator`].
    pub async fn new_recovery_codes(&self, caller: Caller, user: &str) -> Result<Vec<String>, Error> {
        let account = self.own_account(&caller, user).await?;
        let fresh = self.verifications().fresh(&caller.connection, &account.name);
        let key = self.store().recovery_key();
        let name = account.name.clone();
        let decided = self.store().decide(&name, Urgency::Login, move |tx| {
            let record = changeable(tx, &caller, &account, fresh)?;
            let codes = recovery_codes::replace(record, &key)?;
            tx.events.push(event(&caller, &account.name, Kind::RecoveryCodes));
            Ok(codes)
        });
        decided.await.map_err(|error| unavailable(&error))?
    }

    /// Runs a change of one authenticator in one transaction, with its audit event.
    async fn change<F>(&self, caller: Caller, user: &str, authenticator: &str, change: F) -> Result<(), Error>
    where
        F: FnOnce(&mut Record, AuthenticatorId, &mut Event) -> Result<(), Error> + Send + 'static,
    {
        let id = authenticator.parse().map_err(|_| no_such_authenticator())?;
        let account = self.own_account(&caller, user).await?;
        let fresh = self.verifications().fresh(&caller.connection, &account.name);
        let name = account.name.clone();
        let decided = self.store().decide(&name, Urgency::Login, move |tx| {
            let record = changeable(tx, &caller, &account, fresh)?;
            let mut event = event(&caller, &account.name, Kind::AuthenticatorRenamed);
            change(record, id, &mut event)?;
            tx.events.push(event);
            Ok(())
        });
        decided.await.map_err(|error| unavailable(&error))?
    }
}

/// The record, if this caller may change the authenticators that it has.
fn changeable<'a>(
    tx: &'a mut Transaction,
    caller: &Caller,
    account: &Account,
    fresh: Option<Fresh>,
) -> Result<&'a mut Record, Error> {
    let Some(record) = tx.record.as_mut().filter(|record| !record.account.authenticators.is_empty()) else {
        return Err(Error::NotEnrolled(format!("{} has no authenticator", account.name)));
    };
    match may_enrol(caller, account, Some(record), fresh, false, &clock::now())? {
        Right::Root | Right::Code => Ok(record),
        Right::First | Right::Replace => Err(verification_required()),
    }
}
