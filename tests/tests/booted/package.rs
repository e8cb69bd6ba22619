//! The packages as `make packages` built them, and machines that have one.

use std::{fs, path::PathBuf, process::Command};

use scenarios::{Booted, Outcome, shipped, staged, target_directory};

/// The password of everybody on the machines.
pub(crate) const PASSWORD: &str = "a long enough password";

/// The Debian package of the version that is shipped.
pub(crate) fn debian() -> PathBuf {
    let directory = target_directory().unwrap().join("packages");
    let named = |name: &str| name.starts_with("countersign_") && name.ends_with(".deb");
    let mut found: Vec<PathBuf> = fs::read_dir(&directory)
        .unwrap_or_else(|_| panic!("{} is missing: run `make deb` first", directory.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(named))
        .collect();
    assert_eq!(found.len(), 1, "one package and no more: {found:?}");
    found.remove(0)
}

/// The same package with a higher version.
pub(crate) fn higher() -> PathBuf {
    let directory = target_directory().unwrap().join("packages-higher");
    let stage = staged("countersignd").unwrap();
    let output = Command::new(shipped("packaging/deb/build"))
        .arg(stage.parent().unwrap())
        .arg(&directory)
        .env("COUNTERSIGN_DEB_VERSION", "0.1.1-1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// A booted machine with the package on it.
pub(crate) fn installed(suite: &str) -> Booted {
    let machine = Booted::boot(suite).unwrap();
    install(&machine, &debian()).success().unwrap();
    machine
}

/// Installs a package as an administrator does, without a terminal.
pub(crate) fn install(machine: &Booted, package: &std::path::Path) -> Outcome {
    let path = machine.bring(package, "/var/tmp").unwrap();
    machine.run(&["dpkg", "-i", "--force-confdef", "--force-confold", &path]).unwrap()
}

/// Waits until syslog has a line that holds all of `words`, and returns it.
pub(crate) fn logged(machine: &Booted, words: &[&str]) -> String {
    let look = || {
        let log = machine.read("/var/log/auth.log").unwrap_or_default();
        Ok(log.lines().rfind(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned))
    };
    scenarios::wait(&format!("a line with {words:?} in auth.log"), look).unwrap()
}
