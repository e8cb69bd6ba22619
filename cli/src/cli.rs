//! The command line, as clap reads it. It holds no logic and needs nothing but clap, because the makers of the
//! man page and of shell completions read it too.

mod documents;
mod pam;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use documents::{Choice, ImportAegis, ImportAndotp, ImportFreeotp, ImportMigration, ImportPskc};
pub(crate) use pam::{FirstFactor, Pam, PamAction, PamDisable, PamEnable, PamRevert, PamStatus, PamTry};

/// Enrols, lists and unlocks the second factors of this host.
///
/// Countersign asks for a code from a phone or a key fob wherever somebody logs in. This tool speaks to its
/// daemon, countersignd, over the system bus; the daemon decides who may do what.
#[derive(Debug, Parser)]
#[command(
    name = "countersign",
    version,
    max_term_width = 80,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 refused, 2 wrong usage, 3 the daemon cannot be reached.\n\n\
                  Each command has its own help: countersign COMMAND --help"
)]
pub(crate) struct Cli {
    /// Colours: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    #[arg(hide_possible_values = true, hide_default_value = true)]
    pub(crate) color: ColorChoice,

    /// Speak to the daemon over the bus at this D-Bus address
    #[arg(long, global = true, value_name = "ADDRESS", hide = true)]
    pub(crate) bus: Option<String>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Enroll(Enroll),
    Status(Status),
    Verify(Verify),
    RecoveryCodes(RecoveryCodes),
    Rename(Rename),
    Remove(Remove),
    List(List),
    Unlock(Unlock),
    Enable(Enable),
    Disable(Disable),
    Resync(Resync),
    Export(Export),
    Forget(Forget),
    Reset(Reset),
    Prune(Prune),
    Import(Import),
    Audit(Audit),
    Explain(Explain),
    Rehearse(Rehearse),
    Doctor(Doctor),
    Pam(Pam),
    Config(Config),
    Key(Key),
    Backup(Backup),
    Restore(Restore),
    Completions(Completions),
    /// Print the manual page countersign(1), for those who package
    #[command(hide = true)]
    Manual,
}

/// Add an authenticator: a phone app or a key fob
///
/// Shows a QR code and the key, asks for a code, and activates the authenticator only when the code is right.
/// Then it prints the recovery codes: once, so keep them in a safe place. Ctrl-C before that leaves everything as
/// it was.
///
/// Root may enrol anybody. Others may enrol themselves where the configuration allows it (`self_enrolment`). Whoever
/// has an authenticator already is asked for one of its codes first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign enroll alice --label phone\n  \
    sudo countersign enroll bob --kind hotp --digits 8\n  \
    sudo countersign enroll backup --no-confirm --json\n\n\
    With --json (needs --no-confirm) it prints one object: account, label, kind, algorithm, digits, period (seconds; \
    null for hotp), secret (base32), uri, recovery_codes (a list).")]
pub(crate) struct Enroll {
    /// The account; by default your own. Under sudo it must be named
    pub(crate) user: Option<String>,
    /// A name for the authenticator, such as "phone"
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// How codes are made: by time (totp) or by counting (hotp)
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) kind: Option<Kind>,
    /// The hash: SHA1, SHA256 or SHA512; many phone apps know SHA1 alone
    #[arg(long, value_enum, ignore_case = true, hide_possible_values = true)]
    pub(crate) algorithm: Option<Algorithm>,
    /// Digits of a code: 6, 7 or 8
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(6..=8))]
    pub(crate) digits: Option<u32>,
    /// Seconds for which a code is shown (totp): 15 to 120
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(15..=120))]
    pub(crate) period: Option<u32>,
    /// Also write the QR code to this new PNG file, which only you can read
    #[arg(long, value_name = "FILE")]
    pub(crate) qr_png: Option<std::path::PathBuf>,
    /// Activate at once, without asking for a code (root alone)
    #[arg(long)]
    pub(crate) no_confirm: bool,
    /// Print one JSON object and nothing else
    #[arg(long, requires = "no_confirm")]
    pub(crate) json: bool,
}

