//! One peer of the private socket: its calls, one after the other, and what each member answers. `Verifier` is served as on
//! the bus, without a connection object behind it: what makes and drops one costs more than a login's decision.

use std::io;
use std::sync::Arc;

use dbus_api::{OBJECT_PATH, Origin, VERIFIER_INTERFACE};
use zbus::object_server::Interface;

use super::transport::{Transport, Unanswered};
use super::verifier::{Verifier, begin, unasked};
use super::wire::{Bytes, Call, Refused};
use crate::caller::{Caller, Source};
use crate::service::Service;

/// Whose turn it is among the connections of one uid.
pub(super) type Turn = Arc<tokio::sync::Mutex<()>>;

/// A peer, and who the kernel says that it is.
pub(super) struct Peer {
    service: Service,
    caller: Caller,
    turn: Turn,
}

impl Peer {
    /// A peer that has done nothing yet.
    pub(super) fn new(service: Service, caller: Caller, turn: Turn) -> Self {
        Self { service, caller, turn }
    }

    /// Answers calls until the peer goes, or sends what is none.
    pub(super) async fn serve(&self, mut transport: Transport, unanswered: &Unanswered) -> io::Result<()> {
        loop {
            let message = transport.message().await?;
            let _waiting = unanswered.one_more();
            let call = Call::read(&message).ok_or(io::ErrorKind::InvalidData)?;
            let answer = self.in_turn(&call).await.unwrap_or_else(|refused| call.refuse(&refused));
            transport.send(&answer).await?;
        }
    }

    /// Root's calls are answered side by side. Those of another uid take turns, on however many connections they come: it
    /// logs in for itself alone, and delays others no more than a single caller does.
    async fn in_turn(&self, call: &Call<'_>) -> Result<Bytes, Refused> {
        let _turn = match self.caller.is_root() {
            true => None,
            false => Some(self.turn.lock().await),
        };
        self.answer(call).await
    }

    async fn answer(&self, call: &Call<'_>) -> Result<Bytes, Refused> {
        if call.path != OBJECT_PATH {
            return Err(Refused::Unknown("UnknownObject"));
        }
        match call.interface {
            VERIFIER_INTERFACE => self.verify(call).await,
            "org.freedesktop.DBus.Introspectable" | "org.freedesktop.DBus.Peer" => self.tell(call),
            "" => Err(Refused::Unknown("UnknownMethod")),
            _ => Err(Refused::Unknown("UnknownInterface")),
        }
    }

    async fn verify(&self, call: &Call<'_>) -> Result<Bytes, Refused> {
        let data = call.data();
        match call.member {
            "Begin" => {
                let (user, origin) = call.arguments::<(&str, Origin)>(&data)?;
                call.answer(&begin(&self.service, self.caller.clone(), user, origin).await?)
            }
            "Respond" => {
                let (id, reply) = call.arguments::<(u64, &str)>(&data)?;
                call.answer(&self.service.respond(&self.caller.connection, id, reply).await?)
            }
            "Cancel" => {
                let id = call.arguments::<u64>(&data)?;
                self.service.cancel(&self.caller.connection, id).await;
                call.answer(&())
            }
            "Unasked" => {
                let (user, origin) = call.arguments::<(&str, Origin)>(&data)?;
                call.answer(&unasked(&self.service, self.caller.clone(), user, origin).await?)
            }
            _ => Err(Refused::Unknown("UnknownMethod")),
        }
    }

    /// What the object tells of itself (D-Bus specification, "Standard Interfaces").
    fn tell(&self, call: &Call<'_>) -> Result<Bytes, Refused> {
        call.arguments::<()>(&call.data())?;
        match call.member {
            "Introspect" => {
                let verifier = Verifier::new(self.service.clone(), Source::Private(self.caller.clone()));
                let mut interface = String::new();
                verifier.introspect_to_writer(&mut interface, 2);
                call.answer(&format!("<node>\n{interface}</node>\n"))
            }
            "Ping" => call.answer(&()),
            _ => Err(Refused::Unknown("UnknownMethod")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::audit::Syslog;
    use crate::caller::ConnectionKey;
    use crate::config::Config;
    use crate::store::{KeyRing, Store};

    fn service(state: &Path) -> Service {
        std::fs::set_permissions(state, std::fs::Permissions::from_mode(0o700)).unwrap();
        let syslog = Syslog::start(Path::new("/nonexistent/log")).unwrap();
        let (key, _) = KeyRing::load(None, state).unwrap();
        let config = state.join("countersign.toml");
        std::fs::write(&config, "").unwrap();
        Service::new(config.clone(), Config::load(&config).unwrap(), Store::open(state, key, syslog).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn the_connections_of_one_uid_take_turns_and_never_hold_root_up() {
        let state = tempfile::tempdir().unwrap();
        let service = service(state.path());
        let ping =
            zbus::Message::method_call(OBJECT_PATH, "Ping").interface("org.freedesktop.DBus.Peer").build(&()).unwrap();
        let ping = Call::read(ping.data()).unwrap();
        let turn = Turn::default();
        let somebody_elses = turn.lock().await;
        let is_answered = async |uid| {
            let caller = Caller::new(uid, ConnectionKey::Private(uid.into())).unwrap();
            let peer = Peer::new(service.clone(), caller, Arc::clone(&turn));
            tokio::time::timeout(Duration::from_millis(100), peer.in_turn(&ping))
                .await
                .is_ok_and(|answer| answer.is_ok())
        };
        assert!(is_answered(0).await);
        assert!(!is_answered(1000).await);
        drop(somebody_elses);
        assert!(is_answered(1000).await);
    }
}
