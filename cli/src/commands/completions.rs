//! `countersign completions`: a completion script, made from the same description as the help.

use clap::CommandFactory as _;

use crate::{
    cli::{Cli, Completions, Shell},
    failure::Failure,
    output::Output,
};

/// Runs the command.
///
/// # Errors
/// Where the script cannot be printed.
pub(super) fn run(arguments: &Completions, output: &Output) -> Result<(), Failure> {
    let shell = match arguments.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Fish => clap_complete::Shell::Fish,
        Shell::Zsh => clap_complete::Shell::Zsh,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "countersign", &mut script);
    output.print(&String::from_utf8_lossy(&script))
}
