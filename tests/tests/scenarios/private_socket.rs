//! The private socket, called by people who are not root and do not behave.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use scenarios::{Enrolment, Host, HotpKey, PAM_SUCCESS, Stack, wait};

const CLIENT: &str = "/usr/lib/scratch/socket_client";

/// How long a login of somebody else may take while a user misbehaves.
const UNDISTURBED: Duration = Duration::from_secs(2);

fn host() -> Result<(Host, Enrolment, Enrolment)> {
    let host = Host::build()
        .user_without_password("alice")
        .user_without_password("bob")
        .pam(Stack::code_alone("door"))
        .start()?;
    let [of_alice, of_bob] = [host.enrol("alice")?, host.enrol("bob")?];
    Ok((host, of_alice, of_bob))
}

/// A client that holds connections until it is let go.
struct Held {
    client: Child,
    output: BufReader<ChildStdout>,
}

impl Held {
    fn by(host: &Host, user: &str, kind: &str, count: usize) -> Result<(Self, String)> {
        let mut command = host.command(user, &[CLIENT, "hold", kind, &count.to_string()])?;
        let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(client.stdout.take().context("a piped output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        Ok((Self { client, output }, line.trim().to_owned()))
    }

    /// Closes its input; returns what it said at last.
    fn let_go(mut self) -> Result<String> {
        drop(self.client.stdin.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest)?;
        self.client.wait()?;
        Ok(rest.trim().to_owned())
    }
}

#[test]
fn each_uid_verifies_itself_and_is_refused_another() -> Result<()> {
    let (host, of_alice, of_bob) = host()?;
    let verify = |caller: &str, user: &str, code: &str| -> Result<String> {
        let outcome = host.run_as(caller, &[CLIENT, "verify", user, code])?.success()?;
        Ok(outcome.stdout.trim().to_owned())
    };
    let [a, b] = [host.code(&of_alice, 0)?, host.code(&of_bob, 0)?];
    assert!(verify("alice", "bob", &b)?.contains("AccessDenied"));
    assert!(verify("bob", "alice", &a)?.contains("AccessDenied"));
    assert!(verify("alice", "nobody-at-all", "123456")?.contains("AccessDenied"));
    assert!(verify("alice", "root", "123456")?.contains("AccessDenied"));
    assert_eq!(verify("alice", "alice", &a)?, "Granted");
    assert_eq!(verify("bob", "bob", &b)?, "Granted");
    Ok(())
}

#[test]
fn a_forged_sender_header_changes_nothing() -> Result<()> {
    let (host, ..) = host()?;
    for sender in [":1.0", ":1.1", "org.freedesktop.DBus"] {
        let begin = |user: &str| -> Result<String> {
            let outcome = host.run_as("alice", &[CLIENT, "forge", user, sender])?.success()?;
            Ok(outcome.stdout.trim().to_owned())
        };
        assert_eq!(begin("bob")?, "error org.countersign.Countersign1.Error.AccessDenied", "sender {sender}");
        assert_eq!(begin("alice")?, "MethodReturn", "sender {sender}");
    }
    Ok(())
}

#[test]
fn a_verification_is_answered_by_nobody_but_its_own_connection() -> Result<()> {
    let (host, of_alice, _) = host()?;
    let code = host.code(&of_alice, 0)?;
    let own = host.private_socket()?;
    let (id, _) = own.begin("alice")?;
    for caller in ["root", "alice", "bob"] {
        for way in ["answer-another", "answer-another-over-the-bus"] {
            let answer = host.run_as(caller, &[CLIENT, way, &id.to_string(), &code])?.success()?;
            assert!(answer.says("NotFound"), "{caller}, {way}: {answer}");
        }
    }
    assert_eq!(own.respond(id, &code)?.action(), Some(dbus_api::Action::Granted));
    Ok(())
}

#[test]
fn messages_that_claim_to_be_giant_are_refused_before_anything_is_allocated() -> Result<()> {
    let (host, _, of_bob) = host()?;
    let before = host.daemon().figures()?;
    let (held, said) = Held::by(&host, "alice", "giant", 8)?;
    bob_logs_in(&host, &of_bob)?;
    let after = host.daemon().figures()?;
    assert!(after.peak < before.peak + 4096, "{said}: from {before:?} to {after:?}");
    assert_eq!(held.let_go()?, "still open 0");
    Ok(())
}

#[test]
fn silent_connections_disturb_nobody_and_are_hung_up() -> Result<()> {
    for kind in ["silent", "half"] {
        let (host, _, of_bob) = host()?;
        let quiet = host.daemon().figures()?;
        let (held, said) = Held::by(&host, "alice", kind, 100)?;
        bob_logs_in(&host, &of_bob)?;
        let crowded = host.daemon().figures()?;
        assert!(crowded.resident < quiet.resident + 4096, "{said}: {crowded:?}");
        // The handshake's time runs out; the daemon hangs up by itself.
        let hung_up = || Ok((host.daemon().figures()?.descriptors <= quiet.descriptors).then_some(()));
        wait("the daemon to hang up", hung_up)?;
        assert_eq!(held.let_go()?, "still open 0");
    }
    Ok(())
}

#[test]
fn a_hundred_connections_of_one_user_do_not_disturb_another() -> Result<()> {
    let (host, of_alice, of_bob) = host()?;
    let (held, said) = Held::by(&host, "alice", "begun", 100)?;
    assert_eq!(said, "holding 16 turned away 84");
    // No thread is started for a connection, and no group is looked up for one.
    let threads = host.daemon().figures()?.threads;
    assert!(threads.len() <= 7, "three, and four for the name service: {threads:?}");
    bob_logs_in(&host, &of_bob)?;
    let root_for_alice = host.attempt("door", "alice", &[&host.code(&of_alice, 0)?])?;
    assert_eq!(root_for_alice.result, PAM_SUCCESS, "{root_for_alice:?}");
    assert!(root_for_alice.took < UNDISTURBED, "{root_for_alice:?}");
    held.let_go()?;
    Ok(())
}

/// As a caller of his own and through root's PAM.
fn bob_logs_in(host: &Host, of_bob: &Enrolment) -> Result<()> {
    let fob = HotpKey::numbered(77);
    host.import_hotp("bob", &fob)?;
    let own = host.attempt_as("bob", "door", "bob", &[&host.code(of_bob, 0)?])?;
    let by_root = host.attempt("door", "bob", &[&fob.codes(0, 1)?[0]])?;
    for attempt in [own, by_root] {
        assert_eq!(attempt.result, PAM_SUCCESS, "{attempt:?}");
        assert!(attempt.took < UNDISTURBED, "{attempt:?}");
    }
    Ok(())
}
