//! `Verifier` on D-Bus, over the system bus and the private socket alike.

use dbus_api::{Error, Origin, Step};
use zbus::Connection;
use zbus::message::Header;

use super::bounded;
use crate::caller::{Caller, Source};
use crate::service::Service;

/// The longest PAM item that is kept, in bytes.
const LONGEST_ITEM: usize = 512;

/// The interface object: the service, and how its callers are told apart.
pub struct Verifier {
    service: Service,
    source: Source,
}

impl Verifier {
    /// Serves callers of this source.
    #[must_use]
    pub fn new(service: Service, source: Source) -> Self {
        Self { service, source }
    }
}

#[zbus::interface(name = "org.countersign.Countersign1.Verifier", introspection_docs = false)]
impl Verifier {
    #[zbus(out_args("id", "step"))]
    async fn begin(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
        origin: Origin,
    ) -> Result<(u64, Step), Error> {
        let caller = self.source.caller(connection, &header).await?;
        begin(&self.service, caller, user, origin).await
    }

    #[zbus(out_args("step"))]
    async fn respond(&self, #[zbus(header)] header: Header<'_>, id: u64, reply: &str) -> Result<Step, Error> {
        let connection = self.source.connection(&header)?;
        // A reply of any length uses up a try; the parser knows how long a code can be.
        self.service.respond(&connection, id, reply).await
    }

    async fn cancel(&self, #[zbus(header)] header: Header<'_>, id: u64) -> Result<(), Error> {
        let connection = self.source.connection(&header)?;
        self.service.cancel(&connection, id).await;
        Ok(())
    }

    #[zbus(out_args("step"))]
    async fn unasked(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
        origin: Origin,
    ) -> Result<Step, Error> {
        let caller = self.source.caller(connection, &header).await?;
        unasked(&self.service, caller, user, origin).await
    }
}

/// `Begin`, for a caller that its transport vouches for.
pub(super) async fn begin(service: &Service, caller: Caller, user: &str, origin: Origin) -> Result<(u64, Step), Error> {
    service.begin_verification(caller, bounded("the user name", user)?, shortened(origin)).await
}

/// `Unasked`, for a caller that its transport vouches for.
pub(super) async fn unasked(service: &Service, caller: Caller, user: &str, origin: Origin) -> Result<Step, Error> {
    service.judge_unasked(caller, bounded("the user name", user)?, shortened(origin)).await
}

/// Cuts PAM items that are too long to be kept for as long as a verification lasts.
pub(super) fn shortened(origin: Origin) -> Origin {
    let shorten = |item: Option<String>| {
        item.map(|mut text| {
            let mut end = text.len().min(LONGEST_ITEM);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text
        })
    };
    Origin {
        service: shorten(origin.service),
        tty: shorten(origin.tty),
        rhost: shorten(origin.rhost),
        ruser: shorten(origin.ruser),
    }
}
