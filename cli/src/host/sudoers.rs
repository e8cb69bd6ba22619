//! Who may use sudo. sudoers is read, not run: what is asked is who depends on sudo's question.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::Path,
};

use super::{Host, Place, accounts::People};

/// Groups that administer where sudoers cannot be read.
pub(super) const USUAL: [&str; 3] = ["sudo", "wheel", "admin"];
/// How deep sudoers may include.
const DEEPEST: usize = 8;

/// Who may use sudo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sudoers {
    /// The accounts, root not among them.
    pub(crate) accounts: BTreeSet<String>,
    /// Lines that let somebody use sudo without being asked: for whom, and where.
    pub(crate) unasked: Vec<(String, Place)>,
    /// Whether the file was read. Where not, the usual groups stand for it.
    pub(crate) read: bool,
}

impl Sudoers {
    /// Reads sudoers(5) with what it includes.
    pub(crate) fn read(host: &Host, people: &People) -> Self {
        let mut reader = Reader { host, people, aliases: BTreeMap::new(), sudoers: Self::default() };
        reader.file(Path::new("/etc/sudoers"), 0);
        let mut sudoers = reader.sudoers;
        if !sudoers.read {
            let usual = USUAL.iter().flat_map(|group| people.members(group));
            sudoers.accounts = usual.map(str::to_owned).collect();
        }
        sudoers.accounts.retain(|name| people.uid(name).is_some_and(|uid| uid != 0) && people.logs_in(name));
        sudoers
    }
}

struct Reader<'a> {
    host: &'a Host,
    people: &'a People,
    aliases: BTreeMap<String, Vec<String>>,
    sudoers: Sudoers,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, depth: usize) {
        let Ok(text) = self.host.read(path) else { return };
        self.sudoers.read = true;
        let lines = joined(&text);
        // An alias counts before its definition too.
        lines.iter().for_each(|(_, line)| self.alias(line));
        for (number, line) in &lines {
            match include(line) {
                Some((directory, target)) if depth < DEEPEST => self.include(path, directory, target, depth),
                _ => self.rule(&Place::new(path, *number), line),
            }
        }
    }

    fn include(&mut self, from: &Path, directory: bool, target: &str, depth: usize) {
        let target = from.parent().unwrap_or(Path::new("/")).join(target.trim_matches('"'));
        if !directory {
            return self.file(&target, depth + 1);
        }
        for name in self.host.names(&target) {
            // sudoers(5): names with a dot or a tilde at the end are passed over.
            if name.to_str().is_some_and(|name| !name.contains('.') && !name.ends_with('~')) {
                self.file(&target.join(name), depth + 1);
            }
        }
    }

    fn alias(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("User_Alias") else { return };
        for definition in rest.split(':') {
            if let Some((name, members)) = definition.split_once('=') {
                self.aliases.insert(name.trim().to_owned(), list(members));
            }
        }
    }

    fn rule(&mut self, place: &Place, line: &str) {
        if let Some(rest) = line.strip_prefix("Defaults") {
            if rest.split([',', ' ', '\t']).any(|word| word == "!authenticate") {
                let whom = rest.split_whitespace().next().filter(|word| word.starts_with([':', '>']));
                self.sudoers.unasked.push((whom.map_or("everybody", |whom| &whom[1..]).to_owned(), place.clone()));
            }
            return;
        }
        let passed = ["User_Alias", "Host_Alias", "Cmnd_Alias", "Cmd_Alias", "Runas_Alias", "@", "#include"];
        let Some((who, what)) = line.split_once('=').filter(|_| !passed.iter().any(|word| line.starts_with(word)))
        else {
            return;
        };
        // The hosts stand between the users and the sign; users are joined by commas alone.
        let users = users_of(who);
        if what.contains("NOPASSWD:") {
            self.sudoers.unasked.push((users.join(", "), place.clone()));
        }
        let named: HashSet<String> = users.iter().flat_map(|user| self.resolve(user, 0)).collect();
        self.sudoers.accounts.extend(named);
    }

    /// The accounts that one word of a user list stands for.
    fn resolve(&self, word: &str, depth: usize) -> Vec<String> {
        let own = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        if let Some(group) = word.strip_prefix('%') {
            return own(self.people.members(group.trim_start_matches(':')));
        }
        if let Some(uid) = word.strip_prefix('#') {
            return uid.parse().ok().and_then(|uid| self.people.name(uid)).map(str::to_owned).into_iter().collect();
        }
        if word == "ALL" {
            return own(self.people.names().collect());
        }
        match self.aliases.get(word) {
            Some(members) if depth < DEEPEST => {
                members.iter().flat_map(|member| self.resolve(member, depth + 1)).collect()
            }
            _ if word.starts_with('!') => Vec::new(),
            _ => vec![word.to_owned()],
        }
    }
}

