//! Which rules a login can match at all, without looking at each of thousands.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::{Network, Rule};

/// Where each rule is filed: under each of its accounts, else under each of its networks, else under each of its
/// services, else among all others. A login looks in the places where a rule for it can be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    by_account: HashMap<String, Vec<usize>>,
    by_network: HashMap<Network, Vec<usize>>,
    /// Lengths of prefixes that networks have.
    prefixes: BTreeSet<u8>,
    by_service: HashMap<String, Vec<usize>>,
    others: Vec<usize>,
}

impl Index {
    /// Files the rules by their places in the policy.
    pub(super) fn of(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (place, rule) in rules.iter().enumerate() {
            let conditions = &rule.conditions;
            if !conditions.accounts.is_empty() {
                file(&mut index.by_account, &conditions.accounts, place);
            } else if !conditions.networks.is_empty() {
                file(&mut index.by_network, &conditions.networks, place);
                index.prefixes.extend(conditions.networks.iter().map(Network::prefix));
            } else if !conditions.services.is_empty() {
                file(&mut index.by_service, &conditions.services, place);
            } else {
                index.others.push(place);
            }
        }
        index
    }

    /// The places of all rules that can match such a login, in their order. Of a network with its prefix, those for
    /// networks that hold it.
    pub(super) fn find(
        &self,
        account: Option<&str>,
        service: Option<&str>,
        source: Option<(IpAddr, u8)>,
    ) -> Vec<usize> {
        let mut found = self.others.clone();
        found.extend(account.and_then(|account| self.by_account.get(account)).into_iter().flatten());
        found.extend(service.and_then(|service| self.by_service.get(service)).into_iter().flatten());
        if let Some((address, most)) = source {
            for network in self.prefixes.range(..=most).filter_map(|prefix| Network::around(address, *prefix)) {
                found.extend(self.by_network.get(&network).into_iter().flatten());
            }
        }
        found.sort_unstable();
        // One rule may name several networks that hold the address.
        found.dedup();
        found
    }
}

fn file<'a, K: Clone + Eq + std::hash::Hash + 'a>(
    index: &mut HashMap<K, Vec<usize>>,
    keys: impl IntoIterator<Item = &'a K>,
    place: usize,
) {
    for key in keys {
        index.entry(key.clone()).or_default().push(place);
    }
}
