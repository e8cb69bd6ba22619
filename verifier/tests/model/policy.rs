//! The policy against a slow reading of its rules: every rule looked at whole, and the first one that matches counted by
//! hand.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use verifier::policy::{Conditions, Days, Groups, Moment, Occasion, Schedule, Weekday};
use verifier::{Policy, Rule, RuleAction};

use crate::slow::{DAY, holds, is_inside};

const ACCOUNTS: [&str; 3] = ["alice", "bob", "ansible"];
const SERVICES: [&str; 3] = ["sshd", "sudo", "login"];
const GROUPS: [u32; 4] = [10, 20, 30, 40];
const NETWORKS: [&str; 8] = [
    "10.0.0.0/8",
    "10.20.0.0/16",
    "10.20.30.40/32",
    "192.0.2.0/25",
    "0.0.0.0/0",
    "2001:db8::/32",
    "2001:db8:0:1::/64",
    "::/0",
];
const ADDRESSES: [&str; 8] = [
    "10.20.30.40",
    "::ffff:10.20.30.40",
    "10.9.9.9",
    "192.0.2.127",
    "192.0.2.128",
    "2001:db8::1",
    "2001:db8:0:1::7",
    "fe80::1",
];
const TIMES: [&str; 6] = ["00:00-24:00", "08:00-18:00", "22:00-06:00", "23:59-00:01", "12:00-12:01", "18:00-00:00"];

/// A rule as somebody types it.
#[derive(Clone, Debug)]
struct Typed {
    accounts: Vec<&'static str>,
    services: Vec<&'static str>,
    groups: Vec<u32>,
    excluded: Vec<u32>,
    networks: Vec<&'static str>,
    console: Option<bool>,
    times: Vec<&'static str>,
    days: Vec<usize>,
    skip: bool,
}

/// A login.
#[derive(Clone, Debug)]
struct Login {
    account: Option<&'static str>,
    service: &'static str,
    member_of: Vec<u32>,
    source: Option<&'static str>,
    console: bool,
    claimed: bool,
    day: usize,
    minute: usize,
}

/// Mostly empty: rules that match nothing would show nothing.
fn few<T: Clone + std::fmt::Debug + 'static>(of: &[T]) -> impl Strategy<Value = Vec<T>> + use<T> {
    let (all, most) = (of.to_vec(), of.len().min(3));
    prop_oneof![2 => Just(Vec::new()), 1 => subsequence(all, 1..=most)]
}

fn typed() -> impl Strategy<Value = Typed> {
    let console = prop_oneof![4 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let days: Vec<usize> = (0..7).collect();
    let origin = (few(&NETWORKS), console, any::<bool>());
    (few(&ACCOUNTS), few(&SERVICES), few(&GROUPS), few(&GROUPS), origin, few(&TIMES), few(&days)).prop_map(
        |(accounts, services, groups, excluded, (networks, console, skip), times, days)| Typed {
            accounts,
            services,
            groups,
            excluded,
            networks,
            console,
            times,
            days,
            skip,
        },
    )
}

fn login() -> impl Strategy<Value = Login> {
    let account = prop_oneof![5 => select(&ACCOUNTS[..]).prop_map(Some), 1 => Just(None)];
    let source = prop_oneof![4 => select(&ADDRESSES[..]).prop_map(Some), 1 => Just(None)];
    let minute = prop_oneof![0..DAY, select(&[0, 1, 359, 360, 479, 480, 719, 720, 1079, 1080, 1319, 1320, 1439][..])];
    let claimed = prop::bool::weighted(0.2);
    let who = (account, subsequence(GROUPS.to_vec(), 0..=4));
    (who, select(&SERVICES[..]), source, any::<bool>(), claimed, 0..7_usize, minute).prop_map(
        |((account, member_of), service, source, console, claimed, day, minute)| Login {
            account,
            service,
            member_of,
            source,
            console,
            claimed,
            day,
            minute,
        },
    )
}

impl Typed {
    /// As the daemon makes it.
    fn rule(&self, number: usize) -> Rule {
        let mut days = Days::default();
        self.days.iter().for_each(|day| days.insert(Weekday::ALL[*day]));
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let conditions = Conditions {
            accounts: names(&self.accounts),
            services: names(&self.services),
            groups: Groups { any: self.groups.clone(), none: self.excluded.clone() },
            networks: self.networks.iter().map(|network| network.parse().unwrap()).collect(),
            console: self.console,
            schedule: Schedule { days, times: self.times.iter().map(|span| span.parse().unwrap()).collect() },
        };
        let action = if self.skip { RuleAction::Skip } else { RuleAction::Require };
        Rule { name: number.to_string(), conditions, action, ..Rule::default() }
    }

    fn matches(&self, login: &Login) -> bool {
        let mut reasons_not_to = vec![
            !self.accounts.is_empty() && !self.accounts.iter().any(|name| Some(*name) == login.account),
            !self.services.is_empty() && !self.services.contains(&login.service),
            !self.groups.is_empty() && self.groups.iter().all(|group| !login.member_of.contains(group)),
            self.excluded.iter().any(|group| login.member_of.contains(group)),
            self.skip && login.claimed,
        ];
        let address = login.source.filter(|_| !login.claimed);
        let inside = |network: &&str| address.is_some_and(|address| is_inside(network, address));
        reasons_not_to.push(!self.networks.is_empty() && !self.networks.iter().any(inside));
        let at_console = login.console && !login.claimed;
        reasons_not_to.push(self.console == Some(!at_console));
        reasons_not_to.push(!holds(&self.days, &self.times, login.day * DAY + login.minute));
        !reasons_not_to.contains(&true)
    }
}

impl Login {
    fn occasion(&self) -> Occasion<'_> {
        Occasion {
            account: self.account,
            service: self.service,
            source: self.source.map(|source| source.parse().unwrap()),
            console: self.console,
            claimed: self.claimed,
            moment: Moment { weekday: Weekday::ALL[self.day], minute: u16::try_from(self.minute).unwrap() },
        }
    }
}

