//! The way to the daemon: its private socket first, the system bus where nothing listens there.
//!
//! Nothing of the environment is read, every address is fixed or root's, and whoever answers is checked by the
//! credentials of the kernel or of the bus before a name or a code is sent. One bound holds for the sum of all
//! waiting.

use std::{
    fmt::Display,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
    time::{Duration, Instant},
};

use dbus_api::{BUS_NAME, OBJECT_PATH, Origin, Step, VERIFIER_INTERFACE};
use zbus::{fdo, wire::DynamicDeserialize};

use crate::{
    connection::{Connection, Target, Trouble, pause, prepare},
    flow::{Client, Failure},
    options::Options,
};

/// The bus itself, as a peer on the bus (D-Bus specification, "Message Bus Messages").
const BUS: Target<'_> = Target {
    destination: Some("org.freedesktop.DBus"),
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

/// How long to wait before the daemon is looked for again after it went away.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// How long a farewell may take.
const CANCEL_BOUND: Duration = Duration::from_millis(500);

/// Carries the calls of one login.
pub(crate) struct Courier<'a> {
    options: &'a Options,
    /// What is left of the bound.
    left: Duration,
    link: Option<Link>,
}

struct Link {
    connection: Connection,
    way: Way,
    /// The daemon's unique name on the bus; `None` peer to peer.
    daemon: Option<String>,
}

#[derive(Clone, Copy)]
enum Way {
    PrivateSocket,
    Bus,
}

impl<'a> Courier<'a> {
    /// A courier that has not set out yet.
    pub(crate) fn new(options: &'a Options) -> Self {
        Self { options, left: options.timeout, link: None }
    }

    /// Does `work` with a deadline, and takes the time from what is left.
    fn bounded<T>(&mut self, work: impl FnOnce(&mut Self, Instant) -> T) -> T {
        let begin = Instant::now();
        let outcome = work(self, begin + self.left);
        self.left = self.left.saturating_sub(begin.elapsed());
        outcome
    }

    /// Makes the first call: over the private socket, then over the bus. Who does not take the greeting took no call.
    fn first_call<B, T>(&mut self, member: &str, body: &B, deadline: Instant) -> Result<T, Failure>
    where
        B: serde::Serialize + zbus::DynamicType,
        T: for<'d> DynamicDeserialize<'d>,
    {
        let mut reason = String::new();
        if let Some(path) = &self.options.socket {
            match self.call_privately(path, member, body, deadline) {
                Ok(answer) => return answer,
                Err(trouble) => reason = format!("{}; ", unreachable(path, trouble)?),
            }
        }
        let bus = &self.options.bus;
        match through_bus(self.options, deadline) {
            Ok(link) => self.link = Some(link),
            Err(trouble) => return Err(Failure::Unreachable(format!("{reason}{}", unreachable(bus, trouble)?))),
        }
        self.call(member, body, deadline)
    }

    /// Makes the first call over the private socket; fails where nobody to be trusted takes the greeting there. The
    /// call is written before the connection is made: what wakes the daemon finds it there.
    fn call_privately<B, T>(
        &mut self,
        path: &Path,
        member: &str,
        body: &B,
        deadline: Instant,
    ) -> Result<Result<T, Failure>, Unreached>
    where
        B: serde::Serialize + zbus::DynamicType,
        T: for<'d> DynamicDeserialize<'d>,
    {
        let target = Target { destination: None, path: OBJECT_PATH, interface: VERIFIER_INTERFACE };
        let call = prepare(&target, member, body)?;
        let mut link = private_socket(path, deadline)?;
        match link.connection.call_prepared(&call, deadline) {
            Err(trouble) if !link.connection.is_greeted() => Err(trouble.into()),
            answer => {
                self.link = Some(link);
                Ok(answer.map_err(failure))
            }
        }
    }

    /// What becomes of a login that nobody was asked a code for.
    pub(crate) fn unasked(&mut self, user: &str, origin: &Origin) -> Result<Step, Failure> {
        self.bounded(|courier, deadline| courier.first_call("Unasked", &(user, origin), deadline))
    }

    fn call<B, T>(&mut self, member: &str, body: &B, deadline: Instant) -> Result<T, Failure>
    where
        B: serde::Serialize + zbus::DynamicType,
        T: for<'d> DynamicDeserialize<'d>,
    {
        let link = self.link.as_mut().ok_or_else(|| Failure::Unreachable("not connected".to_owned()))?;
        let target = Target { destination: link.daemon.as_deref(), path: OBJECT_PATH, interface: VERIFIER_INTERFACE };
        link.connection.call(&target, member, body, deadline).map_err(failure)
    }

    fn respond_to(&mut self, id: u64, reply: &str, deadline: Instant) -> Result<Step, Failure> {
        let link = self.link.as_mut().ok_or_else(|| Failure::Unreachable("not connected".to_owned()))?;
        let target = Target { destination: link.daemon.as_deref(), path: OBJECT_PATH, interface: VERIFIER_INTERFACE };
        link.connection.call_with_secret(&target, "Respond", id, reply, deadline).map_err(failure)
    }
}

