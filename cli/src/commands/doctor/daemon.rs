//! The daemon: whether it answers, who answers in its place, what it says of itself, and the ways to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::net::UnixStream,
    path::Path,
};

use dbus_api::{
    AccountFilter, AccountState, AdminProxy, BUS_NAME, Health, MAX_RECORDS, Origin, Rehearsed, Supposition,
};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use zbus::{fdo::DBusProxy, names::BusName};

use super::Scene;
use crate::{
    client::{self, Client},
    failure::Failure,
    host::{
        Place, confinement, files,
        finding::{Area, Finding, Level, Report},
    },
    wording,
};

/// The account that the daemon runs as (sysusers.d).
const ACCOUNT: &str = "countersign";
/// How many pages of accounts are looked at: 10,000 accounts. Of more, the administrators alone.
const PAGES: usize = 20;
/// With less than this free, in bytes, somebody should look.
const LITTLE: u64 = 64 * 1024 * 1024;
/// With less than this, the next logins may be refused.
const HARDLY_ANY: u64 = 4 * 1024 * 1024;
const RESTART: &str = "systemctl restart countersignd";
/// The reason of a login of which the daemon says nothing.
const UNKNOWN: &str = "unknown";

/// What the daemon keeps of an account.
#[derive(Clone, Copy, Debug)]
pub(in crate::commands) struct Kept {
    pub(in crate::commands) state: Option<AccountState>,
    pub(in crate::commands) authenticators: u32,
    pub(in crate::commands) recovery_codes: u32,
}

/// What came back.
#[derive(Debug, Default)]
pub(in crate::commands) struct Daemon {
    /// Its word about itself, or why there is none.
    health: Option<Result<Health, String>>,
    /// The uid behind its name on the bus.
    owner: Option<u32>,
    /// What it keeps; `None` where it did not say.
    pub(in crate::commands) accounts: Option<BTreeMap<String, Kept>>,
    /// Whether the bus was one of the caller's choice.
    other_bus: bool,
    /// For further questions.
    admin: Option<AdminProxy<'static>>,
}

impl Daemon {
    /// Asks it for all that is judged; about `administrators` in any case.
    ///
    /// # Errors
    /// Where the command line asks for a bus that cannot be meant.
    pub(super) async fn ask(bus: Option<&str>, administrators: &BTreeSet<String>) -> Result<Self, Failure> {
        let mut daemon = Self { other_bus: bus.is_some(), ..Self::default() };
        let client = match Client::connect(bus).await {
            Ok(client) => client,
            Err(failure) if failure.exit() == crate::failure::USAGE => return Err(failure),
            Err(failure) => {
                daemon.health = Some(Err(failure.what().to_owned()));
                return Ok(daemon);
            }
        };
        let admin = client.admin().await?;
        daemon.health =
            Some(admin.health().await.map_err(|error| client::explain(&error, "", "doctor").what().to_owned()));
        daemon.owner = owner(&client).await;
        daemon.accounts = accounts(&admin, administrators).await.ok();
        daemon.admin = Some(admin);
        Ok(daemon)
    }

    /// Who of these accounts would be refused at a service, or may be for all that the daemon says, and why. Nobody where
    /// no daemon answers at all: that is told by itself.
    pub(super) async fn refused(&self, service: &str, accounts: &[&str]) -> Vec<(String, String)> {
        let Some(admin) = &self.admin else { return Vec::new() };
        let origin = Origin { service: Some(service.to_owned()), ..Origin::default() };
        // They are few: where the name service lists thousands, or lists them slowly, nobody has to wait for the others.
        let supposition = Supposition { each: Some(true), ..Supposition::default() };
        let mut refused = Vec::new();
        for some in accounts.chunks(MAX_RECORDS) {
            let told = admin.rehearse(some, &origin, &supposition).await;
            refused.extend(not_let_in(some, &told.unwrap_or_default()));
        }
        refused
    }

    /// Whether a rule makes people enrol in the logins of this service.
    pub(super) fn enrols_at(&self, service: &str) -> bool {
        let health = self.health.as_ref().and_then(|health| health.as_ref().ok());
        let services = health.and_then(|health| health.enrolling_services.as_ref());
        services.into_iter().flatten().any(|one| one == "*" || one == service)
    }

    /// Whether this account has an active authenticator.
    pub(super) fn enrolled(&self, account: &str) -> bool {
        let kept = self.accounts.as_ref().and_then(|accounts| accounts.get(account));
        kept.is_some_and(|kept| kept.authenticators > 0)
    }
}

