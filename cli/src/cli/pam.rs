//! `countersign pam` on the command line. It holds no logic and needs nothing but clap, as [`crate::cli`].

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

/// Switch the second factor on and off in PAM
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Pam {
    #[command(subcommand)]
    pub(crate) action: PamAction,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum PamAction {
    Enable(PamEnable),
    Confirm(PamConfirm),
    Disable(PamDisable),
    Status(PamStatus),
    Try(PamTry),
    Revert(PamRevert),
}

/// Ask for a code in a service, or in all that share a file
///
/// Shows what changes, refuses where root or you would be locked out, tries one real login with you, asks, and then
/// changes the file as a whole, with the old one kept. With --for the change is taken back by itself unless you log in a
/// second time and confirm it. For root alone.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("where").required(true).multiple(false).args(["service", "common"])),
    after_help = "Examples:\n  \
    sudo countersign pam enable sshd --for 10m\n  \
    sudo countersign pam enable sudo\n  \
    sudo countersign pam enable --common --for 10m\n\n\
    Keep a root shell open until a login in a second window has worked."
)]
pub(crate) struct PamEnable {
    /// The PAM service: sshd, sudo, su, ...; several may be given
    pub(crate) service: Vec<String>,
    /// All services that include common-auth, by pam-auth-update
    #[arg(long)]
    pub(crate) common: bool,
    /// What comes before the code; for sshd its own settings say so
    #[arg(long, value_enum, value_name = "FACTOR", conflicts_with = "common")]
    pub(crate) first_factor: Option<FirstFactor>,
    /// Take it back after this time, 10s to 1d, unless it is confirmed
    #[arg(long = "for", value_name = "DURATION")]
    pub(crate) trial: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Do not try a login before: for programs that set up hosts
    #[arg(long)]
    pub(crate) no_try: bool,
    /// Go on although somebody would be locked out: have another way to become root open before you use it
    #[arg(long)]
    pub(crate) force: bool,
}

/// What comes before the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FirstFactor {
    /// What stands in the stack.
    #[value(help = "what the service asks for now; the code comes below it")]
    Password,
    /// sshd has proven a key.
    #[value(help = "a key that sshd has checked; the code comes in place of the password")]
    Key,
    /// Nothing.
    #[value(help = "nothing; the code comes in place of the password")]
    None,
}

/// Keep a change that was made for a time
///
/// Run it from a second login that was let in with a code: the audit must have that login of yours, at one of the services
/// that were switched on, after the change. For root alone.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    ssh gate, give the code, and there:\n  \
    sudo countersign pam confirm")]
pub(crate) struct PamConfirm {}

/// Ask for no code any more in a service, or in all that share a file
///
/// Restores the bytes of the file as they were before `pam enable`. A file that was changed by hand since then is left as
/// it is, and what to do is explained. For root alone.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("where").required(true).multiple(false).args(["service", "common"])),
    after_help = "Examples:\n  \
    sudo countersign pam disable sshd\n  \
    sudo countersign pam disable --common"
)]
pub(crate) struct PamDisable {
    /// The PAM service; several may be given
    pub(crate) service: Vec<String>,
    /// All services that include common-auth
    #[arg(long)]
    pub(crate) common: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Show which services ask for a code, and how they came to it
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo countersign pam status\n  \
    sudo countersign pam status --json\n\n\
    With --json it prints one object: services, a list of: service, asks, first_factor (whether one stands in the stack), \
    switched_on_by (tool, common, hand or null), state (kept, trial, edited or null), since (time in UTC, or null), left \
    (seconds until it is taken back, or null), and common_state, common_since and common_left, the same of --common.")]
pub(crate) struct PamStatus {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Try a login at a service through libpam
///
/// Runs the auth stack of the service as the service itself does, with the questions on this terminal, and says what came
/// of it. It counts like a login: a right code is used up, a wrong one is charged. For root alone.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    sudo countersign pam try sudo alice")]
pub(crate) struct PamTry {
    /// The PAM service
    pub(crate) service: String,
    /// The account; by default yours
    pub(crate) user: Option<String>,
    /// Take the PAM files from this folder
    #[arg(long, value_name = "FOLDER", hide = true)]
    pub(crate) folder: Option<std::path::PathBuf>,
}

/// Take back now what was made for a time and nobody confirmed in it
///
/// Run by a timer and at the boot. Somebody need not run it: `pam disable` takes back what a person wants back.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    sudo countersign pam revert")]
pub(crate) struct PamRevert {
    /// Wait until the time has come
    #[arg(long, hide = true)]
    pub(crate) wait: bool,
}
