//! The account phase of sshd (`account required pam_countersign.so require_auth` in its own file): sshd runs no `auth` stack
//! for a key, a ticket or a trusted host alone. Whoever was let through by `auth` of this module in the same PAM transaction
//! passes; about everybody else the daemon decides by its policy, and no code is asked for.
//!
//! For keyboard-interactive sshd runs `auth` and `account` in one process on one PAM handle, and for passwords both in
//! its monitor (OpenSSH, `auth-pam.c`, `sshpam_thread`, `sshpam_auth_passwd`, `do_pam_account`), so that what `auth`
//! remembers is there. Where another version did otherwise, it would be missing, and missing refuses.

use dbus_api::{Action, Step};
use pamsm::{LogLvl, PamError, PamFlags};

use crate::{
    client::Courier,
    flow::{self, Handle as _, Login},
    handle::Handle,
    options::Options,
    report,
    verdict::{Refusal, SSHD},
};

/// `pam_sm_acct_mgmt`. It grants nothing: what it does not refuse is for the other account modules to decide.
pub(crate) fn judge(handle: &Handle<'_>, flags: PamFlags, arguments: &[String]) -> PamError {
    let options = match Options::parse(arguments) {
        Ok(options) if !options.require_auth => return PamError::IGNORE,
        Ok(options) => options,
        Err(mistake) => return refused(handle, &Refusal::BadArgument(mistake), ""),
    };
    if handle.service() != SSHD {
        handle.log(LogLvl::WARNING, "require_auth counts in the file of sshd alone: nothing is required here");
        return PamError::IGNORE;
    }
    let login = match handle.login() {
        Ok(login) => login,
        Err(refusal) => return refused(handle, &refusal, ""),
    };
    if handle.was_let_through(&login.user) {
        return PamError::IGNORE;
    }
    match unasked(handle, &options, flags.contains(PamFlags::SILENT), &login) {
        Ok(()) => PamError::IGNORE,
        Err(refusal) => refused(handle, &refusal, &login.user),
    }
}

/// Asks the daemon whether the policy wants no second factor of this login.
fn unasked(handle: &Handle<'_>, options: &Options, silent: bool, login: &Login) -> Result<(), Refusal> {
    let answered = Courier::new(options).unasked(&login.user, &login.origin);
    let step = answered.map_err(|failure| failure.refusal(options))?;
    show(handle, &step, silent || options.quiet);
    match step.action() {
        Some(Action::Skipped) => Ok(()),
        Some(_) => Err(Refusal::denied(&step.details)),
        None => Err(Refusal::UnknownAction(step.action)),
    }
}

/// What is said holds whether or not sshd shows it.
fn show(handle: &Handle<'_>, step: &Step, quiet: bool) {
    for message in flow::messages(step, quiet) {
        if handle.converse(&[message]).is_err() {
            handle.debug("the host showed no message");
        }
    }
}

/// `pam_acct_mgmt(3)` knows one code for "not allowed"; a mistake in the PAM file has its own.
fn refused(handle: &Handle<'_>, refusal: &Refusal, user: &str) -> PamError {
    report(handle, refusal, user);
    match refusal {
        Refusal::BadArgument(_) => PamError::SERVICE_ERR,
        _ => PamError::PERM_DENIED,
    }
}
