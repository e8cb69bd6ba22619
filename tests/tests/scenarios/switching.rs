//! `countersign pam`: the second factor switched on and off by the tool on hosts with a real sshd and sudo, and what
//! happens when nobody confirms it, somebody else is at work too, or the host does not let it write.

use std::{path::PathBuf, thread};

use anyhow::Result;
use scenarios::{Enrolment, Host, HotpKey, Outcome, wait};

const SSHD: &str = "/etc/pam.d/sshd";
const SUDO: &str = "/etc/pam.d/sudo";
const LEDGER: &str = "/var/lib/countersign-pam";
const PASSWORD: &str = "correct horse";
/// sshd's own settings, which the tool asks for: the running one has the same in a file of its own.
const SETTINGS: &str = "UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication no\n\
                        AuthenticationMethods publickey,keyboard-interactive\n";

/// A host with sshd and sudo as Debian ships them, nothing switched on, and alice, who has a fob and sudo.
struct Scene {
    host: Host,
    codes: Vec<String>,
}

impl Scene {
    fn new() -> Result<Self> {
        let profile = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../packaging/pam-configs/countersign");
        let host = Host::build()
            .user("alice", PASSWORD)
            .user("bob", PASSWORD)
            .sshd("publickey,keyboard-interactive")
            .file("/etc/ssh/sshd_config", SETTINGS)
            .bind(profile, "/usr/share/pam-configs/countersign")
            .start()?;
        let fob = HotpKey::numbered(1);
        host.import_hotp("alice", &fob)?;
        Ok(Self { host, codes: fob.codes(0, 20)? })
    }

    /// `sudo countersign pam …` by alice on a terminal; her sudo asks for what it asks for now.
    fn pam(&self, arguments: &[&str]) -> scenarios::Dialogue<'_> {
        let all = [&["sudo", "countersign", "pam"], arguments].concat();
        self.host.terminal("alice", &all)
    }

    /// `pam enable` of a service where `asked` is asked for before the code, while sudo asks for the password alone.
    fn enable(&self, arguments: &[&str], asked: &[&str], code: &str) -> Result<Outcome> {
        let begun = self.pam(&[&["enable"], arguments].concat()).answer("password for alice: ", PASSWORD);
        let first = asked.iter().fold(begun, |dialogue, prompt| dialogue.answer(prompt, PASSWORD));
        first.answer("Verification code: ", code).expect("That worked.").answer("[y/N]", "y").end()
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        self.host.read(path).unwrap_or_default()
    }

    fn asks(&self, path: &str) -> bool {
        String::from_utf8_lossy(&self.bytes(path)).contains("\nauth requisite pam_countersign.so\n")
    }
}

/// Gives root an authenticator, so that root may be the caller.
fn enrol_root(host: &Host) -> Result<Enrolment> {
    host.enrol("root")
}

#[test]
fn switched_on_for_a_time_and_not_confirmed_it_is_taken_back_byte_by_byte() -> Result<()> {
    let scene = Scene::new()?;
    let before = scene.bytes(SSHD);
    let outcome = scene.enable(&["sshd", "--for", "10s"], &[], &scene.codes[0])?.success()?;
    for words in ["--- /etc/pam.d/sshd", "+auth requisite pam_countersign.so", "-@include common-auth", "for 10 s"] {
        assert!(outcome.says(words), "{words}: {outcome}");
    }
    assert!(scene.asks(SSHD));
    let login =
        scene.host.ssh("alice", "id -un").answer("Verification code: ", &scene.codes[1]).expect("alice").end()?;
    login.success()?;
    // Nobody runs the tool meanwhile: the process that waits does it.
    wait("the change to be taken back", || Ok((scene.bytes(SSHD) == before).then_some(())))?;
    scene.host.ssh("alice", "id -un").answer("Password: ", PASSWORD).expect("alice").end()?.success()?;
    let late = scene.pam(&["confirm"]).answer("password for alice: ", PASSWORD).end()?;
    assert!(!late.succeeded() && late.says("nothing is waiting to be confirmed"), "{late}");
    Ok(())
}

