//! `Enrollment` on the system bus.

use dbus_api::{Confirmation, EnrollmentOptions, EnrollmentSummary, Error, Offer, Resynchronisation};
use zbus::Connection;
use zbus::message::Header;

use super::bounded;
use crate::caller::Source;
use crate::service::Service;

/// The interface object: the service, and how its callers are told apart.
pub struct Enrollment {
    service: Service,
    source: Source,
}

impl Enrollment {
    /// Serves callers of this source.
    #[must_use]
    pub fn new(service: Service, source: Source) -> Self {
        Self { service, source }
    }
}

#[zbus::interface(name = "org.countersign.Countersign1.Enrollment", introspection_docs = false)]
impl Enrollment {
    #[zbus(out_args("id", "offer"))]
    async fn begin(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
        options: EnrollmentOptions,
    ) -> Result<(u64, Offer), Error> {
        let caller = self.source.caller(connection, &header).await?;
        self.service.begin_enrolment(caller, bounded("the user name", user)?, options).await
    }

    #[zbus(out_args("confirmation"))]
    async fn confirm(&self, #[zbus(header)] header: Header<'_>, id: u64, code: &str) -> Result<Confirmation, Error> {
        let connection = self.source.connection(&header)?;
        self.service.confirm_enrolment(&connection, id, code).await
    }

    async fn cancel(&self, #[zbus(header)] header: Header<'_>, id: u64) -> Result<(), Error> {
        let connection = self.source.connection(&header)?;
        self.service.cancel_enrolment(&connection, id).await;
        Ok(())
    }

    #[zbus(out_args("summary"))]
    async fn list(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
    ) -> Result<EnrollmentSummary, Error> {
        let caller = self.source.caller(connection, &header).await?;
        self.service.enrolled(&caller, bounded("the user name", user)?).await
    }

    async fn rename(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
        authenticator: &str,
        label: &str,
    ) -> Result<(), Error> {
        let caller = self.source.caller(connection, &header).await?;
        let (user, label) = (bounded("the user name", user)?, bounded("the label", label)?);
        self.service.rename_authenticator(caller, user, authenticator, label).await
    }

    async fn remove(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
        authenticator: &str,
    ) -> Result<(), Error> {
        let caller = self.source.caller(connection, &header).await?;
        self.service.remove_authenticator(caller, bounded("the user name", user)?, authenticator).await
    }

    #[zbus(out_args("resynchronisation"))]
    async fn resync(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
        authenticator: &str,
        first: &str,
        second: &str,
    ) -> Result<Resynchronisation, Error> {
        let caller = self.source.caller(connection, &header).await?;
        self.service.resynchronise(caller, bounded("the user name", user)?, authenticator, (first, second)).await
    }

    #[zbus(out_args("recovery_codes"))]
    async fn new_recovery_codes(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
    ) -> Result<Vec<String>, Error> {
        let caller = self.source.caller(connection, &header).await?;
        self.service.new_recovery_codes(caller, bounded("the user name", user)?).await
    }
}
