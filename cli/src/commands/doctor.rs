//! `countersign doctor`: looks at the host and at the daemon, says what is wrong and what to change, and changes
//! nothing. Its exit code is its verdict: 0 fine, 1 warnings, 2 somebody could be locked out or let in.

pub(super) mod daemon;
mod people;
mod services;
pub(super) mod show;
mod system;

use nix::unistd::geteuid;

use crate::{
    cli::Doctor,
    failure::Failure,
    host::{
        Host,
        accounts::People,
        finding::{Area, Finding, Level, Report},
        sudoers::Sudoers,
    },
    output::Output,
    wording::printable,
};

/// What is known before anything is judged.
pub(super) struct Scene {
    pub(super) host: Host,
    pub(super) people: People,
    pub(super) sudoers: Sudoers,
    pub(super) daemon: daemon::Daemon,
}

impl Scene {
    /// Looks at a host and asks the daemon.
    ///
    /// # Errors
    /// Where the command line asks for a bus that cannot be meant.
    pub(super) async fn of(host: Host, bus: Option<&str>) -> Result<Self, Failure> {
        let people = People::read(&host);
        let sudoers = Sudoers::read(&host, &people);
        let daemon = daemon::Daemon::ask(bus, &sudoers.accounts).await?;
        Ok(Self { host, people, sudoers, daemon })
    }

    /// Judges everything; of the services those that are named, or all that matter.
    pub(super) async fn judge(&self, named: &[String], report: &mut Report) {
        let asking = services::judge(self, named, report);
        daemon::judge(self, report);
        system::judge(self, report);
        let refused = people::refused(self, &asking).await;
        people::judge(self, &asking, &refused, report);
    }
}

/// Runs the command.
///
/// # Errors
/// Where something was found: silently, with the exit code of the worst finding.
pub(super) async fn run(arguments: &Doctor, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    if let Some(wrong) = arguments.service.iter().find(|service| service.is_empty() || service.contains('/')) {
        let wrong = printable(wrong);
        return Err(
            Failure::usage(format!("{wrong:?} is no PAM service")).with_help("See which there are: ls /etc/pam.d")
        );
    }
    let scene = Scene::of(Host::here(), bus).await?;
    let mut report = Report::default();
    if !geteuid().is_root() {
        let what = "this was not run by root: much could not be looked at";
        let finding = Finding::new(Area::System, Level::Warning, "not-root", what);
        report.add(finding.because("what cannot be read is not judged").change("sudo countersign doctor"));
    }
    scene.judge(&arguments.service, &mut report).await;
    if arguments.json {
        show::json(&report, output)?
    } else {
        show::text(&report, output)?
    }
    match report.worst() {
        None | Some(Level::Note) => Ok(()),
        Some(Level::Warning) => Err(Failure::silent()),
        Some(Level::Danger) => Err(Failure::grave()),
    }
}
