//! Why a rule does not match a login. Whether it matches is asked here too, so that what is explained is what decides.

use std::collections::BTreeSet;

use super::{Conditions, Groups, Occasion, Policy, Rule, RuleAction};

/// The first condition of a rule that a login does not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// `accounts`.
    Account,
    /// `services`.
    Service,
    /// `console`.
    Console,
    /// `networks`.
    Network,
    /// `times` and `days`.
    Schedule,
    /// It skips, and another caller than root only says where the login comes from.
    Claim,
    /// `groups`: the account is in none of those that are named.
    OutsideGroups,
    /// `groups`: the account is in this one, which is excluded.
    InsideGroup(u32),
}

impl Policy {
    /// The rules before the one that decides about this login, in their order, each with the first condition that is
    /// not met. `member_of` as in [`super::Candidates::decide`].
    pub fn passed_over(
        &self,
        occasion: &Occasion<'_>,
        member_of: &BTreeSet<u32>,
    ) -> impl Iterator<Item = (&Rule, Mismatch)> {
        self.rules.iter().map_while(move |rule| {
            let mismatch = rule.mismatch(occasion).or_else(|| rule.conditions.groups.mismatch(member_of));
            Some((rule, mismatch?))
        })
    }
}

impl Rule {
    /// The first condition but for groups that the login does not meet. What rejects most is looked at first.
    pub(super) fn mismatch(&self, occasion: &Occasion<'_>) -> Option<Mismatch> {
        let Conditions { accounts, groups: _, services, networks, console, schedule } = &self.conditions;
        if !(accounts.is_empty() || occasion.account.is_some_and(|account| accounts.contains(account))) {
            return Some(Mismatch::Account);
        }
        if !(services.is_empty() || services.contains(occasion.service)) {
            return Some(Mismatch::Service);
        }
        if console.is_some_and(|console| console != occasion.is_at_console()) {
            return Some(Mismatch::Console);
        }
        if !(networks.is_empty() || occasion.is_from(networks)) {
            return Some(Mismatch::Network);
        }
        if !schedule.holds(&occasion.moment) {
            return Some(Mismatch::Schedule);
        }
        (occasion.claimed && self.action == RuleAction::Skip).then_some(Mismatch::Claim)
    }
}

impl Groups {
    /// Whether an account that is in these groups is not admitted, and why.
    pub(super) fn mismatch(&self, member_of: &BTreeSet<u32>) -> Option<Mismatch> {
        if !(self.any.is_empty() || self.any.iter().any(|group| member_of.contains(group))) {
            return Some(Mismatch::OutsideGroups);
        }
        self.none.iter().find(|group| member_of.contains(group)).map(|group| Mismatch::InsideGroup(*group))
    }
}
