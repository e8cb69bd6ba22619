//! A daemon's service over a store in a folder of its own, and connections to it whose peers are who the
//! test says.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use daemon::audit::{AuditRecord, Syslog};
use daemon::bus::{Admin, Enrollment, Verifier};
use daemon::caller::{Caller, ConnectionKey, Source};
use daemon::config::Config;
use daemon::health::Installation;
use daemon::service::Service;
use daemon::store::{KeyRing, KeySource, Record, Store, Urgency};
use dbus_api::{Action, AdminProxy, EnrollmentOptions, EnrollmentProxy, Offer, Origin, Step, VerifierProxy};
use tempfile::TempDir;
use tokio::net::UnixStream;
use zbus::connection::Builder;
use zbus::{Connection, Guid};

/// An account that every Debian has, and its uid.
pub(crate) const OWNER: (&str, u32) = ("daemon", 1);
/// Another one.
pub(crate) const OTHER: (&str, u32) = ("bin", 2);

/// The machine-id of a host, and that of another one.
pub(crate) const HERE: &str = "0123456789abcdef0123456789abcdef\n";
pub(crate) const ELSEWHERE: &str = "fedcba9876543210fedcba9876543210\n";

/// Where no syslog listens.
const NO_LOG: &str = "/nonexistent/log";

/// A daemon without its process.
pub(crate) struct Scene {
    pub(crate) service: Service,
    pub(crate) store: Store,
    pub(crate) config: PathBuf,
    folder: TempDir,
}

/// A connection to the daemon.
pub(crate) struct Peer {
    pub(crate) verifier: VerifierProxy<'static>,
    pub(crate) enrollment: EnrollmentProxy<'static>,
    pub(crate) admin: AdminProxy<'static>,
    pub(crate) key: ConnectionKey,
    _server: Connection,
}

impl Scene {
    /// With this configuration and an empty store. Refusals are not delayed.
    pub(crate) fn new(config: &str) -> Self {
        Self::logging(config, Path::new(NO_LOG))
    }

    /// The same, with a syslog that listens at this socket.
    pub(crate) fn logging(config: &str, log: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("countersign.toml");
        std::fs::write(&path, config).unwrap();
        let state = folder.path().join("state");
        std::fs::create_dir(&state).unwrap();
        std::fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        Self::open(folder, log)
    }

    /// The same store and configuration again, as after a restart.
    pub(crate) async fn again(self) -> Self {
        let Self { service, store, config: _, folder } = self;
        store.close().await;
        drop((service, store));
        Self::open(folder, Path::new(NO_LOG))
    }

    /// The same store and configuration again, after somebody altered the database behind the daemon's back.
    pub(crate) async fn altered(self, statement: &str) -> Self {
        let Self { service, store, config: _, folder } = self;
        store.close().await;
        drop((service, store));
        let connection = rusqlite::Connection::open(folder.path().join("state/store.sqlite")).unwrap();
        connection.execute_batch(statement).unwrap();
        connection.close().unwrap();
        Self::open(folder, Path::new(NO_LOG))
    }

    fn open(folder: TempDir, log: &Path) -> Self {
        let (path, state) = (folder.path().join("countersign.toml"), folder.path().join("state"));
        let syslog = Syslog::start(log).unwrap();
        let (key, _) = KeyRing::load(None, &state).unwrap();
        let store = Store::open(&state, key, syslog).unwrap();
        let service = Service::new(path.clone(), Config::load(&path).unwrap(), store.clone()).unwrap();
        Self { service, store, config: path, folder }
    }

    /// Says where the daemon is installed, and that the host's machine-id is this one. Returns the socket's path.
    pub(crate) fn settle_on(&self, machine_id: &str) -> PathBuf {
        let path = |name: &str| self.folder.path().join(name);
        std::fs::write(path("machine-id"), machine_id).unwrap();
        let key = KeySource::File(path("state/master.key"));
        let (state, socket) = (path("state"), path("verifier.sock"));
        self.service.installed(Installation { state, socket: socket.clone(), key, machine: path("machine-id") });
        socket
    }

