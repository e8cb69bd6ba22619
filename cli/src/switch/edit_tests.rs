//! Where the lines go in the files that distributions ship.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs, path::Path};

use super::{FirstFactor, asking};
use crate::host::{
    Host,
    pam::{
        judge::judge,
        stack::{Kind, Stack},
    },
};

const COMMON: &str = "auth\t[success=1 default=ignore]\tpam_unix.so nullok\nauth\trequisite\tpam_deny.so\n\
                      auth\trequired\tpam_permit.so\n";
const FEDORA: &str = "auth required pam_env.so\nauth sufficient pam_unix.so nullok\nauth required pam_deny.so\n\
                      account required pam_unix.so\npassword required pam_deny.so\nsession required pam_unix.so\n";
const LINES: &str = "auth requisite pam_countersign.so\nauth required  pam_permit.so\n";

/// The new text, and the names of what the doctor would say of it.
fn changed(service: &str, text: &str, first: FirstFactor) -> (Result<String, String>, Vec<&'static str>) {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("etc/pam.d");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("common-auth"), COMMON).unwrap();
    fs::write(directory.join("common-account"), "account required pam_unix.so\n").unwrap();
    fs::write(directory.join("password-auth"), FEDORA).unwrap();
    let path = Path::new("/etc/pam.d").join(service);
    fs::write(directory.join(service), text).unwrap();
    let host = Host::below(folder.path(), |_, _| Err(std::io::ErrorKind::NotFound.into()));
    let changed = asking(&host, service, &path, text, first).map_err(|failure| failure.what().to_owned());
    let names = match &changed {
        Ok(text) => {
            let read = Stack::read(&host.imagined(&path, text), service, Kind::Auth);
            judge(&read, service).findings.iter().map(|finding| finding.name).collect()
        }
        Err(_) => Vec::new(),
    };
    (changed, names)
}

#[test]
fn a_password_comes_first_and_the_code_below_it() {
    let before = "# su\nauth sufficient pam_rootok.so\n@include common-auth\nauth optional pam_group.so\n@include common-account\n";
    let (after, findings) = changed("su", before, FirstFactor::Password);
    let remark = "# A code of Countersign. Undo: countersign pam disable su\n";
    let expected = format!(
        "# su\nauth sufficient pam_rootok.so\n@include common-auth\n{remark}{LINES}auth optional pam_group.so\n\
         @include common-account\n"
    );
    assert_eq!((after, findings), (Ok(expected), vec![]));
}

#[test]
fn a_key_takes_the_place_of_the_password() {
    let before = "@include common-auth\naccount required pam_nologin.so\n";
    let (after, findings) = changed("sshd", before, FirstFactor::Key);
    let remark = "# A code of Countersign. Undo: countersign pam disable sshd\n";
    assert_eq!((after, findings), (Ok(format!("{remark}{LINES}account required pam_nologin.so\n")), vec![]));
}

#[test]
fn lines_that_jump_keep_what_they_jump_over() {
    let before = "auth [success=1 \\\n default=ignore] pam_unix.so\nauth requisite pam_deny.so\n\
                  auth required pam_permit.so\naccount required pam_unix.so\n";
    let (after, findings) = changed("sudo", before, FirstFactor::Password);
    let after = after.unwrap();
    assert!(
        after.contains("auth required pam_permit.so\n# A code") || after.contains("pam_deny.so\n# A code"),
        "{after}"
    );
    assert_eq!(findings, [] as [&str; 0], "{after}");
}

#[test]
fn a_fedora_file_takes_the_code_in_place_of_its_substack() {
    let before = "auth       substack     password-auth\nauth       include      postlogin\n\
                  account    include      password-auth\n";
    let (after, _) = changed("sshd", before, FirstFactor::Key);
    let after = after.unwrap();
    assert!(!after.contains("substack") && after.contains("account    include      password-auth\n"), "{after}");
    // Below it a refused password would still reach the prompt: the doctor names that, and the tool refuses.
    let (_, findings) = changed("sshd", before, FirstFactor::Password);
    assert!(findings.contains(&"pam-open-prompt"), "{findings:?}");
}

#[test]
fn a_line_that_brings_more_than_a_factor_is_not_taken_out() {
    let (after, _) = changed("sshd", "@include password-auth\n", FirstFactor::Key);
    assert!(after.clone().is_err_and(|what| what.contains("more than that")), "{after:?}");
}

#[test]
fn without_a_first_factor_nothing_is_put_below_it() {
    let (after, _) = changed("lock", "account required pam_permit.so\n", FirstFactor::Password);
    assert!(after.clone().is_err_and(|what| what.contains("no first factor")), "{after:?}");
    let (after, findings) = changed("lock", "account required pam_permit.so\n", FirstFactor::None);
    assert_eq!(after.map(|text| text.ends_with(LINES)), Ok(true));
    assert_eq!(findings, [] as [&str; 0]);
}
