//! The scratch host's file system, opened from outside with the host's root as the root: no link inside leads
//! out, and whatever is written replaces the old file at once.

use std::{
    ffi::OsStr,
    fs::{File, Permissions},
    io::{Read, Write},
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::Path,
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2, renameat},
    sys::stat::{Mode, mkdirat},
    unistd::{Gid, Uid, fchown},
};

#[derive(Debug)]
pub(crate) struct Root(File);

impl Root {
    /// The root of the process `pid`.
    pub(crate) fn of(pid: i32) -> Result<Self> {
        Ok(Self(File::open(format!("/proc/{pid}/root")).context("the scratch host's root")?))
    }

    /// The whole file.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.open(Path::new(path), OFlag::O_RDONLY).with_context(|| path.to_owned())?;
        File::from(file).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.open(Path::new(path), OFlag::O_PATH).is_ok()
    }

    /// Writes or replaces a file, and makes the directories above it.
    pub(crate) fn write(&self, path: &str, content: &[u8], mode: u32, uid: u32) -> Result<()> {
        self.replace(Path::new(path), content, mode, uid).with_context(|| format!("writing {path}"))
    }

    /// Makes a directory and those above it, which are root's.
    pub(crate) fn make_directory(&self, path: &str, mode: u32, uid: u32) -> Result<()> {
        self.make_path(Path::new(path)).with_context(|| format!("making {path}"))?;
        let directory = File::from(self.open(Path::new(path), OFlag::O_RDONLY | OFlag::O_DIRECTORY)?);
        directory.set_permissions(Permissions::from_mode(mode))?;
        own(&directory, uid)
    }

    fn replace(&self, path: &Path, content: &[u8], mode: u32, uid: u32) -> Result<()> {
        let parent = path.parent().context("a file has a directory")?;
        self.make_path(parent)?;
        let fresh = path.with_extension("scratch-new");
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC;
        let mut file = File::from(self.open(&fresh, flags)?);
        file.write_all(content)?;
        own(&file, uid)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        let directory = self.open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        renameat(&directory, name(&fresh)?, &directory, name(path)?)?;
        Ok(())
    }

    fn make_path(&self, path: &Path) -> Result<()> {
        if self.open(path, OFlag::O_PATH | OFlag::O_DIRECTORY).is_ok() {
            return Ok(());
        }
        let parent = path.parent().context("a directory has a parent")?;
        self.make_path(parent)?;
        let directory = self.open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        match mkdirat(&directory, name(path)?, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn open(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let mut how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        if flags.contains(OFlag::O_CREAT) {
            how = how.mode(Mode::from_bits_truncate(0o600));
        }
        openat2(&self.0, path, how)
    }
}

fn own(file: &File, uid: u32) -> Result<()> {
    fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))?;
    Ok(())
}

fn name(path: &Path) -> Result<&OsStr> {
    path.file_name().context("a path ends in a name")
}
