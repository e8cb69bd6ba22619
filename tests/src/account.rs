//! Accounts of the scratch host: lines for its passwd, shadow and group files.

use std::{
    collections::HashMap,
    process::Command,
    sync::{LazyLock, Mutex, PoisonError},
};

use anyhow::{Result, bail};

/// The first uid of the host's people.
const FIRST_UID: u32 = 61_001;

/// The daemon's own account.
pub(crate) const DAEMON: &str = "countersign";

/// The uid and gid of [`DAEMON`].
pub(crate) const DAEMON_UID: u32 = 61_000;

/// Somebody who can log in.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) uid: u32,
    password: Option<String>,
    /// Whether it may use sudo.
    pub(crate) sudo: bool,
}

impl Person {
    /// The `index`th person of a host.
    pub(crate) fn new(index: usize, name: &str, password: Option<&str>) -> Self {
        let uid = FIRST_UID + u32::try_from(index).unwrap_or_default();
        Self { name: name.to_owned(), uid, password: password.map(str::to_owned), sudo: true }
    }

    pub(crate) fn home(&self) -> String {
        format!("/home/{}", self.name)
    }

    /// Lines for passwd(5), shadow(5) and group(5).
    pub(crate) fn lines(&self) -> Result<[String; 3]> {
        let Self { name, uid, .. } = self;
        let hash = self.password.as_deref().map_or_else(|| Ok("*".to_owned()), hash)?;
        Ok([
            format!("{name}:x:{uid}:{uid}::{}:/bin/bash\n", self.home()),
            format!("{name}:{hash}:19000:0:99999:7:::\n"),
            format!("{name}:x:{uid}:\n"),
        ])
    }
}

/// The daemon's lines for passwd(5), shadow(5) and group(5).
pub(crate) fn daemon_lines() -> [String; 3] {
    [
        format!("{DAEMON}:x:{DAEMON_UID}:{DAEMON_UID}:Countersign:/nonexistent:/usr/sbin/nologin\n"),
        format!("{DAEMON}:!*:19000::::::\n"),
        format!("{DAEMON}:x:{DAEMON_UID}:\n"),
    ]
}

/// A quick crypt(3) hash: perl is part of every Debian. Each password is hashed once.
fn hash(password: &str) -> Result<String> {
    static HASHES: LazyLock<Mutex<HashMap<String, String>>> = LazyLock::new(Mutex::default);
    let mut hashes = HASHES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(hash) = hashes.get(password) {
        return Ok(hash.clone());
    }
    let script = "print crypt($ARGV[0], q($6$rounds=1000$scratch$))";
    let output = Command::new("perl").args(["-e", script, "--", password]).output()?;
    let hash = String::from_utf8(output.stdout)?;
    if !hash.starts_with("$6$") {
        bail!("perl's crypt made no SHA-512 hash");
    }
    hashes.insert(password.to_owned(), hash.clone());
    Ok(hash)
}
