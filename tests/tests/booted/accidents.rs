//! What goes wrong while dpkg is at work: killed scripts, file systems that cannot be written, a bus that is not there.
//! dpkg says what to do, and no login is opened or closed by it.

use scenarios::{Booted, HotpKey};

use crate::{
    package::{PASSWORD, debian, install, installed, of_version},
    suites,
};

/// A machine where ssh asks for the password and a code, and the codes of alice.
fn asking(suite: &str) -> (Booted, std::vec::IntoIter<String>) {
    let machine = installed(suite);
    let codes = ask(&machine);
    (machine, codes)
}

/// The same of a machine that has the package.
fn ask(machine: &Booted) -> std::vec::IntoIter<String> {
    machine.add_person("alice", PASSWORD).unwrap();
    machine.shell("pam-auth-update --enable countersign").unwrap();
    let fob = HotpKey::numbered(61);
    machine.import_hotp("alice", &fob).unwrap();
    fob.codes(0, 90).unwrap().into_iter()
}

/// A right code lets in, and then not again.
fn logins_are_asked(machine: &Booted, codes: &mut impl Iterator<Item = String>) {
    let code = codes.next().unwrap();
    machine.login("alice", PASSWORD, &code, "id -un").unwrap().success().unwrap();
    let used = machine.login("alice", PASSWORD, &code, "id -un").unwrap();
    assert!(!used.succeeded(), "{used}");
}

fn pam_files(machine: &Booted) -> String {
    machine.shell("cd /etc/pam.d && md5sum *").unwrap()
}

fn status(machine: &Booted) -> String {
    machine.shell("dpkg-query -W -f '${Status} ${Version}' countersign").unwrap()
}

#[test]
fn a_killed_postinst_is_repaired_by_dpkg_configure() {
    for suite in suites() {
        let (machine, mut codes) = asking(&suite);
        let pam = pam_files(&machine);
        // The first program that postinst runs kills it.
        machine.write("/usr/local/sbin/systemd-sysusers", "#!/bin/sh\nkill -KILL $PPID\n").unwrap();
        machine.shell("chmod 0755 /usr/local/sbin/systemd-sysusers").unwrap();
        let killed = install(&machine, &of_version("0.1.1-1"));
        assert!(!killed.succeeded() && killed.says("killed by signal (Killed)"), "{killed}");
        assert_eq!(status(&machine), "install ok half-configured 0.1.1-1");
        logins_are_asked(&machine, &mut codes);
        machine.shell("rm /usr/local/sbin/systemd-sysusers && dpkg --configure -a").unwrap();
        assert_eq!(status(&machine), "install ok installed 0.1.1-1");
        logins_are_asked(&machine, &mut codes);
        assert_eq!(pam_files(&machine), pam);
    }
}

/// dpkg was killed, or the power went, after the new files were put in place: the old daemon works with the new module.
#[test]
fn an_upgrade_that_stops_between_unpacking_and_configuring_leaves_logins_asked() {
    for suite in suites() {
        let (machine, mut codes) = asking(&suite);
        let path = machine.bring(&of_version("0.1.1-1"), "/var/tmp").unwrap();
        machine.run(&["dpkg", "--unpack", "--force-confold", &path]).unwrap().success().unwrap();
        logins_are_asked(&machine, &mut codes);
        machine.reboot().unwrap();
        logins_are_asked(&machine, &mut codes);
        machine.shell("dpkg --configure -a").unwrap();
        assert_eq!(status(&machine), "install ok installed 0.1.1-1");
        logins_are_asked(&machine, &mut codes);
    }
}

#[test]
fn where_etc_cannot_be_written_nothing_is_installed_upgraded_or_removed_by_halves() {
    for suite in suites() {
        let machine = Booted::boot(&suite).unwrap();
        machine.add_person("alice", PASSWORD).unwrap();
        let pam = pam_files(&machine);
        let shut = "mount --bind /etc /etc && mount -o remount,ro,bind /etc";
        machine.shell(shut).unwrap();
        let failed = install(&machine, &debian());
        assert!(!failed.succeeded() && failed.says("Read-only file system"), "{failed}");
        machine.login("alice", PASSWORD, "", "id -un").unwrap().success().unwrap();
        machine.shell("umount /etc").unwrap();
        install(&machine, &debian()).success().unwrap();
        assert_eq!(pam_files(&machine), pam);

        machine.shell("pam-auth-update --enable countersign").unwrap();
        let fob = HotpKey::numbered(62);
        machine.import_hotp("alice", &fob).unwrap();
        let mut codes = fob.codes(0, 8).unwrap().into_iter();
        let pam = pam_files(&machine);
        machine.shell(shut).unwrap();
        let kept = machine.run(&["dpkg", "--remove", "countersign"]).unwrap();
        assert!(!kept.succeeded(), "{kept}");
        logins_are_asked(&machine, &mut codes);
        // dpkg cannot even go back to where it was, and asks for the package again.
        let failed = install(&machine, &of_version("0.1.1-1"));
        assert!(!failed.succeeded() && failed.says("Read-only file system"), "{failed}");
        logins_are_asked(&machine, &mut codes);
        machine.shell("umount /etc").unwrap();
        assert_eq!(pam_files(&machine), pam);
        install(&machine, &of_version("0.1.1-1")).success().unwrap();
        logins_are_asked(&machine, &mut codes);
    }
}

