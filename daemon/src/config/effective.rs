//! The configuration in force as it can be shown: every key, its value as TOML, and where it comes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::rules::{GroupName, Listed, Name, RuleText, Words as _};
use super::{
    Admin, Audit, Config, Enrolment, Label, Locks, Nss, PlacedRule, Prompt, Size, Sources, Throttling, TrustedCaller,
    spell,
};

/// On which line of the file each key stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    file: PathBuf,
    lines: BTreeMap<String, usize>,
}

impl Origins {
    /// Of the keys in a file's text, which was parsed already.
    pub(super) fn of(path: &Path, text: &str) -> Self {
        let mut lines = BTreeMap::new();
        if let Ok(table) = DeTable::parse(text) {
            note(text, "", table.get_ref(), &mut lines);
        }
        // A file that sets nothing is no origin of anything.
        let file = if lines.is_empty() { PathBuf::new() } else { path.to_owned() };
        Self { file, lines }
    }

    /// `FILE:LINE` where the file sets this key, else `default`.
    #[must_use]
    pub fn origin(&self, key: &str) -> String {
        let line = self.lines.get(key);
        line.map_or_else(|| "default".to_owned(), |line| format!("{}:{line}", self.file.display()))
    }
}

fn note(text: &str, section: &str, table: &DeTable<'_>, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let name = format!("{section}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => note(text, &format!("{name}."), inner, lines),
            _ => {
                let before = text.get(..key.span().start).unwrap_or(text);
                lines.insert(name, before.matches('\n').count() + 1);
            }
        }
    }
}

impl Config {
    /// What whoever reads the log must not overlook: that nobody is asked, and how much was hardly meant.
    #[must_use]
    pub fn remarks(&self) -> Option<String> {
        let rules: Vec<_> = self.policy.rules().iter().filter(|rule| rule.observe).map(|rule| &rule.name).collect();
        let mut remarks = Vec::new();
        if self.policy.observe {
            remarks.push("OBSERVING: nobody is asked for a second factor (mode = \"observe\")".to_owned());
        } else if let Some((first, others)) = rules.split_first() {
            let others = if others.is_empty() { String::new() } else { format!(" and {} others", others.len()) };
            remarks.push(format!("OBSERVING: nobody is asked by rule {first:?}{others} (mode = \"observe\")"));
        }
        if !self.warnings.is_empty() {
            remarks.push(format!("{} warnings, see countersign config check", self.warnings.len()));
        }
        (!remarks.is_empty()).then(|| remarks.join("; "))
    }

    /// Every key with its value as TOML, in the order of the file that the README shows. `host` is what stands in
    /// for an issuer that is not set.
    #[must_use]
    pub fn effective(&self, host: &str) -> Vec<(&'static str, String)> {
        // Whoever adds a key is made to show it by these patterns.
        let Self {
            prompt,
            tries,
            fail_delay,
            notices,
            self_enrolment,
            issuer,
            enrolment,
            throttling,
            sources,
            nss,
            audit,
            admin,
            mode,
            unresolved_rules: _,
            unresolved_callers: _,
            rules: _,
            policy: _,
            trusted_callers: _,
            zone: _,
            warnings: _,
            origins: _,
        } = self;
        let Prompt(prompt) = prompt;
        let Enrolment { algorithm, digits, period } = enrolment;
        let Throttling { lockout, failures, window, locks: Locks(locks), disable_after, root_console } = throttling;
        let Sources { enabled, accounts, window: sources_window } = sources;
        let Nss { timeout, cache } = nss;
        let Audit { keep, max_size } = audit;
        let Admin { export } = admin;
        let locks: Vec<_> = locks.iter().map(time).collect();
        vec![
            ("prompt", quote(prompt)),
            ("tries", tries.0.to_string()),
            ("fail_delay", time(&fail_delay.0)),
            ("notices", notices.to_string()),
            ("self_enrolment", self_enrolment.to_string()),
            ("issuer", quote(issuer.as_ref().map_or(host, |Label(issuer)| issuer))),
            ("mode", quote(mode.0.word())),
            ("enrolment.algorithm", quote(algorithm.name())),
            ("enrolment.digits", digits.number().to_string()),
            ("enrolment.period", quote(&spell(period.seconds().into()))),
            ("throttling.lockout", quote(lockout.0.word())),
            ("throttling.failures", failures.0.to_string()),
            ("throttling.window", time(&window.0)),
            ("throttling.locks", format!("[{}]", locks.join(", "))),
            ("throttling.disable_after", disable_after.0.to_string()),
            ("throttling.root_console", quote(root_console.0.word())),
            ("sources.enabled", enabled.to_string()),
            ("sources.accounts", accounts.0.to_string()),
            ("sources.window", time(&sources_window.0)),
            ("nss.timeout", time(&timeout.0)),
            ("nss.cache", time(&cache.0)),
            ("audit.keep", time(&keep.0)),
            ("audit.max_size", size(*max_size)),
            ("admin.export", export.to_string()),
        ]
    }
}

