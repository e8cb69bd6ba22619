//! A module that panics inside `pam_sm_authenticate`: the login is refused, the host lives on and prints nothing.
//!
//! The panicking module is the real one with the feature `panic-for-test`, built into a directory of its own.

#![allow(clippy::unwrap_used, reason = "a test that stops here has failed, which is what it is for")]

mod support;

use std::{
    io::{Read, Seek, stderr},
    path::Path,
    process::Command,
};

use nix::unistd::{dup, dup2_stderr};
use support::host::{self, Host};

#[test]
fn a_panic_in_the_module_is_a_refusal_and_the_host_lives() {
    // The linker's and cargo's own time apart, this takes no longer than the other tests: it is kept between runs.
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("panic-for-test");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "pam-module", "--lib", "--features", "panic-for-test"])
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .arg("--target-dir")
        .arg(&directory)
        .status()
        .unwrap();
    assert!(built.success());
    let module = directory.join("debug/libpam_countersign.so");
    let stack = format!("auth required {}", module.display());
    let (terminal, mut printed) = (dup(stderr()).unwrap(), tempfile::tempfile().unwrap());
    dup2_stderr(&printed).unwrap();
    let codes: Vec<i32> = (0..3).map(|_| Host::new(&stack, "ann").authenticate()).collect();
    dup2_stderr(&terminal).unwrap();
    assert_eq!(codes, [host::SYSTEM_ERR; 3]);
    let mut text = String::new();
    printed.rewind().unwrap();
    printed.read_to_string(&mut text).unwrap();
    assert_eq!(text, "", "nothing reaches the terminal");
}
