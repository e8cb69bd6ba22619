//! Source addresses: a host that fails over many accounts is refused for a time.
//!
//! The throttling of an account does not see somebody who tries one code at each of a thousand accounts. This
//! does. It lives in memory alone and in bounded space: it slows a guesser down and grants nothing.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{Now, WallTime};

/// When a source is refused, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLimits {
    /// Failures at so many different accounts refuse it; 2 to 100, default 20.
    pub accounts: usize,
    /// Within this time failures at different accounts count together; default 10 minutes.
    pub window: Duration,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self { accounts: 20, window: Duration::from_secs(600) }
    }
}

/// The address of a login's remote host, as far as it tells one host from another: IPv4 whole, IPv6 by its
/// first 64 bits, since whoever has one address of such a network has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceAddress(IpAddr);

/// What sources did lately.
pub struct Sources {
    key: [u8; 32],
    most: usize,
    failures: HashMap<SourceAddress, Vec<Failure>>,
}

/// The latest failure of a source at one account.
#[derive(Clone, Copy)]
struct Failure {
    account: [u8; 8],
    at: WallTime,
}

impl SourceAddress {
    /// Parses `PAM_RHOST`. A name is no address: it is what its owner's name server says.
    #[must_use]
    pub fn parse(rhost: &str) -> Option<Self> {
        // A zone ("fe80::1%eth0") names an interface of this host, not another host.
        let address = rhost.split_once('%').map_or(rhost, |(address, _)| address);
        let address: IpAddr = address.parse().ok()?;
        Some(Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from(network))
            }
        }))
    }
}

impl Sources {
    /// Remembers up to `most` sources; accounts are told apart by an HMAC under `key`.
    #[must_use]
    pub fn new(key: [u8; 32], most: usize) -> Self {
        Self { key, most, failures: HashMap::new() }
    }

    /// How long this source is still refused; `None` where it is not.
    #[must_use]
    pub fn refused_for(&self, source: SourceAddress, now: &Now, limits: &SourceLimits) -> Option<Duration> {
        let failures = self.failures.get(&source)?;
        let mut left: Vec<Duration> = failures.iter().filter_map(|failure| failure.counts_for(now, limits)).collect();
        left.sort_unstable();
        // It is free again when the oldest of the last failures that refuse it no longer counts.
        left.len().checked_sub(limits.accounts).and_then(|oldest| left.get(oldest)).copied()
    }

    /// Charges a failure at `account` to its source.
    pub fn charge(&mut self, source: SourceAddress, account: &str, now: &Now, limits: &SourceLimits) {
        let account = self.fingerprint(account);
        if !self.failures.contains_key(&source) && self.failures.len() >= self.most {
            self.make_room(now, limits);
        }
        let failures = self.failures.entry(source).or_default();
        failures.retain(|failure| failure.account != account && failure.counts_for(now, limits).is_some());
        let surplus = (failures.len() + 1).saturating_sub(limits.accounts);
        failures.drain(..surplus);
        failures.push(Failure { account, at: now.wall });
    }

    /// Forgets sources that no longer count, or else the one that failed at the fewest accounts.
    fn make_room(&mut self, now: &Now, limits: &SourceLimits) {
        self.failures.retain(|_, failures| failures.iter().any(|failure| failure.counts_for(now, limits).is_some()));
        if self.failures.len() < self.most {
            return;
        }
        let least = self.failures.iter().min_by_key(|(_, failures)| failures.len()).map(|(source, _)| *source);
        if let Some(source) = least {
            self.failures.remove(&source);
        }
    }

    fn fingerprint(&self, account: &str) -> [u8; 8] {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return [0; 8] };
        mac.update(account.as_bytes());
        let mut fingerprint = [0; 8];
        for (to, from) in fingerprint.iter_mut().zip(mac.finalize().into_bytes()) {
            *to = from;
        }
        fingerprint
    }
}

