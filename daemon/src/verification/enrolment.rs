//! The part of a verification that enrols: between the questions of `login_enrolment` and the store. Root's PAM services
//! alone get here, for accounts that have nothing yet and that a rule says shall enrol.

use std::sync::Arc;

use dbus_api::{Error, Step};
use tokio::time::Instant;
use verifier::{FactorOf, Unenrolled};

use super::{Open, PATIENCE, store_reason};
use crate::accounts::Account;
use crate::audit::{Event, Kind, Outcome};
use crate::enrollment::named;
use crate::login_enrolment::{self, LoginEnrolment, Next};
use crate::notice::By;
use crate::service::{Service, unavailable};
use crate::store::Urgency;
use crate::{clock, random};

/// The service that `countersign verify` gives: it tries codes, and enrols nobody.
const TOOL: &str = "countersign";

impl Open {
    /// Whether a rule wants an account without an authenticator to enrol in this login. Another caller than root claims
    /// where it comes from; an unknown name is nobody to enrol; and su's first factor is not that of its caller.
    pub(super) fn wants_enrolment(&self) -> bool {
        self.ruling.unenrolled == Unenrolled::Enroll
            && self.ruling.factor_of == FactorOf::Account
            && self.caller.is_root()
            && self.subject.uid.is_some()
            && !matches!(self.origin.service.as_str(), "" | TOOL)
    }
}

impl Service {
    /// Shows a key and asks for a code of it, or refuses where somebody enrols for the account already.
    pub(super) async fn begin_login_enrolment(&self, mut open: Open) -> Result<(u64, Step), Error> {
        let settings = self.settings();
        let Some(uid) = open.subject.uid else { return Err(Error::AccessDenied("an unknown account".into())) };
        let Ok(place) = self.enrollments().take_place(&open.subject.name) else {
            self.record_refusal(&open, "enrolment-busy").await;
            return Ok((0, login_enrolment::busy(&settings.config)));
        };
        let account = Account { name: open.subject.name.clone(), uid };
        let (enrolment, step) = LoginEnrolment::begin(account, place, &settings.config)?;
        let begun = enrolled(&open, Kind::EnrolmentBegun, &enrolment);
        let id = random::id().map_err(|error| Error::Unavailable(error.to_string()))?;
        open.enrolment = Some(enrolment);
        self.verifications().insert(id, open)?;
        self.record(begun).await;
        Ok((id, step))
    }

    /// Takes a reply of somebody who enrols.
    pub(super) async fn respond_enrolling(
        &self,
        id: u64,
        open: Open,
        enrolment: LoginEnrolment,
        reply: &str,
    ) -> Result<Step, Error> {
        let settings = self.settings();
        match enrolment.reply(reply, &clock::now(), &settings.rules.recovery_key, &settings.config)? {
            Next::Ask(enrolment, step) => {
                let again = Open { enrolment: Some(enrolment), ends: Instant::now() + PATIENCE, ..open };
                self.verifications().insert(id, again)?;
                Ok(step)
            }
            Next::Refuse(reason, step) => {
                self.record_refusal(&open, reason).await;
                Ok(step)
            }
            Next::Bind(enrolment) => self.bind(&open, enrolment).await,
        }
    }

    /// One committed transaction: the account is still open to it, authenticator and recovery codes are its own, the
    /// confirming code is spent, the audit says so. Then "granted" leaves the daemon.
    async fn bind(&self, open: &Open, enrolment: LoginEnrolment) -> Result<Step, Error> {
        let confirmed = enrolled(open, Kind::EnrolmentConfirmed, &enrolment);
        let mut granted = enrolled(open, Kind::Verification, &enrolment);
        granted.reason = Some("enrolled at this login".into());
        let name = Arc::<str>::from(open.subject.name.as_str());
        let by = By::login(&open.origin);
        let bound = self.store().decide(&name, Urgency::Login, move |tx| {
            enrolment.bind(tx, &clock::now(), by)?;
            tx.events.extend([confirmed, granted]);
            Ok::<(), login_enrolment::Overtaken>(())
        });
        match bound.await {
            Ok(Ok(())) => {
                self.verifications().forget_phantom(&name);
                Ok(login_enrolment::granted())
            }
            Ok(Err(login_enrolment::Overtaken)) => {
                self.record_refusal(open, "enrolment-overtaken").await;
                Ok(login_enrolment::overtaken(&self.settings().config))
            }
            Err(error) => {
                self.record_refusal(open, store_reason(&error)).await;
                Err(unavailable(&error))
            }
        }
    }
}

/// An event of an enrolment, with where the login comes from and the rule that wanted it.
fn enrolled(open: &Open, kind: Kind, enrolment: &LoginEnrolment) -> Event {
    let authenticator = Some(named(enrolment.authenticator()));
    Event { kind, outcome: Outcome::Granted, authenticator, reason: None, ..open.refused("") }
}
