//! What Countersign does on a whole host, with the real sshd, sudo, su, PAM, system bus and syslog.
//!
//! Each test has a scratch host of its own, so that they run side by side; they need root.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod bad_times;
mod bus_policy;
mod callers;
mod crashes;
mod enrolment;
mod footprint;
mod good_guest;
mod hostile_bus;
mod lessons;
mod locks;
mod logins;
mod notices;
mod polkit;
mod private_socket;
mod races;
mod secrets;
mod sshd;
mod timing;
mod valgrind;
mod words;
