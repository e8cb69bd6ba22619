//! The master key: from a systemd credential or from a file that only the daemon can read.
//!
//! It is made once, before there is a store, and replaced only by a rotation, which somebody asked for: a store whose
//! key is lost is refused, so that a lost key is an error somebody sees and not a store that silently begins anew.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::seal::{KeyId, Keys};
use super::{DATABASE, StoreError, files, seal};

/// The name of the systemd credential (systemd.exec(5), `LoadCredentialEncrypted=`).
pub const CREDENTIAL: &str = "countersign.key";

/// The name of the key's file in the state directory.
pub const FILE: &str = "master.key";

/// The key that a rotation moves to, until it is the store's.
pub(super) const NEXT: &str = "master.key.next";

/// The key that a rotation moves away from, until nothing is sealed under it.
pub(super) const PREVIOUS: &str = "master.key.previous";

/// Bytes of a master key.
const LENGTH: usize = 32;

/// The key under which everything else is sealed. Zeroised when dropped.
pub struct MasterKey(seal::SecretBytes);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey([REDACTED])")
    }
}

/// Where the master key came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// This systemd credential.
    Credential(PathBuf),
    /// This file.
    File(PathBuf),
    /// This file, which was made just now because there was no store yet.
    Created(PathBuf),
}

/// The keys at hand. The store says which of them is its own (`KeyRing::find`).
pub struct KeyRing(Vec<(MasterKey, Option<KeySource>)>);

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} keys)", self.0.len())
    }
}

impl From<MasterKey> for KeyRing {
    fn from(key: MasterKey) -> Self {
        Self(vec![(key, None)])
    }
}

impl KeyRing {
    /// Takes the key that [`MasterKey::load`] finds first, and beside it what a rotation that was interrupted, or a
    /// restored store under a credential, left in the state directory.
    ///
    /// # Errors
    /// As [`MasterKey::load`].
    pub fn load(credentials: Option<&Path>, state: &Path) -> Result<(Self, KeySource), KeyError> {
        let (key, source) = MasterKey::load(credentials, state)?;
        let mut ring = Self(vec![(key, Some(source.clone()))]);
        for name in [FILE, NEXT, PREVIOUS] {
            let path = state.join(name);
            // What is not usable is not needed, or the store names the key that it misses.
            if let Ok(key) = MasterKey::read_file(&path) {
                ring.0.push((key, Some(KeySource::File(state.join(FILE)))));
            }
        }
        Ok((ring, source))
    }

    /// Puts a key beside the others.
    pub(super) fn push(&mut self, key: MasterKey, source: Option<KeySource>) {
        self.0.push((key, source));
    }

    /// The bytes of the key of this name.
    pub(super) fn bytes(&self, id: KeyId) -> Result<Zeroizing<[u8; LENGTH]>, StoreError> {
        let found = self.0.iter().find(|(key, _)| Keys::derive(key).is_ok_and(|keys| keys.id == id));
        found.map(|(key, _)| (*key.0).clone()).ok_or(StoreError::Cryptography("finding the key"))
    }

    /// Forgets all keys but these.
    pub(super) fn keep(&mut self, ids: &[KeyId]) {
        self.0.retain(|(key, _)| Keys::derive(key).is_ok_and(|keys| ids.contains(&keys.id)));
    }

    /// The keys derived from the key of this name, and where it came from.
    pub(super) fn find(&self, id: &str) -> Result<Option<(Keys, Option<KeySource>)>, StoreError> {
        for (key, source) in &self.0 {
            let keys = Keys::derive(key)?;
            if keys.id.to_string() == id {
                return Ok(Some((keys, source.clone())));
            }
        }
        Ok(None)
    }

