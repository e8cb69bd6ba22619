//! The master key moved into a systemd credential and back, rotated in between, and a restore while people log in.

use std::{
    process::{Child, Command, Stdio},
    thread,
};

use scenarios::{Booted, HotpKey, document::Section, wait};

use crate::{
    package::{PASSWORD, installed},
    suites,
};

const CODE_ALONE: &str = "auth requisite pam_countersign.so\nauth required pam_permit.so\n";
const CREDENTIAL: &str = "/etc/credstore.encrypted/countersign.key";
const KEY: &str = "/var/lib/countersign/master.key";
const PAGE: &str = "docs/operations.md";

/// A machine on which alice has a fob, and codes of it.
fn machine(suite: &str) -> (Booted, Vec<String>) {
    let machine = installed(suite);
    machine.add_person("alice", PASSWORD).unwrap();
    machine.write("/etc/pam.d/code", CODE_ALONE).unwrap();
    let (fob, codes) = HotpKey::distinct(21, 3000).unwrap();
    machine.import_hotp("alice", &fob).unwrap();
    (machine, codes)
}

fn lets_in(machine: &Booted, code: &str) -> bool {
    let script = format!("echo {code} | pamtester code alice authenticate");
    machine.run(&["sh", "-c", &script]).unwrap().says("successfully authenticated")
}

/// The commands of a section of the page.
fn follow(machine: &Booted, heading: &str) {
    let section = Section::read(PAGE, heading).unwrap();
    machine.shell(&format!("set -e\n{}", section.only("sh").unwrap())).unwrap();
}

fn key_status(machine: &Booted) -> String {
    machine.shell("countersign key status").unwrap()
}

/// The way in, a rotation, and the way back, by the commands of the page; `code` goes through a login after each step.
fn move_there_and_back(machine: &Booted, codes: &[String]) {
    let first = key_status(machine);
    assert!(first.contains("from the file /var/lib/countersign/master.key"), "{first}");
    follow(machine, "Into a credential");
    assert!(key_status(machine).contains("from the systemd credential"), "{}", key_status(machine));
    assert!(lets_in(machine, &codes[0]));
    machine.shell(&format!("rm {KEY} && systemctl restart countersignd.service")).unwrap();
    assert!(lets_in(machine, &codes[1]) && !lets_in(machine, &codes[1]));

    let refused = machine.run(&["countersign", "key", "rotate"]).unwrap();
    assert!(!refused.succeeded() && refused.stderr.contains("countersignd(8)"), "{refused}");
    machine.shell("echo correct horse battery >/root/passphrase && rm -f /root/b.age").unwrap();
    machine.shell("countersign backup /root/b.age --passphrase-fd 3 3</root/passphrase").unwrap();
    let restore = "countersign restore /root/b.age --replace --yes --passphrase-fd 3 3</root/passphrase";
    let refused = machine.run(&["sh", "-c", restore]).unwrap();
    assert!(!refused.succeeded() && refused.stderr.contains(CREDENTIAL), "{refused}");
    assert!(lets_in(machine, &codes[2]), "the refused restore stopped nothing");

    follow(machine, "A new master key");
    let rotated = key_status(machine);
    assert!(rotated.contains("from the systemd credential"), "{rotated}");
    assert_ne!(rotated.split_whitespace().nth(2), first.split_whitespace().nth(2), "it is the old key");
    machine.shell(&format!("rm {KEY} /root/countersign.key.old && systemctl restart countersignd.service")).unwrap();
    assert!(lets_in(machine, &codes[3]));

    follow(machine, "Out of a credential");
    assert!(key_status(machine).contains("from the file"), "{}", key_status(machine));
    assert!(!machine.has(CREDENTIAL).unwrap());
    assert!(lets_in(machine, &codes[4]) && !lets_in(machine, &codes[3]));
    machine.shell("countersign key rotate && countersign audit --verify").unwrap();
    assert!(lets_in(machine, &codes[5]));
}

#[test]
fn a_key_moves_into_a_credential_of_this_host_is_rotated_and_moves_back() {
    for suite in suites() {
        let (machine, codes) = machine(&suite);
        move_there_and_back(&machine, &codes);
    }
}

/// swtpm(8), whose socket lies in the machine's `/run`.
struct Tpm {
    process: Child,
    _state: tempfile::TempDir,
}

