//! A store from a backup in the place of the one that is here, or of none. Works on the state of a daemon that does not run.
//!
//! What comes in was decrypted by root's tool and is still checked as if an attacker had written it: the store's own
//! signatures say whether it is whole. It is written beside the old store and put right there; only then two renames put
//! it and its key in place, each of which leaves a state that a start goes on from ([`super::KeyRing`]).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dbus_api::BACKUP_HEADER;
use rusqlite::Connection;
use verifier::{Account, Moving, Now};
use zeroize::Zeroizing;

use super::key::{self, FILE, KeyError, KeyRing, MasterKey, NEXT};
use super::session::{Session, Trouble};
use super::sqlite::{self, Vault};
use super::{DATABASE, Record, StoreError, Urgency, files, renewal, rotation};
use crate::audit::{Event, Kind, Outcome};

/// The folder in the state directory in which the store is put right.
const FOLDER: &str = ".restore";

/// Bytes that are read at once.
const BLOCK: usize = 64 * 1024;

/// How many accounts are looked at in one go.
const PAGE: usize = 500;

/// What to do with the counters of the copy, and with what is here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// Replace a store that keeps accounts.
    pub replace: bool,
    /// Nothing was spent since the backup was made: a move that was planned.
    pub trust_counters: bool,
}

/// One authenticator that came back, for review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Its account.
    pub account: String,
    /// Its id; empty where the account's record was altered on the disk before the backup was made.
    pub id: String,
    /// Its name.
    pub label: String,
    /// `totp` or `hotp`; empty as the id is.
    pub kind: String,
    /// `active`, `disabled` (by itself), `waits` (for an administrator to enable the account), `gone` (the store that was here
    /// did not have it any more; it waits as well) or `altered`.
    pub state: &'static str,
}

/// Why nothing was restored. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Accounts are kept here.
    #[error("accounts are kept here already; to replace them: countersign restore FILE --replace")]
    Kept,
    /// What came in does not begin like a backup.
    #[error("this is no backup of countersign, or one of a newer version")]
    Foreign,
    /// What came in ends too early or too late.
    #[error("the backup is not whole: it was cut or altered")]
    Torn,
    /// The database in it is damaged.
    #[error("the store in the backup is damaged: {0}")]
    Damaged(String),
    /// The key that is here cannot be looked at.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store in the backup, or the one that is here, cannot be worked with.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The state to oneself: no daemon works with it, and none begins to.
#[derive(Debug)]
pub struct Alone {
    state: PathBuf,
    _lock: File,
}

impl Alone {
    /// Where no daemon runs.
    ///
    /// # Errors
    /// A daemon works with the state, or it is not ours.
    pub fn at_once(state: &Path) -> Result<Self, StoreError> {
        Ok(Self { state: state.to_owned(), _lock: sqlite::lock(state)? })
    }

    /// Where a daemon is about to be stopped. `told` hears first whether that is waited for: from then on no other one
    /// comes between.
    ///
    /// # Errors
    /// As [`Alone::at_once`], after `patience`.
    pub fn within(state: &Path, patience: Duration, told: impl FnOnce(bool)) -> Result<Self, StoreError> {
        Ok(Self { state: state.to_owned(), _lock: sqlite::lock_within(state, patience, told)? })
    }
}

/// Puts the store from `backup` in place. Returns its authenticators for review.
///
/// # Errors
/// As [`RestoreError`] says.
pub fn restore(
    alone: &Alone,
    credentials: Option<&Path>,
    backup: &mut impl Read,
    manner: Manner,
    now: &Now,
) -> Result<Vec<Restored>, RestoreError> {
    let state = alone.state.as_path();
    let here = Here::look(state, credentials, manner)?;
    let folder = state.join(FOLDER);
    remove_folder(&folder)?;
    let result = restore_by(&folder, state, here, backup, manner, now);
    // What was not put in place is worth nothing, and holds a copy of the secrets.
    let removed = remove_folder(&folder);
    let restored = result?;
    removed?;
    Ok(restored)
}

