//! The story of an enrolment: who binds which authenticator to which account, proved by a code of it.
//!
//! The secret leaves the daemon here, once, to the person enrolling (invariant 4), and nowhere else but where root exports
//! it (`exporting.rs`).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dbus_api::{Confirmation, EnrollmentOptions, EnrollmentSummary, Error, Offer};
use verifier::{Authenticator, Now, RecoveryKey, Reply, Standing};

use crate::accounts::Account;
use crate::audit::{Event, Kind, Outcome};
use crate::caller::{Caller, ConnectionKey};
use crate::config::Config;
use crate::notice::{By, Notice, What, pending};
use crate::service::{Service, lock, unavailable};
use crate::store::{Record, Transaction, Urgency};
use crate::verification::Fresh;
use crate::{answer, authenticator, clock, otpauth, random, recovery_codes, summary};

mod changes;

/// How long a pending enrolment waits for its code.
const PATIENCE: Duration = Duration::from_secs(600);
/// Wrong codes that a pending enrolment survives.
const TRIES: u32 = 5;

/// The enrolments under way, one an account, in memory alone.
#[derive(Debug, Default)]
pub struct Enrollments {
    under_way: Arc<Mutex<UnderWay>>,
}

#[derive(Debug, Default)]
struct UnderWay {
    /// Those of the tool.
    pending: HashMap<String, Pending>,
    /// Accounts whose logins enrol.
    at_login: HashSet<String>,
}

impl UnderWay {
    fn has(&self, account: &str) -> bool {
        let pending = self.pending.get(account).is_some_and(|pending| pending.ends > Instant::now());
        pending || self.at_login.contains(account)
    }
}

/// The place of a login that enrols: nobody else enrols for the account until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    under_way: Arc<Mutex<UnderWay>>,
    account: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.under_way).at_login.remove(&self.account);
    }
}

#[derive(Debug)]
struct Pending {
    id: u64,
    caller: Caller,
    account: Account,
    authenticator: Authenticator,
    tries_left: u32,
    ends: Instant,
}

/// Why this caller may change an account's authenticators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    /// Root.
    Root,
    /// The account itself, which has none yet.
    First,
    /// The account itself, which showed a code of one just now.
    Code,
    /// The account itself, which used a recovery code just now: it may replace what it has.
    Replace,
}

impl Enrollments {
    /// Forgets pending enrolments of a connection that is gone.
    pub fn connection_ended(&self, connection: &ConnectionKey) {
        lock(&self.under_way).pending.retain(|_, pending| pending.caller.connection != *connection);
    }

    /// Forgets a pending enrolment of an account.
    pub fn account_ended(&self, account: &str) {
        lock(&self.under_way).pending.remove(account);
    }

    /// Forgets pending enrolments that nobody confirmed in time.
    pub fn sweep(&self) {
        let now = Instant::now();
        lock(&self.under_way).pending.retain(|_, pending| pending.ends > now);
    }

    /// Whether somebody enrols for the account now.
    pub(crate) fn is_under_way(&self, account: &str) -> bool {
        lock(&self.under_way).has(account)
    }

    /// Takes the place for a login that enrols, unless somebody enrols for the account already.
    pub(crate) fn take_place(&self, account: &str) -> Result<Place, Error> {
        let mut under_way = lock(&self.under_way);
        if under_way.has(account) {
            return Err(busy());
        }
        under_way.at_login.insert(account.to_owned());
        Ok(Place { under_way: Arc::clone(&self.under_way), account: account.to_owned() })
    }

    /// Takes a pending enrolment out, so that one code at a time is looked at.
    fn take(&self, connection: &ConnectionKey, id: u64) -> Option<Pending> {
        let pending = &mut lock(&self.under_way).pending;
        let found = pending.iter().find(|(_, one)| one.id == id && one.caller.connection == *connection);
        let account = found.map(|(account, _)| account.clone())?;
        pending.remove(&account).filter(|one| one.ends > Instant::now())
    }

