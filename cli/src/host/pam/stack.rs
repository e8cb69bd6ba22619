//! A service's stack, flattened: every module in the order in which libpam would load it, with what was included.

use std::path::{Path, PathBuf};

use super::{
    control::Control,
    line::{self, Line},
};
use crate::host::{Host, Place};

/// Where services and what they include are looked for; the first file that can be opened counts.
pub(crate) const DIRECTORIES: [&str; 2] = ["/etc/pam.d", "/usr/lib/pam.d"];

/// How deep files may include each other (`PAM_SUBSTACK_MAX_LEVEL`).
const DEEPEST: usize = 16;

/// Which of the four stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Who is it?
    Auth,
    /// May they now?
    Account,
    /// What happens around the session.
    Session,
    /// Changing a password.
    Password,
}

/// One module of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What runs.
    pub(crate) runs: Runs,
    /// What becomes of what it returns.
    pub(crate) control: Control,
    /// The control as it is written.
    pub(crate) written: String,
    /// How many substacks it stands in.
    pub(crate) level: usize,
    /// Where it stands.
    pub(crate) place: Place,
}

/// What an entry runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    /// A module: its path as it is written, and its arguments.
    Module(String, Vec<String>),
    /// Nothing: the line is wrong, and libpam refuses in its place.
    Failure(String),
    /// Nothing: here a substack begins.
    Substack,
}

/// A flattened stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stack {
    /// The service.
    pub(crate) service: String,
    /// The modules.
    pub(crate) entries: Vec<Entry>,
    /// Every file that was read.
    pub(crate) files: Vec<PathBuf>,
    /// Whether it is the one of `other`, because the service has none.
    pub(crate) borrowed: bool,
}

/// Why there is no stack: libpam refuses everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unusable {
    /// Where.
    pub(crate) place: Place,
    /// Why.
    pub(crate) why: String,
}

impl Kind {
    fn parse(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "auth" => Some(Self::Auth),
            "account" => Some(Self::Account),
            "session" => Some(Self::Session),
            "password" => Some(Self::Password),
            _ => None,
        }
    }
}

impl Entry {
    /// The module's file name, `pam_unix.so`.
    pub(crate) fn module(&self) -> Option<&str> {
        match &self.runs {
            Runs::Module(path, _) => Some(path.rsplit('/').next().unwrap_or(path)),
            Runs::Failure(_) | Runs::Substack => None,
        }
    }

    /// Its arguments.
    pub(crate) fn arguments(&self) -> &[String] {
        match &self.runs {
            Runs::Module(_, arguments) => arguments,
            Runs::Failure(_) | Runs::Substack => &[],
        }
    }
}

impl Stack {
    /// Reads the stack of a service, or the one of `other` where the service has none of this kind.
    ///
    /// # Errors
    /// A file that libpam could not take: it then refuses everybody.
    pub(crate) fn read(host: &Host, service: &str, kind: Kind) -> Result<Self, Unusable> {
        let own = Self::read_file(host, service, kind)?;
        match own {
            Some(stack) if !stack.entries.is_empty() => Ok(stack),
            own => {
                let other = Self::read_file(host, "other", kind)?;
                if own.is_none() && other.is_none() {
                    let why = format!("there is neither a file of {service} nor of other");
                    return Err(Unusable { place: place_of(service), why });
                }
                let entries = other.map(|stack| stack.entries).unwrap_or_default();
                Ok(Self { service: service.to_owned(), entries, files: Vec::new(), borrowed: true })
            }
        }
    }

    fn read_file(host: &Host, service: &str, kind: Kind) -> Result<Option<Self>, Unusable> {
        let Some((path, text)) = open(host, service) else { return Ok(None) };
        let mut reader = Reader { host, kind, entries: Vec::new(), files: Vec::new() };
        reader.file(&path, &text, None, 0, 0)?;
        let Reader { entries, files, .. } = reader;
        Ok(Some(Self { service: service.to_owned(), entries, files, borrowed: false }))
    }
}

/// The file of a service that counts.
pub(crate) fn place_of(service: &str) -> Place {
    Place::whole(Path::new(DIRECTORIES[0]).join(service))
}

/// The names of all services that have a file.
pub(crate) fn services(host: &Host) -> Vec<String> {
    let names = DIRECTORIES.iter().flat_map(|directory| host.names(Path::new(directory)));
    let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
    names.retain(|name| !name.starts_with('.') && !name.ends_with('~') && !name.contains(".dpkg-"));
    names.sort();
    names.dedup();
    names
}

