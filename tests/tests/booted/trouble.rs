//! Bad times of a package: no login is let in by them, none is lost, and what is said helps.

use scenarios::Booted;

use crate::{
    package::{PASSWORD, debian, install, installed, logged, of_version},
    suites,
};

const CONFIGURATION: &str = "/etc/countersign/countersign.toml";

#[test]
fn a_changed_configuration_stays_and_a_wrong_one_is_named_by_an_upgrade() {
    for suite in suites() {
        let machine = ready(&suite);
        machine.write(CONFIGURATION, "tries = 3\n").unwrap();
        install(&machine, &of_version("0.1.1-1")).success().unwrap();
        assert_eq!(machine.read(CONFIGURATION).unwrap(), "tries = 3\n");

        machine.write(CONFIGURATION, "tries = 99\n").unwrap();
        let upgraded = install(&machine, &of_version("0.1.2-1")).success().unwrap();
        assert!(upgraded.says("countersignd did not start"), "{upgraded}");
        let journal = machine.shell("journalctl -b --no-pager -u countersignd.service").unwrap();
        assert!(journal.contains("countersign.toml:1:9: tries: 99 is out of range"), "{journal}");
        let refused = machine.login("alice", PASSWORD, "123456", "id -un").unwrap();
        assert!(!refused.succeeded(), "a daemon that does not run let somebody in: {refused}");

        machine.write(CONFIGURATION, "tries = 3\n").unwrap();
        machine.shell("systemctl restart countersignd.service && countersign list").unwrap();
    }
}

#[test]
fn a_downgrade_to_a_version_that_does_not_know_the_store_says_so_and_refuses_logins() {
    for suite in suites() {
        let machine = ready(&suite);
        install(&machine, &of_version("0.1.1-1")).success().unwrap();
        // The schema of a version to come: SQLite's user_version, four bytes of the header.
        machine
            .shell(
                "systemctl stop countersignd.service && printf '\\0\\0\\0\\143' | \
                 dd of=/var/lib/countersign/store.sqlite bs=1 seek=60 conv=notrunc status=none",
            )
            .unwrap();
        let downgraded = install(&machine, &debian()).success().unwrap();
        assert!(downgraded.says("countersignd did not start"), "{downgraded}");
        let journal = machine.shell("journalctl -b --no-pager -u countersignd.service").unwrap();
        assert!(journal.contains("newer countersignd (schema 99"), "{journal}");
        let refused = machine.login("alice", PASSWORD, "123456", "id -un").unwrap();
        assert!(!refused.succeeded(), "{refused}");
    }
}

#[test]
fn a_full_disk_during_an_upgrade_leaves_the_old_version_at_work() {
    for suite in suites() {
        let machine = ready(&suite);
        // Room for the daemon that is there, and not for another one beside it.
        machine
            .shell(
                "cp -a /usr/libexec /var/tmp/libexec && size=$(du -sk /usr/libexec | cut -f1) && \
                 mount -t tmpfs -o mode=0755,size=$((size + 1024))k full /usr/libexec && \
                 cp -a /var/tmp/libexec/. /usr/libexec && systemctl restart countersignd.service",
            )
            .unwrap();
        let failed = install(&machine, &of_version("0.1.1-1"));
        assert!(!failed.succeeded() && failed.says("No space left on device"), "{failed}");
        assert_eq!(machine.shell("dpkg-query -W -f '${Version}' countersign").unwrap(), "0.1.0-1");
        let phone = machine.enrol("alice").unwrap();
        machine.login("alice", PASSWORD, &machine.code(&phone, 0).unwrap(), "id -un").unwrap().success().unwrap();
        machine.shell("systemctl stop countersignd.service && umount /usr/libexec").unwrap();
        install(&machine, &of_version("0.1.1-1")).success().unwrap();
        machine.login("alice", PASSWORD, &phone.recovery_codes[0], "id -un").unwrap().success().unwrap();
    }
}

#[test]
fn a_half_configured_package_changes_no_login_and_is_configured_later() {
    for suite in suites() {
        let machine = Booted::boot(&suite).unwrap();
        machine.add_person("alice", PASSWORD).unwrap();
        let before = machine.shell("cd /etc/pam.d && md5sum *").unwrap();
        machine.write("/usr/local/sbin/systemd-sysusers", "#!/bin/sh\nexit 1\n").unwrap();
        machine.shell("chmod 0755 /usr/local/sbin/systemd-sysusers").unwrap();
        let failed = install(&machine, &debian());
        assert!(!failed.succeeded(), "{failed}");
        assert_eq!(machine.shell("dpkg-query -W -f '${Status}' countersign").unwrap(), "install ok half-configured");
        assert_eq!(machine.shell("cd /etc/pam.d && md5sum *").unwrap(), before);
        machine.login("alice", PASSWORD, "", "id -un").unwrap().success().unwrap();
        machine.shell("rm /usr/local/sbin/systemd-sysusers && dpkg --configure -a && countersign list").unwrap();
    }
}

/// Somebody has edited common-auth, which pam-auth-update(8) then leaves alone.
#[test]
fn an_edited_common_auth_is_not_left_without_its_module() {
    for suite in suites() {
        let machine = ready(&suite);
        machine.shell("sed -i 's/requisite\\(.*pam_countersign\\)/required\\1/' /etc/pam.d/common-auth").unwrap();
        let edited = machine.read("/etc/pam.d/common-auth").unwrap();
        assert!(edited.contains("required\tpam_countersign.so"), "{edited}");
        let outcome = machine.run(&["dpkg", "--remove", "countersign"]).unwrap();
        let named =
            machine.read("/etc/pam.d/common-auth").unwrap().lines().any(|line| line.contains("pam_countersign.so"));
        let there = machine.shell("ls /usr/lib/*/security/pam_countersign.so").is_ok();
        assert!(there || !named, "PAM names a module that is gone: {outcome}");
        assert_eq!(outcome.succeeded(), !named, "{outcome}");
    }
}

/// A machine where everything that includes common-auth asks for a code, and nobody has enrolled yet.
pub(crate) fn ready(suite: &str) -> Booted {
    let machine = installed(suite);
    machine.add_person("alice", PASSWORD).unwrap();
    machine.shell("pam-auth-update --enable countersign").unwrap();
    let refused = machine.login("alice", PASSWORD, "123456", "id -un").unwrap();
    assert!(!refused.succeeded(), "{refused}");
    logged(&machine, &["countersignd[", "outcome=refused", "account=\"alice\""]);
    machine
}
