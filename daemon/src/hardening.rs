//! What the process does to itself before it touches a secret.

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The daemon could not protect itself and must not start.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct HardeningError {
    what: &'static str,
    why: nix::Error,
}

/// Forbids core dumps and debuggers of the daemon's own user, and makes any panic end the process: a daemon
/// that lost a task would go on as a ghost.
///
/// # Errors
/// [`HardeningError`].
pub fn harden() -> Result<(), HardeningError> {
    prctl::set_dumpable(false).map_err(|why| HardeningError { what: "cannot forbid being dumped", why })?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|why| HardeningError { what: "cannot forbid core dumps", why })?;
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
    Ok(())
}

/// Raises the limit of open descriptors as far as the process may, and returns it.
#[must_use]
pub fn raise_descriptor_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    let wanted = hard.min(65_536).max(soft);
    match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        Ok(()) => wanted,
        Err(_) => soft,
    }
}
