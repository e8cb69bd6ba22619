//! What logins began with. A question loads, checks and opens a record; the reply that follows finds it here, so that this is
//! done once a login. The store is the database's only user ([`super::schema`]), and whatever it writes of an account
//! is forgotten here first: what is kept is what is on the disk. Secrets are open in it: they are few, soon forgotten,
//! and wiped.

use std::collections::VecDeque;
use std::time::Duration;

use super::accounts::Loaded;

/// The most logins that are remembered. A reply to an older question loads its record anew.
const MOST: usize = 64;

/// How long after the last work of the store everything is forgotten.
pub(super) const KEPT: Duration = Duration::from_secs(30);

/// What a name was found to have.
pub(super) enum Found {
    /// This record.
    Record(Loaded),
    /// None; the decoy that was loaded in its place.
    Decoy(Loaded),
}

/// The newest ones, the oldest first.
#[derive(Default)]
pub(super) struct Warm(VecDeque<(String, Found)>);

impl Warm {
    /// Keeps what an account was found to have.
    pub(super) fn keep(&mut self, account: &str, found: Found) {
        self.forget(account);
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back((account.to_owned(), found));
    }

    /// What the account was found to have, to be worked on.
    pub(super) fn take(&mut self, account: &str) -> Option<Found> {
        let place = self.0.iter().position(|(kept, _)| kept == account)?;
        self.0.remove(place).map(|(_, found)| found)
    }

    /// Forgets an account, which changes.
    pub(super) fn forget(&mut self, account: &str) {
        self.0.retain(|(kept, _)| kept != account);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
