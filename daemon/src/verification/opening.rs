//! What comes before the first question of a verification: the rule that decides, the source, how the account stands.
//! An origin is believed from root alone; what cannot be found out refuses.

use dbus_api::{Error, Message, Step};
use tokio::time::Instant;
use verifier::{FactorOf, Reason, RuleAction, Standing, Unenrolled};

use super::{Open, PATIENCE, Subject, reason_name, refused, store_reason};
use crate::answer::Tries;
use crate::audit::{Event, Kind, Origin};
use crate::caller::Caller;
use crate::policy::{View, rule_for};
use crate::service::{Service, Settings, lock, not_yours, unavailable};
use crate::store::{Record, StoreError};
use crate::{answer, clock, login_enrolment};

/// What the store said about an account.
type Read = Result<Option<Record>, StoreError>;

/// What comes before the first question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Nobody is asked and the login goes on; why, and what is said about it.
    Skip(&'static str, Vec<Message>),
    /// Nobody is asked and the login ends; why, and what is said about it.
    Refuse(&'static str, Step),
    /// A login from there was remembered: where it still counts when it is used, nobody is asked.
    Recall,
    /// Somebody enrols.
    Enrol,
    /// Somebody is asked; why no reply is right, where none is.
    Ask(Option<&'static str>),
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
    /// Why no reply is right; `None` where one can be.
    hopeless: Option<&'static str>,
}

/// A login that is refused before it is known how its account stands: the caller may not, or something could not be
/// found out.
#[derive(Debug)]
pub(super) struct Stopped {
    /// What the audit is told of it; nothing where the caller has too much under way.
    pub(super) event: Option<Event>,
    /// What the caller is told.
    pub(super) error: Error,
}

impl Service {
    /// Finds out about a login that takes place now all that is known before the first question. What stops it is
    /// written down.
    ///
    /// # Errors
    /// As [`Service::begin_verification`].
    pub(super) async fn arrive(
        &self,
        caller: Caller,
        user: &str,
        origin: dbus_api::Origin,
        settings: &Settings,
    ) -> Result<(Open, Opening), Error> {
        match self.foresee(caller, user, origin, settings, &self.view()).await {
            Ok(arrived) => Ok(arrived),
            Err(stopped) => {
                if let Some(event) = stopped.event {
                    self.record_coalesced(event).await;
                }
                Err(stopped.error)
            }
        }
    }

    /// Finds out the same, and leaves no trace of it: whose login it is, whether this caller may ask, what the policy
    /// says, and what comes before the first question.
    pub(super) async fn foresee(
        &self,
        caller: Caller,
        user: &str,
        origin: dbus_api::Origin,
        settings: &Settings,
        view: &View,
    ) -> Result<(Open, Opening), Stopped> {
        // Most names are spelled as the name service spells them: it is asked and the store is read at once.
        let early = async {
            match caller.is_root() {
                true => Some(self.store().read(user).await),
                false => None,
            }
        };
        let (open, early) = tokio::join!(self.open(caller.clone(), user, origin, settings, view), early);
        let open = open?;
        let early = early.filter(|_| open.subject.name == user);
        let opening = self.opening(&open, early, settings).await?;
        Ok((open, opening))
    }

    /// Finds out whose login it is, whether this caller may ask, and what the policy says.
    async fn open(
        &self,
        caller: Caller,
        user: &str,
        origin: dbus_api::Origin,
        settings: &Settings,
        view: &View,
    ) -> Result<Open, Stopped> {
        let origin = audited(origin, &caller);
        let subject = self.subject(&caller, user, &origin, settings, view).await?;
        self.verifications().admit(&caller).map_err(|error| Stopped { event: None, error })?;
        let known = (subject.name.as_str(), subject.uid.is_some());
        let ruling = rule_for(&settings.config, view, &caller, known, &origin).await;
        let ruling = ruling.map_err(|error| {
            Stopped::unknowable(&refused(&subject.name, &origin, caller.uid, ""), "name-service", error)
        })?;
        let (subject, login_to) = match ruling.factor_of {
            FactorOf::Ruser if caller.is_root() => {
                let refused = refused(&subject.name, &origin, caller.uid, "");
                let refused = Event { rule: ruling.rule.clone(), ..refused };
                (who_asks(&origin, &refused, settings, view).await?, Some(subject))
            }
            _ => (subject, None),
        };
        let tries = Tries::of(ruling.tries.unwrap_or(settings.config.tries.0));
        let ends = Instant::now() + PATIENCE;
        Ok(Open { caller, subject, login_to, origin, ruling, tries, ends, enrolment: None })
    }

    /// Finds out whose login it is and whether this caller may ask.
    async fn subject(
        &self,
        caller: &Caller,
        user: &str,
        origin: &Origin,
        settings: &Settings,
        view: &View,
    ) -> Result<Subject, Stopped> {
        let event = refused(user, origin, caller.uid, "");
        let account = view.names.resolve(user, settings.config.nss).await;
        let account = account.map_err(|error| Stopped::unknowable(&event, "name-service", error))?;
        let any = caller.is_root() || self.is_trusted(caller, &origin.service);
        match account {
            Some(account) if any || account.uid == caller.uid => {
                Ok(Subject { name: account.name, uid: Some(account.uid) })
            }
            None if any => Ok(Subject { name: user.to_owned(), uid: None }),
            _ => {
                let event = Event { kind: Kind::Access, reason: Some("not-own-account".into()), ..event };
                Err(Stopped { event: Some(event), error: not_yours() })
            }
        }
    }

    /// What comes before the first question: by the policy, by where the login comes from, by how the account stands.
    /// `early` is the account's record, where it was read already.
    async fn opening(&self, open: &Open, early: Option<Read>, settings: &Settings) -> Result<Opening, Stopped> {
        if open.ruling.action == RuleAction::Skip {
            return Ok(Opening::Skip("skipped", Vec::new()));
        }
        if let Some(time) = self.source_refused_for(open) {
            return Ok(Opening::Refuse("source", answer::source_refused(time, &settings.config)));
        }
        let Presence { standing, unenrolled, may_enrol, remembered, hopeless } =
            self.presence(open, early, settings).await?;
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
        Ok(if remembered { Opening::Recall } else { Opening::Ask(hopeless) })
    }

    /// How the account stands. Whoever the policy denies stands as an account without a record.
    async fn presence(&self, open: &Open, early: Option<Read>, settings: &Settings) -> Result<Presence, Stopped> {
        let record = match early {
            Some(record) => record,
            None => self.store().read(&open.subject.name).await,
        };
        let record = record
            .map_err(|error| Stopped { event: Some(open.refused(store_reason(&error))), error: unavailable(&error) })?;
        let now = clock::now();
        let stranger = record.as_ref().is_some_and(|record| !open.subject.owns(record.uid));
        let may_enrol = !stranger && !open.is_denied() && login_enrolment::is_open(record.as_ref(), &now);
        match record.filter(|_| !stranger && !open.is_denied()) {
            Some(record) => Ok(Presence {
                standing: open.standing(&record.account, &now, settings),
                unenrolled: record.account.has_nothing() && record.account.standing(&now) != Standing::Disabled,
                remembered: open.may_be_remembered(&record),
                may_enrol,
                hopeless: record.account.hopeless(&now).map(reason_name),
            }),
            None => Ok(Presence {
                standing: lock(&self.verifications().phantoms).standing(&open.subject.name, &now),
                unenrolled: !stranger && !open.is_denied(),
                remembered: false,
                may_enrol,
                hopeless: Some(open.without_factor(stranger)),
            }),
        }
    }
}

impl Stopped {
    /// Something could not be found out, for this reason.
    fn unknowable(event: &Event, reason: &str, error: impl std::fmt::Display) -> Self {
        let event = Event { reason: Some(reason.to_owned()), ..event.clone() };
        Self { event: Some(event), error: Error::Unavailable(error.to_string()) }
    }
}

/// The account that asks for the login, as root's service names it (`PAM_RUSER`). Beside a remote host it would be an
/// account of that host.
async fn who_asks(origin: &Origin, refused: &Event, settings: &Settings, view: &View) -> Result<Subject, Stopped> {
    if origin.ruser.is_empty() || !origin.rhost.is_empty() {
        let why = "this service does not say which account of this host asks";
        return Err(Stopped::unknowable(refused, "no-ruser", why));
    }
    match view.names.resolve(&origin.ruser, settings.config.nss).await {
        Ok(Some(account)) => Ok(Subject { name: account.name, uid: Some(account.uid) }),
        Ok(None) => Ok(Subject { name: origin.ruser.clone(), uid: None }),
        Err(error) => Err(Stopped::unknowable(refused, "name-service", error)),
    }
}

fn audited(origin: dbus_api::Origin, caller: &Caller) -> Origin {
    Origin {
        service: origin.service.unwrap_or_default(),
        tty: origin.tty.unwrap_or_default(),
        rhost: origin.rhost.unwrap_or_default(),
        ruser: origin.ruser.unwrap_or_default(),
        claimed: !caller.is_root(),
    }
}

impl Opening {
    /// What would have happened, where the policy only observes.
    pub(super) fn would(&self) -> &'static str {
        match self {
            Self::Skip("reminded", _) => "would-remind",
            Self::Skip("passed", _) => "would-pass",
            Self::Skip(..) | Self::Recall => "skipped",
            Self::Refuse("locked", _) => "would-refuse-locked",
            Self::Refuse("disabled", _) => "would-refuse-disabled",
            Self::Refuse("unasked", _) => "would-refuse-unasked",
            Self::Refuse(..) => "would-refuse-source",
            Self::Enrol => "would-enroll",
            Self::Ask(Some("denied")) => "would-refuse-denied",
            // A clock that is put right lets in.
            Self::Ask(None | Some("clock-backwards")) => "would-ask",
            Self::Ask(Some(_)) => "would-refuse-not-enrolled",
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
