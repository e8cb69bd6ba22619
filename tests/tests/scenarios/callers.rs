//! Who may call what over the true system bus and the private socket: docs/dbus/callers.md is what is seen here.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context, Result};
use scenarios::{Host, Outcome};

const CALLER: &str = "/usr/lib/scratch/member_caller";
/// As whom: nobody's uid is the one by which the kernel shows users that it cannot map.
const CALLERS: [&str; 4] = ["root", "alice", "mallory", "nobody"];

fn host() -> Result<Host> {
    let host = Host::build()
        .user_without_password("alice")
        .user_without_password("mallory")
        .configuration("fail_delay = \"0s\"\n")
        .start()?;
    host.enrol("alice")?;
    Ok(host)
}

fn call_all(host: &Host, caller: &str, way: &str) -> Result<Outcome> {
    let program = [CALLER, way, "alice"];
    let unmapped = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    if caller == "nobody" { host.run(&[&unmapped[..], &program].concat()) } else { host.run_as(caller, &program) }
}

/// What a call came to, for one who wonders whether it was let through.
fn word(answer: &str) -> Result<&'static str> {
    Ok(match answer.trim_start_matches("org.countersign.Countersign1.Error.") {
        "AccessDenied" | "org.freedesktop.DBus.Error.AccessDenied" => "no",
        "VerificationRequired" => "after a fresh code",
        // The permission was given; the thing itself is not there.
        "done" | "NotEnrolled" | "InvalidArgument" => "yes",
        "NotFound" => "own connection",
        other => anyhow::bail!("{other}"),
    })
}

/// What each member answered.
fn answers(outcome: &Outcome) -> Result<BTreeMap<String, &'static str>> {
    let lines = outcome.stdout.lines().map(|line| line.split_once(' ').context("a member and its answer"));
    lines.map(|line| line.and_then(|(member, answer)| Ok((member.to_owned(), word(answer)?)))).collect()
}

/// What belongs to something that was begun answers to its connection alone, be there nothing to answer.
fn cell(member: &str, answer: &'static str) -> &'static str {
    let of_one_connection =
        ["Verifier.Respond", "Verifier.Cancel", "Enrollment.Confirm", "Enrollment.Cancel"].contains(&member);
    if of_one_connection && answer == "yes" { "own connection" } else { answer }
}

#[test]
fn over_the_system_bus_every_caller_gets_what_the_table_in_the_docs_says() -> Result<()> {
    let host = host()?;
    let mut seen = Vec::new();
    let mut order = Vec::new();
    for caller in CALLERS {
        let outcome = call_all(&host, caller, "bus")?.success()?;
        order = outcome.stdout.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
        seen.push(answers(&outcome)?);
    }
    assert!(order.len() >= 23, "{order:?}");
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dbus/callers.md"))?;
    for member in &order {
        let mut row = format!("| `{member}` |");
        for answers in &seen {
            let _ = write!(row, " {} |", cell(member, answers[member]));
        }
        assert!(docs.contains(&format!("{row}\n")), "docs/dbus/callers.md does not hold what was seen:\n{row}");
    }
    let rows = docs.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, order.len(), "a row of a member that is not served");
    Ok(())
}

#[test]
fn over_the_private_socket_callers_get_the_same_and_the_unmapped_uid_is_hung_up_on() -> Result<()> {
    let host = host()?;
    for caller in ["root", "alice", "mallory"] {
        let bus = answers(&call_all(&host, caller, "bus")?.success()?)?;
        let private = answers(&call_all(&host, caller, "private")?.success()?)?;
        assert_eq!(private.len(), 4, "Verifier alone: {private:?}");
        for (member, answer) in private {
            assert_eq!(answer, bus[&member], "{caller} {member}");
        }
    }
    let nobody = call_all(&host, "nobody", "private")?.success()?;
    assert_eq!(nobody.stdout, "hung-up\n", "{nobody}");
    Ok(())
}
