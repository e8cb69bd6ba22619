//! The bus as the package sets it up: who may call what, with polkit and without, from sessions and from services; and
//! that calls which keep to no contract change nothing.

use std::collections::{BTreeMap, BTreeSet};

use scenarios::{Booted, Outcome, answers, driver, seed, shipped};

use crate::{
    package::{PASSWORD, installed},
    suites,
};

/// Where the callers are put.
const PROGRAMS: &str = "/usr/local/bin";

/// How long each run of the fuzzer calls, in ms.
const LENGTH: &str = "3000";

/// The actions of polkit, and for each the members that it lets through (docs/dbus/callers.md).
const ACTIONS: [&str; 3] = ["org.countersign.read", "org.countersign.unlock", "org.countersign.manage"];

/// The rows of the table in the docs: a member, and what it answers to root, the account itself, another user, and the
/// uid that stands for users without one.
fn table() -> BTreeMap<String, [String; 4]> {
    let page = std::fs::read_to_string(shipped("docs/dbus/callers.md")).unwrap();
    let cells = |row: &str| row.split(" | ").map(|cell| cell.trim_matches(['|', ' ', '`']).to_owned()).collect();
    let rows = page.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 6);
    rows.map(|row| {
        let cells: Vec<String> = cells(row);
        (cells[0].clone(), [1, 2, 3, 4].map(|column: usize| cells[column].clone()))
    })
    .collect()
}

/// The members that the docs say an action lets through.
fn let_through_by(action: &str) -> BTreeSet<String> {
    let page = std::fs::read_to_string(shipped("docs/dbus/callers.md")).unwrap();
    let mut lines = page.lines().skip_while(|line| !line.starts_with(&format!("- `{action}`: ")));
    let first = lines.next().unwrap();
    let item: String = [first].into_iter().chain(lines.take_while(|line| line.starts_with("  "))).collect();
    let names = item.split('`').filter(|word| word.chars().all(|letter| letter.is_ascii_alphabetic()));
    names.filter(|name| !name.is_empty()).map(|name| format!("Admin.{name}")).collect()
}

/// A machine on which alice has an authenticator and mallory has none.
fn machine(suite: &str) -> Booted {
    let machine = installed(suite);
    for name in ["alice", "mallory"] {
        machine.add_person(name, PASSWORD).unwrap();
    }
    for program in ["member_caller", "bus_fuzzer"] {
        machine.bring(&driver(program).unwrap(), PROGRAMS).unwrap();
    }
    machine.enrol("alice").unwrap();
    machine.write("/etc/countersign/countersign.toml", "[admin]\nexport = true\n").unwrap();
    machine.shell("systemctl reload countersignd.service").unwrap();
    machine
}

/// Calls every member about alice as somebody who is logged in nowhere, as a service is.
fn call(machine: &Booted, caller: &str, way: &str) -> Outcome {
    let program = format!("{PROGRAMS}/member_caller");
    let outcome = match caller {
        "root" => machine.run(&[&program, way, "alice"]),
        other => machine.run(&["runuser", "-u", other, "--", &program, way, "alice"]),
    };
    outcome.unwrap().success().unwrap()
}

/// The same within a session of logind's, over ssh.
fn call_from_a_session(machine: &Booted, caller: &str) -> BTreeMap<String, &'static str> {
    let command = format!("test -n \"$XDG_SESSION_ID\" && {PROGRAMS}/member_caller bus alice");
    let outcome = machine.login(caller, PASSWORD, "", &command).unwrap().success().unwrap();
    answers(&outcome.stdout).unwrap()
}

fn assert_column(seen: &BTreeMap<String, &'static str>, column: usize, whose: &str) {
    let expected: BTreeMap<String, &str> = TABLE.iter().map(|(member, row)| (member.clone(), &*row[column])).collect();
    assert_eq!(*seen, expected, "{whose}");
}

static TABLE: std::sync::LazyLock<BTreeMap<String, [String; 4]>> = std::sync::LazyLock::new(table);

/// The columns of the table, and who is in each.
const COLUMNS: [(usize, &str); 5] = [(0, "root"), (1, "alice"), (2, "mallory"), (2, "countersign"), (3, "nobody")];

#[test]
fn every_caller_gets_what_the_table_in_the_docs_says_with_polkit_and_without() {
    for suite in suites() {
        let machine = machine(&suite);
        assert!(TABLE.len() >= 27, "{:?}", *TABLE);
        machine.shell("systemctl start polkit.service").unwrap();
        everybody_gets_the_table(&machine);
        polkit_lets_through_what_each_action_is_for(&machine);
        machine.shell("rm /etc/polkit-1/rules.d/*; systemctl mask --now polkit.service").unwrap();
        everybody_gets_the_table(&machine);
        the_private_socket_answers_the_same(&machine);
        let state = machine.shell("systemctl show -p NRestarts -p Result countersignd.service").unwrap();
        assert_eq!(state, "Result=success\nNRestarts=0\n");
    }
}

