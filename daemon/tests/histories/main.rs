//! Histories of accounts: logins, administrators, clocks that are set and daemons that are killed, played at once by the
//! daemon's interfaces over its real store and by a plain reference that keeps lists. Wherever the two differ, one of
//! them is wrong.
//!
//! A part of the histories is played by every `cargo test`; `COUNTERSIGN_HISTORIES` says how many, and
//! `COUNTERSIGN_SEED` which. A history that fails is made smaller and printed with its seed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod action;
mod play;
mod reference;
mod world;

use std::env;
use std::path::PathBuf;
use std::process::Command;

use proptest::test_runner::{Config, RngSeed, TestRunner};

/// By this variable the test knows itself again, under libfaketime; it names the file with the time.
const CLOCK: &str = "COUNTERSIGN_TEST_CLOCK";
/// As many histories as are played where nobody says, in some seconds.
const USUAL: u32 = 300;
/// And their seed.
const SEED: u64 = 6238;

#[test]
fn every_history_goes_as_the_reference_says() {
    let Some(clock) = env::var_os(CLOCK).map(PathBuf::from) else { return again() };
    let count = number("COUNTERSIGN_HISTORIES").map_or(USUAL, |count| count.try_into().unwrap());
    let seed = number("COUNTERSIGN_SEED").unwrap_or(SEED);
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: 2_000,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::with_cases(count)
    };
    let mut tally = play::Tally::default();
    let mut runner = TestRunner::new(config);
    let tallied = std::cell::RefCell::new(&mut tally);
    let played = runner.run(&action::histories(), |history| play::play(&clock, &history, &mut tallied.borrow_mut()));
    if let Err(failure) = played {
        panic!("seed {seed}: {failure}");
    }
    let mut out = std::io::stdout().lock();
    std::io::Write::write_fmt(&mut out, format_args!("seed {seed}, {count} histories: {tally:?}\n")).unwrap();
}

/// Runs this very test with a wall clock that it sets itself. The other clocks go on as they do.
fn again() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", env::consts::ARCH);
    assert!(std::path::Path::new(&library).exists(), "libfaketime is missing: packaging/dev/install-dependencies");
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "2027-01-15 08:00:00").unwrap();
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "every_history_goes_as_the_reference_says", "--nocapture"])
        .envs([("LD_PRELOAD", library.as_str()), ("TZ", "UTC")])
        .envs([("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("FAKETIME_NO_CACHE", "1")])
        .envs([(CLOCK, &clock), ("FAKETIME_TIMESTAMP_FILE", &clock)])
        .status();
    assert!(status.unwrap().success());
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}
