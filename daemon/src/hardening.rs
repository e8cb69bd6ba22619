//! What the process does to itself: before it touches a secret, and once it serves.

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

/// Gives back the pages of the program's code: the kernel maps nearly all of them around the few that starting, or a
/// login, touches. It maps a page again when it is wanted (madvise(2), `MADV_DONTNEED` on a file mapping).
#[allow(unsafe_code, reason = "the bounds of the program's code are the linker's symbols, and nix's madvise is unsafe")]
pub fn release_code_pages() {
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    let begin = std::ptr::addr_of!(__executable_start) as usize;
    let end = std::ptr::addr_of!(etext) as usize;
    // A page that the code shares with data behind it stays.
    let length = end.saturating_sub(begin) & !4095;
    let Some(begin) = std::ptr::NonNull::new(begin as *mut std::ffi::c_void) else { return };
    // SAFETY: from the executable's first byte to the end of its code everything is mapped from the file and never
    // written, so that nothing is lost. Should the kernel refuse, the pages stay.
    let _ = unsafe { nix::sys::mman::madvise(begin, length, nix::sys::mman::MmapAdvise::MADV_DONTNEED) };
}

/// Gives back memory that was freed: glibc keeps it for the thread that once wanted it (malloc_trim(3)).
#[allow(unsafe_code, reason = "libc declares every function of C unsafe")]
pub fn release_freed_memory() {
    // SAFETY: it takes no pointer, and touches nothing but what the allocator itself holds, under its locks.
    let _ = unsafe { libc::malloc_trim(0) };
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
