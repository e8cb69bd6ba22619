//! Logins, and whether the daemon lived through the whole of each.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::Result;
use dbus_api::Denial;

use super::{
    Invariant,
    scene::{self, first_line},
};

use crate::{Host, PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL, PAM_MAXTRIES, PAM_SUCCESS, Verdict, wait};

/// The service at which all of them log in.
const SERVICE: &str = "door";

/// No login takes longer: the module's `timeout` is 10 s, and a busy machine needs some more.
const PATIENCE: Duration = Duration::from_secs(14);

/// The way to a daemon that is killed and started.
pub(super) struct Gate<'host> {
    host: &'host Host,
    /// Odd while the daemon is dead or starting; a login during which it stays even was undisturbed.
    closings: AtomicU64,
}

/// How somebody logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// At a PAM service, by a process of its own.
    Pam,
    /// Over the private socket, as fast as the daemon can.
    Socket,
}

/// What became of a right code that nobody had presented before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fresh {
    /// It let in.
    LetIn,
    /// It is spent, but the daemon died before the answer arrived.
    Lost,
}

impl<'host> Gate<'host> {
    pub(super) const fn new(host: &'host Host) -> Self {
        Self { host, closings: AtomicU64::new(0) }
    }

    /// Does what leaves no daemon for a while.
    pub(super) fn closed_while(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        self.closings.fetch_add(1, Ordering::SeqCst);
        let done = work();
        self.closings.fetch_add(1, Ordering::SeqCst);
        done
    }

    /// Starts the daemon, which nothing keeps from it.
    pub(super) fn open_again(&self) -> Result<()> {
        self.host.start_daemon().map_err(|error| Invariant::NotOpening.broken(first_line(&error)))
    }

    /// Presents a right code for the first time. While the daemon lives it lets in; where it died meanwhile, the
    /// first try after that lets in or finds the code spent.
    pub(super) fn present(&self, way: Way, user: &str, code: &str) -> Result<Fresh> {
        let mut disturbed = false;
        loop {
            let (result, undisturbed) = self.attempt(way, user, code)?;
            disturbed |= !undisturbed;
            match result {
                PAM_SUCCESS => return Ok(Fresh::LetIn),
                PAM_AUTH_ERR if disturbed => return Ok(Fresh::Lost),
                PAM_AUTHINFO_UNAVAIL if !undisturbed => self.wait_until_open()?,
                _ => {
                    let of = if undisturbed { "from a daemon that lives" } else { "after a disturbance" };
                    return Err(Invariant::RightCodeRefused.broken(format!("{user}'s right code got {result} {of}")));
                }
            }
        }
    }

    /// Presents a spent code again, which is refused.
    pub(super) fn present_again(&self, way: Way, user: &str, code: &str) -> Result<()> {
        loop {
            match self.attempt(way, user, code)? {
                (PAM_AUTH_ERR, _) => return Ok(()),
                (PAM_AUTHINFO_UNAVAIL, false) => self.wait_until_open()?,
                (PAM_SUCCESS, _) => {
                    return Err(Invariant::CodeTwice.broken(format!("a code of {user} let in twice")));
                }
                (result, _) => {
                    return Err(Invariant::RightCodeCharged.broken(format!("a spent code of {user} got {result}")));
                }
            }
        }
    }

    /// One login, and whether the daemon lived all the time.
    fn attempt(&self, way: Way, user: &str, code: &str) -> Result<(i32, bool)> {
        let before = self.closings.load(Ordering::SeqCst);
        let result = match way {
            Way::Pam => {
                let attempt = self.host.attempt(SERVICE, user, &[code])?;
                Invariant::HeldUp.holds(attempt.took < PATIENCE, || format!("{user} waited: {attempt:?}"))?;
                attempt.result
            }
            Way::Socket => self.by_socket(user, code),
        };
        let undisturbed = before.is_multiple_of(2) && before == self.closings.load(Ordering::SeqCst);
        Ok((result, undisturbed))
    }

    /// What the module would make of the daemon's answer.
    fn by_socket(&self, user: &str, code: &str) -> i32 {
        match scene::verify(self.host, user, code) {
            Verdict::Granted => PAM_SUCCESS,
            Verdict::Denied(Denial::Refused, _) => PAM_AUTH_ERR,
            Verdict::Denied(Denial::Unavailable, _) | Verdict::Refused(_) => PAM_AUTHINFO_UNAVAIL,
            Verdict::Denied(..) => PAM_MAXTRIES,
        }
    }

    fn wait_until_open(&self) -> Result<()> {
        wait("a daemon", || Ok(self.closings.load(Ordering::SeqCst).is_multiple_of(2).then_some(())))
    }
}
