//! The story of an export: root has the secret of an authenticator shown once more, for a new phone.
//!
//! Beside an enrolment this is the only way out of the daemon for a secret. It is off unless the configuration switches it
//! on, written down before anything is handed out, and told to the account at its next login.

use dbus_api::{Error, Offer};
use verifier::AuthenticatorId;

use crate::administration::{administered, nothing_stored};
use crate::audit::{Event, Kind, Outcome};
use crate::authorizer::Action;
use crate::caller::Caller;
use crate::enrollment::{named, no_such_authenticator};
use crate::notice::{By, Notice, What, pending};
use crate::service::{Service, unavailable};
use crate::store::Urgency;

impl Service {
    /// Hands out the secret of an authenticator.
    ///
    /// # Errors
    /// `AccessDenied`, `NotEnrolled`, `Unavailable`.
    pub async fn export(&self, caller: &Caller, user: &str, authenticator: &str) -> Result<Offer, Error> {
        self.admit_administrator(caller, Action::Export).await?;
        let name = self.stored_name(user).await?;
        let event = administered(caller, &name, Kind::Export);
        if !self.settings().config.admin.export {
            self.record(refused(event, "switched-off")).await;
            return Err(Error::AccessDenied(
                "showing secrets is switched off here: write export = true below [admin] in \
                 /etc/countersign/countersign.toml, then: systemctl reload countersignd"
                    .into(),
            ));
        }
        let Ok(id) = authenticator.parse::<AuthenticatorId>() else {
            self.record(refused(event, "no-such-authenticator")).await;
            return Err(no_such_authenticator());
        };
        let account = name.clone();
        let decided = self.store().decide(&name, Urgency::Login, move |tx| {
            let found = tx.record.as_ref().map(|record| &record.account.authenticators);
            let found = found.into_iter().flatten().find(|one| one.id == id).cloned();
            let (Some(record), Some(one)) = (tx.record.as_mut(), found) else {
                let error = if tx.record.is_some() { no_such_authenticator() } else { nothing_stored(&account) };
                tx.events.push(refused(event, "no-such-authenticator"));
                return Err(error);
            };
            let what = What::Exported(one.label.clone());
            pending::add(&mut record.notices, Notice { at: event.at, what, by: By::Administrator });
            tx.events.push(Event { authenticator: Some(named(&one)), ..event });
            Ok(one)
        });
        let one = decided.await.map_err(|error| unavailable(&error))??;
        Ok(self.offer(&name, &one))
    }
}

fn refused(event: Event, reason: &str) -> Event {
    Event { outcome: Outcome::Refused, reason: Some(reason.to_owned()), ..event }
}