#[test]
fn a_login_with_a_code_confirms_it_and_it_stays() -> Result<()> {
    let scene = Scene::new()?;
    let before = scene.bytes(SSHD);
    scene.enable(&["sshd", "--for", "1h"], &[], &scene.codes[0])?.success()?;
    let confirm = || scene.pam(&["confirm"]).answer("password for alice: ", PASSWORD).end();
    // The login that was tried before the change proves nothing, nor does one that is only played.
    let early = confirm()?;
    assert!(!early.succeeded() && early.says("has no login of alice with a code at sshd"), "{early}");
    scene
        .host
        .terminal("root", &["countersign", "pam", "try", "sshd", "alice"])
        .answer("Verification code: ", &scene.codes[1])
        .expect("alice was let in at sshd.")
        .end()?
        .success()?;
    assert!(!confirm()?.succeeded(), "a played login was taken for a real one");

    let code = &scene.codes[2];
    scene.host.ssh("alice", "id -un").answer("Verification code: ", code).expect("alice").end()?.success()?;
    // Somebody else did not log in.
    let bob = scene.host.terminal("bob", &["sudo", "countersign", "pam", "confirm"]);
    let bob = bob.answer("password for bob: ", PASSWORD).end()?;
    assert!(!bob.succeeded() && bob.says("has no login of bob"), "{bob}");
    let confirmed = confirm()?.success()?;
    assert!(confirmed.says("sshd goes on asking for a code: record"), "{confirmed}");
    let status = scene.host.countersign(&["pam", "status", "--json"])?.success()?;
    let status: serde_json::Value = serde_json::from_str(&status.stdout)?;
    let sshd = status["services"].as_array().and_then(|all| all.iter().find(|one| one["service"] == "sshd"));
    assert_eq!(sshd.map(|sshd| sshd["state"].clone()), Some("kept".into()), "{status}");

    scene.pam(&["disable", "sshd"]).answer("password for alice: ", PASSWORD).answer("[y/N]", "y").end()?.success()?;
    assert_eq!(scene.bytes(SSHD), before);
    assert!(!scene.host.has(&format!("{LEDGER}/sshd")));
    Ok(())
}

#[test]
fn sudo_with_a_code_is_confirmed_by_the_sudo_that_confirms() -> Result<()> {
    let scene = Scene::new()?;
    let before = scene.bytes(SUDO);
    scene.enable(&["sudo", "--for", "1h"], &["Password: "], &scene.codes[0])?.success()?;
    let asked = |arguments: &[&str], code: &str| {
        let dialogue = scene.pam(arguments).answer("password for alice: ", PASSWORD);
        dialogue.answer("Verification code: ", code)
    };
    asked(&["confirm"], &scene.codes[1]).expect("goes on asking").end()?.success()?;
    asked(&["disable", "sudo", "--yes"], &scene.codes[2]).end()?.success()?;
    assert_eq!(scene.bytes(SUDO), before);
    scene.host.logged(&[("event", "verification"), ("service", "sudo"), ("outcome", "granted")])?;
    Ok(())
}

