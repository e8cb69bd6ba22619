//! `countersign manual`: the manual page countersign(1) in mdoc(7), made from the same description as the help. For
//! those who package; it reads nothing but its own text.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use crate::{cli::Cli, failure::Failure, output::Output};

/// What stands before the commands. The date is that of the last change of these texts.
const HEAD: &str = ".Dd November 22, 2026\n.Dt COUNTERSIGN 1\n.Os\n.Sh NAME\n.Nm countersign\n\
    .Nd enrol, list and unlock the second factors of this host\n.Sh SYNOPSIS\n.Nm\n.Ar command\n.Op Ar options\n\
    .Sh DESCRIPTION\n";

/// What stands behind them.
const TAIL: &str = ".Sh FILES\n.Bl -tag -width Ds\n\
    .It Pa /etc/countersign/countersign.toml\nThe configuration, see\n.Xr countersign.toml 5 .\n\
    .It Pa /var/lib/countersign\nThe state: secrets, counters and the audit.\nThe daemon's alone.\n\
    .It Pa /var/lib/countersign-pam\nWhat\n.Nm\n.Cm pam enable\nchanged, with every file as it was.\n.El\n\
    .Sh EXIT STATUS\n.Bl -tag -width Ds -compact\n.It 0\nDone.\n.It 1\nRefused: the message says why.\n\
    .It 2\nWrong usage.\n.It 3\nThe daemon cannot be reached.\n.El\n\
    .Sh EXAMPLES\nGive somebody a second factor, and see what there is:\n\
    .Bd -literal -offset indent\ncountersign enroll alice\ncountersign status alice\n.Ed\n.Pp\n\
    Somebody has typed too many wrong codes:\n\
    .Bd -literal -offset indent\ncountersign audit \\-\\-user alice \\-\\-since 1h\ncountersign unlock alice\n.Ed\n\
    .Sh SEE ALSO\n.Xr countersign.toml 5 ,\n.Xr countersignd 8 ,\n.Xr pam_countersign 8\n";

/// Runs the command.
///
/// # Errors
/// Where the page cannot be printed.
pub(super) fn run(output: &Output) -> Result<(), Failure> {
    output.print(&page(Cli::command()))
}

fn page(mut tool: Command) -> String {
    tool.build();
    let mut text = HEAD.to_owned();
    paragraphs(&mut text, &about(&tool));
    let _ = writeln!(text, ".Pp\nOptions of every command:");
    options(&mut text, &tool, |argument| argument.is_global_set() || is_clap_s(argument));
    text.push_str(".Sh COMMANDS\n");
    commands(&mut text, &tool, "");
    text.push_str(TAIL);
    text
}

/// The commands of `parent` in the order of the help, those of a command directly behind it.
fn commands(text: &mut String, parent: &Command, before: &str) {
    for command in parent.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = format!("{before}{}", command.get_name());
        let _ = writeln!(text, ".Ss {}", escape(&name));
        let usage = command.clone().render_usage().to_string();
        let _ = writeln!(text, ".Bd -literal\n{}\n.Ed\n.Pp", escape(usage.trim_start_matches("Usage: ")));
        paragraphs(text, &about(command));
        options(text, command, |argument| !argument.is_global_set() && !is_clap_s(argument));
        if let Some(after) = command.get_after_help() {
            text.push_str(".Pp\n");
            paragraphs(text, &after.to_string());
        }
        commands(text, command, &format!("{name} "));
    }
}

/// Options and arguments that `wanted` takes, each with its meaning. Nothing where there are none.
fn options(text: &mut String, command: &Command, wanted: impl Fn(&Arg) -> bool) {
    let shown: Vec<&Arg> =
        command.get_arguments().filter(|argument| !argument.is_hide_set() && wanted(argument)).collect();
    if shown.is_empty() {
        return;
    }
    text.push_str(".Bl -tag -width Ds\n");
    for argument in shown {
        let names = argument.get_value_names().unwrap_or_default();
        let values: String = names.iter().map(|name| format!(" Ar \\&{}", escape(name))).collect();
        let takes = argument.get_action().takes_values();
        let item = match (argument.get_short(), argument.get_long()) {
            (Some(short), Some(long)) => format!(" Fl {short} , Fl -{}", escape(long)),
            (None, Some(long)) => format!(" Fl -{}", escape(long)),
            _ => String::new(),
        };
        let _ = writeln!(text, ".It{item}{}", if takes { values.as_str() } else { "" });
        let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
        prose(text, &format!("{}.", help.trim_end_matches('.')));
        let values = argument.get_possible_values();
        let told: Vec<_> = values.iter().filter(|_| takes && !argument.is_hide_possible_values_set()).collect();
        for value in told {
            let meaning = value.get_help().map(|help| format!(": {help}")).unwrap_or_default();
            let _ = writeln!(text, ".br\n{}{}.", escape(value.get_name()), escape(&meaning));
        }
    }
    text.push_str(".El\n");
}

/// `--help` and `--version`, which every command has.
fn is_clap_s(argument: &Arg) -> bool {
    argument.get_id() == "help" || argument.get_id() == "version"
}

fn about(command: &Command) -> String {
    command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default()
}

/// Paragraphs that empty lines divide; lines that begin with two spaces are typed as they stand.
fn paragraphs(text: &mut String, source: &str) {
    let mut literal = false;
    for (number, paragraph) in source.split("\n\n").enumerate() {
        if number > 0 {
            text.push_str(".Pp\n");
        }
        for line in paragraph.lines() {
            let typed = line.starts_with("  ");
            if typed != literal {
                text.push_str(if typed { ".Bd -literal -offset indent\n" } else { ".Ed\n.Pp\n" });
                literal = typed;
            }
            if typed {
                let _ = writeln!(text, "{}", escape(line.trim_start()));
            } else {
                prose(text, line);
            }
        }
        if literal {
            text.push_str(".Ed\n");
            literal = false;
        }
    }
}

/// Lines of at most 78 characters, and each sentence on a new one: so troff(1) sees where it ends.
fn prose(text: &mut String, source: &str) {
    for sentence in source.split_inclusive(". ") {
        let mut line = String::new();
        for word in sentence.split_whitespace() {
            if line.len() + word.len() > 76 {
                let _ = writeln!(text, "{}", escape(&line));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        let _ = writeln!(text, "{}", escape(&line));
    }
}

/// Text that mdoc(7) takes for nothing but text.
fn escape(text: &str) -> String {
    let plain = text.replace('\\', "\\e").replace("--", "\\-\\-");
    if plain.starts_with(['.', '\'']) { format!("\\&{plain}") } else { plain }
}
