//! Remembered logins in the story of a verification: set by a code of an authenticator in the transaction that spends
//! it, used before anybody is asked. Both for root callers alone: what another says of where it comes from is a claim.

use std::time::Duration;

use dbus_api::Error;
use verifier::{Factor, FactorOf, Now, Place, RuleAction, Verdict, WallTime};

use super::{Open, store_reason};
use crate::clock;
use crate::notice::minute;
use crate::service::{Service, unavailable};
use crate::store::{Record, Urgency};

impl Service {
    /// Whether this login is remembered. What is over by now is forgotten, and the audit told, in one transaction.
    pub(super) async fn recall(&self, open: &Open) -> Result<bool, Error> {
        let verification = open.clone();
        let recalled = self.store().decide(&open.subject.name, Urgency::Login, move |tx| {
            let now = clock::now();
            let record = tx.record.as_mut().filter(|record| verification.subject.owns(record.uid));
            let left = record.and_then(|record| verification.recall_from(record, &now));
            tx.events.extend(left.map(|left| verification.noted(&format!("remembered until {}", end(&now, left)))));
            left.is_some()
        });
        match recalled.await {
            Ok(recalled) => Ok(recalled),
            Err(error) => {
                self.record_coalesced(open.refused(store_reason(&error))).await;
                Err(unavailable(&error))
            }
        }
    }
}

impl Open {
    /// Where this login takes place and for how long it is remembered; `None` where nothing is remembered.
    pub(super) fn remembering(&self) -> Option<(Place, Duration)> {
        let ruling = &self.ruling;
        let own = self.caller.is_root() && !self.origin.claimed && ruling.factor_of == FactorOf::Account;
        if !own || ruling.action != RuleAction::Require || ruling.fresh || ruling.observe {
            return None;
        }
        Some((Place::new(&self.origin.service, ruling.source?)?, ruling.remember?))
    }

    /// How long this login is remembered still; `None` where it is not. What is over is forgotten in the record.
    pub(super) fn recall_from(&self, record: &mut Record, now: &Now) -> Option<Duration> {
        let (place, at_most) = self.remembering()?;
        record.account.recall(&place, at_most, now)
    }

    /// Whether a login from there was remembered. Whether it still counts is decided in a transaction.
    pub(super) fn may_be_remembered(&self, record: &Record) -> bool {
        let place = self.remembering().map(|(place, _)| place);
        record.account.remembered.iter().any(|one| place.as_ref() == Some(&one.place))
    }

    /// Remembers a login that a code of an authenticator let in; says until when. A recovery code is no sign that the
    /// person still has anything that makes codes.
    pub(super) fn remember(&self, record: &mut Record, verdict: Verdict, now: &Now) -> Option<String> {
        let Verdict::Granted(Factor::Authenticator(_)) = verdict else { return None };
        let (place, lasts) = self.remembering()?;
        record.account.remember(place, lasts, now);
        Some(format!("to be remembered until {}", end(now, lasts)))
    }
}

/// The minute in which something that still lasts so long ends.
fn end(now: &Now, left: Duration) -> String {
    let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    minute(WallTime(now.wall.0.saturating_add(left)))
}
