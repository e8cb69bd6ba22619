//! countersignd: holds the secrets sealed, decides, locks out and writes the audit.
//!
//! [`run`] is the story of the process: protect itself, read the configuration, find the key, open the store,
//! listen, serve, and at the end finish what is under way.

pub mod accounts;
pub mod administration;
pub mod answer;
pub mod audit;
pub mod auditing;
pub mod authenticator;
pub mod authorizer;
pub mod backup;
pub mod bus;
pub mod caller;
pub mod clock;
pub mod config;
pub mod enrollment;
mod explanation;
pub mod exporting;
pub mod hardening;
pub mod health;
pub mod home;
pub mod importing;
mod login_enrolment;
pub mod notice;
pub mod options;
pub mod otpauth;
pub mod policy;
pub mod random;
mod reading;
pub mod recovery_codes;
pub mod resynchronising;
pub mod rotation;
pub mod service;
pub mod store;
pub mod summary;
pub mod verification;

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::audit::syslog::{DEV_LOG, Severity, Syslog};
use crate::audit::{Event, Kind, Outcome};
use crate::bus::transport::Unanswered;
use crate::bus::{private, system};
use crate::config::Config;
use crate::health::Installation;
use crate::options::Options;
use crate::service::Service;
use crate::store::home::MACHINE_ID;
use crate::store::renewal::{IfKept, renew};
use crate::store::restoration::{Alone, Manner, Restored, restore};
use crate::store::{KeyRing, KeySource, MachineId, Store};

/// How often verifications that nobody answers are looked for.
const SWEEP: Duration = Duration::from_secs(15);
/// How often the audit's table is looked at for what need not be kept.
const PRUNE: Duration = Duration::from_secs(3600);
/// Warnings about the configuration that go to the log; all of them are told by `countersign config check`.
const WARNINGS: usize = 20;
/// How long the start waits for a bus that is there and does not answer.
const BUS: Duration = Duration::from_secs(2);
/// How long a restore waits for a daemon that is being stopped: longer than systemd lets it (TimeoutStopSec).
const STOPPING: Duration = Duration::from_secs(30);
/// How long the end of the process waits for what is under way.
const FINISH: Duration = Duration::from_secs(5);

