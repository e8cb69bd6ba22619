//! From rules as they were typed to rules that can be asked: names become ids, once, through the name service; dates
//! become moments. What cannot be found is an error here, so that no login meets it.

use std::collections::{BTreeMap, HashMap, HashSet};

use nix::errno::Errno;
use nix::unistd::{Group, User};
use serde::Deserialize;
use toml::Spanned;
use verifier::policy::{Conditions, Days, Groups, Network, Schedule};
use verifier::{FactorOf, Policy, Rule, RuleAction, Unenrolled};

use super::file::File;
use super::rules::{GroupName, Mode, Name, Parsed, RuleName, RuleText, TrustedText, Words};
use super::{Config, ConfigError, Zone};

/// A rule as it was typed, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedRule {
    /// `FILE:LINE`.
    pub origin: String,
    /// As it was typed.
    pub text: RuleText,
}

/// A service account that may verify others for one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedCaller {
    /// The account's name.
    pub account: String,
    /// Its uid.
    pub uid: u32,
    /// The PAM service that it may name.
    pub service: String,
    /// `FILE:LINE`.
    pub origin: String,
}

/// A file in `conf.d`: rules alone, so that every setting has one place.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Part {
    rule: Vec<RuleText>,
    trusted_caller: Vec<TrustedText>,
}

/// Resolves the rules of the main file and of those in `conf.d`.
pub(super) fn resolve(mut config: Config, main: File, parts: Vec<File>) -> Result<Config, ConfigError> {
    let rules = std::mem::take(&mut config.unresolved_rules);
    let callers = std::mem::take(&mut config.unresolved_callers);
    let mut read = vec![(main, Part { rule: rules, trusted_caller: callers })];
    for file in parts {
        let part = file.parse()?;
        read.push((file, part));
    }
    let (mut resolver, mut rules) = (Resolver::default(), Vec::new());
    for (file, part) in read {
        for caller in &part.trusted_caller {
            config.trusted_callers.push(trusted(&file, caller)?);
        }
        for rule in part.rule {
            rules.push(resolver.rule(&file, &rule)?);
            config.rules.push(PlacedRule { origin: file.place(rule.name.span().start), text: rule });
        }
    }
    config.policy = Policy::new(rules, config.mode.0 == Mode::Observe);
    config.warnings = resolver.warnings;
    config.warnings.extend(shadowed(&config));
    config.zone = resolver.zone.unwrap_or_default();
    Ok(config)
}

/// What was found so far.
#[derive(Default)]
struct Resolver {
    /// Once a rule needs it.
    zone: Option<Zone>,
    /// Names of rules, and where they stand.
    names: HashMap<String, String>,
    groups: HashMap<String, u32>,
    /// Primary groups that somebody has, once they were asked for.
    primary: Option<HashSet<u32>>,
    warnings: Vec<String>,
}

impl Resolver {
    fn rule(&mut self, file: &File, text: &RuleText) -> Result<Rule, ConfigError> {
        let RuleName(name) = text.name.get_ref();
        let place = file.place(text.name.span().start);
        if let Some(taken) = self.names.insert(name.clone(), place.clone()) {
            let what = format!("this name is taken by {taken}: each rule needs its own");
            return Err(wrong(file, text, &text.name, "name", what));
        }
        if let Some(factor_of) = &text.factor_of
            && factor_of.get_ref().0 == FactorOf::Ruser
            && text.services.is_none()
        {
            let what = "name the services that set PAM_RUSER to a local account: services = [\"su\", \"su-l\"]".into();
            return Err(wrong(file, text, factor_of, "factor_of", what));
        }
        let rule = Rule {
            name: name.clone(),
            conditions: self.conditions(file, text, &place)?,
            action: text.action.0,
            unenrolled: text.unenrolled.unwrap_or_default().0,
            enroll_by: match &text.enroll_by {
                None => None,
                Some(day) => {
                    let none = || wrong(file, text, day, "enroll_by", "the host's time zone has no such day".into());
                    Some(self.zone(file, text, day, "enroll_by")?.deadline(day.get_ref().0).ok_or_else(none)?)
                }
            },
            remember: text.remember.map(|span| span.0),
            fresh: text.fresh.unwrap_or(false),
            tries: text.tries.map(|tries| tries.0),
            factor_of: text.factor_of.as_ref().map(|of| of.get_ref().0).unwrap_or_default(),
            observe: text.mode.unwrap_or_default().0 == Mode::Observe,
        };
        self.doubt(&rule, text, &place);
        Ok(rule)
    }

