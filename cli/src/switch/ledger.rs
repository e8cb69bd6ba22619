//! What was switched on, and the way back: before each change the bytes of every file as they were and as they become lie
//! on the disk, root's alone, in files that a person can copy back by hand.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::{boot::Moment, login::Login};
use crate::{failure::Failure, host::Host};

/// Where it lies.
pub(crate) const FOLDER: &str = "/var/lib/countersign-pam";
/// How the change of everything that shares a file is called.
pub(crate) const COMMON: &str = "@common";
/// What a change is, in its folder; written last.
const DESCRIPTION: &str = "change.json";

/// By whom the files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum By {
    /// By this tool.
    File,
    /// By pam-auth-update(8).
    PamAuthUpdate,
}

/// What happens unless somebody confirms it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OnTrial {
    /// When it is taken back.
    pub(crate) until: Moment,
    /// The last record of the audit before the change: what confirms it comes later.
    pub(crate) after_record: u64,
    /// Where it was switched on.
    pub(crate) from: Login,
}

/// A file before and after; `None` where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Which.
    pub(crate) path: PathBuf,
    /// Its bytes before.
    pub(crate) before: Option<Vec<u8>>,
    /// Its bytes after.
    pub(crate) after: Option<Vec<u8>>,
}

/// One thing that was switched on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The service, or [`COMMON`].
    pub(crate) what: String,
    /// By whom.
    pub(crate) by: By,
    /// The services that ask because of it.
    pub(crate) services: Vec<String>,
    /// When, in seconds since 1970.
    pub(crate) at: u64,
    /// What happens unless somebody confirms it; `None` where it stays.
    pub(crate) trial: Option<OnTrial>,
    /// The files.
    pub(crate) files: Vec<Changed>,
}

/// A [`Change`] without its bytes.
#[derive(Serialize, Deserialize)]
struct Description {
    what: String,
    by: By,
    services: Vec<String>,
    at: u64,
    trial: Option<OnTrial>,
    files: Vec<Described>,
}

/// A file of a [`Description`]: its path, and whether it was there.
#[derive(Serialize, Deserialize)]
struct Described {
    path: PathBuf,
    before: bool,
    after: bool,
}

/// The changes of a host.
pub(crate) struct Ledger {
    folder: PathBuf,
}

/// Held while files are compared and written; one process at a time has it.
pub(crate) struct Lock(#[allow(dead_code, reason = "it counts while it lives")] Flock<File>);

impl Ledger {
    /// The one of this host.
    pub(crate) fn of(host: &Host) -> Self {
        Self { folder: host.at(Path::new(FOLDER)) }
    }

    /// Waits until nobody else changes anything.
    ///
    /// # Errors
    /// The folder cannot be made or written: it then cannot hold the way back either.
    pub(crate) fn lock(&self) -> Result<Lock, Failure> {
        let take = || -> io::Result<Lock> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            let file = File::options().create(true).append(true).mode(0o600).open(self.folder.join("lock"))?;
            Flock::lock(file, FlockArg::LockExclusive).map(Lock).map_err(|(_, error)| error.into())
        };
        take().map_err(|error| self.cannot(&error))
    }

    /// All changes, by name. One that was not written to its end never counted, and is passed over.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(crate) fn changes(&self) -> Result<Vec<Change>, Failure> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.cannot(&error)),
        };
        let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut folders: Vec<PathBuf> = folders.filter(|folder| folder.join(DESCRIPTION).is_file()).collect();
        folders.retain(|folder| folder.extension().is_none_or(|extension| extension != "new"));
        folders.sort();
        folders.iter().map(|folder| load(folder).map_err(|error| self.cannot(&error))).collect()
    }

    /// The change of this name.
    ///
    /// # Errors
    /// As [`Ledger::changes`].
    pub(crate) fn change(&self, what: &str) -> Result<Option<Change>, Failure> {
        Ok(self.changes()?.into_iter().find(|change| change.what == what))
    }

    /// Writes a change down, in place of an earlier one of the same name, so that it is on the disk.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn put(&self, change: &Change, _lock: &Lock) -> Result<(), Failure> {
        self.store(change).map_err(|error| self.cannot(&error))
    }

    /// Forgets a change.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(crate) fn forget(&self, what: &str, _lock: &Lock) -> Result<(), Failure> {
        let folder = self.folder.join(what);
        // Without its description it counts no more, whatever happens to the rest.
        let gone = fs::remove_file(folder.join(DESCRIPTION)).and_then(|()| fs::remove_dir_all(&folder));
        gone.and_then(|()| File::open(&self.folder)?.sync_all()).map_err(|error| self.cannot(&error))
    }

    /// Where the bytes of a file before the change lie, for people.
    pub(crate) fn kept(change: &Change, path: &Path) -> PathBuf {
        let number = change.files.iter().position(|file| file.path == path).unwrap_or_default();
        Path::new(FOLDER).join(&change.what).join(format!("{number}.before"))
    }

    fn store(&self, change: &Change) -> io::Result<()> {
        let (folder, new) = (self.folder.join(&change.what), self.folder.join(format!("{}.new", change.what)));
        for leftover in [&new, &folder] {
            match fs::remove_dir_all(leftover) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::DirBuilder::new().mode(0o700).create(&new)?;
        let files = change.files.iter().map(|file| Described {
            path: file.path.clone(),
            before: file.before.is_some(),
            after: file.after.is_some(),
        });
        let description = Description {
            what: change.what.clone(),
            by: change.by,
            services: change.services.clone(),
            at: change.at,
            trial: change.trial.clone(),
            files: files.collect(),
        };
        for (number, file) in change.files.iter().enumerate() {
            for (bytes, side) in [(&file.before, "before"), (&file.after, "after")] {
                if let Some(bytes) = bytes {
                    write(&new.join(format!("{number}.{side}")), bytes)?;
                }
            }
        }
        write(&new.join(DESCRIPTION), &serde_json::to_vec_pretty(&description)?)?;
        File::open(&new)?.sync_all()?;
        fs::rename(&new, &folder)?;
        File::open(&self.folder)?.sync_all()
    }

    fn cannot(&self, error: &io::Error) -> Failure {
        let failure = Failure::refused(format!("{}: {error}", self.folder.display()));
        match error.kind() {
            io::ErrorKind::PermissionDenied => failure.with_help("Run the command as root, with sudo for instance."),
            _ => failure.with_help("It holds the way back. Without it no PAM file is changed."),
        }
    }
}