#[test]
fn whoever_would_be_locked_out_is_told_and_nothing_changes() -> Result<()> {
    let scene = Scene::new()?;
    let before = (scene.bytes(SSHD), scene.bytes(SUDO));
    // Root is the caller, and has no authenticator.
    let root = scene.host.countersign(&["pam", "enable", "sshd", "--yes", "--no-try"])?;
    assert!(!root.succeeded() && root.says("you, root, would be locked out of sshd"), "{root}");
    let bob = scene.host.terminal("bob", &["sudo", "countersign", "pam", "enable", "sudo"]);
    let bob = bob.answer("password for bob: ", PASSWORD).end()?;
    assert!(!bob.succeeded() && bob.says("you, bob, would be locked out of sudo"), "{bob}");
    // Nobody at all could give a code, and root has no password: the last way is the one that would be closed.
    enrol_root(&scene.host)?;
    for account in ["root", "alice"] {
        scene.host.countersign(&["disable", account])?.success()?;
    }
    let none = scene.host.countersign(&["pam", "enable", "sudo", "login", "sshd", "--yes", "--no-try"])?;
    assert!(!none.succeeded() && none.says("nobody could become root any more"), "{none}");
    // A daemon that does not answer locks everybody out.
    scene.host.countersign(&["enable", "root"])?.success()?;
    scene.host.daemon().stop()?;
    let silent = scene.host.countersign(&["pam", "enable", "sshd", "--yes", "--no-try"])?;
    assert!(!silent.succeeded() && silent.says("daemon-silent"), "{silent}");
    assert_eq!((scene.bytes(SSHD), scene.bytes(SUDO)), before);
    assert!(!scene.host.has(&format!("{LEDGER}/sshd")));
    // Whoever insists is told what it costs, and gets it; the way back needs no daemon.
    let forced = scene.host.countersign(&["pam", "enable", "sshd", "--yes", "--force"])?.success()?;
    assert!(forced.says("daemon-silent") && scene.asks(SSHD), "{forced}");
    scene.host.countersign(&["pam", "disable", "sshd", "--yes"])?.success()?;
    assert_eq!(scene.bytes(SSHD), before.0);
    Ok(())
}

#[test]
fn every_service_that_debian_ships_is_switched_on_soundly_and_off_again() -> Result<()> {
    let scene = Scene::new()?;
    enrol_root(&scene.host)?;
    let shipped = scene.host.run(&["sh", "-c", "cd /etc/pam.d && grep -l '^@include common-auth' *"])?.success()?;
    // cron authenticates nobody: it only shares the file.
    let services: Vec<&str> = shipped.stdout.lines().filter(|name| !["cron", "other"].contains(name)).collect();
    assert!(["su", "login", "sudo", "sshd", "chsh"].iter().all(|usual| services.contains(usual)), "{services:?}");
    for service in services {
        let path = format!("/etc/pam.d/{service}");
        let before = scene.bytes(&path);
        scene.host.countersign(&["pam", "enable", service, "--yes", "--no-try"])?.success()?;
        let judged = scene.host.countersign(&["doctor", "--service", service, "--json"])?;
        let judged: serde_json::Value = serde_json::from_str(&judged.stdout)?;
        let findings = judged["findings"].as_array().into_iter().flatten();
        let wrong: Vec<_> = findings.filter(|finding| finding["area"] == "pam").collect();
        assert!(wrong.is_empty(), "{service}: {wrong:#?}");
        scene.host.countersign(&["pam", "disable", service, "--yes"])?.success()?;
        assert_eq!(scene.bytes(&path), before, "{service}");
    }
    Ok(())
}

#[test]
fn a_wrong_code_in_the_tried_login_changes_nothing() -> Result<()> {
    let scene = Scene::new()?;
    let before = scene.bytes(SUDO);
    let outcome = scene
        .pam(&["enable", "sudo"])
        .answer("password for alice: ", PASSWORD)
        .answer("Password: ", PASSWORD)
        .answer("Verification code: ", &scene.codes[19])
        .end();
    let outcome = outcome?;
    assert!(!outcome.succeeded() && outcome.says("that login was refused: nothing was changed"), "{outcome}");
    assert_eq!(scene.bytes(SUDO), before);
    assert_eq!(scene.host.failures("alice")?, 1, "the tried login counts as one");
    Ok(())
}

#[test]
fn a_read_only_etc_is_left_alone_and_named() -> Result<()> {
    let scene = Scene::new()?;
    enrol_root(&scene.host)?;
    let before = scene.bytes(SSHD);
    let read_only = "mount --bind /etc/pam.d /etc/pam.d && mount -o remount,bind,ro /etc/pam.d";
    scene.host.run(&["sh", "-c", read_only])?.success()?;
    let outcome = scene.host.countersign(&["pam", "enable", "sshd", "--yes", "--no-try", "--for", "1h"])?;
    assert!(!outcome.succeeded() && outcome.says("mounted read-only"), "{outcome}");
    assert_eq!(scene.bytes(SSHD), before);
    assert!(!scene.host.has(&format!("{LEDGER}/sshd")), "a change that was not made is not remembered");
    Ok(())
}