/// The disk under the modules is full: the module that is there stays the one that logins load.
#[test]
fn a_disk_that_is_full_for_the_module_leaves_the_old_one_in_place() {
    for suite in suites() {
        let (machine, mut codes) = asking(&suite);
        machine
            .shell(
                "cd /usr/lib/*-linux-gnu/security && cp -a . /var/tmp/security && size=$(du -sk . | cut -f1) && \
                 mount -t tmpfs -o mode=0755,size=$((size + 64))k full . && cp -a /var/tmp/security/. \"$PWD\"",
            )
            .unwrap();
        let before = machine.shell("md5sum /usr/lib/*-linux-gnu/security/pam_countersign.so").unwrap();
        let failed = install(&machine, &of_version("0.1.1-1"));
        assert!(!failed.succeeded() && failed.says("No space left on device"), "{failed}");
        assert_eq!(machine.shell("md5sum /usr/lib/*-linux-gnu/security/pam_countersign.so").unwrap(), before);
        assert_eq!(status(&machine), "install ok installed 0.1.0-1");
        logins_are_asked(&machine, &mut codes);
        machine.shell("mount -o remount,size=64m /usr/lib/*-linux-gnu/security").unwrap();
        install(&machine, &of_version("0.1.1-1")).success().unwrap();
        logins_are_asked(&machine, &mut codes);
    }
}

/// A store that is behind what the new daemon wants, and no room to bring it there.
#[test]
fn a_state_without_room_refuses_logins_until_there_is_room() {
    for suite in suites() {
        let machine = installed(&suite);
        // On a disk this small no room is kept for logins.
        machine
            .shell(
                "systemctl stop countersignd.service && \
                 mount -t tmpfs -o mode=0700,uid=countersign,gid=countersign,size=2m full /var/lib/countersign && \
                 systemctl start countersignd.service",
            )
            .unwrap();
        let mut codes = ask(&machine);
        let fill = "dd if=/dev/zero of=/var/lib/countersign/filler bs=4k conv=notrunc oflag=append 2>/dev/null || true";
        machine.shell(fill).unwrap();
        install(&machine, &of_version("0.1.1-1")).success().unwrap();
        // The old daemon ended in order and gave up the blocks of its log.
        machine.shell(fill).unwrap();
        // Logins go on within the blocks that the store has.
        let log_in = |code: &str| machine.login("alice", PASSWORD, code, "id -un").unwrap();
        let code = codes.by_ref().find(|code| !log_in(code).succeeded()).expect("a full disk refuses somebody");
        machine.shell("rm /var/lib/countersign/filler && systemctl start countersignd.service").unwrap();
        let granted = log_in(&code);
        assert!(granted.succeeded(), "a code that was refused for want of room was spent: {granted}");
        logins_are_asked(&machine, &mut codes);
    }
}

#[test]
fn without_a_bus_and_polkit_it_installs_and_the_socket_carries_logins() {
    for suite in suites() {
        let machine = Booted::boot(&suite).unwrap();
        machine.add_person("alice", PASSWORD).unwrap();
        let pam = pam_files(&machine);
        let units = "polkit.service dbus.service dbus.socket";
        machine.shell(&format!("systemctl mask --runtime --now {units}")).unwrap();
        install(&machine, &debian()).success().unwrap();
        assert_eq!(pam_files(&machine), pam);
        machine
            .run(&["systemctl", "is-active", "countersignd.service", "countersignd.socket"])
            .unwrap()
            .success()
            .unwrap();
        let absent = machine.run(&["countersign", "list"]).unwrap();
        assert!(!absent.succeeded() && absent.says("systemctl status dbus"), "{absent}");

        // It takes its name as soon as there is a bus, and needs none once somebody has enrolled.
        machine.shell("systemctl unmask --runtime dbus.service dbus.socket && systemctl start dbus.service").unwrap();
        let up = || Ok(machine.run(&["countersign", "list"])?.succeeded().then_some(()));
        scenarios::wait("the daemon on the bus", up).unwrap();
        let fob = HotpKey::numbered(63);
        machine.import_hotp("alice", &fob).unwrap();
        machine.write("/etc/pam.d/code", "auth requisite pam_countersign.so\nauth required pam_permit.so\n").unwrap();
        machine.shell("systemctl mask --runtime --now dbus.service dbus.socket").unwrap();
        let code = &fob.codes(0, 1).unwrap()[0];
        let script = format!("echo {code} | pamtester code alice authenticate");
        assert!(machine.run(&["sh", "-c", &script]).unwrap().says("successfully authenticated"));
        assert!(!machine.run(&["sh", "-c", &script]).unwrap().says("successfully authenticated"));
    }
}
