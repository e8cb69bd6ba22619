//! The systemd units: right to systemd, shut as far as they can be, and with a reason for each directive.

use std::fs;

use scenarios::shipped;

use crate::{attempt, path, text};

/// The most that `systemd-analyze security` may say, in tenths: polkit has 14, fprintd 54.
const CEILING: &str = "10";

#[test]
fn the_exposure_of_the_daemon_stays_under_its_ceiling() {
    let unit = shipped("packaging/systemd/countersignd.service");
    let threshold = format!("--threshold={CEILING}");
    let output = attempt("systemd-analyze", &["security", "--offline=yes", &threshold, "--no-pager", path(&unit)]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("Overall exposure level for countersignd.service"), "{}", text(&output));
}

/// This systemd may be older than a directive; then it says so and ignores it. It may say nothing else.
#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let names = ["countersignd.service", "countersignd.socket", "countersign-pam-revert.service"];
    let units = names.map(|name| shipped(&format!("packaging/systemd/{name}")));
    let output = attempt("systemd-analyze", &["verify", "--man=no", path(&units[0]), path(&units[1]), path(&units[2])]);
    let known = [
        "Unknown key 'RestartSteps'",
        "Unknown key 'RestartMaxDelaySec'",
        "/usr/libexec/countersignd is not executable",
        "/usr/bin/countersign is not executable",
    ];
    let said = text(&output);
    let faults: Vec<_> = said
        .lines()
        .filter(|line| line.contains("countersign"))
        .filter(|line| !known.iter().any(|words| line.contains(words)))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn what_would_break_logins_stays_out_of_the_units() {
    for name in ["countersignd.service", "countersignd.socket"] {
        let unit = fs::read_to_string(shipped(&format!("packaging/systemd/{name}"))).unwrap();
        let directives: Vec<&str> = unit.lines().filter(|line| !line.starts_with('#')).collect();
        for directive in ["RuntimeDirectory=", "PrivateUsers=", "SystemCallErrorNumber=kill", "DynamicUser="] {
            assert!(!directives.iter().any(|line| line.starts_with(directive)), "{directive} stands in {name}");
        }
    }
    let service = fs::read_to_string(shipped("packaging/systemd/countersignd.service")).unwrap();
    let socket = fs::read_to_string(shipped("packaging/systemd/countersignd.socket")).unwrap();
    for (unit, directive) in [
        (&service, "StartLimitIntervalSec=0"),
        (&service, "Restart=on-failure"),
        (&service, "LimitCORE=0"),
        (&service, "StateDirectoryMode=0700"),
        (&socket, "SocketMode=0666"),
        (&socket, "TriggerLimitIntervalSec=0"),
    ] {
        assert!(unit.lines().any(|line| line == directive), "{directive} is missing");
    }
}
