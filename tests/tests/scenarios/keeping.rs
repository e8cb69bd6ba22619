//! Backups and new keys on a host that people log in to: nothing spent comes back, and a kill loses nothing.

use std::time::Duration;

use anyhow::{Context, Result};
use scenarios::{Host, HotpKey, Outcome, PAM_AUTH_ERR, PAM_SUCCESS, Stack};

const FILE: &str = "/root/backup.age";
const PASSPHRASE: &[u8] = b"correct horse battery\n";
/// After that, codes by time work again on a restored host: 11 steps, and the window around them.
const AFTER_A_RESTORE: Duration = Duration::from_secs(14 * 30);

fn host() -> Result<Host> {
    Host::build()
        .user_without_password("alice")
        .configuration("fail_delay = \"0s\"\n")
        .pam(Stack::code_alone("door"))
        .fake_clock()
        .start()
}

/// The tool, with the passphrase on its standard input.
fn keep(host: &Host, words: &[&str]) -> Result<Outcome> {
    let words = [&["countersign"], words, &["--passphrase-fd", "0"]].concat();
    host.feed_as("root", &words, PASSPHRASE)
}

fn log_in(host: &Host, code: &str) -> Result<i32> {
    Ok(host.attempt("door", "alice", &[code])?.result)
}

/// Carries the backup to another host, as a disk or a network would.
fn carry(from: &Host, to: &Host) -> Result<()> {
    std::fs::copy(from.outside(FILE), to.outside(FILE)).context("carrying the backup")?;
    Ok(())
}

#[test]
fn on_another_host_no_code_that_let_in_before_or_after_the_backup_lets_in_again() -> Result<()> {
    let old = host()?;
    let phone = old.enrol("alice")?;
    let fob = HotpKey::numbered(7);
    old.import_hotp("alice", &fob)?;
    let fob = fob.codes(0, 6)?;
    let before = [old.code(&phone, 0)?, fob[0].clone(), phone.recovery_codes[0].clone()];
    for code in &before {
        assert_eq!(log_in(&old, code)?, PAM_SUCCESS, "{code}");
    }
    keep(&old, &["backup", FILE])?.success()?;
    old.logged(&[("event", "backup"), ("outcome", "granted")])?;
    let after = [old.code(&phone, 1)?, fob[1].clone(), phone.recovery_codes[1].clone()];
    for code in &after {
        assert_eq!(log_in(&old, code)?, PAM_SUCCESS, "{code}");
    }

    let new = host()?;
    carry(&old, &new)?;
    // A daemon at work is left alone.
    let refused = keep(&new, &["restore", FILE])?;
    assert!(!refused.succeeded() && refused.stderr.contains("stop it first"), "{refused:?}");
    new.daemon().stop()?;
    let restored = keep(&new, &["restore", FILE])?.success()?;
    assert!(restored.stdout.contains("waits for enable"), "{restored:?}");
    new.start_daemon()?;
    for code in before.iter().chain(&after) {
        assert_ne!(log_in(&new, code)?, PAM_SUCCESS, "{code}");
        new.countersign(&["unlock", "alice"])?.success()?;
    }
    new.advance(AFTER_A_RESTORE)?;
    assert_eq!(log_in(&new, &new.code(&phone, 0)?)?, PAM_SUCCESS);
    assert_ne!(log_in(&new, &fob[2])?, PAM_SUCCESS, "it waits");
    new.countersign(&["enable", "alice"])?.success()?;
    assert_eq!(log_in(&new, &fob[2])?, PAM_SUCCESS);
    assert_eq!(log_in(&new, &phone.recovery_codes[2])?, PAM_SUCCESS);
    Ok(())
}

#[test]
fn a_planned_move_keeps_what_was_not_used_and_nothing_else() -> Result<()> {
    let old = host()?;
    let phone = old.enrol("alice")?;
    let used = old.code(&phone, 0)?;
    assert_eq!(log_in(&old, &used)?, PAM_SUCCESS);
    keep(&old, &["backup", FILE])?.success()?;
    let new = host()?;
    carry(&old, &new)?;
    new.daemon().stop()?;
    keep(&new, &["restore", FILE, "--trust-counters"])?.success()?;
    new.start_daemon()?;
    assert_eq!(log_in(&new, &used)?, PAM_AUTH_ERR);
    assert_eq!(log_in(&new, &new.code(&phone, 1)?)?, PAM_SUCCESS);
    assert_eq!(log_in(&new, &phone.recovery_codes[0])?, PAM_SUCCESS);
    Ok(())
}

#[test]
fn a_backup_that_was_cut_anywhere_is_refused_and_the_host_goes_on_as_before() -> Result<()> {
    let host = host()?;
    let phone = host.enrol("alice")?;
    keep(&host, &["backup", FILE])?.success()?;
    let whole = host.read(FILE)?;
    host.daemon().stop()?;
    for length in [whole.len() - 1, whole.len() / 2, 300, 100] {
        std::fs::write(host.outside(FILE), whole.get(..length).context("a shorter file")?)?;
        let refused = keep(&host, &["restore", FILE, "--replace", "--yes"])?;
        assert!(!refused.succeeded() && refused.stderr.contains("Nothing was changed"), "{length}: {refused:?}");
    }
    host.start_daemon()?;
    assert_eq!(log_in(&host, &host.code(&phone, 0)?)?, PAM_SUCCESS);
    Ok(())
}

#[test]
fn a_daemon_that_is_killed_while_the_key_is_rotated_goes_on_with_it_and_people_log_in() -> Result<()> {
    let host = host()?;
    let fob = HotpKey::numbered(9);
    host.import_hotp("alice", &fob)?;
    let uris: String =
        (0..3000).map(|number| HotpKey::numbered(number).uri(&format!("person{number}")) + "\n").collect();
    host.write("/root/people", &uris)?;
    host.countersign(&["import", "otpauth", "/root/people"])?.success()?;
    let old = host.countersign(&["key", "status", "--json"])?.success()?.stdout;
    host.countersign(&["key", "rotate", "--no-wait"])?.success()?;
    for code in fob.codes(0, 4)? {
        assert_eq!(log_in(&host, &code)?, PAM_SUCCESS);
        host.daemon().kill()?;
        host.start_daemon()?;
        assert_ne!(log_in(&host, &code)?, PAM_SUCCESS, "a spent code is spent under any key");
        host.countersign(&["unlock", "alice"])?.success()?;
    }
    let status = scenarios::wait("the end of the rotation", || {
        let status = host.countersign(&["key", "status", "--json"])?.success()?.stdout;
        Ok(status.contains("\"previous\": null").then_some(status))
    })?;
    assert_ne!(old, status);
    assert!(!host.has("/var/lib/countersign/master.key.previous"));
    let listed = host.countersign(&["list", "--state", "altered"])?.success()?.stdout;
    assert!(listed.contains("No account matches"), "{listed}");
    Ok(())
}
