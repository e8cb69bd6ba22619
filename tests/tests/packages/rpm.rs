//! The RPM package: installed into an empty root, where nothing of this machine helps it.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf};

use scenarios::{package, shipped};

use crate::{path, run};

#[test]
fn rpmlint_finds_nothing() {
    let rules = shipped("packaging/rpm/rpmlint.toml");
    let said = run("rpmlint", &["-c", path(&rules), path(&rpm()), path(&symbols())]);
    assert!(said.contains("0 errors, 0 warnings"), "{said}");
}

#[test]
fn it_installs_into_an_empty_root_with_root_s_files_alone() {
    let root = tempfile::tempdir().unwrap();
    install(root.path());
    let listed = run("rpm", &["-qlvp", path(&rpm())]);
    for expected in [
        "/usr/lib64/security/pam_countersign.so",
        "/usr/libexec/countersignd",
        "/usr/bin/countersign",
        "/usr/lib/systemd/system/countersignd.service",
        "/usr/lib/systemd/system/countersignd.socket",
        "/usr/lib/systemd/system/countersign-pam-revert.service",
        "/usr/share/dbus-1/system.d/org.countersign.Countersign1.conf",
        "/usr/share/dbus-1/system-services/org.countersign.Countersign1.service",
        "/usr/share/polkit-1/actions/org.countersign.policy",
        "/etc/countersign/countersign.toml",
    ] {
        assert!(listed.lines().any(|line| line.ends_with(expected)), "{expected} is missing in {listed}");
        let metadata = fs::metadata(root.path().join(&expected[1..])).unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7022), (0, 0, 0), "{expected}");
    }
    assert!(run("rpm", &["-qcp", path(&rpm())]).contains("/etc/countersign/countersign.toml"));
}

/// Before the files come the libraries, after them the account, the socket's directory and the units; nothing of PAM.
#[test]
fn its_scriptlets_are_shell_and_refuse_to_leave_a_name_in_pam() {
    let scripts = run("rpm", &["-qp", "--scripts", path(&rpm())]);
    let at = |words: &str| scripts.find(words).unwrap_or_else(|| panic!("{words} is missing in {scripts}"));
    assert!(at("systemd-sysusers countersign.conf") < at("systemd-tmpfiles --create countersign.conf"));
    assert!(at("systemd-tmpfiles --create countersign.conf") < at("systemctl --no-reload preset"));
    assert!(at("pam_countersign\\.so' /etc/pam.conf") < at("systemctl --no-reload disable --now"));
    assert!(!scripts.contains("authselect select") && !scripts.contains("pam-auth-update"));
    for kind in ["%{POSTIN}", "%{PREUN}", "%{POSTUN}"] {
        let script = tempfile::NamedTempFile::new().unwrap();
        fs::write(script.path(), run("rpm", &["-qp", "--qf", kind, path(&rpm())])).unwrap();
        run("shellcheck", &["--shell=sh", path(script.path())]);
    }
}

/// The module of the package under this machine's libpam: without a daemon it refuses.
#[test]
fn its_module_runs_and_refuses_where_no_daemon_answers() {
    let root = tempfile::tempdir().unwrap();
    install(root.path());
    let module = root.path().join("usr/lib64/security/pam_countersign.so");
    let service = format!("countersign-rpm-{}", std::process::id());
    let file = PathBuf::from("/etc/pam.d").join(&service);
    fs::write(&file, format!("auth requisite {} socket=/nonexistent bus=unix:path=/nonexistent\n", module.display()))
        .unwrap();
    let output = crate::attempt("pamtester", &[&service, "root", "authenticate"]);
    fs::remove_file(&file).unwrap();
    assert!(!output.status.success());
    assert!(
        crate::text(&output).contains("Authentication service cannot retrieve authentication info"),
        "{}",
        crate::text(&output)
    );
    let daemon = root.path().join("usr/libexec/countersignd");
    run(path(&daemon), &["--check-config", "--config", path(&root.path().join("etc/countersign/countersign.toml"))]);
}

fn install(root: &std::path::Path) {
    // The empty root has no shell for scriptlets: what they say is looked at above.
    run("rpm", &["--root", path(root), "--dbpath", "/var/lib/rpm", "--nodeps", "--noscripts", "-ivh", path(&rpm())]);
}

fn rpm() -> PathBuf {
    package("countersign-0", ".rpm").unwrap()
}

fn symbols() -> PathBuf {
    package("countersign-debuginfo-", ".rpm").unwrap()
}
