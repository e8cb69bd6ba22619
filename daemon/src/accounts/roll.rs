//! The accounts that the name service lists, with their groups, all at once: for who looks at thousands of accounts.
//! One look-up an account costs milliseconds where there are thousands of lines in /etc/passwd and /etc/group.
//!
//! A login never asks here.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Group};

use super::{Account, Accounts, NssError, for_each_entry};
use crate::caller::ConnectionKey;
use crate::config::Nss;

/// How long a roll is used: as long as it takes to look at some ten thousand accounts.
const KEPT: Duration = Duration::from_secs(10);

/// The roll that was called last, and for which connection.
pub(super) type Kept = Option<(ConnectionKey, Arc<Roll>)>;

/// What the name service listed at one moment.
#[derive(Debug)]
pub(crate) struct Roll {
    /// Uid and primary group of each account.
    accounts: HashMap<String, (u32, u32)>,
    /// The members that each group's own entry names, or why it could not be looked up.
    groups: BTreeMap<u32, Result<HashSet<String>, NssError>>,
    at: Instant,
}

/// Who says which accounts there are, and in which groups.
#[derive(Clone, Debug)]
pub(crate) enum Names {
    /// The name service, asked about each account by itself, as every login does.
    Asked(Accounts),
    /// A roll, and the name service about whoever it does not list.
    Listed(Accounts, Arc<Roll>),
}

impl Roll {
    /// Enumerates all accounts, and looks these groups up.
    fn call(groups: &BTreeSet<u32>) -> Self {
        let mut accounts = HashMap::new();
        for_each_entry(|entry, name| {
            accounts.entry(name.to_owned()).or_insert((entry.pw_uid, entry.pw_gid));
        });
        let groups = groups.iter().map(|group| (*group, members(*group))).collect();
        Self { accounts, groups, at: Instant::now() }
    }

    /// Which of these groups a listed account is in; `None` where the roll does not tell of all of them.
    fn member_of(&self, name: &str, groups: &BTreeSet<u32>) -> Option<Result<BTreeSet<u32>, NssError>> {
        let (_, primary) = self.accounts.get(name)?;
        let mut member_of = BTreeSet::new();
        for group in groups {
            let members = self.groups.get(group)?;
            match members {
                _ if group == primary => member_of.insert(*group),
                Ok(members) => members.contains(name) && member_of.insert(*group),
                Err(error) => return Some(Err(*error)),
            };
        }
        Some(Ok(member_of))
    }
}

impl Accounts {
    /// Names by the accounts that NSS lists now, or listed for this connection a few seconds ago, and the members of
    /// these groups. Whoever asks on a new connection sees what was changed meanwhile.
    ///
    /// # Errors
    /// [`NssError`] where NSS did not answer within ten times the bound of a look-up.
    pub(crate) async fn listed(
        &self,
        connection: &ConnectionKey,
        groups: BTreeSet<u32>,
        settings: Nss,
    ) -> Result<Names, NssError> {
        let mut kept = self.inner.roll.lock().await;
        let serves =
            |roll: &Roll| roll.at.elapsed() < KEPT && groups.iter().all(|group| roll.groups.contains_key(group));
        let own = kept.as_ref().filter(|(of, roll)| of == connection && serves(roll));
        let roll = match own {
            Some((_, roll)) => Arc::clone(roll),
            None => Arc::new(self.work_out(settings, move || Roll::call(&groups)).await?),
        };
        *kept = Some((connection.clone(), Arc::clone(&roll)));
        Ok(Names::Listed(self.clone(), roll))
    }
}

impl Names {
    /// As [`Accounts::resolve`].
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn resolve(&self, name: &str, settings: Nss) -> Result<Option<Account>, NssError> {
        let accounts = match self {
            Self::Asked(accounts) => accounts,
            Self::Listed(accounts, roll) => match roll.accounts.get(name) {
                Some((uid, _)) => return Ok(Some(Account { name: name.to_owned(), uid: *uid })),
                None => accounts,
            },
        };
        accounts.resolve(name, settings).await
    }

    /// As [`Accounts::member_of`].
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn member_of(
        &self,
        name: &str,
        groups: &BTreeSet<u32>,
        settings: Nss,
    ) -> Result<BTreeSet<u32>, NssError> {
        let accounts = match self {
            Self::Asked(accounts) => accounts,
            Self::Listed(accounts, roll) => match roll.member_of(name, groups) {
                Some(told) => return told,
                None => accounts,
            },
        };
        accounts.member_of(name, groups, settings).await
    }
}

/// The members that a group's own entry names.
fn members(group: u32) -> Result<HashSet<String>, NssError> {
    match Group::from_gid(Gid::from_raw(group)) {
        Ok(Some(group)) => Ok(group.mem.into_iter().collect()),
        Ok(None) => Err(NssError::NoGroup(group)),
        Err(error) => Err(NssError::Failed(error)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const ASKING: ConnectionKey = ConnectionKey::Private(1);

    async fn roll(accounts: &Accounts, of: &ConnectionKey, groups: &[u32]) -> Arc<Roll> {
        match accounts.listed(of, groups.iter().copied().collect(), Nss::default()).await {
            Ok(Names::Listed(_, roll)) => roll,
            other => unreachable!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_roll_and_the_single_look_ups_agree_about_every_account_of_the_host() {
        let accounts = Accounts::new();
        let settings = Nss::default();
        let groups: BTreeSet<u32> = (0..60).filter(|group| members(*group).is_ok()).collect();
        assert!(groups.len() > 10, "{groups:?}");
        let listed = accounts.listed(&ASKING, groups.clone(), settings).await.unwrap();
        let (asked, Names::Listed(_, roll)) = (Names::Asked(accounts), &listed) else { unreachable!() };
        assert!(roll.accounts.len() > 10);
        for name in roll.accounts.keys().map(String::as_str).chain(["no-such-account"]) {
            assert_eq!(listed.resolve(name, settings).await, asked.resolve(name, settings).await, "{name}");
            let (one, other) = (listed.member_of(name, &groups, settings), asked.member_of(name, &groups, settings));
            assert_eq!(one.await, other.await, "{name}");
        }
    }

    #[tokio::test]
    async fn a_group_that_the_roll_could_not_look_up_is_an_error_and_one_that_it_was_not_asked_for_is_asked_about() {
        let accounts = Accounts::new();
        let (gone, settings) = (4_000_000_000, Nss::default());
        let names = Names::Listed(accounts.clone(), roll(&accounts, &ASKING, &[0, gone]).await);
        assert_eq!(names.member_of("daemon", &BTreeSet::from([gone]), settings).await, Err(NssError::NoGroup(gone)));
        assert_eq!(names.member_of("daemon", &BTreeSet::from([1]), settings).await, Ok(BTreeSet::from([1])));
    }

    #[tokio::test]
    async fn a_roll_serves_one_connection_and_the_groups_that_it_was_called_for() {
        let accounts = Accounts::new();
        let first = roll(&accounts, &ASKING, &[0]).await;
        assert!(Arc::ptr_eq(&first, &roll(&accounts, &ASKING, &[0]).await));
        assert!(!Arc::ptr_eq(&first, &roll(&accounts, &ASKING, &[1]).await));
        let first = roll(&accounts, &ASKING, &[0]).await;
        assert!(!Arc::ptr_eq(&first, &roll(&accounts, &ConnectionKey::Private(2), &[0]).await));
    }
}
