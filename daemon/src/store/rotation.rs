//! A new master key in the place of the old one while logins go on: every record is sealed and signed anew.
//!
//! The new key is durable as `master.key.next` before anything is sealed under it. One transaction makes it the store's
//! key and the old one the previous; `settle` then moves the files. From there on whatever is written is under the new
//! key, and a walk comes to the rest. When nothing is left under the old key, it is removed. At every instant the store
//! itself names the keys that it needs, and they are in the directory: a start after `kill -9` finds them
//! ([`super::KeyRing`]) and goes on.

use std::fs;
use std::io;
use std::path::Path;

use rusqlite::OptionalExtension;

use super::files::{remove, sync};
use super::home::MachineId;
use super::key::{self, FILE, KeyError, KeySource, MasterKey, NEXT, PREVIOUS};
use super::seal::{KeyId, Keys, Mac, Sealed};
use super::session::{Session, Trouble};
use super::sqlite::Vault;
use super::trail::is_type;
use super::{Store, StoreError, Urgency, decoy};
use crate::audit::Event;

/// How many accounts one transaction seals anew: a login that comes meanwhile waits for them, about 2 ms.
const STRIDE: usize = 32;

/// The master key that the store works with.
#[derive(Clone, Debug)]
pub struct KeyInUse {
    /// Its name.
    pub id: KeyId,
    /// Where it came from; `None` where it was handed over.
    pub source: Option<KeySource>,
    /// The name of the one that a rotation moves away from.
    pub previous: Option<KeyId>,
}

impl KeyInUse {
    pub(super) fn of(vault: &Vault) -> Self {
        let previous = vault.previous.as_ref().map(|keys| keys.id);
        Self { id: vault.keys.id, source: vault.source.clone(), previous }
    }
}

/// Why a rotation was not begun. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// One is under way.
    #[error("the master key is being rotated already")]
    UnderWay,
    /// The key is not the daemon's to replace.
    #[error("the master key is a systemd credential, which the daemon cannot replace")]
    Credential,
    /// The new key could not be made durable.
    #[error("the new key cannot be written: {0}")]
    Io(#[from] io::Error),
    /// The store does not work.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far a walk has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// The name of the account that was come to last; `None` where there is none after it.
    pub last: Option<String>,
    /// How many accounts were come to.
    pub accounts: u64,
    /// How many of them are refused, because they were altered on the disk. They stay as they are.
    pub refused: u64,
}

impl Store {
    /// Makes a new key and makes it the store's; commits `event` with it. The store goes on being at home on this host,
    /// if it is. What was sealed before still is under the old key: [`Store::reseal_some`] comes to it.
    ///
    /// # Errors
    /// As [`RotationError`] says.
    pub async fn begin_rotation(&self, machine: Option<MachineId>, event: Event) -> Result<(), RotationError> {
        let in_use = self.key_in_use();
        if matches!(in_use.source, Some(KeySource::Credential(_))) {
            return Err(RotationError::Credential);
        }
        let state = self.handle.state.clone();
        let begun = self.ask("", Urgency::Login, move |session| {
            if session.previous().is_some() {
                return Ok(Err(RotationError::UnderWay));
            }
            match make_next(&state, session.keys().id) {
                Ok(key) => begin(session, key, machine, event).map(Ok),
                Err(error) => Ok(Err(RotationError::Io(error))),
            }
        });
        begun.await??;
        // The next job is done under the new key. Should the store not open again, it is begun all the same.
        let _ = self.ping().await;
        Ok(())
    }

    /// Seals some accounts whose names sort after `after` under the store's key.
    ///
    /// # Errors
    /// The store does not work.
    pub async fn reseal_some(&self, after: Option<String>) -> Result<Walked, StoreError> {
        self.ask("", Urgency::Background, move |session| {
            let mut walked = Walked::default();
            let mut names = session.names(after.as_deref().unwrap_or_default(), STRIDE)?;
            if after.is_none() {
                names.insert(0, decoy::NAME.to_owned());
            }
            for name in &names {
                match session.reseal(name) {
                    Ok(_) => {}
                    // The next decision about a name without a record makes the decoy anew.
                    Err(Trouble::Refused(_)) if name == decoy::NAME => continue,
                    Err(Trouble::Refused(_)) => walked.refused += 1,
                    Err(trouble) => return Err(trouble),
                }
                walked.accounts += u64::from(name != decoy::NAME);
            }
            walked.last = names.pop();
            Ok(walked)
        })
        .await
    }

