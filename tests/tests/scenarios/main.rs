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

mod account_phase;
mod authenticators;
mod bad_times;
mod broken_reloads;
mod bus_policy;
mod bus_trouble;
mod callers;
mod configuration;
mod copies;
mod crashes;
mod disks;
mod doctor;
mod enrolment;
mod examples;
mod explaining;
mod footprint;
mod good_guest;
mod hostile_bus;
mod hostile_input;
mod imports;
mod keeping;
mod lessons;
mod locks;
mod logger;
mod login_enrolment;
mod logins;
mod moving;
mod name_service;
mod notices;
mod policy;
mod polkit;
mod private_socket;
mod races;
mod recipes;
mod remembered;
mod rollout;
mod secrets;
mod silence;
mod sshd;
mod switching;
mod timing;
mod torture;
mod turns_of_time;
mod valgrind;
mod words;