/// Nobody is asked for a password here, which an administrator could give.
fn everybody_gets_the_table(machine: &Booted) {
    for (column, caller) in COLUMNS {
        assert_column(&answers(&call(machine, caller, "bus").stdout).unwrap(), column, caller);
    }
    for (column, caller) in [(1, "alice"), (2, "mallory")] {
        assert_column(&call_from_a_session(machine, caller), column, &format!("{caller}'s session"));
    }
}

fn polkit_lets_through_what_each_action_is_for(machine: &Booted) {
    let admin = TABLE.keys().filter(|member| member.starts_with("Admin.")).cloned().collect::<BTreeSet<_>>();
    let mut named =
        BTreeSet::from(["Admin.Import", "Admin.CheckImport", "Admin.Export", "Admin.Backup"].map(str::to_owned));
    for action in ACTIONS {
        let rule = format!(
            "polkit.addRule(function(action, subject) {{ if (action.id == '{action}' && subject.user == 'mallory') \
             {{ return polkit.Result.YES; }} }});\n"
        );
        machine.write("/etc/polkit-1/rules.d/10-test.rules", &rule).unwrap();
        machine.shell("systemctl restart polkit.service").unwrap();
        let allowed = let_through_by(action);
        for seen in [answers(&call(machine, "mallory", "bus").stdout).unwrap(), call_from_a_session(machine, "mallory")]
        {
            let seen = seen.into_iter().filter(|(member, answer)| admin.contains(member) && *answer == "yes");
            assert_eq!(seen.map(|(member, _)| member).collect::<BTreeSet<_>>(), allowed, "{action}");
        }
        // A rule for somebody is none for somebody else.
        assert_column(&answers(&call(machine, "countersign", "bus").stdout).unwrap(), 2, "countersign");
        named.extend(allowed);
    }
    assert_eq!(named, admin, "members that no action is for");
}

fn the_private_socket_answers_the_same(machine: &Booted) {
    for (column, caller) in COLUMNS {
        let outcome = call(machine, caller, "private");
        if caller == "nobody" {
            assert_eq!(outcome.stdout, "hung-up\n", "{outcome}");
            continue;
        }
        let seen = answers(&outcome.stdout).unwrap();
        assert_eq!(seen.len(), 4, "{seen:?}");
        for (member, answer) in seen {
            assert_eq!(answer, TABLE[&member][column], "{caller} {member}");
        }
    }
}

#[test]
fn calls_that_keep_to_no_contract_change_nothing_in_the_shipped_daemon() {
    for suite in suites() {
        let machine = machine(&suite);
        let state = || {
            machine
                .shell(
                    "countersign list --json; countersign status alice --json; systemctl show -p NRestarts -p Result \
                     -p MainPID countersignd.service; cd /etc/pam.d && md5sum * | md5sum",
                )
                .unwrap()
        };
        let before = state();
        let seed = seed().to_string();
        // Root may change everybody: what is well-typed speaks of accounts that nobody has.
        let runs: [(&str, &str, &[&str]); 5] = [
            ("root", "bus", &["ghost", "nobody-at-all"]),
            ("mallory", "bus", &["mallory", "alice", "root", "nobody-at-all"]),
            ("countersign", "bus", &["countersign", "alice", "root"]),
            ("root", "private", &["ghost"]),
            ("mallory", "private", &["mallory", "alice"]),
        ];
        for (caller, way, names) in runs {
            let mut arguments = vec!["runuser", "-u", caller, "--", "/usr/local/bin/bus_fuzzer", "calls", way];
            arguments.extend([&*seed, LENGTH]);
            arguments.extend(names);
            let outcome = machine.run(&arguments).unwrap().success().unwrap();
            println!("SCENARIO_SEED={seed} {caller} {way}: {}", outcome.stdout.trim());
            assert!(figure(&outcome, "results") > 0, "{outcome}");
            let members = if way == "bus" { TABLE.len() } else { 4 };
            assert_eq!(figure(&outcome, "members"), members, "{outcome}");
            assert_eq!(state(), before, "{caller} over {way}");
        }
        let journal = machine.shell("journalctl -b --no-pager -u countersignd.service").unwrap();
        assert!(!journal.contains("panicked") && !journal.contains("core-dump"), "{journal}");
    }
}

/// A number after a word of the fuzzer's report.
fn figure(outcome: &Outcome, name: &str) -> usize {
    let mut words = outcome.stdout.split_whitespace();
    words.find(|word| *word == name).and_then(|_| words.next()?.parse().ok()).unwrap_or_default()
}
