//! The disk under the state is full, read-only or altered, or the key is gone: nobody is let in, the log says what is
//! wrong, and nothing is lost when it is right again.

use anyhow::Result;
use scenarios::{Host, HotpKey, Line, PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL, PAM_SUCCESS, Stack, wait};

const KEY: &str = "/var/lib/countersign/master.key";

#[test]
fn a_full_disk_refuses_everybody_says_why_and_spends_nothing_until_there_is_room() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).state_on_a_disk().start()?;
    let fob = HotpKey::numbered(23);
    host.import_hotp("alice", &fob)?;
    let codes = fob.codes(0, 3)?;
    assert_eq!(host.attempt("door", "alice", &[&codes[0]])?.result, PAM_SUCCESS);

    let filler = "/var/lib/countersign/filler";
    let fill =
        host.run(&["sh", "-c", "cat /dev/zero >$0; df --output=avail /var/lib/countersign | tail -1", filler])?;
    assert_eq!(fill.stdout.trim(), "0", "the disk is not full: {fill}");
    for _ in 0..3 {
        let refused = host.attempt("door", "alice", &[&codes[1]])?;
        assert_eq!(refused.result, PAM_AUTHINFO_UNAVAIL, "{refused:?}");
    }
    let reason =
        |line: &Line| line.program == "countersignd" && line.text.contains("the disk that holds the store is full");
    wait("a line that says why", || Ok(host.syslog().into_iter().find(reason)))?;
    assert!(host.daemon().runs());

    host.run(&["rm", filler])?.success()?;
    let now = host.attempt("door", "alice", &[&codes[1]])?;
    assert_eq!(now.result, PAM_SUCCESS, "{now:?}\n{}", host.diagnosis());
    let again = host.attempt("door", "alice", &[&codes[1]])?;
    assert_eq!(again.result, PAM_AUTH_ERR, "{again:?}");
    assert_eq!(host.attempt("door", "alice", &[&codes[2]])?.result, PAM_SUCCESS);
    assert_eq!(host.charged(), []);
    host.countersign(&["audit", "--verify"])?.success()?;
    Ok(())
}

#[test]
fn a_daemon_whose_key_is_lost_or_altered_does_not_start_says_what_to_do_and_overwrites_nothing() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let fob = HotpKey::numbered(29);
    host.import_hotp("alice", &fob)?;
    host.daemon().stop()?;
    let state = || host.run(&["sh", "-c", "cd /var/lib/countersign && sha256sum countersign* master* .m* 2>&1"]);
    host.run(&["cp", "-p", KEY, "/run/scratch/key"])?.success()?;
    let cases = [
        ("rm $0", "but its master key does not: restore"),
        ("head -c 31 /run/scratch/key >$0", "it is shorter than 32 bytes; restore it from a backup"),
        ("(cat /run/scratch/key; echo) >$0", "it is longer than 32 bytes"),
        ("tr '\\000-\\377' '\\001-\\377\\000' </run/scratch/key >$0", "provide key "),
        ("chmod 0444 $0", "run: chmod 0400"),
        ("mv $0 /var/lib/countersign/other; ln -s other $0", "it is a symbolic link"),
    ];
    for (harm, reason) in cases {
        host.run(&["sh", "-c", harm, KEY])?.success()?;
        let before = state()?;
        let refused = host.run_daemon()?;
        assert_eq!(refused.status, 1, "{harm}: {refused}");
        assert!(refused.stderr.contains(reason), "{harm}: {refused}");
        assert_eq!(state()?.stdout, before.stdout, "{harm}");
        host.run(&["sh", "-c", "rm -f $0 && cp -p /run/scratch/key $0", KEY])?.success()?;
    }
    host.start_daemon()?;
    let attempt = host.attempt("door", "alice", &[&fob.codes(0, 1)?[0]])?;
    assert_eq!(attempt.result, PAM_SUCCESS, "{attempt:?}");
    Ok(())
}