impl Failure {
    /// For how long this failure still counts. One that lies in the future, after the clock was turned back,
    /// no longer does: a source is never refused for longer than the window.
    fn counts_for(&self, now: &Now, limits: &SourceLimits) -> Option<Duration> {
        limits.window.checked_sub(now.wall.since(self.at)?).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const USUAL: SourceLimits = SourceLimits { accounts: 20, window: Duration::from_secs(600) };

    fn at(seconds: u64) -> Now {
        Now { wall: WallTime::from_seconds(seconds), ..Now::default() }
    }

    fn source(text: &str) -> SourceAddress {
        SourceAddress::parse(text).unwrap()
    }

    #[test]
    fn a_host_that_fails_over_many_accounts_is_refused_until_the_window_has_passed() {
        let mut sources = Sources::new([7; 32], 64);
        let attacker = source("198.51.100.7");
        for n in 0..USUAL.accounts {
            assert_eq!(sources.refused_for(attacker, &at(1000), &USUAL), None, "{n}");
            sources.charge(attacker, &format!("user{n}"), &at(1000 + n as u64), &USUAL);
        }
        assert_eq!(sources.refused_for(attacker, &at(1019), &USUAL), Some(Duration::from_secs(581)));
        assert_eq!(sources.refused_for(source("198.51.100.8"), &at(1019), &USUAL), None);
        assert_eq!(sources.refused_for(attacker, &at(1600), &USUAL), None);
    }

    #[test]
    fn other_limits_refuse_earlier_and_for_longer_and_hold_for_what_was_charged_before() {
        let strict = SourceLimits { accounts: 2, window: Duration::from_secs(3600) };
        let mut sources = Sources::new([7; 32], 64);
        let attacker = source("198.51.100.7");
        for account in ["a", "b", "c"] {
            sources.charge(attacker, account, &at(1000), &USUAL);
        }
        assert_eq!(sources.refused_for(attacker, &at(1100), &USUAL), None);
        assert_eq!(sources.refused_for(attacker, &at(1100), &strict), Some(Duration::from_secs(3500)));
        sources.charge(attacker, "d", &at(1100), &strict);
        assert_eq!(sources.failures.get(&attacker).map(Vec::len), Some(2));
    }

    #[test]
    fn one_person_who_mistypes_often_is_left_to_the_throttling_of_the_account() {
        let mut sources = Sources::new([7; 32], 64);
        for second in 0..500 {
            sources.charge(source("192.0.2.1"), "alice", &at(second), &USUAL);
        }
        assert_eq!(sources.refused_for(source("192.0.2.1"), &at(500), &USUAL), None);
    }

    #[test]
    fn addresses_are_parsed_and_names_are_not() {
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_eq!(source("2001:db8:0:1::1"), source("2001:db8:0:1:ffff::2"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8:0:2::1"));
        assert_eq!(source("fe80::1%eth0"), source("fe80::2"));
        for name in ["", "localhost", "host.example", "192.0.2.1.example", "10.0.0.0/8", "192.0.2.1 ", "%eth0"] {
            assert_eq!(SourceAddress::parse(name), None, "{name:?}");
        }
    }

    #[test]
    fn any_number_of_sources_takes_bounded_memory_and_keeps_the_worst() {
        let mut sources = Sources::new([7; 32], 64);
        let attacker = source("198.51.100.7");
        for n in 0..USUAL.accounts {
            sources.charge(attacker, &format!("user{n}"), &at(1000), &USUAL);
        }
        for n in 0..10_000_u32 {
            sources.charge(SourceAddress(IpAddr::V4(n.into())), "alice", &at(1000), &USUAL);
        }
        assert!(sources.failures.len() <= 64);
        assert!(sources.refused_for(attacker, &at(1000), &USUAL).is_some());
    }

    #[test]
    fn a_host_that_goes_on_failing_is_refused_for_its_latest_failures_and_forgotten_after_the_window() {
        let mut sources = Sources::new([7; 32], 2);
        let attacker = source("198.51.100.7");
        for n in 0..USUAL.accounts + 5 {
            sources.charge(attacker, &format!("user{n}"), &at(1000 + n as u64), &USUAL);
        }
        // The oldest of the last 20 failures is that of second 1005.
        assert_eq!(sources.refused_for(attacker, &at(1024), &USUAL), Some(Duration::from_secs(581)));
        assert_eq!(sources.failures.get(&attacker).unwrap().len(), USUAL.accounts);
        sources.charge(source("192.0.2.1"), "alice", &at(1024), &USUAL);
        // What no longer counts makes room for others before anybody is forgotten who still does.
        sources.charge(source("192.0.2.2"), "alice", &at(1700), &USUAL);
        assert_eq!(sources.failures.len(), 1);
    }

    #[test]
    fn a_clock_that_is_turned_back_refuses_nobody_for_longer() {
        let mut sources = Sources::new([7; 32], 64);
        for n in 0..USUAL.accounts {
            sources.charge(source("192.0.2.1"), &format!("user{n}"), &at(100_000), &USUAL);
        }
        assert_eq!(sources.refused_for(source("192.0.2.1"), &at(1000), &USUAL), None);
    }
}
