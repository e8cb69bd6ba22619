//! The host's accounts as the name service lists them, who may use sudo, and who has no password. sudoers is read, not
//! run: what is asked is who depends on sudo's question.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use super::{Host, Place};
use crate::output;

/// Asks the name service for all that it lists (getent(1)).
const GETENT: &str = "/usr/bin/getent";
/// Groups that administer where sudoers cannot be read.
const USUAL: [&str; 3] = ["sudo", "wheel", "admin"];
/// How deep sudoers may include.
const DEEPEST: usize = 8;
/// The first uid of people rather than services (login.defs(5), `UID_MIN`).
const FIRST_PERSON: u32 = 1000;
/// How many accounts one getent(1) is asked about.
const KEYS: usize = 200;
/// Sources of accounts that lie on this host, and list them.
const LOCAL_SOURCES: [&str; 6] = ["files", "compat", "db", "systemd", "extrausers", "altfiles"];
/// The uid of nobody.
const NOBODY: u32 = 65_534;

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Person {
    uid: u32,
    gid: u32,
    shell: String,
}

/// What shadow(5) says of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Password {
    /// There is one.
    Set,
    /// None lets in.
    Locked,
    /// The empty one does.
    Empty,
}

/// The accounts of the host.
#[derive(Clone, Debug, Default)]
pub(crate) struct People {
    accounts: BTreeMap<String, Person>,
    /// Groups by name: their number and their members.
    groups: BTreeMap<String, (u32, Vec<String>)>,
    /// `None` where this program may not read them.
    passwords: Option<BTreeMap<String, Password>>,
    /// Accounts that shadow(5) lets nobody into any more, whatever the way.
    expired: BTreeSet<String>,
}

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

impl People {
    /// Asks the name service, and reads /etc/shadow where this program may.
    pub(crate) fn read(host: &Host) -> Self {
        let listed = |database: &str| host.run(GETENT, &[database]).map(|ran| ran.out).unwrap_or_default();
        let password = |line: &str| {
            let (name, rest) = line.split_once(':')?;
            let hash = rest.split(':').next().unwrap_or_default();
            let password = match hash {
                "" => Password::Empty,
                hash if hash.starts_with(['!', '*']) => Password::Locked,
                _ => Password::Set,
            };
            Some((name.to_owned(), password))
        };
        let shadow = host.read(Path::new("/etc/shadow")).ok();
        let today = output::now() / 86_400;
        let expired = |line: &str| {
            let fields = fields(line);
            let day: u64 = fields.get(7)?.parse().ok()?;
            (day <= today).then(|| fields.into_iter().next())?
        };
        Self {
            accounts: listed("passwd").lines().filter_map(account).collect(),
            groups: listed("group").lines().filter_map(group).collect(),
            expired: shadow.iter().flat_map(|text| text.lines().filter_map(expired)).collect(),
            passwords: shadow.map(|text| text.lines().filter_map(password).collect()),
        }
    }