impl Changed {
    /// The file as it becomes, for those that read it; empty where it goes.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.after.as_deref().unwrap_or_default()).into_owned()
    }
}

impl Change {
    /// Whether it is to be taken back by now.
    pub(crate) fn is_due(&self) -> bool {
        self.trial.as_ref().is_some_and(|trial| trial.until.left().is_none())
    }

    /// How people call it.
    pub(crate) fn name(&self) -> &str {
        if self.what == COMMON { "everything that includes common-auth" } else { &self.what }
    }

    /// What to type after `pam disable`.
    pub(crate) fn argument(&self) -> &str {
        if self.what == COMMON { "--common" } else { &self.what }
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::options().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn load(folder: &Path) -> io::Result<Change> {
    let description: Description = serde_json::from_slice(&fs::read(folder.join(DESCRIPTION))?)?;
    let mut files = Vec::new();
    for (number, file) in description.files.into_iter().enumerate() {
        let side =
            |there: bool, side: &str| there.then(|| fs::read(folder.join(format!("{number}.{side}")))).transpose();
        let (before, after) = (side(file.before, "before")?, side(file.after, "after")?);
        files.push(Changed { path: file.path, before, after });
    }
    let Description { what, by, services, at, trial, .. } = description;
    Ok(Change { what, by, services, at, trial, files })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn ledger() -> (tempfile::TempDir, Ledger) {
        let root = tempfile::tempdir().unwrap();
        let host = Host::below(root.path(), |_, _| Err(io::ErrorKind::NotFound.into()));
        let ledger = Ledger::of(&host);
        (root, ledger)
    }

    fn change(what: &str) -> Change {
        let trial = OnTrial { until: Moment::now().after(600), after_record: 41, from: Login::here() };
        let file = |path: &str, before: Option<&[u8]>| Changed {
            path: path.into(),
            before: before.map(<[u8]>::to_vec),
            after: Some(b"after\xff".to_vec()),
        };
        Change {
            what: what.to_owned(),
            by: By::File,
            services: vec![what.to_owned()],
            at: 1_700_000_000,
            trial: Some(trial),
            files: vec![file("/etc/pam.d/sshd", Some(b"\xffbefore\r\n")), file("/etc/pam.d/new", None)],
        }
    }

    #[test]
    fn a_change_is_read_as_it_was_written_and_nobody_else_may_read_it() {
        let (root, ledger) = ledger();
        assert_eq!(ledger.changes(), Ok(vec![]));
        let lock = ledger.lock().unwrap();
        ledger.put(&change("sshd"), &lock).unwrap();
        ledger.put(&change("sshd"), &lock).unwrap();
        assert_eq!(ledger.changes(), Ok(vec![change("sshd")]));
        let folder = root.path().join("var/lib/countersign-pam");
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read(folder.join("sshd/0.before")).unwrap(), b"\xffbefore\r\n");
        ledger.forget("sshd", &lock).unwrap();
        assert_eq!(ledger.changes(), Ok(vec![]));
    }

    #[test]
    fn a_change_that_was_not_written_to_its_end_does_not_count() {
        let (root, ledger) = ledger();
        let lock = ledger.lock().unwrap();
        ledger.put(&change("sshd"), &lock).unwrap();
        let folder = root.path().join("var/lib/countersign-pam");
        fs::rename(folder.join("sshd"), folder.join("sshd.new")).unwrap();
        fs::create_dir(folder.join("sudo")).unwrap();
        assert_eq!(ledger.changes(), Ok(vec![]));
        ledger.put(&change("sshd"), &lock).unwrap();
        assert_eq!(ledger.changes().unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_hold_the_way_back_is_an_error() {
        let (root, ledger) = ledger();
        fs::create_dir_all(root.path().join("var/lib")).unwrap();
        fs::write(root.path().join(FOLDER.trim_start_matches('/')), "a file").unwrap();
        assert!(ledger.lock().is_err());
    }
}
