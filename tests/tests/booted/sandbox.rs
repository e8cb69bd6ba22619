//! The shipped unit at work: what the daemon needs works under its sandbox, and systemd keeps it alive.

use scenarios::{Booted, HotpKey, wait};

use crate::{
    package::{PASSWORD, installed, logged},
    suites,
};

/// A service that asks for a code and nothing else.
const CODE_ALONE: &str = "auth requisite pam_countersign.so\nauth required pam_permit.so\n";

/// A call that the filter refuses ends the daemon here, so that each one is seen.
#[test]
fn under_the_sandbox_everything_works_and_no_call_is_refused() {
    for suite in suites() {
        let machine = installed(&suite);
        drop_in(&machine, "[Service]\nSystemCallErrorNumber=kill\nRestart=no\n");
        machine.add_person("alice", PASSWORD).unwrap();
        machine.write("/etc/pam.d/code", CODE_ALONE).unwrap();
        machine.run(&["systemctl", "is-active", "nscd.service"]).unwrap().success().unwrap();
        let fob = HotpKey::numbered(3);
        machine.import_hotp("alice", &fob).unwrap();
        let codes = fob.codes(0, 4).unwrap();
        answer(&machine, "root", "alice", &codes[0], true);
        // The name service without its cache; the log without its reader, and with it again.
        machine.shell("systemctl stop nscd.service nscd.socket; systemctl restart rsyslog.service").unwrap();
        machine.shell("systemctl restart countersignd.service").unwrap();
        answer(&machine, "root", "alice", &codes[1], true);
        answer(&machine, "root", "alice", &codes[1], false);
        logged(&machine, &["countersignd[", "reason=\"reused\""]);
        somebody_that_systemd_alone_knows_enrols(&machine);
        polkit_is_asked(&machine);
        machine
            .shell("systemctl reload countersignd.service && countersign config show && countersign audit --verify")
            .unwrap();
        machine.shell("countersign recovery-codes alice --yes && countersign reset alice --yes").unwrap();
        machine.shell("systemctl stop countersignd.service").unwrap();
        let state =
            machine.shell("systemctl show -p Result -p ExecMainStatus -p NRestarts countersignd.service").unwrap();
        assert!(state.contains("Result=success") && state.contains("ExecMainStatus=0"), "{state}");
        let journal = machine.shell("journalctl -b --no-pager -u countersignd.service").unwrap();
        assert!(!journal.contains("SYS") && !journal.contains("core-dump"), "{journal}");
    }
}

fn somebody_that_systemd_alone_knows_enrols(machine: &Booted) {
    let record = "{\"userName\":\"erin\",\"uid\":61234,\"gid\":61234,\"homeDirectory\":\"/\",\"shell\":\"/bin/sh\"}\n";
    machine.write("/run/userdb/erin.user", record).unwrap();
    machine.shell("ln -sf erin.user /run/userdb/61234.user && getent passwd erin && ! grep erin /etc/passwd").unwrap();
    machine.shell("countersign enroll erin --no-confirm --json >/dev/null && countersign status erin").unwrap();
}

fn polkit_is_asked(machine: &Booted) {
    let refused = machine.run(&["runuser", "-u", "alice", "--", "countersign", "list"]).unwrap();
    assert!(!refused.succeeded(), "{refused}");
    let rule = "polkit.addRule(function(action, subject) { if (action.id == 'org.countersign.read' && \
                subject.user == 'alice') { return polkit.Result.YES; } });\n";
    machine.write("/etc/polkit-1/rules.d/10-alice.rules", rule).unwrap();
    machine.shell("systemctl restart polkit.service && runuser -u alice -- countersign list").unwrap();
}

/// The private socket under the shipped unit: a caller is whom the kernel names.
#[test]
fn two_users_on_the_private_socket_and_on_the_bus_are_told_apart() {
    for suite in suites() {
        let machine = installed(&suite);
        machine.write("/etc/pam.d/code", CODE_ALONE).unwrap();
        for (name, fob) in [("alice", 11), ("bob", 12)] {
            machine.add_person(name, PASSWORD).unwrap();
            machine.import_hotp(name, &HotpKey::numbered(fob)).unwrap();
        }
        let codes = HotpKey::numbered(12).codes(0, 3).unwrap();
        answer(&machine, "alice", "bob", &codes[0], false);
        let uid = machine.shell("id -u alice").unwrap();
        logged(&machine, &["countersignd[", "outcome=refused", &format!("caller_uid={} ", uid.trim())]);
        // The code was neither taken nor charged: it is still bob's to give.
        answer(&machine, "bob", "bob", &codes[0], true);
        answer(&machine, "root", "bob", &codes[1], true);
        // The same over the bus, whose answers the module takes from the owner of the socket alone.
        machine.write("/etc/pam.d/code", &CODE_ALONE.replace("countersign.so", "countersign.so socket=none")).unwrap();
        answer(&machine, "alice", "bob", &codes[2], false);
        answer(&machine, "bob", "bob", &codes[2], true);
    }
}

