//! What would change, before anything does.

use std::path::{Path, PathBuf};

use crate::{
    cli::{FirstFactor, PamEnable},
    failure::Failure,
    host::{
        Host,
        accounts::People,
        pam::stack::{DIRECTORIES, Kind, Stack},
        sshd::{
            config::{Config, FILE},
            probe,
        },
    },
    switch::{
        common::{self, Switch},
        edit, file,
        ledger::{By, COMMON, Change, Changed},
        trial, undo,
    },
    wording::printable,
};

/// What was asked for.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What changes.
    pub(super) changes: Vec<Change>,
    /// What asks already.
    pub(super) already: Vec<String>,
}

impl Plan {
    /// What `pam enable` would change.
    ///
    /// # Errors
    /// Something cannot be switched on this way; the failure says what to do instead.
    pub(super) fn of(host: &Host, arguments: &PamEnable) -> Result<Self, Failure> {
        let mut plan = Self::default();
        if arguments.common {
            plan.common(host)?;
            return Ok(plan);
        }
        for service in &arguments.service {
            let service = name(service)?;
            if !plan.changes.iter().any(|change| change.what == service) {
                plan.service(host, &service, arguments.first_factor)?;
            }
        }
        Ok(plan)
    }

    /// The host as it would be.
    pub(super) fn imagined(&self, host: &Host) -> Host {
        self.files().fold(host.clone(), |host, changed| host.imagined(&changed.path, &changed.text()))
    }

    /// All files that change.
    pub(super) fn files(&self) -> impl Iterator<Item = &Changed> {
        self.changes.iter().flat_map(|change| &change.files)
    }

    /// All services that ask because of it.
    pub(super) fn services(&self) -> Vec<String> {
        self.changes.iter().flat_map(|change| change.services.clone()).collect()
    }

    fn common(&mut self, host: &Host) -> Result<(), Failure> {
        common::ruler(host)?;
        if common::names_ours(host) {
            self.already.push("common-auth".to_owned());
            return Ok(());
        }
        let files = common::preview(host, Switch::On)?;
        if files.is_empty() {
            let what = "pam-auth-update would change nothing: /etc/pam.d/common-auth was changed by hand";
            return Err(Failure::refused(what)
                .with_help("It then leaves the file alone. Write the line by hand, below the first factor:")
                .with_help("auth requisite pam_countersign.so"));
        }
        let services = trial::services_with(host, Path::new(common::FILE));
        self.changes.push(change(COMMON, By::PamAuthUpdate, services, files));
        Ok(())
    }

    fn service(&mut self, host: &Host, service: &str, first: Option<FirstFactor>) -> Result<(), Failure> {
        if undo::asks(host, service) {
            self.already.push(service.to_owned());
            return Ok(());
        }
        let path = Path::new(DIRECTORIES[0]).join(service);
        let before = file::bytes(&host.at(&path))?;
        let text = match &before {
            Some(bytes) => bytes.clone(),
            None => vendors(host, service)?,
        };
        let text = String::from_utf8(text).map_err(|_| {
            Failure::refused(format!("{} holds bytes that are not UTF-8", path.display()))
                .with_help("Mend them, or write the lines by hand: docs/module.md shows which.")
        })?;
        let first = match first {
            Some(FirstFactor::Key) if service != "sshd" => {
                let failure = Failure::usage(format!("no key comes before the code of {service}"));
                return Err(failure.with_help("--first-factor key is for sshd. Others take password, or none."));
            }
            Some(first) => first,
            None if service == "sshd" => sshds(host)?,
            None => FirstFactor::Password,
        };
        let after = edit::asking(host, service, &path, &text, first)?;
        let changed = Changed { path, before, after: Some(after.into_bytes()) };
        self.changes.push(change(service, By::File, vec![service.to_owned()], vec![changed]));
        Ok(())
    }
}

/// A service's name as libpam takes it (pam_start(3)), where it is one.
///
/// # Errors
/// It could not be the name of a file in /etc/pam.d.
pub(super) fn name(service: &str) -> Result<String, Failure> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if service.is_empty() || service.starts_with(['.', '-']) || !service.bytes().all(plain) {
        let failure = Failure::usage(format!("{:?} is no PAM service", printable(service)));
        return Err(failure.with_help("See which there are: ls /etc/pam.d"));
    }
    let shared = ["common-", "system-", "password-auth"].iter().any(|begin| service.starts_with(begin));
    if shared || service == "other" {
        let failure = Failure::usage(format!("{service} is shared by services, and is none"));
        return Err(failure.with_help("For all that include common-auth: sudo countersign pam enable --common"));
    }
    Ok(service.to_ascii_lowercase())
}

fn change(what: &str, by: By, services: Vec<String>, files: Vec<Changed>) -> Change {
    Change { what: what.to_owned(), by, services, at: crate::output::now(), trial: None, files }
}

/// The file that a distribution ships elsewhere; ours in /etc then counts before it.
fn vendors(host: &Host, service: &str) -> Result<Vec<u8>, Failure> {
    let shipped: Option<PathBuf> = DIRECTORIES.get(1).map(|folder| Path::new(folder).join(service));
    let text = shipped.map(|path| file::bytes(&host.at(&path))).transpose()?.flatten();
    text.ok_or_else(|| {
        let read = Stack::read(host, service, Kind::Auth).is_ok();
        let why = if read { "; it is judged by /etc/pam.d/other" } else { "" };
        Failure::refused(format!("there is no PAM file of {service}{why}"))
            .with_help("See which there are: ls /etc/pam.d")
    })
}

/// What comes before the code in sshd, by its own settings: a key where every way in wants one.
fn sshds(host: &Host) -> Result<FirstFactor, Failure> {
    let config = Config::read(host, Path::new(FILE));
    let people = People::read(host);
    let ordinary = people.ordinary(|_| true).unwrap_or("nobody");
    let probes = probe::probes(&config, &people, ordinary);
    let unknown = || {
        Failure::usage("sshd does not say whether a key or a password comes before the code")
            .with_help("Say it: countersign pam enable sshd --first-factor key")
            .with_help("Or, where people log in with a password: countersign pam enable sshd --first-factor password")
    };
    let effective = probes.first().and_then(|probe| probe::ask(host, probe).ok()).ok_or_else(unknown)?;
    let methods = effective.value("authenticationmethods");
    if methods.is_empty() || methods == "any" {
        return Err(unknown());
    }
    let key = |way: &str| way.split(',').any(|method| method.split(':').next() == Some("publickey"));
    Ok(if methods.split_whitespace().all(key) { FirstFactor::Key } else { FirstFactor::Password })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