impl Tpm {
    fn start(machine: &Booted) -> Self {
        let state = tempfile::tempdir().unwrap();
        let socket = machine.path_of("/run/swtpm").unwrap();
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"]);
        command.arg("--tpmstate").arg(format!("dir={}", state.path().display()));
        command.arg("--server").arg(format!("type=unixio,path={}", socket.display()));
        command.arg("--ctrl").arg(format!("type=unixio,path={}.ctrl", socket.display()));
        let process = command.stdin(Stdio::null()).spawn().unwrap();
        wait("the software TPM", || Ok(machine.has("/run/swtpm.ctrl")?.then_some(()))).unwrap();
        Self { process, _state: state }
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// No kernel module is needed: systemd speaks to the software TPM by its library, where SYSTEMD_TPM2_DEVICE says so.
#[test]
fn a_key_sealed_by_a_tpm2_opens_with_that_tpm_alone() {
    for suite in suites() {
        let (machine, codes) = machine(&suite);
        for library in ["tss2-esys.so.0", "tss2-mu.so.0", "tss2-rc.so.0", "tss2-sys.so.1", "tss2-tcti-swtpm.so.0"] {
            let library = format!("/usr/lib/{}-linux-gnu/lib{library}", std::env::consts::ARCH);
            let directory = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
            machine.bring(std::path::Path::new(&library), &directory).unwrap();
        }
        let tpm = Tpm::start(&machine);
        let device = "SYSTEMD_TPM2_DEVICE=swtpm:path=/run/swtpm";
        let manager = format!("[Manager]\nManagerEnvironment={device}\n");
        machine.write("/etc/systemd/system.conf.d/tpm.conf", &manager).unwrap();
        machine.shell("systemctl daemon-reexec").unwrap();
        let seal = format!(
            "set -e; mkdir -p -m 0700 /etc/credstore.encrypted\n\
             {device} systemd-creds encrypt --with-key=tpm2 --name=countersign.key {KEY} {CREDENTIAL}\n\
             rm {KEY}; systemctl restart countersignd.service"
        );
        machine.shell(&seal).unwrap();
        assert!(key_status(&machine).contains("from the systemd credential"), "{}", key_status(&machine));
        assert!(lets_in(&machine, &codes[0]) && !lets_in(&machine, &codes[0]));
        machine.shell("systemctl restart countersignd.service").unwrap();
        assert!(lets_in(&machine, &codes[1]));

        // On another computer: everything of this disk, and not its TPM.
        drop(tpm);
        machine.shell("rm -f /run/swtpm /run/swtpm.ctrl; systemctl stop countersignd.service").unwrap();
        let _other = Tpm::start(&machine);
        let started = machine.run(&["systemctl", "start", "countersignd.service"]).unwrap();
        assert!(!started.succeeded(), "another TPM opened it: {started}");
        assert!(!lets_in(&machine, &codes[2]));
        assert!(!machine.has(KEY).unwrap(), "no key was made in its place");
    }
}

/// systemd's socket starts the daemon for whoever logs in: none of them comes between its stop and the restore.
#[test]
fn a_restore_while_people_log_in_is_not_disturbed_and_none_of_them_is_lost() {
    for suite in suites() {
        let (machine, codes) = machine(&suite);
        machine.shell("echo correct horse battery >/root/passphrase").unwrap();
        machine.shell("countersign backup /root/b.age --passphrase-fd 3 3</root/passphrase").unwrap();
        let restore =
            "countersign restore /root/b.age --replace --trust-counters --yes --passphrase-fd 3 3</root/passphrase";
        let (used, restored) = thread::scope(|scope| {
            let restoring =
                scope.spawn(|| (0..3).map(|_| machine.run(&["sh", "-c", restore]).unwrap()).collect::<Vec<_>>());
            let mut used = 0;
            while !restoring.is_finished() {
                assert!(lets_in(&machine, &codes[used]), "login {used}");
                used += 1;
            }
            (used, restoring.join().unwrap())
        });
        assert!(used > 0);
        for outcome in restored {
            assert!(outcome.succeeded(), "{outcome}\n{}", machine.shell("journalctl -o short-monotonic").unwrap());
        }
        // What was accepted while it was restored was taken over.
        for code in codes[..used].iter().rev().take(2) {
            assert!(!lets_in(&machine, code));
        }
        assert!(lets_in(&machine, &codes[used]));
    }
}
