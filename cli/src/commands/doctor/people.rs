//! Those who administer: whether they have a second factor, and a way back when something breaks.

use std::collections::{BTreeMap, BTreeSet};

use super::{Scene, daemon::Kept};
use crate::commands::outcome::Refusal;
use crate::host::{
    Place,
    accounts::Password,
    finding::{Area, Finding, Level, Report},
};

/// With fewer recovery codes left it is time for new ones.
const FEW_CODES: u32 = 3;

/// Services that ask for a code of the account that is logged in to, by somebody else.
const OF_OTHERS: [&str; 4] = ["su", "su-l", "runuser", "runuser-l"];

/// Accounts that would be refused: the reason, and at which services.
pub(super) type Refused = BTreeMap<(String, String), Vec<String>>;

/// Asks the daemon who of those that administer would be refused at the services that ask for a code.
pub(super) async fn refused(scene: &Scene, asking: &BTreeSet<String>) -> Refused {
    let sudoers: Vec<&str> = scene.sudoers.accounts.iter().map(String::as_str).collect();
    let root = scene.people.name(0).unwrap_or("root");
    let mut refused = Refused::new();
    for service in asking {
        // Whether root comes in by sshd is sshd's to say; root needs no sudo.
        let accounts = match service.as_str() {
            su if OF_OTHERS.contains(&su) => vec![root],
            "login" => sudoers.iter().copied().chain([root]).collect(),
            _ => sudoers.clone(),
        };
        let told = scene.daemon.refused(service, &accounts).await;
        // Where the caller's code is asked for (`factor_of`), there is no caller to look at.
        for (account, reason) in told.into_iter().filter(|(_, reason)| reason != "no-ruser") {
            refused.entry((account, reason)).or_default().push(service.clone());
        }
    }
    refused
}

/// Judges them, where some service asks for a code.
pub(super) fn judge(scene: &Scene, asking: &BTreeSet<String>, refused: &Refused, report: &mut Report) {
    if asking.is_empty() {
        return;
    }
    let before = report.findings().len();
    for ((account, reason), services) in refused {
        let is_root = scene.people.uid(account) == Some(0);
        report.add(administrator(account, is_root, reason, services));
    }
    if let Some(accounts) = &scene.daemon.accounts {
        let able = scene.sudoers.accounts.iter().filter(|name| !refused.keys().any(|(account, _)| account == *name));
        report.extend(able.filter_map(|name| few_codes(name, accounts.get(name)?)));
    }
    if asking.contains("sudo") || asking.contains("sudo-i") {
        report.extend(scene.sudoers.unasked.iter().map(|(whom, place)| unasked(whom, place)));
    }
    report.extend(way_back(scene, asking));
    if report.findings().len() == before && scene.daemon.accounts.is_some() {
        let count = crate::wording::many(scene.sudoers.accounts.len() as u64, "account");
        report.sound(Area::Accounts, format!("{count} with sudo can get in; root has a way in without the daemon"));
    }
}

/// Somebody who administers and would be refused.
fn administrator(account: &str, is_root: bool, reason: &str, services: &[String]) -> Finding {
    let (name, change) = match reason {
        "not-enrolled" | "expired" => ("admin-not-enrolled", format!("countersign enroll {account}")),
        "disabled" => ("admin-disabled", format!("countersign enable {account}")),
        "corrupt-record" => ("admin-altered", format!("countersign reset {account}, and enrol it anew")),
        "uid-changed" => ("admin-refused", format!("countersign reset {account}, and enrol it anew")),
        _ => ("admin-refused", format!("countersign explain {account} --service {}", services.join(" or "))),
    };
    let brief = Refusal { reason, account }.brief();
    let who = if is_root { "becomes root" } else { "may use sudo" };
    let what = format!("{account} {who} and would be refused at {}: {brief}", services.join(", "));
    // A lock lifts by itself. Whom su does not let become root, sudo and the console still do.
    let elsewhere = services.iter().all(|service| OF_OTHERS.contains(&service.as_str()));
    let level = if reason == "locked" || elsewhere { Level::Warning } else { Level::Danger };
    let finding = Finding::new(Area::Accounts, level, name, what);
    finding.because("the daemon says so of a login at this moment").change(change)
}

fn few_codes(name: &str, kept: &Kept) -> Option<Finding> {
    if kept.authenticators == 0 || kept.recovery_codes >= FEW_CODES {
        return None;
    }
    let what = format!("{name} may use sudo and has {} recovery codes left", kept.recovery_codes);
    let why = "who loses the phone needs one, or another administrator";
    let finding = Finding::new(Area::Accounts, Level::Warning, "admin-few-codes", what).because(why);
    Some(finding.change(format!("countersign recovery-codes {name}")))
}

fn unasked(whom: &str, place: &Place) -> Finding {
    let what = format!("sudo asks {whom} for nothing");
    let finding = Finding::new(Area::Accounts, Level::Warning, "sudo-unasked", what);
    let why = "NOPASSWD and !authenticate run no PAM stack: neither the password nor a code is asked for";
    finding.because(why).at(place).change("take it out where the account is a person's")
}

/// How root gets in when the daemon does not work, or a phone is lost.
fn way_back(scene: &Scene, asking: &BTreeSet<String>) -> Option<Finding> {
    let console = !asking.contains("login");
    let password = scene.people.password("root");
    // What may not be read is not judged.
    let password = password? == Password::Set;
    if console && password {
        return None;
    }
    let what = match (console, password) {
        (true, _) => "root has no password for the console",
        (false, _) => "the console asks for a code too",
    };
    let finding = Finding::new(Area::Accounts, Level::Warning, "no-way-back", what);
    let why = "if the daemon, its disk or its key breaks, nobody becomes root but by booting something else";
    let change = if console { "passwd root" } else { "leave /etc/pam.d/login without the module" };
    Some(finding.because(why).change(change))
}
