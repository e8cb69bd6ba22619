//! A new master key on a host without systemd: the daemon is stopped by hand, and nothing of it is root's afterwards.

use anyhow::Result;
use scenarios::{Host, PAM_SUCCESS, Stack};

#[test]
fn without_systemd_a_new_key_waits_until_the_daemon_is_stopped_by_hand() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    host.enrol("alice")?;
    let forget = ["key", "new", "--forget-accounts", "--yes"];
    let running = host.countersign(&forget)?;
    assert_eq!(running.status, 1, "{running}");
    assert!(running.says("another countersignd works with this state"), "{running}");
    host.daemon().stop()?;
    let kept = host.countersign(&["key", "new"])?;
    assert!(kept.status == 1 && kept.says("1 account is kept"), "{kept}");
    host.countersign(&forget)?.success()?;
    let state = host.run(&["stat", "-c", "%U %a", "/var/lib/countersign/master.key"])?.success()?;
    assert_eq!(state.stdout, "countersign 400\n");
    host.start_daemon()?;
    assert!(!host.countersign(&["list", "--json"])?.success()?.says("alice"));
    let phone = host.enrol("alice")?;
    let login = host.attempt("door", "alice", &[&host.code(&phone, 0)?])?;
    assert_eq!(login.result, PAM_SUCCESS, "{login:?}");
    Ok(())
}

#[test]
fn a_key_that_is_a_credential_is_not_replaced_by_a_file_that_nobody_reads() -> Result<()> {
    let host = Host::build().file("/etc/credstore.encrypted/countersign.key", "sealed").daemon_waits().start()?;
    let refused = host.countersign(&["key", "new"])?;
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.says("/etc/credstore.encrypted/countersign.key"), "{refused}");
    Ok(())
}
