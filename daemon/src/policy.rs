//! Which rule of the policy decides about a login. The rules themselves are the verifier's; this finds out what they
//! want to know: groups from the name service, the time in the host's zone, where the login comes from.
//!
//! An origin is believed from root alone. What cannot be found out is an error, and an error refuses.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use verifier::policy::{Occasion, is_console};
use verifier::{Deadline, FactorOf, Rule, RuleAction, Unenrolled, WallTime};

use crate::accounts::{Names, NssError};
use crate::audit::Origin;
use crate::caller::Caller;
use crate::clock;
use crate::config::Config;
use crate::service::Service;

/// Nobody is asked.
pub(crate) const OBSERVED_ALL: &str = "all";
/// Some are not asked.
pub(crate) const OBSERVED_SOME: &str = "some";

/// What the policy says about one login, at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruling {
    /// The name of the rule that decides; `None` where none matches.
    pub rule: Option<String>,
    /// What happens.
    pub action: RuleAction,
    /// What becomes of an account without an authenticator now: the deadline is applied.
    pub unenrolled: Unenrolled,
    /// From then on a second factor is needed, where that is in the future.
    pub enroll_by: Option<Deadline>,
    /// For how long a granted verification is remembered; `None` for a caller other than root, and where the source
    /// is not known.
    pub remember: Option<Duration>,
    /// Whether a remembered login counts for nothing.
    pub fresh: bool,
    /// Replies that the verification takes; `None`: as the configuration says.
    pub tries: Option<u32>,
    /// Whose code is asked for.
    pub factor_of: FactorOf,
    /// Whether nobody is asked and everybody let in.
    pub observe: bool,
    /// The remote host's address, by root's word; IPv4-mapped IPv6 as IPv4. `None` where it is a name, or an address
    /// that means another host on each link.
    pub source: Option<IpAddr>,
    /// The groups that the account is in, among those on which it depended which rule decides.
    pub member_of: BTreeSet<u32>,
}

/// How a login is looked at: as rules stand at which moment, and by whose word about accounts and groups.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The moment at which times, days and deadlines are judged.
    pub(crate) at: WallTime,
    /// Who says which accounts and groups there are.
    pub(crate) names: Names,
}

impl Service {
    /// How a login is looked at that takes place now.
    pub(crate) fn view(&self) -> View {
        View { at: clock::wall(), names: Names::Asked(self.accounts().clone()) }
    }

    /// The first day on which a rule that may concern this account needs it to be enrolled; `None` where there is none
    /// to come, or where the name service does not say which rules concern it.
    pub(crate) async fn deadline_of(&self, account: &str, names: &Names) -> Option<Deadline> {
        let settings = self.settings();
        let deadlines = settings.config.policy.deadlines(account, clock::wall());
        let member_of = names.member_of(account, deadlines.groups(), settings.config.nss).await.ok()?;
        deadlines.earliest_deadline(&member_of)
    }

    /// Whether the policy, or a rule that may concern this account, asks nobody and only writes down.
    pub(crate) async fn observes(&self, account: &str) -> Option<&'static str> {
        let settings = self.settings();
        let policy = &settings.config.policy;
        if policy.observe {
            return Some(OBSERVED_ALL);
        }
        let observers = policy.observers(account);
        // Where the name service does not say, it is said too often rather than not at all.
        match self.accounts().member_of(account, observers.groups(), settings.config.nss).await {
            Ok(member_of) => observers.decide(&member_of).map(|_| OBSERVED_SOME),
            Err(_) => Some(OBSERVED_SOME),
        }
    }

    /// Whether the configuration lets this caller verify others for this service. What it says of their origin stays a
    /// claim.
    pub(crate) fn is_trusted(&self, caller: &Caller, service: &str) -> bool {
        let callers = &self.settings().config.trusted_callers;
        callers.iter().any(|trusted| trusted.uid == caller.uid && trusted.service == service)
    }
}

/// Finds the rule that decides about a login to `account`, a name that the name service knows or (`known` is false)
/// does not.
///
/// # Errors
/// Where the name service does not say in which groups the account is, and a rule depends on it. Whoever asked must
/// refuse.
pub(crate) async fn rule_for(
    config: &Config,
    view: &View,
    caller: &Caller,
    (account, known): (&str, bool),
    origin: &Origin,
) -> Result<Ruling, NssError> {
    let candidates = config.policy.candidates(&occasion(config, view.at, caller, (account, known), origin));
    let member_of = view.names.member_of(account, candidates.groups(), config.nss).await?;
    let rule = candidates.decide(&member_of);
    let mut ruling = rule.map(|rule| Ruling::of(rule, view.at)).unwrap_or_default();
    ruling.observe |= config.policy.observe;
    if caller.is_root() {
        ruling.source = address(origin).filter(|(_, zoned)| !zoned).map(|(address, _)| address);
    }
    if ruling.source.is_none() {
        ruling.remember = None;
    }
    Ok(Ruling { member_of, ..ruling })
}

/// A login as rules look at it.
pub(crate) fn occasion<'a>(
    config: &Config,
    at: WallTime,
    caller: &Caller,
    (account, known): (&'a str, bool),
    origin: &'a Origin,
) -> Occasion<'a> {
    Occasion {
        account: known.then_some(account),
        service: &origin.service,
        source: address(origin).map(|(address, _)| address),
        console: caller.is_root() && is_console(&origin.service, &origin.tty, &origin.rhost),
        claimed: origin.claimed,
        moment: config.zone.moment(at),
    }
}

impl Ruling {
    fn of(rule: &Rule, now: WallTime) -> Self {
        Self {
            rule: Some(rule.name.clone()),
            action: rule.action,
            unenrolled: rule.unenrolled_at(now),
            enroll_by: rule.enroll_by.filter(|deadline| now < deadline.at),
            remember: rule.remember,
            fresh: rule.fresh,
            tries: rule.tries,
            factor_of: rule.factor_of,
            observe: rule.observe,
            source: None,
            member_of: BTreeSet::new(),
        }
    }
}

/// The address in root's `PAM_RHOST`, and whether it has a zone ("fe80::1%eth0"), without which it means another host
/// on each link.
fn address(origin: &Origin) -> Option<(IpAddr, bool)> {
    if origin.claimed {
        return None;
    }
    let (address, zoned) = match origin.rhost.split_once('%') {
        Some((address, _)) => (address, true),
        None => (origin.rhost.as_str(), false),
    };
    let address: IpAddr = address.parse().ok()?;
    Some((address.to_canonical(), zoned))
}
