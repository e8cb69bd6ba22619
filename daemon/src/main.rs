//! countersignd. The story of the process is told in `lib.rs`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    daemon::run(&daemon::options::Options::parse())
}
