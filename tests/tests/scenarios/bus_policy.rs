//! The policy file of the system bus: deny, then allow single members.

use anyhow::Result;
use scenarios::{Host, Outcome};

const NAME: &str = "org.countersign.Countersign1";

fn call(host: &Host, user: &str, member: &str, arguments: &[&str]) -> Result<Outcome> {
    let destination = format!("--dest={NAME}");
    let mut all = vec!["dbus-send", "--system", "--print-reply", &destination, "/org/countersign/Countersign1", member];
    all.extend_from_slice(arguments);
    host.run_as(user, &all)
}

#[test]
fn nobody_but_the_daemons_account_and_root_owns_the_name() -> Result<()> {
    let host = Host::build().user_without_password("alice").daemon_waits().start()?;
    let own = |user: &str| {
        let flags = format!("string:{NAME}");
        let bus = [
            "dbus-send",
            "--system",
            "--print-reply",
            "--dest=org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus.RequestName",
            &flags,
            "uint32:0",
        ];
        host.run_as(user, &bus)
    };
    let alice = own("alice")?;
    assert!(!alice.succeeded() && alice.says("AccessDenied"), "{alice}");
    assert!(own("root")?.success()?.says("uint32 1"));
    Ok(())
}

#[test]
fn what_the_policy_does_not_name_never_reaches_the_daemon() -> Result<()> {
    let host = Host::build().user_without_password("alice").start()?;
    let refused_by_the_bus = |outcome: &Outcome| {
        !outcome.succeeded() && outcome.says("org.freedesktop.DBus.Error.AccessDenied") && outcome.says("Rejected send")
    };
    for member in [
        "org.freedesktop.DBus.Properties.GetAll",
        "org.countersign.Countersign1.Verifier.Unheard",
        "org.countersign.Countersign1.Admin.Import",
        "org.freedesktop.DBus.Peer.GetMachineId",
    ] {
        let outcome = call(&host, "alice", member, &["string:x"])?;
        assert!(refused_by_the_bus(&outcome), "{member}: {outcome}");
    }
    let allowed = call(&host, "alice", "org.countersign.Countersign1.Enrollment.List", &["string:alice"])?;
    assert!(!refused_by_the_bus(&allowed), "{allowed}");
    Ok(())
}

#[test]
fn administration_is_roots_alone() -> Result<()> {
    let host = Host::build().user_without_password("alice").start()?;
    host.enrol("alice")?;
    for (member, arguments) in [
        ("Unlock", &["string:alice"][..]),
        ("Disable", &["string:alice"]),
        ("Enable", &["string:alice"]),
        ("Account", &["string:alice"]),
        ("Reset", &["string:alice", "uint64:0"]),
        ("Reload", &[]),
    ] {
        let member = format!("org.countersign.Countersign1.Admin.{member}");
        let alice = call(&host, "alice", &member, arguments)?;
        assert!(alice.says("org.countersign.Countersign1.Error.AccessDenied"), "{member}: {alice}");
        call(&host, "root", &member, arguments)?.success()?;
    }
    Ok(())
}
