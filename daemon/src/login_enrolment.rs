//! An enrolment within a login (`unenrolled = "enroll"`): the key is shown, a code of it is typed, recovery codes are
//! shown, and the Enter of somebody who has stored them binds all of it. Until that Enter nothing is kept anywhere but
//! here, so that a login that ends in any other way has enrolled nothing.
//!
//! What is typed comes from whoever passed the first factor; that is all that is known of them.

mod dialogue;

use std::fmt;
use std::sync::Arc;

use dbus_api::{EnrollmentOptions, Error, Step};
use verifier::{Authenticator, Now, RecoveryKey, Reply};

use crate::accounts::Account;
use crate::authenticator;
use crate::config::Config;
use crate::enrollment::{Place, issuer};
use crate::notice::{By, Notice, What, pending};
use crate::recovery_codes::RecoveryCodes;
use crate::store::{Record, Transaction};

/// Replies that are no right code of the new authenticator before the login is refused, and replies that are no
/// Enter.
const TRIES: u32 = 3;

/// An enrolment of a login that is under way.
#[derive(Clone)]
pub(crate) struct LoginEnrolment {
    account: Account,
    authenticator: Authenticator,
    stage: Stage,
    tries_left: u32,
    _place: Arc<Place>,
}

#[derive(Clone)]
enum Stage {
    /// The key was shown: a code of it proves that it arrived.
    Confirm,
    /// The code was right, and these were shown: an Enter says that they are stored.
    Store(RecoveryCodes),
}

/// What follows a reply.
pub(crate) enum Next {
    /// Another question.
    Ask(LoginEnrolment, Step),
    /// The person has everything: it is to be bound now.
    Bind(LoginEnrolment),
    /// The end, for this reason.
    Refuse(&'static str, Step),
}

/// Somebody else bound an authenticator meanwhile, or an administrator closed the account to enrolling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overtaken;

impl LoginEnrolment {
    /// Makes a key and the first question.
    ///
    /// # Errors
    /// `Unavailable` where the kernel gives no random bytes.
    pub(crate) fn begin(account: Account, place: Place, config: &Config) -> Result<(Self, Step), Error> {
        let authenticator = authenticator::make(&[], &EnrollmentOptions::default(), &config.enrolment)?;
        let step = dialogue::offer(&issuer(config), &account.name, &authenticator);
        let begun = Self { account, authenticator, stage: Stage::Confirm, tries_left: TRIES, _place: Arc::new(place) };
        Ok((begun, step))
    }

    /// The new authenticator.
    pub(crate) fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// Takes a reply.
    ///
    /// # Errors
    /// `Unavailable` where the kernel gives no random bytes.
    pub(crate) fn reply(self, reply: &str, now: &Now, key: &RecoveryKey, config: &Config) -> Result<Next, Error> {
        match self.stage {
            Stage::Confirm => self.confirm(&Reply::parse(reply), now, key, config),
            Stage::Store(_) if reply.trim().is_empty() => Ok(Next::Bind(self)),
            Stage::Store(_) => Ok(self.again(dialogue::store_again, config)),
        }
    }

    fn confirm(mut self, reply: &Reply, now: &Now, key: &RecoveryKey, config: &Config) -> Result<Next, Error> {
        if matches!(reply, Reply::BlockedBySshd) {
            return Ok(Next::Refuse("blocked-by-sshd", dialogue::refused(config)));
        }
        if !self.authenticator.confirm(reply, now) {
            return Ok(self.again(dialogue::confirm_again, config));
        }
        let codes = RecoveryCodes::make(key)?;
        let step = dialogue::recovery_codes(&codes.texts);
        Ok(Next::Ask(Self { stage: Stage::Store(codes), tries_left: TRIES, ..self }, step))
    }

    /// Asks once more, as often as that is allowed.
    fn again(mut self, question: fn() -> Step, config: &Config) -> Next {
        self.tries_left = self.tries_left.saturating_sub(1);
        if self.tries_left == 0 {
            return Next::Refuse("enrolment-failed", dialogue::refused(config));
        }
        Next::Ask(self, question())
    }

    /// Binds authenticator and recovery codes within the store's transaction, if the account is still open to it. The
    /// confirming code is spent with that. The next login is told that it happened, and from where: the one who enrolled
    /// here knew the first factor, which need not be the owner.
    ///
    /// # Errors
    /// [`Overtaken`]; the record is as it was.
    pub(crate) fn bind(self, tx: &mut Transaction, now: &Now, by: By) -> Result<(), Overtaken> {
        let Stage::Store(codes) = self.stage else { return Err(Overtaken) };
        let foreign = tx.record.as_ref().is_some_and(|record| record.uid.is_some_and(|uid| uid != self.account.uid));
        if foreign || !is_open(tx.record.as_ref(), now) {
            return Err(Overtaken);
        }
        let mut record = tx.record.take().unwrap_or_else(|| Record::empty(&self.account.name, None));
        record.uid = Some(self.account.uid);
        record.enrolment_until = None;
        record.last_failure = None;
        let what = What::Added(self.authenticator.label.clone());
        pending::change(&mut record, Notice { at: now.wall, what, by });
        let account = &mut record.account;
        account.authenticators.push(Authenticator { last_used: Some(now.wall), ..self.authenticator });
        account.recovery_codes = codes.stored;
        account.throttle.clear();
        account.last_decision = Some(now.wall);
        account.last_granted = Some(now.wall);
        tx.record = Some(record);
        Ok(())
    }
}

impl fmt::Debug for LoginEnrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginEnrolment").field("account", &self.account).finish_non_exhaustive()
    }
}

/// Whether whoever passes the first factor of this account may bind its first authenticator: there never was one, or an
/// administrator allowed it for a time when resetting the account. Where somebody had one and it is gone, only an
/// administrator knows who is who.
pub(crate) fn is_open(record: Option<&Record>, now: &Now) -> bool {
    record.is_none_or(|record| {
        let allowed = record.enrolment_until.is_some_and(|until| now.wall < until);
        allowed && record.account.has_nothing() && record.account.throttle.disabled.is_none()
    })
}

/// What somebody is told whose account is being enrolled by somebody else.
pub(crate) fn busy(config: &Config) -> Step {
    dialogue::busy(config)
}

/// What somebody is told whose account was enrolled meanwhile.
pub(crate) fn overtaken(config: &Config) -> Step {
    dialogue::overtaken(config)
}

/// What somebody is told who has enrolled.
pub(crate) fn granted() -> Step {
    dialogue::granted()
}
