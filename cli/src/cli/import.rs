//! Of the imports: what people ran before, other programs' files, and what is common to all.

mod documents;

use clap::{Args, Subcommand};

pub(crate) use documents::{Choice, ImportAegis, ImportAndotp, ImportFreeotp, ImportMigration, ImportPskc};

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