    /// Looks up accounts that the name service did not list.
    pub(crate) fn add_unlisted<'a>(&mut self, host: &Host, names: impl IntoIterator<Item = &'a str>) {
        let missing = |name: &&str| !self.accounts.contains_key(*name) && !name.starts_with('-');
        let missing: Vec<&str> = names.into_iter().filter(missing).collect();
        for some in missing.chunks(KEYS) {
            let arguments: Vec<&str> = ["passwd", "--"].into_iter().chain(some.iter().copied()).collect();
            // It ends with 2 where it does not know one of them, and tells of the others.
            let told = host.run(GETENT, &arguments).map(|ran| ran.out).unwrap_or_default();
            self.accounts.extend(told.lines().filter_map(account));
        }
    }

    /// Looks up a group that the name service did not list, and its members. Tells whether there is one of this name.
    pub(crate) fn add_group(&mut self, host: &Host, name: &str) -> bool {
        if !self.groups.contains_key(name) {
            let told = host.run(GETENT, &["group", "--", name]).map(|ran| ran.out).unwrap_or_default();
            self.groups.extend(told.lines().filter_map(group).filter(|(found, _)| found == name));
        }
        let members: Vec<String> = self.groups.get(name).map(|(_, members)| members.clone()).unwrap_or_default();
        self.add_unlisted(host, members.iter().map(String::as_str));
        self.groups.contains_key(name)
    }

    /// Whether somebody can log in to an account, as sshd sees it: its shell runs. That shells(5) lists it is asked by
    /// few services, so that an account with another one counts too. A password that is locked does not keep a key out.
    pub(crate) fn can_log_in(&self, host: &Host, name: &str) -> bool {
        let Some(person) = self.accounts.get(name) else { return false };
        // passwd(5): an empty field is /bin/sh.
        let shell = if person.shell.is_empty() { "/bin/sh" } else { &person.shell };
        let runs = |metadata: std::fs::Metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
        self.logs_in(name) && !self.expired.contains(name) && host.metadata(Path::new(shell)).is_ok_and(runs)
    }

    /// Who administers: who has uid 0, who is in one of the usual groups, and whom sudoers names.
    pub(crate) fn administrators(&self, sudoers: &Sudoers) -> BTreeSet<String> {
        let roots = self.accounts.iter().filter(|(_, person)| person.uid == 0).map(|(name, _)| name.as_str());
        let usual = USUAL.iter().flat_map(|group| self.members(group));
        let named = sudoers.accounts.iter().map(String::as_str);
        roots.chain(usual).chain(named).map(str::to_owned).collect()
    }

    /// The names of all accounts.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.accounts.keys().map(String::as_str)
    }

    /// The uid of an account.
    pub(crate) fn uid(&self, name: &str) -> Option<u32> {
        self.accounts.get(name).map(|person| person.uid)
    }

    /// The name of a uid.
    pub(crate) fn name(&self, uid: u32) -> Option<&str> {
        self.accounts.iter().find(|(_, person)| person.uid == uid).map(|(name, _)| name.as_str())
    }

    /// What is known of an account's password; `None` where it cannot be read.
    pub(crate) fn password(&self, name: &str) -> Option<Password> {
        self.passwords.as_ref()?.get(name).copied()
    }

    /// Accounts that the empty password lets in, and that have a shell.
    pub(crate) fn without_password(&self) -> Vec<&str> {
        let empty = self.passwords.iter().flatten().filter(|(_, password)| **password == Password::Empty);
        empty.map(|(name, _)| name.as_str()).filter(|name| self.logs_in(name)).collect()
    }

    /// Whether an account has a shell that lets it in.
    pub(crate) fn logs_in(&self, name: &str) -> bool {
        let shell = self.accounts.get(name).map(|person| person.shell.rsplit('/').next().unwrap_or_default());
        shell.is_some_and(|shell| !matches!(shell, "nologin" | "false" | "sync" | "halt" | "shutdown"))
    }

    /// An account of a person, for questions about ordinary accounts; one of `preferred` where there is one.
    pub(crate) fn ordinary(&self, preferred: impl Fn(&str) -> bool) -> Option<&str> {
        let person =
            |name: &&str| self.uid(name).is_some_and(|uid| uid >= FIRST_PERSON && uid != NOBODY) && self.logs_in(name);
        self.names().filter(person).find(|name| preferred(name)).or_else(|| self.names().find(person))
    }

    /// The groups of an account.
    pub(crate) fn groups_of(&self, name: &str) -> Vec<&str> {
        let gid = self.accounts.get(name).map(|person| person.gid);
        let belongs = |group: &(u32, Vec<String>)| Some(group.0) == gid || group.1.iter().any(|member| member == name);
        self.groups.iter().filter(|(_, group)| belongs(group)).map(|(name, _)| name.as_str()).collect()
    }

    /// The accounts of a group, by its name or `#gid`.
    pub(crate) fn members(&self, group: &str) -> Vec<&str> {
        let by_number = group.strip_prefix('#').and_then(|gid| gid.parse::<u32>().ok());
        let found = self.groups.iter().find(|(name, (gid, _))| *name == group || by_number == Some(*gid));
        let Some((_, (gid, members))) = found else { return Vec::new() };
        let primary = self.accounts.iter().filter(|(_, person)| person.gid == *gid).map(|(name, _)| name.as_str());
        primary.chain(members.iter().map(String::as_str)).collect()
    }
}

