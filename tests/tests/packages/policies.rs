//! The policies for SELinux and AppArmor: nobody enforces them yet, but they are at least policies.

use std::fs;

use scenarios::shipped;

use crate::{path, run};

#[test]
fn the_selinux_module_compiles() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["countersign.te", "countersign.fc"] {
        fs::copy(shipped(&format!("packaging/selinux/{file}")), directory.path().join(file)).unwrap();
    }
    run("make", &["-C", path(directory.path()), "-f", "/usr/share/selinux/devel/Makefile", "countersign.pp"]);
    assert!(fs::metadata(directory.path().join("countersign.pp")).unwrap().len() > 0);
}

#[test]
fn the_apparmor_profile_parses() {
    let profile = shipped("packaging/apparmor/usr.libexec.countersignd");
    run("apparmor_parser", &["--skip-kernel-load", "--skip-cache", path(&profile)]);
}

#[test]
fn both_say_that_nobody_enforces_them() {
    for file in ["selinux/countersign.te", "apparmor/usr.libexec.countersignd"] {
        let text = fs::read_to_string(shipped(&format!("packaging/{file}"))).unwrap();
        assert!(text.contains("NOT YET ENFORCED ANYWHERE"), "{file}");
    }
}
