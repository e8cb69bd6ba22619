//! Switching the second factor on and off in PAM: what changes, the way back, and who proves that logins still work. It
//! writes files of root's that decide about every login; what it reads of them may be an attacker's on a broken host.

pub(crate) mod boot;
pub(crate) mod common;
pub(crate) mod diff;
pub(crate) mod edit;
pub(crate) mod file;
pub(crate) mod ledger;
pub(crate) mod libpam;
pub(crate) mod login;
pub(crate) mod timer;
pub(crate) mod trial;
pub(crate) mod undo;
