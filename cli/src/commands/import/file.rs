//! The files that an import reads. One that root names has to be root's own; one below somebody's home is opened as that
//! person, without following a link that the person could have made (CVE-2024-47191), and only where it is that person's
//! own regular file.

use std::{
    ffi::OsStr,
    fs::{File, Metadata},
    io::{self, Read as _},
    os::{
        fd::AsFd,
        unix::fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2},
    unistd::{Gid, Uid, geteuid, setfsgid, setfsuid},
};
use zeroize::Zeroizing;

/// The largest file of one person, in bytes.
pub(super) const LARGEST: u64 = 64 * 1024;

/// Why a file is not read.
pub(super) type Reason = String;

/// Opens a file that root names and that holds other people's secrets.
///
/// # Errors
/// It is no regular file, or others may write it, or it cannot be opened.
pub(super) fn open_roots(path: &Path) -> Result<File, Reason> {
    let file = open(AT_FDCWD, path.as_os_str(), ResolveFlag::RESOLVE_NO_MAGICLINKS)?;
    let found = file.metadata().map_err(|error| error.to_string())?;
    check(&found, &[0, geteuid().as_raw()])?;
    Ok(file)
}

/// Reads a whole small file of one person as that person. `below` is a directory that only root can replace; no part of
/// `path` in it may be a link.
///
/// # Errors
/// It is no regular file of this person, or another one may write it, or it is too large, or cannot be read.
pub(super) fn read_as(person: Person, below: &File, path: &OsStr) -> Result<Zeroizing<Vec<u8>>, Reason> {
    let found = {
        let _as_person = AsPerson::become_one(person)?;
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        open(below, path, resolve)
    };
    let file = found?;
    let found = file.metadata().map_err(|error| error.to_string())?;
    check(&found, &[person.uid.as_raw()])?;
    if found.len() > LARGEST {
        return Err("it is larger than 64 KiB".into());
    }
    read(file)
}

/// Reads at most [`LARGEST`] bytes.
fn read(file: File) -> Result<Zeroizing<Vec<u8>>, Reason> {
    // Of its whole size from the beginning: growing it would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST as usize + 2));
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LARGEST {
        return Err("it is larger than 64 KiB".into());
    }
    Ok(bytes)
}

/// Whose rights a file is opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Person {
    /// The account's uid.
    pub(super) uid: Uid,
    /// Its primary group.
    pub(super) gid: Gid,
}

/// While it lives, this thread opens files with a person's rights (setfsuid(2)): the kernel drops root's capabilities
/// over files with it.
struct AsPerson {
    uid: Uid,
    gid: Gid,
}

impl AsPerson {
    fn become_one(person: Person) -> Result<Self, Reason> {
        let before = Self { gid: setfsgid(person.gid), uid: setfsuid(person.uid) };
        // The call tells nothing but what was in force before: asked again, it is what is in force now.
        if setfsuid(person.uid) != person.uid || setfsgid(person.gid) != person.gid {
            return Err("only root may read other people's files".into());
        }
        Ok(before)
    }
}

impl Drop for AsPerson {
    fn drop(&mut self) {
        setfsuid(self.uid);
        setfsgid(self.gid);
    }
}

fn open(below: impl AsFd, path: &OsStr, resolve: ResolveFlag) -> Result<File, Reason> {
    // Without O_NONBLOCK, a FIFO would hold the import until somebody writes into it.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let opened = openat2(below, path, OpenHow::new().flags(flags).resolve(resolve));
    opened.map(File::from).map_err(|error| match error {
        Errno::ELOOP => "it is a symbolic link, or lies behind one".into(),
        Errno::EXDEV => "it lies outside of the home".into(),
        Errno::ENXIO => "it is no regular file".into(),
        other => format!("it cannot be opened: {}", io::Error::from(other)),
    })
}

