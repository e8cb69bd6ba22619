//! The help as golden files, so that a change of it is seen. `COUNTERSIGN_UPDATE_HELP=1` writes them anew.

use std::path::PathBuf;

use crate::stage::{finish, tool};

const COMMANDS: [&str; 48] = [
    "",
    "enroll",
    "status",
    "verify",
    "recovery-codes",
    "rename",
    "remove",
    "list",
    "unlock",
    "enable",
    "disable",
    "forget",
    "key",
    "key rotate",
    "key status",
    "key new",
    "key accept",
    "backup",
    "restore",
    "reset",
    "prune",
    "audit",
    "explain",
    "rehearse",
    "doctor",
    "pam",
    "pam enable",
    "pam confirm",
    "pam disable",
    "pam status",
    "pam try",
    "pam revert",
    "config",
    "config check",
    "config show",
    "import",
    "import otpauth",
    "import pskc",
    "import migration",
    "import aegis",
    "import andotp",
    "import freeotp",
    "import google-authenticator",
    "import oath",
    "import csv",
    "completions",
    "export",
    "resync",
];

fn help(command: &str) -> String {
    let mut tool = tool();
    tool.args(command.split_whitespace()).arg("--help");
    let outcome = finish(tool, "");
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""));
    outcome.out
}

fn golden(command: &str) -> PathBuf {
    let name = if command.is_empty() { "countersign".to_owned() } else { command.replace(' ', "-") };
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/help").join(name + ".txt")
}

#[test]
fn the_help_is_the_reviewed_one() {
    for command in COMMANDS {
        let (shown, golden) = (help(command), golden(command));
        if std::env::var_os("COUNTERSIGN_UPDATE_HELP").is_some() {
            std::fs::write(&golden, &shown).unwrap();
        }
        let reviewed = std::fs::read_to_string(&golden).unwrap_or_default();
        assert!(reviewed == shown, "{} differs; it would be:\n{shown}", golden.display());
    }
}

#[test]
fn every_command_has_a_reviewed_help_with_an_example() {
    let listed: Vec<String> = help("")
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    assert!(listed.len() >= 16, "{listed:?}");
    for command in listed {
        assert!(COMMANDS.contains(&command.as_str()), "{command} has no golden file");
        assert!(
            ["import", "config", "key", "pam"].contains(&command.as_str()) || help(&command).contains("Example"),
            "{command}"
        );
    }
}

#[test]
fn the_help_fits_in_80_columns() {
    for command in COMMANDS {
        let shown = help(command);
        let long = shown.lines().find(|line| line.chars().count() > 80);
        assert_eq!(long, None, "{command}");
    }
}
