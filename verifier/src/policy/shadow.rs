//! Rules that can never decide, because an earlier one matches whatever they match.

use super::{Conditions, Rule, RuleAction};

/// Each such rule, with the first one that covers it.
pub(super) fn find(rules: &[Rule]) -> Vec<(&Rule, &Rule)> {
    let covering = |(at, rule)| {
        let mut earlier = rules.iter().take(at);
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
        && (w.groups.any.is_empty() || (!n.groups.any.is_empty() && n.groups.any.is_subset(&w.groups.any)))
        && w.groups.none.is_subset(&n.groups.none)
        && w.schedule.covers(&n.schedule)
}

/// Whether no claim can match these conditions.
fn excludes_claims(conditions: &Conditions) -> bool {
    !conditions.networks.is_empty() || conditions.console == Some(true)
}
