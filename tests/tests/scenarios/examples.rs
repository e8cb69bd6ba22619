//! Every example of the README, the documentation and the manual pages is taken out of its page and tried. A block
//! that neither has an entry here nor says itself what it is fails, and so does an entry without a block.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Context, Result, ensure};
use scenarios::{
    Enrolment, Host, PAM_SUCCESS,
    document::{self, Block, Section},
};

use crate::{recipes, rollout, words::PROMPT};

const PASSWORD: &str = "correct horse";

/// How an example is tried.
#[derive(Clone, Copy, Debug)]
enum Try {
    /// A service with these lines lets in who replies so, and not with a wrong code: `p` is the password, `c` the code,
    /// `pc` both in one reply.
    Stack(&'static [&'static str]),
    /// sshd takes it.
    Sshd,
    /// `countersign config check` takes it.
    Toml,
    /// It is JSON.
    Json,
    /// sh(1) can read it.
    Shell,
    /// A file that a test of this module puts in place and logs in with.
    Placed,
    /// The recipe of this heading has the same lines and is played.
    Recipe(&'static str),
    /// Rust, which the scenarios speak themselves.
    Rust,
    /// What is shown by something else, such as a log: there is nothing to try.
    Shown,
}

/// The pages that are played from beginning to end.
const PLAYED: [&str; 2] = [recipes::PAGE, rollout::PAGE];

const CODE: Try = Try::Stack(&["c"]);

/// Page, heading, and its blocks in order, but those that say themselves how they are tried ([`by_language`]).
const EXAMPLES: &[(&str, &str, &[Try])] = &[
    ("README.md", "ssh: key + code", &[Try::Placed, Try::Placed]),
    ("README.md", "ssh: password + code", &[Try::Placed, Try::Placed]),
    ("README.md", "sudo", &[Try::Placed]),
    ("README.md", "Configure", &[Try::Toml]),
    ("README.md", "Rules", &[Try::Toml]),
    ("README.md", "Where the log is", &[Try::Shown]),
    ("docs/architecture.md", "Architecture", &[Try::Shown]),
    ("docs/enrolment-at-login.md", "Enrolling at a login", &[Try::Toml]),
    ("docs/enrolment-at-login.md", "What the person sees", &[Try::Shown, Try::Shown]),
    ("docs/events.md", "Events", &[Try::Shown]),
    ("docs/events.md", "An example of each", &[Try::Shown]),
    ("docs/module.md", "Where it stands in a stack", &[Try::Stack(&["p", "c"])]),
    ("docs/module.md", "The account phase of sshd", &[Try::Recipe("Ansible, rsync and git")]),
    ("docs/module.md", "Password and code in one prompt", &[Try::Stack(&["pc"]), Try::Stack(&["pc"])]),
    ("docs/module.md", "Its own log lines", &[Try::Shown]),
    ("docs/moving.md", "While both modules are there", &[Try::Toml, Try::Stack(&["p", "c"])]),
    ("docs/moving.md", "The end", &[Try::Stack(&["p", "c"])]),
    ("docs/performance.md", "Performance", &[Try::Shown]),
    ("docs/policy.md", "Others than root", &[Try::Toml]),
    // Played with another account in scenarios/explaining.rs.
    ("docs/policy.md", "Before it happens", &[Try::Shown]),
    ("docs/policy.md", "ssh without anybody at the keyboard", &[Try::Sshd]),
    ("docs/testing.md", "Scratch hosts", &[Try::Rust]),
    ("docs/testing.md", "Torture", &[Try::Shown]),
    ("docs/performance.md", "Performance", &[Try::Shown]),
    ("docs/man/countersign.toml.5", "EXAMPLES", &[Try::Toml, Try::Toml, Try::Shell]),
    ("docs/man/countersignd.8", "DESCRIPTION", &[Try::Shell, Try::Shell]),
    ("docs/man/countersignd.8", "EXAMPLES", &[Try::Shell, Try::Shell]),
    ("docs/man/pam_countersign.8", "EXAMPLES", &[CODE, Try::Sshd, CODE, Try::Shell, Try::Shell]),
];

/// What the language of a block says of how it is tried.
fn by_language(block: &Block) -> Option<Try> {
    match block.language.as_str() {
        "sh" => Some(Try::Shell),
        "json" => Some(Try::Json),
        _ => None,
    }
}