/// The daemon is away for as long as an upgrade may take, and no bus helps: who logs in meanwhile waits at the socket.
#[test]
fn a_login_waits_at_the_socket_until_the_daemon_is_there() {
    for suite in suites() {
        let machine = installed(&suite);
        let line = "pam_countersign.so bus=unix:path=/nonexistent timeout=60";
        machine.write("/etc/pam.d/code", &CODE_ALONE.replace("pam_countersign.so", line)).unwrap();
        let fob = HotpKey::numbered(13);
        machine.add_person("alice", PASSWORD).unwrap();
        machine.import_hotp("alice", &fob).unwrap();
        let codes = fob.codes(0, 1).unwrap();
        let late = "[Service]\nExecStartPre=/bin/sh -c 'until test -e /run/go; do sleep 0.1; done'\n";
        machine.write("/etc/systemd/system/countersignd.service.d/test.conf", late).unwrap();
        machine.shell("systemctl daemon-reload && systemctl stop countersignd.service").unwrap();
        let is = |state: &str| {
            let now = machine.shell("systemctl show -p ActiveState --value countersignd.service").unwrap();
            now.trim() == state
        };
        assert!(is("inactive"));
        std::thread::scope(|scope| {
            let login = scope.spawn(|| answer(&machine, "root", "alice", &codes[0], true));
            // Its connection is what starts the daemon.
            wait("a login at the socket", || Ok(is("activating").then_some(()))).unwrap();
            assert!(!login.is_finished(), "the login did not wait");
            machine.write("/run/go", "").unwrap();
            login.join().unwrap();
        });
        // It answers before it says that it is ready.
        wait("the daemon", || Ok(is("active").then_some(()))).unwrap();
        answer(&machine, "root", "alice", &codes[0], false);
    }
}

#[test]
fn the_daemon_is_started_by_the_bus_watched_and_started_anew() {
    for suite in suites() {
        let machine = installed(&suite);
        machine.shell("systemctl stop countersignd.service && countersign list").unwrap();
        machine.run(&["systemctl", "is-active", "countersignd.service"]).unwrap().success().unwrap();

        // Twice in the time that systemd allows, it says that it lives.
        drop_in(&machine, "[Service]\nWatchdogSec=2s\n");
        let heard = || machine.shell("systemctl show -p WatchdogTimestampMonotonic --value countersignd.service");
        for _ in 0..2 {
            let before = heard().unwrap();
            wait("a sign of life", || Ok((heard()? != before).then_some(()))).unwrap();
        }
        let restarts = || machine.shell("systemctl show -p NRestarts --value countersignd.service");
        assert_eq!(restarts().unwrap(), "0\n");
        machine.shell("systemctl kill --kill-whom=main -s STOP countersignd.service").unwrap();
        wait("a restart", || Ok((restarts()? == "1\n").then_some(()))).unwrap();
        let up = || Ok(machine.run(&["systemctl", "is-active", "countersignd.service"])?.succeeded().then_some(()));
        wait("the daemon", up).unwrap();
        machine.shell("countersign list").unwrap();
    }
}

/// countersignd(8), "The master key", as it stands there.
#[test]
fn the_master_key_can_lie_in_an_encrypted_credential() {
    for suite in suites() {
        let machine = installed(&suite);
        machine.add_person("alice", PASSWORD).unwrap();
        machine.write("/etc/pam.d/code", CODE_ALONE).unwrap();
        let fob = HotpKey::numbered(21);
        machine.import_hotp("alice", &fob).unwrap();
        machine
            .shell(
                "systemctl stop countersignd.service\n\
                 mkdir -p -m 0700 /etc/credstore.encrypted\n\
                 systemd-creds encrypt --name=countersign.key /var/lib/countersign/master.key \
                 /etc/credstore.encrypted/countersign.key\n\
                 rm -f /var/lib/countersign/master.key\n\
                 systemctl start countersignd.service",
            )
            .unwrap();
        answer(&machine, "root", "alice", &fob.codes(0, 1).unwrap()[0], true);
        assert!(!machine.has("/var/lib/countersign/master.key").unwrap());
    }
}

/// Verifies `user` as a program of `caller`'s does that uses PAM.
fn answer(machine: &Booted, caller: &str, user: &str, code: &str, granted: bool) {
    let script = format!("echo {code} | runuser -u {caller} -- pamtester code {user} authenticate");
    let outcome = machine.run(&["sh", "-c", &script]).unwrap();
    assert_eq!(outcome.says("successfully authenticated"), granted, "{caller} for {user}: {outcome}");
}

fn drop_in(machine: &Booted, text: &str) {
    machine.write("/etc/systemd/system/countersignd.service.d/test.conf", text).unwrap();
    machine.shell("systemctl daemon-reload && systemctl restart countersignd.service").unwrap();
}
