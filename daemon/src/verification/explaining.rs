//! What would become of a login: found out by what a login itself goes through before its first question, told instead of
//! done. Nothing is charged, spent, remembered or written down here.

use dbus_api::{Error, Explanation, LoginOutcome, MAX_RECORDS, Origin, Rehearsed, Step, Supposition};
use verifier::WallTime;

use super::opening::{Opening, Stopped};
use super::{Open, Subject};
use crate::accounts::Names;
use crate::answer::whole_seconds;
use crate::authorizer::Action;
use crate::caller::{Caller, ConnectionKey};
use crate::config::{Config, Zone};
use crate::policy::{View, occasion};
use crate::reading::Place;
use crate::service::{Service, Settings, unavailable};
use crate::store::StoreError;
use crate::{clock, explanation, login_enrolment};

/// The reason of a login that is refused because too many are under way. The audit is not told of those.
const TOO_MANY: &str = "limit";

impl Service {
    /// What would become of this login, and why.
    ///
    /// # Errors
    /// `AccessDenied`, `InvalidArgument`. What stops the login is no error: it is told.
    pub async fn explain(
        &self,
        caller: &Caller,
        user: &str,
        origin: Origin,
        supposition: &Supposition,
    ) -> Result<Explanation, Error> {
        self.admit_administrator(caller, Action::Read).await?;
        let settings = self.settings();
        let view = View { at: moment(supposition, &settings.config)?, ..self.view() };
        let (mut told, open) = self.look(user, origin, supposition, &settings, &view).await;
        let Some(open) = open else { return Ok(told) };
        self.add_account(&mut told, &open).await?;
        let Subject { name, uid } = open.login_to.as_ref().unwrap_or(&open.subject);
        let config = &settings.config;
        let occasion = occasion(config, view.at, &open.caller, (name, uid.is_some()), &open.origin);
        let login = explanation::Login { account: name, origin: &open.origin, occasion: &occasion };
        told.passed_over = explanation::passed_over(config, login, &open.ruling.member_of);
        told.rule_origin = open.ruling.rule.as_ref().and_then(|rule| explanation::origin_of(config, rule));
        Ok(told)
    }

    /// What would become of the same login of each of these accounts. Whoever was let through may rehearse on.
    ///
    /// # Errors
    /// `AccessDenied`, `InvalidArgument`; `Unavailable` where the name service does not list its accounts in time.
    pub async fn rehearse(
        &self,
        caller: &Caller,
        users: &[String],
        origin: Origin,
        supposition: &Supposition,
    ) -> Result<Vec<Rehearsed>, Error> {
        let place = Place::Rehearsal(origin.clone(), supposition.clone());
        let until = self.admit_reader(caller, &place).await?;
        if users.len() > MAX_RECORDS {
            return Err(Error::InvalidArgument(format!("at most {MAX_RECORDS} accounts a call")));
        }
        let settings = self.settings();
        let at = moment(supposition, &settings.config)?;
        let view = View { at, names: self.names(caller, supposition, &settings).await? };
        let mut rehearsed = Vec::with_capacity(users.len());
        for user in users {
            let (told, _) = self.look(user, origin.clone(), supposition, &settings, &view).await;
            let Explanation { outcome, let_in, observe, reason, rule, .. } = told;
            rehearsed.push(Rehearsed { account: user.clone(), outcome, let_in, observe, reason, rule });
        }
        self.read_on_from(caller, place, until);
        Ok(rehearsed)
    }

    /// By whose word accounts and groups are known in a rehearsal.
    async fn names(&self, caller: &Caller, supposition: &Supposition, settings: &Settings) -> Result<Names, Error> {
        if supposition.each == Some(true) {
            return Ok(Names::Asked(self.accounts().clone()));
        }
        let config = &settings.config;
        let names = self.accounts().listed(&caller.connection, config.policy.groups(), config.nss).await;
        names.map_err(|error| Error::Unavailable(error.to_string()))
    }

    /// Goes the way of a login up to its first question, and says what stands there.
    async fn look(
        &self,
        user: &str,
        origin: Origin,
        supposition: &Supposition,
        settings: &Settings,
        view: &View,
    ) -> (Explanation, Option<Open>) {
        let told = Explanation { account: user.to_owned(), at: view.at.seconds(), ..Explanation::default() };
        let caller = match self.supposed_caller(user, supposition, settings, view).await {
            Ok(caller) => caller,
            Err(reason) => return (refused(told, reason), None),
        };
        match self.foresee(caller, user, origin, settings, view).await {
            Ok((open, opening)) => (self.told(told, &open, opening, settings).await, Some(open)),
            Err(Stopped { event, .. }) => {
                let reason = event.as_ref().and_then(|event| event.reason.clone());
                let rule = event.and_then(|event| event.rule);
                (Explanation { rule, ..refused(told, reason.as_deref().unwrap_or(TOO_MANY)) }, None)
            }
        }
    }

