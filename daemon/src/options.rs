//! The daemon's command line. It holds no secret and no policy.

use std::path::PathBuf;

use clap::Parser;

/// countersignd holds the secrets of all second factors sealed, decides about every login, locks out and
/// writes the audit. It is started by systemd (countersignd.service).
#[derive(Clone, Debug, Parser)]
#[command(name = "countersignd", version)]
pub struct Options {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = crate::config::DEFAULT_PATH)]
    pub config: PathBuf,
    /// Say whether the configuration is right, and end: 0 if it is, 1 if not.
    #[arg(long)]
    pub check_config: bool,
    /// Make a new master key, and end: 0 if it was made or none is needed, 1 if not. Refuses where accounts are kept, and
    /// while a daemon works with the state.
    #[arg(long, conflicts_with = "check_config")]
    pub new_key: bool,
    /// With --new-key: forget all accounts, instead of refusing.
    #[arg(long, requires = "new_key")]
    pub forget_accounts: bool,
    /// Take the state from a backup that `countersign restore` has decrypted to standard input, and end: 0 if it was done.
    /// Prints the authenticators that came back. Refuses where accounts are kept, and while a daemon works with the state.
    #[arg(long, conflicts_with_all = ["check_config", "new_key"])]
    pub restore: bool,
    /// With --restore: replace the accounts that are kept, instead of refusing.
    #[arg(long, requires = "restore")]
    pub replace: bool,
    /// With --restore: nothing was spent since the backup was made.
    #[arg(long, requires = "restore")]
    pub trust_counters: bool,
    /// With --restore: wait up to 30 s for a daemon that is being stopped. The first line on standard output says whether
    /// that is needed (`waits`) or not (`alone`).
    #[arg(long, requires = "restore")]
    pub wait: bool,
    /// The directory of the store and the key: mode 0700, owned by the daemon's user.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/countersign")]
    pub state: PathBuf,
    /// The address of the system bus.
    #[arg(long, value_name = "ADDRESS", default_value = dbus_api::SYSTEM_BUS)]
    pub bus: String,
    /// The private D-Bus socket, unless the service manager hands one over.
    #[arg(long, value_name = "PATH", default_value = dbus_api::PRIVATE_SOCKET)]
    pub socket: PathBuf,
}
