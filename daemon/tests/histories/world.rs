//! The daemon without its process: its real store on a disk, its real interfaces over peer-to-peer connections, a wall
//! clock that stands still between two actions, and ends of every kind.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use daemon::audit::{AuditRecord, Syslog};
use daemon::bus::{Admin, Enrollment, Verifier};
use daemon::caller::{Caller, ConnectionKey, Source};
use daemon::config::Config;
use daemon::service::Service;
use daemon::store::{DATABASE, MasterKey, Store};
use dbus_api::{
    Action, AdminProxy, Denial, EnrollmentProxy, EnrollmentSummary, Error, ImportOutcome, ImportRecord, Origin, Step,
    VerifierProxy,
};
use tempfile::TempDir;
use tokio::net::UnixStream;
use zbus::connection::Builder;
use zbus::{Connection, Guid};

use crate::reference::{FIRST_COUNTER, Limits, Model, Outcome};

/// The folder beside the clock on which all states lie.
pub(crate) const DISK: &str = "disk";
/// The write-ahead log's file in the state directory.
const LOG: &str = "store.sqlite-wal";
/// The master key's.
const KEY: &str = "master.key";

/// One page and what stands before it in the write-ahead log (SQLite's file format, section 4.1).
const FRAME: usize = 4096 + 24;

/// When every history begins, in seconds since the epoch.
pub(crate) const BEGINNING: u64 = 1_800_000_000;

/// A daemon and all that it works with.
pub(crate) struct World {
    folder: TempDir,
    generation: usize,
    daemon: Daemon,
    clock: PathBuf,
    pub(crate) now: u64,
    begun: Instant,
}

struct Daemon {
    service: Service,
    store: Store,
    syslog: Syslog,
    root: Peer,
}

/// Root's connection.
struct Peer {
    verifier: VerifierProxy<'static>,
    enrollment: EnrollmentProxy<'static>,
    admin: AdminProxy<'static>,
    _server: Connection,
}

/// What is on the disk at one moment.
#[derive(Clone)]
pub(crate) struct Disk {
    database: Vec<u8>,
    log: Vec<u8>,
}

impl World {
    /// With an empty store. `clock` is the file that libfaketime reads.
    pub(crate) async fn begin(clock: &Path, limits: &Limits) -> Self {
        Self::start(clock, limits, None).await
    }

    /// With what another one left on its disk, and its key.
    pub(crate) async fn go_on(clock: &Path, limits: &Limits, key: &[u8], disk: &Disk) -> Self {
        Self::start(clock, limits, Some((key, disk))).await
    }

    async fn start(clock: &Path, limits: &Limits, left: Option<(&[u8], &Disk)>) -> Self {
        let folder = tempfile::tempdir_in(clock.with_file_name(DISK)).unwrap();
        let Limits { failures, window, locks, disable_after } = limits;
        let locks: Vec<String> = locks.iter().map(|lock| format!("\"{lock}s\"")).collect();
        let config = format!(
            "fail_delay = \"0s\"\n[throttling]\nfailures = {failures}\nwindow = \"{window}s\"\nlocks = [{}]\n\
             disable_after = {disable_after}\n",
            locks.join(", ")
        );
        fs::write(folder.path().join("countersign.toml"), config).unwrap();
        set_clock(clock, BEGINNING);
        let state = folder.path().join("state-0");
        make_private(&state);
        if let Some((key, disk)) = left {
            disk.put(key, &state);
        }
        let daemon = Daemon::start(&folder.path().join("countersign.toml"), &state).await;
        Self { folder, generation: 0, daemon, clock: clock.to_owned(), now: BEGINNING, begun: Instant::now() }
    }

    /// Sets the wall clock.
    pub(crate) fn set_clock(&mut self, now: u64) {
        self.now = now;
        set_clock(&self.clock, now);
    }

    /// By how many seconds the clock of the boot, which nobody sets here, has gone on since the beginning.
    pub(crate) fn passed(&self) -> u64 {
        self.begun.elapsed().as_secs() + 1
    }

    /// Ends the daemon in order, and starts it again.
    pub(crate) async fn restart(&mut self) {
        self.daemon.end().await;
        let state = self.state();
        self.daemon = Daemon::start(&self.config(), &state).await;
    }

    /// Ends the daemon as `kill -9` does: what it has written by now is all there is.
    pub(crate) async fn kill(&mut self) {
        let disk = self.disk();
        self.crash(disk).await;
    }

