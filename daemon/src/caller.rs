//! Who calls: by the transport's word, never by an argument (invariant 5).

use std::fmt;
use std::sync::Arc;

use dbus_api::Error;
use zbus::message::Flags;
use zbus::names::{BusName, OwnedUniqueName};

/// The uid by which the kernel shows users that it cannot map; it may stand for anybody.
const OVERFLOW_UID: u32 = 65534;

/// One caller, as its transport vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its user id.
    pub uid: u32,
    /// The connection that it calls on, to which everything that it begins is bound.
    pub connection: ConnectionKey,
    /// Whether it waits while somebody is asked for a password (the D-Bus flag `ALLOW_INTERACTIVE_AUTHORIZATION`).
    pub interactive: bool,
}

/// A connection, never reused while the daemon runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionKey {
    /// On the system bus: which connection of ours to the bus, and the peer's unique name on it. A bus that
    /// starts anew gives out its unique names anew.
    Bus(u64, Arc<str>),
    /// On the private socket: the accepted connection's number.
    Private(u64),
}

/// How an interface learns who calls it.
#[derive(Clone, Debug)]
pub enum Source {
    /// Calls come over the system bus: the bus says who their sender is.
    Bus {
        /// Which connection of ours to the bus this is.
        generation: u64,
    },
    /// Calls come over one accepted connection: the kernel said who its peer is. Message headers are not read.
    Private(Caller),
}

impl Caller {
    /// Whether this is root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Accepts the uid that the kernel or the bus reported. The caller waits for nobody's password.
    pub fn new(uid: u32, connection: ConnectionKey) -> Result<Self, Error> {
        if uid == OVERFLOW_UID {
            return Err(Error::AccessDenied("your user id has no meaning on this host".into()));
        }
        Ok(Self { uid, connection, interactive: false })
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}", self.uid)
    }
}

impl Source {
    /// Who sent the message with this header over this connection.
    ///
    /// On the bus the sender's uid is asked for each time; a look-up that fails is a refusal (CVE-2021-3560).
    pub async fn caller(
        &self,
        connection: &zbus::Connection,
        header: &zbus::message::Header<'_>,
    ) -> Result<Caller, Error> {
        match self {
            Self::Private(caller) => Ok(caller.clone()),
            Self::Bus { generation } => bus_caller(*generation, connection, header).await,
        }
    }

    /// The connection that a message came over, where the uid does not matter any more because it was
    /// established when the thing that is asked for began.
    pub fn connection(&self, header: &zbus::message::Header<'_>) -> Result<ConnectionKey, Error> {
        match self {
            Self::Private(caller) => Ok(caller.connection.clone()),
            Self::Bus { generation } => Ok(ConnectionKey::Bus(*generation, sender(header)?.as_str().into())),
        }
    }
}

async fn bus_caller(
    generation: u64,
    connection: &zbus::Connection,
    header: &zbus::message::Header<'_>,
) -> Result<Caller, Error> {
    let sender = sender(header)?;
    let bus = zbus::fdo::DBusProxy::new(connection).await.map_err(unknown)?;
    let uid = bus.get_connection_unix_user(BusName::Unique(sender.as_ref())).await.map_err(unknown)?;
    let caller = Caller::new(uid, ConnectionKey::Bus(generation, sender.as_str().into()))?;
    Ok(Caller { interactive: header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH), ..caller })
}

fn sender(header: &zbus::message::Header<'_>) -> Result<OwnedUniqueName, Error> {
    header.sender().map(|name| name.to_owned().into()).ok_or_else(|| unknown("no sender"))
}

fn unknown(_: impl fmt::Display) -> Error {
    Error::AccessDenied("the bus does not say who you are".into())
}
