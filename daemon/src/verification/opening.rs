//! What comes before the first question of a verification: the rule that decides, the source, how the account stands.
//! An origin is believed from root alone; what cannot be found out refuses.

use dbus_api::{Error, Message, Step};
use verifier::{Reason, RuleAction, Standing, Unenrolled};

use super::{Open, Subject, reason_name, refused, store_reason};
use crate::audit::{Event, Origin};
use crate::caller::Caller;
use crate::policy::Ruling;
use crate::service::{Service, Settings, lock, unavailable};
use crate::{answer, clock, login_enrolment};

/// What comes before the first question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Nobody is asked and the login goes on; why, and what is said about it.
    Skip(&'static str, Vec<Message>),
    /// Nobody is asked and the login ends; why, and what is said about it.
    Refuse(&'static str, Step),
    /// Nobody is asked and the login goes on: it is remembered, and the audit was told so.
    Remembered,
    /// Somebody enrols.
    Enrol,
    /// Somebody is asked; what would have become of it where the policy only observes.
    Ask(&'static str),
}

/// How an account stands before it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Presence {
    standing: Standing,
    /// Whether there is nothing that could verify it: no authenticator, not even one that is off, and no recovery code.
    unenrolled: bool,
    /// Whether a login from there was remembered; whether it still counts is not looked at yet.
    remembered: bool,
    /// Whether whoever passes the first factor may bind the first authenticator, where a rule wants that.
    may_enrol: bool,
}

impl Service {
    /// What the policy says about this login. Where that cannot be found out, it is refused and nothing charged.
    pub(super) async fn ruling(&self, caller: &Caller, subject: &Subject, origin: &Origin) -> Result<Ruling, Error> {
        match self.rule_for(caller, &subject.name, subject.uid.is_some(), origin).await {
            Ok(ruling) => Ok(ruling),
            Err(error) => {
                self.record_coalesced(refused(&subject.name, origin, caller.uid, "name-service")).await;
                Err(Error::Unavailable(error.to_string()))
            }
        }
    }

    /// The account that asks for the login, as root's service names it (`PAM_RUSER`). Beside a remote host it would be
    /// an account of that host.
    pub(super) async fn who_asks(
        &self,
        caller: &Caller,
        login_to: &Subject,
        origin: &Origin,
        ruling: &Ruling,
    ) -> Result<Subject, Error> {
        let refused = |reason| {
            let event = refused(&login_to.name, origin, caller.uid, reason);
            Event { rule: ruling.rule.clone(), ..event }
        };
        if origin.ruser.is_empty() || !origin.rhost.is_empty() {
            self.record(refused("no-ruser")).await;
            return Err(Error::Unavailable("this service does not say which account of this host asks".into()));
        }
        match self.resolve(&origin.ruser).await {
            Ok(Some(account)) => Ok(Subject { name: account.name, uid: Some(account.uid) }),
            Ok(None) => Ok(Subject { name: origin.ruser.clone(), uid: None }),
            Err(error) => {
                self.record_coalesced(refused("name-service")).await;
                Err(error)
            }
        }
    }

    /// What comes before the first question: by the policy, by where the login comes from, by how the account stands.
    pub(super) async fn opening(&self, open: &Open, settings: &Settings) -> Result<Opening, Error> {
        if open.ruling.action == RuleAction::Skip {
            return Ok(Opening::Skip("skipped", Vec::new()));
        }
        if let Some(time) = self.source_refused_for(open) {
            return Ok(Opening::Refuse("source", answer::source_refused(time, &settings.config)));
        }
        let Presence { standing, unenrolled, may_enrol, remembered } = self.presence(open).await?;
        match open.ruling.unenrolled {
            Unenrolled::Pass if unenrolled => return Ok(Opening::Skip("passed", Vec::new())),
            Unenrolled::Remind if unenrolled => {
                return Ok(Opening::Skip("reminded", vec![answer::remind(open.ruling.enroll_by)]));
            }
            _ => {}
        }
        if let Some(reason) = closed(standing) {
            return Ok(Opening::Refuse(reason, answer::closed(standing, &settings.config)));
        }
        if may_enrol && open.wants_enrolment() {
            return Ok(Opening::Enrol);
        }
        if remembered && self.recall(open).await? {
            return Ok(Opening::Remembered);
        }
        Ok(Opening::Ask(match open.is_denied() {
            true => "would-refuse-denied",
            false if unenrolled => "would-refuse-not-enrolled",
            false => "would-ask",
        }))
    }

    /// How the account stands. Whoever the policy denies stands as an account without a record.
    async fn presence(&self, open: &Open) -> Result<Presence, Error> {
        let record = match self.store().read(&open.subject.name).await {
            Ok(record) => record,
            Err(error) => {
                self.record_coalesced(open.refused(store_reason(&error))).await;
                return Err(unavailable(&error));
            }
        };
        let now = clock::now();
        let stranger = record.as_ref().is_some_and(|record| !open.subject.owns(record.uid));
        let may_enrol = !stranger && !open.is_denied() && login_enrolment::is_open(record.as_ref(), &now);
        match record.filter(|_| !stranger && !open.is_denied()) {
            Some(record) => Ok(Presence {
                standing: open.standing(&record.account, &now, &self.settings()),
                unenrolled: record.account.has_nothing() && record.account.standing(&now) != Standing::Disabled,
                remembered: open.may_be_remembered(&record),
                may_enrol,
            }),
            None => Ok(Presence {
                standing: lock(&self.verifications().phantoms).standing(&open.subject.name, &now),
                unenrolled: !stranger && !open.is_denied(),
                remembered: false,
                may_enrol,
            }),
        }
    }
}

impl Opening {
    /// What would have happened, where the policy only observes.
    pub(super) fn would(&self) -> &'static str {
        match self {
            Self::Skip("reminded", _) => "would-remind",
            Self::Skip("passed", _) => "would-pass",
            Self::Skip(..) | Self::Remembered => "skipped",
            Self::Refuse("locked", _) => "would-refuse-locked",
            Self::Refuse("disabled", _) => "would-refuse-disabled",
            Self::Refuse("unasked", _) => "would-refuse-unasked",
            Self::Refuse(..) => "would-refuse-source",
            Self::Enrol => "would-enroll",
            Self::Ask(would) => would,
        }
    }
}

fn closed(standing: Standing) -> Option<&'static str> {
    match standing {
        Standing::Open => None,
        Standing::Locked(_) => Some(reason_name(Reason::Locked)),
        Standing::Disabled => Some(reason_name(Reason::Disabled)),
    }
}
