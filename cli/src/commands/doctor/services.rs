//! The services that run PAM: their stacks, and sshd's settings before them.

use std::{collections::BTreeSet, path::Path};

use nix::unistd::geteuid;

use super::Scene;
use crate::host::{
    Host, Place,
    accounts::People,
    files,
    finding::{Area, Finding, Level, Report},
    pam::{
        judge::{self, Judged},
        module::{self, Role},
        stack::{self, Kind, Stack},
    },
    sshd::{
        config::{Config, FILE},
        judge::{Context, Enrolled},
        probe,
    },
};

/// Services that are looked at wherever they are.
const USUAL: [&str; 4] = ["sshd", "sudo", "su", "login"];
/// Without this folder sshd does not even say its settings (sshd(8)).
const SEPARATION: &str = "/run/sshd";
/// How long somebody may take to enrol in a login, in seconds.
const ENROLLING: u64 = 300;
/// Where login(1) finds how long it waits (login.defs(5)).
const LOGIN_DEFS: &str = "/etc/login.defs";
/// How long it waits where nothing is set, in seconds.
const USUAL_TIMEOUT: u64 = 60;
/// The file that Debian's services share.
const COMMON: &str = "/etc/pam.d/common-auth";

/// Judges every service, or those that were named; returns those that ask for a code.
pub(super) fn judge(scene: &Scene, named: &[String], report: &mut Report) -> BTreeSet<String> {
    let mut asking = BTreeSet::new();
    for service in chosen(scene, named) {
        let read = Stack::read(&scene.host, &service, Kind::Auth);
        let judged = judge::judge(&read, &service);
        if let Ok(stack) = &read {
            beside(scene, stack, &judged, named, report);
        }
        let sound = judged.asks && judged.findings.is_empty();
        let place = read.as_ref().ok().and_then(ours);
        report.extend(judged.findings.iter().cloned());
        if service == "sshd" && judged.asks {
            sshd(scene, &judged, report);
        }
        if let Some(place) = place.filter(|_| sound) {
            let after = if judged.first_factor { ", after the first factor" } else { "" };
            report.sound(Area::Pam, format!("{service} asks for a code{after} ({place})"));
        }
        if service == "login" && judged.asks {
            report.extend(login_timeout(scene));
        }
        if judged.asks {
            asking.insert(service);
        }
    }
    if asking.is_empty() && named.is_empty() {
        let finding = Finding::new(Area::Pam, Level::Warning, "pam-nowhere", "no service asks for a code");
        let place = Place::whole("/etc/pam.d");
        report.add(
            finding
                .because("Countersign is not switched on")
                .at(&place)
                .change("countersign pam enable sshd --for 10m"),
        );
    }
    asking
}

/// The named services; else the usual ones, and all others that ask or share the common file.
fn chosen(scene: &Scene, named: &[String]) -> Vec<String> {
    if !named.is_empty() {
        // As libpam does (pam_start(3)).
        return named.iter().map(|name| name.to_ascii_lowercase()).collect();
    }
    let host = &scene.host;
    let exists: Vec<String> = stack::services(host);
    let mut chosen: Vec<String> =
        USUAL.iter().map(|&usual| usual.to_owned()).filter(|usual| exists.contains(usual)).collect();
    let shares = |service: &String| match Stack::read(host, service, Kind::Auth) {
        Ok(stack) if stack.borrowed => false,
        Ok(stack) => ours(&stack).is_some() || stack.files.iter().any(|file| file == Path::new(COMMON)),
        Err(_) => true,
    };
    // Files that only others include are no services.
    let others = exists.into_iter().filter(|name| !name.starts_with("common-") && !USUAL.contains(&name.as_str()));
    chosen.extend(others.filter(shares));
    chosen
}

fn ours(stack: &Stack) -> Option<Place> {
    let found = stack.entries.iter().find(|entry| entry.module().is_some() && module::role(entry) == Role::Countersign);
    found.map(|entry| entry.place.clone())
}

/// What stands beside the stack itself: the module's file, the `password` stack, empty passwords.
fn beside(scene: &Scene, stack: &Stack, judged: &Judged, named: &[String], report: &mut Report) {
    if !judged.asks && !named.is_empty() {
        report.add(judge::unasked(stack));
    }
    for entry in &stack.entries {
        if module::role(entry) == Role::Countersign
            && let stack::Runs::Module(path, _) = &entry.runs
        {
            report.extend(files::judge_module(&scene.host, path, &entry.place));
        }
        let nullok = entry.module() == Some("pam_unix.so") && entry.arguments().iter().any(|word| word == "nullok");
        let empty = scene.people.without_password();
        if nullok && let Some(first) = empty.first() {
            let what = format!("{} may log in with the empty password", empty.join(", "));
            let finding = Finding::new(Area::Pam, Level::Danger, "pam-empty-password", what).at(&entry.place);
            let why = "nullok lets them through the first factor with nothing";
            report.add(finding.because(why).change(format!("passwd -l {first}, or take nullok out of this line")));
        }
    }
    if judged.asks
        && let Ok(password) = Stack::read(&scene.host, &stack.service, Kind::Password)
    {
        report.extend(judge::judge_password(&password));
    }
}

