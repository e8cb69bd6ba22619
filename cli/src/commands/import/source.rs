//! What an import may read: one policy for every format, here and nowhere else. What is read holds secrets and decides who
//! gets in, so whoever could have written it is as good as root:
//!
//! - A file that root names is root's own regular file that nobody else may write, and no symbolic link.
//! - A file below somebody's home is opened as that person, without following a link that the person could have made
//!   (CVE-2024-47191), and is that person's own regular file that nobody else may write.
//! - The standard input is whatever root gives: nothing is asked of it but its size.
//! - Each has a size that it must not exceed, and is read into memory that is zeroised.

use std::{
    ffi::OsStr,
    fs::{File, Metadata},
    io::{self, Read as _},
    os::{
        fd::AsFd,
        unix::fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2},
    unistd::{Gid, Uid, geteuid, setfsgid, setfsuid},
};
use zeroize::Zeroizing;

use crate::{failure::Failure, import::Bad, output::Output, wording::printable};

/// The largest file with a record a line, in bytes: more than two million records.
pub(super) const LARGEST_TABLE: usize = 256 << 20;
/// The largest file of one person, in bytes.
pub(super) const LARGEST_HOME_FILE: usize = 64 << 10;
/// The room that an input of unknown size gets first, in bytes.
const FIRST_ROOM: usize = 64 << 10;

/// Why a file is not read: for people, and to be escaped where the path is another's choice.
pub(super) type Reason = String;

/// An opened file that root named, or the standard input.
pub(super) struct Source {
    path: Option<PathBuf>,
    file: File,
    size: Option<u64>,
    largest: usize,
}

impl Source {
    /// Opens a file of at most `largest` bytes, or the standard input where the path is `-`.
    ///
    /// # Errors
    /// The policy of this module forbids it, or it cannot be opened. The failure names the file.
    pub(super) fn open(path: &Path, largest: usize) -> Result<Self, Failure> {
        if path == Path::new("-") {
            // A descriptor of its own: the buffer of the standard library's `Stdin` would keep secrets.
            let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
            let found = file.metadata()?;
            if found.is_dir() {
                return Err(Failure::refused("the standard input is a directory"));
            }
            let size = found.is_file().then_some(found.len());
            return Ok(Self { path: None, file, size, largest });
        }
        let (file, size) = open_roots(path, largest).map_err(|reason| refuse(path, &reason))?;
        Ok(Self { path: Some(path.to_owned()), file, size: Some(size), largest })
    }

    /// What it is called, as it was typed; `None` for the standard input. To be escaped.
    pub(super) fn name(&self) -> Option<String> {
        self.path.as_deref().map(|path| path.display().to_string())
    }

    /// How many bytes it has, where that is known.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// Its bytes as they come, and the most that there may be of them.
    pub(super) fn into_stream(self) -> (File, usize) {
        (self.file, self.largest)
    }

    /// All of it.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn read(self) -> Result<Content, Failure> {
        let name = self.name();
        // One byte more than the largest: whoever parses it sees that it is too large.
        let bytes = read_whole(self.file, self.size, self.largest.saturating_add(1));
        let bytes = bytes.map_err(|error| refuse(Path::new(name.as_deref().unwrap_or("-")), &explain(&error)))?;
        Ok(Content { path: self.path, bytes })
    }
}

/// All that a source held.
pub(super) struct Content {
    path: Option<PathBuf>,
    bytes: Zeroizing<Vec<u8>>,
}

impl Content {
    /// Opens and reads at once.
    ///
    /// # Errors
    /// As [`Source::open`] and [`Source::read`].
    pub(super) fn of(path: &Path, largest: usize) -> Result<Self, Failure> {
        Source::open(path, largest)?.read()
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its path, where it is not the standard input.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// What it is called, as it was typed; `None` for the standard input. To be escaped.
    pub(super) fn name(&self) -> Option<String> {
        self.path.as_deref().map(|path| path.display().to_string())
    }

    /// Parses its bytes; a failure names the file.
    ///
    /// # Errors
    /// Where `parse` refuses.
    pub(super) fn parse<'a, T>(&'a self, parse: impl FnOnce(&'a [u8]) -> Result<T, Bad>) -> Result<T, Failure> {
        self.say(parse(&self.bytes))
    }

    /// Names the file in a failure that is one of the file as a whole.
    ///
    /// # Errors
    /// That failure.
    pub(super) fn say<T>(&self, outcome: Result<T, Bad>) -> Result<T, Failure> {
        let name = || printable(&self.name().unwrap_or_else(|| "the standard input".to_owned()));
        outcome.map_err(|bad| Failure::refused(format!("{}: {}", name(), bad.reason)))
    }
}

/// Reads a whole small file of one person as that person. `below` is a directory that only root can replace; no part of
/// `path` in it may be a link.
///
/// # Errors
/// The policy of this module forbids it, or it cannot be read.
pub(super) fn read_as(person: Person, below: &File, path: &OsStr) -> Result<Zeroizing<Vec<u8>>, Reason> {
    let opened = {
        let _as_person = AsPerson::become_one(person)?;
        open(below, path, ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS)
    };
    let file = opened?;
    let size = check(&file, &[person.uid.as_raw()], LARGEST_HOME_FILE)?;
    // It may have grown since.
    let bytes = read_whole(file, Some(size), LARGEST_HOME_FILE + 1).map_err(|error| explain(&error))?;
    if bytes.len() > LARGEST_HOME_FILE { Err(too_large(LARGEST_HOME_FILE)) } else { Ok(bytes) }
}

/// Whose rights a file is opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Person {
    /// The account's uid.
    pub(super) uid: Uid,
    /// Its primary group.
    pub(super) gid: Gid,
}