    /// The keys derived from the first one: a new store is made with it.
    pub(super) fn first(&self) -> Result<Keys, StoreError> {
        let (key, _) = self.0.first().ok_or(StoreError::Cryptography("finding a key"))?;
        Keys::derive(key)
    }
}

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The store is there, its key is not.
    #[error(
        "the store {} exists but its master key does not: restore {} from a backup, or provide the systemd credential {CREDENTIAL}; \
         a new key would open nothing, so none is made",
        store.display(), key.display()
    )]
    Lost {
        /// The store.
        store: PathBuf,
        /// Where the key was looked for.
        key: PathBuf,
    },
    /// The file is not what a key's file must be.
    #[error("{} is no usable master key: {what}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        what: String,
    },
    /// It could not be read or made.
    #[error("{}: cannot {what} the master key", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `read` or `make`.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl MasterKey {
    /// Takes the key from the credential `countersign.key` in `credentials` (`$CREDENTIALS_DIRECTORY`), else
    /// from `master.key` in the state directory; makes that file where there is neither key nor store.
    ///
    /// # Errors
    /// The key is lost, unusable (mode, owner, kind, length) or cannot be read or made.
    pub fn load(credentials: Option<&Path>, state: &Path) -> Result<(Self, KeySource), KeyError> {
        if let Some(path) = credentials.map(|directory| directory.join(CREDENTIAL)) {
            match open(&path) {
                Ok(file) => return Ok((read(file, &path)?, KeySource::Credential(path))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(KeyError::Io { path, what: "read", source }),
            }
        }
        let path = state.join(FILE);
        match open(&path) {
            Ok(file) => {
                check_private(&file, &path)?;
                Ok((read(file, &path)?, KeySource::File(path)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::first(state, path),
            // O_NOFOLLOW answers ELOOP for a symbolic link (open(2)).
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                Err(KeyError::Unusable { path, what: "it is a symbolic link; put the file itself there".to_owned() })
            }
            Err(source) => Err(KeyError::Io { path, what: "read", source }),
        }
    }

    /// Takes 32 bytes as the key.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; LENGTH]) -> Self {
        Self(Box::new(Zeroizing::new(*bytes)))
    }

    /// Takes the key from a file that only its owner, who is us, can read.
    pub(super) fn read_file(path: &Path) -> Result<Self, KeyError> {
        let file = open(path).map_err(|source| KeyError::Io { path: path.to_owned(), what: "read", source })?;
        check_private(&file, path)?;
        read(file, path)
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    fn first(state: &Path, path: PathBuf) -> Result<(Self, KeySource), KeyError> {
        let store = state.join(DATABASE);
        match files::is_there(&store) {
            Ok(true) => return Err(KeyError::Lost { store, key: path }),
            Ok(false) => {}
            Err(source) => return Err(KeyError::Io { path: store, what: "make", source }),
        }
        match make(state, &path) {
            Ok(key) => Ok((key, KeySource::Created(path))),
            Err(source) => Err(KeyError::Io { path, what: "make", source }),
        }
    }
}

/// Opens without following a link at the end and without waiting for a writer, were it a FIFO.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

fn check_private(file: &File, path: &Path) -> Result<(), KeyError> {
    let unusable = |what: String| KeyError::Unusable { path: path.to_owned(), what };
    let metadata = file.metadata().map_err(|source| KeyError::Io { path: path.to_owned(), what: "read", source })?;
    let us = nix::unistd::geteuid().as_raw();
    if metadata.uid() != us {
        return Err(unusable(format!(
            "it belongs to uid {}, not to {us}; run: chown {us} {}",
            metadata.uid(),
            path.display()
        )));
    }
    let mode = metadata.mode() & 0o7777;
    if mode != 0o400 {
        return Err(unusable(format!("its mode is {mode:04o}, not 0400; run: chmod 0400 {}", path.display())));
    }
    Ok(())
}

fn read(file: File, path: &Path) -> Result<MasterKey, KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), what: "read", source };
    let unusable = |what: String| KeyError::Unusable { path: path.to_owned(), what };
    if !file.metadata().map_err(io)?.is_file() {
        return Err(unusable("it is no regular file".to_owned()));
    }
    let mut key = MasterKey(Box::new(Zeroizing::new([0; LENGTH])));
    let mut file = file;
    match file.read_exact(key.0.as_mut_slice()) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(unusable(format!("it is shorter than {LENGTH} bytes; restore it from a backup")));
        }
        other => other.map_err(io)?,
    }
    if file.read(&mut [0; 1]).map_err(io)? != 0 {
        return Err(unusable(format!("it is longer than {LENGTH} bytes; it must hold the key alone, not as text")));
    }
    Ok(key)
}

/// Makes a key that is durable before anything is sealed under it: temporary file, fsync, rename, fsync of
/// the directory.
pub(super) fn make(state: &Path, path: &Path) -> io::Result<MasterKey> {
    let mut key = MasterKey(Box::new(Zeroizing::new([0; LENGTH])));
    getrandom::fill(key.0.as_mut_slice()).map_err(|_| io::Error::other("the random number generator failed"))?;
    write(state, path, &key)?;
    Ok(key)
}

/// Writes a key so that it is durable and nobody else's to read.
pub(super) fn write(state: &Path, path: &Path, key: &MasterKey) -> io::Result<()> {
    let temporary = state.join(format!(".{FILE}.new"));
    files::remove(&temporary)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(&temporary)?;
    file.write_all(key.bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    files::sync(state)
}
