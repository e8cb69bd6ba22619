//! The policy: which rule decides about a login, and what it asks for.
//!
//! Rules come from root's configuration, parsed and resolved by the daemon. What is known of a login comes from its
//! caller: from any other than root it is a claim, and claims open nothing here.

mod console;
mod index;
mod mismatch;
mod network;
mod schedule;
mod shadow;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::WallTime;
use index::Index;

pub use console::is_console;
pub use mismatch::Mismatch;
pub use network::{Network, NetworkError};
pub use schedule::{Days, Moment, Schedule, Span, SpanError, Weekday};

/// All rules, in the order in which they are asked: the first one that matches decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
    index: Index,
    /// Whether nobody is asked, whatever the rules say.
    pub observe: bool,
}

/// The rules that can decide about one login, in their order; which of them does depends on the account's groups.
#[derive(Clone, Debug)]
pub struct Candidates<'a> {
    rules: Vec<&'a Rule>,
    groups: BTreeSet<u32>,
}

/// One rule: when it applies and what it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Its name, unique over all files; the audit names it in every login that it decides.
    pub name: String,
    /// All of these must hold.
    pub conditions: Conditions,
    /// What happens.
    pub action: RuleAction,
    /// What becomes of an account without an authenticator; from `enroll_by` on, where that is set.
    pub unenrolled: Unenrolled,
    /// Until then an account without an authenticator is reminded.
    pub enroll_by: Option<Deadline>,
    /// For how long a granted verification spares the next one from the same account, service and source.
    pub remember: Option<Duration>,
    /// Whether a remembered login counts for nothing here.
    pub fresh: bool,
    /// Replies that one verification takes, 1 to 10; `None`: as the configuration says.
    pub tries: Option<u32>,
    /// Whose code is asked for.
    pub factor_of: FactorOf,
    /// Whether nobody is asked, and only the audit says what would have happened.
    pub observe: bool,
}

/// When a rule applies. An empty one always does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The account is one of these; empty: any.
    pub accounts: BTreeSet<String>,
    /// The account's groups.
    pub groups: Groups,
    /// The PAM service is one of these; empty: any.
    pub services: BTreeSet<String>,
    /// The remote host's address is in one of these; empty: any, or none known.
    pub networks: Vec<Network>,
    /// Whether the login is at a console of this host for certain; `None`: wherever.
    pub console: Option<bool>,
    /// The days and times of day.
    pub schedule: Schedule,
}

/// Groups by their ids (`gid_t`), primary and supplementary alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// The account is in one of these; empty: it need not be in any.
    pub any: Vec<u32>,
    /// The account is in none of these.
    pub none: Vec<u32>,
}

/// What a rule does with a login.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuleAction {
    /// No second factor is asked for.
    Skip,
    /// A code is asked for.
    #[default]
    Require,
    /// Nobody gets in.
    Deny,
}

/// What becomes of an account without an authenticator where a code is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unenrolled {
    /// It is refused, as with a wrong code.
    #[default]
    Deny,
    /// It gets in, and one line asks to enrol.
    Remind,
    /// It enrols before it gets in.
    Enroll,
    /// It gets in without a word.
    Pass,
}

/// Whose code is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FactorOf {
    /// The account's that is logged in to.
    #[default]
    Account,
    /// The one's who asks for the login (`PAM_RUSER`, as su sets it).
    Ruser,
}

/// The start of a day in the host's time zone. It shows as `2027-01-31`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The year, 1 to 9999.
    pub year: u16,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, 1 to 31.
    pub day: u8,
    /// The moment at which that day begins.
    pub at: WallTime,
}

/// One login, as far as rules look at it. Membership of groups is asked for apart ([`Candidates::groups`]),
/// because it costs a look-up.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// The account's name as the name service spells it; `None` where it knows none: that matches no rule for certain
    /// accounts, and is in no group.
    pub account: Option<&'a str>,
    /// The PAM service.
    pub service: &'a str,
    /// The remote host's address. A caller other than root knows none.
    pub source: Option<IpAddr>,
    /// Whether the login is at a console of this host for certain.
    pub console: bool,
    /// Whether a caller other than root says all this. It matches no rule that skips.
    pub claimed: bool,
    /// When, in the host's time zone.
    pub moment: Moment,
}

impl Policy {
    /// These rules, in this order.
    #[must_use]
    pub fn new(rules: Vec<Rule>, observe: bool) -> Self {
        Self { index: Index::of(&rules), rules, observe }
    }

    /// The rules, in their order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rules that match this login but for its groups, up to the first one that asks for none.
    #[must_use]
    pub fn candidates(&self, occasion: &Occasion<'_>) -> Candidates<'_> {
        let source = occasion.source.map(|source| (source, u8::MAX));
        let (mut rules, mut wanted) = (Vec::new(), Wanted::default());
        for place in self.index.find(occasion.account, Some(occasion.service), source) {
            let Some(rule) = self.rules.get(place).filter(|rule| rule.may_match(occasion)) else { continue };
            rules.push(rule);
            let groups = &rule.conditions.groups;
            if groups.is_any() {
                break;
            }
            groups.any.iter().for_each(|group| wanted.add(*group));
            groups.none.iter().for_each(|group| wanted.add(*group));
        }
        Candidates { rules, groups: wanted.groups.into_iter().collect() }
    }

    /// The rules that let this account in without an authenticator until a day that is still to come, as far as its name
    /// tells, wherever and whenever it logs in.
    #[must_use]
    pub fn deadlines(&self, account: &str, now: WallTime) -> Candidates<'_> {
        self.concerning(account, |rule| rule.is_coming(now))
    }

