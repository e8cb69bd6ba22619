//! The whole life of the package on a machine: installed, switched on, used, rebooted, upgraded under load, switched
//! off, removed, purged.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use scenarios::{Booted, HotpKey};

use crate::{
    package::{PASSWORD, debian, install, logged, of_version},
    suites,
};

/// What a machine writes by living, and what dpkg keeps of every package.
const ALIVE: &str = "(/proc|/sys|/dev|/run|/tmp|/var/tmp|/var/log|/var/cache|/var/lib/dpkg|/var/lib/systemd|/var/lib/pam|\
    /var/backups|/home|/root|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?|/etc/\\.pwd\\.lock|/var/mail|/var/spool|\
    /var/lib/sudo|/var/lib/private|/var/lib/polkit-1)";

const SSHD: &str = "/etc/pam.d/sshd";
const COMMON: &str = "/etc/pam.d/common-auth";

#[test]
fn a_package_is_installed_used_upgraded_under_load_and_purged_without_a_trace() {
    for suite in suites() {
        let machine = Booted::boot(&suite).unwrap();
        machine.add_person("alice", PASSWORD).unwrap();
        machine.write("/etc/sudoers.d/alice", "Defaults timestamp_timeout=0\nalice ALL=(ALL) ALL\n").unwrap();
        let before = machine.inventory(ALIVE).unwrap();
        machine.login("alice", PASSWORD, "", "id -un").unwrap().success().unwrap();

        installing_changes_no_login(&machine, &before);
        it_is_switched_on_and_asks(&machine);
        it_still_asks_after_a_reboot(&machine);
        it_is_upgraded_while_people_log_in(&machine);
        it_is_not_removed_while_a_pam_file_names_it(&machine);
        it_is_removed_and_finds_its_accounts_again(&machine);
        it_is_purged_without_a_trace(&machine, &before);
    }
}

fn installing_changes_no_login(machine: &Booted, before: &[String]) {
    let outcome = install(machine, &debian()).success().unwrap();
    assert!(!outcome.says("did not start"), "{outcome}");
    let now = machine.inventory(ALIVE).unwrap();
    let lost: Vec<_> = before.iter().filter(|line| !now.contains(line)).collect();
    assert!(lost.is_empty(), "installing changed {lost:?}");
    for unit in ["countersignd.service", "countersignd.socket"] {
        machine.run(&["systemctl", "is-active", unit]).unwrap().success().unwrap();
        machine.run(&["systemctl", "is-enabled", unit]).unwrap().success().unwrap();
    }
    machine.run(&["systemctl", "is-enabled", "countersign-pam-revert.service"]).unwrap().success().unwrap();
    machine.login("alice", PASSWORD, "", "id -un").unwrap().success().unwrap();
    assert_eq!(
        machine.shell("stat -c '%U %a' /var/lib/countersign /run/countersign").unwrap(),
        "countersign 700\nroot 755\n"
    );
}

