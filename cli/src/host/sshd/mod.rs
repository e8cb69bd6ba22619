//! The SSH server: its configuration files for the lines to change, its own word (`sshd -T`) for what is in force, and
//! what that means for a second factor.

pub(crate) mod config;
pub(crate) mod judge;
pub(crate) mod probe;
