//! The files that many services share, where a program of the distribution rules them: pam-auth-update(8) on Debian,
//! authselect(8) on Fedora and its kin. It is that program that writes them, first into a copy that shows what it does.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use super::{file, ledger::Changed};
use crate::{
    failure::Failure,
    host::{Host, pam::module::OURS},
    wording::printable,
};

/// The file that Debian's services share.
pub(crate) const FILE: &str = "/etc/pam.d/common-auth";
/// Debian's program.
const PROGRAM: &str = "/usr/sbin/pam-auth-update";
/// Our profile for it.
const PROFILE: &str = "/usr/share/pam-configs/countersign";
/// What it reads and writes.
const FOLDERS: [&str; 3] = ["/etc/pam.d", "/usr/share/pam-configs", "/var/lib/pam"];
/// Where authselect keeps what it was told.
const AUTHSELECT: &str = "/etc/authselect/authselect.conf";

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// `--enable`.
    On,
    /// `--disable`.
    Off,
}

/// Whether a program of the distribution can switch our lines on and off here.
///
/// # Errors
/// There is none; the failure says what to do instead.
pub(crate) fn ruler(host: &Host) -> Result<(), Failure> {
    if host.has(Path::new(AUTHSELECT)) {
        return Err(Failure::refused(
            "authselect rules the files that services share here, and has no feature for this",
        )
        .with_help("Switch services on one by one: countersign pam enable sshd --first-factor key")
        .with_help("Or make a profile of your own with authselect create-profile; pam_countersign(8) says how."));
    }
    if !host.has(Path::new(PROGRAM)) || !host.has(Path::new(FILE)) {
        return Err(Failure::refused("this host has no pam-auth-update, so that there is no common file to switch on")
            .with_help("Switch services on one by one: countersign pam enable sudo"));
    }
    if !host.has(Path::new(PROFILE)) {
        return Err(Failure::refused(format!("the profile {PROFILE} is not there"))
            .with_help("Install the package again, or copy packaging/pam-configs/countersign there."));
    }
    Ok(())
}

/// Whether the common file holds our lines.
pub(crate) fn names_ours(host: &Host) -> bool {
    let text = host.read(Path::new(FILE)).unwrap_or_default();
    text.lines().any(|line| line.split('#').next().is_some_and(|line| line.contains(OURS)))
}

/// What pam-auth-update would change, by letting it do so in a copy. Empty where it would change nothing.
///
/// # Errors
/// The copy cannot be made, or the program fails.
pub(crate) fn preview(host: &Host, switch: Switch) -> Result<Vec<Changed>, Failure> {
    let copy =
        Copy::make(host).map_err(|error| Failure::refused(format!("a copy to try on cannot be made: {error}")))?;
    let root = copy.root.display().to_string();
    run(host, switch, Some(&root))?;
    let mut changed = Vec::new();
    for name in host.names(Path::new(FOLDERS[0])) {
        let path = Path::new(FOLDERS[0]).join(&name);
        if !is_common(&name) {
            continue;
        }
        let before = file::bytes(&host.at(&path))?;
        let after = file::bytes(&copy.root.join(path.strip_prefix("/").unwrap_or(&path)))?;
        if before != after {
            changed.push(Changed { path, before, after });
        }
    }
    Ok(changed)
}

/// Lets pam-auth-update take our lines in.
///
/// # Errors
/// It fails.
pub(crate) fn enable(host: &Host) -> Result<(), Failure> {
    run(host, Switch::On, None)
}

/// Lets pam-auth-update take our lines out.
///
/// # Errors
/// It fails.
pub(crate) fn disable(host: &Host) -> Result<(), Failure> {
    run(host, Switch::Off, None)
}

fn run(host: &Host, switch: Switch, copy: Option<&str>) -> Result<(), Failure> {
    let flag = match switch {
        Switch::On => "--enable",
        Switch::Off => "--disable",
    };
    let mut arguments = vec!["DEBIAN_FRONTEND=noninteractive".to_owned()];
    if let Some(root) = copy {
        // What it notes of the answers belongs to the copy as well.
        arguments.push(format!("DEBCONF_SYSTEMRC={root}/debconf.conf"));
    }
    arguments.push(PROGRAM.to_owned());
    arguments.extend(copy.iter().flat_map(|root| ["--root".to_owned(), (*root).to_owned()]));
    arguments.extend([flag.to_owned(), "countersign".to_owned()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = host.run("/usr/bin/env", &arguments);
    match ran {
        Ok(ran) if ran.done => Ok(()),
        Ok(ran) => Err(Failure::refused(format!("pam-auth-update failed: {}", printable(ran.err.trim())))),
        Err(error) => Err(Failure::refused(format!("pam-auth-update cannot be run: {error}"))),
    }
}

fn is_common(name: &std::ffi::OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("common-") && !name.contains(['.', '~']))
}

/// A root with what pam-auth-update reads and writes. It is removed with this value.
struct Copy {
    root: PathBuf,
}

impl Copy {
    fn make(host: &Host) -> io::Result<Self> {
        let root = nix::unistd::mkdtemp(&std::env::temp_dir().join("countersign-pam.XXXXXX"))?;
        let copy = Self { root };
        for folder in FOLDERS {
            let into = copy.root.join(folder.trim_start_matches('/'));
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&into)?;
            for name in host.names(Path::new(folder)) {
                let from = host.at(&Path::new(folder).join(&name));
                let wanted = folder != FOLDERS[0] || is_common(&name);
                if wanted && fs::symlink_metadata(&from)?.is_file() {
                    fs::copy(from, into.join(name))?;
                }
            }
        }
        let shown = copy.root.display();
        let database = |name: &str| format!("Name: {name}\nDriver: File\nMode: 600\nFilename: {shown}/{name}.dat\n");
        let databases = [database("config"), database("templates")].join("\n");
        fs::write(copy.root.join("debconf.conf"), format!("Config: config\nTemplates: templates\n\n{databases}"))?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // What is left in a folder for temporary files harms nobody.
        let _ = fs::remove_dir_all(&self.root);
    }
}