proptest! {
    #![proptest_config(super::cases(10_000, 0x9011c7))]

    #[test]
    fn the_first_rule_that_matches_decides(rules in prop::collection::vec(typed(), 0..8), login in login()) {
        let policy = Policy::new(rules.iter().enumerate().map(|(at, rule)| rule.rule(at)).collect(), false);
        let expected = rules.iter().position(|rule| rule.matches(&login)).map(|at| at.to_string());
        let occasion = login.occasion();
        let member_of: BTreeSet<u32> = login.member_of.iter().copied().collect();
        let candidates = policy.candidates(&occasion);
        let decided = candidates.decide(&member_of).map(|rule| rule.name.clone());
        prop_assert_eq!(&decided, &expected);
        // Knowing of the groups that are asked for is enough.
        let asked: BTreeSet<u32> = candidates.groups().intersection(&member_of).copied().collect();
        prop_assert_eq!(candidates.decide(&asked).map(|rule| rule.name.clone()), expected.clone());
        // The rules before it are told, each with a reason, and no other one.
        let passed: Vec<_> = policy.passed_over(&occasion, &member_of).map(|(rule, _)| rule.name.clone()).collect();
        let before = expected.as_ref().map_or(rules.len(), |at| at.parse().unwrap());
        prop_assert_eq!(passed, (0..before).map(|at| at.to_string()).collect::<Vec<_>>());
        // A rule that is said to be covered never decides.
        let covered = policy.shadowed();
        prop_assert!(covered.iter().all(|(rule, _)| Some(&rule.name) != decided.as_ref()), "{covered:?}");
    }
}

#[test]
fn no_group_is_asked_for_where_no_rule_that_could_decide_names_one() {
    let rule = |services: &[&'static str], groups: &[u32]| Typed {
        accounts: Vec::new(),
        services: services.to_vec(),
        groups: groups.to_vec(),
        excluded: Vec::new(),
        networks: Vec::new(),
        console: None,
        times: Vec::new(),
        days: Vec::new(),
        skip: false,
    };
    let rules = [rule(&["sudo"], &[10]), rule(&["sshd"], &[20]), rule(&["sshd"], &[]), rule(&["sshd"], &[30])];
    let policy = Policy::new(rules.iter().enumerate().map(|(at, rule)| rule.rule(at)).collect(), false);
    let wanted = |service| {
        let login = Login {
            account: None,
            service,
            member_of: Vec::new(),
            source: None,
            console: false,
            claimed: false,
            day: 0,
            minute: 0,
        };
        policy.candidates(&login.occasion()).groups().iter().copied().collect::<Vec<_>>()
    };
    assert_eq!((wanted("sudo"), wanted("sshd"), wanted("login")), (vec![10], vec![20], vec![]));
}
