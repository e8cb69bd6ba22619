//! Whether the documents know every command and every option of the command line: the definition itself is walked
//! through. Tests alone.

use std::{fs, path::PathBuf};

use clap::{ArgAction, Command, CommandFactory as _};

use crate::cli::Cli;

/// A page of the documents.
fn page(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every command that does something, by its whole name, the tool itself first. What the help hides is for packagers.
fn commands() -> Vec<(String, Command)> {
    fn walk(name: String, command: &Command, into: &mut Vec<(String, Command)>) {
        // A command that only holds others explains itself with its help.
        if name == "countersign" || !command.has_subcommands() {
            into.push((name.clone(), command.clone()));
        }
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            walk(format!("{name} {}", sub.get_name()), sub, into);
        }
    }
    let mut tool = Cli::command();
    tool.build();
    let mut all = Vec::new();
    walk("countersign".to_owned(), &tool, &mut all);
    all
}

/// The long options of a command; the global ones are the tool's alone.
fn options(command: &Command, is_tool: bool) -> Vec<String> {
    let own = command.get_arguments().filter(|argument| is_tool || !argument.is_global_set());
    let own = own.filter(|argument| is_tool || !matches!(argument.get_action(), ArgAction::Help | ArgAction::Version));
    own.filter_map(|argument| argument.get_long().map(|long| format!("--{long}"))).collect()
}

/// The section of a page under this heading.
fn section<'page>(page: &'page str, heading: &str) -> Option<&'page str> {
    let (_, rest) = page.split_once(&format!("\n## `{heading}`\n"))?;
    Some(rest.split("\n## ").next().unwrap_or(rest))
}

/// Whether a section names the option: a longer one that begins like it does not count.
fn names(section: &str, option: &str) -> bool {
    section
        .split(option)
        .skip(1)
        .any(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '-'))
}

#[test]
fn every_command_and_every_option_stands_in_the_documents() {
    let tool = page("docs/tool.md");
    let mut missing = Vec::new();
    for (name, command) in commands() {
        let Some(section) = section(&tool, &name) else {
            missing.push(format!("a section `{name}`"));
            continue;
        };
        let usage = command.get_positionals().map(|argument| argument.get_id().as_str().to_uppercase());
        let values = usage.filter(|value| !section.contains(value.as_str()));
        missing.extend(values.map(|value| format!("{name} {value}")));
        let unnamed = options(&command, name == "countersign").into_iter().filter(|option| !names(section, option));
        missing.extend(unnamed.map(|option| format!("{name} {option}")));
    }
    assert!(missing.is_empty(), "docs/tool.md does not have: {missing:#?}");
}

#[test]
fn the_documents_name_no_command_and_no_option_that_there_is_not() {
    let commands = commands();
    let tool = page("docs/tool.md");
    for part in tool.split("\n## `").skip(1) {
        let name = part.split('`').next().unwrap_or_default();
        let known = commands.iter().find(|(known, _)| known == name);
        let (_, command) = known.unwrap_or_else(|| panic!("docs/tool.md has a section of {name}, which is no command"));
        let rows = part.lines().filter(|line| line.starts_with("| `--"));
        for option in rows.flat_map(|row| row.split('|').nth(1).unwrap_or_default().split(", ").collect::<Vec<_>>()) {
            let option = option.trim().trim_matches('`').split(' ').next().unwrap_or_default();
            let there = options(command, name == "countersign");
            assert!(there.iter().any(|known| known == option), "docs/tool.md has {name} {option}, which is none");
        }
    }
}

#[test]
fn the_readme_names_every_command() {
    let readme = page("README.md");
    for (name, _) in commands() {
        // A row may name a second command without the tool's name before it.
        let short = name.trim_start_matches("countersign ");
        let named = readme.contains(&format!("`{name}")) || readme.contains(&format!("`{short}"));
        assert!(named, "README.md does not name {name}");
    }
}

#[test]
fn every_command_with_json_has_its_shape_documented_and_its_help_names_the_fields() {
    let json = page("docs/json.md");
    for (name, command) in commands() {
        // Every import prints the same.
        let shape = if name.starts_with("countersign import ") { "countersign import FORMAT" } else { &name };
        let heading = format!("\n## `{shape} --json`\n");
        let has_json = command.get_arguments().any(|argument| argument.get_long() == Some("json"));
        assert_eq!(has_json, json.contains(&heading), "docs/json.md and the section of {name}");
        let Some(section) = json.split(&heading).nth(1).and_then(|text| text.split("\n## ").next()) else { continue };
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for field in section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()) {
            let field = field.rsplit('.').next().unwrap_or(field);
            assert!(help.contains(field), "the help of {name} does not name the field {field}");
        }
    }
}
