//! Those who administer: whether they have a second factor, and a way back when something breaks.

use std::collections::BTreeSet;

use dbus_api::AccountState;

use super::{Scene, daemon::Kept};
use crate::host::{
    Place,
    accounts::Password,
    finding::{Area, Finding, Level, Report},
};

/// With fewer recovery codes left it is time for new ones.
const FEW_CODES: u32 = 3;

/// Judges them, where some service asks for a code.
pub(super) fn judge(scene: &Scene, asking: &BTreeSet<String>, report: &mut Report) {
    if asking.is_empty() {
        return;
    }
    let before = report.findings().len();
    if let Some(accounts) = &scene.daemon.accounts {
        for name in &scene.sudoers.accounts {
            report.extend(administrator(name, accounts.get(name)));
        }
    }
    if asking.contains("sudo") || asking.contains("sudo-i") {
        report.extend(scene.sudoers.unasked.iter().map(|(whom, place)| unasked(whom, place)));
    }
    report.extend(way_back(scene, asking));
    if report.findings().len() == before && scene.daemon.accounts.is_some() {
        let count = crate::wording::many(scene.sudoers.accounts.len() as u64, "account");
        report
            .sound(Area::Accounts, format!("{count} with sudo can give a code; root has a way in without the daemon"));
    }
}

fn administrator(name: &str, kept: Option<&Kept>) -> Option<Finding> {
    let finding = |level, name, what: String| Finding::new(Area::Accounts, level, name, what);
    let Some(kept) = kept.filter(|kept| kept.authenticators > 0) else {
        let finding =
            finding(Level::Danger, "admin-not-enrolled", format!("{name} may use sudo and has no authenticator"));
        let why = "where a code is asked for, the account is refused";
        return Some(finding.because(why).change(format!("countersign enroll {name}")));
    };
    match kept.state {
        Some(AccountState::Disabled) => {
            let finding = finding(Level::Danger, "admin-disabled", format!("{name} may use sudo and is disabled"));
            Some(finding.because("every code of the account is refused").change(format!("countersign enable {name}")))
        }
        Some(AccountState::Corrupt) => {
            let finding =
                finding(Level::Danger, "admin-altered", format!("the record of {name} was altered on the disk"));
            let why = "every login of the account is refused";
            Some(finding.because(why).change(format!("countersign reset {name}, and enrol it anew")))
        }
        _ if kept.recovery_codes < FEW_CODES => {
            let what = format!("{name} may use sudo and has {} recovery codes left", kept.recovery_codes);
            let why = "who loses the phone needs one, or another administrator";
            let finding = finding(Level::Warning, "admin-few-codes", what).because(why);
            Some(finding.change(format!("countersign recovery-codes {name}")))
        }
        _ => None,
    }
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