impl PlacedRule {
    /// Its keys as `rule.NAME.KEY`, each with its value as TOML.
    #[must_use]
    pub fn effective(&self) -> Vec<(String, String)> {
        let RuleText {
            name,
            accounts,
            groups,
            services,
            networks,
            console,
            times,
            days,
            action,
            unenrolled,
            enroll_by,
            remember,
            fresh,
            tries,
            factor_of,
            mode,
        } = &self.text;
        let group = |group: &Spanned<GroupName>| {
            let GroupName { excluded, name } = group.get_ref();
            quote(&format!("{}{name}", if *excluded { "!" } else { "" }))
        };
        let name_of = |Name(name): &Name| quote(name);
        let values = [
            ("accounts", accounts.as_ref().map(|list| list.show(name_of))),
            ("groups", groups.as_ref().map(|list| list.show(group))),
            ("services", services.as_ref().map(|list| list.show(name_of))),
            ("networks", networks.as_ref().map(|list| list.show(|one| quote(&one.0.to_string())))),
            ("console", console.map(|value| value.to_string())),
            ("times", times.as_ref().map(|list| list.get_ref().show(|one| quote(&one.0.to_string())))),
            ("days", days.as_ref().map(|list| list.get_ref().show(|day| quote(day.0.name())))),
            ("action", Some(quote(action.0.word()))),
            ("unenrolled", unenrolled.map(|value| quote(value.0.word()))),
            ("enroll_by", enroll_by.as_ref().map(|day| day.get_ref().0.to_string())),
            ("remember", remember.map(|span| time(&span.0))),
            ("fresh", fresh.map(|value| value.to_string())),
            ("tries", tries.map(|tries| tries.0.to_string())),
            ("factor_of", factor_of.as_ref().map(|of| quote(of.get_ref().0.word()))),
            ("mode", mode.map(|mode| quote(mode.0.word()))),
        ];
        let name = key(&name.get_ref().0);
        let given = values.into_iter().filter_map(|(key, value)| Some((key, value?)));
        given.map(|(key, value)| (format!("rule.{name}.{key}"), value)).collect()
    }
}

impl TrustedCaller {
    /// As `trusted_caller.ACCOUNT.service`, its value as TOML, and its origin.
    #[must_use]
    pub fn effective(&self) -> (String, String, String) {
        (format!("trusted_caller.{}.service", key(&self.account)), quote(&self.service), self.origin.clone())
    }
}

impl<T> Listed<T> {
    fn show(&self, one: impl Fn(&T) -> String) -> String {
        format!("[{}]", self.0.iter().map(one).collect::<Vec<_>>().join(", "))
    }
}

/// A key of TOML, quoted where it must be.
fn key(text: &str) -> String {
    let bare = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if bare { text.to_owned() } else { quote(text) }
}

