//! `countersign doctor`: looks at the host and at the daemon, says what is wrong and what to change, and changes
//! nothing. Its exit code is its verdict: 0 fine, 1 warnings, 2 somebody could be locked out or let in.

mod daemon;
mod people;
mod services;
mod show;
mod system;

use nix::unistd::geteuid;

use crate::{
    cli::Doctor,
    failure::Failure,
    host::{
        Host,
        accounts::{People, Sudoers},
        finding::{Area, Finding, Level, Report},
    },
    output::Output,
    wording::printable,
};

/// What is known before anything is judged.
struct Scene {
    host: Host,
    people: People,
    sudoers: Sudoers,
    daemon: daemon::Daemon,
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
    let host = Host::here();
    let people = People::read(&host);
    let sudoers = Sudoers::read(&host, &people);
    let daemon = daemon::Daemon::ask(bus, &sudoers.accounts).await?;
    let scene = Scene { host, people, sudoers, daemon };
    let mut report = Report::default();
    if !geteuid().is_root() {
        let what = "this was not run by root: much could not be looked at";
        let finding = Finding::new(Area::System, Level::Warning, "not-root", what);
        report.add(finding.because("what cannot be read is not judged").change("sudo countersign doctor"));
    }
    let asking = services::judge(&scene, &arguments.service, &mut report);
    daemon::judge(&scene, &mut report);
    system::judge(&scene, &mut report);
    let refused = people::refused(&scene, &asking).await;
    people::judge(&scene, &asking, &refused, &mut report);
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
