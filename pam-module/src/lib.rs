//! `pam_countersign.so`: the hooks that libpam calls. The module carries questions and answers between a person
//! and `countersignd`; it decides nothing, keeps nothing, reads no file and no environment variable.
//!
//! It is loaded into sshd, sudo and screen lockers, with their privileges: it leaves no thread, descriptor,
//! signal handler or memory behind, and a panic becomes `PAM_SYSTEM_ERR`.

mod account;
mod client;
mod connection;
mod flow;
mod handle;
mod options;
mod reply;
mod text;
mod verdict;

use std::{
    mem,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use pamsm::{LogLvl, Pam, PamError, PamFlags, PamServiceModule, pam_module};

use crate::{
    client::Courier,
    flow::Login,
    handle::Handle,
    options::Options,
    verdict::{Refusal, SSHD, Verdict},
};

/// The module.
struct Countersign;

impl PamServiceModule for Countersign {
    fn authenticate(pam: Pam, flags: PamFlags, arguments: Vec<String>) -> PamError {
        guarded(&pam, || authenticate(&Handle::new(&pam), flags, &arguments))
    }

    /// Grants nothing, and so never stands in the way: a stack whose only module ignores is refused by libpam.
    fn setcred(_: Pam, _: PamFlags, _: Vec<String>) -> PamError {
        PamError::SUCCESS
    }

    /// Only where sshd's own file asks for it: whoever was not asked in `auth` is refused.
    fn acct_mgmt(pam: Pam, flags: PamFlags, arguments: Vec<String>) -> PamError {
        guarded(&pam, || account::judge(&Handle::new(&pam), flags, &arguments))
    }

    fn open_session(_: Pam, _: PamFlags, _: Vec<String>) -> PamError {
        PamError::IGNORE
    }

    fn close_session(_: Pam, _: PamFlags, _: Vec<String>) -> PamError {
        PamError::IGNORE
    }

    /// Authenticators are changed with the tool: in a `password` stack the module is a mistake, and says so.
    fn chauthtok(_: Pam, _: PamFlags, _: Vec<String>) -> PamError {
        PamError::SERVICE_ERR
    }
}

// Makes the six `pam_sm_*` symbols. The attribute `no_mangle` inside keeps the edition of pamsm, so that this
// crate can have a newer one.
pam_module!(Countersign);

/// Runs a hook; nothing unwinds into C.
///
/// The silent hook is this module's own: its copy of the standard library is linked into it and shares nothing with
/// a host that is written in Rust as well. Without it a panic would print to the terminal of sudo, after a look at
/// `RUST_BACKTRACE`.
fn guarded(pam: &Pam, hook: impl FnOnce() -> PamError) -> PamError {
    static SILENCE: Once = Once::new();
    SILENCE.call_once(|| panic::set_hook(Box::new(|_| {})));
    catch(hook).unwrap_or_else(|| {
        let log = || Handle::new(pam).log(LogLvl::CRIT, "outcome=refused reason=\"the module panicked\"");
        // Should the log panic too, the refusal stands.
        let _ = catch(log);
        PamError::SYSTEM_ERR
    })
}

/// What `hook` returns, or `None` where it panics.
fn catch<T>(hook: impl FnOnce() -> T) -> Option<T> {
    match panic::catch_unwind(AssertUnwindSafe(hook)) {
        Ok(value) => Some(value),
        Err(payload) => {
            // Dropping a payload may panic again, outside of any guard.
            mem::forget(payload);
            None
        }
    }
}

/// `pam_sm_authenticate`: arguments, name, verification, verdict.
fn authenticate(handle: &Handle<'_>, flags: PamFlags, arguments: &[String]) -> PamError {
    #[allow(clippy::panic, reason = "only in a build that a test makes to see the host survive it")]
    if cfg!(feature = "panic-for-test") {
        panic::panic_any("a test asked for it");
    }
    let mut user = String::new();
    let verdict = match prepare(handle, arguments) {
        Ok((options, login)) => {
            user.clone_from(&login.user);
            let mut courier = Courier::new(&options);
            flow::verify(handle, &mut courier, &options, flags.contains(PamFlags::SILENT), &login)
        }
        Err(refusal) => Verdict::Refused(refusal),
    };
    if let Verdict::Refused(refusal) = &verdict {
        report(handle, refusal, &user);
    }
    let service = handle.service();
    if service == SSHD {
        let let_through = matches!(verdict, Verdict::Granted | Verdict::Skipped);
        handle.remember_let_through(let_through.then_some(&user));
    }
    verdict.code(&service)
}

fn prepare(handle: &Handle<'_>, arguments: &[String]) -> Result<(Options, Login), Refusal> {
    let options = Options::parse(arguments).map_err(Refusal::BadArgument)?;
    let login = handle.login()?;
    Ok((options, login))
}

/// Delays a refusal where the daemon says so, and logs the reason of those that the daemon does not know of.
fn report(handle: &Handle<'_>, refusal: &Refusal, user: &str) {
    if let Some(delay) = refusal.fail_delay() {
        handle.fail_delay(delay);
    }
    if refusal.is_audited() {
        return;
    }
    let account = text::escaped(user.as_bytes(), 256);
    let reason = text::escaped(refusal.to_string().as_bytes(), 600);
    let service = handle.service();
    handle
        .log(LogLvl::ERR, &format!("outcome=refused account=\"{account}\" service=\"{service}\" reason=\"{reason}\""));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a panic is what is tested")]

    use super::*;

    #[test]
    fn a_panic_ends_in_the_guard() {
        assert_eq!(catch(|| 7), Some(7));
        assert_eq!(catch(|| -> i32 { panic!("on purpose") }), None);
    }

    #[test]
    fn a_panic_whose_payload_panics_when_dropped_ends_in_the_guard_too() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("on purpose, again");
            }
        }
        assert_eq!(catch(|| -> i32 { panic::panic_any(Bomb) }), None);
    }
}
