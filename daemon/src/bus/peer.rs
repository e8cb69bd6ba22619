//! One peer of the private socket: its calls, one after the other, and what each member answers. `Verifier` is served as on
//! the bus, without a connection object behind it: what makes and drops one costs more than a login's decision.

use std::io;

use dbus_api::{OBJECT_PATH, Origin, VERIFIER_INTERFACE};
use zbus::object_server::Interface;

use super::transport::{Transport, Unanswered};
use super::verifier::{Verifier, begin, unasked};
use super::wire::{Bytes, Call, Refused};
use crate::caller::{Caller, Source};
use crate::service::Service;

/// A peer, and who the kernel says that it is.
pub(super) struct Peer {
    service: Service,
    caller: Caller,
}

impl Peer {
    /// A peer that has done nothing yet.
    pub(super) fn new(service: Service, caller: Caller) -> Self {
        Self { service, caller }
    }

    /// Answers calls until the peer goes, or sends what is none.
    pub(super) async fn serve(&self, mut transport: Transport, unanswered: &Unanswered) -> io::Result<()> {
        loop {
            let message = transport.message().await?;
            let _waiting = unanswered.one_more();
            let call = Call::read(&message).ok_or(io::ErrorKind::InvalidData)?;
            let answer = self.answer(&call).await.unwrap_or_else(|refused| call.refuse(&refused));
            transport.send(&answer).await?;
        }
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