/// A basic string of TOML; the text holds no control characters.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn time(time: &Duration) -> String {
    quote(&spell(time.as_secs()))
}

fn size(Size(bytes): Size) -> String {
    match bytes >> 20 {
        mib if mib % 1024 == 0 => quote(&format!("{}GiB", mib / 1024)),
        mib => quote(&format!("{mib}MiB")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const FILE: &str = "/etc/countersign/countersign.toml";
    const EVERY_KEY: &str = "prompt = \"Say \\\"C:\\\\\\\" \"\ntries = 3\nfail_delay = \"0s\"\n\
        notices = false\nself_enrolment = true\nissuer = \"Example\"\nmode = \"observe\"\n[enrolment]\nalgorithm = \"SHA256\"\ndigits = 8\nperiod = \"1m\"\n\
        [throttling]\nfailures = 5\nwindow = \"10m\"\nlocks = [\"90s\", \"1h\"]\ndisable_after = 100\n\
        lockout = \"nist\"\nroot_console = \"lock\"\n[sources]\nenabled = false\naccounts = 5\nwindow = \"1h\"\n\
        [nss]\ntimeout = \"3s\"\ncache = \"0s\"\n[audit]\nkeep = \"30d\"\nmax_size = \"200MiB\"\n\
        [admin]\nexport = true\n";

    fn parse(text: &str) -> Config {
        Config::parse(Path::new(FILE), text).unwrap()
    }

    #[test]
    fn what_is_shown_gives_the_same_configuration_when_it_is_read() {
        for text in [
            EVERY_KEY,
            "issuer = \"host\"",
            "issuer = \"host\"\n[audit]\nmax_size = \"3GiB\"",
            "issuer = \"host\"\n[throttling]\nlockout = \"pci\"",
        ] {
            let config = parse(text);
            let shown: String =
                config.effective("host").iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
            let read = parse(&shown);
            assert_eq!(
                Config { origins: Origins::default(), ..read },
                Config { origins: Origins::default(), ..config }
            );
        }
    }

    /// packaging/countersign.toml: all comments, and without them all keys at their defaults.
    #[test]
    fn the_installed_file_shows_every_key_with_its_default_and_sets_none() {
        let installed = include_str!("../../../packaging/countersign.toml");
        assert_eq!(parse(installed), Config::default());
        let is_setting = |line: &&str| line.starts_with(|first: char| first == '[' || first.is_ascii_lowercase());
        let shown: Vec<&str> = installed.lines().filter_map(|line| line.strip_prefix('#')).filter(is_setting).collect();
        let config = parse(&shown.join("\n"));
        for (key, _) in config.effective("") {
            assert!(config.origins.origin(key).starts_with(FILE), "{key} is missing in packaging/countersign.toml");
        }
        let defaults = Config { issuer: config.issuer.clone(), origins: config.origins.clone(), ..Config::default() };
        assert_eq!(config, defaults);
    }

    #[test]
    fn every_key_that_is_set_names_its_line_and_every_other_one_the_default() {
        let config = parse(EVERY_KEY);
        for (key, _) in config.effective("") {
            assert!(config.origins.origin(key).starts_with(FILE), "{key}");
        }
        assert_eq!(config.origins.origin("enrolment.digits"), format!("{FILE}:10"));
        let few = parse("throttling.window = \"1m\"\n# nothing\nnss = { cache = \"0s\" }\n");
        assert_eq!(few.origins.origin("throttling.window"), format!("{FILE}:1"));
        assert_eq!(few.origins.origin("nss.cache"), format!("{FILE}:3"));
        assert_eq!(few.origins.origin("nss.timeout"), "default");
    }

    #[test]
    fn an_issuer_that_is_not_set_is_the_host() {
        let shown = Config::default().effective("gate");
        assert!(shown.contains(&("issuer", "\"gate\"".to_owned())), "{shown:?}");
    }
}
