//! What the tool reads of the host to judge it: PAM files, sshd's settings, modes, the kernel's clock. It changes
//! nothing. All of it is root's on a sound host; on another one it is an attacker's, so that it is escaped before a
//! terminal sees it and never run.

pub(crate) mod accounts;
pub(crate) mod clock;
pub(crate) mod confinement;
pub(crate) mod files;
pub(crate) mod finding;
pub(crate) mod pam;
pub(crate) mod sshd;
pub(crate) mod sudoers;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File, Metadata},
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    rc::Rc,
};

/// More than any file that is read here holds, in bytes.
const LARGEST: u64 = 4 * 1024 * 1024;

/// What a program that ran left.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ran {
    /// Whether it ended with status 0.
    pub(crate) done: bool,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

/// How programs are run: by an absolute path, with arguments.
type Runner = Rc<dyn Fn(&str, &[&str]) -> io::Result<Ran>>;

/// The host that is looked at.
#[derive(Clone)]
pub(crate) struct Host {
    root: PathBuf,
    runner: Runner,
    /// Files as they are thought to be, whatever lies on the disk.
    imagined: BTreeMap<PathBuf, String>,
}

/// A line of a file, as people look it up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The file.
    pub(crate) file: PathBuf,
    /// The line, counted from 1; the first one where it goes over several. 0: the file as a whole.
    pub(crate) line: usize,
}

impl Host {
    /// The host on which this runs.
    pub(crate) fn here() -> Self {
        Self { root: PathBuf::from("/"), runner: Rc::new(run), imagined: BTreeMap::new() }
    }

    /// A host whose files lie below `root`, and whose programs are `runner`.
    #[cfg(test)]
    pub(crate) fn below(root: &Path, runner: impl Fn(&str, &[&str]) -> io::Result<Ran> + 'static) -> Self {
        Self { root: root.to_owned(), runner: Rc::new(runner), imagined: BTreeMap::new() }
    }

    /// The same host with this text in a file: what would be, if it were written.
    pub(crate) fn imagined(&self, path: &Path, text: &str) -> Self {
        let mut host = self.clone();
        host.imagined.insert(path.to_owned(), text.to_owned());
        host
    }

    /// The text of a file. Bytes that are not UTF-8 come as the replacement character.
    ///
    /// # Errors
    /// It cannot be read, is no regular file, or is larger than any that belongs there.
    pub(crate) fn read(&self, path: &Path) -> io::Result<String> {
        if let Some(text) = self.imagined.get(path) {
            return Ok(text.clone());
        }
        let path = self.at(path);
        if !fs::metadata(&path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > LARGEST) {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 4 MiB"));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Owner, mode and kind; a link is followed.
    ///
    /// # Errors
    /// It is not there, or may not be looked at.
    pub(crate) fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        fs::metadata(self.at(path))
    }

    /// Whether something is there.
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.metadata(path).is_ok()
    }

    /// The names in a directory, sorted; none where it cannot be read.
    pub(crate) fn names(&self, directory: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(self.at(directory)).into_iter().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        names.sort();
        names
    }

    /// Runs a program to its end, with nothing on its standard input.
    ///
    /// # Errors
    /// It could not be started. A bad exit status is no error.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> io::Result<Ran> {
        (self.runner)(program, arguments)
    }

    /// Where a path of the host's lies.
    pub(crate) fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// Programs get a clean environment: what the caller of sudo left there is none of their business.
fn run(program: &str, arguments: &[&str]) -> io::Result<Ran> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
    let ended = command.stdin(Stdio::null()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran { done: ended.status.success(), out: text(&ended.stdout), err: text(&ended.stderr) })
}

impl Place {
    /// This line of this file.
    pub(crate) fn new(file: impl Into<PathBuf>, line: usize) -> Self {
        Self { file: file.into(), line }
    }

    /// The file as a whole.
    pub(crate) fn whole(file: impl Into<PathBuf>) -> Self {
        Self::new(file, 0)
    }
}

/// As `FILE:LINE`, or the file alone.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}
