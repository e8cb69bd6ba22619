//! The manual pages and completions: clean, and with every flag and every key.

use std::{fs, path::PathBuf};

use scenarios::{shipped, staged};

use crate::{path, run};

/// What mandoc says of pages and indexes that this machine does not have; it is no fault of ours.
const ELSEWHERE: [&str; 2] = ["referenced manual not found", "outdated mandoc.db"];

#[test]
fn every_page_is_clean_to_mandoc() {
    let tool = tempfile::NamedTempFile::new().unwrap();
    fs::write(tool.path(), run(path(&staged("countersign").unwrap()), &["manual"])).unwrap();
    for page in [tool.path().to_owned(), page("countersignd.8"), page("pam_countersign.8"), page("countersign.toml.5")]
    {
        let output = crate::attempt("mandoc", &["-Tlint", "-W", "style", path(&page)]);
        let said = crate::text(&output);
        let faults: Vec<_> = said.lines().filter(|line| !ELSEWHERE.iter().any(|words| line.contains(words))).collect();
        assert!(faults.is_empty(), "{faults:#?}");
    }
}

/// The names of options in a text: `--name`, where a name of letters, digits and - follows.
fn options(text: &str) -> Vec<String> {
    let mut found: Vec<String> = text
        .split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'))
        .filter(|word| word.starts_with("--") && word.len() > 3)
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The commands of a help, each with those below it.
fn commands(tool: &str, before: &[&str]) -> Vec<Vec<String>> {
    let mut arguments = before.to_vec();
    arguments.push("--help");
    let help = run(tool, &arguments);
    let mut all = vec![before.iter().map(ToString::to_string).collect()];
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    for name in listed.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next()) {
        let mut deeper = before.to_vec();
        deeper.push(name);
        all.extend(commands(tool, &deeper));
    }
    all
}

#[test]
fn every_flag_of_the_help_stands_in_the_manual_page_and_in_every_completion() {
    let tool = staged("countersign").unwrap();
    let tool = path(&tool);
    let page = run("sh", &["-c", "\"$0\" manual | mandoc -Tascii -O width=200 | col -b", tool]);
    let completions = ["bash", "zsh", "fish"].map(|shell| (shell, run(tool, &["completions", shell])));
    let commands = commands(tool, &[]);
    assert!(commands.len() >= 20, "{commands:?}");
    for command in commands {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = run(tool, &arguments);
        // Examples speak of options of other programs.
        let help = help.split("\nExamples:").next().unwrap_or_default();
        let name = command.join(" ");
        assert!(name.is_empty() || page.contains(&format!("\n   {name}\n")), "{name} has no section");
        for option in options(help) {
            assert!(options(&page).contains(&option), "{name} {option} is not in the manual page");
            for (shell, completion) in &completions {
                let spelled = if *shell == "fish" { format!("-l {}", &option[2..]) } else { option.clone() };
                assert!(completion.contains(&spelled), "{name} {option} is not completed by {shell}");
            }
        }
    }
}

#[test]
fn every_option_of_the_daemon_stands_in_its_manual_page() {
    let daemon = staged("countersignd").unwrap();
    let help = options(&run(path(&daemon), &["--help"]));
    let manual = options(&run("sh", &["-c", "mandoc -Tascii \"$0\" | col -b", path(&page("countersignd.8"))]));
    assert!(help.len() >= 6, "{help:?}");
    for option in &help {
        assert!(manual.contains(option), "{option} is not in countersignd(8)");
    }
    for option in manual.iter().filter(|option| *option != "--name") {
        assert!(help.contains(option), "countersignd(8) speaks of {option}, which is none");
    }
}

/// The commented file that is installed, the manual page and the daemon speak of the same keys.
#[test]
fn every_key_of_the_configuration_stands_in_the_installed_file_and_in_the_manual_page() {
    let manual = run("sh", &["-c", "mandoc -Tascii \"$0\" | col -b", path(&page("countersign.toml.5"))]);
    let file = fs::read_to_string(shipped("packaging/countersign.toml")).unwrap();
    let keys: Vec<&str> =
        file.lines().filter_map(|line| line.strip_prefix('#')?.split_once(" = ")).map(|pair| pair.0).collect();
    let keys: Vec<&str> = keys.into_iter().filter(|key| !key.contains(' ')).collect();
    assert!(keys.len() >= 17, "{keys:?}");
    // The keys of a rule stand in the tables of docs/policy.md.
    let policy = fs::read_to_string(shipped("docs/policy.md")).unwrap();
    let of_rules: Vec<&str> = policy
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| row.split(['`', ' ']).next())
        .collect();
    assert!(of_rules.len() >= 15, "{of_rules:?}");
    for key in keys.into_iter().chain(of_rules) {
        assert!(manual.lines().any(|line| line.trim_start().starts_with(key)), "{key} is not in countersign.toml(5)");
    }
}

#[test]
fn the_example_configurations_of_the_manual_page_are_right() {
    let page = fs::read_to_string(page("countersign.toml.5")).unwrap();
    let examples =
        page.split(".Bd -literal -offset indent\n").skip(1).map(|block| block.split("\n.Ed").next().unwrap());
    let configurations: Vec<&str> = examples.filter(|example| !example.starts_with("countersign ")).collect();
    assert_eq!(configurations.len(), 2, "{configurations:?}");
    for example in configurations {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), example).unwrap();
        run(path(&staged("countersignd").unwrap()), &["--check-config", "--config", path(file.path())]);
    }
}

fn page(name: &str) -> PathBuf {
    shipped(&format!("docs/man/{name}"))
}