/// The pages: the README, docs and its folders, and the manual pages.
fn pages() -> Result<Vec<String>> {
    let mut pages = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned(), "SECURITY.md".to_owned()];
    for folder in ["docs", "docs/dbus", "docs/decisions", "docs/man"] {
        for entry in fs::read_dir(scenarios::shipped(folder))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".md") || folder.ends_with("man") {
                pages.push(format!("{folder}/{name}"));
            }
        }
    }
    Ok(pages)
}

/// The blocks of a page.
fn blocks(page: &str) -> Result<Vec<Block>> {
    let text = document::read(page)?;
    if page.ends_with(".md") {
        return Ok(document::sections(&text).into_iter().flat_map(|section| section.blocks).collect());
    }
    Ok(document::displays(&text))
}

/// What is tried on a host.
struct Bench {
    host: Host,
    phone: Enrolment,
}

impl Bench {
    fn set_up() -> Result<Self> {
        let host = recipes::base().user_without_password("postgres").fake_clock().start()?;
        let groups = format!("{}\nfor group in contractors operators; do groupadd $group; done", recipes::ROOT);
        host.run(&["sh", "-ec", &groups])?.success()?;
        let phone = host.enrol("alice")?;
        Ok(Self { host, phone })
    }

    fn try_out(&self, block: &Block, way: Try) -> Result<()> {
        match way {
            Try::Stack(replies) => self.logs_in(&block.text, replies),
            Try::Sshd => self.takes("/tmp/example", &block.text, &["/usr/sbin/sshd", "-t", "-f", "/tmp/example"]),
            Try::Toml => {
                let check = ["countersign", "config", "check", "/etc/countersign/example.toml"];
                self.takes("/etc/countersign/example.toml", &block.text, &check)
            }
            Try::Shell => self.takes("/tmp/example", &block.text, &["sh", "-n", "/tmp/example"]),
            Try::Json => {
                let values = serde_json::Deserializer::from_str(&block.text).into_iter::<serde_json::Value>();
                let values: Vec<_> = values.collect::<std::result::Result<_, _>>()?;
                ensure!(!values.is_empty(), "there is nothing");
                Ok(())
            }
            Try::Placed => block.place.as_ref().map(drop).context("it names no file"),
            Try::Recipe(heading) => {
                let recipe = Section::read(recipes::PAGE, heading)?;
                ensure!(recipe.blocks.iter().any(|of| of.text == block.text), "the recipe has other lines");
                Ok(())
            }
            Try::Rust => {
                ensure!(block.language == "rust", "it is no Rust");
                Ok(())
            }
            Try::Shown => {
                let setting = |line: &str| {
                    let word = line.split_whitespace().next().unwrap_or_default();
                    ["auth", "account", "session", "@include", "UsePAM", "Match", "[[rule]]"].contains(&word)
                };
                ensure!(!block.text.lines().any(setting), "it is no output: it has to be tried");
                Ok(())
            }
        }
    }

    fn takes(&self, path: &str, text: &str, program: &[&str]) -> Result<()> {
        self.host.write(path, text)?;
        self.host.run(program)?.success().map(drop)
    }

    fn logs_in(&self, lines: &str, replies: &[&str]) -> Result<()> {
        self.host.write("/etc/pam.d/door", &format!("{lines}account required pam_permit.so\n"))?;
        self.host.advance(Duration::from_secs(60))?;
        let wrong = self.host.wrong_code(&self.phone)?;
        let right = self.host.code(&self.phone, 0)?;
        for (code, expected) in [(&wrong, false), (&right, true), (&right, false)] {
            let typed = replies.iter().map(|reply| reply.replace('c', code).replace('p', PASSWORD));
            let typed: Vec<String> = typed.collect();
            let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
            let attempt = self.host.attempt("door", "alice", &typed)?;
            ensure!((attempt.result == PAM_SUCCESS) == expected, "{typed:?}: {attempt:?}");
            ensure!(attempt.prompts() == replies.len(), "{attempt:?}");
        }
        Ok(())
    }
}

