//! Whether the kernel holds its clock for synchronised (adjtimex(2)): what NTP daemons tell it, whichever runs. This is
//! the tool's only unsafe file.

#![allow(unsafe_code, reason = "nix has no adjtimex(2)")]

/// What the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// Somebody keeps it right.
    Synchronised,
    /// Nobody does, or not any more.
    Drifting,
    /// It could not be asked.
    Unknown,
}

/// Asks the kernel.
pub(crate) fn state() -> Clock {
    // SAFETY: timex is a plain C struct, for which all zeros is a value; `modes: 0` changes nothing.
    let mut answer: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is valid and writable during the call.
    let state = unsafe { libc::adjtimex(&raw mut answer) };
    match state {
        -1 => Clock::Unknown,
        libc::TIME_ERROR => Clock::Drifting,
        _ if answer.status & libc::STA_UNSYNC != 0 => Clock::Drifting,
        _ => Clock::Synchronised,
    }
}