/// By what the codes of an authenticator change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// By time (RFC 6238).
    #[value(help = "by time: what phone apps do")]
    Totp,
    /// By counting (RFC 4226).
    #[value(help = "by counting: what many key fobs do")]
    Hotp,
}

/// The hash of an authenticator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Algorithm {
    /// HMAC-SHA-1.
    #[value(name = "SHA1")]
    Sha1,
    /// HMAC-SHA-256.
    #[value(name = "SHA256")]
    Sha256,
    /// HMAC-SHA-512.
    #[value(name = "SHA512")]
    Sha512,
}

/// Show the authenticators and recovery codes of an account
///
/// Says whether the account is active, locked or disabled, lists its authenticators without their secrets, and
/// counts the recovery codes that are left. Root may ask about anybody, others about themselves.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    countersign status\n  \
    sudo countersign status alice\n\n\
    With --json it prints one object: account, state (active, locked, disabled or not-enrolled), locked_for (seconds \
    or null), failures, recovery_codes_left, scratch_codes_left, enroll_by (the day from which a second factor is needed, or null), \
    authenticators, a list of: id, label, kind, algorithm, digits, period (seconds; null for hotp), active, suspended (waits since a restore), created, \
    last_used, expires (times in UTC, or null), clock_off (seconds its clock is ahead, or null), needs_resync, weak (a short \
    secret), remembered, a list of: service, address, since (UTC), left (seconds), and observe \
    (all, some or null: whose logins are not asked because the policy observes).")]
pub(crate) struct Status {
    /// The account; by default your own. Under sudo it must be named
    pub(crate) user: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Try a code
///
/// Asks for a code as a login does and says whether it was accepted. It counts like a login: a right code is used up,
/// a wrong one is charged. Root may try for anybody, others for themselves.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    countersign verify\n  \
    sudo countersign verify alice")]
pub(crate) struct Verify {
    /// The account; by default your own. Under sudo it must be named
    pub(crate) user: Option<String>,
}

/// Make new recovery codes; the old ones stop working
///
/// Prints the new codes once. Root may do it for anybody; others for themselves, with a code of an authenticator.
/// How many are left is shown by `countersign status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    countersign recovery-codes\n  \
    sudo countersign recovery-codes alice --yes\n\n\
    With --json (needs --yes, and root) it prints one object: account, recovery_codes (a list).")]
pub(crate) struct RecoveryCodes {
    /// The account; by default your own. Under sudo it must be named
    pub(crate) user: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print JSON
    #[arg(long, requires = "yes")]
    pub(crate) json: bool,
}

/// Give an authenticator another label
///
/// Root may do it for anybody; others for themselves, with a code of an authenticator.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    sudo countersign rename alice 3f9a2c01 \"old phone\"")]
pub(crate) struct Rename {
    /// The account
    pub(crate) user: String,
    /// The authenticator's id, as `countersign status USER` shows it
    pub(crate) id: String,
    /// Its new name, 1 to 64 characters
    pub(crate) label: String,
}

/// Remove an authenticator for good
///
/// Its codes are refused from then on. Root may do it for anybody; others for themselves, with a code of an
/// authenticator, and never the last one.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    sudo countersign remove alice 3f9a2c01")]
pub(crate) struct Remove {
    /// The account
    pub(crate) user: String,
    /// The authenticator's id, as `countersign status USER` shows it
    pub(crate) id: String,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

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

/// Find an authenticator again whose clock or counter is off
///
/// Asks for two codes that it shows directly one after the other, finds out where it stands, and allows for that from then
/// on: a clock that is off by up to 24 hours, a fob that is up to 1000 codes ahead. Both codes are used up. Codes that
/// are not found count as a wrong code. Root may do it for anybody; others for themselves, with a code of another
/// authenticator or a recovery code.
#[derive(Debug, Args)]
#[command(
    allow_missing_positional = true,
    after_help = "Examples:\n  \
    countersign resync 3f9a2c01\n  \
    sudo countersign resync alice 3f9a2c01"
)]
pub(crate) struct Resync {
    /// The account; by default your own. Under sudo it must be named
    pub(crate) user: Option<String>,
    /// The authenticator's id, as `countersign status USER` shows it
    pub(crate) id: String,
}

