//! Rules that can never decide, because an earlier one matches whatever they match.

use super::index::Index;
use super::{Conditions, Rule, RuleAction};

/// Each such rule, with the first one that covers it. A rule for certain accounts, networks or services covers only
/// such as name them too, so that the index finds all that can.
pub(super) fn find<'a>(rules: &'a [Rule], index: &Index) -> Vec<(&'a Rule, &'a Rule)> {
    let covering = |(place, rule): (usize, &'a Rule)| {
        let Conditions { accounts, services, networks, .. } = &rule.conditions;
        let network = networks.first().map(|network| (network.address(), network.prefix()));
        let account = accounts.first().map(String::as_str);
        let candidates = index.find(account, services.first().map(String::as_str), network).into_iter();
        let mut earlier = candidates.take_while(|earlier| *earlier < place).filter_map(|earlier| rules.get(earlier));
        earlier.find(|earlier| covers(earlier, rule)).map(|earlier| (rule, earlier))
    };
    rules.iter().enumerate().filter_map(covering).collect()
}

/// Whether `wide` matches every login that `narrow` matches.
fn covers(wide: &Rule, narrow: &Rule) -> bool {
    let (w, n) = (&wide.conditions, &narrow.conditions);
    // A rule that skips does not match a login whose origin is only claimed.
    let claims = wide.action != RuleAction::Skip || narrow.action == RuleAction::Skip || excludes_claims(n);
    claims
        && (w.accounts.is_empty() || (!n.accounts.is_empty() && n.accounts.is_subset(&w.accounts)))
        && (w.services.is_empty() || (!n.services.is_empty() && n.services.is_subset(&w.services)))
        && (w.console.is_none() || w.console == n.console)
        && (w.networks.is_empty()
            || (!n.networks.is_empty() && n.networks.iter().all(|net| w.networks.iter().any(|wide| wide.covers(net)))))
        && (w.groups.any.is_empty() || (!n.groups.any.is_empty() && among(&n.groups.any, &w.groups.any)))
        && among(&w.groups.none, &n.groups.none)
        && w.schedule.covers(&n.schedule)
}

fn among(few: &[u32], many: &[u32]) -> bool {
    few.iter().all(|one| many.contains(one))
}

/// Whether no claim can match these conditions.
fn excludes_claims(conditions: &Conditions) -> bool {
    !conditions.networks.is_empty() || conditions.console == Some(true)
}
