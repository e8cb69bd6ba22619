//! The stories of administrators: looking, unlocking, disabling, resetting.

use std::collections::HashSet;
use std::time::Duration;

use dbus_api::{AccountFilter, AccountPage, AccountState, EnrollmentSummary, Error, MAX_RECORDS, Setting};
use verifier::{AuthenticatorId, WallTime};

use crate::audit::{Event, Kind, Outcome};
use crate::authorizer::Action;
use crate::caller::Caller;
use crate::enrollment::{host_name, named, no_such_authenticator};
use crate::notice::{By, Notice, What, pending};
use crate::policy::{OBSERVED_ALL, OBSERVED_SOME};
use crate::reading::Place;
use crate::service::{Service, unavailable};
use crate::store::{Listed, Record, StoreError, Urgency};
use crate::{clock, summary};

/// The longest name of an account, in bytes.
const LONGEST_NAME: usize = 256;
/// What is said of a name under which nothing is stored.
pub(crate) const NO_NAME: &str = "an account's name has 1 to 256 bytes, none of them a control character";
/// The longest time for which `reset` may allow an account to enrol itself.
const LONGEST_ALLOWANCE: Duration = Duration::from_secs(30 * 86_400);

impl Service {
    /// Lists accounts whose names sort after `after`. Who may read the first page may read on.
    ///
    /// # Errors
    /// `AccessDenied`, `InvalidArgument`, `Unavailable`.
    pub async fn accounts_page(
        &self,
        caller: &Caller,
        filter: &AccountFilter,
        after: &str,
    ) -> Result<AccountPage, Error> {
        let until = self.admit_reader(caller, &Place::Accounts(filter.clone(), after.to_owned())).await?;
        let wanted = match filter.state {
            None => None,
            Some(number) => Some(
                AccountState::from_number(number)
                    .ok_or_else(|| Error::InvalidArgument(format!("{number} is no state of an account")))?,
            ),
        };
        if filter.gone == Some(true) && after.is_empty() {
            // An account that was removed a moment ago shall be seen to be gone.
            self.accounts().forget();
        }
        let listed = self.store().list(after, MAX_RECORDS).await.map_err(|error| unavailable(&error))?;
        let now = clock::now();
        let next = match listed.len() {
            MAX_RECORDS => listed.last().map(|one| one.name().to_owned()).unwrap_or_default(),
            _ => String::new(),
        };
        let lines = listed.iter().map(|one| summary::line(one, &now));
        let mut accounts: Vec<_> =
            lines.filter(|line| wanted.is_none_or(|wanted| line.state == wanted as u32)).collect();
        self.add_deadlines(caller, &mut accounts, &listed).await;
        if filter.gone == Some(true) {
            accounts = self.gone(accounts).await?;
        }
        if !next.is_empty() {
            self.read_on_from(caller, Place::Accounts(filter.clone(), next.clone()), until);
        }
        Ok(AccountPage { accounts, next, observe: self.observed().to_owned() })
    }

    /// Adds until when accounts are to enrol that have nothing enrolled.
    async fn add_deadlines(&self, caller: &Caller, accounts: &mut [dbus_api::Account], listed: &[Listed]) {
        let settings = self.settings();
        let config = &settings.config;
        let nothing = |one: &&Listed| match one {
            Listed::Record(record) => record.account.authenticators.is_empty(),
            Listed::Corrupt { .. } => false,
        };
        let unenrolled: HashSet<&str> = listed.iter().filter(nothing).map(Listed::name).collect();
        if unenrolled.is_empty() || !config.policy.has_deadlines(clock::wall()) {
            return;
        }
        // A name service that does not answer now leaves deadlines out, and the list is shown all the same.
        let names = self.accounts().listed(&caller.connection, config.policy.groups(), config.nss).await;
        let Ok(names) = names else { return };
        for account in accounts.iter_mut().filter(|account| unenrolled.contains(account.name.as_str())) {
            let deadline = self.deadline_of(&account.name, &names).await;
            account.enroll_by = deadline.map(|deadline| deadline.to_string());
        }
    }

