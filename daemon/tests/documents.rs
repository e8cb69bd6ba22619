//! What the documents say of tests and of shipped units is so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The tests that a page names as `path::test`, with their paths in full; `…` is the path before.
fn named_tests(page: &str) -> Vec<(String, String)> {
    let short = [
        ("rules/", "verifier/tests/rules/"),
        ("interfaces/", "daemon/tests/interfaces/"),
        ("scenarios/", "tests/tests/scenarios/"),
        ("packages/", "tests/tests/packages/"),
        ("booted/", "tests/tests/booted/"),
    ];
    let mut last = String::new();
    let mut tests = Vec::new();
    // Every second part stands between backticks.
    for quoted in page.split('`').skip(1).step_by(2) {
        let Some((path, test)) = quoted.split_once("::") else { continue };
        if path != "…" && !path.ends_with(".rs") {
            continue;
        }
        if path != "…" {
            let long = short.iter().find_map(|(short, long)| Some(format!("{long}{}", path.strip_prefix(short)?)));
            last = long.unwrap_or_else(|| path.to_owned());
        }
        tests.push((last.clone(), test.to_owned()));
    }
    tests
}

#[test]
fn every_test_that_the_list_of_prior_vulnerabilities_names_exists() {
    let tests = named_tests(&read("docs/prior-vulnerabilities.md"));
    assert!(tests.len() > 90, "only {} tests are named", tests.len());
    let missing: Vec<String> = tests
        .iter()
        .filter(|(path, test)| {
            let source = fs::read_to_string(root().join(path)).unwrap_or_default();
            !source.contains(&format!("fn {test}("))
        })
        .map(|(path, test)| format!("{path}::{test}"))
        .collect();
    assert!(missing.is_empty(), "docs/prior-vulnerabilities.md names tests that there are not: {missing:#?}");
}

#[test]
fn every_row_of_the_list_of_prior_vulnerabilities_names_a_test_or_says_why_there_is_none() {
    let page = read("docs/prior-vulnerabilities.md");
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what went wrong"));
    for row in rows {
        let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        assert!(last.contains(".rs::") || last.contains("`…::") || last.contains("no test: "), "{row}");
    }
}

#[test]
fn the_shipped_unit_keeps_the_daemon_from_homes_privileges_and_the_network() {
    let unit = read("packaging/systemd/countersignd.service");
    for line in [
        "User=countersign",
        "ProtectHome=yes",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "RestrictAddressFamilies=AF_UNIX",
        "LimitCORE=0",
        "StateDirectoryMode=0700",
    ] {
        assert!(unit.lines().any(|there| there == line), "{line}");
    }
}