    /// Keeps a pending enrolment, unless somebody else's is under way for the account.
    fn keep(&self, new: Pending) -> Result<(), Error> {
        let mut under_way = lock(&self.under_way);
        if under_way.at_login.contains(&new.account.name) {
            return Err(busy());
        }
        let others = under_way.pending.get(&new.account.name).filter(|old| old.ends > Instant::now());
        if others.is_some_and(|old| old.caller.connection != new.caller.connection) {
            return Err(busy());
        }
        under_way.pending.insert(new.account.name.clone(), new);
        Ok(())
    }
}

impl Service {
    /// Begins an enrolment: makes a secret and hands it out, once.
    ///
    /// # Errors
    /// `AccessDenied`, `UnknownAccount`, `InvalidArgument`, `VerificationRequired`, `Locked`, `Disabled`,
    /// `Busy`, `Unavailable`.
    pub async fn begin_enrolment(
        &self,
        caller: Caller,
        user: &str,
        options: EnrollmentOptions,
    ) -> Result<(u64, Offer), Error> {
        let no_confirm = options.no_confirm.unwrap_or(false);
        if no_confirm && !caller.is_root() {
            return Err(Error::AccessDenied("only root may enrol without confirming a code".into()));
        }
        let account = self.own_account(&caller, user).await?;
        let record = self.store().read(&account.name).await.map_err(|error| unavailable(&error))?;
        self.right(&caller, &account, record.as_ref())?;
        let existing = record.as_ref().map_or(&[][..], |record| &record.account.authenticators);
        let authenticator = authenticator::make(existing, &options, &self.settings().config.enrolment)?;
        let id = random::id().map_err(authenticator::no_randomness)?;
        let offer = self.offer(&account.name, &authenticator);
        let mut begun = event(&caller, &account.name, Kind::EnrolmentBegun);
        begun.authenticator = Some(named(&authenticator));
        let pending =
            Pending { id, caller, account, authenticator, tries_left: TRIES, ends: Instant::now() + PATIENCE };
        if no_confirm {
            let confirmation = self.commit(&pending, None).await?;
            let mut offer = offer;
            offer.recovery_codes = Some(confirmation.recovery_codes.clone());
            return Ok((0, offer));
        }
        self.enrollments().keep(pending)?;
        self.record(begun).await;
        Ok((id, offer))
    }

    /// Activates a pending authenticator if `code` is a right one of it.
    ///
    /// # Errors
    /// `NotFound`, `WrongCode`, and what [`Service::begin_enrolment`] says: the permission is checked again
    /// within the transaction.
    pub async fn confirm_enrolment(
        &self,
        connection: &ConnectionKey,
        id: u64,
        code: &str,
    ) -> Result<Confirmation, Error> {
        let mut pending = self.enrollments().take(connection, id).ok_or_else(no_such_enrolment)?;
        let result = self.commit(&pending, Some(Reply::parse(code))).await;
        pending.tries_left = pending.tries_left.saturating_sub(1);
        if matches!(result, Err(Error::WrongCode(_))) && pending.tries_left > 0 {
            self.enrollments().keep(pending)?;
        }
        result
    }

    /// Forgets a pending enrolment.
    pub async fn cancel_enrolment(&self, connection: &ConnectionKey, id: u64) {
        self.enrollments().take(connection, id);
    }

    /// What the account has.
    ///
    /// # Errors
    /// `AccessDenied`, `UnknownAccount`, `Unavailable`.
    pub async fn enrolled(&self, caller: &Caller, user: &str) -> Result<EnrollmentSummary, Error> {
        let account = self.own_account(caller, user).await?;
        let record = self.store().read(&account.name).await.map_err(|error| unavailable(&error))?;
        Ok(self.with_policy(summary::of(&account.name, record.as_ref(), &clock::now())).await)
    }

    /// Adds what the policy has to say: until when the account is to enrol, where it has nothing enrolled, and whether
    /// it only observes.
    pub(crate) async fn with_policy(&self, mut summary: EnrollmentSummary) -> EnrollmentSummary {
        if summary.authenticators.is_empty() {
            let deadline = self.deadline_of(&summary.account, &self.view().names).await;
            summary.enroll_by = deadline.map(|deadline| deadline.to_string());
        }
        summary.observe = self.observes(&summary.account).await.map(str::to_owned);
        summary
    }

