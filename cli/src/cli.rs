//! The command line, as clap reads it. It holds no logic and needs nothing but clap, because the makers of the
//! man page and of shell completions read it too.

mod accounts;
mod authenticators;
mod foresight;
mod import;
mod keeping;
mod pam;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use accounts::{Disable, Enable, Forget, List, Order, Prune, Reset, State, Unlock};
pub(crate) use authenticators::{
    Algorithm, Enroll, Export, Kind, RecoveryCodes, Remove, Rename, Resync, Status, Verify,
};
pub(crate) use foresight::{Config, ConfigAction, ConfigCheck, ConfigShow, Doctor, Explain, Rehearse};
pub(crate) use import::{
    Choice, Import, ImportAegis, ImportAndotp, ImportFormat, ImportFreeotp, ImportGoogleAuthenticator, ImportLines,
    ImportMigration, ImportPskc, Manner,
};
pub(crate) use keeping::{Audit, Backup, Key, KeyAction, KeyNew, KeyRotate, KeyStatus, Restore};
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
