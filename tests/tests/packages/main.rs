//! The packages as files, and what lies in them. They are made first: `make deb rpm`. What happens on a machine that
//! has one is played in `tests/booted`. Needs root, for roots of its own.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod debian;
mod manual;
mod policies;
mod rpm;
mod unit;

use std::{
    path::Path,
    process::{Command, Output},
};

/// Runs a program, and returns what it printed, errors last. It must succeed.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = attempt(program, arguments);
    assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output));
    text(&output)
}

/// Runs a program.
fn attempt(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// All that a program printed, errors last.
fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A path as text.
fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Unpacks a Debian package.
fn unpacked(package: &Path) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    run("dpkg-deb", &["-x", path(package), path(directory.path())]);
    directory
}
