//! The lines of sshd_config(5) with what it includes: where each keyword stands and under which `Match`. What is in
//! force is not worked out here: sshd itself says so.

use std::path::{Path, PathBuf};

use crate::host::{Host, Place};

/// The file that sshd reads.
pub(crate) const FILE: &str = "/etc/ssh/sshd_config";

/// How deep files may include each other (`SERVCONF_MAX_DEPTH`).
const DEEPEST: usize = 16;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Where it stands.
    pub(crate) place: Place,
    /// The keyword, in lower case.
    pub(crate) keyword: String,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// The number of the `Match` it stands under, in [`Config::matches`].
    pub(crate) under: Option<usize>,
}

/// A `Match` line: all criteria must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    /// Where it stands.
    pub(crate) place: Place,
    /// The criteria: the keyword in lower case, and its pattern list.
    pub(crate) criteria: Vec<(String, String)>,
}

/// All lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    /// The settings, in the order in which sshd reads them.
    pub(crate) settings: Vec<Setting>,
    /// The `Match` lines.
    pub(crate) matches: Vec<Match>,
}

impl Config {
    /// Reads `file` and what it includes. What cannot be read has no lines; sshd says more about it.
    pub(crate) fn read(host: &Host, file: &Path) -> Self {
        let mut config = Self::default();
        config.file(host, file, None, 0);
        config
    }

    /// The line by which `keyword` has `value` for those under `under`: a `Match` overrides what stands outside of all,
    /// and the first line of several counts (sshd_config(5)).
    pub(crate) fn line(&self, keyword: &str, under: Option<usize>, value: &str) -> Option<&Setting> {
        let set = || self.settings.iter().filter(|setting| setting.keyword == keyword);
        let own = set().find(|setting| under.is_some() && setting.under == under);
        let outside = || set().find(|setting| setting.under.is_none());
        // Another `Match` may apply beside the one that was asked about.
        let same = || set().find(|setting| setting.arguments.join(" ").eq_ignore_ascii_case(value));
        let line = own.or_else(outside);
        line.filter(|line| line.arguments.join(" ").eq_ignore_ascii_case(value)).or_else(same).or(line)
    }

    /// Returns the `Match` under which the file ends: a `Match` of an included file ends with it.
    fn file(&mut self, host: &Host, file: &Path, under: Option<usize>, depth: usize) {
        let Ok(text) = host.read(file) else { return };
        let mut under = under;
        for (index, line) in text.lines().enumerate() {
            let Some((keyword, arguments)) = split(line) else { continue };
            let place = Place::new(file, index + 1);
            match keyword.as_str() {
                "match" => {
                    under = Some(self.matches.len());
                    self.matches.push(Match { place, criteria: criteria(&arguments) });
                }
                "include" if depth < DEEPEST => {
                    for path in arguments.iter().flat_map(|pattern| expand(host, pattern)) {
                        self.file(host, &path, under, depth + 1);
                    }
                }
                _ => self.settings.push(Setting { place, keyword, arguments, under }),
            }
        }
    }
}

/// The keyword and its arguments; `=` may stand between them, and quotes around an argument.
fn split(line: &str) -> Option<(String, Vec<String>)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|character: char| character.is_whitespace() || character == '=').unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start().trim_start_matches('=').trim_start();
    Some((keyword.to_ascii_lowercase(), words(rest)))
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let (word, left) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = left.trim_start();
    }
    words
}

/// `User alice Address 10.0.0.0/8` in pairs; `all` stands alone, and `=` may join a pair.
fn criteria(arguments: &[String]) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut words = arguments.iter().flat_map(|word| word.splitn(2, '='));
    while let Some(keyword) = words.next() {
        let keyword = keyword.to_ascii_lowercase();
        let pattern = if keyword == "all" { Some("") } else { words.next() };
        pairs.push((keyword, pattern.unwrap_or_default().to_owned()));
    }
    pairs
}

/// The files that a pattern of `Include` names, in lexical order; relative ones lie in /etc/ssh (sshd_config(5)).
fn expand(host: &Host, pattern: &str) -> Vec<PathBuf> {
    let pattern = Path::new("/etc/ssh").join(pattern);
    let (Some(directory), Some(name)) = (pattern.parent(), pattern.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    if !name.contains(['*', '?']) {
        return vec![pattern];
    }
    let names = host.names(directory).into_iter().filter_map(|name| name.into_string().ok());
    // As glob(3): a leading dot is matched by a dot alone.
    let visible = names.filter(|found| name.starts_with('.') || !found.starts_with('.'));
    visible.filter(|found| matches(name, found)).map(|found| directory.join(found)).collect()
}

/// Whether `text` matches a pattern with `*` and `?` (ssh_config(5), PATTERNS).
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let mut rest = text.chars();
    let mut pattern = pattern.chars();
    loop {
        match pattern.next() {
            None => return rest.next().is_none(),
            Some('*') => {
                let left = pattern.as_str();
                return (0..=rest.as_str().len())
                    .filter_map(|at| rest.as_str().get(at..))
                    .any(|after| matches(left, after));
            }
            Some(wanted) => match rest.next() {
                Some(found) if wanted == '?' || wanted == found => {}
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

    use super::*;

    #[test]
    fn included_files_stand_where_they_are_included_and_keep_their_match_to_themselves() {
        let root = tempfile::tempdir().unwrap();
        let drop_ins = root.path().join("etc/ssh/sshd_config.d");
        std::fs::create_dir_all(&drop_ins).unwrap();
        std::fs::write(drop_ins.join("b.conf"), "PasswordAuthentication yes\n").unwrap();
        std::fs::write(drop_ins.join("a.conf"), "Match User \"deploy\" Address=10.0.0.0/8\nX11Forwarding no\n")
            .unwrap();
        let text = "Include sshd_config.d/*.conf\n\n UsePAM=yes # yes\nMatch all\nAuthenticationMethods a,b c\n";
        std::fs::write(root.path().join("etc/ssh/sshd_config"), text).unwrap();
        let host = Host::below(root.path(), |_, _| Err(std::io::ErrorKind::NotFound.into()));
        let config = Config::read(&host, Path::new(FILE));
        let shown =
            |setting: &Setting| format!("{} {} {:?}", setting.place, setting.arguments.join(" "), setting.under);
        assert_eq!(
            config.settings.iter().map(shown).collect::<Vec<_>>(),
            [
                "/etc/ssh/sshd_config.d/a.conf:2 no Some(0)",
                "/etc/ssh/sshd_config.d/b.conf:1 yes None",
                "/etc/ssh/sshd_config:3 yes None",
                "/etc/ssh/sshd_config:5 a,b c Some(1)",
            ]
        );
        let criteria = [("user".to_owned(), "deploy".to_owned()), ("address".to_owned(), "10.0.0.0/8".to_owned())];
        assert_eq!(config.matches[0].criteria, criteria);
        assert!(config.line("banner", Some(0), "x").is_none());
    }

    #[test]
    fn patterns_match_as_sshs_do() {
        for (pattern, text) in [("*", ""), ("a*c", "abbc"), ("a?c", "abc"), ("*.conf", "x.conf"), ("é*", "éa")] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a?", "a"), ("a*b", "ac"), ("*.conf", "x.conf.bak")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