fn check(found: &Metadata, owners: &[u32]) -> Result<(), Reason> {
    let kind = found.file_type();
    if kind.is_fifo() {
        return Err("it is a FIFO".into());
    }
    if !kind.is_file() {
        return Err("it is no regular file".into());
    }
    if !owners.contains(&found.uid()) {
        return Err(format!("it belongs to uid {}", found.uid()));
    }
    if found.mode() & 0o022 != 0 {
        return Err(format!("others may write it (mode {:04o})", found.mode() & 0o7777));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt as _, chown, symlink},
    };

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    /// A home of uid 12345 below a folder of root's; `None` where the tests do not run as root.
    fn home() -> Option<(tempfile::TempDir, File)> {
        if !geteuid().is_root() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let home = folder.path().join("home");
        fs::create_dir(&home).unwrap();
        chown(&home, Some(12345), Some(12345)).unwrap();
        let opened = File::open(&home).unwrap();
        Some((folder, opened))
    }

    const PERSON: Person = Person { uid: Uid::from_raw(12345), gid: Gid::from_raw(12345) };

    #[test]
    fn only_the_persons_own_regular_small_unshared_file_is_read_and_the_rest_is_refused_by_name() {
        let Some((folder, opened)) = home() else { return };
        let home = folder.path().join("home");
        let make = |name: &str, content: &[u8], owner: u32, mode: u32| {
            let path = home.join(name);
            fs::write(&path, content).unwrap();
            chown(&path, Some(owner), Some(owner)).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        };
        make("good", b"content", 12345, 0o400);
        make("large", &vec![b'A'; 100 << 20], 12345, 0o600);
        make("roots", b"root:x", 0, 0o644);
        make("unreadable", b"root:x", 0, 0o600);
        make("shared", b"content", 12345, 0o620);
        symlink("/etc/shadow", home.join("link")).unwrap();
        symlink("good", home.join("own-link")).unwrap();
        symlink(folder.path(), home.join("up")).unwrap();
        mkfifo(&home.join("fifo"), Mode::S_IRWXU).unwrap();
        chown(home.join("fifo"), Some(12345), Some(12345)).unwrap();
        let read = |name: &str| read_as(PERSON, &opened, OsStr::new(name)).map(|bytes| bytes.to_vec());
        assert_eq!(read("good").unwrap(), b"content");
        for (name, why) in [
            ("large", "it is larger than 64 KiB"),
            ("roots", "it belongs to uid 0"),
            ("unreadable", "it cannot be opened: Permission denied"),
            ("shared", "others may write it (mode 0620)"),
            ("link", "it is a symbolic link"),
            ("own-link", "it is a symbolic link"),
            ("up/home/good", "it is a symbolic link"),
            ("../home/good", "it lies outside of the home"),
            ("fifo", "it is a FIFO"),
            (".", "it is no regular file"),
            ("missing", "it cannot be opened: No such file"),
        ] {
            let reason = read(name).unwrap_err();
            assert!(reason.starts_with(why), "{name}: {reason}");
        }
        assert_eq!(setfsuid(geteuid()), geteuid(), "the thread has its own rights again");
    }

    #[test]
    fn a_file_that_root_names_has_to_be_roots_own_and_no_link() {
        let Some((folder, _)) = home() else { return };
        let path = folder.path().join("users.oath");
        fs::write(&path, b"content").unwrap();
        assert!(open_roots(&path).is_ok());
        symlink(&path, folder.path().join("link")).unwrap();
        assert!(open_roots(&folder.path().join("link")).unwrap_err().starts_with("it is a symbolic link"));
        chown(&path, Some(12345), None).unwrap();
        assert_eq!(open_roots(&path).unwrap_err(), "it belongs to uid 12345");
        chown(&path, Some(0), None).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o660)).unwrap();
        assert_eq!(open_roots(&path).unwrap_err(), "others may write it (mode 0660)");
        assert_eq!(open_roots(Path::new("/")).unwrap_err(), "it is no regular file");
    }
}