    /// Whether this caller may enrol for this account now.
    fn right(&self, caller: &Caller, account: &Account, record: Option<&Record>) -> Result<Right, Error> {
        let fresh = self.verifications().fresh(&caller.connection, &account.name);
        may_enrol(caller, account, record, fresh, self.settings().config.self_enrolment, &clock::now())
    }

    /// Binds the authenticator in one transaction, if its code is right and the caller still may.
    async fn commit(&self, pending: &Pending, code: Option<Reply>) -> Result<Confirmation, Error> {
        let (caller, account) = (pending.caller.clone(), pending.account.clone());
        let fresh = self.verifications().fresh(&caller.connection, &account.name);
        let self_enrolment = self.settings().config.self_enrolment;
        let key = self.store().recovery_key();
        let mut authenticator = pending.authenticator.clone();
        let decided = self.store().decide(&pending.account.name, Urgency::Login, move |tx| {
            let now = clock::now();
            let right = may_enrol(&caller, &account, tx.record.as_ref(), fresh, self_enrolment, &now)?;
            if code.is_some_and(|code| !authenticator.confirm(&code, &now)) {
                return Err(Error::WrongCode("this is not the code that the new authenticator shows now".into()));
            }
            bind(tx, right, &caller, &account, authenticator, &key)
        });
        let bound = decided.await.map_err(|error| unavailable(&error))??;
        self.verifications().forget_phantom(&pending.account.name);
        Ok(bound)
    }

    pub(crate) fn offer(&self, account: &str, authenticator: &Authenticator) -> Offer {
        let issuer = issuer(&self.settings().config);
        let parameters = authenticator.parameters;
        Offer {
            secret: authenticator.secret.base32().to_string(),
            uri: otpauth::uri(&issuer, account, authenticator).to_string(),
            account: account.to_owned(),
            label: authenticator.label.clone(),
            kind: parameters.kind.name().into(),
            algorithm: parameters.algorithm.name().into(),
            digits: parameters.digits.number().into(),
            period: summary::period(parameters.kind),
            recovery_codes: None,
        }
    }
}

/// Whether this caller may enrol for this account, by the record as it is now.
fn may_enrol(
    caller: &Caller,
    account: &Account,
    record: Option<&Record>,
    fresh: Option<Fresh>,
    self_enrolment: bool,
    now: &Now,
) -> Result<Right, Error> {
    refuse_stranger(account, record)?;
    if caller.is_root() {
        return Ok(Right::Root);
    }
    match record.map(|record| record.account.standing(now)) {
        Some(Standing::Disabled) => return Err(disabled()),
        Some(Standing::Locked(time)) => return Err(locked(time)),
        Some(Standing::Open) | None => {}
    }
    let has_active = record.is_some_and(|record| record.account.authenticators.iter().any(|one| one.is_on()));
    let fresh = fresh.filter(|fresh| record.is_some_and(|record| fresh.holds(&record.account, now.wall)));
    match fresh {
        Some(fresh) if has_active && fresh.by_code() => return Ok(Right::Code),
        Some(_) if has_active => return Ok(Right::Replace),
        _ if has_active => return Err(verification_required()),
        _ => {}
    }
    let allowed_until = record.and_then(|record| record.enrolment_until);
    if self_enrolment && record.is_none() || allowed_until.is_some_and(|until| now.wall < until) {
        return Ok(Right::First);
    }
    Err(Error::AccessDenied("enrolling by yourself is switched off here: ask an administrator".into()))
}

/// A name that belonged to another uid is a stranger's, until an administrator resets the account.
pub(crate) fn refuse_stranger(account: &Account, record: Option<&Record>) -> Result<(), Error> {
    if record.is_some_and(|record| record.uid.is_some_and(|uid| uid != account.uid)) {
        return Err(Error::AccessDenied(format!(
            "this name belonged to another uid: an administrator must run: countersign reset {}",
            account.name
        )));
    }
    Ok(())
}