/// Sources of accounts in nsswitch.conf(5) that the name service asks and that list none.
pub(crate) fn unlisted(host: &Host) -> Vec<String> {
    let text = host.read(Path::new("/etc/nsswitch.conf")).unwrap_or_default();
    let sources = text.lines().find_map(|line| line.trim().strip_prefix("passwd:")).unwrap_or_default();
    let sources = sources.split('#').next().unwrap_or_default().split_whitespace();
    let elsewhere = sources.filter(|source| !source.starts_with('[') && !LOCAL_SOURCES.contains(source));
    let lists_none = |source: &&str| {
        let named = source.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        named && host.run(GETENT, &["-s", source, "passwd"]).is_ok_and(|ran| ran.out.trim().is_empty())
    };
    elsewhere.filter(lists_none).map(str::to_owned).collect()
}

/// A line of passwd(5).
fn account(line: &str) -> Option<(String, Person)> {
    match fields(line).as_slice() {
        [name, _, uid, gid, _, _, shell] => {
            Some((name.clone(), Person { uid: uid.parse().ok()?, gid: gid.parse().ok()?, shell: shell.clone() }))
        }
        _ => None,
    }
}

/// A line of group(5).
fn group(line: &str) -> Option<(String, (u32, Vec<String>))> {
    match fields(line).as_slice() {
        [name, _, gid, members] => {
            let members = members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect();
            Some((name.clone(), (gid.parse().ok()?, members)))
        }
        _ => None,
    }
}

