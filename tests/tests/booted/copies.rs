//! A copy of a host, which has the key and the secrets of the original: it gets a key of its own where nobody is
//! enrolled, and else says what it is until somebody has decided.

use scenarios::{Booted, HotpKey};

use crate::{
    package::{PASSWORD, installed, logged},
    suites,
};

#[test]
fn a_copy_of_a_host_has_a_key_of_its_own_or_says_what_it_is_until_that_is_decided() {
    for suite in suites() {
        let machine = installed(&suite);
        let of_the_image = key(&machine);
        become_host(&machine, '1');
        assert_ne!(key(&machine), of_the_image, "a copy of an image has the image's key");
        logged(&machine, &["countersignd[", "the state came from another host, with nobody enrolled"]);
        assert!(!is_told(&machine));

        machine.add_person("alice", PASSWORD).unwrap();
        machine.shell("pam-auth-update --enable countersign").unwrap();
        let fob = HotpKey::numbered(31);
        machine.import_hotp("alice", &fob).unwrap();
        let codes = fob.codes(0, 3).unwrap();
        let of_the_original = key(&machine);
        become_host(&machine, '2');
        assert_eq!(key(&machine), of_the_original, "the key of enrolled people was replaced");
        logged(&machine, &["countersignd[", "event=store outcome=note", "the state was made on another host"]);
        assert!(is_told(&machine));
        log_in(&machine, &codes[0], true);

        a_new_key_is_refused_for_copied_secrets(&machine, &of_the_original);
        log_in(&machine, &codes[1], true);
        machine.shell("countersign key accept").unwrap();
        logged(&machine, &["countersignd[", "the state was accepted on this host", "caller_uid=0"]);
        assert!(!is_told(&machine));

        become_host(&machine, '3');
        assert!(is_told(&machine));
        machine.shell("countersign key new --forget-accounts --yes").unwrap();
        assert_ne!(key(&machine), of_the_original);
        assert!(!is_told(&machine));
        log_in(&machine, &codes[2], false);
        let phone = machine.enrol("alice").unwrap();
        log_in(&machine, &machine.code(&phone, 0).unwrap(), true);
    }
}

fn a_new_key_is_refused_for_copied_secrets(machine: &Booted, before: &str) {
    let refused = machine.run(&["countersign", "key", "new"]).unwrap();
    assert!(!refused.succeeded() && refused.says("1 account is kept"), "{refused}");
    let asked = machine.run(&["countersign", "key", "new", "--forget-accounts"]).unwrap();
    assert!(!asked.succeeded() && asked.says("no terminal to ask at"), "{asked}");
    let stranger = machine.run(&["runuser", "-u", "alice", "--", "countersign", "key", "new"]).unwrap();
    assert!(!stranger.succeeded() && stranger.says("only root"), "{stranger}");
    assert_eq!(key(machine), before);
    machine.run(&["systemctl", "is-active", "countersignd.service"]).unwrap().success().unwrap();
}

/// What a copy is: the same disk under another machine-id.
fn become_host(machine: &Booted, digit: char) {
    let id = digit.to_string().repeat(32);
    machine.shell(&format!("echo {id} >/etc/machine-id && systemctl restart countersignd.service")).unwrap();
}

fn key(machine: &Booted) -> String {
    machine.shell("sha256sum /var/lib/countersign/master.key").unwrap()
}

fn is_told(machine: &Booted) -> bool {
    machine.run(&["countersign", "doctor", "--json"]).unwrap().says("\"state-copied\"")
}

fn log_in(machine: &Booted, code: &str, granted: bool) {
    let login = machine.login("alice", PASSWORD, code, "id -un").unwrap();
    assert_eq!(login.succeeded(), granted, "{login}");
}
