//! Of the commands about accounts: finding them, locking them out and letting them in again.

use clap::{Args, ValueEnum};

/// List the accounts that Countersign knows
///
/// With their state, how many authenticators are active, how many recovery codes are left, the wrong codes since the
/// last login, when that was, and how many logins are remembered. A narrow terminal shows fewer columns. For administrators.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign list\n  \
    sudo countersign list --state locked\n  \
    sudo countersign list --unused-for 90d --sort last-used\n  \
    sudo countersign list --json\n\n\
    With --json it prints a list of objects: account, uid (or null), state (active, locked, disabled, \
    not-enrolled or altered), active_authenticators, inactive_authenticators, recovery_codes_left, failures, locked_for (seconds or null), last_used (time in \
    UTC, or null), remembered (how many logins), enroll_by (the day from which a second factor is needed, or null).")]
pub(crate) struct List {
    /// Only accounts in this state
    #[arg(long, value_enum, hide_possible_values = false)]
    pub(crate) state: Option<State>,
    /// Only accounts that nobody used for so long, such as 90d; those never used count
    #[arg(long, value_name = "DURATION")]
    pub(crate) unused_for: Option<String>,
    /// The order
    #[arg(long, value_enum, default_value_t = Order::Name, value_name = "BY")]
    pub(crate) sort: Order,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How an account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    /// At least one authenticator is active.
    #[value(help = "at least one authenticator is active")]
    Active,
    /// Locked for a time.
    #[value(help = "too many wrong codes: locked for a time")]
    Locked,
    /// Disabled until it is enabled.
    #[value(help = "disabled until an administrator enables it")]
    Disabled,
    /// No authenticator is active.
    #[value(help = "without an active authenticator")]
    NotEnrolled,
    /// Changed on the disk.
    #[value(help = "its record was altered on the disk")]
    Altered,
}

/// By what a list is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// By name.
    #[value(help = "by name")]
    Name,
    /// By the last login.
    #[value(help = "never used first, then the longest ago")]
    LastUsed,
    /// By failures.
    #[value(help = "most wrong codes first")]
    Failures,
}

/// Lift the lock of an account
///
/// Too many wrong codes lock an account for a time, at most 5 minutes. This ends the lock at once; the count of wrong
/// codes stays until the next login. For administrators.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    sudo countersign unlock alice")]
pub(crate) struct Unlock {
    /// The account
    pub(crate) user: String,
}

/// Accept codes of an account or authenticator again
///
/// Ends `countersign disable`, and the disabling by too many wrong codes. The count of wrong codes starts anew where the
/// account is enabled. For administrators.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign enable alice\n  \
    sudo countersign enable alice 3f9a2c01")]
pub(crate) struct Enable {
    /// The account
    pub(crate) user: String,
    /// Only this authenticator; its id, as `countersign status USER` shows it
    pub(crate) id: Option<String>,
}

/// Refuse every code of an account, or those of one authenticator
///
/// Its authenticators and recovery codes are kept, and refused until `countersign enable`. With the id of an authenticator
/// that one alone is refused: a phone that was left somewhere, for instance. Sessions that are open stay open. For
/// administrators.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign disable alice\n  \
    sudo countersign disable alice 3f9a2c01")]
pub(crate) struct Disable {
    /// The account
    pub(crate) user: String,
    /// Only this authenticator; its id, as `countersign status USER` shows it
    pub(crate) id: Option<String>,
}

/// Forget the logins that are remembered
///
/// Where a rule of the configuration remembers logins, a code is asked for again from now on: when a laptop is lost, for
/// instance. Authenticators and recovery codes stay. Everybody may do so for the own account, administrators for all.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    countersign forget\n  \
    sudo countersign forget alice")]
pub(crate) struct Forget {
    /// The account; by default your own. Under sudo it must be named
    pub(crate) user: Option<String>,
}

/// Forget everything about an account
///
/// Removes its authenticators, recovery codes and failures, for instance when a phone is lost. It cannot be undone.
/// Asks first, unless --yes is given. For administrators.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign reset alice\n  \
    sudo countersign reset alice --yes --allow-enrolment 24h")]
pub(crate) struct Reset {
    /// The account
    pub(crate) user: String,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Let the account enrol itself within this time, such as 30m, 24h or 2d
    #[arg(long, value_name = "DURATION")]
    pub(crate) allow_enrolment: Option<String>,
}

/// Forget accounts that the host does not know any more
///
/// Shows the accounts that the name service (passwd, LDAP, ...) no longer knows, asks, and removes all that is stored for
/// them. Where the name service does not answer, nothing is removed. Accounts that were imported and have not logged
/// in yet are left alone unless --imported is given. For administrators.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign prune\n  \
    sudo countersign prune --yes\n\n\
    With --yes it refuses to remove 10 or more accounts if they are more than half of all: a directory that is half \
    configured looks just like that.\n\n\
    With --json (needs --yes) it prints one object: pruned and kept (lists of accounts; kept are those that came back), \
    awaited (how many imported ones were left alone).")]
pub(crate) struct Prune {
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Also accounts that were imported and have never logged in
    #[arg(long)]
    pub(crate) imported: bool,
    /// Print JSON
    #[arg(long, requires = "yes")]
    pub(crate) json: bool,
}