    /// Who would ask: a service of root's, or a program of the account's own. Where there can be none, why it is
    /// refused.
    async fn supposed_caller(
        &self,
        user: &str,
        supposition: &Supposition,
        settings: &Settings,
        view: &View,
    ) -> Result<Caller, &'static str> {
        let mut uid = 0;
        if supposition.claimed == Some(true) {
            let account = view.names.resolve(user, settings.config.nss).await.map_err(|_| "name-service")?;
            uid = account.ok_or("not-own-account")?.uid;
        }
        // No connection has this number.
        Caller::new(uid, ConnectionKey::Private(u64::MAX)).map_err(|_| "not-own-account")
    }

    /// What the person would see and what would become of it.
    async fn told(&self, told: Explanation, open: &Open, opening: Opening, settings: &Settings) -> Explanation {
        let ruling = &open.ruling;
        let to = open.login_to.as_ref().unwrap_or(&open.subject);
        let mut told = Explanation {
            account: to.name.clone(),
            uid: to.uid,
            rule: ruling.rule.clone(),
            enroll_by: ruling.enroll_by.map(|deadline| deadline.to_string()),
            code_of: open.login_to.as_ref().map(|_| open.subject.name.clone()),
            ..told
        };
        let prompt = || vec![settings.config.prompt.0.clone()];
        let (outcome, reason, shown) = match opening {
            Opening::Skip(reason, messages) => {
                let outcome = match reason {
                    "reminded" => LoginOutcome::Reminded,
                    "passed" => LoginOutcome::Passed,
                    _ => LoginOutcome::Skipped,
                };
                (outcome, None, messages.iter().map(|message| message.text.clone()).collect())
            }
            Opening::Refuse(reason, step) => {
                told.retry_after = step.details.retry_after;
                (LoginOutcome::Refused, Some(reason), texts(&step))
            }
            Opening::Recall => match self.recalled(open).await {
                Some(left) => {
                    told.remembered_for = Some(left);
                    (LoginOutcome::Remembered, None, Vec::new())
                }
                None => (LoginOutcome::Asked, None, prompt()),
            },
            Opening::Enrol if self.enrollments().is_under_way(&open.subject.name) => {
                (LoginOutcome::Refused, Some("enrolment-busy"), texts(&login_enrolment::busy(&settings.config)))
            }
            Opening::Enrol => (LoginOutcome::Enrols, None, Vec::new()),
            Opening::Ask(None) => (LoginOutcome::Asked, None, prompt()),
            Opening::Ask(Some(reason)) => {
                told.asked = true;
                (LoginOutcome::Refused, Some(reason), prompt())
            }
        };
        told.outcome = outcome as u32;
        told.reason = reason.map(str::to_owned);
        told.observe = ruling.observe;
        told.let_in = ruling.observe || outcome != LoginOutcome::Refused;
        told.asked = !ruling.observe && (told.asked || matches!(outcome, LoginOutcome::Asked | LoginOutcome::Enrols));
        told.tries = told.asked.then(|| open.tries.left());
        told.shown = if ruling.observe { Vec::new() } else { shown };
        told
    }

    /// Seconds for which this login is remembered still, by a copy of the account's record.
    async fn recalled(&self, open: &Open) -> Option<u64> {
        let mut record = self.store().read(&open.subject.name).await.ok()??;
        open.recall_from(&mut record, &clock::now()).map(whole_seconds)
    }

    /// Adds what the account has whose code is asked for.
    async fn add_account(&self, told: &mut Explanation, open: &Open) -> Result<(), Error> {
        let record = match self.store().read(&open.subject.name).await {
            Ok(record) => record,
            // A rule may skip an account whose record was altered.
            Err(StoreError::Corrupt { .. }) => return Ok(()),
            Err(error) => return Err(unavailable(&error)),
        };
        let account = record.filter(|record| open.subject.owns(record.uid)).map(|record| record.account);
        let account = account.unwrap_or_default();
        let now = clock::wall();
        let active = account.authenticators.iter().filter(|authenticator| authenticator.is_in_force(now)).count();
        told.authenticators = Some(u32::try_from(active).unwrap_or(u32::MAX));
        told.recovery_codes_left = Some(account.recovery_codes_left());
        Ok(())
    }
}

/// The moment that is looked at.
fn moment(supposition: &Supposition, config: &Config) -> Result<WallTime, Error> {
    let Some(text) = &supposition.at else { return Ok(clock::wall()) };
    // Where no rule needed the zone, it was not read.
    let zone = match config.zone == Zone::default() {
        true => Zone::of_host().unwrap_or_default(),
        false => config.zone.clone(),
    };
    zone.instant(text).ok_or_else(|| {
        Error::InvalidArgument(
            "a moment is written as 2027-01-31 or 2027-01-31T08:00, with a Z at its end for UTC".into(),
        )
    })
}

fn refused(told: Explanation, reason: &str) -> Explanation {
    Explanation { outcome: LoginOutcome::Refused as u32, reason: Some(reason.to_owned()), ..told }
}

fn texts(step: &Step) -> Vec<String> {
    step.messages.iter().map(|message| message.text.clone()).collect()
}