/// Runs the daemon until SIGTERM or SIGINT. Fails with a message on standard error and in syslog.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    if options.check_config {
        return check_config(&options.config);
    }
    let syslog = match Syslog::start(Path::new(DEV_LOG)) {
        Ok(syslog) => syslog,
        Err(error) => {
            tell(&format!("cannot run: no thread for syslog: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let (ended, what) = match options {
        Options { new_key: true, .. } => (make_new_key(options, &syslog), "no new key"),
        Options { restore: true, .. } => (restore_state(options, &syslog), "nothing was restored"),
        _ => (serve(options, &syslog), "cannot run"),
    };
    if let Err(error) = &ended {
        let text = format!("{what}: {}", chain(error.as_ref()));
        tell(&text);
        syslog.note(Severity::Error, &text);
    }
    if !syslog.close(FINISH) {
        tell("syslog did not take the last lines");
    }
    if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says on standard error what is wrong with a configuration, or was hardly meant; silent where nothing is, as sshd(8)
/// does with `-t`.
fn check_config(path: &Path) -> ExitCode {
    match Config::load_or_default(path) {
        Ok(config) => {
            config.warnings.iter().for_each(|warning| tell(&format!("warning: {warning}")));
            ExitCode::SUCCESS
        }
        Err(error) => {
            tell(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn serve(options: &Options, syslog: &Syslog) -> Result<(), Box<dyn Error>> {
    hardening::harden()?;
    let descriptors = hardening::raise_descriptor_limit();
    let config = Config::load_or_default(&options.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (store, key) = open_state(options, syslog, &runtime)?;
    let listener = listen(&options.socket)?;
    let service = Service::new(options.config.clone(), config, store.clone())?;
    let (state, socket) = (options.state.clone(), options.socket.clone());
    service.installed(Installation { state, socket, key, machine: MACHINE_ID.into() });

    runtime.block_on(async {
        let served = serve_until_told(options, service, listener, descriptors, syslog).await;
        // What waits for the store is decided, committed and answered before the process ends.
        store.close().await;
        served
    })
}

/// Replaces the master key, as root asked for on the command line.
fn make_new_key(options: &Options, syslog: &Syslog) -> Result<(), Box<dyn Error>> {
    hardening::harden()?;
    let if_kept = if options.forget_accounts { IfKept::Forget } else { IfKept::Refuse };
    let text = match renew(&options.state, credentials().as_deref(), if_kept)? {
        Some(path) => format!("made a new master key in {}: back it up", path.display()),
        None => "there is no key yet: the first start makes one".to_owned(),
    };
    tell(&text);
    syslog.note(Severity::Notice, &text);
    Ok(())
}

/// Takes the state from a backup, as root asked for on the command line. Standard output gets a line for each authenticator
/// that came back: account, id, label, kind and state, with tabs between them.
fn restore_state(options: &Options, syslog: &Syslog) -> Result<(), Box<dyn Error>> {
    hardening::harden()?;
    let manner = Manner { replace: options.replace, trust_counters: options.trust_counters };
    let mut backup = std::io::stdin().lock();
    let alone = match options.wait {
        false => Alone::at_once(&options.state)?,
        true => Alone::within(&options.state, STOPPING, |waits| {
            let mut out = std::io::stdout();
            // Where nobody reads it, nobody stops the daemon either, and that is told.
            let _ = out.write_all(if waits { b"waits\n" } else { b"alone\n" }).and_then(|()| out.flush());
        })?,
    };
    let restored = restore(&alone, credentials().as_deref(), &mut backup, manner, &clock::now())?;
    syslog.note(Severity::Notice, "the state was restored from a backup");
    let mut lines = String::new();
    for Restored { account, id, label, kind, state } in &restored {
        let label = label.replace(char::is_control, " ");
        let _ = writeln!(lines, "{account}\t{id}\t{label}\t{kind}\t{state}");
    }
    // It is done, whether or not somebody reads what was done.
    let _ = std::io::stdout().write_all(lines.as_bytes());
    Ok(())
}

/// Finds the key and opens the store. A copy of another host in which nobody is enrolled gets a key of its own: that of
/// an image protects none of the hosts that were made from it.
fn open_state(options: &Options, syslog: &Syslog, runtime: &Runtime) -> Result<(Store, KeySource), Box<dyn Error>> {
    let credentials = credentials();
    let open = || -> Result<_, Box<dyn Error>> {
        let (keys, source) = KeyRing::load(credentials.as_deref(), &options.state)?;
        let store = Store::open(&options.state, keys, syslog.clone())?;
        // The first key that is there need not be the store's: what came back with a restored store counts as well.
        let source = match source {
            KeySource::Created(path) => KeySource::Created(path),
            found => store.key_in_use().source.unwrap_or(found),
        };
        Ok((store, source))
    };
    let (store, source) = open()?;
    match &source {
        KeySource::Created(path) => {
            syslog.note(Severity::Notice, &format!("made a new master key in {}: back it up", path.display()));
        }
        KeySource::File(path) if runtime.block_on(is_copied_and_empty(&store)) => {
            runtime.block_on(store.close());
            renew(&options.state, credentials.as_deref(), IfKept::Refuse)?;
            let why = "the state came from another host, with nobody enrolled in it";
            syslog.note(Severity::Warning, &format!("{why}: made a new master key in {}: back it up", path.display()));
            return open();
        }
        KeySource::File(_) | KeySource::Credential(_) => {}
    }
    Ok((store, source))
}

/// Whether the store is known to be another host's, and keeps no account.
async fn is_copied_and_empty(store: &Store) -> bool {
    let Some(machine) = MachineId::read(Path::new(MACHINE_ID)) else { return false };
    let copied = store.is_at_home(machine).await == Ok(false);
    copied && store.list("", 1).await.is_ok_and(|accounts| accounts.is_empty())
}

/// Where systemd has put the credentials (systemd.exec(5)).
fn credentials() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

async fn serve_until_told(
    options: &Options,
    service: Service,
    listener: UnixListener,
    descriptors: u64,
    syslog: &Syslog,
) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let unanswered = Unanswered::default();
    // On the store's thread: a login that comes over the private socket is decided without waking another one.
    let private = service.store().spawn(private::serve(listener, service.clone(), descriptors, unanswered.clone()));
    let bus = match system::connect(&options.bus, &service, BUS).await {
        Ok(served) => Some(served),
        Err(error) => {
            // The private socket carries logins without a bus; the bus is tried again and again.
            syslog.note(Severity::Warning, &format!("no system bus yet ({error}); serving the private socket alone"));
            None
        }
    };
    let (address, on_bus, log) = (options.bus.clone(), service.clone(), syslog.clone());
    tokio::spawn(async move {
        system::keep(&address, &on_bus, bus, |text| log.note(Severity::Notice, text)).await;
    });
    warn(&service, syslog);
    let reason = service.settings().config.remarks();
    service.record(Event { reason, ..Event::new(clock::wall(), Kind::Start, Outcome::Note) }).await;
    service.tell_home().await;
    service.carry_on_rotation();
    notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
    let mut idleness = Idleness::default();
    hardening::release_code_pages();
    hardening::release_freed_memory();

    let mut sweep = tokio::time::interval(SWEEP);
    let mut prune = tokio::time::interval(PRUNE);
    let mut alive = tokio::time::interval(watchdog());
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => reload(&service, syslog).await,
            _ = sweep.tick() => {
                service.sweep().await;
                idleness.look(service.decided()).await;
            }
            _ = prune.tick() => service.prune_audit().await,
            _ = alive.tick() => notify(&[NotifyState::Watchdog]),
        }
    }
    notify(&[NotifyState::Stopping]);
    private.abort();
    finish(&service, &unanswered).await;
    service.record_counted().await;
    service.record(Event::new(clock::wall(), Kind::Stop, Outcome::Note)).await;
    Ok(())
}

/// How often the service manager is told that this loop goes round: twice in the time it allows (sd_watchdog_enabled(3)).
/// Where it does not watch, it hears nothing that it would not ignore.
fn watchdog() -> Duration {
    sd_notify::watchdog_enabled().map_or(PRUNE, |allowed| (allowed / 2).max(Duration::from_millis(1)))
}

/// How long the store goes on after its answer to a sweep: it looks at the disk then, which touches much of its code.
const SETTLED: Duration = Duration::from_millis(100);

/// Notices while nobody logs in.
#[derive(Default)]
struct Idleness {
    decided: u64,
}

impl Idleness {
    /// Gives back the pages and the memory that logins used, or the look itself, where nobody logged in between two looks.
    async fn look(&mut self, decided: u64) {
        if self.decided == decided {
            tokio::time::sleep(SETTLED).await;
            hardening::release_code_pages();
            hardening::release_freed_memory();
        }
        self.decided = decided;
    }
}

/// Waits until every call that came in was answered: somebody's code may be spent by it.
async fn finish(service: &Service, unanswered: &Unanswered) {
    let answered = async {
        while unanswered.count() > 0 || service.deciding() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // What the bus connection still has to write.
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let _ = tokio::time::timeout(FINISH, answered).await;
}

/// SIGHUP: all or nothing; what is wrong stands in the log with file, line and key.
async fn reload(service: &Service, syslog: &Syslog) {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now]);
    }
    match service.reload(None).await {
        Ok(()) => warn(service, syslog),
        Err(error) => syslog.note(Severity::Error, &format!("the configuration stays as it was: {error}")),
    }
    notify(&[NotifyState::Ready]);
}

/// Tells what the configuration says that was hardly meant.
fn warn(service: &Service, syslog: &Syslog) {
    let settings = service.settings();
    for warning in settings.config.warnings.iter().take(WARNINGS) {
        syslog.note(Severity::Warning, &format!("configuration: {warning}"));
    }
}

/// The socket that the service manager hands over (sd_listen_fds(3)), or one of our own.
#[allow(unsafe_code, reason = "a descriptor that was handed over can only be adopted by its number")]
fn listen(path: &Path) -> Result<UnixListener, Box<dyn Error>> {
    if let Some(descriptor) = sd_notify::listen_fds()?.next() {
        // SAFETY: the service manager opened it for this process alone, and it is taken over once.
        let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
        return Ok(UnixListener::from(owned));
    }
    private::listen(path).map_err(|error| format!("{}: cannot listen: {error}", path.display()).into())
}

/// Tells the service manager; without one there is nobody to tell.
fn notify(state: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(state);
}

/// An error with everything that caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Standard error is the service manager's journal.
#[allow(clippy::print_stderr, reason = "a start that fails is told where the one who started it looks")]
fn tell(text: &str) {
    eprintln!("countersignd: {text}");
}