/// Who of these is not said to be let in, and why. Whoever is not spoken of is not taken for one who is.
fn not_let_in(accounts: &[&str], told: &[Rehearsed]) -> Vec<(String, String)> {
    let reason = |account: &&str| match told.iter().find(|one| one.account == **account) {
        Some(one) if one.let_in => None,
        Some(one) => Some(one.reason.clone().unwrap_or_default()),
        None => Some(UNKNOWN.to_owned()),
    };
    accounts.iter().filter_map(|account| Some(((*account).to_owned(), reason(account)?))).collect()
}

/// What is kept of the first accounts, and of these administrators.
async fn accounts(
    admin: &AdminProxy<'_>,
    administrators: &BTreeSet<String>,
) -> Result<BTreeMap<String, Kept>, dbus_api::Error> {
    let mut accounts = BTreeMap::new();
    let mut after = String::new();
    for _ in 0..PAGES {
        let page = admin.accounts(&AccountFilter::default(), &after).await?;
        let kept = |account: dbus_api::Account| {
            let state = AccountState::from_number(account.state);
            let (authenticators, recovery_codes) = (account.authenticators, account.recovery_codes_left);
            (account.name, Kept { state, authenticators, recovery_codes })
        };
        accounts.extend(page.accounts.into_iter().map(kept));
        // A next page that does not come after this one would never end.
        if page.next.is_empty() || page.next <= after {
            return Ok(accounts);
        }
        after = page.next;
    }
    for name in administrators {
        let Ok(summary) = admin.account(name).await else { continue };
        let active = summary.authenticators.iter().filter(|one| one.active && !one.suspended).count();
        let kept = Kept {
            state: summary.disabled.then_some(AccountState::Disabled),
            authenticators: u32::try_from(active).unwrap_or(u32::MAX),
            recovery_codes: summary.recovery_codes_left,
        };
        accounts.entry(name.clone()).or_insert(kept);
    }
    Ok(accounts)
}

async fn owner(client: &Client) -> Option<u32> {
    let bus = DBusProxy::new(client.connection()).await.ok()?;
    bus.get_connection_unix_user(BusName::try_from(BUS_NAME).ok()?).await.ok()
}

/// Judges the daemon and the ways to it.
pub(super) fn judge(scene: &Scene, report: &mut Report) {
    let account = scene.people.uid(ACCOUNT);
    match &scene.daemon.health {
        Some(Ok(health)) => itself(health, report),
        Some(Err(why)) => {
            let finding = danger("daemon-silent", format!("the daemon does not answer: {why}"));
            let why = "whoever needs a code is refused, unless it still answers on its private socket";
            report.add(finding.because(why).change("systemctl status countersignd dbus"));
        }
        None => {}
    }
    if let Some(owner) = scene.daemon.owner
        && !scene.daemon.other_bus
        && owner != 0
        && Some(owner) != account
    {
        let finding = danger("bus-name-foreign", format!("uid {owner} owns {BUS_NAME} on the bus"));
        let why = "it answers in the daemon's place: what it says is not to be believed";
        report.add(finding.because(why).change(format!("find it: busctl status {BUS_NAME}")));
    }
    if account.is_none() {
        let finding = danger("daemon-no-account", format!("this host has no account {ACCOUNT}"));
        report.add(finding.because("the daemon cannot run as it").change("systemd-sysusers"));
    }
    report.extend(confinement::judge_bus(&scene.host));
    report.extend(confinement::judge_polkit(&scene.host));
    let socket = files::judge_socket(&scene.host, account);
    let reachable = socket.is_empty();
    report.extend(socket);
    if reachable {
        report.extend(peer(account));
    }
}

fn danger(name: &'static str, what: impl Into<String>) -> Finding {
    Finding::new(Area::Daemon, Level::Danger, name, what)
}

fn warning(name: &'static str, what: impl Into<String>) -> Finding {
    Finding::new(Area::Daemon, Level::Warning, name, what)
}