    /// The database's file.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("state/store.sqlite")
    }

    /// A new connection of a peer with this uid, on a bus.
    pub(crate) async fn connect(&self, uid: u32) -> Peer {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let key = ConnectionKey::Bus(0, format!(":1.{number}").into());
        self.connect_as(Caller::new(uid, key).unwrap()).await
    }

    async fn connect_as(&self, caller: Caller) -> Peer {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let key = caller.connection.clone();
        let source = Source::Private(caller);
        let server = Builder::unix_stream(ours.into_std().unwrap())
            .server(Guid::generate())
            .p2p()
            .serve_at(dbus_api::OBJECT_PATH, Verifier::new(self.service.clone(), source.clone()))
            .serve_at(dbus_api::OBJECT_PATH, Enrollment::new(self.service.clone(), source.clone()))
            .serve_at(dbus_api::OBJECT_PATH, Admin::new(self.service.clone(), source))
            .build();
        let client = Builder::unix_stream(theirs.into_std().unwrap()).p2p().build();
        let (server, client) = tokio::try_join!(server, client).unwrap();
        Peer {
            verifier: VerifierProxy::new(&client).await.unwrap(),
            enrollment: EnrollmentProxy::new(&client).await.unwrap(),
            admin: AdminProxy::new(&client).await.unwrap(),
            key,
            _server: server,
        }
    }

    /// All that the audit holds.
    pub(crate) async fn audit(&self) -> Vec<AuditRecord> {
        self.store.audit_page(0, 10_000).await.unwrap()
    }

    /// The audit as `event outcome reason`, a line each, from the `from`th record on.
    pub(crate) async fn events(&self, from: usize) -> Vec<String> {
        let line = |record: &AuditRecord| {
            let line = record.line();
            let field = |name: &str| {
                let value = line.split(&format!("{name}=")).nth(1).unwrap_or("");
                match value.strip_prefix('"') {
                    Some(quoted) => quoted.split('"').next().unwrap_or("").to_owned(),
                    None => value.split(' ').next().unwrap_or("").to_owned(),
                }
            };
            format!("{} {} {}", field("event"), field("outcome"), field("reason")).trim().to_owned()
        };
        self.audit().await.iter().skip(from).map(line).collect()
    }

    /// Changes an account's record as only the disk or time itself could.
    pub(crate) async fn change(&self, user: &str, change: impl FnOnce(&mut Record) + Send + 'static) {
        let changed = self.store.decide(user, Urgency::Login, move |tx| tx.record.as_mut().map(change));
        assert!(changed.await.unwrap().is_some());
    }

    /// Enrols an account as root does, and returns what its authenticator knows.
    pub(crate) async fn enrol(&self, user: &str) -> Offer {
        let options = EnrollmentOptions { no_confirm: Some(true), ..EnrollmentOptions::default() };
        self.connect(0).await.enrollment.begin(user, &options).await.unwrap().1
    }
}

impl Peer {
    /// One verification with one reply.
    pub(crate) async fn verify(&self, user: &str, reply: &str) -> Step {
        let (id, step) = self.verifier.begin(user, &Origin::default()).await.unwrap();
        match step.action() {
            Some(Action::AskHidden) => self.verifier.respond(id, reply).await.unwrap(),
            _ => step,
        }
    }

    /// One verification of oneself by a code, which makes the connection fresh.
    pub(crate) async fn verify_freshly(&self, user: &str, offer: &Offer, later: u64) {
        let step = self.verify(user, &code(offer, later)).await;
        assert_eq!(step.action(), Some(Action::Granted), "{step:?}");
    }
}

/// The code that the authenticator shows in so many steps (0: now), by totp-rs.
pub(crate) fn code(offer: &Offer, steps_later: u64) -> String {
    let secret = totp_rs::Secret::try_from_base32(&offer.secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build_noncompliant();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    totp.generate(now + steps_later * u64::from(offer.period)).to_string()
}

/// A code that the authenticator shows neither now nor within the window.
pub(crate) fn wrong_code(offer: &Offer) -> String {
    let near: Vec<String> = (0..=8).map(|step| code(offer, step)).collect();
    (100_000..).map(|number: u32| number.to_string()).find(|code| !near.contains(code)).unwrap()
}

/// Waits until a step has enough seconds left for a few calls.
pub(crate) async fn steady_step() {
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        if now % 30 < 25 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}