/// By the tool, from alice's own logins: ssh with key and code, and everything that includes common-auth.
fn it_is_switched_on_and_asks(machine: &Booted) {
    let phone = machine.enrol("alice").unwrap();
    let codes = &phone.recovery_codes;
    let (sshd, common) = (machine.read(SSHD).unwrap(), machine.read(COMMON).unwrap());
    machine.shell(&format!("cp -p {SSHD} /root/sshd.pam; cp -p {COMMON} /root/common-auth.pam")).unwrap();
    let with_password = |command| machine.ssh("alice", command).answer("Password: ", PASSWORD);

    // A reboot ends a trial before anybody can log in.
    let on_trial = "sudo countersign pam enable sshd --for 1h";
    let tried = with_password(on_trial)
        .answer("password for alice: ", PASSWORD)
        .answer("Verification code: ", &codes[0])
        .expect("That worked.")
        .answer("[y/N]", "y")
        .expect("and at a reboot before")
        .end();
    tried.unwrap().success().unwrap();
    assert!(machine.read(SSHD).unwrap().contains("pam_countersign.so"));
    machine.reboot().unwrap();
    assert_eq!(machine.read(SSHD).unwrap(), sshd, "a reboot keeps what nobody confirmed");

    // systemd's timer ends it, too.
    let short = "countersign pam enable sshd --for 10s --yes --no-try --force";
    machine.shell(short).unwrap();
    let back = || Ok((machine.read(SSHD)? == sshd).then_some(()));
    scenarios::wait("the timer to take it back", back).unwrap();
    logged(machine, &["countersign: taken back, because nobody confirmed it: sshd"]);

    let tried = with_password(on_trial)
        .answer("password for alice: ", PASSWORD)
        .answer("Verification code: ", &codes[1])
        .answer("[y/N]", "y")
        .end();
    tried.unwrap().success().unwrap();
    let confirmed = machine
        .ssh("alice", "sudo countersign pam confirm")
        .answer("Verification code: ", &codes[2])
        .answer("password for alice: ", PASSWORD)
        .expect("sshd goes on asking for a code")
        .end();
    confirmed.unwrap().success().unwrap();

    let everything = machine
        .ssh("alice", "sudo countersign pam enable --common")
        .answer("Verification code: ", &codes[3])
        .answer("password for alice: ", PASSWORD)
        .answer("Password: ", PASSWORD)
        .answer("Verification code: ", &codes[4])
        .answer("[y/N]", "y")
        .end();
    everything.unwrap().success().unwrap();
    assert_ne!(machine.read(COMMON).unwrap(), common);

    let asked = machine.login("alice", PASSWORD, &machine.code(&phone, 0).unwrap(), "id -un").unwrap();
    assert_eq!(asked.success().unwrap().stdout, "alice\n");
    let wrong = machine.login("alice", PASSWORD, "", "id -un").unwrap();
    assert!(!wrong.succeeded(), "a login without a code: {wrong}");
    // The phone's codes are spent for a while: recovery codes let in, too.
    machine
        .ssh("alice", "sudo id -un")
        .answer("Verification code: ", &codes[5])
        .answer("password for alice: ", PASSWORD)
        .answer("Verification code: ", &codes[6])
        .expect("root")
        .end()
        .unwrap()
        .success()
        .unwrap();
    logged(machine, &["countersignd[", "event=verification outcome=granted", "account=\"alice\"", "service=\"sudo\""]);
    logged(machine, &["countersignd[", "outcome=granted", "service=\"sshd\"", "rhost=\"127.0.0.1\"", "caller_uid=0"]);
    let journal = machine.shell("journalctl -b --no-pager -t countersignd").unwrap();
    assert!(journal.contains("service=\"sshd\""), "{journal}");
}

fn it_still_asks_after_a_reboot(machine: &Booted) {
    let fob = HotpKey::numbered(7);
    machine.import_hotp("alice", &fob).unwrap();
    machine.reboot().unwrap();
    let codes = fob.codes(0, 2).unwrap();
    let refused = machine.login("alice", PASSWORD, "", "id -un").unwrap();
    assert!(!refused.succeeded(), "{refused}");
    machine.login("alice", PASSWORD, &codes[0], "id -un").unwrap().success().unwrap();
    let again = machine.login("alice", PASSWORD, &codes[0], "id -un").unwrap();
    assert!(!again.succeeded(), "a used code let in: {again}");
    machine.login("alice", PASSWORD, &codes[1], "id -un").unwrap().success().unwrap();
}

/// People that log in at a time.
const PEOPLE: usize = 4;

/// Logins that are tried with each code: the first must pass, the second must not.
const LOGINS: usize = 200;

fn it_is_upgraded_while_people_log_in(machine: &Booted) {
    let package = of_version("0.1.1-1");
    let fobs: Vec<(String, HotpKey)> = (0..PEOPLE)
        .map(|number| (format!("person{number}"), HotpKey::numbered(u32::try_from(100 + number).unwrap())))
        .collect();
    for (name, fob) in &fobs {
        machine.add_person(name, PASSWORD).unwrap();
        machine.import_hotp(name, fob).unwrap();
    }
    let (tried, upgraded) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let workers: Vec<_> = fobs
            .iter()
            .map(|(name, fob)| scope.spawn(|| log_in_again_and_again(machine, name, fob, &tried, &upgraded)))
            .collect();
        scenarios::wait("the first logins", || Ok((tried.load(Ordering::SeqCst) >= 40).then_some(()))).unwrap();
        let outcome = install(machine, &package);
        upgraded.store(true, Ordering::SeqCst);
        outcome.success().unwrap();
        for worker in workers {
            worker.join().unwrap();
        }
    });
    assert!(tried.into_inner() >= LOGINS);
    assert_eq!(machine.shell("dpkg-query -W -f '${Version}' countersign").unwrap(), "0.1.1-1");
    // Sessions and logins that began before it go on; the new daemon is the one that answers now.
    assert_eq!(
        machine.shell("readlink /proc/$(systemctl show -p MainPID --value countersignd)/exe").unwrap(),
        "/usr/libexec/countersignd\n"
    );
}

