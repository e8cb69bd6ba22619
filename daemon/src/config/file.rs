//! The files that a configuration is read from: one of settings and rules, and further ones of rules beside it. They
//! are root's; what stands in them is checked, and an error names the place.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// The folder beside the main file whose files hold further rules.
const FOLDER: &str = "conf.d";
/// The longest file that is read, in bytes: 10,000 rules take some 2 MiB.
const LONGEST: u64 = 64 << 20;

/// A file and its text.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// Where each line starts.
    lines: Vec<usize>,
}

impl File {
    /// A file with this text.
    pub(super) fn new(path: &Path, text: &str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { path: path.to_owned(), text: text.to_owned(), lines: std::iter::once(0).chain(ends).collect() }
    }

    /// Reads a file. What is no regular file is refused: a pipe would hold whoever reads it.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |why: String| ConfigError::Unreadable { path: path.to_owned(), why };
        let metadata = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
        if !metadata.is_file() {
            return Err(unreadable("it is no regular file".into()));
        }
        if metadata.len() > LONGEST {
            return Err(unreadable(format!("it is longer than {} MiB", LONGEST >> 20)));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        Ok(Self::new(path, &text))
    }

    /// Reads the files `*.toml` of the folder `conf.d` beside `main`, in the order of their names' bytes; those whose
    /// names begin with a dot are passed over, as a shell does. There need not be such a folder.
    pub(super) fn read_folder(main: &Path) -> Result<Vec<Self>, ConfigError> {
        let folder = main.parent().unwrap_or(Path::new("")).join(FOLDER);
        let unreadable =
            |error: std::io::Error| ConfigError::Unreadable { path: folder.clone(), why: error.to_string() };
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(unreadable)?.file_name();
            let bytes = name.as_encoded_bytes();
            if bytes.ends_with(b".toml") && !bytes.starts_with(b".") {
                names.push(name);
            }
        }
        names.sort_unstable();
        names.iter().map(|name| Self::read(&folder.join(name))).collect()
    }

    /// Parses the file.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        toml::from_str(&self.text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let what = error.message().trim().replace('\n', "; ");
            self.wrong(start, self.rule_at(start).as_deref(), &self.key_at(start), what)
        })
    }

    /// An error about what stands at this byte.
    pub(super) fn wrong(&self, start: usize, rule: Option<&str>, key: &str, what: String) -> ConfigError {
        let (line, line_start) = self.line(start);
        let column = self.text.get(line_start..start).unwrap_or("").chars().count() + 1;
        let rule = rule.map(|rule| format!("rule {rule:?}: ")).unwrap_or_default();
        let key = if key.is_empty() { String::new() } else { format!("{key}: ") };
        ConfigError::Wrong { path: self.path.clone(), line, column, rule, key, what }
    }

    /// `FILE:LINE` of what stands at this byte.
    pub(super) fn place(&self, start: usize) -> String {
        format!("{}:{}", self.path.display(), self.line(start).0)
    }

    /// The number of the line of a byte, from 1, and where it starts.
    fn line(&self, start: usize) -> (usize, usize) {
        let number = self.lines.partition_point(|line| *line <= start);
        (number, self.lines.get(number.saturating_sub(1)).copied().unwrap_or(0))
    }

    /// The key on the line of a byte; empty where there is none.
    fn key_at(&self, start: usize) -> String {
        let line = self.text.get(self.line(start).1..).and_then(|rest| rest.lines().next()).unwrap_or("");
        line.split_once('=').map(|(key, _)| key.trim().to_owned()).unwrap_or_default()
    }

    /// The name of the rule in which a byte stands.
    fn rule_at(&self, start: usize) -> Option<String> {
        let table = DeTable::parse(&self.text).ok()?;
        let DeValue::Array(rules) = table.get_ref().get("rule")?.get_ref() else { return None };
        let rule = rules.iter().rev().find(|rule| rule.span().start <= start)?;
        let DeValue::Table(keys) = rule.get_ref() else { return None };
        let DeValue::String(name) = keys.get("name")?.get_ref() else { return None };
        // What stands after the last rule may belong to another table.
        let ends = keys.iter().map(|(key, value)| key.span().end.max(value.span().end)).max()?;
        (start <= ends.max(rule.span().end)).then(|| name.to_string())
    }
}
