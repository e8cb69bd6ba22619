//! `Admin` on the system bus.

use dbus_api::{AccountFilter, AccountPage, EnrollmentSummary, Error, ImportRecord, ImportResult};
use zbus::Connection;
use zbus::message::Header;

use super::bounded;
use crate::authorizer::Action;
use crate::caller::{Caller, Source};
use crate::service::Service;

/// The interface object: the service, and how its callers are told apart.
pub struct Admin {
    service: Service,
    source: Source,
}

impl Admin {
    /// Serves callers of this source.
    #[must_use]
    pub fn new(service: Service, source: Source) -> Self {
        Self { service, source }
    }
}

#[zbus::interface(name = "org.countersign.Countersign1.Admin", introspection_docs = false)]
impl Admin {
    #[zbus(out_args("page"))]
    async fn accounts(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        filter: AccountFilter,
        after: &str,
    ) -> Result<AccountPage, Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.accounts_page(&caller, &filter, bounded("the name", after)?).await
    }

    #[zbus(out_args("summary"))]
    async fn account(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
    ) -> Result<EnrollmentSummary, Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.account(&caller, bounded("the user name", user)?).await
    }

    async fn unlock(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
    ) -> Result<(), Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.unlock(&caller, bounded("the user name", user)?).await
    }

    async fn disable(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
    ) -> Result<(), Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.disable(&caller, bounded("the user name", user)?).await
    }

    async fn enable(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
    ) -> Result<(), Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.enable(&caller, bounded("the user name", user)?).await
    }

    async fn reset(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
        allow_enrolment: u64,
    ) -> Result<(), Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.reset(&caller, bounded("the user name", user)?, allow_enrolment).await
    }

    #[zbus(out_args("results"))]
    async fn import(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        records: Vec<ImportRecord>,
    ) -> Result<Vec<ImportResult>, Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.import(&caller, records).await
    }

    async fn reload(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.authorizer().authorize(&caller, Action::Manage)?;
        let reloaded = self.service.reload(Some(caller.uid)).await;
        reloaded.map_err(|error| Error::BadConfiguration(error.to_string()))
    }
}

impl Admin {
    async fn caller(&self, connection: &Connection, header: &Header<'_>) -> Result<Caller, Error> {
        self.source.caller(connection, header).await
    }
}