#[test]
fn every_example_of_the_documentation_is_tried() -> Result<()> {
    let bench = Bench::set_up()?;
    let mut wrong = Vec::new();
    for page in pages()?.into_iter().filter(|page| !PLAYED.contains(&page.as_str())) {
        let (plain, blocks): (Vec<Block>, Vec<Block>) =
            blocks(&page)?.into_iter().partition(|block| by_language(block).is_some());
        let plain = plain.iter().filter_map(|block| Some((block, by_language(block)?)));
        let mut tried: Vec<(&Block, Try)> = plain.collect();
        let headings: BTreeSet<&str> = blocks.iter().map(|block| block.heading.as_str()).collect();
        let listed = EXAMPLES.iter().filter(|(of, ..)| *of == page);
        wrong.extend(
            listed
                .filter(|(_, heading, _)| !headings.contains(heading))
                .map(|(_, heading, _)| format!("{page}, \"{heading}\": there is no example any more")),
        );
        for heading in headings {
            let found = EXAMPLES.iter().find(|(of, under, _)| *of == page && *under == heading);
            let ways = found.map_or(&[][..], |(_, _, ways)| ways);
            let here: Vec<&Block> = blocks.iter().filter(|block| block.heading == heading).collect();
            if here.len() != ways.len() {
                wrong.push(format!("{page}, \"{heading}\": {} examples, {} of them listed", here.len(), ways.len()));
            }
            tried.extend(here.into_iter().zip(ways.iter().copied()));
        }
        for (block, way) in tried {
            if let Err(error) = bench.try_out(block, way) {
                wrong.push(format!("{page}:{}: {way:?}: {error:#}", block.line));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}

#[test]
fn the_readme_switches_ssh_with_key_and_sudo_with_password_on() -> Result<()> {
    let host = recipes::base().documented(&Section::read("README.md", "ssh: key + code")?)?;
    let host = host.documented(&Section::read("README.md", "sudo")?)?.start()?;
    let phone = host.enrol("alice")?;
    let login = host.ssh("alice", "id -un").answer(PROMPT, &host.code(&phone, 0)?).expect("alice");
    login.end()?.success()?;
    let sudo = host.terminal("alice", &["sudo", "id", "-un"]).answer("password for alice: ", PASSWORD);
    sudo.answer(PROMPT, &host.code(&phone, 1)?).expect("root").end()?.success()?;
    Ok(())
}

#[test]
fn the_readme_switches_ssh_with_password_on() -> Result<()> {
    let host = recipes::base().documented(&Section::read("README.md", "ssh: password + code")?)?.start()?;
    let phone = host.enrol("alice")?;
    let login = host.ssh("alice", "id -un").answer("Password: ", PASSWORD).answer(PROMPT, &host.code(&phone, 0)?);
    login.expect("alice").end()?.success()?;
    Ok(())
}

/// The lines of a stack that the scenarios play, without comments.
fn shipped_stack(fragment: &str) -> Result<String> {
    let text = document::read(&format!("packaging/dev/pam.d/{fragment}"))?;
    Ok(text.lines().filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect())
}

#[test]
fn the_lines_of_the_readme_alone_let_in_whom_policy_skips_reminds_passes_observes_or_remembers() -> Result<()> {
    let section = Section::read("README.md", "ssh: key + code")?;
    let lines = &section.blocks.get(1).context("the stack")?.text;
    for fragment in ["sshd-key-and-code", "sudo-code", "code-alone"] {
        assert_eq!(&shipped_stack(fragment)?, lines, "{fragment}");
    }
    let host = recipes::base().file("/etc/pam.d/door", &format!("{lines}account required pam_permit.so\n")).start()?;
    let modes = [
        ("skipped", "action = \"skip\""),
        ("reminded", "enroll_by = 2999-01-31"),
        ("reminded", "unenrolled = \"remind\""),
        ("passed", "unenrolled = \"pass\""),
        ("would-refuse-not-enrolled", "mode = \"observe\""),
        ("remembered", "remember = \"8h\""),
    ];
    for (reason, setting) in modes {
        host.write("/etc/countersign/countersign.toml", &format!("[[rule]]\nname = \"a\"\n{setting}\n"))?;
        host.restart_daemon()?;
        if reason == "remembered" {
            let phone = host.enrol("alice")?;
            let asked = host.attempt_from("192.0.2.7", "door", "alice", &[&host.code(&phone, 0)?])?;
            assert_eq!((asked.result, asked.prompts()), (PAM_SUCCESS, 1), "{asked:?}");
        }
        let let_in = host.attempt_from("192.0.2.7", "door", "alice", &[])?;
        assert_eq!((let_in.result, let_in.prompts()), (PAM_SUCCESS, 0), "{setting}: {let_in:?}");
    }
    Ok(())
}