fn fields(line: &str) -> Vec<String> {
    line.split(':').map(str::to_owned).collect()
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
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

    use super::*;
    use crate::host::Ran;

    const PASSWD: &str = "root:x:0:0::/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/bash\n\
                          bob:x:1001:27::/home/bob:/bin/sh\ncarol:x:1002:1002::/home/carol:/usr/sbin/nologin\n\
                          dave:x:1003:1003::/home/dave:/bin/zsh\n";
    const GROUP: &str = "root:x:0:\nsudo:x:27:alice,carol\nstaff:x:50:dave\n";

    fn people(sudoers: &str) -> (Sudoers, People) {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("etc/sudoers.d")).unwrap();
        std::fs::write(root.path().join("etc/sudoers.d/more"), "#1003 ALL=(ALL) ALL\n").unwrap();
        std::fs::write(root.path().join("etc/sudoers.d/ignored.bak"), "nobody ALL=ALL\n").unwrap();
        if !sudoers.is_empty() {
            std::fs::write(root.path().join("etc/sudoers"), sudoers).unwrap();
        }
        std::fs::write(root.path().join("etc/shadow"), "root:*:1::::::\nalice:$6$x:1::::::\ndave::1::::::\n").unwrap();
        let host = Host::below(root.path(), |_, arguments| {
            let out = if arguments == ["passwd"] { PASSWD } else { GROUP };
            Ok(Ran { done: true, out: out.to_owned(), err: String::new() })
        });
        let people = People::read(&host);
        (Sudoers::read(&host, &people), people)
    }

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

    #[test]
    fn empty_and_locked_passwords_are_told_apart() {
        let (_, people) = people("");
        assert_eq!(people.without_password(), ["dave"]);
        assert_eq!(people.password("root"), Some(Password::Locked));
        assert_eq!(people.password("alice"), Some(Password::Set));
        assert_eq!(people.ordinary(|name| name == "dave"), Some("dave"));
    }

    /// A host whose passwd and group lie in its /etc, looked up by keys and by sources as getent(1) does.
    fn host(root: &tempfile::TempDir, listed: &'static str, unlisted: &'static str) -> Host {
        Host::below(root.path(), move |_, arguments| {
            let of = |text: &str, keys: &[&str]| -> String {
                let wanted = text.lines().filter(|line| keys.iter().any(|key| line.starts_with(&format!("{key}:"))));
                wanted.map(|line| format!("{line}\n")).collect()
            };
            let out = match arguments {
                ["passwd"] => listed.to_owned(),
                ["passwd", "--", keys @ ..] => of(&format!("{listed}{unlisted}"), keys),
                ["group"] => "sudo:x:27:alice\n".to_owned(),
                ["group", "--", "far"] => "far:x:70:zoe,alice\n".to_owned(),
                ["-s", "ldap", "passwd"] => listed.to_owned(),
                _ => String::new(),
            };
            Ok(Ran { done: true, out, err: String::new() })
        })
    }

    const LISTED: &str = "root:x:0:0::/root:/bin/bash\ntoor:x:0:0::/root:/bin/bash\nalice:x:1000:1000::/:/bin/bash\n\
                          bob:x:1001:1001::/:\ncarol:x:1002:1002::/:/usr/sbin/nologin\ndave:x:1003:1003::/:/bin/gone\n\
                          erin:x:1004:1004::/:/bin/bash\nfay:x:1005:1005::/:/bin/bash\n";

    #[test]
    fn who_can_log_in_is_who_has_a_shell_that_runs_and_has_not_expired() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("bin")).unwrap();
        std::fs::create_dir_all(root.path().join("usr/sbin")).unwrap();
        std::fs::create_dir_all(root.path().join("etc")).unwrap();
        for program in ["bin/bash", "bin/sh", "usr/sbin/nologin"] {
            let path = root.path().join(program);
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let shadow = "alice:!:1::::::\nerin:$6$x:1:::::1:\nfay:*:1:::::99999:\n";
        std::fs::write(root.path().join("etc/shadow"), shadow).unwrap();
        let host = host(&root, LISTED, "");
        let people = People::read(&host);
        let can: Vec<_> = people.names().filter(|name| people.can_log_in(&host, name)).collect();
        assert_eq!(can, ["alice", "bob", "fay", "root", "toor"]);
    }

    #[test]
    fn accounts_and_groups_that_are_not_listed_are_looked_up_by_their_names() {
        let root = tempfile::tempdir().unwrap();
        let host = host(&root, LISTED, "zoe:x:5000:5000::/:/bin/bash\n");
        let mut people = People::read(&host);
        assert!(people.uid("zoe").is_none() && !people.add_group(&host, "nearby"));
        assert!(people.add_group(&host, "far"));
        assert_eq!((people.uid("zoe"), people.members("far")), (Some(5000), vec!["zoe", "alice"]));
        people.add_unlisted(&host, ["--help", "nobody-knows"]);
        assert_eq!(people.uid("--help"), None);
    }

    #[test]
    fn administrators_have_uid_0_are_in_a_usual_group_or_in_sudoers() {
        let root = tempfile::tempdir().unwrap();
        let people = People::read(&host(&root, LISTED, ""));
        let sudoers = Sudoers { accounts: BTreeSet::from(["bob".to_owned()]), ..Sudoers::default() };
        let expected: Vec<_> = people.administrators(&sudoers).into_iter().collect();
        assert_eq!(expected, ["alice", "bob", "root", "toor"]);
    }

    #[test]
    fn sources_of_accounts_that_list_none_are_named() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("etc")).unwrap();
        let told = |line: &str| {
            std::fs::write(root.path().join("etc/nsswitch.conf"), format!("# passwd: nis\ngroup: sss\n{line}\n"))
                .unwrap();
            unlisted(&host(&root, LISTED, ""))
        };
        assert_eq!(told("passwd: files systemd"), Vec::<String>::new());
        assert_eq!(told("passwd:\tfiles [NOTFOUND=continue] sss ldap # nis"), ["sss"]);
        assert_eq!(told(""), Vec::<String>::new());
    }
}
