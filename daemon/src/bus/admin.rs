//! `Admin` on the system bus.

use dbus_api::{
    AccountFilter, AccountPage, AuditFilter, AuditPage, AuditReport, AuditWitness, EnrollmentSummary, Error,
    Explanation, Health, ImportRecord, ImportResult, KeyStatus, Offer, Origin, Rehearsed, Setting, Supposition,
};
use zbus::message::Header;
use zbus::{Connection, OwnedFd};

use super::{bounded, verifier::shortened};
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

    async fn disable_authenticator(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
        authenticator: &str,
    ) -> Result<(), Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.disable_authenticator(&caller, bounded("the user name", user)?, authenticator).await
    }

    async fn enable_authenticator(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
        authenticator: &str,
    ) -> Result<(), Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.enable_authenticator(&caller, bounded("the user name", user)?, authenticator).await
    }

    #[zbus(out_args("offer"))]
    async fn export(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
        authenticator: &str,
    ) -> Result<Offer, Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.export(&caller, bounded("the user name", user)?, authenticator).await
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

    #[zbus(out_args("forgotten"))]
    async fn forget(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
    ) -> Result<u32, Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.forget(&caller, bounded("the user name", user)?).await
    }

    async fn prune(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
    ) -> Result<(), Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.prune(&caller, bounded("the user name", user)?).await
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

    #[zbus(out_args("results"))]
    async fn check_import(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        records: Vec<ImportRecord>,
    ) -> Result<Vec<ImportResult>, Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.check_import(&caller, records).await
    }

    #[zbus(out_args("page"))]
    async fn audit(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        filter: AuditFilter,
        after: u64,
        limit: u32,
    ) -> Result<AuditPage, Error> {
        let caller = self.caller(connection, &header).await?;
        bounded("the user name", filter.user.as_deref().unwrap_or_default())?;
        self.service.audit_page(&caller, filter, after, limit).await
    }

    #[zbus(out_args("report"))]
    async fn verify_audit(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<AuditReport, Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.verify_audit(&caller).await
    }

    #[zbus(out_args("report"))]
    async fn compare_audit(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        witnesses: Vec<AuditWitness>,
    ) -> Result<AuditReport, Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.compare_audit(&caller, witnesses).await
    }

    #[zbus(out_args("settings"))]
    async fn settings(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<Setting>, Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.list_settings(&caller).await
    }

    #[zbus(out_args("health"))]
    async fn health(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Health, Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.health(&caller).await
    }

    async fn accept_host(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.accept_host(&caller).await
    }

    #[zbus(out_args("explanation"))]
    async fn explain(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: &str,
        origin: Origin,
        supposition: Supposition,
    ) -> Result<Explanation, Error> {
        let caller = self.caller(connection, &header).await?;
        let (user, origin) = (bounded("the user name", user)?, shortened(origin));
        bounded("the moment", supposition.at.as_deref().unwrap_or_default())?;
        self.service.explain(&caller, user, origin, &supposition).await
    }

    #[zbus(out_args("rehearsed"))]
    async fn rehearse(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        users: Vec<String>,
        origin: Origin,
        supposition: Supposition,
    ) -> Result<Vec<Rehearsed>, Error> {
        let caller = self.caller(connection, &header).await?;
        bounded("the moment", supposition.at.as_deref().unwrap_or_default())?;
        for user in &users {
            bounded("the user name", user)?;
        }
        self.service.rehearse(&caller, &users, shortened(origin), &supposition).await
    }

    async fn rotate_key(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.rotate_key(&caller).await
    }

    #[zbus(out_args("status"))]
    async fn key_status(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<KeyStatus, Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.key_status(&caller).await
    }

    #[zbus(out_args("accounts"))]
    async fn backup(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        pipe: OwnedFd,
    ) -> Result<u64, Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.backup(&caller, pipe.into()).await
    }

    async fn reload(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        let caller = self.caller(connection, &header).await?;
        self.service.admit_administrator(&caller, Action::Manage).await?;
        let reloaded = self.service.reload(Some(caller.uid)).await;
        reloaded.map_err(|error| Error::BadConfiguration(error.to_string()))
    }
}

impl Admin {
    async fn caller(&self, connection: &Connection, header: &Header<'_>) -> Result<Caller, Error> {
        self.source.caller(connection, header).await
    }
}