    fn conditions(&mut self, file: &File, text: &RuleText, place: &str) -> Result<Conditions, ConfigError> {
        let names = |list: &Option<super::rules::Listed<Name>>| {
            list.iter().flat_map(|list| &list.0).map(|Name(name)| name.clone()).collect()
        };
        let mut schedule = Schedule::default();
        if let Some(times) = &text.times {
            self.zone(file, text, times, "times")?;
            schedule.times = times.get_ref().0.iter().map(|Parsed(span)| *span).collect();
        }
        if let Some(days) = &text.days {
            self.zone(file, text, days, "days")?;
            let mut set = Days::default();
            days.get_ref().0.iter().for_each(|day| set.insert(day.0));
            schedule.days = set;
        }
        let mut groups = Groups::default();
        for group in text.groups.iter().flat_map(|groups| &groups.0) {
            let id = self.group(file, text, group, place)?;
            if group.get_ref().excluded {
                groups.none.push(id)
            } else {
                groups.any.push(id)
            };
        }
        Ok(Conditions {
            accounts: names(&text.accounts),
            groups,
            services: names(&text.services),
            networks: text.networks.iter().flat_map(|list| &list.0).map(|Parsed(network)| *network).collect(),
            console: text.console,
            schedule,
        })
    }

    /// The host's zone, where a rule needs it.
    fn zone<T>(&mut self, file: &File, text: &RuleText, at: &Spanned<T>, key: &str) -> Result<&Zone, ConfigError> {
        let zone = match self.zone.take() {
            Some(zone) => zone,
            None => Zone::of_host().map_err(|why| {
                let what = format!("the host's time zone cannot be told: {why}; set it by timedatectl(1)");
                wrong(file, text, at, key, what)
            })?,
        };
        Ok(self.zone.insert(zone))
    }

    fn group(
        &mut self,
        file: &File,
        text: &RuleText,
        group: &Spanned<GroupName>,
        place: &str,
    ) -> Result<u32, ConfigError> {
        let name = &group.get_ref().name;
        if let Some(id) = self.groups.get(name) {
            return Ok(*id);
        }
        let found = Group::from_name(name).map_err(|error| {
            wrong(file, text, group, "groups", format!("group {name:?}: the name service failed: {error}"))
        })?;
        let none = || wrong(file, text, group, "groups", format!("the name service knows no group {name:?}"));
        let found = found.ok_or_else(none)?;
        let id = found.gid.as_raw();
        if found.mem.is_empty() && !self.primary().contains(&id) {
            let RuleName(rule) = text.name.get_ref();
            let seen = "as far as the name service lists accounts";
            self.warnings.push(format!("{place}: rule {rule:?}: nobody is in the group {name:?}, {seen}"));
        }
        self.groups.insert(name.clone(), id);
        Ok(id)
    }

    fn primary(&mut self) -> &HashSet<u32> {
        self.primary.get_or_insert_with(crate::accounts::primary_groups)
    }

    /// Warns of what is allowed but was hardly meant.
    fn doubt(&mut self, rule: &Rule, text: &RuleText, place: &str) {
        let name = &rule.name;
        let mut warn = |what: String| self.warnings.push(format!("{place}: rule {name:?}: {what}"));
        if rule.action != RuleAction::Require {
            let word = rule.action.word();
            let given = [
                ("unenrolled", text.unenrolled.is_some()),
                ("enroll_by", text.enroll_by.is_some()),
                ("remember", text.remember.is_some()),
                ("fresh", text.fresh.is_some()),
                ("tries", text.tries.is_some() && rule.action == RuleAction::Skip),
                ("factor_of", text.factor_of.is_some()),
            ];
            for (key, _) in given.iter().filter(|(_, given)| *given) {
                warn(format!("{key} means nothing where the action is {word:?}"));
            }
        }
        let conditions = &rule.conditions;
        if rule.action == RuleAction::Skip && *conditions == Conditions::default() {
            warn("it has no condition: no caller of root's is ever asked".into());
        }
        if rule.action == RuleAction::Skip && conditions.networks.iter().any(Network::is_link_local) {
            warn("a host on the same link can take any link-local address".into());
        }
        if rule.enroll_by.is_some() && matches!(rule.unenrolled, Unenrolled::Remind | Unenrolled::Pass) {
            warn(format!("enroll_by changes nothing: afterwards unenrolled is {:?}", rule.unenrolled.word()));
        }
        if rule.fresh && rule.remember.is_some() {
            warn("remember means nothing where fresh is true".into());
        }
        if !conditions.networks.is_empty() && conditions.console == Some(true) {
            warn("it never matches: a login at the console comes from no network".into());
        }
    }
}