fn restore_by(
    folder: &Path,
    state: &Path,
    here: Here,
    backup: &mut impl Read,
    manner: Manner,
    now: &Now,
) -> Result<Vec<Restored>, RestoreError> {
    DirBuilder::new().mode(0o700).create(folder).map_err(at(folder))?;
    let key = receive(backup, &folder.join(DATABASE))?;
    let ring = KeyRing::from(MasterKey::from_bytes(&key));
    let (connection, vault) = sqlite::open(folder, &ring)?;
    check(&connection)?;
    let restored = put_right(&connection, &vault, here.store.as_ref(), manner, now)?;
    sqlite::checkpoint(&connection, "TRUNCATE")?;
    connection.close().map_err(|(_, error)| StoreError::from(error))?;
    let (database, place) = (folder.join(DATABASE), state.join(DATABASE));
    File::open(&database).and_then(|file| file.sync_all()).map_err(at(&database))?;
    here.leave()?;
    // The key first: without a store a key opens nothing, and beside the old store it is one that is passed over.
    let file = state.join(FILE);
    let path = if files::is_there(&file).map_err(at(&file))? { state.join(NEXT) } else { file };
    key::write(state, &path, &MasterKey::from_bytes(&key)).map_err(at(&path))?;
    fs::rename(&database, &place).map_err(at(&place))?;
    files::sync(state).map_err(at(state))?;
    rotation::settle(state, &vault)?;
    Ok(restored)
}

/// The store that is here, if there is one that opens.
struct Here {
    state: PathBuf,
    store: Option<(Connection, Vault)>,
}

impl Here {
    fn look(state: &Path, credentials: Option<&Path>, manner: Manner) -> Result<Self, RestoreError> {
        let here = |store| Self { state: state.to_owned(), store };
        let database = state.join(DATABASE);
        if !files::is_there(&database).map_err(at(&database))? {
            return Ok(here(None));
        }
        let opened = KeyRing::load(credentials, state).map_err(RestoreError::from);
        match opened.and_then(|(ring, _)| Ok(sqlite::open(state, &ring)?)) {
            Ok(store) if manner.replace || renewal::count(&store.0)? == 0 => {
                // The restored key is about to take a name that an interrupted rotation may still need.
                rotation::settle(state, &store.1)?;
                Ok(here(Some(store)))
            }
            Ok(_) => Err(RestoreError::Kept),
            // One that is damaged, or whose key is lost, is what a restore is for.
            Err(_) if manner.replace => Ok(here(None)),
            Err(error) => Err(error),
        }
    }

    /// Closes it, its log written into it: SQLite would play a log that is left over into the store that comes.
    fn leave(self) -> Result<(), RestoreError> {
        if let Some((connection, _)) = self.store {
            sqlite::checkpoint(&connection, "TRUNCATE")?;
            connection.close().map_err(|(_, error)| StoreError::from(error))?;
        }
        for name in [format!("{DATABASE}-wal"), format!("{DATABASE}-shm")] {
            let path = self.state.join(name);
            files::remove(&path).map_err(at(&path))?;
        }
        Ok(())
    }
}

/// Reads the key and writes the database; nothing may be missing and nothing may follow.
fn receive(backup: &mut impl Read, path: &Path) -> Result<Zeroizing<[u8; 32]>, RestoreError> {
    let torn = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => RestoreError::Torn,
        _ => at(Path::new("standard input"))(error),
    };
    let mut header = vec![0; BACKUP_HEADER.len()];
    backup.read_exact(&mut header).map_err(torn)?;
    if header != BACKUP_HEADER {
        return Err(RestoreError::Foreign);
    }
    let (mut key, mut size) = (Zeroizing::new([0; 32]), [0; 8]);
    backup.read_exact(key.as_mut_slice()).map_err(torn)?;
    backup.read_exact(&mut size).map_err(torn)?;
    let mut left = u64::from_be_bytes(size);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(at(path))?;
    let mut block = vec![0; BLOCK];
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        let Some(part) = block.get_mut(..length) else { break };
        backup.read_exact(part).map_err(torn)?;
        file.write_all(part).map_err(at(path))?;
        left -= length as u64;
    }
    file.sync_all().map_err(at(path))?;
    match backup.read(&mut [0; 1]).map_err(torn)? {
        0 => Ok(key),
        _ => Err(RestoreError::Torn),
    }
}

fn check(connection: &Connection) -> Result<(), RestoreError> {
    let found: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(StoreError::from)?;
    if found == "ok" { Ok(()) } else { Err(RestoreError::Damaged(found)) }
}

