//! The host's accounts as the name service lists them, and who has no password.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use super::{
    Host,
    sudoers::{Sudoers, USUAL},
};
use crate::output;

/// Asks the name service for all that it lists (getent(1)).
const GETENT: &str = "/usr/bin/getent";
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

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

    use super::*;
    use crate::host::Ran;

    const PASSWD: &str = "root:x:0:0::/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/bash\n\
                          bob:x:1001:27::/home/bob:/bin/sh\ncarol:x:1002:1002::/home/carol:/usr/sbin/nologin\n\
                          dave:x:1003:1003::/home/dave:/bin/zsh\n";
    const GROUP: &str = "root:x:0:\nsudo:x:27:alice,carol\nstaff:x:50:dave\n";

    pub(crate) fn people(sudoers: &str) -> (Sudoers, People) {
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