/// Show the key of an authenticator once more, for a new phone
///
/// Shows the QR code, the key and the address as `countersign enroll` did; of a fob with its current counter. The old device
/// goes on working, and the account is told at its next login. For root alone, and only where the configuration has
/// `export = true` below `[admin]`. Asks first, unless --yes is given. Where a new key will do, `countersign enroll` is
/// better.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign export alice 3f9a2c01\n  \
    sudo countersign export alice 3f9a2c01 --yes --uri\n\n\
    With --json (needs --yes) it prints one object: account, id, label, kind, algorithm, digits, period (seconds; null for \
    hotp), secret (base32), uri.")]
pub(crate) struct Export {
    /// The account
    pub(crate) user: String,
    /// The authenticator's id, as `countersign status USER` shows it
    pub(crate) id: String,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print the address (otpauth://...) and nothing else
    #[arg(long, conflicts_with = "json")]
    pub(crate) uri: bool,
    /// Also write the QR code to this new PNG file, which only you can read
    #[arg(long, value_name = "FILE")]
    pub(crate) qr_png: Option<std::path::PathBuf>,
    /// Print one JSON object and nothing else
    #[arg(long, requires = "yes")]
    pub(crate) json: bool,
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

/// Take over authenticators from another system
///
/// For root alone. Importing the same file twice changes nothing the second time.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Import {
    #[command(subcommand)]
    pub(crate) format: ImportFormat,
}

/// What to import.
#[derive(Debug, Subcommand)]
pub(crate) enum ImportFormat {
    /// Import otpauth:// URIs, one a line
    ///
    /// The account part of each label is the user: `otpauth://totp/Example:alice?secret=...` is for alice. Blank lines and
    /// lines that begin with # are skipped. A bad line is reported by its number and the rest goes in; exit code 1 then
    /// says that something was refused. The file holds the secrets in clear: delete it afterwards.
    ///
    /// For root alone. Importing the same file twice changes nothing the second time.
    #[command(after_help = "Examples:\n  \
        sudo countersign import otpauth accounts.txt\n  \
        gpg -d accounts.gpg | sudo countersign import otpauth -\n\n\
        With --json it prints one object: records (a list of: account, authenticator, file (or null), place, outcome \
        (added, unbound, caught-up, present, refused or left-out), remarks), applied, added, caught_up, present, unbound, \
        refused, left_out.")]
    Otpauth(ImportLines),
    Pskc(ImportPskc),
    Migration(ImportMigration),
    Aegis(ImportAegis),
    Andotp(ImportAndotp),
    Freeotp(ImportFreeotp),
    GoogleAuthenticator(ImportGoogleAuthenticator),
    /// Import the users file of pam_oath
    ///
    /// Every type is taken (HOTP, HOTP/E/8, HOTP/T30, HOTP/T60/7 and the like), several lines for an account too. A code
    /// that was used is accepted no more: the counter goes on behind it. A PIN is left out, because the password is the
    /// first factor here. Secrets of fewer than 128 bits are taken and end within a year.
    ///
    /// For root alone. Importing again changes nothing, but spends what was used with pam_oath in between.
    #[command(after_help = "Examples:\n  \
        sudo countersign import oath /etc/users.oath --dry-run\n  \
        sudo countersign import oath /etc/users.oath\n\n\
        With --json it prints one object: records (a list of: account, authenticator, file (or null), place, outcome \
        (added, unbound, caught-up, present, refused or left-out), remarks), applied, added, caught_up, present, unbound, \
        refused, left_out.")]
    Oath(ImportLines),
    /// Import a table of comma-separated values
    ///
    /// The first line names the columns, in any order: account, secret (base32) or secret_hex, kind (totp or hotp),
    /// algorithm, digits, period, counter (which hotp needs), label. Only a secret is needed besides the account; empty
    /// fields are as if absent. Blank lines and lines that begin with # are skipped.
    ///
    /// For root alone. Importing the same file twice changes nothing the second time.
    #[command(after_help = "Examples:\n  \
        sudo countersign import csv tokens.csv --dry-run\n  \
        gpg -d tokens.gpg | sudo countersign import csv -\n\n\
        With --json it prints one object: records (a list of: account, authenticator, file (or null), place, outcome \
        (added, unbound, caught-up, present, refused or left-out), remarks), applied, added, caught_up, present, unbound, \
        refused, left_out.")]
    Csv(ImportLines),
}

/// Import what google-authenticator wrote into people's homes
///
/// Reads the file below every home as the person whose home it is, follows no link, and says what would be taken;
/// with --apply it takes it. Drift, counter and the last used step are kept, so that a used code works no more, and so are
/// scratch codes, for 90 days. Secrets of fewer than 128 bits are taken and end within a year: their owners are told at
/// their logins from two months before on.
///
/// For root alone. Importing again changes nothing, but spends what was used with the old module in between: do it once
/// more right before you switch over.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign import google-authenticator\n  \
    sudo countersign import google-authenticator --apply\n  \
    sudo countersign import google-authenticator --home-glob '/export/*/*/.google_authenticator'\n  \
    sudo countersign import google-authenticator /var/lib/2fa/alice --user alice --apply\n\n\
    With --json it prints one object: records (a list of: account, authenticator, file (or null), place, outcome \
    (added, unbound, caught-up, present, refused or left-out), remarks), applied, added, caught_up, present, unbound, \
    refused, left_out.")]
pub(crate) struct ImportGoogleAuthenticator {
    /// One file instead of those below the homes
    #[arg(requires = "user")]
    pub(crate) file: Option<std::path::PathBuf>,
    /// Whose file it is
    #[arg(long, requires = "file")]
    pub(crate) user: Option<String>,
    /// Where the homes are and what the file is called in them
    #[arg(long, value_name = "PATTERN", default_value = "/home/*/.google_authenticator", conflicts_with = "file")]
    pub(crate) home_glob: String,
    /// For how long scratch codes work, such as 90d (the default); 366d at most
    #[arg(long, value_name = "TIME")]
    pub(crate) scratch_codes_for: Option<String>,
    #[command(flatten)]
    pub(crate) manner: Manner,
}

/// What the imports of files with a record a line take.
#[derive(Debug, Args)]
pub(crate) struct ImportLines {
    /// The file: root's own, that nobody else may write; - is the standard input
    pub(crate) file: std::path::PathBuf,
    #[command(flatten)]
    pub(crate) manner: Manner,
}

/// How an import is to go; the same for every format.
#[derive(Debug, Args)]
pub(crate) struct Manner {
    /// Take over what is found; google-authenticator only says what it would do without it, the others need none
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) apply: bool,
    /// Change nothing, say what would be
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// For how long secrets of fewer than 128 bits work, such as 365d (the default); 732d at most
    #[arg(long, value_name = "TIME")]
    pub(crate) renew_within: Option<String>,
    /// Print JSON, and ask nothing
    #[arg(long)]
    pub(crate) json: bool,
}

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

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    countersign completions bash > /usr/share/bash-completion/completions/countersign")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// A shell that can complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// GNU bash.
    Bash,
    /// fish.
    Fish,
    /// zsh.
    Zsh,
}
