//! Owners and modes, the configuration on the disk, the clock, and what confines the daemon.

use std::path::Path;

use super::Scene;
use crate::host::{
    Place,
    clock::{self, Clock},
    confinement, files,
    finding::{Area, Finding, Level, Report},
};

/// Judges them.
pub(super) fn judge(scene: &Scene, report: &mut Report) {
    let before = report.findings().len();
    report.extend(files::judge(&scene.host, scene.people.uid("countersign")));
    report.extend(configuration(scene));
    if report.findings().len() == before {
        report.sound(
            Area::Files,
            "programs, configuration and state are nobody else's to write; the configuration is right",
        );
    }
    report.extend(confinement::judge_selinux(&scene.host));
    match clock::state() {
        Clock::Synchronised => report.sound(Area::System, "the clock is synchronised"),
        Clock::Drifting => report.add(
            Finding::new(
                Area::System,
                Level::Warning,
                "clock-unsynchronised",
                "the kernel's clock is not synchronised",
            )
            .because("codes by time are refused once it is off by more than half a minute or so")
            .change("run an NTP client: systemctl enable --now systemd-timesyncd (or chronyd)"),
        ),
        Clock::Unknown => report.add(
            Finding::new(
                Area::System,
                Level::Note,
                "clock-unknown",
                "the kernel does not say whether its clock is synchronised",
            )
            .because("codes by time need a right clock"),
        ),
    }
}

/// Whether the daemon would start again with what lies on the disk.
fn configuration(scene: &Scene) -> Option<Finding> {
    if !scene.host.has(Path::new(dbus_api::DAEMON)) {
        let finding = Finding::new(Area::Files, Level::Danger, "program-missing", "the daemon's program is not there");
        let place = Place::whole(dbus_api::DAEMON);
        return Some(finding.because("the daemon does not start again").at(&place).change("install the package again"));
    }
    let ran = scene.host.run(dbus_api::DAEMON, &["--check-config"]).ok()?;
    if ran.done {
        return None;
    }
    let said = ran.err.trim().trim_start_matches("countersignd: ").to_owned();
    let finding = Finding::new(Area::Files, Level::Danger, "config-wrong", said);
    let why =
        "the daemon goes on with the old one, and does not start with this one: then nobody who needs a code gets in";
    Some(finding.because(why).change("correct it, then: systemctl reload countersignd"))
}