    /// Goes on with a disk that a daemon left behind.
    pub(crate) async fn crash(&mut self, disk: Disk) {
        let (old, key) = (self.state(), self.key());
        self.generation += 1;
        let new = self.state();
        make_private(&new);
        disk.put(&key, &new);
        self.daemon.end().await;
        self.daemon = Daemon::start(&self.config(), &new).await;
        fs::remove_dir_all(old).unwrap();
    }

    /// What a kill at this moment would leave.
    pub(crate) fn disk(&self) -> Disk {
        let read = |name| fs::read(self.state().join(name)).unwrap_or_default();
        Disk { database: read(DATABASE), log: read(LOG) }
    }

    /// The master key's file.
    pub(crate) fn key(&self) -> Vec<u8> {
        fs::read(self.state().join(KEY)).unwrap()
    }

    /// Imports an authenticator with scratch codes, which open nothing any more after so many seconds.
    pub(crate) async fn import(&self, name: &str, model: Model, scratch_codes: &[u32], last: u64) -> ImportOutcome {
        let mut record = ImportRecord::new(name, model.secret());
        record.kind = if model.period().is_some() { "totp" } else { "hotp" }.into();
        record.algorithm = model.algorithm().into();
        record.digits = model.digits();
        record.period = model.period().unwrap_or_default().try_into().unwrap();
        record.counter = FIRST_COUNTER;
        record.scratch_codes = (!scratch_codes.is_empty()).then(|| scratch_codes.to_vec());
        record.scratch_codes_until = Some(self.now + last);
        let result = self.daemon.root.admin.import(&[record]).await.unwrap().remove(0);
        ImportOutcome::from_number(result.outcome).unwrap()
    }

    /// One login with one reply.
    pub(crate) async fn present(&self, name: &str, reply: &str) -> Outcome {
        let verifier = &self.daemon.root.verifier;
        let (id, step) = verifier.begin(name, &Origin::default()).await.unwrap();
        match step.action() {
            Some(Action::AskHidden) => outcome(&verifier.respond(id, reply).await.unwrap()),
            _ => outcome(&step),
        }
    }

    /// Two logins that are asked first and answer at one moment.
    pub(crate) async fn present_together(&self, name: &str, replies: [&str; 2]) -> [Outcome; 2] {
        let verifier = &self.daemon.root.verifier;
        let origin = Origin::default();
        let (first, second) = tokio::join!(verifier.begin(name, &origin), verifier.begin(name, &origin));
        let answer = |begun: Result<(u64, Step), Error>, reply| async move {
            let (id, step) = begun.unwrap();
            match step.action() {
                Some(Action::AskHidden) => outcome(&verifier.respond(id, reply).await.unwrap()),
                _ => outcome(&step),
            }
        };
        tokio::join!(answer(first, replies[0]), answer(second, replies[1])).into()
    }

    /// What administrators see; nothing where there is no record.
    pub(crate) async fn look(&self, name: &str) -> Option<EnrollmentSummary> {
        match self.daemon.root.admin.account(name).await {
            Ok(summary) => Some(summary),
            Err(Error::NotEnrolled(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// The way of a login, step by step.
    pub(crate) fn verifier(&self) -> &VerifierProxy<'static> {
        &self.daemon.root.verifier
    }

    pub(crate) fn store(&self) -> &Store {
        &self.daemon.store
    }

    pub(crate) fn service(&self) -> &Service {
        &self.daemon.service
    }

    pub(crate) fn admin(&self) -> &AdminProxy<'static> {
        &self.daemon.root.admin
    }

    pub(crate) fn enrollment(&self) -> &EnrollmentProxy<'static> {
        &self.daemon.root.enrollment
    }

    /// The audit, whose chain is whole.
    pub(crate) async fn audit(&self) -> Vec<AuditRecord> {
        self.daemon.store.verify_chain().await.unwrap();
        self.daemon.store.audit_page(0, 10_000).await.unwrap()
    }

    /// Ends it for good.
    pub(crate) async fn end(self) {
        self.daemon.end().await;
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join(format!("state-{}", self.generation))
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("countersign.toml")
    }
}

impl Daemon {
    async fn start(config: &Path, state: &Path) -> Self {
        let syslog = Syslog::start(Path::new("/nonexistent/log")).unwrap();
        let (key, _) = MasterKey::load(None, state).unwrap();
        let store = Store::open(state, key, syslog.clone()).unwrap();
        let service = Service::new(config.to_owned(), Config::load(config).unwrap(), store.clone()).unwrap();
        Self { service: service.clone(), store, syslog, root: Peer::connect(service).await }
    }

