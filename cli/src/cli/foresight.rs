//! Of the commands that tell what a login would be, and what stands in its way.

use clap::{Args, Subcommand};

/// Say what would become of a login, and why
///
/// Which rule decides, why those before it do not, what the person would see, and whether they could get in now. The
/// daemon goes the way of a login up to its first question; nothing is charged, spent or written down. A login is looked
/// at as a service of root's describes it, such as sshd. For administrators.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign explain alice --service sshd --rhost 192.0.2.7\n  \
    sudo countersign explain alice --service sshd --at 2027-01-31T08:00\n  \
    sudo countersign explain root --service login --tty tty1\n  \
    sudo countersign explain alice --service su --ruser bob\n\n\
    Exit codes: 0 let in after a right code or without one, 1 refused.\n\n\
    With --json it prints one object: account, uid (or null), service, tty, rhost, ruser (as given, or null), claimed, at \
    (UTC), outcome (asked, skipped, reminded, passed, enrols, remembered or refused), let_in, asked, observe, reason, \
    rule, rule_origin (FILE:LINE), passed_over, a list of: rule, origin, condition, why; shown (a list), tries, code_of, \
    authenticators, recovery_codes_left, retry_after, remembered_for (seconds), enroll_by; what is absent is null.")]
pub(crate) struct Explain {
    /// The account
    pub(crate) user: String,
    /// The PAM service, such as sshd or sudo
    #[arg(long)]
    pub(crate) service: String,
    /// The remote host's address, as sshd reports it (PAM_RHOST)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) rhost: Option<String>,
    /// The terminal (PAM_TTY), such as tty1
    #[arg(long)]
    pub(crate) tty: Option<String>,
    /// Who asks for the login (PAM_RUSER), as su tells it
    #[arg(long, value_name = "USER")]
    pub(crate) ruser: Option<String>,
    /// Judge times, days and deadlines at this moment, such as 2027-01-31 or 2027-01-31T08:00, in the host's zone
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// As a program asks that runs as the account itself, such as a screen locker
    #[arg(long)]
    pub(crate) claimed: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Say who would be asked, let in and refused at a service
///
/// Looks at all accounts that can log in: those with a shell that runs. It shows who would be asked for a code, skipped,
/// reminded, made to enrol and refused, and why, as `countersign explain` does for one. Accounts without a password
/// count, because a key may let them in. Where the name service does not list its accounts (sssd), name them by
/// --accounts. For administrators.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign rehearse --service sshd\n  \
    sudo countersign rehearse --service sshd --group staff --at 2027-01-31\n  \
    ldapsearch ... | sudo countersign rehearse --service sshd --accounts -\n\n\
    Exit codes: 0 neither root nor anybody who may use sudo would be refused, 1 somebody of them would be.\n\n\
    With --json it prints one object: service, rhost, at (as given, or null), accounts, a list of: account, outcome (asked, \
    skipped, reminded, passed, enrols, remembered or refused), let_in, observe, reason, rule, administrator, password \
    (set, locked, empty or null); summary, a list of: outcome, accounts (how many); administrators_refused \
    (a list), unlisted (sources of accounts that list none).")]
pub(crate) struct Rehearse {
    /// The PAM service, such as sshd or sudo
    #[arg(long)]
    pub(crate) service: String,
    /// The remote host's address (PAM_RHOST)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) rhost: Option<String>,
    /// Judge times, days and deadlines at this moment, such as 2027-01-31 or 2027-01-31T08:00, in the host's zone
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// Only accounts in this group
    #[arg(long)]
    pub(crate) group: Option<String>,
    /// These accounts, one a line, whatever their shells; - is the standard input
    #[arg(long, value_name = "FILE", conflicts_with = "group")]
    pub(crate) accounts: Option<std::path::PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Look for what locks somebody out or lets somebody in
///
/// Reads PAM's stacks, sshd's settings, owners and modes, the clock and the daemon's own word, and judges them: is a
/// code asked for, can it be skipped, can whoever has one get in, is there a way back? Each finding says what is wrong,
/// why it matters and what to change. Nothing is changed. Run it as root: others cannot read much of it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign doctor\n  \
    sudo countersign doctor --service sshd --service sudo\n\n\
    Exit codes: 0 all is well, 1 warnings, 2 somebody could be locked out or let in.\n\n\
    With --json it prints one object: verdict (fine, warning or danger), findings, a list of: name, area, level \
    (note, warning or danger), what, why, file, line, change (or null), and sound, a list of: area, what.")]
pub(crate) struct Doctor {
    /// Judge this PAM service, which should ask for a code; may be given several times
    #[arg(long, value_name = "SERVICE")]
    pub(crate) service: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Check a configuration, or show the one in force
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) action: ConfigAction,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigAction {
    Check(ConfigCheck),
    Show(ConfigShow),
}

/// Say whether a configuration is right
///
/// Names line, rule and key of what is wrong, and what is allowed there, and warns of what was hardly meant: a rule that
/// never decides, a group without members. The rules in conf.d beside the file are read with it. Nothing is put in force,
/// and no daemon need run.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    countersign config check\n  \
    countersign config check ./countersign.toml\n\n\
    With --json it prints one object: ok, error (or null), warnings (a list).")]
pub(crate) struct ConfigCheck {
    /// The file; by default /etc/countersign/countersign.toml
    pub(crate) file: Option<std::path::PathBuf>,
    /// Run this program of the daemon
    #[arg(long, value_name = "PATH", hide = true)]
    pub(crate) daemon: Option<std::path::PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show the settings in force and where they come from
///
/// As the running daemon has them: a file that was changed since counts only after a reload. For administrators.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign config show\n  \
    sudo countersign config show --json\n\n\
    With --json it prints a list of objects: key, value, origin (FILE:LINE or default).")]
pub(crate) struct ConfigShow {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
