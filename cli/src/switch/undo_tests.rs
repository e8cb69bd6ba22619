//! The way back on a root of files.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Standing, Undone, standing, undo};
use crate::{
    host::Host,
    switch::{
        file,
        ledger::{By, Change, Changed, Ledger},
    },
};

const BEFORE: &[u8] = b"auth required pam_unix.so # caf\xe9\r\n";
const AFTER: &[u8] = b"auth required pam_unix.so # caf\xe9\r\nauth requisite pam_countersign.so\n";

struct Scene {
    root: tempfile::TempDir,
    host: Host,
    ledger: Ledger,
    change: Change,
}

/// A host on which sudo was switched on.
fn scene() -> Scene {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("etc/pam.d")).unwrap();
    let host = Host::below(root.path(), |_, _| Err(io::ErrorKind::NotFound.into()));
    let changed =
        Changed { path: PathBuf::from("/etc/pam.d/sudo"), before: Some(BEFORE.to_vec()), after: Some(AFTER.to_vec()) };
    let services = vec!["sudo".to_owned()];
    let change = Change { what: "sudo".to_owned(), by: By::File, services, at: 0, trial: None, files: vec![changed] };
    let ledger = Ledger::of(&host);
    ledger.put(&change, &ledger.lock().unwrap()).unwrap();
    let scene = Scene { root, host, ledger, change };
    fs::write(scene.path(), AFTER).unwrap();
    scene
}

impl Scene {
    fn path(&self) -> PathBuf {
        self.root.path().join("etc/pam.d/sudo")
    }

    fn undo(&self) -> Result<Undone, crate::failure::Failure> {
        undo(&self.host, &self.ledger, &self.change, &self.ledger.lock().unwrap())
    }
}

#[test]
fn undoing_restores_the_bytes_and_forgets_the_change() {
    let scene = scene();
    assert_eq!(standing(&scene.host, &scene.change), Ok(Standing::InForce));
    assert_eq!(scene.undo(), Ok(Undone::Restored));
    assert_eq!(fs::read(scene.path()).unwrap(), BEFORE);
    assert_eq!(scene.ledger.changes(), Ok(vec![]));
    let backup = scene.root.path().join("var/lib/countersign-pam");
    assert_eq!(fs::read_dir(backup).unwrap().count(), 1, "the lock alone is left");
}

#[test]
fn a_file_that_somebody_has_edited_is_left_and_explained() {
    let scene = scene();
    let by_hand = [AFTER, b"auth optional pam_warn.so\n"].concat();
    fs::write(scene.path(), &by_hand).unwrap();
    let failure = scene.undo().unwrap_err();
    assert!(failure.what().contains("/etc/pam.d/sudo was changed by hand"), "{failure:?}");
    assert_eq!(fs::read(scene.path()).unwrap(), by_hand);
    assert_eq!(scene.ledger.changes().unwrap().len(), 1, "the way back is still known");
    // A file that libpam cannot take says nothing: the way back must not be lost for it.
    fs::write(scene.path(), "auth required pam_unix.so \\\n").unwrap();
    assert!(scene.undo().is_err());
    assert_eq!(scene.ledger.changes().unwrap().len(), 1);
    // Once the lines are out, there is nothing left to undo.
    fs::write(scene.path(), "auth required pam_unix.so\nauth optional pam_warn.so\n").unwrap();
    assert_eq!(scene.undo(), Ok(Undone::Already));
    assert_eq!(scene.ledger.changes(), Ok(vec![]));
}

#[test]
fn what_was_written_down_and_never_done_is_forgotten() {
    let scene = scene();
    fs::write(scene.path(), BEFORE).unwrap();
    assert_eq!(scene.undo(), Ok(Undone::Already));
    assert_eq!(fs::read(scene.path()).unwrap(), BEFORE);
}

#[test]
fn a_run_that_was_killed_between_two_files_is_taken_back() {
    let mut scene = scene();
    let second = Changed { path: PathBuf::from("/etc/pam.d/su"), before: None, after: Some(b"text\n".to_vec()) };
    scene.change.files.push(second);
    // The second file was never written.
    assert_eq!(standing(&scene.host, &scene.change), Ok(Standing::InForce));
    assert_eq!(scene.undo(), Ok(Undone::Restored));
    assert_eq!(fs::read(scene.path()).unwrap(), BEFORE);
    assert_eq!(file::bytes(&scene.host.at(Path::new("/etc/pam.d/su"))), Ok(None));
}

#[test]
fn where_pam_auth_update_cannot_the_bytes_are_put_back_all_the_same() {
    let mut scene = scene();
    scene.change.by = By::PamAuthUpdate;
    assert_eq!(scene.undo(), Ok(Undone::Restored));
    assert_eq!(fs::read(scene.path()).unwrap(), BEFORE);
}
