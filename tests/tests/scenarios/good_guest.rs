//! Invariant 6: the module is a good guest. And it cannot be led to another daemon.

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Result;
use scenarios::{Cycles, Host, HotpKey, Line, PAM_AUTHINFO_UNAVAIL, PAM_SUCCESS, PAM_SYSTEM_ERR, Stack, staged, wait};

use crate::words::PROMPT;

/// The module's `timeout` here, in seconds, and how much later it may come back.
const TIMEOUT: u64 = 2;
const GRACE: Duration = Duration::from_secs(1);

/// A bus on which everybody may do everything, for whoever runs it.
const FAKE_BUS: &str = "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"
 \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">
<busconfig><type>session</type><listen>unix:path=/tmp/fake-bus</listen><auth>EXTERNAL</auth>
<policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/>
<allow own=\"*\"/><allow user=\"*\"/></policy></busconfig>";

const FAKE_ADDRESS: &str = "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/tmp/fake-bus";

#[test]
fn a_thousand_logins_in_one_process_leave_nothing_behind() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let fob = HotpKey::numbered(4);
    host.import_hotp("alice", &fob)?;
    let cycles = host.cycles("door", "alice", &fob.codes(0, 1000)?)?;
    assert_eq!(cycles.granted, 1000);
    nothing_grew(&cycles);
    Ok(())
}

#[test]
fn a_thousand_refusals_in_one_process_leave_nothing_behind() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let phone = host.enrol("alice")?;
    let wrong = vec![host.wrong_code(&phone)?; 1000];
    let while_locked = host.cycles("door", "alice", &wrong)?;
    host.daemon().stop()?;
    let without_daemon = host.cycles("door", "alice", &wrong)?;
    for cycles in [while_locked, without_daemon] {
        assert_eq!(cycles.granted, 0);
        nothing_grew(&cycles);
    }
    Ok(())
}

/// Equal threads, descriptors and signal dispositions; and no more memory than noise.
fn nothing_grew(cycles: &Cycles) {
    let without_memory = |figures: &[String]| -> Vec<String> {
        figures.iter().filter(|figure| !figure.starts_with("resident=")).cloned().collect()
    };
    assert_eq!(without_memory(&cycles.before), without_memory(&cycles.after));
    assert!(cycles.after.contains(&"threads=1".to_owned()), "{cycles:?}");
    let [before, after] = [&cycles.before, &cycles.after].map(|figures| Cycles::figure(figures, "resident").unwrap());
    assert!(after <= before + 256, "memory grew from {before} to {after} KiB");
}

#[test]
fn a_stopped_daemon_bus_or_both_hold_nobody_longer_than_the_timeout() -> Result<()> {
    let host = Host::build()
        .user_without_password("alice")
        .pam(Stack::code_alone("door"))
        .module_arguments(&format!("timeout={TIMEOUT}"))
        .file("/etc/pam.d/bus-only", &format!("auth required pam_countersign.so socket=none timeout={TIMEOUT}\n"))
        .start()?;
    let fob = HotpKey::numbered(5);
    host.import_hotp("alice", &fob)?;
    let mut codes = fob.codes(0, 20)?.into_iter();
    let mut comes_back_in_time = |service: &str, what: &str| -> Result<()> {
        let attempt = host.attempt(service, "alice", &[&codes.next().unwrap()])?;
        assert_eq!(attempt.result, PAM_AUTHINFO_UNAVAIL, "{what}: {attempt:?}");
        assert!(attempt.took <= Duration::from_secs(TIMEOUT) + GRACE, "{what}: {attempt:?}");
        Ok(())
    };
    host.daemon().pause()?;
    comes_back_in_time("door", "daemon stopped")?;
    comes_back_in_time("bus-only", "daemon stopped, over the bus")?;
    host.signal_bus("STOP")?;
    comes_back_in_time("door", "daemon and bus stopped")?;
    comes_back_in_time("bus-only", "daemon and bus stopped, over the bus")?;
    host.daemon().resume()?;
    comes_back_in_time("bus-only", "bus stopped")?;
    let by_socket = host.attempt("door", "alice", &[&fob.codes(5, 1)?[0]])?;
    assert_eq!(by_socket.result, PAM_SUCCESS, "a stopped bus stands in nobody's way: {by_socket:?}");
    host.signal_bus("CONT")?;
    let by_bus = host.attempt("bus-only", "alice", &[&fob.codes(6, 1)?[0]])?;
    assert_eq!(by_bus.result, PAM_SUCCESS, "{by_bus:?}");
    Ok(())
}

