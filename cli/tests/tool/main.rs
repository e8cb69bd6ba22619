//! The real tool on a real message bus, against a small service that speaks the contract. What the daemon decides is
//! tested with the daemon; here it is what the tool asks for, shows and makes of the answers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops where something is missing"
)]

mod audit;
mod authenticators;
mod backup;
mod commands;
mod config;
mod doctor;
mod documents;
mod enroll;
mod explanation;
mod help;
mod import;
mod json;
mod key;
mod pam;
mod prune;
mod service;
mod stage;
mod terminal;
