//! The disk under the state is full, read-only or altered, or the key is gone: nobody is let in, the log says what is
//! wrong, and nothing is lost when it is right again.

use anyhow::Result;
use scenarios::{Host, HostBuilder, HotpKey, Line, PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL, PAM_SUCCESS, Stack, wait};

const STATE: &str = "/var/lib/countersign";
const STORE: &str = "/var/lib/countersign/store.sqlite";
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

/// Six codes of alice's and bob's fobs; the first of each has let in.
fn host_with_fobs(builder: HostBuilder) -> Result<(Host, [Vec<String>; 2])> {
    let host =
        builder.user_without_password("alice").user_without_password("bob").pam(Stack::code_alone("door")).start()?;
    let mut codes = Vec::new();
    for (user, seed) in [("alice", 30), ("bob", 31)] {
        let (fob, first) = HotpKey::distinct(seed, 16)?;
        host.import_hotp(user, &fob)?;
        assert_eq!(host.attempt("door", user, &[&first[0]])?.result, PAM_SUCCESS);
        codes.push(first);
    }
    Ok((host, codes.try_into().unwrap()))
}

fn is_let_in(host: &Host, user: &str, code: &str) -> Result<()> {
    let attempt = host.attempt("door", user, &[code])?;
    assert_eq!(attempt.result, PAM_SUCCESS, "{user}: {attempt:?}\n{}", host.diagnosis());
    Ok(())
}

/// Refused because nobody can decide, and not for anything that alice did.
fn is_refused(host: &Host, user: &str, code: &str, when: &str) -> Result<()> {
    let attempt = host.attempt("door", user, &[code])?;
    assert_eq!(attempt.result, PAM_AUTHINFO_UNAVAIL, "{when}: {attempt:?}\n{}", host.diagnosis());
    Ok(())
}

#[test]
fn a_disk_that_becomes_read_only_refuses_everybody_and_has_lost_nothing_when_it_is_mounted_again() -> Result<()> {
    let (host, [alice, bob]) = host_with_fobs(Host::build().state_on_a_disk())?;
    // What ext4 does to itself upon an error (mount option errors=remount-ro), files open for writing or not.
    host.run(&["mount", "-o", "remount,abort", STATE])?.success()?;
    for user in ["alice", "bob", "alice"] {
        is_refused(&host, user, if user == "alice" { &alice[1] } else { &bob[1] }, "read-only")?;
    }
    let reason = |line: &Line| line.program == "countersignd" && line.text.contains("the store does not work: ");
    wait("a line that says why", || Ok(host.syslog().into_iter().find(reason)))?;
    assert!(host.daemon().runs());
    let image = std::env::temp_dir().join(format!("countersign-read-only-{}", std::process::id()));
    std::fs::write(&image, host.disk()?)?;
    let people = Host::build().user_without_password("alice").user_without_password("bob");
    let again = people.pam(Stack::code_alone("door")).state_on_this_disk(&image).start();
    std::fs::remove_file(&image)?;
    let again = again?;
    let spent = again.attempt("door", "alice", &[&alice[0]])?;
    assert_eq!(spent.result, PAM_AUTH_ERR, "{spent:?}");
    is_let_in(&again, "alice", &alice[1])?;
    is_let_in(&again, "bob", &bob[1])?;
    assert_eq!(again.charged(), []);
    again.countersign(&["audit", "--verify"])?.success()?;
    Ok(())
}

#[test]
fn a_daemon_whose_state_is_mounted_read_only_does_not_start_and_says_why() -> Result<()> {
    let (host, [alice, _]) = host_with_fobs(Host::build().state_on_a_disk())?;
    host.daemon().stop()?;
    host.run(&["mount", "-o", "remount,ro", STATE])?.success()?;
    let refused = host.run_daemon()?;
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.contains(STATE) && refused.stderr.contains("Read-only file system"), "{refused}");
    is_refused(&host, "alice", &alice[1], "without a daemon")?;
    host.run(&["mount", "-o", "remount,rw", STATE])?.success()?;
    host.start_daemon()?;
    is_let_in(&host, "alice", &alice[1])
}

/// Harms the stopped store `$0` of alice and bob; what the daemon then says where it does not start.
const HARMED_FILES: [(&str, &str); 5] = [
    (": >$0", "it is empty, which a store never is"),
    ("truncate -s 4096 $0", "the store does not work: "),
    ("truncate -s -4096 $0", "the store does not work: "),
    ("printf 'x' | dd of=$0 bs=1 seek=3 conv=notrunc status=none", "the store does not work: file is not a database"),
    ("rm $0 && sqlite3 $0 'CREATE TABLE t (x)'", "is not a store of countersignd"),
];

