//! The steps on files that the store's parts share. Each tells "not there" from "nobody can tell just now": what is taken
//! for missing by mistake is made anew or passed over, and what was there is lost.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Whether there is something of this name, a link not followed.
pub(super) fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        found => found.map(|_| true),
    }
}

/// Removes the file, if it is there; tells whether it was.
pub(super) fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// Makes durable what was named, renamed and removed in the directory.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn what_nobody_can_tell_is_an_error_and_not_absence() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        assert!(!is_there(&file).unwrap() && !remove(&file).unwrap());
        fs::write(&file, "").unwrap();
        assert!(is_there(&file).unwrap());
        // The way to it fails, here because it leads through a file.
        let beyond = file.join("beyond");
        assert_eq!(is_there(&beyond).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(remove(&beyond).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        let dangling = directory.path().join("dangling");
        std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
        assert!(is_there(&dangling).unwrap() && remove(&dangling).unwrap() && !is_there(&dangling).unwrap());
        assert!(remove(&file).unwrap() && !is_there(&file).unwrap());
        sync(directory.path()).unwrap();
    }
}