impl Client for Courier<'_> {
    fn begin(&mut self, user: &str, origin: &Origin) -> Result<(u64, Step), Failure> {
        self.bounded(|courier, deadline| match courier.link {
            Some(_) => courier.call("Begin", &(user, origin), deadline),
            None => courier.first_call("Begin", &(user, origin), deadline),
        })
    }

    fn respond(&mut self, id: u64, reply: &str) -> Result<Step, Failure> {
        self.bounded(|courier, deadline| courier.respond_to(id, reply, deadline))
    }

    fn cancel(&mut self, id: u64) {
        self.left = self.left.min(CANCEL_BOUND);
        // The daemon ends the verification with the connection anyway.
        let _ = self.bounded(|courier, deadline| courier.call::<_, ()>("Cancel", &id, deadline));
    }

    fn reconnect(&mut self) -> Result<(), Failure> {
        let way = self.link.take().map_or(Way::Bus, |link| link.way);
        self.bounded(|courier, deadline| {
            loop {
                let connected = match (way, &courier.options.socket) {
                    (Way::PrivateSocket, Some(path)) => private_socket(path, deadline).and_then(|mut link| {
                        link.connection.authenticate(deadline)?;
                        Ok(link)
                    }),
                    _ => through_bus(courier.options, deadline),
                };
                match connected {
                    Ok(link) => {
                        courier.link = Some(link);
                        return Ok(());
                    }
                    Err(Unreached::Trouble(Trouble::Deadline)) => return Err(Failure::Deadline),
                    Err(_) => pause(RECONNECT_PAUSE, deadline).map_err(failure)?,
                }
            }
        })
    }
}

/// Why a way does not lead to the daemon.
enum Unreached {
    Trouble(Trouble),
    /// Somebody is there, but not one to be trusted.
    Untrusted(String),
}

impl From<Trouble> for Unreached {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// The daemon, peer to peer.
fn private_socket(path: &Path, deadline: Instant) -> Result<Link, Unreached> {
    let connection = trusted(path, deadline)?;
    Ok(Link { connection, way: Way::PrivateSocket, daemon: None })
}

/// The daemon, through the bus: by the unique name of whoever owns the well-known one now, so that nobody who takes
/// the name over later gets the reply.
fn through_bus(options: &Options, deadline: Instant) -> Result<Link, Unreached> {
    let mut connection = trusted(&options.bus, deadline)?;
    let _: String = connection.call(&BUS, "Hello", &(), deadline)?;
    let daemon = name_owner(&mut connection, deadline)?;
    let uid: u32 = connection.call(&BUS, "GetConnectionUnixUser", &daemon, deadline)?;
    if !may_own_name(uid, options) {
        return Err(Unreached::Untrusted(format!("{BUS_NAME} is owned by uid {uid}, which is not the daemon's")));
    }
    Ok(Link { connection, way: Way::Bus, daemon: Some(daemon) })
}

/// Whether `uid` may speak for the daemon on the bus: root and the owner of the private socket.
///
/// Where there is no private socket, nothing in the file system tells the daemon's uid. The bus is then the
/// authority: [`trusted`] has shown it to be root's (or that of the owner of its socket), and its policy lets nobody
/// own the name but whom root's configuration names; without a policy file it lets nobody own any.
fn may_own_name(uid: u32, options: &Options) -> bool {
    let owner = options.socket.as_deref().and_then(|path| socket_owner(path).ok());
    uid == 0 || owner.is_none_or(|owner| owner == uid)
}

/// A connection to the socket at `path`, whose other end is root or the owner of the socket.
fn trusted(path: &Path, deadline: Instant) -> Result<Connection, Unreached> {
    let owner = socket_owner(path)?;
    let connection = Connection::open(path, deadline)?;
    let peer = connection.peer_uid()?;
    if peer != 0 && peer != owner {
        return Err(Unreached::Untrusted(format!("served by uid {peer}, owned by uid {owner}")));
    }
    Ok(connection)
}

/// The uid that owns the socket at `path`; a link to one is none.
fn socket_owner(path: &Path) -> Result<u32, Unreached> {
    let found = fs::symlink_metadata(path).map_err(Trouble::Broken)?;
    if !found.file_type().is_socket() {
        return Err(Unreached::Untrusted("not a socket".to_owned()));
    }
    Ok(found.uid())
}

/// The unique name of the daemon, which the bus starts where it can be started and is not running.
fn name_owner(connection: &mut Connection, deadline: Instant) -> Result<String, Trouble> {
    match connection.call(&BUS, "GetNameOwner", &BUS_NAME, deadline) {
        Err(Trouble::Answer(zbus::Error::FDO(error))) if matches!(*error, fdo::Error::NameHasNoOwner(_)) => {}
        answer => return answer,
    }
    let _: u32 = connection.call(&BUS, "StartServiceByName", &(BUS_NAME, 0_u32), deadline)?;
    connection.call(&BUS, "GetNameOwner", &BUS_NAME, deadline)
}

/// The reason for the log; a deadline ends everything at once.
fn unreachable(path: &Path, unreached: Unreached) -> Result<String, Failure> {
    let reason: &dyn Display = match &unreached {
        Unreached::Trouble(Trouble::Deadline) => return Err(Failure::Deadline),
        Unreached::Trouble(Trouble::Broken(error)) => error,
        Unreached::Trouble(Trouble::Answer(error)) => error,
        Unreached::Untrusted(reason) => reason,
    };
    Ok(format!("{}: {reason}", path.display()))
}

/// Sorts out what a call ended with: a connection that broke is worth another try, an answer is an answer.
fn failure(trouble: Trouble) -> Failure {
    match trouble {
        Trouble::Deadline => Failure::Deadline,
        Trouble::Broken(error) => Failure::Lost(error.to_string()),
        Trouble::Answer(error) if left_bus(&error) => Failure::Lost(error.to_string()),
        Trouble::Answer(error) => Failure::Answer(error.into()),
    }
}

/// Whether the daemon's unique name is no longer on the bus.
fn left_bus(error: &zbus::Error) -> bool {
    let zbus::Error::FDO(error) = error else { return false };
    matches!(
        **error,
        fdo::Error::NoReply(_)
            | fdo::Error::ServiceUnknown(_)
            | fdo::Error::NameHasNoOwner(_)
            | fdo::Error::Disconnected(_)
    )
}