    /// Whether a rule lets accounts in without an authenticator until a day that is still to come.
    #[must_use]
    pub fn has_deadlines(&self, now: WallTime) -> bool {
        self.rules.iter().any(|rule| rule.is_coming(now))
    }

    /// The rules that observe what an account of this name does, wherever and whenever it logs in.
    #[must_use]
    pub fn observers(&self, account: &str) -> Candidates<'_> {
        self.concerning(account, |rule| rule.observe)
    }

    /// All groups that rules name.
    #[must_use]
    pub fn groups(&self) -> BTreeSet<u32> {
        let groups = self.rules.iter().map(|rule| &rule.conditions.groups);
        groups.flat_map(|groups| groups.any.iter().chain(&groups.none)).copied().collect()
    }

    /// The rules of some sort that may concern an account as far as its name tells.
    fn concerning<'a>(&'a self, account: &str, of_the_sort: impl Fn(&&'a Rule) -> bool) -> Candidates<'a> {
        let named = |rule: &&Rule| {
            let accounts = &rule.conditions.accounts;
            accounts.is_empty() || accounts.contains(account)
        };
        let rules: Vec<_> = self.rules.iter().filter(named).filter(of_the_sort).collect();
        let groups = rules.iter().map(|rule| &rule.conditions.groups);
        Candidates { groups: groups.flat_map(|groups| groups.any.iter().chain(&groups.none)).copied().collect(), rules }
    }

    /// Rules that can never decide because an earlier one matches whatever they match: each with that one.
    #[must_use]
    pub fn shadowed(&self) -> Vec<(&Rule, &Rule)> {
        shadow::find(&self.rules, &self.index)
    }
}

/// Collects groups. Thousands of rules name few groups again and again: one that was just added is passed over, so that
/// a set is made of few.
struct Wanted {
    groups: Vec<u32>,
    lately: [Option<u32>; 256],
}

impl Default for Wanted {
    fn default() -> Self {
        Self { groups: Vec::new(), lately: [None; 256] }
    }
}

impl Wanted {
    fn add(&mut self, group: u32) {
        let slot = usize::try_from(group).unwrap_or(0) % self.lately.len();
        let Some(lately) = self.lately.get_mut(slot) else { return };
        if *lately != Some(group) {
            *lately = Some(group);
            self.groups.push(group);
        }
    }
}

impl<'a> Candidates<'a> {
    /// The groups of which it must be known whether the account is in them before [`Candidates::decide`] can be
    /// trusted.
    #[must_use]
    pub fn groups(&self) -> &BTreeSet<u32> {
        &self.groups
    }

    /// The first rule that matches an account that is in these groups among [`Candidates::groups`], and in no other of
    /// them. Where none matches, a code is required and an account without an authenticator refused.
    #[must_use]
    pub fn decide(&self, member_of: &BTreeSet<u32>) -> Option<&'a Rule> {
        self.rules.iter().find(|rule| rule.conditions.groups.admit(member_of)).copied()
    }

    /// The earliest deadline of those that an account in these groups can meet.
    #[must_use]
    pub fn earliest_deadline(&self, member_of: &BTreeSet<u32>) -> Option<Deadline> {
        let met = self.rules.iter().filter(|rule| rule.conditions.groups.admit(member_of));
        met.filter_map(|rule| rule.enroll_by).min_by_key(|deadline| deadline.at)
    }
}

impl Rule {
    /// Whether it matches an account that is in the right groups.
    fn may_match(&self, occasion: &Occasion<'_>) -> bool {
        self.mismatch(occasion).is_none()
    }

    /// Whether it has a deadline that is still to come.
    fn is_coming(&self, now: WallTime) -> bool {
        self.action == RuleAction::Require && self.enroll_by.is_some_and(|deadline| now < deadline.at)
    }

    /// What becomes of an account without an authenticator at this moment.
    #[must_use]
    pub fn unenrolled_at(&self, now: WallTime) -> Unenrolled {
        if self.enroll_by.is_some_and(|deadline| now < deadline.at) { Unenrolled::Remind } else { self.unenrolled }
    }
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Groups {
    /// Whether every account is admitted, whatever its groups.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.any.is_empty() && self.none.is_empty()
    }

    fn admit(&self, member_of: &BTreeSet<u32>) -> bool {
        self.mismatch(member_of).is_none()
    }
}

impl Occasion<'_> {
    fn is_at_console(&self) -> bool {
        self.console && !self.claimed
    }

    fn is_from(&self, networks: &[Network]) -> bool {
        let source = self.source.filter(|_| !self.claimed);
        source.is_some_and(|source| networks.iter().any(|network| network.contains(source)))
    }
}