#[test]
fn killed_at_any_point_the_file_is_whole_and_the_way_back_leads_to_the_beginning() -> Result<()> {
    let scene = Scene::new()?;
    enrol_root(&scene.host)?;
    let before = scene.bytes(SSHD);
    let enable = ["countersign", "pam", "enable", "sshd", "--yes", "--no-try", "--for", "1h"];
    let begun = std::time::Instant::now();
    scene.host.run(&enable)?.success()?;
    let whole = begun.elapsed();
    let after = scene.bytes(SSHD);
    scene.host.countersign(&["pam", "disable", "sshd", "--yes"])?.success()?;
    let (mut changed, mut rounds) = (0, 0);
    // Most of the time goes into judging: the kills lie close together where the files are written.
    while rounds < 60 {
        let part = if rounds < 10 { 0.1 * f64::from(rounds) } else { 0.75 + 0.006 * f64::from(rounds) };
        let delay = format!("{:.4}", whole.as_secs_f64() * part + 0.001);
        scene.host.run(&[&["timeout", "-s", "KILL", &delay], &enable[..]].concat())?;
        let now = scene.bytes(SSHD);
        assert!(now == before || now == after, "half a file: {}", String::from_utf8_lossy(&now));
        changed += u32::from(now == after);
        scene.host.countersign(&["pam", "disable", "sshd", "--yes"])?.success()?;
        assert_eq!(scene.bytes(SSHD), before, "after {delay} s");
        rounds += 1;
    }
    println!("{changed} of {rounds} runs were killed after they had changed the file, or not at all");
    scene.host.run(&enable)?.success()?;
    let left = scene.host.run(&["sh", "-c", "ls -A /etc/pam.d | grep countersign"])?;
    assert_eq!(left.stdout, "", "a run that was killed left something that the next did not take away");
    Ok(())
}

#[test]
fn a_full_disk_that_cannot_hold_the_way_back_changes_nothing() -> Result<()> {
    let scene = Scene::new()?;
    enrol_root(&scene.host)?;
    let before = scene.bytes(SSHD);
    let full =
        "mkdir -m 0700 $0 && mount -t tmpfs -o size=16k,mode=0700 full $0 && ! cat /dev/zero 2>/dev/null >$0/filler";
    scene.host.run(&["sh", "-c", full, LEDGER])?.success()?;
    let outcome = scene.host.countersign(&["pam", "enable", "sshd", "--yes", "--no-try", "--for", "1h"])?;
    assert!(!outcome.succeeded() && outcome.says("Without it no PAM file is changed"), "{outcome}");
    assert_eq!(scene.bytes(SSHD), before);
    scene.host.run(&["rm", &format!("{LEDGER}/filler")])?.success()?;
    // What was begun there is no hindrance once there is room.
    scene.host.countersign(&["pam", "enable", "sshd", "--yes", "--no-try"])?.success()?;
    scene.host.countersign(&["pam", "disable", "sshd", "--yes"])?.success()?;
    assert_eq!(scene.bytes(SSHD), before);
    Ok(())
}

#[test]
fn of_two_that_switch_on_at_once_one_does_and_the_way_back_leads_to_the_beginning() -> Result<()> {
    let scene = Scene::new()?;
    enrol_root(&scene.host)?;
    let before = scene.bytes(SSHD);
    for _ in 0..4 {
        let enable = || scene.host.countersign(&["pam", "enable", "sshd", "--yes", "--no-try"]);
        let outcomes: Vec<Outcome> = thread::scope(|scope| {
            let runs: Vec<_> = (0..4).map(|_| scope.spawn(enable)).collect();
            runs.into_iter().map(|run| run.join().expect("it does not panic")).collect::<Result<_>>()
        })?;
        let done = outcomes.iter().filter(|outcome| outcome.says("From now on")).count();
        assert_eq!(done, 1, "{outcomes:#?}");
        for outcome in &outcomes {
            let told = ["From now on", "asks for a code already", "was changed meanwhile"];
            assert!(told.iter().any(|words| outcome.says(words)), "{outcome}");
        }
        scene.host.countersign(&["pam", "disable", "sshd", "--yes"])?.success()?;
        assert_eq!(scene.bytes(SSHD), before);
    }
    Ok(())
}