/// Says how to get rid of files whose secrets were taken over.
///
/// # Errors
/// As [`Output::print`].
pub(super) fn advise_deletion(paths: &[PathBuf], output: &Output) -> Result<(), Failure> {
    for path in paths {
        output.say("The file holds secrets. When it is no longer needed, delete it:")?;
        output.print(&format!("  shred -u {}\n", printable(&path.display().to_string())))?;
    }
    Ok(())
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

/// Opens a file that root names; gives its size, too.
fn open_roots(path: &Path, largest: usize) -> Result<(File, u64), Reason> {
    let file = open(AT_FDCWD, path.as_os_str(), ResolveFlag::RESOLVE_NO_MAGICLINKS)?;
    let size = check(&file, &[0, geteuid().as_raw()], largest)?;
    Ok((file, size))
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

/// Whether the file may be read; its size in bytes.
fn check(file: &File, owners: &[u32], largest: usize) -> Result<u64, Reason> {
    let found: Metadata = file.metadata().map_err(|error| explain(&error))?;
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
    if found.len() > largest as u64 {
        return Err(too_large(largest));
    }
    Ok(found.len())
}

/// At most `most` bytes. Where the input grows, what is left behind is zeroised.
fn read_whole(mut file: File, size: Option<u64>, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let size = usize::try_from(size.unwrap_or_default()).unwrap_or(usize::MAX).saturating_add(1);
    let mut bytes = Zeroizing::new(vec![0; size.clamp(FIRST_ROOM.min(most), most)]);
    let mut length = 0;
    loop {
        if length == bytes.len() {
            if length == most {
                break;
            }
            let mut longer = Zeroizing::new(vec![0; (length * 2).min(most)]);
            longer.iter_mut().zip(bytes.iter()).for_each(|(new, old)| *new = *old);
            bytes = longer;
        }
        match file.read(bytes.get_mut(length..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// As people write it: `it is larger than 64 KiB`.
pub(super) fn too_large(largest: usize) -> Reason {
    let (number, unit) = if largest >= 1 << 20 { (largest >> 20, "MiB") } else { (largest >> 10, "KiB") };
    format!("it is larger than {number} {unit}")
}

fn explain(error: &io::Error) -> Reason {
    format!("it cannot be read: {error}")
}

fn refuse(path: &Path, reason: &str) -> Failure {
    let shown = printable(&path.display().to_string());
    Failure::refused(format!("{shown} is not read: {reason}")).with_help(
        "It has to be root's own file that nobody else may write, because whoever wrote it says who gets in. The \
         standard input, named -, is taken from anywhere.",
    )
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
        assert_eq!(open_roots(&path, 7).unwrap().1, 7);
        assert_eq!(open_roots(&path, 6).unwrap_err(), "it is larger than 0 KiB");
        symlink(&path, folder.path().join("link")).unwrap();
        assert!(open_roots(&folder.path().join("link"), 7).unwrap_err().starts_with("it is a symbolic link"));
        chown(&path, Some(12345), None).unwrap();
        assert_eq!(open_roots(&path, 7).unwrap_err(), "it belongs to uid 12345");
        chown(&path, Some(0), None).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o660)).unwrap();
        assert_eq!(open_roots(&path, 7).unwrap_err(), "others may write it (mode 0660)");
        assert_eq!(open_roots(Path::new("/"), 7).unwrap_err(), "it is no regular file");
        assert_eq!(open_roots(Path::new("/dev/zero"), 7).unwrap_err(), "it is no regular file");
    }

    #[test]
    fn of_an_input_without_an_end_one_byte_beyond_the_largest_is_read() {
        let read = |path: &str, most| read_whole(File::open(path).unwrap(), None, most).unwrap().len();
        assert_eq!(read("/dev/zero", 300_001), 300_001);
        assert_eq!(read("/dev/zero", 11), 11);
        assert!(read("/proc/self/maps", 1 << 20) > 0, "a file that does not know its size");
    }
}
