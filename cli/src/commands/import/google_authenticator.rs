//! `countersign import google-authenticator`: from below everybody's home, read as the one whose home it is, or one file.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Component, Path, PathBuf},
};

use nix::unistd::{Uid, User};

use zeroize::Zeroizing;

use super::{
    source::{self, Person, Reason},
    takeover::{self, Sink, Takeover},
};
use crate::{
    cli::ImportGoogleAuthenticator,
    failure::Failure,
    import::{Place, google_authenticator},
    output::{self, Output},
    wording,
};

/// Runs the command.
///
/// # Errors
/// Where the daemon refuses, or some files were refused.
pub(super) async fn run(
    arguments: &ImportGoogleAuthenticator,
    bus: Option<&str>,
    output: &Output,
) -> Result<(), Failure> {
    let lasting = arguments.scratch_codes_for.as_deref();
    let takeover = Takeover {
        apply: arguments.manner.apply,
        how_to_apply: "the same with --apply",
        scratch_codes_until: super::moment("--scratch-codes-for", lasting, output::now())?,
        ..Takeover::new("import google-authenticator", &arguments.manner)?
    };
    let source = match (&arguments.file, &arguments.user) {
        (Some(path), Some(user)) => Source::One(path.clone(), find_person(user)?),
        _ => Source::Homes(Glob::parse(&arguments.home_glob)?),
    };
    takeover::run(&takeover, move |sink| source.read(sink), bus, output).await
}

/// What is read.
enum Source {
    /// One file of this account.
    One(PathBuf, User),
    /// A file below each of many homes.
    Homes(Glob),
}

impl Source {
    fn read(self, sink: &mut Sink) {
        match self {
            Self::One(path, user) => {
                let bytes = read_one(&path, &user);
                take(sink, &path, &user.name, bytes);
            }
            Self::Homes(glob) => {
                let homes = glob.homes();
                let whole = homes.len() as u64;
                for (read, home) in (1..).zip(homes) {
                    sink.reached(read, whole);
                    if !read_home(sink, &home, &glob.below) {
                        return;
                    }
                }
            }
        }
    }
}

/// Reads the file below one home; where there is none, nothing is said. False where nobody takes records any more.
fn read_home(sink: &mut Sink, home: &Path, below: &OsStr) -> bool {
    let path = home.join(below);
    let shown = path.display().to_string();
    let Ok(opened) = File::open(home) else { return true };
    let Ok(found) = opened.metadata() else { return true };
    if !found.is_dir() || std::fs::symlink_metadata(&path).is_err() {
        return true;
    }
    let user = match User::from_uid(Uid::from_raw(found.uid())) {
        Ok(Some(user)) => user,
        Ok(None) => {
            let reason = format!("the home belongs to uid {}, which no account has", found.uid());
            return sink.refuse(Some(&shown), None, Place::File, reason);
        }
        Err(error) => {
            let reason = format!("the name service does not answer: {}", std::io::Error::from(error));
            return sink.refuse(Some(&shown), None, Place::File, reason);
        }
    };
    // Whoever owns a folder beside the homes could otherwise speak for the account a second time.
    if !is_same(&user.dir, home) {
        let reason = format!("{}'s home is {}", user.name, user.dir.display());
        return sink.refuse(Some(&shown), Some(&user.name), Place::File, reason);
    }
    let person = Person { uid: user.uid, gid: user.gid };
    take(sink, &path, &user.name, source::read_as(person, &opened, below))
}

/// Reads one file that root names: with the rights of the account, or as root where the file is root's own.
fn read_one(path: &Path, user: &User) -> Result<Zeroizing<Vec<u8>>, Reason> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or("it is no regular file")?;
    let opened = File::open(parent).map_err(|error| format!("it cannot be opened: {error}"))?;
    let owner = std::fs::symlink_metadata(path).map_err(|error| format!("it cannot be opened: {error}"))?.uid();
    let person = match owner {
        0 => Person { uid: Uid::from_raw(0), gid: nix::unistd::Gid::from_raw(0) },
        _ => Person { uid: user.uid, gid: user.gid },
    };
    source::read_as(person, &opened, name)
}

