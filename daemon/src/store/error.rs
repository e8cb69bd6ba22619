//! What can be wrong with the store, and what whoever keeps the host can do about it.

use std::path::PathBuf;

use rusqlite::ErrorCode;

use crate::audit::Break;

/// Why the store did not decide. Nothing was granted and nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// What is kept of this account was altered on the disk. Others are not concerned.
    #[error(
        "the record of account {account:?} is refused: {what}; restore the store from a backup, or reset the account"
    )]
    Corrupt {
        /// The account.
        account: String,
        /// What was altered.
        what: String,
    },
    /// A decision left a record that cannot be kept.
    #[error("the new record of account {account:?} is refused: {what}")]
    Invalid {
        /// The account.
        account: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The audit's chain is broken.
    #[error("the audit is broken: {0}")]
    Audit(Break),
    /// There is no room on the disk; the store works again as soon as there is.
    #[error("the disk that holds the store is full; make room on it")]
    DiskFull,
    /// The database does not work. It is opened anew for the next decision.
    #[error("the store does not work: {0}")]
    Unavailable(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// Another daemon works with this state.
    #[error("{}: another countersignd works with this state; stop it first", path.display())]
    InUse {
        /// The state directory.
        path: PathBuf,
    },
    /// The state directory cannot be used.
    #[error("the state directory {}: {what}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why, and what to do.
        what: String,
    },
    /// The file is no store.
    #[error("{} is not a store of countersignd; move it away or restore the store from a backup", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of the daemon made the store.
    #[error("{}: made by a newer countersignd (schema {found}; this one knows {known}); install that one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema that this daemon knows.
        known: i64,
    },
    /// The store was made with another master key.
    #[error("this store was made with master key {made}, the given one is {given}; provide key {made}")]
    WrongKey {
        /// The id of the key it was made with.
        made: String,
        /// The id of the key that was given.
        given: String,
    },
    /// The store needs two keys at the moment, and a copy of it would too.
    #[error("the master key is being rotated; make the backup when that has ended")]
    Rotating,
    /// A rotation of the key was under way, and the key that it moved away from is not at hand.
    #[error(
        "the master key was being rotated, and records are still sealed under key {0}: put that key into the state \
         directory as master.key.previous (mode 0400, the owner of the directory), or restore a backup"
    )]
    PreviousKey(String),
    /// A key that the store keeps sealed does not open.
    #[error("the store's {0} key was altered; restore the store from a backup")]
    SealedKey(&'static str),
    /// Something that never fails did.
    #[error("{0} failed")]
    Cryptography(&'static str),
    /// The thread could not be made.
    #[error("the store's thread could not be started: {0}")]
    Thread(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
