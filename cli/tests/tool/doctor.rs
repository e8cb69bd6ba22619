//! What the tool makes of the daemon's word about itself. The host is looked at too, whatever it is; the scenarios plant
//! mistakes there.

use dbus_api::Health;
use serde_json::Value;

use crate::stage::Stage;

fn names(stage: &Stage) -> (Option<i32>, Vec<String>, Value) {
    let outcome = stage.run(&["doctor", "--json"], "");
    let report: Value = serde_json::from_str(&outcome.out).unwrap();
    let findings = report["findings"].as_array().unwrap().iter();
    let names = findings.map(|finding| finding["name"].as_str().unwrap().to_owned()).collect();
    (outcome.code, names, report)
}

fn well() -> Health {
    Health {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        key: Some("credential".to_owned()),
        socket: Some(dbus_api::PRIVATE_SOCKET.to_owned()),
        store_size: Some(4096),
        store_integrity: Some("ok".to_owned()),
        free: Some(1 << 30),
        ..Health::default()
    }
}

#[test]
fn a_daemon_that_is_well_has_nothing_said_of_it() {
    let stage = Stage::new();
    stage.held.lock().unwrap().health = well();
    let (_, names, report) = names(&stage);
    let of_the_daemon =
        ["daemon-", "state-copied", "store-", "clock-backwards", "config-warning", "observe", "socket-elsewhere"];
    let said = |name: &&String| of_the_daemon.iter().any(|own| name.starts_with(own)) && *name != "daemon-no-account";
    assert_eq!(names.iter().filter(said).collect::<Vec<_>>(), Vec::<&String>::new());
    let sound = report["sound"].as_array().unwrap();
    assert!(sound.iter().any(|one| one["what"].as_str().unwrap().contains("key from a credential")), "{sound:?}");
}

#[test]
fn what_the_daemon_says_of_itself_is_judged_and_cannot_steer_the_terminal() {
    let stage = Stage::new();
    stage.held.lock().unwrap().health = Health {
        version: "9.9.9".to_owned(),
        store_integrity: Some("*** in database main ***".to_owned()),
        free: Some(1 << 20),
        clock_behind: Some(3600),
        socket: Some("/run/elsewhere".to_owned()),
        warnings: vec!["rule \"a\x1b[2J\" can never match".to_owned()],
        observe: Some(true),
        at_home: Some(false),
        ..well()
    };
    let (code, names, _) = names(&stage);
    assert_eq!(code, Some(2));
    for name in [
        "daemon-version",
        "state-copied",
        "store-damaged",
        "store-disk-full",
        "clock-backwards",
        "socket-elsewhere",
        "config-warning",
        "observe",
    ] {
        assert!(names.iter().any(|found| found == name), "{name} of {names:?}");
    }
    let shown = stage.run(&["doctor"], "").out;
    assert!(!shown.contains('\x1b') && shown.contains("\\u{1b}[2J"), "{shown}");
    assert!(stage.run(&["--color", "always", "doctor"], "").out.contains("\x1b[31mdanger\x1b[0m"));
}

#[test]
fn a_silent_daemon_is_a_finding_and_no_failure_of_the_tool() {
    let (code, names, _) = names(&Stage::without_service());
    assert_eq!(code, Some(2));
    assert!(names.contains(&"daemon-silent".to_owned()), "{names:?}");
}

#[test]
fn what_is_no_service_is_wrong_usage() {
    for service in ["", "../shadow", "/etc/shadow"] {
        let outcome = Stage::without_service().run(&["doctor", "--service", service], "");
        assert!(outcome.code == Some(2) && outcome.err.contains("is no PAM service"), "{outcome:?}");
    }
}