/// Makes everything worthless that may have been spent since, in one transaction.
fn put_right(
    connection: &Connection,
    vault: &Vault,
    here: Option<&(Connection, Vault)>,
    manner: Manner,
    now: &Now,
) -> Result<Vec<Restored>, RestoreError> {
    let mut session = Session::new(connection, vault)?;
    let mut here = here.map(|(connection, vault)| Session::new(connection, vault)).transpose()?;
    let restored = session.alone(|session| {
        let mut restored = Vec::new();
        let (mut after, mut accounts) = (String::new(), 0_u64);
        loop {
            let names = session.names(&after, PAGE)?;
            let Some(last) = names.last() else { break };
            after.clone_from(last);
            for name in &names {
                let newer = known(here.as_mut(), name)?;
                restored.extend(put_account_right(session, name, &newer, manner, now)?);
                accounts += 1;
            }
        }
        // Whoever restores says thereby that the state belongs here.
        session.connection().execute("UPDATE store SET host = NULL", [])?;
        session.append(event(accounts, manner, now))?;
        Ok(restored)
    })?;
    Ok(restored)
}

/// An account in the store that is here.
enum Known {
    /// It is not there, or there is no store.
    Nothing,
    /// What it has spent and counted. After a reset that is nothing, and what the backup has is gone.
    Record(Box<Record>),
    /// It was altered on the disk: nobody knows what it has spent.
    Altered,
}

/// The account as the store that is here knows it.
fn known(here: Option<&mut Session<'_>>, name: &str) -> Result<Known, Trouble> {
    match here.map(|here| here.peek(name)) {
        None | Some(Ok(None)) => Ok(Known::Nothing),
        Some(Ok(Some(record))) => Ok(Known::Record(Box::new(record))),
        Some(Err(Trouble::Refused(_))) => Ok(Known::Altered),
        Some(Err(trouble)) => Err(trouble),
    }
}

fn put_account_right(
    session: &mut Session<'_>,
    name: &str,
    newer: &Known,
    manner: Manner,
    now: &Now,
) -> Result<Vec<Restored>, Trouble> {
    let is_unknown = matches!(newer, Known::Altered);
    let decided = session.decide(name, Urgency::Background, |tx| {
        let Some(record) = tx.record.as_mut() else { return Vec::new() };
        let newer = match newer {
            Known::Record(newer) => Some(&newer.account),
            Known::Nothing | Known::Altered => None,
        };
        if let Some(newer) = newer {
            record.account.catch_up(newer);
        }
        if !manner.trust_counters || is_unknown {
            record.account.distrust(now);
            record.enrolment_until = None;
        }
        listed(name, &record.account, newer)
    });
    match decided {
        Err(Trouble::Refused(StoreError::Corrupt { .. })) => {
            let unknown = String::new;
            Ok(vec![Restored {
                account: name.to_owned(),
                id: unknown(),
                label: unknown(),
                kind: unknown(),
                state: "altered",
            }])
        }
        decided => decided,
    }
}

fn listed(name: &str, account: &Account, newer: Option<&Account>) -> Vec<Restored> {
    let one = |one: &verifier::Authenticator| {
        let is_gone = newer.is_some_and(|newer| !newer.authenticators.iter().any(|other| other.secret == one.secret));
        Restored {
            account: name.to_owned(),
            id: one.id.to_string(),
            label: one.label.clone(),
            kind: match one.moving {
                Moving::Totp(_) => "totp".to_owned(),
                Moving::Hotp(_) => "hotp".to_owned(),
            },
            state: match one {
                _ if is_gone => "gone",
                one if !one.active => "disabled",
                one if one.suspended => "waits",
                _ => "active",
            },
        }
    };
    account.authenticators.iter().map(one).collect()
}

fn event(accounts: u64, manner: Manner, now: &Now) -> Event {
    let how = if manner.trust_counters {
        "its counters are trusted"
    } else {
        "counter-based authenticators, recovery and scratch codes wait for countersign enable"
    };
    let reason = Some(format!("the store came from a backup; accounts: {accounts}; {how}"));
    Event { reason, caller_uid: Some(0), ..Event::new(now.wall, Kind::Restore, Outcome::Granted) }
}

fn remove_folder(folder: &Path) -> Result<(), RestoreError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(folder)(error)),
        _ => Ok(()),
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> RestoreError {
    move |source| RestoreError::Io { path: path.to_owned(), source }
}
