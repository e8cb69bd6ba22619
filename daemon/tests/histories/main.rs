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
mod interleavings;
mod play;
mod reference;
mod world;

use std::cell::RefCell;
use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::test_runner::{Config, RngSeed, TestRunner};

/// By this variable the test knows itself again, under libfaketime; it names the file with the time.
const CLOCK: &str = "COUNTERSIGN_TEST_CLOCK";
/// As many histories as are played where nobody says, in some seconds.
const USUAL: u32 = 200;
/// As many are played by one process with one seed, the next ones by another process with the next seed: daemons by the
/// thousand leave threads behind in a process that does not end with them.
const BATCH: usize = 500;
/// And their seed.
const SEED: u64 = 6238;

#[test]
fn every_history_goes_as_the_reference_says() {
    let count = number("COUNTERSIGN_HISTORIES").map_or(USUAL, |count| count.try_into().unwrap());
    let seed = number("COUNTERSIGN_SEED").unwrap_or(SEED);
    let Some(clock) = clock() else {
        for (batch, begin) in (0..count).step_by(BATCH).enumerate() {
            let (histories, seed) = (count - begin, seed + batch as u64);
            let histories = histories.min(BATCH as u32).to_string();
            let chosen = [("COUNTERSIGN_HISTORIES", histories), ("COUNTERSIGN_SEED", seed.to_string())];
            again("every_history_goes_as_the_reference_says", &chosen);
        }
        return;
    };
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: 2_000,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::with_cases(count)
    };
    let tally = RefCell::new(play::Tally::default());
    let played = TestRunner::new(config)
        .run(&action::histories(), |history| play::play(&clock, &history, &mut tally.borrow_mut()));
    if let Err(failure) = played {
        panic!("seed {seed}: {failure}");
    }
    say(&format!("seed {seed}, {count} histories: {:?}", tally.into_inner()));
}

/// With two kills where `COUNTERSIGN_KILLS` says so.
#[test]
fn no_order_of_two_logins_and_a_kill_lets_one_code_in_twice_or_loses_what_was_answered() {
    let Some(clock) = clock() else {
        return again("no_order_of_two_logins_and_a_kill_lets_one_code_in_twice_or_loses_what_was_answered", &[]);
    };
    let kills = number("COUNTERSIGN_KILLS").map_or(1, |kills| kills.try_into().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for pair in interleavings::PAIRS {
        let found = runtime.block_on(interleavings::search(&clock, pair, kills));
        say(&format!("{pair:?}: {} states, reached in {} runs", found.states, found.runs));
        assert!(found.states > 50, "there must be more states than that");
    }
}

/// The file with the time, where this process runs under libfaketime.
fn clock() -> Option<PathBuf> {
    env::var_os(CLOCK).map(PathBuf::from)
}

/// Runs this very test with a wall clock that it sets itself, and on a disk of its own. The other clocks go on as they
/// do. The disk is memory, because what is tested is what is written and not how fast; and it is so small that no room is
/// kept on it, which would have to be copied at each kill.
fn again(test: &str, chosen: &[(&str, String)]) {
    let folder = tempfile::tempdir().unwrap();
    let unshare = if nix::unistd::geteuid().is_root() { "-m" } else { "-rm" };
    let mount = "mount -t tmpfs -o size=48m,mode=0700 none \"$1\" && shift && exec \"$@\"";
    let disk = folder.path().join(world::DISK);
    std::fs::create_dir(&disk).unwrap();
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", env::consts::ARCH);
    assert!(Path::new(&library).exists(), "libfaketime is missing: packaging/dev/install-dependencies");
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "2027-01-15 08:00:00").unwrap();
    let status = Command::new("unshare")
        .args([unshare, "sh", "-c", mount, "mount"])
        .args([disk, env::current_exe().unwrap()])
        .args(["--exact", test, "--nocapture"])
        .envs([("LD_PRELOAD", library.as_str()), ("TZ", "UTC")])
        .envs([("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("FAKETIME_NO_CACHE", "1")])
        .envs(chosen.iter().map(|(name, value)| (name, value)))
        .envs([(CLOCK, &clock), ("FAKETIME_TIMESTAMP_FILE", &clock)])
        .status();
    assert!(status.unwrap().success());
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

fn say(what: &str) {
    writeln!(std::io::stdout().lock(), "{what}").unwrap();
}
