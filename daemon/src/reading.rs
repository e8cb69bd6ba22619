//! Readings that go over several calls: what polkit allowed once is read to its end without asking anew for each page.
//!
//! What it was allowed for is all that goes on: the same list, with the same filter, from the very place at which the
//! last page ended, on the same connection, once, for five minutes. Everything else is asked about.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dbus_api::{AccountFilter, AuditFilter, Error, Origin, Supposition};

use crate::authorizer::Action;
use crate::caller::{Caller, ConnectionKey};
use crate::service::{Service, lock};

/// How long after it was allowed a reading may go on.
const ALLOWANCE: Duration = Duration::from_secs(300);

/// Where a reading stands: what is read, and after what the next page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The accounts that this filter lets through, after this name.
    Accounts(AccountFilter, String),
    /// The records that this filter lets through, after this number.
    Audit(AuditFilter, u64),
    /// The comparison of a syslog copy with the audit that was checked.
    Comparison,
    /// What would become of this login of many accounts.
    Rehearsal(Origin, Supposition),
}

/// Until when a reading that was allowed may go on; `None` for root, who may anyway.
pub(crate) type Until = Option<Instant>;

/// The readings under way, one a connection at most. They end with their connections.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    under_way: Mutex<HashMap<ConnectionKey, (Place, Instant)>>,
}

impl Readings {
    /// Whether this connection's reading goes on at `place`, and until when. It can be asked once: who reads on says so
    /// by [`Readings::keep`].
    fn resume(&self, connection: &ConnectionKey, place: &Place, now: Instant) -> Until {
        let mut under_way = lock(&self.under_way);
        let (kept, until) = under_way.get(connection)?;
        if kept != place {
            return None;
        }
        let until = *until;
        under_way.remove(connection);
        (now < until).then_some(until)
    }

    fn keep(&self, connection: &ConnectionKey, place: Place, until: Instant, now: Instant) {
        let mut under_way = lock(&self.under_way);
        // A call may end after its connection did.
        under_way.retain(|_, (_, until)| now < *until);
        under_way.insert(connection.clone(), (place, until));
    }

    /// Forgets what this connection was reading.
    pub(crate) fn connection_ended(&self, connection: &ConnectionKey) {
        lock(&self.under_way).remove(connection);
    }
}

impl Service {
    /// Lets a caller read at `place`: whose reading goes on there, and whom the authorizer lets.
    ///
    /// # Errors
    /// As [`Service::admit_administrator`].
    pub(crate) async fn admit_reader(&self, caller: &Caller, place: &Place) -> Result<Until, Error> {
        if !caller.is_root() {
            let until = self.readings().resume(&caller.connection, place, Instant::now());
            if until.is_some() {
                return Ok(until);
            }
        }
        self.admit_administrator(caller, Action::Read).await?;
        Ok((!caller.is_root()).then(|| Instant::now() + ALLOWANCE))
    }

    /// What was read ends before `place`: the caller may go on there.
    pub(crate) fn read_on_from(&self, caller: &Caller, place: Place, until: Until) {
        if let Some(until) = until {
            self.readings().keep(&caller.connection, place, until, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(name: &str) -> ConnectionKey {
        ConnectionKey::Bus(0, name.into())
    }

    fn after(name: &str) -> Place {
        Place::Accounts(AccountFilter::default(), name.to_owned())
    }

    #[test]
    fn a_reading_goes_on_once_at_its_place_on_its_connection_in_its_time() {
        let readings = Readings::default();
        let now = Instant::now();
        let until = now + ALLOWANCE;
        readings.keep(&on(":1.7"), after("mia"), until, now);
        let locked = AccountFilter { state: Some(2), ..AccountFilter::default() };
        for other in [
            after(""),
            after("miaa"),
            Place::Accounts(locked, "mia".to_owned()),
            Place::Audit(AuditFilter::default(), 0),
            Place::Comparison,
        ] {
            assert_eq!(readings.resume(&on(":1.7"), &other, now), None, "{other:?}");
        }
        assert_eq!(readings.resume(&on(":1.8"), &after("mia"), now), None);
        assert_eq!(readings.resume(&ConnectionKey::Bus(1, ":1.7".into()), &after("mia"), now), None);
        assert_eq!(readings.resume(&on(":1.7"), &after("mia"), now), Some(until));
        assert_eq!(readings.resume(&on(":1.7"), &after("mia"), now), None, "once");
        readings.keep(&on(":1.7"), after("zoe"), until, now);
        assert_eq!(readings.resume(&on(":1.7"), &after("zoe"), until), None, "too late");
        readings.keep(&on(":1.8"), after("ann"), until, now);
        readings.keep(&on(":1.9"), after("bob"), until + ALLOWANCE, until);
        assert_eq!(lock(&readings.under_way).len(), 1, "nothing is kept of what came too late");
    }

    #[test]
    fn a_reading_ends_with_its_connection() {
        let readings = Readings::default();
        let now = Instant::now();
        readings.keep(&on(":1.7"), after("mia"), now + ALLOWANCE, now);
        readings.connection_ended(&on(":1.7"));
        assert_eq!(readings.resume(&on(":1.7"), &after("mia"), now), None);
    }
}
