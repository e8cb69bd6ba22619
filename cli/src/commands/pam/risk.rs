//! Who would be locked out: what the doctor finds on the host as it would be, and whether root and the caller could give
//! a code there.

use dbus_api::AccountState;

use super::plan::Plan;
use crate::{
    commands::doctor::{Scene, daemon::Kept},
    failure::Failure,
    host::{
        Host,
        accounts::Password,
        finding::{Area, Finding, Level, Report},
    },
    switch::{login, undo},
    wording::printable,
};

/// Dangers that let somebody in, or lock out somebody else than root and the caller. They are told, and hold nothing up.
const TOLD: [&str; 19] = [
    "admin-altered",
    "admin-disabled",
    "admin-not-enrolled",
    "admin-refused",
    "bus-policy-open",
    "config-open",
    "module-open",
    "pam-bypass",
    "pam-code-alone",
    "pam-empty-password",
    "pam-refusal-forgotten",
    "pam-refusal-passes",
    "pam-rest-skipped",
    "program-open",
    "socket-folder-open",
    "sshd-code-alone",
    "sshd-empty-passwords",
    "sshd-key-alone",
    "store-open",
];

/// Services that root passes without being asked.
const ROOT_PASSES: [&str; 7] = ["sudo", "sudo-i", "su", "su-l", "runuser", "polkit-1", "doas"];

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Risks {
    /// Root or the caller would be locked out.
    pub(super) locking: Vec<Finding>,
    /// What else would be wrong.
    pub(super) others: Vec<Finding>,
}

impl Risks {
    /// Judges the host as it would be.
    ///
    /// # Errors
    /// Where the command line asks for a bus that cannot be meant.
    pub(super) async fn of(host: &Host, plan: &Plan, bus: Option<&str>) -> Result<Self, Failure> {
        let scene = Scene::of(plan.imagined(host), bus).await?;
        let services = plan.services();
        let mut report = Report::default();
        scene.judge(&services, &mut report).await;
        let mut risks = Self::default();
        for finding in report.findings() {
            if finding.level == Level::Danger && !TOLD.contains(&finding.name) {
                risks.locking.push(finding.clone());
            } else if finding.level != Level::Note {
                risks.others.push(finding.clone());
            }
        }
        risks.locking.extend(caller(&scene, &services));
        risks.locking.extend(root(&scene));
        Ok(risks)
    }
}

/// Whether the caller could give a code where one is asked for from now on.
fn caller(scene: &Scene, services: &[String]) -> Option<Finding> {
    let caller = login::caller();
    let asked = |service: &&String| caller != "root" || !ROOT_PASSES.contains(&service.as_str());
    let service = services.iter().find(asked)?;
    let kept = scene.daemon.accounts.as_ref()?.get(&caller);
    let why = if kept.is_none_or(|kept| kept.authenticators == 0) {
        "has no authenticator"
    } else if kept.is_some_and(is_barred) {
        "is disabled, or its record was altered"
    } else {
        return None;
    };
    let caller = printable(&caller);
    let finding = Finding::new(
        Area::Accounts,
        Level::Danger,
        "caller-locked-out",
        format!("you, {caller}, would be locked out of {service}: the account {why}"),
    );
    let change = format!("countersign enroll {caller}");
    Some(
        finding.because("whoever cannot give a code is refused, unless a rule lets the account through").change(change),
    )
}

/// Whether somebody could still become root: at the console without a code, with one of root's own, or by sudo.
fn root(scene: &Scene) -> Option<Finding> {
    // What the daemon does not say is told by other findings.
    let accounts = scene.daemon.accounts.as_ref()?;
    let asks = |service: &str| undo::asks(&scene.host, service);
    let able = |name: &str| accounts.get(name).is_some_and(|kept| kept.authenticators > 0 && !is_barred(kept));
    let password = |name: &str| scene.people.password(name) == Some(Password::Set);
    let console = password("root") && (!asks("login") || able("root"));
    let asked_nowhere = |name: &str| !asks("sudo") && password(name) && !(asks("sshd") && asks("login"));
    let sudo = scene.sudoers.accounts.iter().any(|name| able(name) || asked_nowhere(name));
    if console || able("root") || sudo {
        return None;
    }
    let finding = Finding::new(Area::Accounts, Level::Danger, "root-locked-out", "nobody could become root any more");
    let why = "root has no authenticator and no password for a console that does not ask, and nobody with sudo can give a \
               code";
    Some(finding.because(why).change("countersign enroll root"))
}

fn is_barred(kept: &Kept) -> bool {
    matches!(kept.state, Some(AccountState::Disabled | AccountState::Corrupt))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::TOLD;

    /// A name that the doctor no longer gives would hold something up again, or nothing.
    #[test]
    fn what_is_only_told_are_names_that_the_doctor_gives() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/doctor.md");
        let page = std::fs::read_to_string(page).unwrap();
        for name in TOLD {
            assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/doctor.md");
        }
    }
}
