//! What the person typed is overwritten before its memory is given back: every block that the module frees is looked
//! through for it.

#![allow(clippy::unwrap_used, reason = "a test that stops here has failed")]
#![allow(unsafe_code, reason = "it plays libc's free")]

mod support;

use std::{
    ffi::c_void,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use dbus_api::Denial;
use support::{
    ask,
    daemon::{Daemon, Turn},
    denied, granted,
    host::{self, Host},
    line,
};

/// A recovery code, which nothing else in this process looks like.
const TYPED: &str = "7K3QX0M9TB42FHNWD6RSYJ8PA";

/// Whether blocks are looked through, how many were, and how many of them held what was typed.
static LOOKING: AtomicBool = AtomicBool::new(false);
static FREED: AtomicUsize = AtomicUsize::new(0);
static LEAKED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    fn __libc_free(block: *mut c_void);
    fn malloc_usable_size(block: *mut c_void) -> usize;
}

thread_local! {
    /// Only the thread that plays the host is looked at: the daemon of the test has copies of its own.
    static IS_HOST: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Stands before libc's own, for the module too: a dynamic symbol of the program comes first (ld.so(8)).
///
/// # Safety
/// As free(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut c_void) {
    if !block.is_null() && LOOKING.load(Ordering::Relaxed) && IS_HOST.get() {
        // SAFETY: a block of malloc that is still there.
        let length = unsafe { malloc_usable_size(block) };
        // SAFETY: as many bytes are the block's, and they were written or zeroed by malloc's caller or malloc.
        let bytes = unsafe { std::slice::from_raw_parts(block.cast::<u8>(), length) };
        FREED.fetch_add(1, Ordering::Relaxed);
        if bytes.windows(TYPED.len()).any(|window| window == TYPED.as_bytes()) {
            LEAKED.fetch_add(1, Ordering::Relaxed);
        }
    }
    // SAFETY: glibc's own free, under the name that no program replaces.
    unsafe { __libc_free(block) };
}

#[test]
fn what_was_typed_is_in_no_memory_that_the_module_gives_back() {
    for (verdict, code) in [(granted(), host::SUCCESS), (denied(Denial::Refused), host::AUTH_ERR)] {
        let daemon = Daemon::new(vec![Turn::Step(ask()), Turn::Step(verdict)]);
        let mut host = Host::new(&line(&daemon.socket, ""), "ann").typing(&[TYPED]);
        IS_HOST.set(true);
        LOOKING.store(true, Ordering::Relaxed);
        let result = host.authenticate();
        LOOKING.store(false, Ordering::Relaxed);
        assert_eq!(result, code);
        assert_eq!(daemon.replies(), [TYPED]);
    }
    assert!(FREED.load(Ordering::Relaxed) > 20, "the spy is in place");
    assert_eq!(LEAKED.load(Ordering::Relaxed), 0, "blocks that still held it");
    LOOKING.store(true, Ordering::Relaxed);
    drop(std::hint::black_box(TYPED.to_owned()));
    LOOKING.store(false, Ordering::Relaxed);
    assert_eq!(LEAKED.load(Ordering::Relaxed), 1, "who does not wipe is seen");
}
