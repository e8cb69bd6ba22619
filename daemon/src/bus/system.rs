//! The system bus: all interfaces, and the bus's word on who calls and who is gone. polkit is asked over it too.

use std::future::poll_fn;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use zbus::export::futures_core::Stream;
use zbus::message::Type;
use zbus::names::BusName;
use zbus::{Connection, MatchRule, MessageStream};

use super::{Admin, Enrollment, Verifier};
use crate::authorizer::{Authorizer, Polkit};
use crate::caller::{ConnectionKey, Source};
use crate::service::Service;

/// Messages that wait to be looked at: the bus lets anybody send 32 MiB at once, so that many are not taken in.
/// The number is checked when this is compiled.
const QUEUED: NonZeroUsize = NonZeroUsize::new(16).unwrap();
/// How long a bus may take to let the daemon in.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait before a bus that is gone is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A connection to the bus over which the daemon serves.
pub struct Served {
    connection: Connection,
    /// `NameOwnerChanged` of names that nobody owns any more.
    departures: MessageStream,
    generation: u64,
}

/// Connects to the bus, serves all interfaces there and owns the name.
///
/// # Errors
/// The bus is not there, does not let the daemon own its name, or did not do so within `patience`.
pub async fn connect(address: &str, service: &Service, patience: Duration) -> zbus::Result<Served> {
    let served = match tokio::time::timeout(patience, join(address, service)).await {
        Ok(served) => served,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    };
    if served.is_err() {
        // Nobody is asked over a connection that is given up.
        service.authorize_by(Authorizer::Root);
    }
    served
}

async fn join(address: &str, service: &Service) -> zbus::Result<Served> {
    static GENERATIONS: AtomicU64 = AtomicU64::new(1);
    let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
    let source = Source::Bus { generation };
    let connection = zbus::connection::Builder::address(address)
        .max_queued(QUEUED)
        .serve_at(dbus_api::OBJECT_PATH, Verifier::new(service.clone(), source.clone()))
        .serve_at(dbus_api::OBJECT_PATH, Enrollment::new(service.clone(), source.clone()))
        .serve_at(dbus_api::OBJECT_PATH, Admin::new(service.clone(), source))
        .build()
        .await?;
    let departures = MessageStream::for_match_rule(departure()?, &connection, None).await?;
    service.authorize_by(Authorizer::Polkit(Polkit::new(connection.clone(), generation)));
    connection.request_name(dbus_api::BUS_NAME).await?;
    Ok(Served { connection, departures, generation })
}

/// Serves over this connection, and when the bus goes away, over the next one, for as long as the daemon runs.
/// `tell` hears what happens to the bus.
pub async fn keep(address: &str, service: &Service, mut served: Option<Served>, tell: impl Fn(&str)) {
    let mut wait = RETRY.0;
    loop {
        match served.take() {
            Some(served) => {
                served.until_closed(service).await;
                service.authorize_by(Authorizer::Root);
                tell("the system bus is gone; logins go on over the private socket");
                wait = RETRY.0;
            }
            None => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY.1);
                served = connect(address, service, PATIENCE).await.ok();
                if served.is_some() {
                    tell("serving on the system bus");
                }
            }
        }
    }
}

impl Served {
    /// Ends what departed peers began, until the connection to the bus itself ends.
    async fn until_closed(mut self, service: &Service) {
        loop {
            tokio::select! {
                () = self.connection.closed() => return,
                message = poll_fn(|context| std::pin::Pin::new(&mut self.departures).poll_next(context)) => {
                    let Some(Ok(message)) = message else { return };
                    self.depart(&message, service).await;
                }
            }
        }
    }

    async fn depart(&self, message: &zbus::Message, service: &Service) {
        let body = message.body();
        let Ok((name, _, _)) = body.deserialize::<(BusName<'_>, &str, &str)>() else { return };
        if let BusName::Unique(name) = name {
            service.connection_ended(&ConnectionKey::Bus(self.generation, name.as_str().into())).await;
        }
    }
}

/// Matches the signal by which the bus tells that a name has no owner any more.
fn departure() -> zbus::Result<MatchRule<'static>> {
    MatchRule::builder()
        .msg_type(Type::Signal)
        .sender("org.freedesktop.DBus")
        .interface("org.freedesktop.DBus")
        .member("NameOwnerChanged")
        .arg(2, "")
        .build()
}