fn trusted(file: &File, text: &TrustedText) -> Result<TrustedCaller, ConfigError> {
    let Name(account) = text.account.get_ref();
    let at = text.account.span().start;
    let wrong = |what: String| Err(file.wrong(at, None, "trusted_caller: account", what));
    let user = match User::from_name(account) {
        Ok(Some(user)) => user,
        Ok(None) | Err(Errno::ENOENT | Errno::ESRCH) => {
            return wrong(format!("the name service knows no account {account:?}"));
        }
        Err(error) => return wrong(format!("account {account:?}: the name service failed: {error}")),
    };
    if user.uid.is_root() {
        return wrong("root may verify everybody already".into());
    }
    let Name(service) = &text.service;
    Ok(TrustedCaller {
        account: account.clone(),
        uid: user.uid.as_raw(),
        service: service.clone(),
        origin: file.place(at),
    })
}

/// Rules that can never decide.
fn shadowed(config: &Config) -> Vec<String> {
    let origins: BTreeMap<&str, &str> =
        (config.rules.iter()).map(|rule| (rule.text.name.get_ref().0.as_str(), rule.origin.as_str())).collect();
    let place = |rule: &Rule| origins.get(rule.name.as_str()).copied().unwrap_or_default();
    let shadowed = config.policy.shadowed();
    let tell = |(rule, earlier): &(&Rule, &Rule)| {
        let (name, first) = (&rule.name, &earlier.name);
        format!(
            "{}: rule {name:?} never decides: rule {first:?} at {} matches all that it matches",
            place(rule),
            place(earlier)
        )
    };
    shadowed.iter().map(tell).collect()
}

