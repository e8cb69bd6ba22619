//! What the sandbox refuses the daemon while people log in, known to whatever name service: nothing.

use scenarios::{Booted, HotpKey};

use crate::{
    package::{PASSWORD, installed, logged},
    suites,
};

/// The key and the code, as the README has it.
const KEY_AND_CODE: &str = "auth requisite pam_countersign.so\nauth required pam_permit.so\n";

/// How a call ends that the sandbox refuses. None is tolerated: the daemon asks for nothing that it does not need.
const REFUSALS: [&str; 4] = ["EPERM", "EACCES", "EROFS", "SIGSYS"];

#[test]
fn while_people_log_in_the_sandbox_refuses_the_daemon_nothing() {
    for suite in suites() {
        let machine = installed(&suite);
        let codes = prepare(&machine);
        let trace = machine.trace().unwrap();
        machine.shell("systemctl restart countersignd.service").unwrap();
        people_log_in(&machine, &codes);
        administrators_administer(&machine);
        machine.shell("systemctl stop countersignd.service").unwrap();
        let calls = trace.end().unwrap();
        for seen in ["prctl(PR_SET_DUMPABLE", "fsync(", "/run/nscd/socket", "sendto("] {
            assert!(calls.iter().any(|call| call.contains(seen)), "{seen} was not seen among {} calls", calls.len());
        }
        let refused: Vec<_> = calls.iter().filter(|call| REFUSALS.iter().any(|word| call.contains(word))).collect();
        assert!(refused.is_empty(), "{refused:#?}");
    }
}

/// Alice with a key fob, at ssh by key and code, at sudo by password and code.
fn prepare(machine: &Booted) -> Vec<String> {
    machine.add_person("alice", PASSWORD).unwrap();
    machine.write("/etc/sudoers.d/alice", "Defaults timestamp_timeout=0\nalice ALL=(ALL) ALL\n").unwrap();
    machine.shell("systemctl start nscd.service && pam-auth-update --enable countersign").unwrap();
    let sshd = machine.read("/etc/pam.d/sshd").unwrap().replace("@include common-auth\n", KEY_AND_CODE);
    machine.write("/etc/pam.d/sshd", &sshd).unwrap();
    let fob = HotpKey::numbered(41);
    machine.import_hotp("alice", &fob).unwrap();
    fob.codes(0, 4).unwrap()
}

fn people_log_in(machine: &Booted, codes: &[String]) {
    let login = |code: &str| machine.login("alice", PASSWORD, code, "id -un").unwrap();
    login(&codes[0]).success().unwrap();
    let used = login(&codes[0]);
    assert!(!used.succeeded(), "{used}");
    machine
        .ssh("alice", "sudo id -un")
        .answer("Verification code: ", &codes[1])
        .answer("password for alice: ", PASSWORD)
        .answer("Verification code: ", &codes[2])
        .expect("root")
        .end()
        .unwrap()
        .success()
        .unwrap();
    let unknown = machine.login("nobody-here", PASSWORD, "123456", "id -un").unwrap();
    assert!(!unknown.succeeded(), "{unknown}");
    logged(machine, &["countersignd[", "outcome=granted", "service=\"sudo\""]);
}

fn administrators_administer(machine: &Booted) {
    let refused = machine.run(&["runuser", "-u", "alice", "--", "countersign", "list"]).unwrap();
    assert!(!refused.succeeded(), "{refused}");
    machine
        .shell(
            "systemctl reload countersignd.service && countersign config show && countersign audit --verify && \
             countersign doctor --json; countersign recovery-codes alice --yes && countersign reset alice --yes",
        )
        .unwrap();
}

/// Each name service has a socket and files of its own, which the sandbox must not hide. nscd, which would ask them in the
/// daemon's place, is stopped; it is asked in the test above.
#[test]
fn people_of_systemd_and_of_sssd_log_in_without_nscd() {
    for suite in suites() {
        let machine = installed(&suite);
        prepare(&machine);
        machine.shell("systemctl disable --now nscd.service").unwrap();
        add_to_systemd(&machine, "erin", 61234);
        add_to_sssd(&machine, "dora", 61235);
        let trace = machine.trace().unwrap();
        machine.shell("systemctl restart countersignd.service").unwrap();
        for (name, number) in [("erin", 51), ("dora", 52)] {
            let fob = HotpKey::numbered(number);
            machine.import_hotp(name, &fob).unwrap();
            let codes = fob.codes(0, 2).unwrap();
            let (right, used) = (
                machine.login(name, PASSWORD, &codes[0], "id -un"),
                machine.login(name, PASSWORD, &codes[0], "id -un"),
            );
            assert_eq!(right.unwrap().success().unwrap().stdout, format!("{name}\n"));
            let used = used.unwrap();
            assert!(!used.succeeded(), "{name} was let in with a used code: {used}");
            logged(&machine, &["countersignd[", "outcome=granted", &format!("account=\"{name}\"")]);
        }
        let calls = trace.end().unwrap();
        for socket in ["/run/systemd/userdb/", "/var/lib/sss/pipes/nss"] {
            let reached =
                |call: &&String| call.starts_with("connect(") && call.contains(socket) && call.ends_with("= 0");
            assert!(calls.iter().any(|call| reached(&call)), "{socket} was not reached");
        }
    }
}

/// A user whom no file of /etc knows: a record of systemd's alone (nss-systemd(8)).
fn add_to_systemd(machine: &Booted, name: &str, uid: u32) {
    let record = format!(
        "{{\"userName\":\"{name}\",\"uid\":{uid},\"gid\":{uid},\"homeDirectory\":\"/home/{name}\",\"shell\":\"/bin/sh\"}}\n"
    );
    let group = format!("{{\"groupName\":\"{name}\",\"gid\":{uid}}}\n");
    machine.write(&format!("/etc/userdb/{name}.user"), &record).unwrap();
    machine.write(&format!("/etc/userdb/{name}.group"), &group).unwrap();
    machine
        .shell(&format!("cd /etc/userdb && ln -s {name}.user {uid}.user && ln -s {name}.group {uid}.group"))
        .unwrap();
    machine.give_home(name, uid).unwrap();
}

/// A user whom sssd alone knows, from a file of its own: as from a directory, without the network.
fn add_to_sssd(machine: &Booted, name: &str, uid: u32) {
    machine
        .write(
            "/etc/sssd/sssd.conf",
            "[sssd]\ndomains = test\nservices = nss\n[domain/test]\nid_provider = proxy\nproxy_lib_name = extrausers\n\
             auth_provider = none\n",
        )
        .unwrap();
    let line = format!("{name}:x:{uid}:{uid}:{name}:/home/{name}:/bin/sh\n");
    machine.write("/var/lib/extrausers/passwd", &line).unwrap();
    machine.write("/var/lib/extrausers/group", &format!("{name}:x:{uid}:\n")).unwrap();
    machine
        .shell(&format!(
            "chmod 0600 /etc/sssd/sssd.conf && sed -i -E 's/^(passwd|group):/& sss/' /etc/nsswitch.conf && \
             systemctl restart sssd.service && getent passwd {name}"
        ))
        .unwrap();
    machine.give_home(name, uid).unwrap();
}
