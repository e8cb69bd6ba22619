//! Every member of every interface, called by somebody who keeps to no contract.

use std::fs;

use anyhow::{Context, Result};
use scenarios::{Enrolment, Host, Outcome, PAM_SUCCESS, Stack, seed};

const FUZZER: &str = "/usr/lib/scratch/bus_fuzzer";

/// How long each run calls, in ms.
const LENGTH: &str = "3000";

/// What the daemon may have resident afterwards beyond what it had before, in KiB. The allocator and SQLite keep
/// up to 8 MiB after large messages; ten thousand calls that each left 2 KiB behind would be past it.
const GROWTH: u64 = 16 * 1024;

/// A host on which alice has an authenticator and mallory has none.
struct Target {
    host: Host,
    of_alice: Enrolment,
    before: State,
}

/// What must not change.
#[derive(Debug, PartialEq, Eq)]
struct State {
    accounts: String,
    alice: String,
    daemon: u64,
}

impl State {
    fn of(host: &Host) -> Result<Self> {
        let accounts = host.countersign(&["list", "--json"])?.success()?.stdout;
        let alice = host.countersign(&["status", "alice", "--json"])?.success()?.stdout;
        let found = host.run(&["pgrep", "-x", "countersignd"])?.success()?;
        Ok(Self { accounts, alice, daemon: found.stdout.trim().parse().context("one daemon")? })
    }
}

impl Target {
    fn new() -> Result<Self> {
        let host = Host::build()
            .user_without_password("alice")
            .user_without_password("mallory")
            .configuration("fail_delay = \"0s\"\n")
            .pam(Stack::code_alone("door"))
            .start()?;
        let of_alice = host.enrol("alice")?;
        let before = State::of(&host)?;
        Ok(Self { host, of_alice, before })
    }

    fn fuzz(&self, user: &str, arguments: &[&str]) -> Result<Outcome> {
        let seed = seed().to_string();
        println!("SCENARIO_SEED={seed} {user} {arguments:?}");
        let with_seed: Vec<&str> = arguments.iter().map(|word| if *word == "SEED" { &seed } else { *word }).collect();
        let outcome = self.host.run_as(user, &[&[FUZZER], &with_seed[..]].concat())?.success()?;
        println!("{}", outcome.stdout.trim());
        Ok(outcome)
    }

    /// The same daemon, the same state, no more memory, and alice logs in at once.
    fn is_unharmed(&self, resident_before: u64) -> Result<()> {
        let resident = self.host.daemon().figures()?.resident;
        println!("resident: {resident_before} KiB before, {resident} KiB after");
        assert!(resident < resident_before + GROWTH, "{resident_before} KiB before, {resident} KiB after");
        assert_eq!(State::of(&self.host)?, self.before);
        let login = self.host.attempt("door", "alice", &[&self.host.code(&self.of_alice, 0)?])?;
        assert_eq!(login.result, PAM_SUCCESS, "{login:?}");
        assert!(login.took.as_secs() < 2, "{login:?}");
        Ok(())
    }

    fn resident(&self) -> Result<u64> {
        Ok(self.host.daemon().figures()?.resident)
    }
}

/// A number after a word of the fuzzer's report.
fn figure(outcome: &Outcome, name: &str) -> usize {
    let mut words = outcome.stdout.split_whitespace();
    words.find(|word| *word == name).and_then(|_| words.next()?.parse().ok()).unwrap_or_default()
}

/// How many members the contract has on the bus, by the introspection data that is kept beside it.
fn members_of_the_contract() -> Result<usize> {
    let mut members = 0;
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dbus"))? {
        members += fs::read_to_string(entry?.path())?.matches("<method ").count();
    }
    Ok(members)
}

#[test]
fn calls_by_root_that_keep_to_no_contract_change_nothing() -> Result<()> {
    let target = Target::new()?;
    let resident = target.resident()?;
    // Root may change everybody: what is well-typed speaks of accounts that nobody has.
    let outcome = target.fuzz("root", &["calls", "bus", "SEED", LENGTH, "ghost", "nobody-at-all"])?;
    assert_eq!(figure(&outcome, "members"), members_of_the_contract()?);
    assert!(figure(&outcome, "results") > 0 && figure(&outcome, "errors") > 0, "{outcome}");
    target.is_unharmed(resident)
}

#[test]
fn calls_by_a_user_that_keep_to_no_contract_change_nothing() -> Result<()> {
    let target = Target::new()?;
    let resident = target.resident()?;
    let names = ["mallory", "alice", "root", "nobody-at-all"];
    let outcome = target.fuzz("mallory", &[&["calls", "bus", "SEED", LENGTH], &names[..]].concat())?;
    assert_eq!(figure(&outcome, "members"), members_of_the_contract()?);
    assert!(figure(&outcome, "results") > 0 && figure(&outcome, "errors") > 0, "{outcome}");
    target.is_unharmed(resident)
}

#[test]
fn calls_over_the_private_socket_that_keep_to_no_contract_change_nothing() -> Result<()> {
    for (user, name) in [("root", "ghost"), ("mallory", "mallory")] {
        let target = Target::new()?;
        let resident = target.resident()?;
        let outcome = target.fuzz(user, &["calls", "private", "SEED", LENGTH, name])?;
        assert!(figure(&outcome, "members") == 4 && figure(&outcome, "results") > 0, "{outcome}");
        target.is_unharmed(resident)?;
    }
    Ok(())
}

#[test]
fn random_bytes_at_the_private_socket_change_nothing() -> Result<()> {
    for user in ["root", "mallory"] {
        let target = Target::new()?;
        let resident = target.resident()?;
        let outcome = target.fuzz(user, &["bytes", "SEED", "400"])?;
        assert_eq!((figure(&outcome, "connections"), figure(&outcome, "welcomed")), (400, 200));
        target.is_unharmed(resident)?;
    }
    Ok(())
}
