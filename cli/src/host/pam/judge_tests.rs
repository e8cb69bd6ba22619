//! Stacks that people have written, and what is said of them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

use std::{fs, path::Path};

use super::{super::stack::Kind, Judged, judge};
use crate::host::{Host, pam::stack::Stack};

const COMMON: &str = "auth\t[success=1 default=ignore]\tpam_unix.so nullok\nauth\trequisite\tpam_deny.so\n\
                      auth\trequired\tpam_permit.so\nauth\toptional\tpam_cap.so\n";

fn judged(service: &str, lines: &str) -> Judged {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("etc/pam.d");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("common-auth"), COMMON).unwrap();
    fs::write(directory.join(service), lines).unwrap();
    let host = Host::below(folder.path(), |_, _| Err(std::io::ErrorKind::NotFound.into()));
    judge(&Stack::read(&host, service, Kind::Auth), service)
}

fn names(service: &str, lines: &str) -> Vec<&'static str> {
    judged(service, lines).findings.iter().map(|finding| finding.name).collect()
}

const OURS: &str = "auth requisite pam_countersign.so\nauth required pam_permit.so\n";

#[test]
fn the_shipped_stacks_have_nothing_wrong() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/dev/pam.d");
    for (file, service) in [
        ("sshd-key-and-code", "sshd"),
        ("sshd-password-and-code", "sshd"),
        ("sudo-code", "sudo"),
        ("sudo-password-and-code", "sudo"),
        ("su-password-and-code", "su"),
        ("code-alone", "swaylock"),
    ] {
        let lines = fs::read_to_string(shipped.join(file)).unwrap();
        let judged = judged(service, &lines);
        assert!(judged.asks && judged.findings.is_empty(), "{file}: {:#?}", judged.findings);
    }
}

#[test]
fn what_lets_in_without_a_code_is_found_with_its_line() {
    let bypass = |lines: &str| {
        let judged = judged("sudo", lines);
        let finding = judged.findings.iter().find(|finding| finding.name == "pam-bypass").cloned();
        let finding = finding.unwrap_or_else(|| panic!("{lines}: {:#?}", judged.findings));
        (finding.place.unwrap().line, finding.change.unwrap())
    };
    let sufficient = bypass(&format!("auth sufficient pam_unix.so\n{OURS}"));
    assert_eq!(sufficient, (1, "auth requisite pam_unix.so".to_owned()));
    let (line, change) = bypass(
        "auth [success=2 default=ignore] pam_unix.so\nauth requisite pam_deny.so\n\
                                 auth requisite pam_countersign.so\nauth required pam_permit.so\n",
    );
    assert_eq!(line, 1);
    assert!(change.contains("[success=1 default=ignore] pam_unix.so"), "{change}");
    bypass(&format!("auth [success=done default=die] pam_sss.so\n{OURS}"));
    bypass(&format!("auth sufficient pam_fprintd.so\n@include common-auth\n{OURS}"));
}

#[test]
fn a_condition_that_exempts_is_a_warning_and_root_changing_to_others_is_nothing() {
    let lines =
        format!("@include common-auth\nauth [success=1 default=ignore] pam_succeed_if.so user = deploy\n{OURS}");
    assert_eq!(names("sudo", &lines), ["pam-exempt"]);
    assert!(names("su", &format!("auth sufficient pam_rootok.so\n@include common-auth\n{OURS}")).is_empty());
}

#[test]
fn a_control_that_does_not_refuse_is_found() {
    for control in [
        "optional",
        "sufficient",
        "[success=ok default=ignore]",
        "[success=ok ignore=ignore \
        authinfo_unavail=ignore default=die]",
        "[success=ok maxtries=reset default=die]",
    ] {
        let found = names("sudo", &format!("@include common-auth\nauth {control} pam_countersign.so\n"));
        assert!(found.contains(&"pam-refusal-passes"), "{control}: {found:?}");
    }
    let forgotten = "@include common-auth\nauth required pam_countersign.so\nauth [success=reset default=ignore] \
                     pam_succeed_if.so uid > 0\nauth required pam_permit.so\n";
    assert!(names("sudo", forgotten).contains(&"pam-refusal-forgotten"), "{:?}", names("sudo", forgotten));
}

#[test]
fn a_code_before_or_without_the_password_is_found() {
    let early = "auth requisite pam_countersign.so\n@include common-auth\n";
    assert_eq!(names("login", early), ["pam-code-first"]);
    let alone = names("login", "auth sufficient pam_countersign.so\n@include common-auth\n");
    assert!(alone.contains(&"pam-code-alone") && alone.contains(&"pam-rest-skipped"), "{alone:?}");
    assert!(names("su", "auth optional pam_unix.so\nauth required pam_countersign.so\n").contains(&"pam-code-alone"));
    assert_eq!(names("su", OURS), ["pam-single-factor"]);
}

#[test]
fn a_first_factor_that_does_not_end_the_stack_opens_the_prompt() {
    let found = judged("sudo", &format!("auth required pam_unix.so\n{OURS}")).findings;
    assert_eq!(found.iter().map(|finding| finding.name).collect::<Vec<_>>(), ["pam-open-prompt"]);
    assert_eq!(found[0].change.as_deref(), Some("auth requisite pam_unix.so"));
}

#[test]
fn stacks_that_lock_out_are_found() {
    assert_eq!(names("sudo", "auth requisite pam_countersign.so\n"), ["pam-skip-refused"]);
    assert!(names("sudo", "auth required pam_countersign.so\nauth required pam_deny.so\n").contains(&"pam-nobody"));
    let shifted = "auth [success=1 default=ignore] pam_unix.so\nauth requisite pam_countersign.so\n\
                   auth requisite pam_deny.so\nauth required pam_permit.so\n";
    assert!(names("sudo", shifted).contains(&"pam-nobody"), "{:?}", names("sudo", shifted));
    assert_eq!(names("sudo", &format!("@include common-auth\n{OURS}{OURS}")), ["pam-asked-twice"]);
    assert_eq!(names("sudo", "@include comon-auth\n"), ["pam-unusable"]);
    assert!(names("sudo", &format!("auth include absent\n{OURS}")).contains(&"pam-bad-line"));
    assert_eq!(names("dovecot", &format!("@include common-auth\n{OURS}")), ["pam-single-prompt"]);
}

#[test]
fn wrong_arguments_and_names_are_found() {
    let nullok = judged("sudo", "@include common-auth\nauth requisite pam_countersign.so quiet nullok\n");
    assert_eq!(nullok.findings[0].name, "pam-arguments");
    assert_eq!(nullok.findings[0].change.as_deref(), Some("auth requisite pam_countersign.so quiet"));
    assert!(names("sudo", "@include common-auth\nauth required pam_counter_sign.so\n").contains(&"pam-module-name"));
}

#[test]
fn a_substack_hides_its_end_from_the_line_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("etc/pam.d");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("password-auth"), "auth sufficient pam_unix.so\nauth required pam_deny.so\n").unwrap();
    let host = Host::below(folder.path(), |_, _| Err(std::io::ErrorKind::NotFound.into()));
    let found = |lines: &str| {
        fs::write(directory.join("sshd"), lines).unwrap();
        let judged = judge(&Stack::read(&host, "sshd", Kind::Auth), "sshd");
        judged.findings.iter().map(|finding| finding.name).collect::<Vec<_>>()
    };
    assert_eq!(found(&format!("auth substack password-auth\n{OURS}")), ["pam-open-prompt"]);
    let included = found(&format!("auth include password-auth\n{OURS}"));
    assert!(included.contains(&"pam-bypass"), "{included:?}");
}
