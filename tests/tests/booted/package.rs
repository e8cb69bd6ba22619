//! The packages as `make packages` built them, and machines that have one.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use scenarios::{Booted, Outcome, build_debian, package, target_directory};

/// The password of everybody on the machines.
pub(crate) const PASSWORD: &str = "a long enough password";

/// The Debian package of the version that is shipped.
pub(crate) fn debian() -> PathBuf {
    package("countersign_", ".deb").unwrap()
}

/// The same package with another version, which the first test that wants it builds.
pub(crate) fn of_version(version: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let build =
        || build_debian(&target_directory().unwrap().join(format!("packages-{version}")), Some(version)).unwrap();
    built.entry(version.to_owned()).or_insert_with(build).clone()
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
