//! The replacing of one file of root's: as a whole or not at all, with owner, mode and extended attributes as they were,
//! and only where the file is still what was read. It follows no link.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RenameFlags},
    io::Errno,
};

use crate::failure::Failure;

/// More than a PAM file ever holds, in bytes.
const LARGEST: u64 = 4 * 1024 * 1024;

/// Puts `new` in place of `expected`; `None` stands for no file. The way back is the same call the other way round.
///
/// # Errors
/// The file is another one by now, is no plain file of its own, or cannot be written. It is then as it was.
pub(crate) fn replace(path: &Path, expected: Option<&[u8]>, new: Option<&[u8]>) -> Result<(), Failure> {
    let (folder, name) = open_folder(path).map_err(|error| cannot(path, &error))?;
    let old = open_plain(&folder, name, path)?;
    let found = old.as_ref().map(read).transpose().map_err(|error| cannot(path, &error))?;
    if found.as_deref() != expected {
        let failure = Failure::refused(format!("{} was changed meanwhile", path.display()));
        return Err(failure.with_help("Nothing was written to it. Look at it, and run the command again."));
    }
    let done = match new {
        Some(new) => write(&folder, name, old.as_ref(), new),
        None if old.is_some() => rustix::fs::unlinkat(&folder, name, AtFlags::empty()).map_err(io::Error::from),
        None => Ok(()),
    };
    done.and_then(|()| Ok(rustix::fs::fsync(&folder)?)).map_err(|error| cannot(path, &error))
}

/// The bytes of a plain file; `None` where there is none.
///
/// # Errors
/// It is a link or anything else but a plain file, or cannot be read.
pub(crate) fn bytes(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let (folder, name) = match open_folder(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(path, &error)),
    };
    let file = open_plain(&folder, name, path)?;
    file.as_ref().map(read).transpose().map_err(|error| cannot(path, &error))
}

fn open_folder(path: &Path) -> io::Result<(OwnedFd, &OsStr)> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "this path names no file");
    let (folder, name) = (path.parent().ok_or_else(invalid)?, path.file_name().ok_or_else(invalid)?);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok((rustix::fs::open(folder, flags, Mode::empty())?, name))
}

fn open_plain(folder: &OwnedFd, name: &OsStr, path: &Path) -> Result<Option<File>, Failure> {
    // A pipe in its place must not hold the program up.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => {
            let failure = Failure::refused(format!("{} is a link: something else rules it", path.display()));
            return Err(failure.with_help("Change what it leads to in the way that its owner wants it."));
        }
        Err(error) => return Err(cannot(path, &error.into())),
    };
    let found = rustix::fs::fstat(&file).map_err(|error| cannot(path, &error.into()))?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile || found.st_nlink != 1 {
        let failure = Failure::refused(format!("{} is no plain file of one name", path.display()));
        return Err(failure.with_help("Replacing it would part it from its other names: ls -li shows them."));
    }
    Ok(Some(file))
}

fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LARGEST) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 4 MiB"));
    }
    Ok(bytes)
}

/// A temporary file beside it that is on the disk before it gets the name. libpam reads no name with a dot before it.
fn write(folder: &OwnedFd, name: &OsStr, old: Option<&File>, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = OsStr::new(".").to_owned();
    temporary.push(name);
    temporary.push(".countersign");
    match rustix::fs::unlinkat(folder, &temporary, AtFlags::empty()) {
        // What an earlier run left that was killed.
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(folder, &temporary, flags, Mode::RUSR | Mode::WUSR)?);
    let written = file.write_all(bytes).and_then(|()| dress(&file, old)).and_then(|()| file.sync_all());
    let done = written.and_then(|()| {
        // A file that came meanwhile stays.
        let flags = if old.is_some() { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        Ok(rustix::fs::renameat_with(folder, &temporary, folder, name, flags)?)
    });
    if done.is_err() {
        // The reason that is told is the first one.
        let _ = rustix::fs::unlinkat(folder, &temporary, AtFlags::empty());
    }
    done
}

/// Owner, mode and extended attributes (SELinux, ACLs) of the old file; a new one is as PAM files are.
fn dress(file: &File, old: Option<&File>) -> io::Result<()> {
    let Some(old) = old else {
        return Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(0o644))?);
    };
    let found = rustix::fs::fstat(old)?;
    let (owner, group) = (rustix::fs::Uid::from_raw(found.st_uid), rustix::fs::Gid::from_raw(found.st_gid));
    rustix::fs::fchown(file, Some(owner), Some(group))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(found.st_mode & 0o7777))?;
    let mut names = Vec::with_capacity(64 * 1024);
    match rustix::fs::flistxattr(old, rustix::buffer::spare_capacity(&mut names)) {
        Ok(_) => {}
        Err(Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = Vec::with_capacity(64 * 1024);
        rustix::fs::fgetxattr(old, name, rustix::buffer::spare_capacity(&mut value))?;
        rustix::fs::fsetxattr(file, name, &value, rustix::fs::XattrFlags::empty())?;
    }
    Ok(())
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::refused(format!("{} cannot be changed: {error}", path.display()));
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            failure.with_help("It lies on a file system that is mounted read-only. Nothing was changed.")
        }
        io::ErrorKind::PermissionDenied => failure.with_help("Run the command as root, with sudo for instance."),
        _ => failure.with_help("The file is as it was."),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
        path::PathBuf,
    };

    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sshd");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn owner_mode_and_attributes_stay_and_nothing_is_left_beside_it() {
        let (folder, path) = file("before\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        std::os::unix::fs::chown(&path, Some(12), Some(34)).unwrap();
        let attribute = rustix::fs::setxattr(&path, "user.note", b"kept", rustix::fs::XattrFlags::empty());
        replace(&path, Some(b"before\n"), Some(b"after\xff")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"after\xff");
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (0o604, 12, 34));
        // A file system without attributes has none to keep.
        if attribute.is_ok() {
            let mut value = Vec::with_capacity(16);
            rustix::fs::getxattr(&path, "user.note", rustix::buffer::spare_capacity(&mut value)).unwrap();
            assert_eq!(value, b"kept");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_not_what_was_read_stays() {
        let (_folder, path) = file("by hand\n");
        for (expected, new) in [(Some(&b"before\n"[..]), Some(&b"after\n"[..])), (Some(b"x"), None), (None, Some(b"y"))]
        {
            let failure = replace(&path, expected, new).unwrap_err();
            assert!(failure.what().contains("changed meanwhile"), "{failure:?}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"by hand\n");
    }

    #[test]
    fn a_link_and_a_file_of_two_names_stay() {
        let (folder, path) = file("before\n");
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(replace(&link, Some(b"before\n"), Some(b"after\n")).unwrap_err().what().contains("is a link"));
        fs::hard_link(&path, folder.path().join("second")).unwrap();
        assert!(replace(&path, Some(b"before\n"), Some(b"after\n")).unwrap_err().what().contains("one name"));
        assert_eq!(fs::read(&path).unwrap(), b"before\n");
    }

    #[test]
    fn a_file_is_made_and_taken_away_again() {
        let (folder, path) = file("other\n");
        let path = path.with_file_name("new");
        replace(&path, None, Some(b"text\n")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
        replace(&path, Some(b"text\n"), None).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(bytes(&path), Ok(None));
    }

    #[test]
    fn what_a_killed_run_left_is_no_hindrance() {
        let (folder, path) = file("before\n");
        fs::write(folder.path().join(".sshd.countersign"), "half").unwrap();
        replace(&path, Some(b"before\n"), Some(b"after\n")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