fn take(sink: &mut Sink, path: &Path, account: &str, bytes: Result<Zeroizing<Vec<u8>>, Reason>) -> bool {
    let shown = path.display().to_string();
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(reason) => return sink.refuse(Some(&shown), Some(account), Place::File, reason),
    };
    match google_authenticator::parse(&bytes) {
        Ok(found) => sink.take(Some(&shown), Some(account), found),
        Err(bad) => sink.refuse(Some(&shown), Some(account), bad.place, bad.reason),
    }
}

fn find_person(name: &str) -> Result<User, Failure> {
    let shown = wording::printable(name);
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(Failure::refused(format!("there is no account {shown}"))),
        Err(error) => {
            Err(Failure::refused(format!("the name service does not answer: {}", std::io::Error::from(error))))
        }
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (std::fs::metadata(one), std::fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// A pattern such as `/home/*/.google_authenticator`: folders, in whose names `*` stands for anything that does not begin
/// with a dot, and a path below each of them.
#[derive(Debug, PartialEq, Eq)]
struct Glob {
    folders: Vec<OsString>,
    below: OsString,
}

impl Glob {
    fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::usage(format!("--home-glob: {}: {why}", wording::printable(text)))
                .with_help("Write it like '/home/*/.google_authenticator', in quotes.")
        };
        let path = Path::new(text);
        let parts: Vec<_> = path.components().collect();
        if parts.first() != Some(&Component::RootDir) {
            return Err(wrong("it does not begin with /"));
        }
        let names: Option<Vec<&OsStr>> = parts
            .iter()
            .skip(1)
            .map(|part| match part {
                Component::Normal(name) => Some(*name),
                _ => None,
            })
            .collect();
        let names = names.ok_or_else(|| wrong("it holds .."))?;
        let last = names.iter().rposition(|name| name.as_bytes().contains(&b'*'));
        let last = last.ok_or_else(|| wrong("it holds no *"))?;
        let (folders, below) = names.split_at(last + 1);
        if below.is_empty() {
            return Err(wrong("a path within the home has to stand behind the last *"));
        }
        let below: PathBuf = below.iter().collect();
        Ok(Self { folders: folders.iter().map(|name| (*name).to_owned()).collect(), below: below.into() })
    }

    /// The folders that there are, in the order of their names.
    fn homes(&self) -> Vec<PathBuf> {
        let mut found = vec![PathBuf::from("/")];
        for pattern in &self.folders {
            if !pattern.as_bytes().contains(&b'*') {
                found.iter_mut().for_each(|folder| folder.push(pattern));
                continue;
            }
            found = found.iter().flat_map(|folder| matching(folder, pattern)).collect();
        }
        found
    }
}

fn matching(folder: &Path, pattern: &OsStr) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut names: Vec<_> = entries.filter(|name| matches(pattern.as_bytes(), name.as_bytes())).collect();
    names.sort();
    names.into_iter().map(|name| folder.join(name)).collect()
}

/// Whether a name is of a pattern in which `*` stands for anything, but for a dot at the beginning.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() == Some(&b'*') {
        return false;
    }
    let mut parts = pattern.split(|byte| *byte == b'*');
    let (first, last) = (parts.next().unwrap_or_default(), parts.next_back());
    let Some(last) = last else { return name == first };
    let Some(mut rest) = name.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
    for part in parts.filter(|part| !part.is_empty()) {
        let Some(at) = rest.windows(part.len()).position(|window| window == part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_star_stands_for_anything_but_a_leading_dot() {
        for (pattern, name, expected) in [
            ("*", "alice", true),
            ("*", ".hidden", false),
            (".*", ".hidden", true),
            ("a*e", "alice", true),
            ("a*e", "a", false),
            ("a*l*c*", "alice", true),
            ("a*x*e", "alice", false),
            ("alice", "alice", true),
            ("alice", "alic", false),
            ("aa*aa", "aaa", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_is_absolute_has_a_star_and_something_below_it() {
        let glob = Glob::parse("/home/*/.config/ga").unwrap();
        assert_eq!((glob.folders, glob.below), (vec!["home".into(), "*".into()], ".config/ga".into()));
        for wrong in ["home/*/x", "/home/alice/.google_authenticator", "/home/*", "/home/*/../x", ""] {
            assert!(Glob::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn folders_come_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b", "a", ".c"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let glob = Glob::parse(&format!("{}/*/x", folder.path().display())).unwrap();
        assert_eq!(glob.homes(), ["a", "b"].map(|name| folder.path().join(name)));
    }
}
