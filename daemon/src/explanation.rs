//! Why a rule does not match a login, in words. That it does not is the verifier's finding; the names and values are those
//! that root typed, the login's are escaped by whoever shows them.

use std::collections::BTreeSet;

use dbus_api::PassedOver;
use verifier::Rule;
use verifier::policy::{Mismatch, Occasion, Weekday};

use crate::audit::Origin;
use crate::config::rules::{GroupName, Listed, Name, Parsed, RuleText};
use crate::config::{Config, PlacedRule};

/// Entries of a list that are named; of more, how many.
const NAMED: usize = 4;

/// A login as far as words need it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Login<'a> {
    /// The account.
    pub(crate) account: &'a str,
    /// Where it comes from.
    pub(crate) origin: &'a Origin,
    /// As rules look at it.
    pub(crate) occasion: &'a Occasion<'a>,
}

/// The rules before the one that decides, each with the first condition that is not met.
pub(crate) fn passed_over(config: &Config, login: Login<'_>, member_of: &BTreeSet<u32>) -> Vec<PassedOver> {
    let mismatches = config.policy.passed_over(login.occasion, member_of).zip(&config.rules);
    let tell = |((rule, mismatch), placed): ((&Rule, Mismatch), &PlacedRule)| {
        let (condition, why) = words(rule, &placed.text, mismatch, &login);
        PassedOver { rule: rule.name.clone(), origin: placed.origin.clone(), condition: condition.to_owned(), why }
    };
    mismatches.map(tell).collect()
}

/// Where the rule of this name stands.
pub(crate) fn origin_of(config: &Config, name: &str) -> Option<String> {
    config.rules.iter().find(|rule| rule.text.name.get_ref().0 == name).map(|rule| rule.origin.clone())
}

/// The key that is not met, and why.
fn words(rule: &Rule, text: &RuleText, mismatch: Mismatch, login: &Login<'_>) -> (&'static str, String) {
    let Login { account, origin, occasion } = login;
    match mismatch {
        Mismatch::Account if occasion.account.is_none() => {
            ("accounts", format!("the name service does not know {account:?}"))
        }
        Mismatch::Account => ("accounts", format!("{account} is not among {}", names(text.accounts.as_ref()))),
        Mismatch::Service if origin.service.is_empty() => ("services", "no service is given".to_owned()),
        Mismatch::Service => ("services", format!("{} is not among {}", origin.service, names(text.services.as_ref()))),
        Mismatch::Console => ("console", console(login).to_owned()),
        Mismatch::Network => ("networks", network(text, login)),
        Mismatch::Schedule => schedule(text, occasion),
        Mismatch::Claim => {
            ("action", "\"skip\" counts for root's services alone, and this login is only claimed".to_owned())
        }
        Mismatch::OutsideGroups => ("groups", format!("{account} is in none of {}", groups(text))),
        Mismatch::InsideGroup(group) => {
            ("groups", format!("{account} is in {}, which is excluded", excluded(rule, text, group)))
        }
    }
}

fn console(login: &Login<'_>) -> &'static str {
    match login.occasion.console {
        true if login.occasion.claimed => "that this is a console is only claimed",
        true => "this is a console of the host",
        false => "this is no console of the host for certain",
    }
}

fn network(rule: &RuleText, login: &Login<'_>) -> String {
    let Login { origin, occasion, .. } = login;
    let list = rule.networks.as_ref().map(|list| list.0.iter().map(|Parsed(one)| one.to_string()).collect::<Vec<_>>());
    match occasion.source {
        _ if occasion.claimed => "where this login comes from is only claimed".to_owned(),
        Some(address) => format!("{address} is in none of {}", some(&list.unwrap_or_default())),
        None if origin.rhost.is_empty() => "no address is known: PAM_RHOST is empty".to_owned(),
        None => format!("{:?} is no address, and names are never looked up", origin.rhost),
    }
}

fn schedule(rule: &RuleText, occasion: &Occasion<'_>) -> (&'static str, String) {
    let moment = &occasion.moment;
    let (hour, minute) = (moment.minute / 60, moment.minute % 60);
    let at = format!("{} {hour:02}:{minute:02}", moment.weekday.name());
    let times = rule.times.as_ref().map(|list| list.get_ref().0.iter().map(|Parsed(span)| span.to_string()));
    let days = rule.days.as_ref().map(|list| list.get_ref().0.iter().map(|day| Weekday::name(day.0).to_owned()));
    let (times, days) = (times.map(Iterator::collect::<Vec<_>>), days.map(Iterator::collect::<Vec<_>>));
    match (times, days) {
        (Some(times), Some(days)) => ("times", format!("{at} is outside of {} on {}", some(&times), some(&days))),
        (Some(times), None) => ("times", format!("{at} is outside of {}", some(&times))),
        (None, days) => ("days", format!("{at} is on none of {}", some(&days.unwrap_or_default()))),
    }
}

fn groups(rule: &RuleText) -> String {
    let listed = rule.groups.iter().flat_map(|list| &list.0).map(|group| group.get_ref());
    let wanted: Vec<_> =
        listed.filter(|GroupName { excluded, .. }| !excluded).map(|group| group.name.clone()).collect();
    some(&wanted)
}

/// The name of an excluded group. Ids stand in the order in which names were typed.
fn excluded<'a>(rule: &Rule, text: &'a RuleText, group: u32) -> &'a str {
    let listed = text.groups.iter().flat_map(|list| &list.0).map(|group| group.get_ref());
    let mut names = listed.filter(|group| group.excluded).zip(&rule.conditions.groups.none);
    names.find(|(_, id)| **id == group).map_or("a group", |(group, _)| &group.name)
}

fn names(list: Option<&Listed<Name>>) -> String {
    let names: Vec<_> = list.iter().flat_map(|list| &list.0).map(|Name(name)| name.clone()).collect();
    some(&names)
}

/// The first few of a list.
fn some(list: &[String]) -> String {
    let (first, others) = list.split_at(list.len().min(NAMED));
    match others.len() {
        0 => first.join(", "),
        others => format!("{} and {others} more", first.join(", ")),
    }
}