#[test]
fn a_daemon_that_stops_between_question_and_answer_holds_nobody_longer_than_the_timeout() -> Result<()> {
    let host = Host::build()
        .user_without_password("alice")
        .pam(Stack::code_alone("door"))
        .module_arguments(&format!("timeout={TIMEOUT}"))
        .start()?;
    let phone = host.enrol("alice")?;
    let code = host.code(&phone, 0)?;
    let mut login = host.command("root", &["/usr/lib/scratch/pam_client", "attempt", "door", "alice"])?;
    let mut login = login.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(login.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap()?, format!("prompt: {PROMPT}"));
    host.daemon().pause()?;
    let start = Instant::now();
    login.stdin.take().unwrap().write_all(format!("{code}\n").as_bytes())?;
    let end = said.map_while(Result::ok).last().unwrap();
    let waited = start.elapsed();
    login.wait()?;
    assert!(end.starts_with(&format!("result {PAM_AUTHINFO_UNAVAIL} ")), "{end}");
    assert!(waited <= Duration::from_secs(TIMEOUT) + GRACE, "{waited:?}");
    Ok(())
}

#[test]
fn a_panic_in_the_module_is_a_refusal_and_sudo_lives() -> Result<()> {
    let module = format!("/usr/lib/{}-linux-gnu/security/pam_countersign_panic.so", std::env::consts::ARCH);
    let host = Host::build()
        .user_without_password("alice")
        .bind(staged("pam_countersign_panic.so")?, &module)
        .pam(Stack::sudo().module("pam_countersign_panic.so"))
        .pam(Stack::code_alone("door").module("pam_countersign_panic.so"))
        .start()?;
    let phone = host.enrol("alice")?;
    let attempt = host.attempt("door", "alice", &[&host.code(&phone, 0)?])?;
    assert_eq!(attempt.result, PAM_SYSTEM_ERR, "{attempt:?}");
    let sudo = host.feed_as("alice", &["sudo", "-S", "id", "-u"], format!("{}\n", host.code(&phone, 0)?).as_bytes())?;
    assert_eq!((sudo.status, sudo.stdout.as_str()), (1, ""), "{sudo}");
    let sudos_own = |line: &Line| line.program == "sudo" && line.text.contains("alice : ");
    wait("sudo's own line in the log", || Ok(host.syslog().into_iter().find(sudos_own)))?;
    Ok(())
}

#[test]
fn sudo_and_su_are_not_led_to_a_fake_daemon_by_the_environment() -> Result<()> {
    // Without this line sudo hides the variable from its modules; su never does.
    let host = Host::build()
        .user_without_password("alice")
        .user_without_password("bob")
        .sudoers("Defaults env_keep += \"DBUS_SYSTEM_BUS_ADDRESS\"")
        .pam(Stack::sudo())
        .pam(Stack::new("su", "code-alone"))
        .module_arguments(&format!("timeout={TIMEOUT}"))
        .file("/etc/fake-bus.conf", FAKE_BUS)
        .start()?;
    let phone = host.enrol("alice")?;
    host.run_as("alice", &["dbus-daemon", "--config-file=/etc/fake-bus.conf", "--fork"])?.success()?;
    let fake = "/usr/lib/scratch/fake_daemon unix:path=/tmp/fake-bus >/tmp/fake.log 2>&1 &
        until grep -q waiting /tmp/fake.log; do :; done";
    host.run_as("alice", &["sh", "-c", fake])?.success()?;

    // The trap works: whoever follows the environment is let in by it.
    let follow = ["env", FAKE_ADDRESS, "/usr/lib/scratch/socket_client", "follow-environment", "lured"];
    let lured = host.run_as("alice", &follow)?.success()?;
    assert_eq!(lured.stdout, "Some(Granted)\n", "{lured}");
    let lured_so_far = host.read("/tmp/fake.log")?;

    let wrong = format!("{}\n", host.wrong_code(&phone)?);
    let sudo = ["env", FAKE_ADDRESS, "sudo", "-S", "id", "-u"];
    let su = ["env", FAKE_ADDRESS, "su", "bob", "-c", "id -u"];
    for daemon in ["running", "stopped"] {
        for command in [&sudo[..], &su[..]] {
            let refused = host.feed_as("alice", command, wrong.as_bytes())?;
            assert!(!refused.succeeded() && refused.stdout.is_empty(), "{daemon}: {refused}");
        }
        if host.daemon().runs() {
            host.daemon().stop()?;
        }
    }
    assert_eq!(host.read("/tmp/fake.log")?, lured_so_far, "the fake daemon was contacted");
    Ok(())
}

#[test]
fn sudo_works_where_the_environment_points_at_a_fake_bus() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::sudo()).start()?;
    let phone = host.enrol("alice")?;
    let code = format!("{}\n", host.code(&phone, 0)?);
    let sudo = host.feed_as("alice", &["env", FAKE_ADDRESS, "sudo", "-S", "id", "-u"], code.as_bytes())?;
    assert_eq!(sudo.success()?.stdout, "0\n");
    Ok(())
}
