//! A PAM host and a daemon to play the module between: the real `.so` under the real libpam, over the real contract.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that stops here has failed, which is what it is for"
)]

pub(crate) mod daemon;
pub(crate) mod host;

use std::path::{Path, PathBuf};

use dbus_api::{Action, Denial, Details, Step};

/// The module as cargo built it for this test run, beside the test's own executable.
pub(crate) fn module() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    let module = executable.parent().unwrap().join("libpam_countersign.so");
    assert!(module.is_file(), "{} is missing: cargo builds it with the tests of this package", module.display());
    module
}

/// One line of an `auth` stack with the module, reaching for `socket` and for no bus.
pub(crate) fn line(socket: &Path, arguments: &str) -> String {
    format!(
        "auth required {} socket={} bus=unix:path=/nonexistent/bus {arguments}",
        module().display(),
        socket.display()
    )
}

pub(crate) fn step(action: Action, text: &str) -> Step {
    Step { messages: Vec::new(), action: action as u32, text: text.to_owned(), details: Details::default() }
}

pub(crate) fn ask() -> Step {
    step(Action::AskHidden, "Code: ")
}

pub(crate) fn granted() -> Step {
    step(Action::Granted, "")
}

pub(crate) fn denied(denial: Denial) -> Step {
    let mut step = step(Action::Denied, "");
    step.details.denial = Some(denial as u32);
    step
}
