//! Of the commands about an account's authenticators: enrolling one, trying it, changing it.

use clap::{Args, ValueEnum};

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