    /// Forgets the old key, once everything was come to; commits `event` with it.
    ///
    /// # Errors
    /// The store does not work.
    pub async fn end_rotation(&self, event: Event) -> Result<(), StoreError> {
        let state = self.handle.state.clone();
        let ended = self.ask("", Urgency::Background, move |session| {
            // Where the disk failed after the beginning, the new key does not have its place yet.
            move_files(&state, session.keys(), session.previous(), false)?;
            let key = MasterKey::read_file(&state.join(FILE)).ok();
            let Some(key) = key.filter(|key| Keys::derive(key).is_ok_and(|keys| keys.id == session.keys().id)) else {
                return Err(StoreError::Unavailable(format!("{FILE} does not hold the new master key")).into());
            };
            session.connection().execute("UPDATE store SET previous_key_id = NULL", [])?;
            session.append(event)?;
            session.rekey(key);
            Ok(())
        });
        ended.await?;
        let _ = self.ping().await;
        Ok(())
    }

    /// How many accounts are kept.
    ///
    /// # Errors
    /// The store does not work.
    pub async fn count(&self) -> Result<u64, StoreError> {
        self.ask("", Urgency::Background, |session| {
            let count: i64 = session.connection().query_row(
                "SELECT count(*) FROM accounts WHERE name <> ?1",
                [decoy::NAME],
                |row| row.get(0),
            )?;
            Ok(count.unsigned_abs())
        })
        .await
    }
}

/// Moves the keys' files to where the store's own names for its keys say that they belong. Safe to do again at any time.
pub(super) fn settle(state: &Path, vault: &Vault) -> Result<(), StoreError> {
    let elsewhere = matches!(vault.source, Some(KeySource::Credential(_)));
    move_files(state, &vault.keys, vault.previous.as_ref(), elsewhere)
}

/// The same for the store's own key and the former one, if there is one; the own one may have a place `elsewhere`.
///
/// A file that cannot be read just now may hold a key that is needed: then nothing is moved, and nothing removed.
fn move_files(state: &Path, own: &Keys, former: Option<&Keys>, elsewhere: bool) -> Result<(), StoreError> {
    let moved = || -> io::Result<()> {
        let (file, next, previous) = (state.join(FILE), state.join(NEXT), state.join(PREVIOUS));
        let holds = |path: &Path, keys: &Keys| Ok::<_, io::Error>(name_of(path)? == Some(keys.id));
        if holds(&next, own)? {
            // The old key keeps a name of its own before the new one takes its place.
            if let Some(former) = former
                && holds(&file, former)?
                && !holds(&previous, former)?
            {
                remove(&previous)?;
                fs::hard_link(&file, &previous)?;
                sync(state)?;
            }
            fs::rename(&next, &file)?;
            sync(state)?;
        }
        if !elsewhere && !holds(&file, own)? {
            return Ok(());
        }
        let mut changed = remove(&next)?;
        if former.is_none() {
            changed |= remove(&previous)?;
        }
        if changed { sync(state) } else { Ok(()) }
    };
    moved().map_err(|error| StoreError::Unavailable(format!("the files of the master key: {error}")))
}

/// Makes the new key durable beside the old one.
fn make_next(state: &Path, current: KeyId) -> io::Result<MasterKey> {
    let next = state.join(NEXT);
    if name_of(&next)? == Some(current) {
        return Err(io::Error::other(format!("{} holds the store's own key; restart the daemon", next.display())));
    }
    if name_of(&state.join(FILE))? != Some(current) {
        return Err(io::Error::other(format!("{FILE} is not the store's key; restart the daemon")));
    }
    key::make(state, &next)
}

/// Makes the new key the store's within the caller's transaction.
fn begin(session: &mut Session<'_>, key: MasterKey, machine: Option<MachineId>, event: Event) -> Result<(), Trouble> {
    let (old, new) = (session.keys(), Keys::derive(&key)?);
    let connection = session.connection();
    for name in ["recovery", "audit"] {
        let kept = super::sqlite::sealed_key(connection, old, name)?;
        let Sealed { nonce, bytes } = new.seal(kept.as_slice(), &new.associated_key(name))?;
        connection.execute(
            "UPDATE keys SET key_id = ?2, nonce = ?3, sealed = ?4 WHERE name = ?1",
            (name, new.id.to_string(), nonce, bytes),
        )?;
    }
    let mark = connection.query_row("SELECT host FROM store", [], |row| row.get(0)).optional();
    let mark: Option<Vec<u8>> = mark.or_else(|error| if is_type(&error) { Ok(None) } else { Err(error) })?.flatten();
    let at_home = |machine: &MachineId| {
        mark.as_ref().is_some_and(|mark| Mac::try_from(mark.as_slice()).is_ok_and(|mark| machine.is_signed(old, &mark)))
    };
    // A mark of another host says so under any key; that of a host which has no id yet is made at the next look.
    match machine {
        Some(machine) if at_home(&machine) => connection.execute("UPDATE store SET host = ?1", [machine.sign(&new)])?,
        Some(_) => 0,
        None => connection.execute("UPDATE store SET host = NULL", [])?,
    };
    connection
        .execute("UPDATE store SET key_id = ?1, previous_key_id = ?2", (new.id.to_string(), old.id.to_string()))?;
    session.append(event)?;
    session.rekey(key);
    Ok(())
}