    /// Whether the policy, or a rule, asks nobody and only writes down.
    fn observed(&self) -> &'static str {
        let settings = self.settings();
        let policy = &settings.config.policy;
        match policy.rules().iter().any(|rule| rule.observe) {
            _ if policy.observe => OBSERVED_ALL,
            true => OBSERVED_SOME,
            false => "",
        }
    }

    /// One account in full.
    ///
    /// # Errors
    /// `AccessDenied`, `NotEnrolled`, `Unavailable`.
    pub async fn account(&self, caller: &Caller, user: &str) -> Result<EnrollmentSummary, Error> {
        self.admit_administrator(caller, Action::Read).await?;
        let name = self.stored_name(user).await?;
        let record = self.store().read(&name).await.map_err(|error| unavailable(&error))?;
        let record = record.ok_or_else(|| nothing_stored(&name))?;
        Ok(self.with_policy(summary::of(&name, Some(&record), &clock::now())).await)
    }

    /// Lifts a lock; the count of consecutive failures stays.
    ///
    /// # Errors
    /// `AccessDenied`, `NotEnrolled`, `Unavailable`.
    pub async fn unlock(&self, caller: &Caller, user: &str) -> Result<(), Error> {
        self.admit_administrator(caller, Action::Unlock).await?;
        self.administer(caller, user, Kind::Unlock, |record| record.account.throttle.unlock()).await
    }

    /// Refuses every code until the account is enabled.
    ///
    /// # Errors
    /// As [`Service::unlock`].
    pub async fn disable(&self, caller: &Caller, user: &str) -> Result<(), Error> {
        self.admit_administrator(caller, Action::Manage).await?;
        self.administer(caller, user, Kind::Disable, |record| {
            record.account.throttle.disable();
            pending::change(record, Notice { at: clock::wall(), what: What::Disabled, by: By::Administrator });
        })
        .await
    }

    /// Ends the disabling and clears the failures; what waits since a restore works again.
    ///
    /// # Errors
    /// As [`Service::unlock`].
    pub async fn enable(&self, caller: &Caller, user: &str) -> Result<(), Error> {
        self.admit_administrator(caller, Action::Manage).await?;
        self.administer(caller, user, Kind::Enable, |record| {
            record.account.throttle.enable();
            record.account.trust_again();
            record.last_failure = None;
        })
        .await
    }

    /// Refuses the codes of one authenticator until it is enabled.
    ///
    /// # Errors
    /// As [`Service::unlock`].
    pub async fn disable_authenticator(&self, caller: &Caller, user: &str, authenticator: &str) -> Result<(), Error> {
        self.switch_authenticator(caller, user, authenticator, false).await
    }

    /// Accepts the codes of one authenticator again, even where they wait since a restore.
    ///
    /// # Errors
    /// As [`Service::unlock`].
    pub async fn enable_authenticator(&self, caller: &Caller, user: &str, authenticator: &str) -> Result<(), Error> {
        self.switch_authenticator(caller, user, authenticator, true).await
    }

    async fn switch_authenticator(
        &self,
        caller: &Caller,
        user: &str,
        authenticator: &str,
        active: bool,
    ) -> Result<(), Error> {
        self.admit_administrator(caller, Action::Manage).await?;
        let id: AuthenticatorId = authenticator.parse().map_err(|_| no_such_authenticator())?;
        let name = self.stored_name(user).await?;
        let kind = if active { Kind::AuthenticatorEnabled } else { Kind::AuthenticatorDisabled };
        let mut event = administered(caller, &name, kind);
        let account = name.clone();
        let decided = self.store().decide(&name, Urgency::Login, move |tx| {
            let record = tx.record.as_mut().ok_or_else(|| nothing_stored(&account))?;
            let one = record.account.authenticators.iter_mut().find(|one| one.id == id);
            let one = one.ok_or_else(no_such_authenticator)?;
            one.active = active;
            one.suspended &= !active;
            event.authenticator = Some(named(one));
            let label = one.label.clone();
            let what = if active { What::EnabledOne(label) } else { What::DisabledOne(label) };
            pending::change(record, Notice { at: event.at, what, by: By::Administrator });
            tx.events.push(event);
            Ok(())
        });
        decided.await.map_err(|error| unavailable(&error))?
    }

    /// Forgets the remembered logins of an account: from now on a code is asked for everywhere. Whoever the account
    /// belongs to may do so too, without a code: nobody gains by it. Tells how many were forgotten.
    ///
    /// # Errors
    /// As [`Service::unlock`].
    pub async fn forget(&self, caller: &Caller, user: &str) -> Result<u32, Error> {
        let own = self.resolve(user).await?.is_some_and(|account| account.uid == caller.uid);
        if !own {
            self.admit_administrator(caller, Action::Manage).await?;
        }
        let name = self.stored_name(user).await?;
        let mut event = administered(caller, &name, Kind::Forget);
        let account = name.clone();
        let decided = self.store().decide(&name, Urgency::Login, move |tx| {
            let record = tx.record.as_mut().ok_or_else(|| nothing_stored(&account))?;
            let forgotten = u32::try_from(record.account.forget_remembered()).unwrap_or(u32::MAX);
            event.reason = Some(format!("remembered logins: {forgotten}"));
            tx.events.push(event);
            Ok(forgotten)
        });
        decided.await.map_err(|error| unavailable(&error))?
    }

    /// Makes an account forget everything; it may enrol itself within `allow_enrolment` seconds.
    ///
    /// # Errors
    /// As [`Service::unlock`], and `InvalidArgument`.
    pub async fn reset(&self, caller: &Caller, user: &str, allow_enrolment: u64) -> Result<(), Error> {
        self.admit_administrator(caller, Action::Manage).await?;
        if allow_enrolment > LONGEST_ALLOWANCE.as_secs() {
            return Err(Error::InvalidArgument("enrolment may be allowed for 30 days at most".into()));
        }
        let name = self.stored_name(user).await?;
        if !is_storable(&name) {
            return Err(Error::InvalidArgument(NO_NAME.into()));
        }
        let mut event = administered(caller, &name, Kind::Reset);
        event.reason = (allow_enrolment > 0).then(|| format!("enrolment allowed for {allow_enrolment} s"));
        match self.store().read(&name).await {
            Ok(None) if allow_enrolment == 0 => return Err(nothing_stored(&name)),
            // An altered record is removed without being read: this is the way out of it.
            Ok(_) | Err(StoreError::Corrupt { .. }) => {}
            Err(error) => return Err(unavailable(&error)),
        }
        self.store().remove(&name, vec![event]).await.map_err(|error| unavailable(&error))?;
        // What stays says until when the account may enrol itself: without it, `self_enrolment` would let
        // whoever holds the first factor bind a new authenticator at once.
        let until = match allow_enrolment {
            0 => WallTime(0),
            seconds => WallTime::from_seconds(clock::wall().seconds().saturating_add(seconds)),
        };
        let mut record = Record { enrolment_until: Some(until), ..Record::empty(&name, None) };
        pending::change(&mut record, Notice { at: clock::wall(), what: What::Reset, by: By::Administrator });
        let decided = self.store().decide(&name, Urgency::Login, move |tx| tx.record = Some(record));
        decided.await.map_err(|error| unavailable(&error))?;
        self.enrollments().account_ended(&name);
        Ok(())
    }

    /// Forgets an account that the name service does not know any more, whatever state its record is in.
    ///
    /// # Errors
    /// `AccessDenied`; `InvalidArgument` where the name service knows the account; `NotEnrolled` where nothing is
    /// stored; `Unavailable`.
    pub async fn prune(&self, caller: &Caller, user: &str) -> Result<(), Error> {
        self.admit_administrator(caller, Action::Manage).await?;
        // Asked here and now: since the caller saw its list, the account may have come back.
        if !self.is_gone(user).await? {
            return Err(Error::InvalidArgument(format!("the name service knows the account {user:?}: it stays")));
        }
        if matches!(self.store().read(user).await, Ok(None)) {
            return Err(nothing_stored(user));
        }
        let event = administered(caller, user, Kind::Prune);
        self.store().remove(user, vec![event]).await.map_err(|error| unavailable(&error))?;
        self.enrollments().account_ended(user);
        Ok(())
    }

    /// Those of `accounts` that the name service does not know. Whoever is enumerated is known; about everybody
    /// else it is asked, because directories often enumerate nobody.
    async fn gone(&self, accounts: Vec<dbus_api::Account>) -> Result<Vec<dbus_api::Account>, Error> {
        // Where nobody can be enumerated, everybody is asked about.
        let listed = self.accounts().enumerate(self.settings().config.nss).await.unwrap_or_default();
        let mut gone = Vec::new();
        for account in accounts {
            if !listed.contains_key(&account.name) && self.is_gone(&account.name).await? {
                gone.push(account);
            }
        }
        Ok(gone)
    }

    async fn is_gone(&self, name: &str) -> Result<bool, Error> {
        let answer = self.accounts().is_gone(name, self.settings().config.nss).await;
        answer.map_err(|error| Error::Unavailable(format!("{error}, so that nothing can be said about {name:?}")))
    }

    /// The settings in force and where they come from.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub async fn list_settings(&self, caller: &Caller) -> Result<Vec<Setting>, Error> {
        self.admit_administrator(caller, Action::Read).await?;
        let settings = self.settings();
        let config = &settings.config;
        let shown = config.effective(&host_name()).into_iter();
        let keys = shown.map(|(key, value)| Setting { key: key.into(), value, origin: config.origins.origin(key) });
        let rules = config.rules.iter().flat_map(|rule| {
            let keys = rule.effective().into_iter();
            keys.map(|(key, value)| Setting { key, value, origin: rule.origin.clone() })
        });
        let trusted = config.trusted_callers.iter().map(|trusted| trusted.effective());
        let trusted = trusted.map(|(key, value, origin)| Setting { key, value, origin });
        Ok(keys.chain(rules).chain(trusted).collect())
    }

    /// Lets nobody but administrators through. Who else tries is written down, counted where it is one of many.
    ///
    /// # Errors
    /// As [`crate::authorizer::Authorizer::authorize`].
    pub(crate) async fn admit_administrator(&self, caller: &Caller, action: Action) -> Result<(), Error> {
        let allowed = self.authorizer().authorize(caller, action).await;
        if allowed.is_err() {
            let mut event = Event::new(clock::wall(), Kind::Access, Outcome::Refused);
            event.reason = Some("not-administrator".into());
            event.caller_uid = Some(caller.uid);
            self.record_coalesced(event).await;
        }
        allowed
    }

    /// Changes one account's record in one transaction, with its audit event.
    async fn administer<F>(&self, caller: &Caller, user: &str, kind: Kind, change: F) -> Result<(), Error>
    where
        F: FnOnce(&mut Record) + Send + 'static,
    {
        let name = self.stored_name(user).await?;
        let event = administered(caller, &name, kind);
        let account = name.clone();
        let decided = self.store().decide(&name, Urgency::Login, move |tx| {
            let record = tx.record.as_mut().ok_or_else(|| nothing_stored(&account))?;
            change(record);
            tx.events.push(event);
            Ok(())
        });
        decided.await.map_err(|error| unavailable(&error))?
    }

    /// The name under which an account is stored: as the name service spells it, or as it was typed where the
    /// name service does not know it any more, so that what it left can be removed.
    pub(crate) async fn stored_name(&self, user: &str) -> Result<String, Error> {
        Ok(self.resolve(user).await?.map_or_else(|| user.to_owned(), |account| account.name))
    }
}

/// Whether a record can be made under this name.
pub(crate) fn is_storable(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.chars().any(char::is_control)
}

pub(crate) fn administered(caller: &Caller, account: &str, kind: Kind) -> Event {
    let mut event = Event::new(clock::wall(), kind, Outcome::Granted);
    event.account = Some(account.to_owned());
    event.caller_uid = Some(caller.uid);
    event
}

pub(crate) fn nothing_stored(account: &str) -> Error {
    Error::NotEnrolled(format!("nothing is stored for the account {account:?}"))
}
