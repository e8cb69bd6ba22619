//! Whether the state is at home on this host. A copy of a host has the secrets of the original: it is told in the log and
//! by `health`, and whoever administers it says what becomes of it. A copy in which nobody is enrolled gets a key of its
//! own at its first start (`lib.rs`).

use dbus_api::Error;

use crate::audit::{Event, Kind, Outcome};
use crate::authorizer::Action;
use crate::caller::Caller;
use crate::clock;
use crate::service::{Service, unavailable};
use crate::store::MachineId;

/// What the audit says of a state that came from another host.
const ELSEWHERE: &str = "the state was made on another host (machine-id): see countersign key --help";
/// What it says once somebody has accepted that.
const ACCEPTED: &str = "the state was accepted on this host";

impl Service {
    /// Whether the state is at home on this host; `None` where the host has no machine-id or the store does not answer.
    pub async fn is_at_home(&self) -> Option<bool> {
        self.store().is_at_home(self.machine()?).await.ok()
    }

    /// Tells the audit where the state is that of another host.
    pub async fn tell_home(&self) {
        if self.is_at_home().await == Some(false) {
            let event = Event::new(clock::wall(), Kind::Store, Outcome::Note);
            self.record(Event { reason: Some(ELSEWHERE.to_owned()), ..event }).await;
        }
    }

    /// Takes the state as this host's from now on.
    ///
    /// # Errors
    /// `AccessDenied`, `Unavailable`.
    pub async fn accept_host(&self, caller: &Caller) -> Result<(), Error> {
        self.admit_administrator(caller, Action::Manage).await?;
        let machine = self.machine().ok_or_else(|| {
            Error::Unavailable("this host has no machine-id yet: systemd-machine-id-setup(1) makes one".into())
        })?;
        let mut event = Event::new(clock::wall(), Kind::Store, Outcome::Note);
        event.reason = Some(ACCEPTED.to_owned());
        event.caller_uid = Some(caller.uid);
        self.store().move_in(machine, event).await.map_err(|error| unavailable(&error))
    }

    /// Read each time: a first boot writes it late.
    pub(crate) fn machine(&self) -> Option<MachineId> {
        MachineId::read(&self.installation()?.machine)
    }
}
