//! Who sits before the tool, and in which login: for guards against mistakes. The caller is root already, so that
//! nothing here keeps anybody from anything.

use std::{collections::BTreeSet, fs};

use nix::unistd::{Uid, User, getsid};
use serde::{Deserialize, Serialize};

use super::boot;
use crate::client;

/// What stands in loginuid and sessionid where nobody has logged in (pam_loginuid(8)).
const UNSET: u32 = u32::MAX;

/// The login in which something was typed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Login {
    /// The kernel's number of it, where it counts logins.
    audit_session: Option<u32>,
    /// The process that leads the session of the terminal, and when it started.
    leader: String,
}

impl Login {
    /// The one of this process.
    pub(crate) fn here() -> Self {
        let leader = getsid(None).map_or(0, nix::unistd::Pid::as_raw);
        let started = boot::started(leader).unwrap_or_default();
        Self { audit_session: number("/proc/self/sessionid"), leader: format!("{leader} {started}") }
    }

    /// Whether both are one login. Within one, sudo and its like are asked again and again: there `within` is true, and
    /// only the terminal counts.
    pub(crate) fn is_same(&self, other: &Self, within: bool) -> bool {
        let counted = !within && self.audit_session.is_some() && self.audit_session == other.audit_session;
        counted || self.leader == other.leader
    }
}

/// The account behind the caller: who used sudo or its like, else who logged in, else who this is.
pub(crate) fn caller() -> String {
    let logged_in = || number("/proc/self/loginuid").and_then(name);
    client::sudo_caller()
        .or_else(logged_in)
        .or_else(|| name(Uid::current().as_raw()))
        .unwrap_or_else(|| "root".to_owned())
}

/// All accounts that the caller may have logged in as.
pub(crate) fn accounts() -> BTreeSet<String> {
    let mut accounts = BTreeSet::from([caller()]);
    accounts.extend(number("/proc/self/loginuid").and_then(name));
    accounts
}

fn number(path: &str) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok().filter(|number| *number != UNSET)
}

fn name(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(audit_session: Option<u32>, leader: &str) -> Login {
        Login { audit_session, leader: leader.to_owned() }
    }

    #[test]
    fn a_login_is_another_one_by_the_kernels_number_and_by_the_terminal() {
        let first = login(Some(7), "100 5");
        assert!(first.is_same(&login(Some(7), "200 9"), false));
        assert!(!first.is_same(&login(Some(7), "200 9"), true), "a second window, where sudo has asked again");
        assert!(!first.is_same(&login(Some(8), "200 9"), false));
        assert!(first.is_same(&login(None, "100 5"), true));
        assert!(!login(None, "1 1").is_same(&login(None, "2 2"), false), "where the kernel does not count");
    }
}