#[test]
fn a_store_that_was_truncated_overwritten_or_replaced_is_not_opened_and_serves_again_when_it_is_put_back() -> Result<()>
{
    let (host, [alice, bob]) = host_with_fobs(Host::build())?;
    host.daemon().stop()?;
    host.run(&["cp", "-p", STORE, "/run/scratch/store"])?.success()?;
    for (harm, reason) in HARMED_FILES {
        host.run(&["sh", "-c", harm, STORE])?.success()?;
        host.run(&["chown", "countersign:", STORE])?.success()?;
        let refused = host.run_daemon()?;
        assert_eq!(refused.status, 1, "{harm}: {refused}");
        assert!(refused.stderr.contains(reason), "{harm}: {refused}");
        let told = |line: &Line| line.program == "countersignd" && line.text.contains(reason);
        wait(&format!("a line for {harm}"), || Ok(host.syslog().into_iter().find(told)))?;
        is_refused(&host, "alice", &alice[1], harm)?;
        host.run(&["sh", "-c", "rm -f $0 $0-wal $0-shm && cp -p /run/scratch/store $0", STORE])?.success()?;
    }
    host.start_daemon()?;
    is_let_in(&host, "alice", &alice[1])?;
    is_let_in(&host, "bob", &bob[1])
}

/// Changes of records in the stopped store, and whether bob's is changed too.
const ALTERED_RECORDS: [(&str, bool); 5] = [
    (
        "UPDATE authenticators SET sealed =
         CAST(iif(substr(sealed, 1, 1) = x'00', x'01', x'00') || substr(sealed, 2) AS BLOB)
         WHERE account = 'alice'",
        false,
    ),
    ("UPDATE authenticators SET counter = 0 WHERE account = 'alice'", false),
    ("UPDATE accounts SET failures = 7 WHERE name = 'alice'", false),
    (
        "CREATE TEMP TABLE old AS SELECT * FROM authenticators;
         UPDATE authenticators SET (nonce, sealed, mac) = (SELECT nonce, sealed, mac FROM old
             WHERE old.account = iif(authenticators.account = 'alice', 'bob', 'alice'))
         WHERE account IN ('alice', 'bob')",
        true,
    ),
    (
        "PRAGMA foreign_keys = OFF;
         UPDATE accounts SET name = 'x' WHERE name = 'alice'; UPDATE accounts SET name = 'alice' WHERE name = 'bob';
         UPDATE accounts SET name = 'bob' WHERE name = 'x'",
        true,
    ),
];

#[test]
fn a_record_that_was_altered_or_swapped_refuses_its_account_by_name_and_no_other() -> Result<()> {
    let (host, [alice, bob]) = host_with_fobs(Host::build())?;
    let mut of_bob = bob[1..].iter();
    for (change, of_both) in ALTERED_RECORDS {
        host.daemon().stop()?;
        host.run(&["cp", "-p", STORE, "/run/scratch/store"])?.success()?;
        host.run(&["sqlite3", STORE, change])?.success()?;
        host.start_daemon()?;
        is_refused(&host, "alice", &alice[1], change)?;
        host.logged(&[("event", "verification"), ("account", "alice"), ("reason", "corrupt-record")])?;
        host.logged(&[("event", "store"), ("outcome", "refused"), ("account", "alice")])?;
        if of_both {
            is_refused(&host, "bob", &bob[1], change)?;
            host.logged(&[("event", "verification"), ("account", "bob"), ("reason", "corrupt-record")])?;
        } else {
            is_let_in(&host, "bob", of_bob.next().unwrap())?;
        }
        host.daemon().stop()?;
        host.run(&["sh", "-c", "rm -f $0-wal $0-shm && cp -p /run/scratch/store $0", STORE])?.success()?;
        // The older store knows nothing of what bob did meanwhile.
        host.start_daemon()?;
        of_bob = bob[1..].iter();
    }
    is_let_in(&host, "alice", &alice[1])?;
    is_let_in(&host, "bob", &bob[1])?;
    assert_eq!(host.charged(), []);
    Ok(())
}

#[test]
fn openssh_is_refused_where_the_record_was_altered_and_let_in_where_it_is_put_back() -> Result<()> {
    let host = Host::build()
        .user_without_password("alice")
        .pam(Stack::sshd_key())
        .sshd("publickey,keyboard-interactive")
        .start()?;
    let phone = host.enrol("alice")?;
    host.daemon().stop()?;
    host.run(&["cp", "-p", STORE, "/run/scratch/store"])?.success()?;
    host.run(&["sqlite3", STORE, ALTERED_RECORDS[0].0])?.success()?;
    host.start_daemon()?;
    let refused = host.ssh("alice", "id -un").end()?;
    assert!(!refused.succeeded() && !refused.says("Verification code"), "{refused}");
    host.logged(&[("account", "alice"), ("service", "sshd"), ("reason", "corrupt-record")])?;
    host.daemon().stop()?;
    host.run(&["sh", "-c", "rm -f $0-wal $0-shm && cp -p /run/scratch/store $0", STORE])?.success()?;
    host.start_daemon()?;
    let code = host.code(&phone, 0)?;
    host.ssh("alice", "id -un").answer("Verification code: ", &code).expect("alice").end()?.success()?;
    Ok(())
}
