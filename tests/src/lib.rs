//! A scratch host: real sshd, sudo, su, system bus and syslog around the real Countersign, in namespaces of
//! their own. Nothing outside of it is written, and leaving its pid namespace ends all of it.
//!
//! It needs root on the machine and trusts it. What runs inside is not trusted: files of the host are opened
//! with its root as the root, so that no link of its leads out.

#![forbid(unsafe_code)]

mod account;
mod booted;
mod builder;
mod code;
mod contract;
mod daemon;
pub mod document;
mod faults;
mod held;
mod host;
mod name_service;
mod outcome;
mod packages;
mod pam;
mod private_socket;
mod process;
mod programs;
mod random;
mod root;
mod secure_shell;
mod syslog;
mod terminal;
mod torture;
mod trace;

pub use booted::{Booted, rootfs};
pub use builder::HostBuilder;
pub use code::{Enrolment, HotpKey};
pub use contract::{Member, answers};
pub use daemon::{Daemon, Figures, wait};
pub use faults::{Fault, Faults, Injection, Seen};
pub use held::HeldLogin;
pub use host::Host;
pub use name_service::NameService;
pub use outcome::Outcome;
pub use packages::{build_debian, package};
pub use pam::{Attempt, Cycles, PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL, PAM_MAXTRIES, PAM_SUCCESS, PAM_SYSTEM_ERR, Stack};
pub use private_socket::{Verdict, VerifierClient};
pub use process::Process;
pub use programs::{driver, shipped, staged, target_directory};
pub use random::{Random, seed};
pub use syslog::Line;
pub use terminal::Dialogue;
pub use torture::{Effort, Finding, Invariant, Orders, PLANS, Plan, Played, Tally, torture};
pub use trace::Trace;