/// The name of the key in this file, if it is one.
fn name_of(path: &Path) -> io::Result<Option<KeyId>> {
    match MasterKey::read_file(path) {
        Ok(key) => Keys::derive(&key).map(|keys| Some(keys.id)).map_err(io::Error::other),
        Err(KeyError::Io { source, .. }) if source.kind() != io::ErrorKind::NotFound => Err(source),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::{Record, Syslog};
    use super::*;

    /// A state directory, and the old and the new key written there under these names.
    fn keys_in(old: &str, new: &str) -> (tempfile::TempDir, Keys, Keys) {
        let state = tempfile::tempdir().unwrap();
        let made =
            [old, new].map(|name| Keys::derive(&key::make(state.path(), &state.path().join(name)).unwrap()).unwrap());
        let [old, new] = made;
        (state, old, new)
    }

    fn names(state: &Path) -> [Option<KeyId>; 3] {
        [FILE, NEXT, PREVIOUS].map(|name| name_of(&state.join(name)).unwrap())
    }

    #[test]
    fn a_key_that_cannot_be_read_for_a_moment_is_neither_removed_nor_overwritten() {
        let (state, old, new) = keys_in(FILE, "aside");
        let [file, next, aside] = [FILE, NEXT, "aside"].map(|name| state.path().join(name));
        // Opening a symbolic link fails here as it does on a bad disk or without descriptors: with an error that says
        // nothing of what is behind it.
        std::os::unix::fs::symlink("aside", &next).unwrap();
        move_files(state.path(), &new, Some(&old), false).unwrap_err();
        assert!(next.is_symlink() && name_of(&file).unwrap() == Some(old.id));
        fs::rename(&aside, &next).unwrap();
        fs::rename(&file, &aside).unwrap();
        std::os::unix::fs::symlink("aside", &file).unwrap();
        move_files(state.path(), &new, Some(&old), false).unwrap_err();
        assert!(file.is_symlink() && name_of(&next).unwrap() == Some(new.id));
        fs::rename(&aside, &file).unwrap();
        move_files(state.path(), &new, Some(&old), false).unwrap();
        assert_eq!(names(state.path()), [Some(new.id), None, Some(old.id)]);
        move_files(state.path(), &new, None, false).unwrap();
        assert_eq!(names(state.path()), [Some(new.id), None, None]);
    }

    #[test]
    fn what_an_earlier_rotation_left_gives_way_to_the_key_that_is_needed() {
        let (state, old, new) = keys_in(FILE, NEXT);
        key::make(state.path(), &state.path().join(PREVIOUS)).unwrap();
        move_files(state.path(), &new, Some(&old), false).unwrap();
        assert_eq!(names(state.path()), [Some(new.id), None, Some(old.id)]);
    }

    #[test]
    fn where_no_file_holds_the_stores_key_no_key_is_removed_unless_it_is_a_credential() {
        let (state, old, new) = keys_in(NEXT, PREVIOUS);
        let own = Keys::derive(&MasterKey::from_bytes(&[1; 32])).unwrap();
        move_files(state.path(), &own, None, false).unwrap();
        assert_eq!(names(state.path()), [None, Some(old.id), Some(new.id)]);
        move_files(state.path(), &own, None, true).unwrap();
        assert_eq!(names(state.path()), [None, None, None]);
    }

    #[tokio::test]
    async fn a_record_that_was_sealed_anew_is_loaded_anew_by_the_reply_to_an_older_question() {
        let state = tempfile::tempdir().unwrap();
        fs::set_permissions(state.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let store = Store::open(
            state.path(),
            MasterKey::from_bytes(&[1; 32]),
            Syslog::start(&state.path().join("log")).unwrap(),
        );
        let store = store.unwrap();
        let bind = |name: &'static str| {
            store.decide(name, Urgency::Login, move |tx| tx.record = Some(Record::empty(name, Some(7))))
        };
        bind("alice").await.unwrap();
        // The decoy, which the question about a name without a record loads.
        store.decide("nobody", Urgency::Login, |_| ()).await.unwrap();
        for (asked, sealed) in [("alice", "alice"), ("nobody", decoy::NAME)] {
            let loaded_anew = store.ask("", Urgency::Login, move |session| {
                session.read(asked)?;
                let warm = session.is_warm(asked);
                session.reseal(sealed)?;
                Ok((warm, session.is_warm(asked)))
            });
            assert_eq!(loaded_anew.await.unwrap(), (true, false), "{asked}");
        }
    }
}
