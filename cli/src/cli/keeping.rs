//! Of the commands about what is kept: the master key, backups, and the audit.

use clap::{Args, Subcommand};

/// Read the audit, or check it
///
/// Prints who logged in, who was refused and why, and what administrators did, oldest first, with times in UTC. With
/// --verify it says instead whether every record is whole and in its place, and names the first that is broken or
/// missing; with --against FILE also whether the lines that syslog was given agree, which shows records that were cut
/// from the end. For administrators.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign audit --since 2h\n  \
    sudo countersign audit --user alice --follow\n  \
    sudo countersign audit --verify\n  \
    sudo countersign audit --verify --against /var/log/auth.log\n  \
    zcat -f auth.log.*.gz | sudo countersign audit --verify --against -\n\n\
    With --json it prints one object a line: seq, at (time in UTC), event, outcome (granted, refused or note), account, \
    service, tty, rhost, origin, rule, authenticator, reason, failures, count, caller_uid, chain, line; what is absent is \
    null. With --verify --json it prints one object: finding (sound, changed, missing, cut-off, ends or contradicted), \
    record (or null), text, first, last, compared (or null).")]
pub(crate) struct Audit {
    /// Only records about this account
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Only records since then: 2h, 3d, 2026-11-20 or 2026-11-20T10:00 (UTC)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Print new records as they come, until Ctrl-C; those before only with --since
    #[arg(long)]
    pub(crate) follow: bool,
    /// Check the whole chain instead of printing it
    #[arg(long, conflicts_with_all = ["user", "since", "follow"])]
    pub(crate) verify: bool,
    /// Compare with this copy of syslog too; - is the standard input
    #[arg(long, value_name = "FILE", requires = "verify")]
    pub(crate) against: Option<std::path::PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Decide what becomes of a host that is a copy of another one
///
/// A copy has the key and the secrets of the original: whoever has one of them can compute the codes of the other, and a
/// code lets in once on each. `countersign doctor` says so where the host's machine-id is another one than that on which
/// the state was made. A copy in which nobody is enrolled gets a key of its own at its first start.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Key {
    #[command(subcommand)]
    pub(crate) action: KeyAction,
}

/// What to do with the key.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    Rotate(KeyRotate),
    Status(KeyStatus),
    New(KeyNew),
    Accept(KeyAccept),
}

/// Put a new master key in the place of the old one, and keep all accounts
///
/// Everything is sealed anew while logins go on. Where it is interrupted, even by a power cut, it goes on at the daemon's
/// next start. It helps against whoever has a copy of the old key alone. Whoever has a copy of the store with it knows
/// the secrets themselves: those accounts must be enrolled anew. For administrators.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    sudo countersign key rotate\n\n\
    A key that is a systemd credential is first put back into its file, see countersignd(8). Backups from before open \
    with their own passphrase as ever, and hold the old key.")]
pub(crate) struct KeyRotate {
    /// Do not wait until everything is sealed anew
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// Show which master key is in use, and how far a rotation is
///
/// A key is shown by its name, from which nothing of it can be computed. For administrators.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    sudo countersign key status\n\n\
    With --json it prints one object: id, source, path, accounts, and of a rotation that is under way, else null: \
    previous, resealed, refused, stopped.")]
pub(crate) struct KeyStatus {
    /// Print one JSON object and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

/// Make a new master key
///
/// The old one goes with all that it protected. It refuses where accounts are kept: their secrets were copied as well,
/// so that they must be enrolled anew, with --forget-accounts. The daemon is stopped for the moment that this takes; logins
/// wait. For root alone.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign key new\n  \
    sudo countersign key new --forget-accounts\n\n\
    Back the new key up: /var/lib/countersign/master.key. A key that is a systemd credential is replaced by hand, see \
    countersignd(8).")]
pub(crate) struct KeyNew {
    /// Forget all accounts, which must then be enrolled anew, and the audit's table
    #[arg(long)]
    pub(crate) forget_accounts: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Take the key and the accounts as this host's
///
/// Where they were moved here for good, or the host got a new machine-id. Never on a second host that goes on using
/// them: each code would let in once on each. For administrators.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    sudo countersign key accept")]
pub(crate) struct KeyAccept {}

/// Write an encrypted backup of all accounts and of the master key
///
/// Logins go on meanwhile. The file is one of the age format: a passphrase opens it, which is asked for twice. Whoever has
/// both can compute every code; without the passphrase the file is worth nothing, to you too. For root alone.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign backup /root/countersign-2026-11-22.age\n  \
    sudo countersign backup /backup/host.age --passphrase-fd 3 3< /root/passphrase")]
pub(crate) struct Backup {
    /// The file to write, which must not exist yet
    pub(crate) file: std::path::PathBuf,
    /// Read the passphrase from this file descriptor, as one line, instead of asking
    #[arg(long, value_name = "N")]
    pub(crate) passphrase_fd: Option<u32>,
}

/// Bring accounts and master key back from a backup
///
/// What was spent since the backup was made stays spent: codes by time work again after about six minutes; key fobs that
/// count, recovery and scratch codes wait until `countersign enable USER`. All authenticators are listed for review. The
/// daemon is stopped meanwhile; logins wait. A wrong passphrase, a file that was cut or altered, or one of a newer version
/// changes nothing. For root alone.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign restore /root/countersign-2026-11-22.age\n  \
    sudo countersign restore /backup/host.age --replace\n\n\
    With --replace no counter is lowered: what the accounts that are replaced have spent stays spent.")]
pub(crate) struct Restore {
    /// The backup
    pub(crate) file: std::path::PathBuf,
    /// Replace the accounts that are kept here
    #[arg(long)]
    pub(crate) replace: bool,
    /// Nothing was spent since the backup was made: a move that was planned, with nobody logging in on the old host since
    #[arg(long)]
    pub(crate) trust_counters: bool,
    /// Read the passphrase from this file descriptor, as one line, instead of asking
    #[arg(long, value_name = "N")]
    pub(crate) passphrase_fd: Option<u32>,
    /// Do not ask whether to replace
    #[arg(long)]
    pub(crate) yes: bool,
}