/// Binds a new authenticator within a transaction.
fn bind(
    tx: &mut Transaction,
    right: Right,
    caller: &Caller,
    account: &Account,
    authenticator: Authenticator,
    key: &RecoveryKey,
) -> Result<Confirmation, Error> {
    let mut record = tx.record.take().unwrap_or_else(|| Record::empty(&account.name, None));
    let label = authenticator.label.clone();
    let result = bind_to(&mut record, right, account, authenticator, key);
    if let Ok((_, removed, _)) = &result {
        let (at, by) = (clock::wall(), By::caller(caller, Some(account.uid)));
        let removed = removed.iter().map(|one| What::Removed(one.label.clone()));
        for what in removed.chain([What::Added(label)]) {
            pending::change(&mut record, Notice { at, what, by: by.clone() });
        }
    }
    tx.record = Some(record);
    let (confirmation, removed, added) = result?;
    for authenticator in removed {
        let mut event = event(caller, &account.name, Kind::AuthenticatorRemoved);
        event.authenticator = Some(named(&authenticator));
        event.reason = Some("replaced".into());
        tx.events.push(event);
    }
    let mut event = event(caller, &account.name, Kind::EnrolmentConfirmed);
    event.authenticator = Some(added);
    tx.events.push(event);
    Ok(confirmation)
}

/// Changes the record; an error leaves it as it was. Tells what was removed, and the new one's id and label.
fn bind_to(
    record: &mut Record,
    right: Right,
    account: &Account,
    mut authenticator: Authenticator,
    key: &RecoveryKey,
) -> Result<(Confirmation, Vec<Authenticator>, String), Error> {
    let authenticators = &record.account.authenticators;
    let replaced = right == Right::Replace;
    if !replaced && authenticators.iter().any(|one| one.label == authenticator.label) {
        return Err(authenticator::label_taken(&authenticator.label));
    }
    if authenticators.len() >= authenticator::MOST && !replaced {
        return Err(authenticator::too_many());
    }
    if authenticators.iter().any(|one| one.id == authenticator.id) {
        authenticator.id = authenticator::free_id(authenticators)?;
    }
    let codes = match record.account.recovery_codes_left() {
        0 => recovery_codes::replace(record, key)?,
        _ => Vec::new(),
    };
    let removed = match replaced {
        true => record.account.authenticators.drain(..).collect(),
        false => Vec::new(),
    };
    record.account.forget_orphaned_scratch_codes();
    let (id, label) = (authenticator.id.to_string(), named(&authenticator));
    record.account.authenticators.push(authenticator);
    record.uid = Some(account.uid);
    record.enrolment_until = None;
    Ok((Confirmation { authenticator: id, recovery_codes: codes }, removed, label))
}

pub(crate) fn event(caller: &Caller, account: &str, kind: Kind) -> Event {
    let mut event = Event::new(clock::wall(), kind, Outcome::Granted);
    event.account = Some(account.to_owned());
    event.caller_uid = Some(caller.uid);
    event
}

/// Id and label of an authenticator, for the audit.
pub(crate) fn named(authenticator: &Authenticator) -> String {
    format!("{} {}", authenticator.id, authenticator.label)
}

/// What authenticator apps show beside the account.
pub(crate) fn issuer(config: &Config) -> String {
    config.issuer.as_ref().map_or_else(host_name, |label| label.0.clone())
}

/// What authenticator apps show where no issuer is set.
pub(crate) fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".into())
}

pub(crate) fn no_such_authenticator() -> Error {
    Error::NotEnrolled("this account has no authenticator of this id".into())
}

fn no_such_enrolment() -> Error {
    Error::NotFound("no such enrolment is pending on this connection: begin anew".into())
}

fn busy() -> Error {
    Error::Busy("somebody is enrolling for this account right now".into())
}

fn verification_required() -> Error {
    Error::VerificationRequired("a code of an authenticator that you have must be verified first".into())
}

pub(crate) fn disabled() -> Error {
    Error::Disabled("codes are disabled for this account: ask an administrator".into())
}

pub(crate) fn locked(time: Duration) -> Error {
    Error::Locked(format!("too many wrong codes: try again in {} s", answer::whole_seconds(time)))
}