fn open(host: &Host, name: &str) -> Option<(PathBuf, String)> {
    if name.starts_with('/') {
        let path = PathBuf::from(name);
        return host.read(&path).ok().map(|text| (path, text));
    }
    DIRECTORIES.iter().find_map(|directory| {
        let path = Path::new(directory).join(name);
        host.read(&path).ok().map(|text| (path, text))
    })
}

struct Reader<'a> {
    host: &'a Host,
    kind: Kind,
    entries: Vec<Entry>,
    files: Vec<PathBuf>,
}

impl Reader<'_> {
    /// Reads the lines of a file that are for `only`, or of all kinds where it is `None`.
    fn file(
        &mut self,
        path: &Path,
        text: &str,
        only: Option<Kind>,
        depth: usize,
        level: usize,
    ) -> Result<(), Unusable> {
        self.files.push(path.to_owned());
        let lines = line::parse(text).map_err(|end| Unusable {
            place: Place::new(path, end.line),
            why: "the file ends within this line: a backslash stands at its end".to_owned(),
        })?;
        lines.iter().try_for_each(|line| self.line(path, line, only, depth, level))
    }

    fn line(
        &mut self,
        path: &Path,
        line: &Line,
        only: Option<Kind>,
        depth: usize,
        level: usize,
    ) -> Result<(), Unusable> {
        let place = Place::new(path, line.number);
        let mut words = line.words.iter().map(String::as_str);
        let Some(first) = words.next() else { return Ok(()) };
        // Debian's own directive: the file as if it stood here, for every kind.
        if first.eq_ignore_ascii_case("@include") {
            let name = words.next().unwrap_or_default();
            let included = self.include(name, only, depth, level)?;
            return if included { Ok(()) } else { Err(Unusable { place, why: not_there(name) }) };
        }
        let kind = Kind::parse(first.strip_prefix('-').unwrap_or(first));
        // A line of no kind that there is stands for the one that is read, or for `auth`, and refuses.
        let stands_for = kind.or(only).unwrap_or(Kind::Auth);
        if only.is_some_and(|only| only != stands_for) {
            return Ok(());
        }
        let fails = |why: String| Runs::Failure(why);
        let Some(written) = words.next() else {
            self.push(stands_for, fails("the line has no control".to_owned()), Control::all_bad(), "", level, place);
            return Ok(());
        };
        let target = words.next();
        let substack = written.eq_ignore_ascii_case("substack");
        if substack || written.eq_ignore_ascii_case("include") {
            if substack {
                self.push(stands_for, Runs::Substack, Control::all_bad(), written, level, place.clone());
            }
            let name = target.unwrap_or_default();
            // Whether such a file can be taken matters only for the kind of the line.
            if !self.include(name, Some(stands_for), depth, level + usize::from(substack))? {
                self.push(stands_for, fails(not_there(name)), Control::all_bad(), written, level, place);
            }
            return Ok(());
        }
        let control = Control::parse(written);
        let runs = match (kind, target) {
            (None, _) => fails(format!("{first} is none of auth, account, session and password")),
            (_, None) => fails("the line names no module".to_owned()),
            (Some(_), Some(module)) => Runs::Module(module.to_owned(), words.map(str::to_owned).collect()),
        };
        self.push(stands_for, runs, control, written, level, place);
        Ok(())
    }

    /// Whether the file could be taken.
    fn include(&mut self, name: &str, only: Option<Kind>, depth: usize, level: usize) -> Result<bool, Unusable> {
        if depth + 1 >= DEEPEST || name.is_empty() {
            return Ok(false);
        }
        let Some((path, text)) = open(self.host, name) else { return Ok(false) };
        let taken = self.entries.len();
        match self.file(&path, &text, only, depth + 1, level) {
            Ok(()) => Ok(true),
            // `include` refuses in place of a file that cannot be taken, after what could be taken of it.
            Err(_) if only.is_some() && self.entries.len() >= taken => Ok(false),
            Err(unusable) => Err(unusable),
        }
    }

    fn push(&mut self, kind: Kind, runs: Runs, control: Control, written: &str, level: usize, place: Place) {
        if kind == self.kind {
            self.entries.push(Entry { runs, control, written: written.to_owned(), level, place });
        }
    }
}

fn not_there(name: &str) -> String {
    match name {
        "" => "it names no file to include".to_owned(),
        name => format!("the file {name} cannot be included: it is not there, or cannot be taken"),
    }
}
