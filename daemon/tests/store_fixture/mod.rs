//! A store in a scratch directory with a real syslog socket beside it, and records to put into it.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part of the fixture")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use daemon::audit::{Event, Kind, Outcome, Syslog};
use daemon::notice::{By, LastFailure, Notice, What};
use daemon::store::{DATABASE, KeyRing, Record, Store, StoreError, Transaction, Urgency};
use rusqlite::Connection;
use verifier::{
    Account, Algorithm, Authenticator, AuthenticatorId, BootTime, Counter, Digits, Kind as Factor, Parameters, Period,
    Place, RecoveryDigest, RecoveryKey, Remembered, Secret, StoredRecoveryCode, StoredScratchCode, WallTime,
};

pub struct Scratch {
    directory: tempfile::TempDir,
    pub log: UnixDatagram,
    pub syslog: Syslog,
}

impl Scratch {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
        let socket = directory.path().join("log.socket");
        let log = UnixDatagram::bind(&socket).unwrap();
        log.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let syslog = Syslog::start(&socket).unwrap();
        Self { directory, log, syslog }
    }

    pub fn state(&self) -> &Path {
        self.directory.path()
    }

    pub fn database(&self) -> PathBuf {
        self.state().join(DATABASE)
    }

    /// Opens the store. Another test's child holds a copy of our lock between its fork and its exec: that
    /// passes, and is waited for.
    pub fn open(&self) -> Store {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match self.try_open() {
                Err(StoreError::InUse { .. }) if Instant::now() < deadline => std::thread::yield_now(),
                opened => return opened.unwrap(),
            }
        }
    }

    pub fn try_open(&self) -> Result<Store, StoreError> {
        Store::open(self.state(), KeyRing::load(None, self.state()).unwrap().0, self.syslog.clone())
    }

    /// The next line that syslog got and that contains this.
    pub fn line_with(&self, part: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = self.log.recv(&mut buffer).unwrap_or_else(|error| panic!("no line with {part}: {error}"));
            let line = String::from_utf8_lossy(buffer.get(..length).unwrap()).into_owned();
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Makes the database that of an earlier version.
    pub fn downgrade(&self, sql: &str) {
        Connection::open(self.database()).unwrap().execute_batch(sql).unwrap();
    }

    /// Does what somebody with the disk in hand would.
    pub fn tamper(&self, sql: &str) {
        let connection = Connection::open(self.database()).unwrap();
        connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        connection.execute_batch(sql).unwrap();
        let copies = sql.starts_with("CREATE TABLE");
        assert!(copies || connection.total_changes() > 0, "nothing was altered");
    }
}

/// An account with a TOTP and an HOTP authenticator and ten recovery codes.
pub fn record(name: &str) -> Record {
    let totp = Factor::Totp(Period::new(30).unwrap());
    let codes = (0..10).map(|code| StoredRecoveryCode { digest: RecoveryDigest([code; 32]), used: None });
    let account = Account {
        authenticators: vec![authenticator(1, totp), authenticator(2, Factor::Hotp)],
        recovery_codes: codes.collect(),
        ..Account::default()
    };
    Record { account, ..Record::empty(name, Some(1000)) }
}

pub fn authenticator(id: u32, kind: Factor) -> Authenticator {
    let secret = Secret::new((0..20).map(|byte| byte ^ id.to_be_bytes()[3]).collect()).unwrap();
    Authenticator {
        id: AuthenticatorId(id),
        label: format!("phone {id}"),
        active: true,
        parameters: Parameters { kind, algorithm: Algorithm::Sha1, digits: Digits::new(6).unwrap() },
        secret,
        moving: kind.begin(Counter(7)),
        created: WallTime(u64::from(id)),
        last_used: None,
        expires: None,
        suspended: false,
    }
}

/// Five scratch codes of the first authenticator, one of them used.
pub fn scratch_codes(key: &RecoveryKey) -> Vec<StoredScratchCode> {
    let ends = WallTime(1_800_000_000_000);
    let code = |one: u8| {
        let code = StoredScratchCode::new(10_000_000 + u32::from(one), AuthenticatorId(1), [one; 16], ends, key);
        StoredScratchCode { used: (one == 2).then_some(WallTime(5)), ..code }
    };
    (0..5).map(code).collect()
}

/// Attaches two remembered logins, and a notice of each kind.
pub fn attach(record: &mut Record) {
    let remembered = ["192.0.2.7", "2001:db8::7"].map(|address| Remembered {
        place: Place::new("sshd", address.parse().unwrap()).unwrap(),
        since: WallTime(1_700_000_003_000),
        since_boot: BootTime { boot: [9; 16], elapsed: 12_000 },
        lasts: Duration::from_secs(28_800),
    });
    record.account.remembered = remembered.to_vec();
    let host = Some("192.0.2.7".to_owned());
    record.notices = [
        (What::Added("phone".to_owned()), By::Administrator),
        (What::Removed("key fob".to_owned()), By::Owner),
        (What::RecoveryCode, By::Login(host.clone())),
        (What::Disabled, By::Login(None)),
        (What::Reset, By::Administrator),
        (What::Further(7), By::Login(host)),
    ]
    .map(|(what, by)| Notice { at: WallTime(1_700_000_004_000), what, by })
    .to_vec();
}

pub async fn put(store: &Store, record: Record) {
    let name = record.name.clone();
    store.decide(&name, Urgency::Login, move |transaction| transaction.record = Some(record)).await.unwrap();
}

/// Charges a failure, with its event.
pub fn charge(transaction: &mut Transaction) {
    let record = transaction.record.as_mut().unwrap();
    record.account.throttle.failures += 1;
    record.last_failure = Some(LastFailure { at: WallTime(7), from: Some("192.0.2.7".to_owned()) });
    let name = record.name.clone();
    transaction.events.push(event(&name));
}

pub fn event(account: &str) -> Event {
    let mut event = Event::new(WallTime(1_700_000_000_000), Kind::Verification, Outcome::Refused);
    event.account = Some(account.to_owned());
    event.reason = Some("wrong".to_owned());
    event
}

pub async fn failures(store: &Store, name: &str) -> u32 {
    store.read(name).await.unwrap().unwrap().account.throttle.failures
}

/// The variable by which a test that runs itself anew tells itself its state directory.
const CHILD: &str = "COUNTERSIGN_TEST_STATE";

/// The state directory, where this process is a test's child.
pub fn child() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// This very test again as a child process, begun by a shell script that ends in `exec "$0" "$@"`.
pub fn again(test: &str, state: &Path, script: &[&str]) -> Command {
    let exe = std::env::current_exe().unwrap();
    let mut command = match script {
        [] => Command::new(&exe),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(&exe);
            command
        }
    };
    command.args(["--exact", test, "--nocapture"]).env(CHILD, state);
    command
}
