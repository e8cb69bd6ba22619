//! A new master key in the place of one that was copied with its host. What was sealed under the old one goes with it:
//! whoever has the copy has those secrets too. Works on the state of a daemon that does not run.

use std::io;
use std::path::{Path, PathBuf};

use super::key::{self, KeyError, KeyRing};
use super::{DATABASE, StoreError, decoy, files, sqlite};

/// What to do where accounts are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfKept {
    /// Leave everything as it is.
    Refuse,
    /// Forget them with the key.
    Forget,
}

/// Why there is no new key. Nothing was changed, unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// Accounts are kept.
    #[error(
        "{} in {}, with secrets that were copied with the key: a new key alone would protect nobody. To forget them all \
         and enrol them anew: countersign key new --forget-accounts. To keep them, if this is the one host that uses \
         them: countersign key accept",
        number(*count), state.display()
    )]
    Accounts {
        /// How many.
        count: u64,
        /// The state directory.
        state: PathBuf,
    },
    /// The key is not the state's to replace.
    #[error(
        "the master key is the systemd credential {}: put a new one in its place (systemd-creds(1)), and move the store \
         away", path.display()
    )]
    Credential {
        /// The credential.
        path: PathBuf,
    },
    /// The old key is not there or not usable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store cannot be looked at, or a daemon works with it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was not done to its end; doing it again is safe.
    #[error("{}: cannot be replaced", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes a new master key in the place of the old one and removes the store that was sealed under that; the next
/// start makes a new store. Returns the key's file; `None` where there is neither key nor store, so that the first
/// start makes both anyway.
///
/// # Errors
/// As [`RenewalError`] says.
pub fn renew(state: &Path, credentials: Option<&Path>, kept: IfKept) -> Result<Option<PathBuf>, RenewalError> {
    if let Some(path) = credentials.map(|directory| directory.join(key::CREDENTIAL))
        && is_there(&path)?
    {
        return Err(RenewalError::Credential { path });
    }
    let (store, path) = (state.join(DATABASE), state.join(key::FILE));
    if !is_there(&store)? && !is_there(&path)? {
        return Ok(None);
    }
    let _alone = sqlite::lock(state)?;
    if is_there(&store)? {
        let count = count_accounts(state)?;
        if count > 0 && kept == IfKept::Refuse {
            return Err(RenewalError::Accounts { count, state: state.to_owned() });
        }
        remove(state, &store)?;
    }
    for leftover in [key::NEXT, key::PREVIOUS].map(|name| state.join(name)) {
        files::remove(&leftover).map_err(at(&leftover))?;
    }
    // The store went first: without one any key is right, while a store without its key would keep the daemon down.
    key::make(state, &path).map_err(at(&path))?;
    Ok(Some(path))
}

/// Opens the store as the daemon does, so that a store which is not ours is never removed.
fn count_accounts(state: &Path) -> Result<u64, RenewalError> {
    let (ring, _) = KeyRing::load(None, state)?;
    let (connection, _) = sqlite::open(state, &ring)?;
    Ok(count(&connection)?)
}

/// How many accounts are kept.
pub(super) fn count(connection: &rusqlite::Connection) -> Result<u64, StoreError> {
    let count: i64 =
        connection.query_row("SELECT count(*) FROM accounts WHERE name <> ?1", [decoy::NAME], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// Removes the store, its log first: SQLite would play a log that is left over into the next store of that name.
fn remove(state: &Path, store: &Path) -> Result<(), RenewalError> {
    for path in [state.join(format!("{DATABASE}-wal")), state.join(format!("{DATABASE}-shm")), store.to_owned()] {
        files::remove(&path).map_err(at(&path))?;
    }
    files::sync(state).map_err(at(state))
}

/// How many accounts are kept, in words.
fn number(count: u64) -> String {
    match count {
        1 => "1 account is kept".to_owned(),
        more => format!("{more} accounts are kept"),
    }
}

fn is_there(path: &Path) -> Result<bool, RenewalError> {
    files::is_there(path).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> RenewalError {
    move |source| RenewalError::Io { path: path.to_owned(), source }
}
