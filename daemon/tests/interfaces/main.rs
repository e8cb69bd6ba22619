//! The daemon's interfaces over real D-Bus connections, one file a property.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod administering;
mod auditing;
mod authenticators;
mod callers;
mod console;
mod enrolling;
mod events;
mod explaining;
mod exporting;
mod foreseeing;
mod health;
mod home;
mod importing;
mod introspection;
mod log_readers;
mod login_enrolling;
mod no_polkit;
mod noticing;
mod policy;
mod private_socket;
mod remembering;
mod resynchronising;
mod rotating;
mod scene;
mod settings;
#[path = "../../../verifier/tests/model/slow.rs"]
mod slow;
mod unasked;
mod verifying;