fn wrong<T>(file: &File, text: &RuleText, at: &Spanned<T>, key: &str, what: String) -> ConfigError {
    let RuleName(rule) = text.name.get_ref();
    file.wrong(at.span().start, Some(rule), key, what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("c.toml"), text).map_err(|error| error.to_string())
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err()
    }

    /// Every key, with groups that every Debian has.
    const WHOLE: &str = "[[rule]]\nname = \"ansible\"\naccounts = [\"ansible\"]\nservices = [\"sshd\"]\n\
        networks = [\"10.20.0.0/16\", \"2001:db8::/32\"]\naction = \"skip\"\n\n\
        [[rule]]\nname = \"the staff\"\ngroups = [\"root\", \"!daemon\"]\nconsole = false\ntimes = [\"22:00-06:00\"]\n\
        days = [\"fri\", \"sat\"]\naction = \"require\"\nunenrolled = \"enroll\"\nenroll_by = 2027-01-31\nremember = \"8h\"\n\
        tries = 2\nmode = \"observe\"\n\n\
        [[rule]]\nname = \"su\"\nservices = [\"su\"]\nfactor_of = \"ruser\"\nfresh = true\n\n\
        [[trusted_caller]]\naccount = \"daemon\"\nservice = \"postgresql\"\n";

    #[test]
    fn every_key_of_a_rule_is_taken_and_names_become_ids() {
        let config = parse(WHOLE).unwrap();
        let [ansible, staff, su] = config.policy.rules() else { unreachable!("three rules") };
        assert_eq!((ansible.name.as_str(), ansible.action), ("ansible", RuleAction::Skip));
        assert!(ansible.conditions.networks[1].contains("2001:db8::7".parse().unwrap()));
        assert_eq!((staff.conditions.groups.any.first(), staff.conditions.groups.none.first()), (Some(&0), Some(&1)));
        assert_eq!((staff.unenrolled, staff.tries, staff.observe), (Unenrolled::Enroll, Some(2), true));
        assert_eq!(staff.enroll_by.map(|by| (by.year, by.month, by.day)), Some((2027, 1, 31)));
        assert_eq!(staff.remember.map(|time| time.as_secs()), Some(8 * 3600));
        assert_eq!((su.factor_of, su.fresh, su.action), (FactorOf::Ruser, true, RuleAction::Require));
        let trusted = &config.trusted_callers[0];
        assert_eq!((trusted.uid, trusted.service.as_str(), trusted.origin.as_str()), (1, "postgresql", "c.toml:28"));
        assert_eq!(config.warnings, Vec::<String>::new());
        assert_eq!(config.rules[1].origin, "c.toml:9");
        assert!(!config.policy.observe && parse("mode = \"observe\"").unwrap().policy.observe);
    }

    #[test]
    fn a_rule_is_shown_key_by_key_as_it_was_typed() {
        let config = parse(WHOLE).unwrap();
        let shown = config.rules[1].effective();
        let expected = [
            ("groups", "[\"root\", \"!daemon\"]"),
            ("console", "false"),
            ("times", "[\"22:00-06:00\"]"),
            ("days", "[\"fri\", \"sat\"]"),
            ("action", "\"require\""),
            ("unenrolled", "\"enroll\""),
            ("enroll_by", "2027-01-31"),
            ("remember", "\"8h\""),
            ("tries", "2"),
            ("mode", "\"observe\""),
        ];
        let expected: Vec<_> =
            expected.map(|(key, value)| (format!("rule.\"the staff\".{key}"), value.to_owned())).into_iter().collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_wrong_rule_is_named_with_its_line_its_key_and_what_is_allowed() {
        let rule = |key: &str| format!("tries = 1\n[[rule]]\nname = \"r\"\n{key}\n[nss]\ncache = \"1s\"\n");
        for (key, expected) in [
            (
                "networks = [\"10.0.0.0/33\"]",
                "c.toml:4:12: rule \"r\": networks: \"10.0.0.0/33\" is no network: the number after the slash is 0 to 32",
            ),
            (
                "networks = [\n  \"10.20.3.4/16\",\n]",
                "c.toml:4:12: rule \"r\": networks: \"10.20.3.4/16\" names a host in a network: write \"10.20.0.0/16\" for the \
                 network, or \"10.20.3.4\" for the host",
            ),
            (
                "groups = [\"root\", \"!no-such-group\"]",
                "c.toml:4:19: rule \"r\": groups: the name service knows no group \"no-such-group\"",
            ),
            (
                "times = [\"25:00-06:00\"]",
                "c.toml:4:9: rule \"r\": times: \"25:00-06:00\" is no span of the day: allowed is from 00:00 to 24:00, \
                 such as \"08:00-18:00\" or \"22:00-06:00\"",
            ),
            (
                "days = [\"friday\"]",
                "c.toml:4:8: rule \"r\": days: \"friday\" is not allowed: allowed are \"mon\", \"tue\", \"wed\", \"thu\", \
                 \"fri\", \"sat\", \"sun\"",
            ),
            (
                "action = \"allow\"",
                "c.toml:4:10: rule \"r\": action: \"allow\" is not allowed: allowed are \"skip\", \"require\", \"deny\"",
            ),
            (
                "enroll_by = \"2027-01-31\"",
                "c.toml:4:13: rule \"r\": enroll_by: allowed is a date without quotes and without a time, such as 2027-01-31",
            ),
            (
                "enroll_by = 2027-01-31T10:00:00",
                "c.toml:4:13: rule \"r\": enroll_by: allowed is a date without quotes and without a time, such as 2027-01-31",
            ),
            (
                "accounts = []",
                "c.toml:4:12: rule \"r\": accounts: an empty list would match nobody: name at least one, or leave the key out",
            ),
            (
                "factor_of = \"ruser\"",
                "c.toml:4:13: rule \"r\": factor_of: name the services that set PAM_RUSER to a local account: \
                 services = [\"su\", \"su-l\"]",
            ),
            (
                "remember = \"30s\"",
                "c.toml:4:12: rule \"r\": remember: \"30s\" is not allowed: allowed is a time from 1m to 30d, such as \
                 \"30s\", \"5m\", \"8h\" or \"1d\"",
            ),
        ] {
            assert_eq!(error(&rule(key)), expected, "{key}");
        }
        assert!(
            error(&rule("acounts = [\"x\"]")).starts_with("c.toml:4:1: rule \"r\": acounts: unknown field `acounts`")
        );
        assert!(error("[[rule]]\naction = \"skip\"\n").starts_with("c.toml:1:1: missing field `name`"));
        assert!(error(&rule("")[..].replace("1s", "1w")).starts_with("c.toml:6:9: cache: "), "another table's key");
    }

    #[test]
    fn two_rules_of_one_name_are_refused_with_both_places() {
        let twice = "[[rule]]\nname = \"r\"\n[[rule]]\nname = \"r\"\n";
        let expected = "c.toml:4:8: rule \"r\": name: this name is taken by c.toml:2: each rule needs its own";
        assert_eq!(error(twice), expected);
    }

    #[test]
    fn a_trusted_caller_is_an_account_of_this_host_and_not_root() {
        let caller = |name: &str| format!("[[trusted_caller]]\naccount = \"{name}\"\nservice = \"s\"\n");
        let expected = "c.toml:2:11: trusted_caller: account: the name service knows no account \"no-such-account\"";
        assert_eq!(error(&caller("no-such-account")), expected);
        assert!(error(&caller("root")).contains("root may verify everybody already"));
    }

    #[test]
    fn what_was_hardly_meant_is_a_warning() {
        let text = "[[rule]]\nname = \"all\"\nunenrolled = \"pass\"\nenroll_by = 2027-01-31\n\
            [[rule]]\nname = \"ops\"\nservices = [\"sshd\"]\naction = \"deny\"\nremember = \"1h\"\n";
        assert_eq!(
            parse(text).unwrap().warnings,
            [
                "c.toml:2: rule \"all\": enroll_by changes nothing: afterwards unenrolled is \"pass\"",
                "c.toml:6: rule \"ops\": remember means nothing where the action is \"deny\"",
                "c.toml:6: rule \"ops\" never decides: rule \"all\" at c.toml:2 matches all that it matches",
            ]
        );
        let skip = "[[rule]]\nname = \"r\"\naction = \"skip\"\n";
        assert!(parse(skip).unwrap().warnings[0].ends_with("it has no condition: no caller of root's is ever asked"));
        let link = "[[rule]]\nname = \"r\"\naction = \"skip\"\nnetworks = [\"fe80::/10\"]\n";
        assert!(parse(link).unwrap().warnings[0].ends_with("a host on the same link can take any link-local address"));
    }

    #[test]
    fn further_files_hold_rules_alone_and_follow_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("countersign.toml");
        std::fs::write(&main, "[[rule]]\nname = \"main\"\nservices = [\"a\"]\n").unwrap();
        let more = folder.path().join("conf.d");
        std::fs::create_dir(&more).unwrap();
        for (file, name) in [("20-b.toml", "b"), ("10-z.toml", "z"), ("30.toml", "last")] {
            std::fs::write(more.join(file), format!("[[rule]]\nname = \"{name}\"\nservices = [\"{name}\"]\n")).unwrap();
        }
        for passed_over in [".hidden.toml", "40.toml~", "README"] {
            std::fs::write(more.join(passed_over), "nonsense").unwrap();
        }
        let names = |config: &Config| config.policy.rules().iter().map(|rule| rule.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&Config::load(&main).unwrap()), ["main", "z", "b", "last"]);

        let wrong = |text: &str| {
            std::fs::write(more.join("30.toml"), text).unwrap();
            Config::load(&main).unwrap_err().to_string().replace(folder.path().to_str().unwrap(), "")
        };
        assert_eq!(
            wrong("tries = 3\n"),
            "/conf.d/30.toml:1:1: tries: unknown field `tries`, expected `rule` or `trusted_caller`"
        );
        assert_eq!(
            wrong("[[rule]]\nname = \"z\"\n"),
            format!(
                "/conf.d/30.toml:2:8: rule \"z\": name: this name is taken by {}/10-z.toml:2: each rule needs its own",
                more.display()
            )
            .replace(folder.path().to_str().unwrap(), "")
        );
        std::fs::remove_file(more.join("30.toml")).unwrap();
        std::fs::create_dir(more.join("30.toml")).unwrap();
        assert!(
            Config::load(&main)
                .unwrap_err()
                .to_string()
                .ends_with("/conf.d/30.toml: cannot be read: it is no regular file")
        );
        std::fs::remove_dir(more.join("30.toml")).unwrap();
        std::os::unix::fs::symlink("/nonexistent", more.join("30.toml")).unwrap();
        assert!(matches!(Config::load(&main), Err(ConfigError::Unreadable { .. })));
    }
}
