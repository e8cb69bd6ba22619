//! The arguments of the imports that read a whole file of another program: key fobs' seed files and apps' exports.

use std::path::PathBuf;

use clap::Args;

use super::Manner;

/// Import a key fob vendor's seed file (PSKC, RFC 6030)
///
/// Reads XML in clear, encrypted with a pre-shared key (AES-CBC), or with a passphrase (PBKDF2), which is asked for. Each
/// fob goes to the account that --assign or --assign-from names for its serial number, else to the user whom the file
/// names; one that is nobody's is left out, and can be imported later from the same file. Whatever is encrypted must
/// authenticate. A signature is not checked.
///
/// For root alone. Importing the same file twice changes nothing the second time.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign import pskc fobs.xml --assign 1000133508267=alice\n  \
    sudo countersign import pskc fobs.xml --assign-from people.csv --key-file key\n\n\
    With --json it prints one object: records (a list of: account, authenticator, file (or null), place, outcome \
    (added, unbound, caught-up, present, refused or left-out), remarks), applied, added, caught_up, present, unbound, \
    refused, left_out.")]
pub(crate) struct ImportPskc {
    /// The file: root's own, that nobody else may write; - is the standard input
    pub(crate) file: PathBuf,
    /// Give the fob with this serial number to this account; may be given several times
    #[arg(long, value_name = "SERIAL=USER")]
    pub(crate) assign: Vec<String>,
    /// Read such pairs from this CSV file, one a line: SERIAL,USER
    #[arg(long, value_name = "CSV")]
    pub(crate) assign_from: Option<PathBuf>,
    /// Give every fob of the file that nothing else assigns to this account
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// A file with the pre-shared key (hexadecimal digits, or its 16, 24 or 32 bytes) or with the passphrase
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) manner: Manner,
}

/// Import an export of Google Authenticator: screenshots of its QR codes, or their text
///
/// Takes PNG pictures, or files with the otpauth-migration:// URIs that the codes hold, one a line. A URI holds the
/// secrets and is therefore never an argument: the arguments of a program are for everybody on the host to see. Where an
/// export has several codes, name the pictures of all.
///
/// An app holds the authenticators of many services: --issuer chooses those of one. Without --user the account is what
/// the entry is called.
///
/// For root alone. Importing the same file twice changes nothing the second time.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign import migration export.png --user alice --issuer gate\n  \
    zbarimg -q --raw export.png | sudo countersign import migration -\n\n\
    With --json it prints one object: records (a list of: account, authenticator, file (or null), place, outcome \
    (added, unbound, caught-up, present, refused or left-out), remarks), applied, added, caught_up, present, unbound, \
    refused, left_out.")]
pub(crate) struct ImportMigration {
    /// PNG pictures or text files: root's own, that nobody else may write; - is the standard input
    #[arg(required = true)]
    pub(crate) file: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) choice: Choice,
    #[command(flatten)]
    pub(crate) manner: Manner,
}

/// Import a vault of Aegis, plain or encrypted
///
/// The passphrase of an encrypted vault is asked for, or read from the file of --key-file: the first line. A vault that
/// only a fingerprint opens must be exported with a passphrase, or in clear.
///
/// An app holds the authenticators of many services: --issuer chooses those of one. Without --user the account is what
/// the entry is called.
///
/// For root alone. Importing the same file twice changes nothing the second time.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign import aegis aegis-backup.json --user alice --issuer gate\n\n\
    With --json it prints one object: records (a list of: account, authenticator, file (or null), place, outcome \
    (added, unbound, caught-up, present, refused or left-out), remarks), applied, added, caught_up, present, unbound, \
    refused, left_out.")]
pub(crate) struct ImportAegis {
    /// The vault: root's own, that nobody else may write; - is the standard input
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// A file whose first line is the passphrase
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) manner: Manner,
}

/// Import a backup of andOTP in clear
///
/// Its encrypted backups are not read: save one in clear, in the app, and delete it afterwards.
///
/// An app holds the authenticators of many services: --issuer chooses those of one. Without --user the account is what
/// the entry is called.
///
/// For root alone. Importing the same file twice changes nothing the second time.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign import andotp otp_accounts.json --user alice --issuer gate\n\n\
    With --json it prints one object: records (a list of: account, authenticator, file (or null), place, outcome \
    (added, unbound, caught-up, present, refused or left-out), remarks), applied, added, caught_up, present, unbound, \
    refused, left_out.")]
pub(crate) struct ImportAndotp {
    /// The backup: root's own, that nobody else may write; - is the standard input
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) choice: Choice,
    #[command(flatten)]
    pub(crate) manner: Manner,
}

/// Import what FreeOTP+ exports as JSON, or the tokens.xml of FreeOTP 1
///
/// Encrypted backups of FreeOTP 2 are not read: FreeOTP+ exports in clear. Delete the file afterwards.
///
/// An app holds the authenticators of many services: --issuer chooses those of one. Without --user the account is what
/// the entry is called.
///
/// For root alone. Importing the same file twice changes nothing the second time.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign import freeotp freeotp-backup.json --user alice --issuer gate\n\n\
    With --json it prints one object: records (a list of: account, authenticator, file (or null), place, outcome \
    (added, unbound, caught-up, present, refused or left-out), remarks), applied, added, caught_up, present, unbound, \
    refused, left_out.")]
pub(crate) struct ImportFreeotp {
    /// The file: root's own, that nobody else may write; - is the standard input
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) choice: Choice,
    #[command(flatten)]
    pub(crate) manner: Manner,
}

/// Which entries of an app are meant, and whose they are.
#[derive(Debug, Args)]
pub(crate) struct Choice {
    /// The account that all of them are for
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Only the entries of this issuer, in whatever case
    #[arg(long)]
    pub(crate) issuer: Option<String>,
}