/// The users of a rule: the comma-separated list before the hosts.
fn users_of(text: &str) -> Vec<String> {
    let mut users = Vec::new();
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        users.extend(list(word));
        let goes_on = word.ends_with(',') || words.peek().is_some_and(|next| next.starts_with(','));
        if !goes_on {
            break;
        }
    }
    users
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|word| word.trim().trim_matches('"').to_owned()).filter(|word| !word.is_empty()).collect()
}

/// Lines without comments, continuations joined, with the number at which each begins.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (index, raw) in text.lines().enumerate() {
        let goes_on = raw.ends_with('\\');
        let part = raw.strip_suffix('\\').unwrap_or(raw);
        match lines.last_mut().filter(|_| open) {
            Some((_, line)) => line.push_str(part),
            None => lines.push((index + 1, part.to_owned())),
        }
        open = goes_on;
    }
    for (_, line) in &mut lines {
        let trimmed = line.trim();
        // `#include` and `#uid` are no comments.
        let directive = trimmed.starts_with("#include")
            || trimmed.strip_prefix('#').is_some_and(|rest| rest.starts_with(|next: char| next.is_ascii_digit()));
        *line = match trimmed.split_once('#') {
            Some((before, _)) if !directive => before.trim().to_owned(),
            _ => trimmed.to_owned(),
        };
    }
    lines.retain(|(_, line)| !line.is_empty());
    lines
}

/// Whether a line includes a directory, and what it includes.
fn include(line: &str) -> Option<(bool, &str)> {
    let rest = line.strip_prefix('#').or_else(|| line.strip_prefix('@'))?;
    let (word, target) = rest.split_once(char::is_whitespace)?;
    match word {
        "include" => Some((false, target.trim())),
        "includedir" => Some((true, target.trim())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use crate::host::accounts::tests::people;

    fn accounts(sudoers: &str) -> Vec<String> {
        people(sudoers).0.accounts.into_iter().collect()
    }

    #[test]
    fn groups_aliases_numbers_and_included_files_name_who_may_use_sudo() {
        assert_eq!(accounts("%sudo ALL=(ALL:ALL) ALL\n"), ["alice", "bob"]);
        assert_eq!(accounts("User_Alias ADMINS = dave, \\\n alice\nADMINS ALL = ALL\n"), ["alice", "dave"]);
        assert_eq!(accounts("root ALL=ALL\n@includedir /etc/sudoers.d\n# bob ALL=ALL\n"), ["dave"]);
        assert_eq!(accounts("alice, %staff ALL=(ALL) ALL\n"), ["alice", "dave"]);
    }

    #[test]
    fn where_sudoers_cannot_be_read_the_usual_groups_stand_for_it() {
        assert_eq!(accounts(""), ["alice", "bob"]);
    }

    #[test]
    fn who_is_never_asked_is_named_with_the_line() {
        let text = "Defaults env_reset\nDefaults:dave !authenticate\nalice ALL=(root) NOPASSWD: /usr/bin/rsync\n";
        let unasked: Vec<_> = people(text).0.unasked.into_iter().map(|(who, at)| format!("{who} {at}")).collect();
        assert_eq!(unasked, ["dave /etc/sudoers:2", "alice /etc/sudoers:3"]);
    }
}
