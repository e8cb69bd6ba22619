//! The RPM package: installed into an empty root, where nothing of this machine helps it.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf};

use scenarios::{Host, PAM_AUTH_ERR, PAM_SUCCESS, Stack, package, rootfs, shipped, target_directory};

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

#[test]
fn every_file_of_it_is_root_s_with_the_mode_of_its_kind() {
    let programs = ["/usr/bin/countersign", "/usr/libexec/countersignd"];
    let listed = run("rpm", &["-qlvp", path(&rpm())]);
    assert!(listed.lines().count() > 30, "{listed}");
    for line in listed.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let expected = match (fields[0].starts_with('d'), programs.contains(fields.last().unwrap())) {
            (true, _) => "drwxr-xr-x",
            (false, true) => "-rwxr-xr-x",
            (false, false) => "-rw-r--r--",
        };
        assert_eq!((fields[0], fields[2], fields[3]), (expected, "root", "root"), "{line}");
    }
    let root = tempfile::tempdir().unwrap();
    install(root.path());
    let verified = ["--root", path(root.path()), "--dbpath", "/var/lib/rpm", "--nodeps", "-V", "countersign"];
    assert_eq!(run("rpm", &verified), "");
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

/// Each program that the scriptlets call writes down that it was called, and then does what it does.
const LIFE: &str = r#"
    set -e
    mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
    cd "$2/root"
    mount -t proc proc proc
    for program in systemd-sysusers systemd-tmpfiles systemctl; do
        mv "usr/bin/$program" "usr/bin/$program.real"
        printf '#!/bin/sh\necho "%s $*" >>/called\nexec %s.real "$@"\n' "$program" "/usr/bin/$program" >"usr/bin/$program"
        chmod 0755 "usr/bin/$program"
    done
    touch called
    # What Fedora's pam and filesystem have, and Debian puts elsewhere.
    mkdir -p usr/lib64/security usr/share/fish/vendor_completions.d usr/share/licenses usr/share/zsh/site-functions
    files() {
        find . -xdev \( -path ./proc -o -path ./run -o -path ./var/lib/rpm -o -path ./tmp \) -prune -o -print |
            grep -v -E '^\./(called|etc/((passwd|group|shadow|gshadow)-?|\.pwd\.lock))$' | sort
    }
    rpm() { command rpm --root "$PWD" --dbpath /var/lib/rpm --nodeps "$@" 2>&1; }
    said() { echo "--- $*"; cat called; : >called; }
    files >"$2/before"
    (cd etc/pam.d && md5sum *) >"$2/pam"
    rpm -i "$3"
    said installed
    grep -o '^countersign:' etc/passwd
    stat -c '%U %a %n' run/countersign
    find etc/systemd -name 'countersignd.*' | sort
    rpm -U --force "$3"
    said upgraded
    echo 'auth requisite pam_countersign.so' >etc/pam.d/someones
    ! rpm -e countersign || echo "erased under somebody's PAM file"
    said refused
    test -e usr/lib64/security/pam_countersign.so
    rm etc/pam.d/someones
    rpm -e countersign
    said erased
    files | diff "$2/before" - && echo nothing left
    (cd etc/pam.d && md5sum *) | cmp - "$2/pam" && echo PAM is as it was
"#;

#[test]
fn it_is_installed_upgraded_and_erased_without_a_trace_and_its_scriptlets_run_in_order() {
    let scratch = target_directory().unwrap().join("booted").join(format!("rpm{}", std::process::id()));
    for name in ["upper", "work", "root"] {
        fs::create_dir_all(scratch.join(name)).unwrap();
    }
    let rootfs = rootfs("bookworm").unwrap();
    let (package, scratch_path) = (rpm(), scratch.clone());
    let arguments = ["-m", "-p", "-f", "--kill-child", "bash", "-c", LIFE, "-"];
    let places = [path(&rootfs), path(&scratch_path), path(&package)];
    let output = crate::attempt("unshare", &[&arguments[..], &places].concat());
    fs::remove_dir_all(&scratch).unwrap();
    // Of rpm itself only the errors of our own scriptlets are of interest.
    let said = crate::text(&output);
    let said: Vec<_> = said.lines().filter(|line| !line.starts_with("rpm: ") && !line.starts_with("error: ")).collect();
    let said = said.join("\n") + "\n";
    let expected = "countersign: systemd does not run here: nothing was started, and logins are as they were.\n\
        --- installed\n\
        systemd-sysusers countersign.conf\n\
        systemd-tmpfiles --create countersign.conf\n\
        systemctl --no-reload preset countersignd.socket countersignd.service countersign-pam-revert.service\n\
        countersign:\n\
        root 755 run/countersign\n\
        etc/systemd/system/multi-user.target.wants/countersignd.service\n\
        etc/systemd/system/sockets.target.wants/countersignd.socket\n\
        countersign: systemd does not run here: nothing was started, and logins are as they were.\n\
        --- upgraded\n\
        systemd-sysusers countersign.conf\n\
        systemd-tmpfiles --create countersign.conf\n\
        countersign: not removed. Without pam_countersign.so these PAM files refuse every login:\n\
        \x20   /etc/pam.d/someones\n\
        countersign: Take its lines out of them, with authselect(8) where it rules, and remove the package again.\n";
    assert!(said.starts_with(expected), "{said}");
    let end = "--- refused\n\
        --- erased\n\
        systemctl --no-reload disable countersignd.socket countersignd.service countersign-pam-revert.service\n\
        nothing left\n\
        PAM is as it was\n";
    assert!(said.ends_with(end) && output.status.success(), "{said}");
}

#[test]
fn its_module_lets_in_by_a_code_where_a_pam_file_names_it_by_its_path() {
    let root = tempfile::tempdir().unwrap();
    install(root.path());
    let module = "/usr/lib64/security/pam_countersign.so";
    let host = Host::build()
        .user_without_password("alice")
        .bind(root.path().join(&module[1..]), module)
        .pam(Stack::code_alone("door").module(module))
        .start()
        .unwrap();
    let phone = host.enrol("alice").unwrap();
    let code = host.code(&phone, 0).unwrap();
    assert_eq!(host.attempt("door", "alice", &[&code]).unwrap().result, PAM_SUCCESS);
    assert_eq!(host.attempt("door", "alice", &[&code]).unwrap().result, PAM_AUTH_ERR);
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
