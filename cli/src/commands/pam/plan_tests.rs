//! What would change, on roots of files.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs, io, os::unix::fs::symlink};

use super::{Plan, name};
use crate::{
    cli::{FirstFactor, PamEnable},
    failure::Failure,
    host::{Host, Ran},
};

const COMMON: &str =
    "auth [success=1 default=ignore] pam_unix.so\nauth requisite pam_deny.so\nauth required pam_permit.so\n";

/// A root with these files, where sshd says this of `AuthenticationMethods`.
fn plan(files: &[(&str, &str)], methods: &'static str, arguments: &PamEnable) -> Result<Plan, Failure> {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in [&[("etc/pam.d/common-auth", COMMON)], files].concat() {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match text.strip_prefix("-> ") {
            Some(target) => symlink(target, path).unwrap(),
            None => fs::write(path, text).unwrap(),
        }
    }
    let host = Host::below(root.path(), move |program, _| match program {
        "/usr/sbin/sshd" => {
            Ok(Ran { done: true, out: format!("authenticationmethods {methods}\n"), err: String::new() })
        }
        _ => Err(io::ErrorKind::NotFound.into()),
    });
    Plan::of(&host, arguments)
}

fn enable(services: &[&str], first_factor: Option<FirstFactor>) -> PamEnable {
    PamEnable {
        service: services.iter().map(|&service| service.to_owned()).collect(),
        common: services.is_empty(),
        first_factor,
        trial: None,
        yes: true,
        no_try: true,
        force: false,
    }
}

fn after(plan: &Plan) -> String {
    plan.files().map(|changed| String::from_utf8_lossy(changed.after.as_deref().unwrap_or_default())).collect()
}

#[test]
fn what_comes_before_sshds_code_is_what_sshd_itself_says() {
    let sshd = [("etc/pam.d/sshd", "@include common-auth\n")];
    let with = |methods| plan(&sshd, methods, &enable(&["sshd"], None)).map(|plan| after(&plan).contains("@include"));
    assert_eq!(with("publickey,keyboard-interactive"), Ok(false));
    assert_eq!(with("publickey,keyboard-interactive:pam gssapi-with-mic,publickey,keyboard-interactive"), Ok(false));
    assert_eq!(with("keyboard-interactive"), Ok(true));
    assert_eq!(with("publickey,keyboard-interactive keyboard-interactive"), Ok(true));
    assert!(with("any").is_err_and(|failure| failure.what().contains("does not say whether a key or a password")));
}

#[test]
fn a_file_of_the_distributions_gets_one_of_the_hosts_before_it_which_goes_again() {
    let shipped = [("usr/lib/pam.d/sudo", "@include common-auth\n")];
    let plan = plan(&shipped, "", &enable(&["sudo", "SUDO"], None)).unwrap();
    let files: Vec<_> = plan.files().collect();
    assert!(matches!(files.as_slice(), [file] if file.before.is_none() && file.path.ends_with("etc/pam.d/sudo")));
    assert!(after(&plan).starts_with("@include common-auth\n"));
}

#[test]
fn what_asks_already_is_left_and_what_is_no_plain_service_is_refused() {
    let asks = "@include common-auth\nauth requisite pam_countersign.so\nauth required pam_permit.so\n";
    let plan_of = |files: &[(&str, &str)], service, first| plan(files, "", &enable(&[service], first));
    let done = plan_of(&[("etc/pam.d/sudo", asks)], "sudo", None).unwrap();
    assert_eq!((done.changes.len(), done.already), (0, vec!["sudo".to_owned()]));
    let link = plan_of(&[("etc/pam.d/sudo", "-> /etc/authselect/sudo")], "sudo", None);
    assert!(link.is_err_and(|failure| failure.what().contains("is a link")));
    let absent = plan_of(&[], "sudo", None);
    assert!(absent.is_err_and(|failure| failure.what().contains("no PAM file of sudo")));
    let key = plan_of(&[("etc/pam.d/sudo", "@include common-auth\n")], "sudo", Some(FirstFactor::Key));
    assert!(key.is_err_and(|failure| failure.exit() == crate::failure::USAGE));
    for wrong in ["", "../sshd", "a b", ".hidden", "-x", "common-auth", "other", "sshd\n"] {
        assert!(name(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn where_authselect_or_nobody_rules_there_is_no_common_file_to_switch() {
    let common = |files: &[(&str, &str)]| plan(files, "", &enable(&[], None));
    let fedora = common(&[("etc/authselect/authselect.conf", "sssd\n")]);
    assert!(fedora.is_err_and(|failure| failure.what().contains("authselect rules")));
    assert!(common(&[]).is_err_and(|failure| failure.what().contains("has no pam-auth-update")));
}