/// Who has a second factor, for sshd's judge.
#[derive(Debug)]
struct Known<'a>(&'a super::daemon::Daemon);

impl Enrolled for Known<'_> {
    fn has(&self, account: &str) -> bool {
        self.0.enrolled(account)
    }
}

fn sshd(scene: &Scene, judged: &Judged, report: &mut Report) {
    let host = &scene.host;
    if !host.has(Path::new(probe::PROGRAM)) {
        return;
    }
    let config = Config::read(host, Path::new(FILE));
    let known = Known(&scene.daemon);
    let context = Context { first_factor: judged.first_factor, enrolled: &known };
    let before = report.findings().len();
    let (mut asked, mut grace) = (0, None);
    for probe in probe::probes(&config, &scene.people, ordinary(&scene.people, &scene.daemon)) {
        match probe::ask(host, &probe) {
            Ok(effective) => {
                asked += 1;
                grace = grace.or(effective.value("logingracetime").parse().ok());
                report.extend(crate::host::sshd::judge::judge(&config, &probe, &effective, context));
            }
            Err(said) => report.add(unreadable(host, &said)),
        }
    }
    if let Some(grace) = grace.filter(|grace| scene.daemon.enrols_at("sshd") && (1..ENROLLING).contains(grace)) {
        let what = format!("LoginGraceTime is {grace} s, and a rule makes people enrol in their login");
        let finding = Finding::new(Area::Sshd, Level::Warning, "sshd-enrolling-grace", what);
        let finding = finding.because("who looks for the phone and stores ten recovery codes takes minutes");
        report.add(finding.at(&Place::whole(FILE)).change("LoginGraceTime 10m"));
    }
    if report.findings().len() == before && asked > 0 {
        report.sound(Area::Sshd, "every way in goes through a code");
    }
}

/// login(1) gives up after a time, in which a person may have to enrol.
fn login_timeout(scene: &Scene) -> Option<Finding> {
    let text = scene.host.read(Path::new(LOGIN_DEFS)).unwrap_or_default();
    let line = |line: &str| line.trim().strip_prefix("LOGIN_TIMEOUT").map(|value| value.trim().parse().ok());
    let set = text.lines().enumerate().find_map(|(index, text)| Some((index + 1, line(text)??)));
    let (number, timeout) = set.unwrap_or((0, USUAL_TIMEOUT));
    if !scene.daemon.enrols_at("login") || timeout == 0 || timeout >= ENROLLING {
        return None;
    }
    let what = format!("login gives up after {timeout} s, and a rule makes people enrol in their login");
    let finding = Finding::new(Area::System, Level::Warning, "login-enrolling-timeout", what);
    let finding = finding.because("who looks for the phone and stores ten recovery codes takes minutes");
    Some(finding.at(&Place::new(LOGIN_DEFS, number)).change("LOGIN_TIMEOUT 600"))
}

fn ordinary<'a>(people: &'a People, daemon: &super::daemon::Daemon) -> &'a str {
    people.ordinary(|name| daemon.enrolled(name)).unwrap_or("nobody")
}

/// sshd does not say what is in force: because it cannot here, or because it does not take its own settings.
fn unreadable(host: &Host, said: &str) -> Finding {
    let said = said.lines().next().unwrap_or("it says nothing");
    let place = Place::whole(FILE);
    if !geteuid().is_root() || !host.has(Path::new(SEPARATION)) {
        let what = format!("sshd does not say what is in force: {said}");
        let finding = Finding::new(Area::Sshd, Level::Warning, "sshd-unreadable", what).at(&place);
        let why = "whether every way in goes through a code is not known";
        return finding.because(why).change(format!("as root: mkdir -p -m 0755 {SEPARATION}, then look again"));
    }
    let finding = Finding::new(
        Area::Sshd,
        Level::Danger,
        "sshd-settings-wrong",
        format!("sshd does not take its settings: {said}"),
    );
    let why = "it does not start with them again, and refuses those whom a Match is about";
    finding.because(why).at(&place).change("see where: sshd -t")
}
