//! Who may call what over the true system bus and the private socket: docs/dbus/callers.md is what is seen here.

use std::fmt::Write as _;

use anyhow::Result;
use scenarios::{Host, Outcome, answers};

const CALLER: &str = "/usr/lib/scratch/member_caller";
/// As whom: nobody's uid is the one by which the kernel shows users that it cannot map.
const CALLERS: [&str; 4] = ["root", "alice", "mallory", "nobody"];

fn host() -> Result<Host> {
    let host = Host::build()
        .user_without_password("alice")
        .user_without_password("mallory")
        .configuration("fail_delay = \"0s\"\n[admin]\nexport = true\n")
        .start()?;
    host.enrol("alice")?;
    Ok(host)
}

fn call_all(host: &Host, caller: &str, way: &str) -> Result<Outcome> {
    let program = [CALLER, way, "alice"];
    let unmapped = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    if caller == "nobody" { host.run(&[&unmapped[..], &program].concat()) } else { host.run_as(caller, &program) }
}

#[test]
fn over_the_system_bus_every_caller_gets_what_the_table_in_the_docs_says() -> Result<()> {
    let host = host()?;
    let mut seen = Vec::new();
    let mut order = Vec::new();
    for caller in CALLERS {
        let outcome = call_all(&host, caller, "bus")?.success()?;
        order = outcome.stdout.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
        seen.push(answers(&outcome.stdout)?);
    }
    assert!(order.len() >= 23, "{order:?}");
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dbus/callers.md"))?;
    for member in &order {
        let mut row = format!("| `{member}` |");
        for answers in &seen {
            let _ = write!(row, " {} |", answers[member]);
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
        let bus = answers(&call_all(&host, caller, "bus")?.success()?.stdout)?;
        let private = answers(&call_all(&host, caller, "private")?.success()?.stdout)?;
        assert_eq!(private.len(), 4, "Verifier alone: {private:?}");
        for (member, answer) in private {
            assert_eq!(answer, bus[&member], "{caller} {member}");
        }
    }
    let nobody = call_all(&host, "nobody", "private")?.success()?;
    assert_eq!(nobody.stdout, "hung-up\n", "{nobody}");
    Ok(())
}
