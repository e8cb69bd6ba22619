//! `countersign`: the tool that enrols, lists and unlocks. It decides nothing: the daemon knows who calls and
//! what that person may do, and everything the daemon says is escaped before it reaches a terminal.

mod age;
mod agent;
mod base32;
mod cli;
mod client;
mod commands;
#[cfg(test)]
#[allow(clippy::panic, reason = "a test may panic")]
mod documentation;
mod failure;
mod host;
mod import;
mod output;
mod passphrase;
mod png;
mod prompt;
mod qr;
mod switch;
mod table;
mod wording;

fn main() -> std::process::ExitCode {
    commands::run()
}