/// Its own word.
fn itself(health: &Health, report: &mut Report) {
    let ours = env!("CARGO_PKG_VERSION");
    let before = report.findings().len();
    if health.version != ours {
        let finding = warning("daemon-version", format!("the daemon is version {}, this tool {ours}", health.version));
        report.add(finding.because("one of them was not restarted or not installed").change(RESTART));
    }
    match health.store_integrity.as_deref() {
        Some("ok") => {}
        None if health.store_size.is_some() => {}
        None => {
            let finding = danger("store-silent", "the store does not answer");
            report.add(finding.because("nobody is let in until it does").change("journalctl -u countersignd"));
        }
        Some(found) => {
            let finding = danger("store-damaged", format!("the store is damaged: {found}"));
            report.add(
                finding
                    .because("accounts may be refused or lost")
                    .change("restore it from a backup (docs/operations.md)"),
            );
        }
    }
    if let Some(free) = health.free.filter(|free| *free < LITTLE) {
        let level = if free < HARDLY_ANY { Level::Danger } else { Level::Warning };
        let what = format!("{} KiB are free for the store", wording::count(free / 1024));
        let place = Place::whole(health.state.as_deref().unwrap_or(files::STATE));
        let why = "on a full disk nobody who needs a code is let in: what cannot be written down is not granted";
        report.add(
            Finding::new(Area::Daemon, level, "store-disk-full", what).because(why).at(&place).change("make room"),
        );
    }
    if let Some(behind) = health.clock_behind {
        let what = format!("the clock is {} behind the newest record", wording::duration(behind));
        let why = "codes by time are refused until it has caught up; recovery codes work";
        report.add(danger("clock-backwards", what).because(why).change("set the clock right, and keep it so by NTP"));
    }
    if let Some(socket) = health.socket.as_deref().filter(|socket| *socket != dbus_api::PRIVATE_SOCKET) {
        let what = format!("the daemon was told to listen at {socket}");
        let why = format!("the module looks at {} unless its line says socket=PATH", dbus_api::PRIVATE_SOCKET);
        report.add(
            warning("socket-elsewhere", what).because(why).change(format!("--socket {}", dbus_api::PRIVATE_SOCKET)),
        );
    }
    if health.at_home == Some(false) {
        let what = "the accounts and the key were copied from another host, or this one got a new machine-id";
        let why = "whoever has the other host can compute the codes of this one, and each code lets in once on each";
        let change = "moved here for good: countersign key accept; else: countersign key new --forget-accounts";
        report.add(warning("state-copied", what).because(why).change(change));
    }
    for text in &health.warnings {
        let finding =
            warning("config-warning", text.clone()).because("the daemon says so of the configuration in force");
        report.add(finding.change("countersign config show"));
    }
    if health.observe == Some(true) {
        let finding = warning("observe", "observe mode: nobody is asked for a code");
        report.add(finding.because("every login is let through, and only written down").change("mode = \"enforce\""));
    }
    let observing = health.observing_rules.as_deref().unwrap_or_default();
    if let Some(first) = observing.first().filter(|_| health.observe != Some(true)) {
        let others = observing.len() - 1;
        let others = if others == 0 { String::new() } else { format!(" and {} more", wording::count(others as u64)) };
        let finding = warning("observe-rule", format!("the rule {first:?}{others} asks nobody: mode = \"observe\""));
        let why = "the logins that it decides are let through, and only written down";
        report.add(finding.because(why).change("take mode out of the rule: countersign config show"));
    }
    if report.findings().len() == before {
        let key = health.key.as_deref().unwrap_or("unknown");
        report.sound(Area::Daemon, format!("answers, version {ours}, key from a {key}, store sound"));
    }
}

/// Whether the private socket is the daemon's own, by the kernel's word.
fn peer(account: Option<u32>) -> Option<Finding> {
    let place = Place::whole(dbus_api::PRIVATE_SOCKET);
    let socket = match UnixStream::connect(Path::new(dbus_api::PRIVATE_SOCKET)) {
        Ok(socket) => socket,
        Err(error) => {
            let finding = danger("socket-dead", format!("nobody listens at {place}: {error}")).at(&place);
            let why = "logins go over the system bus alone: slower, and not at all where that hangs";
            return Some(finding.because(why).change("systemctl restart countersignd.socket countersignd"));
        }
    };
    let uid = getsockopt(&socket, PeerCredentials).ok()?.uid();
    if uid == 0 || Some(uid) == account {
        return None;
    }
    let finding = danger("socket-foreign", format!("uid {uid} listens at {place}")).at(&place);
    Some(finding.because("the module refuses to talk to it, so that nobody is let in").change(RESTART))
}

#[cfg(test)]
mod tests {
    use dbus_api::Rehearsed;

    use super::not_let_in;

    #[test]
    fn whoever_the_daemon_does_not_speak_of_is_not_taken_for_let_in() {
        let told = |account: &str, let_in, reason: Option<&str>| Rehearsed {
            account: account.to_owned(),
            let_in,
            reason: reason.map(str::to_owned),
            ..Rehearsed::default()
        };
        let answer = [told("alice", true, None), told("bob", false, Some("locked"))];
        let refused = |name: &str, reason: &str| (name.to_owned(), reason.to_owned());
        assert_eq!(
            not_let_in(&["alice", "bob", "carol"], &answer),
            [refused("bob", "locked"), refused("carol", "unknown")]
        );
        assert_eq!(not_let_in(&["alice"], &[]), [refused("alice", "unknown")], "it refused to answer");
    }
}
