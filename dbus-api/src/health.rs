//! `Health`: how the daemon is, by its own word.

use zbus::{DeserializeDict, SerializeDict, Type};

/// How the daemon is. What it cannot tell is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct Health {
    /// Its version.
    pub version: String,
    /// Where the master key came from: `credential` or `file`.
    pub key: Option<String>,
    /// Its state directory.
    pub state: Option<String>,
    /// The private socket that it was told to listen at. Where the service manager hands one over, that one's path
    /// is the unit's to say.
    pub socket: Option<String>,
    /// The size of the store in bytes, its write-ahead log not counted; absent where the store does not answer.
    pub store_size: Option<u64>,
    /// `ok`, or what SQLite's quick check found first; absent where the store does not answer or is too large to be
    /// checked between logins.
    pub store_integrity: Option<String>,
    /// What is free for the store on its file system, in bytes.
    pub free: Option<u64>,
    /// By how many seconds the clock is behind the newest record of the audit; absent where it is not, or by two
    /// minutes at most, which codes by time allow for.
    pub clock_behind: Option<u64>,
    /// What the configuration in force warns of.
    pub warnings: Vec<String>,
    /// Whether nobody is asked by any rule, and only written down what would have happened.
    pub observe: Option<bool>,
    /// Whether the state was made, or accepted by an administrator, on this host (machine-id(5)); absent where the
    /// host has no machine-id.
    pub at_home: Option<bool>,
    /// Rules that ask nobody and only write down what would have happened.
    pub observing_rules: Option<Vec<String>>,
    /// The PAM services in whose logins a rule may make people enrol; `*`: in those of all.
    pub enrolling_services: Option<Vec<String>>,
}
