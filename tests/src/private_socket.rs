//! A client of the daemon's private socket, with the caller's own uid.

use std::{os::unix::net::UnixStream, path::Path};

use anyhow::{Context, Result};
use dbus_api::{Action, Denial, Error, Origin, Step, VerifierProxy};
use tokio::runtime::Runtime;
use zbus::{Connection, connection};

use crate::Host;

/// How a verification ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let in.
    Granted,
    /// Not let in; with the seconds to wait, where there is a lock.
    Denied(Denial, Option<u64>),
    /// The daemon refused to verify, with this error.
    Refused(String),
}

/// One connection.
#[derive(Debug)]
pub struct VerifierClient {
    runtime: Runtime,
    connection: Connection,
    proxy: VerifierProxy<'static>,
}

impl VerifierClient {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// There is no daemon, or it does not speak.
    pub fn connect(path: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (connection, proxy) = runtime.block_on(async {
            let stream = UnixStream::connect(path).with_context(|| path.display().to_string())?;
            let connection = connection::Builder::unix_stream(stream).p2p().build().await?;
            let proxy =
                VerifierProxy::builder(&connection).cache_properties(zbus::proxy::CacheProperties::No).build().await?;
            anyhow::Ok((connection, proxy))
        })?;
        Ok(Self { runtime, connection, proxy })
    }

    /// The connection, for messages of one's own.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The runtime that drives the connection.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// `Begin`.
    ///
    /// # Errors
    /// As the contract says.
    pub fn begin(&self, user: &str) -> Result<(u64, Step), Error> {
        let origin = Origin { service: Some("scenario".to_owned()), ..Origin::default() };
        self.runtime.block_on(self.proxy.begin(user, &origin))
    }

    /// `Respond`.
    ///
    /// # Errors
    /// As the contract says.
    pub fn respond(&self, id: u64, reply: &str) -> Result<Step, Error> {
        self.runtime.block_on(self.proxy.respond(id, reply))
    }

    /// A whole verification with one reply.
    #[must_use]
    pub fn verify(&self, user: &str, reply: &str) -> Verdict {
        let step = match self.begin(user) {
            Ok((id, step)) if matches!(step.action(), Some(Action::AskHidden | Action::AskVisible)) => {
                self.respond(id, reply)
            }
            Ok((_, step)) => Ok(step),
            Err(error) => Err(error),
        };
        match step {
            Ok(step) if step.action() == Some(Action::Granted) => Verdict::Granted,
            Ok(step) => Verdict::Denied(step.details.denial(), step.details.retry_after),
            Err(error) => Verdict::Refused(format!("{error:?}")),
        }
    }
}

impl Host {
    /// A connection to the private socket with uid 0.
    ///
    /// # Errors
    /// There is no daemon, or it does not speak.
    pub fn private_socket(&self) -> Result<VerifierClient> {
        VerifierClient::connect(&self.outside(dbus_api::PRIVATE_SOCKET))
    }
}
