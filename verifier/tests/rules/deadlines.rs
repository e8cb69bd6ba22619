//! Deadlines of rules: until the day, who has not enrolled is reminded; from then on the rule's own word holds.

use std::collections::BTreeSet;

use verifier::policy::{Conditions, Groups};
use verifier::{Deadline, Policy, Rule, RuleAction, Unenrolled, WallTime};

use crate::scene::{NOON, at};

fn deadline(day: u8) -> Deadline {
    Deadline { year: 2030, month: 1, day, at: at(NOON + u64::from(day) * 86_400).wall }
}

/// A rule with a deadline, for these accounts and members of this group.
fn rule(name: &str, day: u8, accounts: &[&str], group: Option<u32>) -> Rule {
    let accounts = accounts.iter().map(|account| (*account).to_owned()).collect();
    let groups = Groups { any: group.into_iter().collect(), none: Vec::new() };
    let conditions = Conditions { accounts, groups, ..Conditions::default() };
    Rule { name: name.into(), conditions, enroll_by: Some(deadline(day)), ..Rule::default() }
}

#[test]
fn who_has_not_enrolled_is_reminded_until_the_deadline_and_not_from_it_on() {
    let deadline = deadline(2);
    for after in [Unenrolled::Deny, Unenrolled::Enroll, Unenrolled::Pass] {
        let rule = Rule { unenrolled: after, enroll_by: Some(deadline), ..Rule::default() };
        assert_eq!(rule.unenrolled_at(WallTime(deadline.at.0 - 1)), Unenrolled::Remind);
        assert_eq!(rule.unenrolled_at(deadline.at), after);
        assert_eq!(rule.unenrolled_at(WallTime(deadline.at.0 + 1)), after);
        assert_eq!(Rule { enroll_by: None, ..rule }.unenrolled_at(WallTime(0)), after);
    }
}

#[test]
fn the_earliest_deadline_that_may_concern_an_account_is_told() {
    let skip = Rule { action: RuleAction::Skip, ..rule("skipped", 1, &[], None) };
    let rules =
        vec![skip, rule("alice's", 4, &["alice"], None), rule("wheel's", 3, &[], Some(10)), rule("all", 9, &[], None)];
    let policy = Policy::new(rules, false);
    assert_eq!(policy.rules().len(), 4);
    assert!(policy.has_deadlines(deadline(9).at.0.checked_sub(1).map(WallTime).unwrap()));
    assert!(!policy.has_deadlines(deadline(9).at), "the skipping rule has none");
    let told = |account: &str, groups: &[u32], now| {
        let candidates = policy.deadlines(account, now);
        assert_eq!(candidates.groups().iter().copied().collect::<Vec<_>>(), [10]);
        candidates.earliest_deadline(&BTreeSet::from_iter(groups.iter().copied())).map(|deadline| deadline.day)
    };
    let now = at(NOON).wall;
    assert_eq!(told("alice", &[], now), Some(4));
    assert_eq!(told("alice", &[10], now), Some(3));
    assert_eq!(told("bob", &[], now), Some(9));
    let later = policy.deadlines("alice", deadline(4).at);
    assert_eq!(later.earliest_deadline(&BTreeSet::from([10])), Some(deadline(9)), "those that have passed are over");
    assert_eq!(policy.deadlines("alice", deadline(9).at).earliest_deadline(&BTreeSet::new()), None);
}

#[test]
fn the_rules_that_observe_an_account_are_told_by_its_name_and_all_groups_by_themselves() {
    let observe = |rule: Rule| Rule { observe: true, ..rule };
    let mut kept_out = rule("not wheel", 1, &[], None);
    kept_out.conditions.groups.none = vec![20];
    let rules =
        vec![observe(rule("alice's", 1, &["alice"], None)), observe(rule("wheel's", 1, &[], Some(10))), kept_out];
    let policy = Policy::new(rules, false);
    let observing = |account: &str, groups: &[u32]| {
        let candidates = policy.observers(account);
        candidates.decide(&BTreeSet::from_iter(groups.iter().copied())).map(|rule| rule.name.clone())
    };
    assert_eq!(observing("alice", &[]).as_deref(), Some("alice's"));
    assert_eq!(observing("bob", &[10]).as_deref(), Some("wheel's"));
    assert_eq!(observing("bob", &[]), None);
    assert_eq!(policy.groups(), BTreeSet::from([10, 20]));
}

#[test]
fn a_deadline_is_written_as_a_date() {
    assert_eq!(Deadline { year: 2030, month: 1, day: 2, at: WallTime(0) }.to_string(), "2030-01-02");
}