fn log_in_again_and_again(machine: &Booted, name: &str, fob: &HotpKey, tried: &AtomicUsize, upgraded: &AtomicBool) {
    let codes = fob.codes(0, 400).unwrap();
    for code in &codes {
        if upgraded.load(Ordering::SeqCst) && tried.load(Ordering::SeqCst) >= LOGINS {
            return;
        }
        let right = machine.login(name, PASSWORD, code, "id -un").unwrap();
        assert!(right.succeeded(), "{name} was refused with a right code: {right}");
        let used = machine.login(name, PASSWORD, code, "id -un").unwrap();
        assert!(!used.succeeded(), "{name} was let in with a used code: {used}");
        tried.fetch_add(2, Ordering::SeqCst);
    }
    panic!("the upgrade outlasted {} logins", codes.len());
}

fn it_is_not_removed_while_a_pam_file_names_it(machine: &Booted) {
    let common = machine.read("/etc/pam.d/common-auth").unwrap();
    let refused = machine.run(&["dpkg", "--remove", "countersign"]).unwrap();
    assert!(!refused.succeeded(), "{refused}");
    for words in ["/etc/pam.d/sshd:", "auth requisite pam_countersign.so", "Take these lines out"] {
        assert!(refused.says(words), "{refused}");
    }
    assert_eq!(machine.read("/etc/pam.d/common-auth").unwrap(), common, "a removal that was refused changed PAM");
    machine.run(&["systemctl", "is-active", "countersignd.service"]).unwrap().success().unwrap();
    // dpkg notes what was wanted; the package is whole.
    assert_eq!(machine.shell("dpkg-query -W -f '${Status}' countersign").unwrap(), "deinstall ok installed");
}

fn it_is_removed_and_finds_its_accounts_again(machine: &Booted) {
    for (arguments, path, saved) in [("sshd", SSHD, "/root/sshd.pam"), ("--common", COMMON, "/root/common-auth.pam")] {
        machine.shell(&format!("countersign pam disable {arguments} --yes && cmp {path} {saved}")).unwrap();
    }
    // The package takes out itself what pam-auth-update has put in.
    machine.shell("pam-auth-update --enable countersign").unwrap();
    machine.shell("dpkg --remove countersign").unwrap();
    assert!(!machine.read("/etc/pam.d/common-auth").unwrap().contains("countersign"));
    assert!(machine.has("/var/lib/countersign/store.sqlite").unwrap());
    assert!(!machine.has("/run/countersign/verifier.sock").unwrap());
    machine.login("alice", PASSWORD, "", "id -un").unwrap().success().unwrap();
    install(machine, &debian()).success().unwrap();
    let list = machine.run(&["countersign", "list", "--json"]).unwrap().success().unwrap();
    assert!(list.says("\"alice\""), "{list}");
}

fn it_is_purged_without_a_trace(machine: &Booted, before: &[String]) {
    for number in 0..PEOPLE {
        machine.shell(&format!("loginctl terminate-user person{number}; userdel -f -r person{number}")).unwrap();
    }
    machine.shell("pam-auth-update --enable countersign && pam-auth-update --disable countersign").unwrap();
    machine.shell("dpkg --purge countersign").unwrap();
    let after = machine.inventory(ALIVE).unwrap();
    let left: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    let lost: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
    assert!(left.is_empty() && lost.is_empty(), "left: {left:#?}, lost: {lost:#?}");
    machine.login("alice", PASSWORD, "", "id -un").unwrap().success().unwrap();
    machine.reboot().unwrap();
    machine.login("alice", PASSWORD, "", "id -un").unwrap().success().unwrap();
}
