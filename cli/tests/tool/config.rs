//! The configuration: checked by the daemon's program, shown by the daemon.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::stage::{Outcome, Stage};

/// Runs `config check` with a program in the daemon's place that notes its arguments and environment.
fn check(stage: &Stage, script: &str, more: &[&str]) -> Outcome {
    let daemon = stage.directory.path().join("countersignd");
    let noted = stage.directory.path().join("noted");
    let text = format!("#!/bin/sh\necho \"$@\" >{0}\n/usr/bin/env >>{0}\n{script}\n", noted.display());
    std::fs::write(&daemon, text).unwrap();
    std::fs::set_permissions(&daemon, std::fs::Permissions::from_mode(0o700)).unwrap();
    stage.run(&[&["config", "check", "--daemon", daemon.to_str().unwrap()], more].concat(), "")
}

#[test]
fn a_right_configuration_is_said_to_be_right() {
    let stage = Stage::without_service();
    let outcome = check(&stage, "exit 0", &["./some.toml"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.out.contains("The configuration is right"), "{outcome:?}");
    let noted = std::fs::read_to_string(stage.directory.path().join("noted")).unwrap();
    assert!(noted.starts_with("--check-config --config ./some.toml\n"), "{noted}");
    let json: Value = serde_json::from_str(&check(&stage, "exit 0", &["--json"]).out).unwrap();
    assert_eq!(json, json!({"ok": true, "error": null, "warnings": []}));
}

#[test]
fn what_was_hardly_meant_is_told_and_is_no_error() {
    let stage = Stage::without_service();
    let script = "printf 'countersignd: warning: one\\ncountersignd: warning: \\033[2J two\\n' >&2";
    let outcome = check(&stage, script, &[]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.out.contains("- one\n- \\u{1b}[2J two\n"), "{outcome:?}");
    let json: Value = serde_json::from_str(&check(&stage, script, &["--json"]).out).unwrap();
    assert_eq!(json, json!({"ok": true, "error": null, "warnings": ["one", "\\u{1b}[2J two"]}));
}

#[test]
fn a_wrong_one_is_named_as_the_daemon_names_it_and_cannot_steer_the_terminal() {
    let stage = Stage::without_service();
    let script = "printf 'countersignd: /etc/x.toml:2:9: tries: 99 is \\033[2J out of range\\n' >&2; exit 1";
    let outcome = check(&stage, script, &[]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let shown = outcome.err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(shown, "countersign: /etc/x.toml:2:9: tries: 99 is \\u{1b}[2J out of range");
    let json = check(&stage, script, &["--json"]);
    let report: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((json.code, &report["ok"]), (Some(1), &json!(false)));
}

#[test]
fn a_program_that_cannot_check_is_no_right_configuration() {
    let stage = Stage::without_service();
    for script in ["exit 2", "kill -9 $$"] {
        assert_eq!(check(&stage, script, &[]).code, Some(3), "{script}");
    }
    let absent = stage.run(&["config", "check", "--daemon", "/nonexistent/countersignd"], "");
    assert!(absent.code == Some(3) && absent.err.contains("cannot be run"), "{absent:?}");
}

#[test]
fn the_settings_are_shown_with_their_origin() {
    let shown = Stage::new().run(&["config", "show"], "").out;
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "KEY               VALUE          FROM");
    assert_eq!(lines[1], "tries             2              /etc/countersign/countersign.toml:1");
    assert!(shown.contains("\\u{9b}2J"), "{shown}");
}

#[test]
fn the_settings_as_json_are_values_of_the_documented_shape() {
    let shown: Value = serde_json::from_str(&Stage::new().run(&["config", "show", "--json"], "").out).unwrap();
    assert_eq!(shown[0], json!({"key": "tries", "value": 2, "origin": "/etc/countersign/countersign.toml:1"}));
    assert_eq!(shown[1], json!({"key": "throttling.locks", "value": ["30s", "1m"], "origin": "default"}));
}
