//! What logins began with. A question loads, checks and opens a record; the reply that follows finds it here, so that this is
//! done once a login. The store is the database's only user ([`super::schema`]), and whatever it writes of an account
//! is forgotten here first: what is kept is what is on the disk. Secrets are open in it: they are few, soon forgotten,
//! and wiped.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::accounts::Loaded;

/// The most logins that are remembered. A reply to an older question loads its record anew.
const MOST: usize = 64;

/// How long after its question a login is forgotten.
const KEPT: Duration = Duration::from_secs(30);

/// What a name was found to have.
pub(super) enum Found {
    /// This record.
    Record(Loaded),
    /// None; the decoy that was loaded in its place.
    Decoy(Loaded),
}

/// The newest ones, the oldest first.
pub(super) struct Warm<T>(VecDeque<Begun<T>>);

struct Begun<T> {
    account: String,
    at: Instant,
    found: T,
}

impl<T> Warm<T> {
    /// Nothing.
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Keeps what an account was found to have.
    pub(super) fn keep(&mut self, account: &str, found: T) {
        self.forget(account);
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(Begun { account: account.to_owned(), at: Instant::now(), found });
    }

    /// What the account was found to have, to be worked on.
    pub(super) fn take(&mut self, account: &str) -> Option<T> {
        let place = self.0.iter().position(|begun| begun.account == account)?;
        self.0.remove(place).map(|begun| begun.found)
    }

    /// Forgets an account, which changes.
    pub(super) fn forget(&mut self, account: &str) {
        self.0.retain(|begun| begun.account != account);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Forgets what is old by now. Tells when the oldest that is left will be.
    pub(super) fn cool(&mut self, now: Instant) -> Option<Instant> {
        while let Some(oldest) = self.0.front() {
            let until = oldest.at + KEPT;
            if until > now {
                return Some(until);
            }
            self.0.pop_front();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_login_is_forgotten_after_its_time_whatever_came_since() {
        let mut warm = Warm::new();
        for name in ["alice", "bob", "alice"] {
            warm.keep(name, ());
        }
        let bob = warm.cool(Instant::now()).unwrap();
        let alice = warm.cool(bob).unwrap();
        assert!(bob <= alice && warm.take("bob").is_none() && warm.take("alice").is_some());
        assert_eq!(warm.cool(alice), None);
    }
}