    /// Ends its threads: tens of thousands of daemons live in one process, one after the other.
    async fn end(&self) {
        self.store.close().await;
        // No log listens.
        let _ = self.syslog.close(Duration::ZERO);
    }
}

impl Peer {
    async fn connect(service: Service) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let source = Source::Private(Caller::new(0, ConnectionKey::Bus(0, ":1.1".into())).unwrap());
        let server = Builder::unix_stream(ours.into_std().unwrap())
            .server(Guid::generate())
            .p2p()
            .serve_at(dbus_api::OBJECT_PATH, Verifier::new(service.clone(), source.clone()))
            .serve_at(dbus_api::OBJECT_PATH, Enrollment::new(service.clone(), source.clone()))
            .serve_at(dbus_api::OBJECT_PATH, Admin::new(service, source))
            .build();
        let client = Builder::unix_stream(theirs.into_std().unwrap()).p2p().build();
        let (server, client) = tokio::try_join!(server, client).unwrap();
        Self {
            verifier: VerifierProxy::new(&client).await.unwrap(),
            enrollment: EnrollmentProxy::new(&client).await.unwrap(),
            admin: AdminProxy::new(&client).await.unwrap(),
            _server: server,
        }
    }
}

impl Disk {
    fn put(&self, key: &[u8], state: &Path) {
        let files = [(KEY, key, 0o400), (DATABASE, &self.database, 0o600), (LOG, &self.log, 0o600)];
        for (name, bytes, mode) in files {
            fs::write(state.join(name), bytes).unwrap();
            fs::set_permissions(state.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    /// What is there where the writing of the log from this to `later` was cut short after a share of what changed, in
    /// 1/256; `None` where the database itself was written meanwhile, so that there is no such moment.
    pub(crate) fn torn(&self, later: &Self, share: u8) -> Option<Self> {
        let changed = self.changed(later)?;
        Some(self.cut(later, changed.start + changed.len() * usize::from(share) / 256))
    }

    /// The same within each frame of the log and before the last byte; where it shall be `fine`, also before each frame and
    /// before its last byte.
    pub(crate) fn cuts(&self, later: &Self, fine: bool) -> Vec<Self> {
        let Some(changed) = self.changed(later) else { return Vec::new() };
        let within = if fine { vec![0, FRAME / 2, FRAME - 1] } else { vec![FRAME / 2] };
        let frames = changed.clone().step_by(FRAME);
        let cuts = frames.flat_map(|frame| within.iter().map(move |offset| frame + offset));
        let cuts = cuts.filter(|cut| *cut < changed.end - 1).chain([changed.end - 1]);
        cuts.map(|cut| self.cut(later, cut)).collect()
    }

    /// The bytes of the log that became others; `None` where the database did, too.
    fn changed(&self, later: &Self) -> Option<Range<usize>> {
        if self.database != later.database {
            return None;
        }
        let differs = |index: &usize| self.log.get(*index) != later.log.get(*index);
        Some((0..later.log.len()).find(differs)?..(0..later.log.len()).rfind(differs)? + 1)
    }

    fn cut(&self, later: &Self, at: usize) -> Self {
        let rest = self.log.get(at..).unwrap_or_default();
        Self { database: self.database.clone(), log: [&later.log[..at], rest].concat() }
    }
}

/// As far as whoever logs in may know it.
pub(crate) fn outcome(step: &Step) -> Outcome {
    match (step.action().unwrap(), step.details.denial()) {
        (Action::Granted, _) => Outcome::Granted,
        (Action::Denied, Denial::Refused) => Outcome::Refused,
        (Action::Denied, Denial::Locked) => Outcome::Locked(step.details.retry_after.unwrap()),
        (Action::Denied, Denial::Disabled) => Outcome::Disabled,
        (Action::Denied, Denial::Unavailable) => Outcome::NoClock,
        _ => panic!("{step:?} is no answer to a reply"),
    }
}

fn set_clock(clock: &Path, now: u64) {
    let time = jiff::Timestamp::from_second(now.cast_signed()).unwrap().to_string();
    let new = clock.with_extension("new");
    fs::write(&new, time.replace('T', " ").replace('Z', "")).unwrap();
    // The daemon's threads read it whenever they like.
    fs::rename(new, clock).unwrap();
}

fn make_private(directory: &Path) {
    fs::create_dir(directory).unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
}