#[test]
fn a_file_changed_by_hand_is_left_and_explained_by_person_and_by_timer() -> Result<()> {
    let scene = Scene::new()?;
    enrol_root(&scene.host)?;
    let before = scene.bytes(SSHD);
    scene.host.countersign(&["pam", "enable", "sshd", "--yes", "--no-try", "--for", "10s"])?.success()?;
    scene.host.run(&["sh", "-c", "echo 'session optional pam_echo.so' >>/etc/pam.d/sshd"])?.success()?;
    let by_hand = scene.bytes(SSHD);
    let disabled = scene.host.countersign(&["pam", "disable", "sshd", "--yes"])?;
    for words in ["/etc/pam.d/sshd was changed by hand", "/var/lib/countersign-pam/sshd/0.before"] {
        assert!(!disabled.succeeded() && disabled.says(words), "{disabled}");
    }
    let told = || {
        let lines = scene.host.syslog();
        Ok(lines.into_iter().find(|line| line.text.contains("not taken back: sshd")))
    };
    wait("the log to say that it was not taken back", told)?;
    assert_eq!(scene.bytes(SSHD), by_hand);
    // The way back is still there for a person.
    assert_eq!(scene.bytes(&format!("{LEDGER}/sshd/0.before")), before);
    scene.host.run(&["cp", &format!("{LEDGER}/sshd/0.before"), SSHD])?.success()?;
    scene.host.countersign(&["pam", "disable", "sshd", "--yes"])?.success()?;
    assert_eq!(scene.bytes(SSHD), before);
    Ok(())
}

#[test]
fn the_process_that_waits_is_killed_and_the_next_run_of_the_tool_takes_it_back() -> Result<()> {
    let scene = Scene::new()?;
    enrol_root(&scene.host)?;
    let before = scene.bytes(SSHD);
    scene.host.countersign(&["pam", "enable", "sshd", "--yes", "--no-try", "--for", "10s"])?.success()?;
    scene.host.run(&["pkill", "-KILL", "-f", "pam revert --wai[t]"])?.success()?;
    let left = || -> Result<Option<()>> {
        let status = scene.host.countersign(&["status", "alice", "--json"])?.success()?;
        assert!(status.stdout.starts_with('{'), "standard output is the command's own: {status}");
        Ok(status.says("Nobody confirmed in time that sshd works").then_some(()))
    };
    wait("a run of the tool that takes it back", left)?;
    assert_eq!(scene.bytes(SSHD), before);
    Ok(())
}

#[test]
fn everything_that_includes_common_auth_is_switched_on_and_off_by_pam_auth_update() -> Result<()> {
    let scene = Scene::new()?;
    let common = "/etc/pam.d/common-auth";
    let before = scene.bytes(common);
    let outcome = scene.enable(&["--common", "--for", "1h"], &["Password: "], &scene.codes[0])?.success()?;
    assert!(outcome.says("+++ /etc/pam.d/common-auth"), "{outcome}");
    let asked = |arguments: &[&str], code: &str| {
        let dialogue = scene.pam(arguments).answer("password for alice: ", PASSWORD);
        dialogue.answer("Verification code: ", code)
    };
    asked(&["confirm"], &scene.codes[1]).expect("goes on asking").end()?.success()?;
    asked(&["status"], &scene.codes[2]).expect("by common-auth").end()?.success()?;
    asked(&["disable", "--common"], &scene.codes[3]).answer("[y/N]", "y").end()?.success()?;
    assert_eq!(scene.bytes(common), before);
    Ok(())
}
