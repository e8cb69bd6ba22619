//! The daemon, or the machine, dies at the moment somebody is let in.

use anyhow::Result;
use scenarios::{Host, HotpKey, PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL, PAM_SUCCESS, Stack, Verdict};

#[test]
fn a_code_is_spent_although_the_daemon_is_killed_the_moment_it_granted() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let fob = HotpKey::numbered(2);
    host.import_hotp("alice", &fob)?;
    for code in fob.codes(0, 10)? {
        let verdict = host.private_socket()?.verify("alice", &code);
        host.daemon().kill()?;
        assert_eq!(verdict, Verdict::Granted);
        let down = host.attempt("door", "alice", &[&code])?;
        assert_eq!(down.result, PAM_AUTHINFO_UNAVAIL, "{down:?}");
        host.start_daemon()?;
        let again = host.attempt("door", "alice", &[&code])?;
        assert_eq!(again.result, PAM_AUTH_ERR, "{again:?}");
    }
    Ok(())
}

#[test]
fn a_totp_code_is_spent_although_the_daemon_is_killed_the_moment_it_granted() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let phone = host.enrol("alice")?;
    let codes = [host.code(&phone, 0)?, phone.recovery_codes[0].clone()];
    for code in codes {
        let verdict = host.private_socket()?.verify("alice", &code);
        host.daemon().kill()?;
        assert_eq!(verdict, Verdict::Granted);
        host.start_daemon()?;
        let again = host.attempt("door", "alice", &[&code])?;
        assert_ne!(again.result, PAM_SUCCESS, "{again:?}");
    }
    Ok(())
}

#[test]
fn a_wrong_code_stays_charged_although_the_daemon_is_killed_at_once() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let phone = host.enrol("alice")?;
    for _ in 0..3 {
        let verdict = host.private_socket()?.verify("alice", &host.wrong_code(&phone)?);
        host.daemon().kill()?;
        assert!(matches!(verdict, Verdict::Denied(..)), "{verdict:?}");
        host.start_daemon()?;
    }
    let locked = host.attempt("door", "alice", &[&host.code(&phone, 0)?])?;
    assert_eq!(locked.result, scenarios::PAM_MAXTRIES, "{locked:?}");
    Ok(())
}

#[test]
fn a_code_is_spent_on_a_copy_of_the_disk_taken_the_moment_it_was_granted() -> Result<()> {
    let host = Host::build().user_without_password("alice").state_on_a_disk().start()?;
    let fob = HotpKey::numbered(3);
    host.import_hotp("alice", &fob)?;
    let codes = fob.codes(0, 3)?;
    for (round, code) in codes.iter().enumerate() {
        let client = host.private_socket()?;
        let verdict = client.verify("alice", code);
        let image = host.disk()?;
        assert_eq!(verdict, Verdict::Granted);
        let copy = std::env::temp_dir().join(format!("countersign-disk-{}-{round}", std::process::id()));
        std::fs::write(&copy, image)?;
        let other = Host::build()
            .user_without_password("alice")
            .pam(Stack::code_alone("door"))
            .state_on_this_disk(&copy)
            .start();
        std::fs::remove_file(&copy)?;
        let other = other?;
        let again = other.attempt("door", "alice", &[code])?;
        assert_eq!(again.result, PAM_AUTH_ERR, "a spent code works after a power cut: {again:?}");
        let next = other.attempt("door", "alice", &[&fob.codes(u32::try_from(round)? + 1, 1)?[0]])?;
        assert_eq!(next.result, PAM_SUCCESS, "the copy knows nothing of alice: {next:?}");
    }
    Ok(())
}
